"""What a difference between two measurements is worth: intervals, p-values, verdicts.

`bench.analysis.accuracy_stats` and `bench.analysis.speed_stats` make effects out of measurements;
this module holds what the two have in common. NumPy and SciPy only.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from bench.errors import BenchError

POWER = 0.8
"""Chance of being noticed that a difference must have to be called detectable."""

MOST_REPEATS = 10_000
"""More seeds or repeats than this are never suggested."""

Verdict = Literal["same", "better", "worse", "unclear"]


@dataclass(frozen=True)
class Interval:
    """A confidence interval, its ends included; ``level`` is a share, 0.95 for 95%."""

    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Estimate:
    """One quantity of one side.

    Attributes:
        value: the best guess.
        interval: of it.
        repeats: how many seeds stand behind it. From one, their spread is not known, and not in
            the interval.
    """

    value: float
    interval: Interval
    repeats: int


@dataclass(frozen=True)
class Effect:
    """How B differs from A.

    Attributes:
        estimate: B - A for accuracy (a share: 0.01 is one point), B / A for speed.
        interval: of the estimate, in the same unit.
        p_value: two-sided, of no change at all; NaN where nothing was tested.
        detectable: the smallest change that would have been told from none with a chance of
            `POWER`: a difference above 0, or a ratio above 1 (which stands for its inverse, too).
        no_change: the estimate's value if nothing changed: 0 for a difference, 1 for a ratio.
        repeats: seeds or repeats on the side that has fewer.
        assumed: whether too few repeats were there to see their spread, so that the interval takes
            it from a stated assumption instead.
        fixed: the part of the interval's half width (of a logarithm, for a ratio) that more repeats
            would leave: sampling of test pictures.
        freedom: degrees of freedom of the spread over repeats.
    """

    estimate: float
    interval: Interval
    p_value: float
    detectable: float
    no_change: Literal[0, 1]
    repeats: int
    assumed: bool
    fixed: float = 0.0
    freedom: float = math.inf

    @property
    def half_width(self) -> float:
        """Of the interval; of its logarithm, for a ratio."""
        low, high = self._scale(self.interval.low), self._scale(self.interval.high)
        return (high - low) / 2

    def size(self, value: float) -> float:
        """How far a value is from no change, whatever the direction; of a ratio the logarithm."""
        return abs(self._scale(value))

    def _scale(self, value: float) -> float:
        return math.log(value) if self.no_change else value


def wilson(right: float, n: float, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927).

    Args:
        right: successes, from 0 to n.
        n: tries, above 0; need not be whole, for an effective number of them.
        level: of confidence.

    Raises:
        BenchError: these are no such numbers.
    """
    check_level(level)
    if not 0 <= right <= n or not n > 0:
        raise BenchError(f"{right} right of {n}: expected 0 <= right <= n and n > 0")
    return _wilson(right / n, n, two_sided(level), level)


def _wilson(share: float, n: float, z: float, level: float) -> Interval:
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, middle - half)
    high = 1.0 if share == 1 else min(1.0, middle + half)
    return Interval(low, high, level)


def two_sided(level: float, freedom: float = math.inf) -> float:
    """How many standard errors an interval of this level reaches to either side (Student's t)."""
    return _quantile((1 + level) / 2, freedom)


def noticed(level: float, freedom: float = math.inf) -> float:
    """How many standard errors a change must have to be noticed with a chance of `POWER`.

    By the noncentral t distribution; a standard error that is itself estimated is taken to be too
    small by as much as it is in the median.
    """
    reach = two_sided(level, freedom)
    if math.isinf(freedom):
        return reach + _quantile(POWER, math.inf)
    too_small = math.sqrt(float(special.chdtri(freedom, 0.5)) / freedom)
    return float(special.nctdtrinc(freedom, 1 - POWER, reach)) / too_small


def _quantile(share: float, freedom: float) -> float:
    normal = math.isinf(freedom)
    return float(special.ndtri(share) if normal else special.stdtrit(freedom, share))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values for being several, step by step downwards (Holm 1979).

    Holds the chance of one or more false alarms among them all, whatever their dependence.

    Args:
        p_values: from 0 to 1; NaN was not tested, does not count, and stays NaN.

    Returns:
        The adjusted ones, in the order given.

    Raises:
        BenchError: one is no probability.
    """
    given = np.asarray(p_values, np.float64).reshape(-1)
    tested = ~np.isnan(given)
    values = given[tested]
    if ((values < 0) | (values > 1)).any():
        wrong = values[(values < 0) | (values > 1)][0]
        raise BenchError(f"p-value {wrong:g}: expected a number from 0 to 1, or NaN")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    result = np.full(len(given), math.nan)
    result[tested] = adjusted
    return tuple(float(p) for p in result)


def verdict(
    effect: Effect, margin: float, *, higher_is_better: bool = True, level: float = 0.95
) -> Verdict:
    """What may be said of a change, given how much of one does not matter.

    * ``same``: the whole interval lies within the margin around no change. This is an equivalence
      test (two one-sided tests, each at half of 1 - level, so stricter than the usual one), and it
      holds for a small change that is real, too.
    * ``worse``, ``better``: the estimate is beyond the margin, the interval leaves out no change,
      and the p-value is at most 1 - level. It says that there is a change, not that all of it is
      beyond the margin.
    * ``unclear``: anything else, and whatever was not tested.

    The three cannot hold together. To hold error rates over many effects, give each its p-value
    adjusted by `holm` (``dataclasses.replace``).

    Args:
        effect: its interval should be of the same level.
        margin: a difference (0.01 is one point of accuracy), or a share for a ratio: 0.05 is from
            1 / 1.05 to 1.05. Above 0.
        higher_is_better: True for accuracy and throughput, False for latency, memory or loss.
        level: of confidence.

    Raises:
        BenchError: the margin is not above 0, or the level no share.
    """
    check_level(level)
    limit = _limit(effect, margin)
    low, middle, high = (
        effect._scale(v) for v in (effect.interval.low, effect.estimate, effect.interval.high)
    )
    if math.isnan(effect.p_value) or math.isnan(middle):
        return "unclear"
    if -limit <= low and high <= limit:
        return "same"
    told_apart = (low > 0 or high < 0) and effect.p_value <= 1 - level
    if not told_apart or abs(middle) <= limit:
        return "unclear"
    return "better" if (middle > 0) == higher_is_better else "worse"


def called(effect: Effect, margin: float) -> float:
    """The change whose estimate would be beyond the margin with a chance of `POWER`.

    In the unit of `Effect.detectable`.

    Args:
        effect: what was measured.
        margin: as in `verdict`.

    Raises:
        BenchError: the margin is not above 0.
    """
    error = effect.half_width / two_sided(effect.interval.level, effect.freedom)
    value = _limit(effect, margin) + _quantile(POWER, math.inf) * error
    return math.exp(value) if effect.no_change else min(value, 1.0)


def needed(effect: Effect, margin: float) -> int | None:
    """About how many seeds or repeats on each side would bring the half width within the margin.

    Rough: the spread seen now is taken for the truth. What is there already counts, so "three more
    seeds" is ``needed(effect, margin) - effect.repeats``.

    Args:
        effect: what the present ones came to.
        margin: as in `verdict`.

    Returns:
        At least `Effect.repeats`; None where no number would do, because the test pictures are too
        few, or the number would be beyond `MOST_REPEATS`.

    Raises:
        BenchError: the margin is not above 0.
    """
    limit = _limit(effect, margin)
    room = limit**2 - effect.fixed**2
    if effect.half_width <= limit:
        return effect.repeats
    if room <= 0:
        return None
    level, now = effect.interval.level, effect.repeats
    single = (effect.half_width**2 - effect.fixed**2) * now / two_sided(level, effect.freedom) ** 2
    per_repeat = effect.freedom / max(now - 1, 1)

    def enough(count: int) -> bool:
        reach = two_sided(level, per_repeat * max(count - 1, 1))
        return single / count * reach**2 <= room

    if not enough(MOST_REPEATS):
        return None
    # More is never worse, and thousands of findings may ask.
    return bisect_left(range(now, MOST_REPEATS), True, key=enough) + now


def check_level(level: float) -> None:
    """Raise `BenchError` unless this is a level of confidence."""
    if not 0 < level < 1:
        raise BenchError(f"level {level}: expected a share between 0 and 1, such as 0.95")


def _limit(effect: Effect, margin: float) -> float:
    if not 0 < margin < math.inf:
        raise BenchError(f"margin {margin}: expected a number above 0")
    return math.log1p(margin) if effect.no_change else margin
