"""Accuracy, and differences in accuracy, with the sampling of test pictures and of seeds in them.

Right or wrong is a layout of two ways, seeds by pictures: all seeds saw the same pictures, so
neither are independent of each other. Three variances of the mean come out of such a layout
(Searle, Casella and McCulloch 1992, Variance Components, chapter 4): what the pictures' means say,
what the seeds' means say, and the part that is in both.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from bench.analysis.stats import (
    Effect,
    Estimate,
    Interval,
    check_level,
    noticed,
    two_sided,
    wilson,
)
from bench.errors import BenchError

TOGETHER = 0.003
"""Assumed where the spread over seeds cannot be seen: correlation between any two pictures of what
another training does to them. It makes the variance of a difference 1 + `TOGETHER` * pictures times
that of pictures that change independently of each other, which is a standard deviation over seeds
of about 1.2 points at an accuracy of 0.86. Meant to be too large rather than too small: reference
results (26 pretrained groups of 2 or 5 seeds, on 140 to 960 pictures) have 0.0003 on average, but
so few seeds leave single groups anywhere up to 0.02."""

SAME_COURSE = 0.5
"""From this correlation on, between what a seed did to single pictures in A and in B, a seed is
taken to have run the same course in both, and its two sides are compared with each other."""

Correct = NDArray[np.bool_]


@dataclass(frozen=True)
class _Layout:
    """Variances of a mean over seeds and pictures.

    Attributes:
        pictures: estimated from the pictures' means: what pictures add, and the residual.
        seeds: from the seeds' means: what seeds add, and the residual.
        residual: what is in both.
        freedom: degrees of freedom of ``seeds``; infinite where it is assumed.
        residual_freedom: of ``residual``.
        assumed: whether ``seeds`` is an assumption.
    """

    pictures: float
    seeds: float
    residual: float
    freedom: float
    residual_freedom: float
    assumed: bool = False

    def variance(self, level: float) -> float:
        """Of the mean, so much too large that a normal interval of this level holds.

        The seeds' part is widened as Student's t asks for. Never below either part alone.
        """
        wider = (two_sided(level, self.freedom) / two_sided(level)) ** 2
        return max(self.pictures, wider * self.seeds + self.lasting)

    @property
    def lasting(self) -> float:
        """What more seeds would not take away."""
        return max(self.pictures - self.residual, 0.0)


def accuracy(correct: Correct, level: float = 0.95) -> Estimate:
    """Mean accuracy of a recipe: over test pictures like these, and over seeds like these.

    Wilson's interval at an effective number of pictures, that is the number at which independent
    ones would give the variance of the two-way layout; its reach is Student's, with degrees of
    freedom by Satterthwaite (1946). With one seed this is Wilson's interval of that seed, and the
    spread over seeds is not in it.

    Chosen by simulation (150, 370 and 900 pictures at accuracy 0.97, 0.86 and 0.60; standard
    deviation over seeds 0, 1 and 2 points; 2 to 5 seeds): 95% intervals held it in 90 to 99%, all
    answers pooled as if independent in 63 to 93%. On 150 and 370 pictures, a bootstrap of pictures
    and seeds (the pigeonhole bootstrap, Owen 2007) held it in 86 to 99%, one of pictures alone in
    72 to 96%. With one seed, Wilson's interval is for that trained model; the recipe's accuracy it
    held in only 80% where seeds differ by 2 points.

    Args:
        correct: (seeds, pictures), the same pictures in the same order for every seed.
        level: of confidence.

    Raises:
        BenchError: there is nothing in it, or it has another shape.
    """
    check_level(level)
    right = _checked(correct, "accuracy")
    seeds, pictures = right.shape
    mean = float(right.mean())
    layout = _layout(right)
    if seeds == 1 or layout.pictures == 0:
        return Estimate(mean, wilson(mean * pictures, pictures, level), seeds)
    extra = max(layout.seeds - layout.residual, 0.0)
    variance = layout.pictures + extra
    doubt = layout.pictures**2 / max(pictures - 1, 1)
    if extra:
        doubt += layout.seeds**2 / layout.freedom + layout.residual**2 / layout.residual_freedom
    freedom = max(variance**2 / doubt, layout.freedom)
    wider = (two_sided(level, freedom) / two_sided(level)) ** 2
    effective = min(mean * (1 - mean) / (variance * wider), float(right.size))
    return Estimate(mean, wilson(mean * effective, effective, level), seeds)


def accuracy_difference(a: Correct, b: Correct, level: float = 0.95) -> Effect:
    """Accuracy of B minus that of A, paired on the same test pictures.

    One seed each: p is McNemar's, exact: are these two trained models equally good? Whether the
    recipes are is another question, since one training more changes accuracy, too. So the interval
    is Tango's score interval for paired proportions (1998), widened by the spread over seeds that
    `TOGETHER` assumes, and may hold 0 where p is small.

    Several: Tango's interval at an effective number of pictures. The variance is that of the
    layout, where the spread over seeds enters with Student's t, and p comes from the same. Where
    seed i of B ran the same course as seed i of A (equal numbers of seeds; see `SAME_COURSE`),
    differences are taken seed by seed; otherwise the sides vary on their own, which holds if seeds
    are paired, too, but has more degrees of freedom. Two seeds that ran the same course have one
    degree of freedom, too few to see a spread, so there the assumption helps out.

    Simulated false alarms at 5%, on the layouts that `accuracy` names, for unlike courses and for
    like ones: 0 to 6% (7% once) with 2 to 5 seeds, fewest where seeds hardly differ. With one seed,
    p alone would raise up to 26%; p and the interval together, as `verdict` asks, 0 to 6%.

    Args:
        a: (seeds, pictures), right or wrong. B's seeds in the same order, if they are the same.
        b: (seeds, pictures), of the same pictures in the same order.
        level: of confidence.

    Raises:
        BenchError: there is nothing in one, or the numbers of pictures differ.
    """
    check_level(level)
    before, after = _checked(a, "A"), _checked(b, "B")
    if before.shape[1] != after.shape[1]:
        raise BenchError(
            f"A has {before.shape[1]} pictures, B {after.shape[1]}: expected the same pictures"
        )
    changes = after.mean(axis=0) - before.mean(axis=0)
    layout = _between(before, after)
    single = len(before) == len(after) == 1
    interval = _score_interval(changes, layout, level)
    half = (interval.high - interval.low) / 2
    beyond = noticed(level, layout.freedom) / two_sided(level, layout.freedom) - 1
    reach = two_sided(level) * math.sqrt(layout.variance(level))
    return Effect(
        estimate=float(after.mean() - before.mean()),
        interval=interval,
        p_value=mcnemar(before[0], after[0]) if single else _p_value(changes, layout),
        detectable=min(half + beyond * reach, 1.0),
        no_change=0,
        repeats=min(len(before), len(after)),
        assumed=layout.assumed,
        fixed=min(two_sided(level) * math.sqrt(layout.lasting), half) if layout.seeds else half,
        freedom=layout.freedom,
    )


def mcnemar(a: Correct, b: Correct) -> float:
    """Exact p-value, two-sided, of as many pictures gained as lost (McNemar 1947).

    Args:
        a: (pictures,), right or wrong.
        b: (pictures,), of the same pictures.
    """
    gained, lost = int((~a & b).sum()), int((a & ~b).sum())
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost).pvalue)


def tango(gained: float, lost: float, n: float, level: float = 0.95) -> Interval:
    """Score interval of a difference between paired proportions (Tango 1998).

    Args:
        gained: pairs wrong before and right after; need not be whole.
        lost: the other way round.
        n: all pairs, above 0 and no fewer than these.
        level: of confidence.
    """
    reach, difference = two_sided(level), (gained - lost) / n

    def distance(delta: float) -> float:
        linear = (2 * n - gained + lost) * delta - gained - lost
        root = math.sqrt(max(linear**2 + 8 * n * lost * delta * (1 - delta), 0.0))
        variance = n * (2 * (root - linear) / (4 * n) + delta * (1 - delta))
        off = n * (difference - delta)
        return off**2 - reach**2 * max(variance, 0.0)

    # The difference itself may be a root, the wrong one, where no pair changed.
    near = 1e-9
    low, high = -1.0, 1.0
    if difference - near > -1 and distance(-1.0) > 0:
        low = float(optimize.brentq(distance, -1.0, difference - near))
    if difference + near < 1 and distance(1.0) > 0:
        high = float(optimize.brentq(distance, difference + near, 1.0))
    return Interval(low, high, level)


def _checked(correct: Correct, name: str) -> Correct:
    array = np.asarray(correct)
    if array.dtype != np.bool_ or array.ndim != 2 or array.size == 0:
        raise BenchError(
            f"{name}: {array.dtype} of shape {array.shape}: expected bool (seeds, pictures), "
            "at least one of each"
        )
    return array


def _layout(values: NDArray[np.generic]) -> _Layout:
    """Of (seeds, pictures). With one seed, its residual is all of it, and seeds add nothing."""
    cells = np.asarray(values, np.float64)
    seeds, pictures = cells.shape
    by_picture = float(cells.mean(axis=0).var()) / pictures
    if seeds == 1:
        return _Layout(by_picture, by_picture, by_picture, 0.0, 0.0)
    by_seed = float(cells.mean(axis=1).var(ddof=1)) / seeds
    freedom = (seeds - 1) * max(pictures - 1, 1)
    both = float((_residuals(cells) ** 2).sum()) / freedom / cells.size
    return _Layout(by_picture, by_seed, both, seeds - 1, freedom)


def _residuals(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """What neither the seed nor the picture explains, (seeds, pictures)."""
    rows, columns = cells.mean(axis=1, keepdims=True), cells.mean(axis=0, keepdims=True)
    return np.asarray(cells - rows - columns + cells.mean())


def _between(a: Correct, b: Correct) -> _Layout:
    """Of the difference between two sides."""
    before, after = a.astype(np.float64), b.astype(np.float64)
    if len(a) == len(b) and _same_course(before, after):
        paired = _layout(after - before)
        return paired if len(a) > 2 else _assuming(paired, a.shape[1])
    sides = (_layout(before), _layout(after))
    weights = [(len(side) - 1, len(side)) for side in (a, b)]
    freedom = sum(w for w, _ in weights)
    numbers = 1 / len(a) + 1 / len(b)

    def pooled(parts: tuple[float, float]) -> float:
        # Both sides are taken to vary alike: a side with a single seed shows nothing of its own.
        sums = sum(w * n * part for (w, n), part in zip(weights, parts, strict=True))
        return numbers * sums / freedom

    return _Layout(
        pictures=float((after.mean(axis=0) - before.mean(axis=0)).var()) / a.shape[1],
        seeds=pooled((sides[0].seeds, sides[1].seeds)),
        residual=pooled((sides[0].residual, sides[1].residual)),
        freedom=freedom,
        residual_freedom=freedom * max(a.shape[1] - 1, 1),
    )


def _same_course(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether seed i did to single pictures the same in both, beyond what all seeds did.

    A single seed can only be compared with its namesake.
    """
    if len(before) == 1:
        return True
    one, other = _residuals(before), _residuals(after)
    power = math.sqrt(float((one**2).sum()) * float((other**2).sum()))
    return float((one * other).sum()) > SAME_COURSE * power


def _assuming(layout: _Layout, pictures: int) -> _Layout:
    """With the spread over seeds that `TOGETHER` stands for, unless more of it can be seen."""
    expected = layout.residual * (1 + TOGETHER * pictures)
    return _Layout(
        layout.pictures, max(layout.seeds, expected), layout.residual, math.inf, math.inf, True
    )


def _effective(changes: NDArray[np.float64], variance: float) -> float:
    """How many pairs of single models would give this variance."""
    size, difference = float(np.abs(changes).mean()), float(changes.mean())
    if variance <= 0 or size == 0 or size <= difference**2:
        return float(len(changes))
    return (size - difference**2) / variance


def _score_interval(changes: NDArray[np.float64], layout: _Layout, level: float) -> Interval:
    variance = layout.variance(level)
    n = _effective(changes, variance)
    gained, lost = (float(np.maximum(side, 0).mean()) * n for side in (changes, -changes))
    interval = tango(gained, lost, n, level)
    if gained or lost:
        return interval
    # Seeds whose changes cancel picture by picture still vary.
    half = max(interval.high, two_sided(level) * math.sqrt(variance))
    return Interval(-half, half, level)


def _p_value(changes: NDArray[np.float64], layout: _Layout) -> float:
    """The p-value at which the score interval would end at 0."""
    size, difference = float(np.abs(changes).mean()), float(changes.mean())
    if abs(difference) < 1e-12:
        return 1.0

    def beyond(p: float) -> float:
        n = _effective(changes, layout.variance(1 - p))
        return difference**2 * n / size - two_sided(1 - p) ** 2

    least, most = 1e-15, 1 - 1e-9
    if beyond(least) >= 0:
        return least
    return float(optimize.brentq(beyond, least, most)) if beyond(most) > 0 else 1.0
