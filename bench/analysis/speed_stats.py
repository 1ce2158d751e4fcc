"""Ratios of throughput or latency, with the process as the unit.

Bursts of one process resemble each other more than they resemble those of the next process: where
memory came to lie, which clock the processor had. So however many bursts there are, a process is
one observation.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from bench.analysis.stats import Effect, Interval, check_level, noticed, two_sided
from bench.errors import BenchError

PROCESS_SPREAD = 0.07
"""Assumed where it cannot be seen: standard deviation between processes of the logarithm of their
median speed, that is 7%: of two cases in ``results/reference/repeat.json``, measured on a virtual
machine, whose neighbours come and go. A machine of one's own may do better."""

ROUND_SPREAD = 0.04
"""Between rounds, of the ratio of two processes measured in turns, where it cannot be seen."""

ENOUGH = 3
"""Repeats on each side from which on the spread between processes is taken from them."""

MOST_ALIKE = 0.95
"""No higher correlation of a burst with the next is believed."""


def ratio(
    a: Sequence[Sequence[float]],
    b: Sequence[Sequence[float]],
    level: float = 0.95,
    session: float = 0.0,
) -> Effect:
    """Speed (or latency) of B over that of A: geometric mean of B's medians over that of A's.

    From `ENOUGH` repeats on either side: Welch's t test on the logarithms of the repeats' medians.
    Simulated false alarms at 5% (3 to 8 repeats; processes that differ by 1 to 4%, or are slow now
    and then): 0 to 6%. Welch's needs no equal spread on both sides; a rank test of 3 against 3
    cannot get below p = 0.1, so it could never raise one.

    Fewer on one side: the spread between processes is assumed to be `PROCESS_SPREAD`, or what is
    seen if that is more, on both sides; interval and p-value are normal, and as good as the
    assumption is true.

    In both, the standard error is at least what the bursts inside the runs leave open in their
    medians, and the spread between sessions comes on top, as ``fixed``: what was not measured in
    turns (`paired_ratio`) also differs by what else the machine did, which no repeat shows.

    Args:
        a: repeats (fresh processes), each the samples of its bursts in the order they ran; above 0.
        b: the same of B; in the same unit.
        level: of confidence.
        session: standard deviation of the logarithm of all speeds of a session, assumed.

    Raises:
        BenchError: a side has no repeat, a repeat no sample, or a sample is not above 0.
    """
    check_level(level)
    sides = (_checked(a, "A"), _checked(b, "B"))
    medians = [np.array([_log_median(run) for run in side]) for side in sides]
    counts = [len(side) for side in sides]
    assumed = min(counts) < ENOUGH
    seen = [float(m.var(ddof=1)) if len(m) > 1 else 0.0 for m in medians]
    inside = [float(np.mean([_median_variance(run) for run in side])) for side in sides]
    if assumed:
        least = PROCESS_SPREAD**2
        terms = [max(v, least + w) / n for v, w, n in zip(seen, inside, counts, strict=True)]
        freedom = math.inf
    else:
        terms = [max(v, w) / n for v, w, n in zip(seen, inside, counts, strict=True)]
        freedom = _welch(terms, counts)
    return of_logarithm(
        float(medians[1].mean() - medians[0].mean()),
        math.sqrt(sum(terms)),
        shared=math.sqrt(2) * session,
        freedom=freedom,
        repeats=min(counts),
        assumed=assumed,
        level=level,
    )


def paired_ratio(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]],
    level: float = 0.95,
    spread: float = ROUND_SPREAD,
) -> Effect:
    """The same from rounds in which A and B were measured in turns, burst by burst.

    A drift of the machine reaches both alike and cancels, so that a round's ratio varies less than
    either side. A side's bursts enter by the mean of their logarithms, a tenth at either end left
    out: bursts that ran in the same seconds differ together, which medians do not make use of.

    From `ENOUGH` rounds: Student's t test on the logarithms of the rounds' ratios. Fewer: their
    spread is assumed, or what is seen if that is more.

    Args:
        pairs: a round each: samples of A's process, and of B's, in the same unit, above 0.
        level: of confidence.
        spread: assumed standard deviation of the logarithm of a round's ratio.

    Raises:
        BenchError: there is no pair, a side of one is empty, or a sample is not above 0.
    """
    check_level(level)
    before = _checked([a for a, _ in pairs], "A")
    after = _checked([b for _, b in pairs], "B")
    logs = np.array([_middle(b) - _middle(a) for a, b in zip(before, after, strict=True)])
    count = len(logs)
    seen = float(logs.var(ddof=1)) if count > 1 else 0.0
    assumed = count < ENOUGH
    if assumed:
        seen = max(seen, spread**2)
    return of_logarithm(
        float(logs.mean()),
        math.sqrt(seen / count),
        freedom=math.inf if assumed else count - 1,
        repeats=count,
        assumed=assumed,
        level=level,
    )


def together(effects: Sequence[Effect]) -> Effect:
    """The geometric mean of ratios that were measured apart from one another.

    Args:
        effects: of different workloads, all of one level; at least one. What is ``fixed`` in them
            they have in common.
    """
    level, count = effects[0].interval.level, len(effects)
    shared = float(np.mean([e.fixed for e in effects])) / two_sided(level)
    errors = [
        math.sqrt(max(e.half_width**2 - e.fixed**2, 0.0)) / two_sided(level, e.freedom)
        for e in effects
    ]
    error = math.sqrt(sum(x * x for x in errors)) / count
    doubt = sum((x / count) ** 4 / e.freedom for x, e in zip(errors, effects, strict=True))
    return of_logarithm(
        float(np.mean([math.log(e.estimate) for e in effects])),
        error,
        shared=shared,
        freedom=error**4 / doubt if doubt else min(e.freedom for e in effects),
        repeats=min(e.repeats for e in effects),
        assumed=any(e.assumed for e in effects),
        level=level,
    )


def of_logarithm(
    difference: float,
    error: float,
    *,
    freedom: float,
    repeats: int,
    assumed: bool,
    level: float,
    shared: float = 0.0,
) -> Effect:
    """A ratio, from the difference of logarithms.

    Args:
        difference: of B and A.
        error: standard error, as estimated.
        freedom: degrees of freedom of that estimate.
        repeats: on the side that has fewer.
        assumed: whether the error is an assumption.
        level: of confidence.
        shared: standard error that comes on top and is known, or assumed.
    """
    fixed = two_sided(level) * shared
    reach = math.hypot(two_sided(level, freedom) * error, fixed)
    return Effect(
        estimate=math.exp(difference),
        interval=Interval(math.exp(difference - reach), math.exp(difference + reach), level),
        p_value=_p_value(difference, error, freedom, shared),
        detectable=math.exp(math.hypot(noticed(level, freedom) * error, noticed(level) * shared)),
        no_change=1,
        repeats=repeats,
        assumed=assumed,
        fixed=fixed,
        freedom=freedom,
    )


def _log_median(run: NDArray[np.float64]) -> float:
    return math.log(float(np.median(run)))


def _middle(run: NDArray[np.float64]) -> float:
    return float(stats.trim_mean(np.log(run), 0.1))


def _checked(side: Sequence[Sequence[float]], name: str) -> list[NDArray[np.float64]]:
    runs = [np.asarray(run, np.float64).reshape(-1) for run in side]
    if not runs or not all(len(run) for run in runs):
        sizes = [len(run) for run in runs]
        raise BenchError(f"{name}: repeats of {sizes} samples: expected at least one of each")
    for run in runs:
        wrong = run[~(np.isfinite(run) & (run > 0))]
        if len(wrong):
            raise BenchError(f"{name}: sample {wrong[0]:g}: expected a number above 0")
    return runs


def _median_variance(run: NDArray[np.float64]) -> float:
    """Of the logarithm of a run's median, bursts correlated with the next (as if of first order).

    The deviation of a burst comes from their middle half, so that a few slow ones count little.
    """
    logs = np.log(run)
    if len(logs) < 3:
        return float(logs.var(ddof=1)) if len(logs) == 2 else 0.0
    low, high = np.quantile(logs, (0.25, 0.75))
    deviation = (high - low) / (2 * float(stats.norm.ppf(0.75)))
    around = logs - logs.mean()
    power = float((around**2).sum())
    alike = float((around[1:] * around[:-1]).sum()) / power if power > 0 else 0.0
    # Few bursts look less alike than they are (Kendall 1954).
    alike = min(max(alike + (1 + 3 * alike) / len(logs), 0.0), MOST_ALIKE)
    alone = len(logs) * (1 - alike) / (1 + alike)
    return float(math.pi / 2 * deviation**2 / max(alone, 1.0))


def _welch(terms: Sequence[float], counts: Sequence[int]) -> float:
    """Degrees of freedom of a sum of two estimated variances (Welch 1947)."""
    total = sum(terms)
    if total == 0:
        return float(sum(counts) - 2)
    shares = [term / total for term in terms]
    return 1 / sum(s * s / (n - 1) for s, n in zip(shares, counts, strict=True))


def _p_value(difference: float, error: float, freedom: float, shared: float) -> float:
    """At which the interval would end at no change."""
    if abs(difference) < 1e-12:
        return 1.0
    if error == 0 and shared == 0:
        return 0.0
    if shared == 0:
        return float(2 * stats.t.sf(abs(difference) / error, freedom))

    def beyond(p: float) -> float:
        known = two_sided(1 - p) * shared
        return abs(difference) - math.hypot(two_sided(1 - p, freedom) * error, known)

    least, most = 1e-15, 1 - 1e-9
    if beyond(least) >= 0:
        return least
    return float(optimize.brentq(beyond, least, most)) if beyond(most) > 0 else 1.0
