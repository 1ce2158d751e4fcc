"""Rounding against changes: how far apart the fingerprints of equal and of changed backbones are.

    KERAS_BACKEND=tensorflow bench fingerprint MobileNetV2 ResNet50 --results FOLDER
    KERAS_BACKEND=torch bench fingerprint MobileNetV2 ResNet50 --results FOLDER
    python -m benchmarks.numerics FOLDER      writes results/reference/numerics.json
    python -m benchmarks.numerics --show FILE

Between the ways to run that the folder holds (backends, graph and XLA) there is nothing but
rounding. Against it stand changes made here on purpose, one at a time, of the kind that a new
version of a framework might bring. What separates the two is `numerics_stats.FACTOR`.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, combinations, starmap
from pathlib import Path
from typing import Any
from unittest import mock

from tabulate import tabulate

from bench.analysis import numerics_stats
from bench.analysis.numerics_stats import FACTOR, Beyond, PassChange
from bench.numerics import Numbers, NumericsResult, NumericsSpec
from bench.records import Backbone, Environment, Execution, Record, Stack
from bench.running import store
from benchmarks import written

OUTPUT = Path("results/reference/numerics.json")


class Pair(Record):
    """Two ways to run one backbone, and the probe where they are furthest apart for rounding.

    Attributes:
        backbone, precision: of both.
        ways: backend and mode of each.
        probe: its name.
        distance, rounding: as shares of the tensor's norm.
        probes: that were compared.
    """

    backbone: str
    precision: str
    ways: tuple[str, str]
    probe: str
    distance: float
    rounding: float
    probes: int

    @property
    def times(self) -> float:
        """Distance over rounding."""
        return self.distance / self.rounding


class Change(Record):
    """A change made on purpose, and what the comparison made of it.

    Attributes:
        backbone, precision: of what was changed.
        change: in words.
        first: the first probe that differs; empty where none does.
        probe: the one furthest beyond rounding.
        distance, rounding: there, as shares of the tensor's norm.
    """

    backbone: str
    precision: str
    change: str
    first: str
    probe: str
    distance: float
    rounding: float

    @property
    def times(self) -> float:
        """Distance over rounding."""
        return self.distance / self.rounding


class Separation(Record):
    """What this benchmark writes."""

    stack: Stack
    environment: Environment
    factor: float
    pairs: tuple[Pair, ...]
    changes: tuple[Change, ...]


# ------------------------------------------------------------------------------------- rounding


def pairs(rows: Sequence[NumericsResult]) -> Iterator[Pair]:
    """Every two ways to run each backbone that rows tell of."""
    ways = [(row, way) for row in rows for way in row.passes]
    for (a, one), (b, other) in combinations(ways, 2):
        if a.key != b.key or not numerics_stats.compare(a, b).comparable:
            continue
        change = numerics_stats.compared(a, b, one, other)
        yield Pair(
            backbone=a.spec.backbone.name,
            precision=a.spec.precision,
            ways=(f"{a.stack.backend} {one.mode}", f"{b.stack.backend} {other.mode}"),
            probes=change.probes,
            **_worst(change),
        )


def _worst(change: PassChange) -> dict[str, Any]:
    worst: Beyond = change.worst
    return {"probe": worst.probe, "distance": worst.distance, "rounding": worst.rounding}


# -------------------------------------------------------------------------------------- changes

Patch = Callable[[], Any]
"""Makes a context in which something is changed."""


@contextmanager
def _model(change: Callable[[Any], None]) -> Iterator[None]:
    """Backbones are changed after they were loaded; their weights are not."""
    from bench.zoo import weights

    load = weights.load

    def changed(*arguments: Any) -> weights.LoadedBackbone:
        loaded = load(*arguments)
        change(loaded.model)
        return loaded

    with mock.patch.object(weights, "load", changed):
        yield


def _each(kind: str, **attributes: Any) -> Patch:
    """Attributes of every layer of a kind."""

    def change(model: Any) -> None:
        for layer in model.layers:
            if type(layer).__name__ == kind:
                vars(layer).update(attributes)

    return lambda: _model(change)


def _of(name: str, **attributes: Any) -> Patch:
    """Attributes of one layer."""
    return lambda: _model(lambda model: vars(model.get_layer(name)).update(attributes))


def _relu(model: Any) -> None:
    for layer in model.layers:
        if type(layer).__name__ == "ReLU":
            layer.max_value = None


def _gelu(model: Any) -> None:
    import keras

    exact: Callable[..., Any] = vars(keras.activations)["gelu"]
    for layer in model.layers:
        if getattr(layer, "activation", None) is exact:
            layer.activation = partial(exact, approximate=True)


def _preprocessing_skipped() -> Any:
    from bench.zoo import preprocessing

    return mock.patch.object(preprocessing, "apply", lambda _, pixels: pixels)


def _bicubic() -> Any:
    from PIL import Image

    resize = Image.Image.resize

    def bicubic(picture: Any, size: tuple[int, int], _: object) -> Any:
        return resize(picture, size, Image.Resampling.BICUBIC)

    return mock.patch.object(Image.Image, "resize", bicubic)


def _optimizer(name: str, **arguments: Any) -> Patch:
    def patch() -> Any:
        import keras

        from bench.training import fitting

        kinds: dict[str, Any] = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
        kind = kinds[name]
        rows: dict[str, Any] = {name: lambda rate: kind(rate, **arguments)}
        return mock.patch.dict(fitting.OPTIMIZERS, rows)

    return patch


SHIFTED = ((1, 0), (1, 0))

CHANGES: dict[str, dict[str, Patch]] = {
    "MobileNetV2": {
        "BatchNorm epsilon 1e-3 -> 1e-5": _each("BatchNormalization", epsilon=1e-5),
        "BatchNorm epsilon 1e-3 -> 1.1e-3": _each("BatchNormalization", epsilon=1.1e-3),
        "the same in block_16_project_BN alone": _of("block_16_project_BN", epsilon=1.1e-3),
        "the same in Conv_1_bn alone": _of("Conv_1_bn", epsilon=1.1e-3),
        "BatchNorm momentum 0.999 -> 0.99": _each("BatchNormalization", momentum=0.99),
        "padding before block_13 on the other side": _of("block_13_pad", padding=SHIFTED),
        "ReLU6 -> ReLU": lambda: _model(_relu),
        "preprocessing skipped": _preprocessing_skipped,
        "decoding bilinear -> bicubic": _bicubic,
        "Adam epsilon 1e-7 -> 1e-8": _optimizer("adam", epsilon=1e-8),
        "AdamW decay 0.004 -> 0.01": _optimizer("adamw", weight_decay=0.01),
    },
    "ConvNeXtTiny": {
        "exact GELU -> approximate": lambda: _model(_gelu),
        "LayerNorm epsilon 1e-6 -> 2e-6": _each("LayerNormalization", epsilon=2e-6),
    },
}

CASES: tuple[tuple[str, Numbers], ...] = (
    ("MobileNetV2", "float32"),
    ("ConvNeXtTiny", "float32"),
    ("MobileNetV2", "mixed_bfloat16"),
)


def changes(name: str, precision: Numbers) -> Iterator[Change]:
    """A backbone as it is, then changed in one way after another; the default mode only."""
    stock = _fingerprint(name, precision)
    for text, patch in CHANGES[name].items():
        with patch():
            found = _fingerprint(name, precision)
        change = numerics_stats.compared(stock, found, stock.passes[0], found.passes[0])
        yield Change(
            backbone=name,
            precision=precision,
            change=text,
            first=change.first.probe if change.first else "",
            **_worst(change),
        )


def _fingerprint(name: str, precision: Numbers) -> NumericsResult:
    from bench.measuring import numerics, probing
    from bench.settings import Settings
    from bench.training import execution
    from bench.training.grounds import Workplace

    settings = Settings.from_environment()
    stack = execution.detect(Execution())
    place = Workplace(settings, Path.cwd(), stack, execution.environment())
    spec = NumericsSpec(
        backbone=Backbone(name=name, weights="random"),
        precision=precision,
        optimizers=("adam", "adamw"),
    )
    with mock.patch.object(probing, "modes", return_value=probing.MODES[stack.backend][:1]):
        row = numerics.measure(spec, place, lambda _: None)
    assert row.status == "ok", row.reason
    return row


# --------------------------------------------------------------------------------------- tables


def read(file: Path) -> Separation:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Separation, file, "a file of benchmarks.numerics")


def text(found: Separation) -> str:
    """Both tables, in Markdown."""
    rounding = [
        [p.backbone, p.precision, " / ".join(p.ways), p.probe, f"{p.times:.1f}", p.probes]
        for p in found.pairs
    ]
    changed = [
        [c.backbone, c.precision, c.change, c.first or "none", c.probe, f"{c.times:.3g}"]
        for c in found.changes
    ]
    titles = ("backbone", "precision", "ways to run", "furthest apart in", "x rounding", "probes")
    others = ("backbone", "precision", "change", "named", "furthest apart in", "x rounding")
    tables = [
        tabulate(rounding, titles, "github", disable_numparse=True),
        tabulate(changed, others, "github", disable_numparse=True),
    ]
    return f"different: beyond {found.factor:g} x rounding\n\n" + "\n\n".join(tables)


def main() -> None:
    """Take, write and print; or print what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path, help="folders of fingerprints")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, metavar="FILE")
    asked = parser.parse_args()
    if asked.show:
        print(text(read(asked.show)))
        return
    from bench.training import execution

    rows = [row for folder in asked.results for row in store.read(folder).numerics]
    found = Separation(
        stack=execution.configure(Execution(deterministic=False)),
        environment=execution.environment(),
        factor=FACTOR,
        pairs=tuple(pairs(rows)),
        changes=tuple(chain.from_iterable(starmap(changes, CASES))),
    )
    asked.output.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(text(found))


if __name__ == "__main__":
    main()
