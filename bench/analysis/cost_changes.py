"""What changed in the cost of a workload: throughput, latency, memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from bench.analysis.comparison import Finding
from bench.analysis.judging import Draft
from bench.analysis.margins import Quantity
from bench.analysis.speed_stats import ENOUGH, paired_ratio, ratio, together
from bench.analysis.stats import Effect
from bench.costs import CostResult

Samples = Sequence[float]
Runs = Sequence[CostResult]


@dataclass(frozen=True)
class Measure:
    """One quantity of a measurement.

    Attributes:
        quantity: its name.
        higher_is_better: False for latency and memory.
        round_spread: assumed standard deviation (of the logarithm) between rounds, where there are
            too few to see it.
        session_spread: the same between sessions of one machine, for what was not measured in
            turns.
    """

    quantity: Quantity
    higher_is_better: bool
    round_spread: float
    session_spread: float

    def samples(self, row: CostResult) -> Samples | None:
        """Of one process: bursts in the order they ran, or a single number; None without any."""
        if self.quantity == "throughput":
            return row.device.samples if row.device else None
        if self.quantity == "end_to_end":
            return row.end_to_end.samples if row.end_to_end else None
        if self.quantity == "latency":
            return (row.latency.median,) if row.latency else None
        return (float(row.memory.peak),) if row.memory else None


MEASURES = (
    Measure("throughput", True, 0.04, 0.05),
    Measure("end_to_end", True, 0.07, 0.05),
    Measure("latency", False, 0.06, 0.05),
    Measure("memory", False, 0.01, 0.01),
)
"""Spreads between rounds: what the same stack twice showed (`benchmarks.calibration`), rounded up.
Between sessions: assumed."""

MOSTLY = 0.5
"""Where a larger share of measurements was disturbed, nothing is called better or worse."""


def changes(a: Mapping[str, Runs], b: Mapping[str, Runs]) -> Iterator[Finding | Draft]:
    """Every quantity of every workload that both sides measured, and of all of them together.

    Args:
        a, b: measurements by key, each of one process.
    """
    weighed: dict[Measure, list[Draft]] = {measure: [] for measure in MEASURES}
    for key in (key for key in a if key in b):
        blank = Finding("workload", a[key][-1].spec.label, key, "status", "same")
        yield from _status(blank, a[key], b[key])
        for measure in MEASURES:
            change = _change(blank, measure, _ok(a[key]), _ok(b[key]))
            if isinstance(change, Draft):
                weighed[measure].append(change)
            if change:
                yield change
    for measure, drafts in weighed.items():
        if len(drafts) > 1:
            yield _overall(measure, drafts)


def _ok(runs: Runs) -> list[CostResult]:
    return [r for r in runs if r.status == "ok"]


def _status(blank: Finding, a: Runs, b: Runs) -> Iterator[Finding]:
    """Nothing to say where every process has a result on both sides."""
    shares = [len(_ok(runs)) / len(runs) for runs in (a, b)]
    if min(shares) == 1:
        return
    failed = [row for row in (b if shares[1] < 1 else a) if row.status != "ok"]
    yield replace(
        blank,
        verdict="same"
        if shares[0] == shares[1]
        else "better"
        if shares[1] > shares[0]
        else "worse",
        a=f"{len(_ok(a))} of {len(a)} ok",
        b=f"{len(_ok(b))} of {len(b)} ok",
        text=f"{failed[-1].status}: {failed[-1].reason}",
    )


def _change(blank: Finding, measure: Measure, a: Runs, b: Runs) -> Finding | Draft | None:
    before, after = ([r for r in side if measure.samples(r)] for side in (a, b))
    if not before:
        return None
    finding = replace(blank, quantity=measure.quantity)
    if not after:
        return replace(finding, verdict="unclear", text="not measured in B")
    pairs = _paired(before, after)
    if pairs:
        before, after = [x for x, _ in pairs], [y for _, y in pairs]
    used = [*before, *after]
    finding = replace(
        finding,
        a=_typical(measure, before),
        b=_typical(measure, after),
        doubts=tuple(_doubts(used, bool(pairs))),
    )
    if len({_machine(row) for row in used}) > 1:
        return replace(finding, verdict="unclear", text="not the same machine: not comparable")
    return Draft(
        finding,
        partial(_in_rounds, measure, pairs) if pairs else partial(_apart, measure, before, after),
        measure.higher_is_better,
        disturbed=sum(row.disturbed for row in used) > MOSTLY * len(used),
    )


def _paired(a: Runs, b: Runs) -> list[tuple[CostResult, CostResult]]:
    """Rounds in which both were measured; those disturbed are left out where enough remain."""
    rounds = {r.together: r for r in b if r.together}
    pairs = [(r, rounds[r.together]) for r in a if r.together in rounds]
    calm = [pair for pair in pairs if not any(r.disturbed for r in pair)]
    return calm if len(calm) >= ENOUGH else pairs


def _samples(measure: Measure, row: CostResult) -> Samples:
    return measure.samples(row) or ()


def _in_rounds(
    measure: Measure, pairs: Sequence[tuple[CostResult, CostResult]], level: float
) -> Effect:
    samples = [(_samples(measure, a), _samples(measure, b)) for a, b in pairs]
    return paired_ratio(samples, level, measure.round_spread)


def _apart(measure: Measure, a: Runs, b: Runs, level: float) -> Effect:
    before, after = ([_samples(measure, row) for row in side] for side in (a, b))
    return ratio(before, after, level, measure.session_spread)


def _typical(measure: Measure, rows: Runs) -> float:
    return median(median(_samples(measure, row)) for row in rows)


def _doubts(rows: Runs, in_turns: bool) -> Iterator[str]:
    busy = sum(row.disturbed for row in rows)
    if busy:
        yield (
            f"other work used the machine during {busy} of {len(rows)} measurements; "
            "measure again when it is quiet"
        )
    if not in_turns:
        yield "measured apart: how the machine drifts is assumed; bench stacks measures in turns"


def _machine(row: CostResult) -> str:
    here = row.environment
    return f"{here.processor}, {here.cores} cores, {row.stack.device}" if here else "unknown"


def _overall(measure: Measure, drafts: Sequence[Draft]) -> Draft:
    """Geometric mean over workloads: sees what all have in common before each alone shows it."""

    def effect_at(level: float) -> Effect:
        return together([draft.effect_at(level) for draft in drafts])

    finding = Finding("overall", f"{len(drafts)} workloads", "", measure.quantity, "same")
    disturbed = any(draft.disturbed for draft in drafts)
    return Draft(finding, effect_at, measure.higher_is_better, disturbed)
