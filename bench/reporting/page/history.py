"""How val accuracy went, epoch by epoch, as a drawing of few lines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.analysis.details import SeedDetail
from bench.records import Epoch

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 92, 20, 36
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Between lines of the grid; the smallest that leaves no more than `MOST_LINES`."""

MOST_LINES = 6
MOST_TICKS = 12
APART = 13
"""Pixels between two labels at the right."""


@dataclass(frozen=True)
class Curve:
    """One seed: where its points are, as ``x,y`` pairs, and its last one."""

    label: str
    points: tuple[tuple[float, float], ...]
    label_y: float

    @property
    def path(self) -> str:
        """As SVG's ``polyline`` wants them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


class History:
    """The drawing; lengths are pixels of a picture of `WIDTH` x `HEIGHT`.

    Args:
        seeds: of one trial.
    """

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM

    def __init__(self, seeds: Sequence[SeedDetail]) -> None:
        self.seeds = tuple(s for s in seeds if drawn(s))
        points = [e for s in self.seeds for e in drawn(s)]
        values = [e.val_accuracy for e in points]
        self._low, self._high, self._step = _scale(min(values, default=0), max(values, default=1))
        indices = [e.index for e in points]
        self._first, self._last = min(indices, default=0), max(indices, default=0)

    def __bool__(self) -> bool:
        return bool(self.seeds)

    @cached_property
    def grid(self) -> tuple[tuple[float, str], ...]:
        """Heights and labels of its lines."""
        count = round((self._high - self._low) / self._step)
        values = [self._low + n * self._step for n in range(count + 1)]
        return tuple((self._y(v), f"{100 * v:.0f}%") for v in values)

    @cached_property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Places and numbers of epochs, from 1."""
        every = -(-(self._last - self._first + 1) // MOST_TICKS)
        shown = range(self._first, self._last + 1, every)
        return tuple((self._x(i), str(i + 1)) for i in shown)

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """One for each seed, labelled at the right without overlap."""
        ways = [(s, tuple(map(self._point, drawn(s)))) for s in self.seeds]
        ways.sort(key=lambda way: way[1][-1][1])
        found: list[Curve] = []
        for seed, points in ways:
            above = found[-1].label_y + APART if found else float("-inf")
            place = max(points[-1][1] + 4, above)
            found.append(Curve(f"seed {seed.seed}", points, place))
        return tuple(found)

    @cached_property
    def boundary(self) -> float | None:
        """Where fine-tuning starts; None where there is no phase before it, or none after."""
        starts = {
            s.phase2_epochs[0].index for s in self.seeds if s.phase1_epochs if s.phase2_epochs
        }
        return self._x(min(starts) - 0.5) if starts else None

    @property
    def summary(self) -> str:
        """What the drawing shows, in words."""
        said = []
        for seed in self.seeds:
            after = [
                f"{100 * phase[-1].val_accuracy:.1f}% at the end of phase {number}"
                for number, phase in ((1, seed.phase1_epochs), (2, seed.phase2_epochs))
                if phase
            ]
            said.append(f"seed {seed.seed}: {', '.join(after)}")
        return f"Val accuracy by epoch. {'; '.join(said)}."

    def _point(self, epoch: Epoch) -> tuple[float, float]:
        return self._x(epoch.index), self._y(epoch.val_accuracy)

    def _x(self, index: float) -> float:
        span = self._last - self._first + 1
        return round(self.left + (index - self._first + 0.5) * (self.right - self.left) / span, 1)

    def _y(self, value: float) -> float:
        share = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return round(self.bottom - share * (self.bottom - self.top), 1)


def drawn(seed: SeedDetail) -> tuple[Epoch, ...]:
    """Those of both phases that have an accuracy."""
    return tuple(e for e in seed.phase1_epochs + seed.phase2_epochs if 0 <= e.val_accuracy <= 1)


def _scale(low: float, high: float) -> tuple[float, float, float]:
    """From where to where, in which steps: round numbers around these two."""
    step = next((s for s in STEPS if (high - low) / s <= MOST_LINES - 2), STEPS[-1])
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = (first - 1, last) if first else (first, last + 1)
    return first * step, last * step, step
