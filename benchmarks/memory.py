"""Peak memory of a run over 12,000 generated pictures of 224 px.

    python -m benchmarks.memory                       writes results/reference/memory.json
    python -m benchmarks.memory --show FILE           prints what such a file says

Measured is the command as a user types it, with its worker: twice a second, the resident memory of
each process of the tree. *Own* memory leaves out pages that files are mapped to (the decoded
pictures, the activations): those the system takes back whenever somebody needs room.

The pictures are noise over coloured shapes, as JPEG files in a folder; what they show is of no
account here. Head only and two blocks unfrozen, one epoch each, on the CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bench.running import store

PICTURES, SIDE, CLASSES = 12_000, 224, 4
LOOK_SECONDS = 0.5
LIMIT_GIB = 4.0
OUTPUT = Path("results/reference/memory.json")

SUITE = f"""
description = "Memory: {PICTURES:,} generated pictures of {SIDE} px"
data = {{ image_size = {SIDE} }}
phase1 = {{ epochs = 1, learning_rate = 1e-3 }}
phase2 = {{ epochs = 1, learning_rate = 1e-5 }}
[[datasets]]
name = "generated"
folder = "pictures"
[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["generated"]
freezes = ["head_only", {{ top_blocks = 2 }}]
heads = ["dropout"]
"""


class Peak(threading.Thread):
    """Watches a process tree until it is told to stop.

    Attributes:
        total: most resident bytes at any moment, mapped files included.
        own: the same without pages of mapped files.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._stopped = threading.Event()
        self.total = self.own = 0

    def run(self) -> None:
        """Look twice a second."""
        while not self._stopped.wait(LOOK_SECONDS):
            total, own = _resident(self._root)
            self.total, self.own = max(self.total, total), max(self.own, own)

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self.join()


def _resident(root: psutil.Process) -> tuple[int, int]:
    """Resident bytes of a process tree: in all, and without pages that files are mapped to."""
    total = own = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            info = process.memory_info()
            total, own = total + info.rss, own + info.rss - info.shared
    except psutil.Error:
        pass  # a process has ended while we looked; the next look is half a second away
    return total, own


def generate(folder: Path, pictures: int) -> None:
    """Write so many pictures into a folder for each class."""
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(pictures):
        label = number % CLASSES
        pixels = random.integers(0, 120, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
        pixels[:, :, label % 3] += 100
        picture = Image.fromarray(pixels).resize((SIDE, SIDE))
        picture.save(folder / f"class{label}" / f"{number:05d}.jpg", quality=80)


def measure(pictures: int) -> dict[str, Any]:
    """Run the suite in a folder of its own and say what it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "pictures", pictures)
        (folder / "memory.toml").write_text(SUITE)
        environment = os.environ | {"BENCH_CACHE_DIR": str(folder / "cache")}
        command = [sys.executable, "-m", "bench", "run", "memory.toml"]
        began = time.perf_counter()
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            peak = Peak(process.pid)
            peak.start()
            code = process.wait()
            peak.stop()
        if code:
            raise SystemExit((folder / "log").read_text())
        rows = store.read(folder / "results").rows
        return {
            "pictures": pictures,
            "image_size": SIDE,
            "peak_own_gib": round(peak.own / 2**30, 2),
            "peak_total_gib": round(peak.total / 2**30, 2),
            "seconds": round(time.perf_counter() - began),
            "trials": {r.spec.freeze.label: r.status for r in rows},
            "stack": rows[0].stack.model_dump(mode="json"),
            "environment": rows[0].environment.model_dump(mode="json"),  # type: ignore[union-attr]
        }


def sentence(measured: dict[str, Any]) -> str:
    """What was measured, in one line."""
    return (
        f"{measured['pictures']:,} pictures of {measured['image_size']} px: runner and worker held "
        f"at most {measured['peak_own_gib']:.1f} GiB of their own, "
        f"{measured['peak_total_gib']:.1f} GiB with the files they had mapped"
    )


def main() -> None:
    """Measure and write, or show what was written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path)
    wanted = parser.parse_args()
    if wanted.show:
        print(sentence(json.loads(wanted.show.read_text())))
        return
    measured = measure(wanted.pictures)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(measured, indent=1) + "\n")
    print(sentence(measured))
    if measured["peak_total_gib"] > LIMIT_GIB:
        sys.exit(f"more than {LIMIT_GIB} GiB")


if __name__ == "__main__":
    main()
