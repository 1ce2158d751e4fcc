"""What comes of holding a claim against what was measured."""

from dataclasses import dataclass, field
from typing import Literal

from bench.analysis.stats import Interval
from bench.analysis.summary import Group
from bench.claims import Claim

Verdict = Literal["holds", "below", "above", "unclear", "not comparable", "not measured"]

ROUNDING = 1e-9
"""Of arithmetic: 0.95 - 0.90 is a gain of 5 points."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a claim's quantity; the interval is None for what is exact."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Judged:
    """A claim beside what was measured.

    Attributes:
        claim: as published.
        verdict: ``holds``; ``below`` or ``above``: the truth is on that side of the claim;
            ``unclear``; ``not comparable``; ``not measured``.
        would: the verdict if what differs did not matter; only where it is not comparable.
        about: which trials, in words.
        run: how the recipe ran, in words; empty where a trap is not the question.
        measured: None where nothing was.
        seeds: behind it.
        stack: that ran it; empty where nothing did.
        reasons: why it is not comparable, or not measured.
        doubts: what else to know beside the verdict.
        guards: of its trials, those that failed.
        group: the trials; None for throughput, and where there are none.
    """

    claim: Claim
    verdict: Verdict
    would: Verdict | None = None
    about: str = ""
    run: str = ""
    measured: Measured | None = None
    seeds: int | None = None
    stack: str = ""
    reasons: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    group: Group | None = field(default=None, compare=False, repr=False)


def against(claim: Claim, measured: Measured) -> Verdict:
    """Where a measured value lies, if everything that the claim depends on is alike.

    It holds if the whole interval lies in what was claimed, with the claim's margin on either side;
    it is above or below if the whole interval lies beyond what was claimed. All else is unclear,
    and so is what has no interval, but for a count, which is exact.
    """
    margin = claim.near_enough + ROUNDING
    if measured.interval:
        low, high = measured.interval.low, measured.interval.high
    elif claim.quantity == "trainable_parameters":
        low = high = measured.value
    else:
        return "unclear"
    if claim.low - margin <= low and high <= claim.high + margin:
        return "holds"
    if high < claim.low - ROUNDING:
        return "below"
    return "above" if low > claim.high + ROUNDING else "unclear"
