"""Trials as points: accuracy against a cost, and which of them are on the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from bench.analysis.evidence import Figure, Line, Quantity
from bench.analysis.pareto import Better, Front, Point, pareto
from bench.reporting.plots.chosen import Accuracy, Sound

FAR_BELOW = 10.0
"""Points between a few trials and all others from which on the former are cut off, and named."""
SAME_COST = 1.001
FEW_EQUAL, LEAST_SPAN = 12, 1.1


@dataclass(frozen=True)
class Axis:
    """A cost to plot against.

    Attributes:
        name: of the plot.
        quantity: of a line.
        words: what it is, in a title.
        unit: as values are drawn.
        scale: from the quantity's unit to that.
        better: which values are the good ones.
        measured: what the value is of; for the caption.
        needs: what must have been measured.
    """

    name: str
    quantity: Quantity
    words: str
    unit: str
    scale: float
    better: Better
    measured: str
    needs: str

    @property
    def label(self) -> str:
        """With its unit."""
        return f"{self.words}, {self.unit}"


AXES = (
    Axis(
        *("accuracy-train-speed", "train_speed", "training throughput", "images/s", 1, "higher"),
        "Throughput is of the last phase's steps",
        "trials that ended well, and their throughput (bench measure SUITE)",
    ),
    Axis(
        *("accuracy-inference-speed", "inference_speed", "inference throughput", "images/s"),
        *(1, "higher", "Throughput is of forward passes, as bench measure found it"),
        "trials that ended well, and bench measure SUITE into the same folder",
    ),
    Axis(
        *("accuracy-parameters", "parameters", "parameters", "millions", 1e-6, "lower"),
        "Parameters are the numbers in backbone and head",
        "trials that ended well, of models that differ in their size",
    ),
    Axis(
        *("accuracy-memory", "memory", "memory in training", "MiB", 2**-20, "lower"),
        "Memory is the most that steps of the last phase held, as bench measure found it",
        "trials that ended well, and bench measure SUITE into the same folder",
    ),
)


@dataclass(frozen=True)
class Dot:
    """A line as a point: `x` in the axis' unit, `y` in percent; `at` is where it is drawn."""

    line: Line
    x: float
    y: Accuracy
    cost: Figure
    at: float


@dataclass(frozen=True)
class Cloud:
    """Dots, and which of them are on the front.

    Attributes:
        dots: with costs of one kind: all measured apart, or all the trials' own.
        front: positions among them.
        missing: trials whose cost is not known in that kind.
    """

    dots: tuple[Dot, ...]
    front: Front
    missing: int


def cloud(axis: Axis, field: Sound) -> Cloud | None:
    """The field's trials whose cost is known; None where there is nothing to weigh."""
    dots = tuple(
        Dot(line, x, field.accuracies[line.number], cost, x)
        for line, cost in _costs(axis, field.lines)
        if (x := cost.value * axis.scale) > 0
    )
    xs = [dot.x for dot in dots]
    span = max(xs) / min(xs) if xs else 1.0
    # Where all are of one size there is nothing to weigh accuracy against.
    if not xs or (axis.quantity == "parameters" and len(xs) > 1 and span < SAME_COST):
        return None
    front = pareto([Point(d.y.value, d.x, d.y.high) for d in dots], axis.better)
    found = Cloud(dots, front, len(field.lines) - len(dots))
    return _side_by_side(found, max(span, LEAST_SPAN))


def _costs(axis: Axis, lines: Sequence[Line]) -> list[tuple[Line, Figure]]:
    """Costs of one kind: as measured apart if most have that, else what more lines have."""
    apart, own = (
        [(line, cost) for line in lines if (cost := line.cost(axis.quantity, kind))]
        for kind in (True, False)
    )
    return apart if 2 * len(apart) > len(lines) else max(apart, own, key=len)


def _side_by_side(cloud: Cloud, span: float) -> Cloud:
    """Dots of equal cost moved a little, so that none hides another."""
    same: dict[float, list[int]] = {}
    for i, dot in enumerate(cloud.dots):
        same.setdefault(dot.x, []).append(i)
    dots = list(cloud.dots)
    for group in same.values():
        if 1 < len(group) <= FEW_EQUAL:
            step = span ** (0.5 / 25)
            for place, i in enumerate(sorted(group, key=lambda i: dots[i].y.value)):
                moved = dots[i].x * step ** (place - (len(group) - 1) / 2)
                dots[i] = replace(dots[i], at=moved)
    return replace(cloud, dots=tuple(dots))


def cut(cloud: Cloud) -> float | None:
    """Where the y axis begins if a few trials lie far below all others; None if none do."""
    ys = sorted(dot.y.value for dot in cloud.dots)
    gap, at = max(((b - a, i) for i, (a, b) in enumerate(pairwise(ys), start=1)), default=(0.0, 0))
    if at > len(ys) / 3 or gap < FAR_BELOW or gap < 1.5 * (ys[-1] - ys[at]):
        return None
    above = [dot.y for dot in cloud.dots if dot.y.value >= ys[at]]
    lowest, highest = min(y.low for y in above), max(y.high for y in above)
    floor = lowest - 0.15 * (highest - lowest)
    return floor if floor > ys[at - 1] else None
