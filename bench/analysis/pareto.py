"""Which of several things are the best for what they cost: the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]
"""Which costs are the good ones: parameters are better lower, images/s higher."""


@dataclass(frozen=True)
class Point:
    """One thing to choose.

    Attributes:
        accuracy: the best guess; higher is better.
        cost: in any unit.
        high: upper end of the accuracy's interval; the accuracy itself where none is known.
    """

    accuracy: float
    cost: float
    high: float


@dataclass(frozen=True)
class Front:
    """Positions among the points given, each from the best cost to the worst.

    Attributes:
        front: no other point is at least as good in both and better in one; by the best guesses.
        maybe: behind the front, but with an interval that reaches it: nobody can tell that these do
            not belong to it.
    """

    front: tuple[int, ...]
    maybe: tuple[int, ...]


def pareto(points: Sequence[Point], better: Better) -> Front:
    """The front of these points; those whose accuracy or cost is no finite number are on neither.

    Costs are taken as they are: their own intervals, small beside the differences between models,
    move nothing.

    Args:
        points: in any order; equal ones are all on the front, or none is.
        better: which costs are the good ones.
    """
    sign = 1.0 if better == "lower" else -1.0
    known = [i for i, p in enumerate(points) if math.isfinite(p.accuracy) and math.isfinite(p.cost)]
    front: list[int] = []
    maybe: list[int] = []
    for i in sorted(known, key=lambda i: (sign * points[i].cost, -points[i].accuracy, i)):
        point = points[i]
        last = points[front[-1]] if front else None
        equal = last is not None and (point.accuracy, point.cost) == (last.accuracy, last.cost)
        if last is None or point.accuracy > last.accuracy or equal:
            front.append(i)
        elif point.high >= last.accuracy:
            maybe.append(i)
    return Front(tuple(front), tuple(maybe))
