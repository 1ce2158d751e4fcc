"""How much the depthwise rewrite buys for a whole ConvNeXtTiny, by picture size, forward only.

    python -m benchmarks.rewrite        prints the table, writes results/reference/rewrite.json

That is the bound of what ConvNeXt can gain on top of what sharing gains for any backbone: in a
trial, the parts that do not pass pictures through the backbone gain nothing. Random weights.
"""

import json
import statistics
import time
from pathlib import Path
from typing import Any

from tabulate import tabulate

SIZES = (96, 160, 224)
PICTURES, REPEATS = 8, 3
OUTPUT = Path("results/reference/rewrite.json")


def pace(model: Any, pixels: Any) -> float:
    """Pictures a second, the first call apart."""
    model.predict_on_batch(pixels)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        model.predict_on_batch(pixels)
        seconds.append(time.perf_counter() - began)
    return len(pixels) / statistics.median(seconds)


def measure(size: int) -> dict[str, Any]:
    """Stock and rewritten, one after the other."""
    import keras
    import numpy as np

    from bench.zoo import backbones, rewriting

    row = backbones.row("ConvNeXtTiny")
    pixels = np.random.default_rng(0).integers(0, 255, (PICTURES, size, size, 3)).astype("float32")
    found: dict[str, Any] = {"image_size": size}
    for way in ("stock", "rewritten"):
        keras.utils.set_random_seed(0)
        model = backbones.construct(row, size, None)
        if way == "rewritten":
            found["rewrite"] = rewriting.depthwise(model).text
        model.compile(jit_compile=False)
        found[way] = pace(model, pixels)
    return found


def main() -> None:
    """Measure and print."""
    from bench.records import Execution
    from bench.training import execution

    stack = execution.configure(Execution())
    measured = [measure(size) for size in SIZES]
    content = {
        "stack": stack.model_dump(mode="json"),
        "environment": execution.environment().model_dump(mode="json"),
        "measured": measured,
    }
    OUTPUT.write_text(json.dumps(content, indent=1) + "\n")
    titles = ("pixels", "stock, img/s", "rewritten, img/s", "times faster")
    lines = [
        [
            str(m["image_size"]),
            f"{m['stock']:.1f}",
            f"{m['rewritten']:.1f}",
            f"{m['rewritten'] / m['stock']:.1f}",
        ]
        for m in measured
    ]
    print(tabulate(lines, titles, disable_numparse=True))


if __name__ == "__main__":
    main()
