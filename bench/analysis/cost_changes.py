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
    """

    quantity: Quantity
    higher_is_better: bool

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
    Measure("throughput", True),
    Measure("end_to_end", True),
    Measure("latency", False),
    Measure("memory", False),
)


def changes(a: Mapping[str, Runs], b: Mapping[str, Runs]) -> Iterator[Finding | Draft]:
    """Every quantity of every workload that both sides measured, and of all of them together.

    Args:
        a, b: measurements by key, each of one process.
    """
    weighed: dict[Measure, list[Draft]] = {measure: [] for measure in MEASURES}
    for key in (key for key in a if key in b):
        before, after = _ok(a[key]), _ok(b[key])
        blank = Finding("workload", a[key][-1].spec.label, key, "status", "same")
        yield from _status(blank, a[key], b[key])
        for measure in MEASURES:
            draft = _draft(blank, measure, before, after)
            if draft:
                weighed[measure].append(draft)
                yield draft
    for measure, drafts in weighed.items():
        if len(drafts) > 1:
            yield _overall(measure, drafts)


def _ok(runs: Runs) -> list[CostResult]:
    return [r for r in runs if r.status == "ok"]


def _status(blank: Finding, a: Runs, b: Runs) -> Iterator[Finding]:
    """Nothing to say where both sides have a result, however often it took."""
    before, after = bool(_ok(a)), bool(_ok(b))
    if before and after:
        return
    last = (b if not after else a)[-1]
    yield replace(
        blank,
        verdict="same" if before == after else "better" if after else "worse",
        a="ok" if before else a[-1].status,
        b="ok" if after else b[-1].status,
        text=f"{last.status}: {last.reason}",
    )


def _draft(blank: Finding, measure: Measure, a: Runs, b: Runs) -> Draft | None:
    before, after = ([r for r in side if measure.samples(r)] for side in (a, b))
    if not before or not after:
        return None
    pairs = _paired(before, after)
    used = [side for pair in pairs for side in pair] if pairs else [*before, *after]
    finding = replace(
        blank,
        quantity=measure.quantity,
        a=_typical(measure, [x for x, _ in pairs] or before),
        b=_typical(measure, [y for _, y in pairs] or after),
        doubts=tuple(_doubts(used, bool(pairs))),
    )
    if pairs:
        return Draft(finding, partial(_in_rounds, measure, pairs), measure.higher_is_better)
    return Draft(finding, partial(_apart, measure, before, after), measure.higher_is_better)


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
    return paired_ratio([(_samples(measure, a), _samples(measure, b)) for a, b in pairs], level)


def _apart(measure: Measure, a: Runs, b: Runs, level: float) -> Effect:
    return ratio([_samples(measure, r) for r in a], [_samples(measure, r) for r in b], level)


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
        yield "measured apart, so a drift of the machine is in it; bench stacks measures in turns"
    machines = {_machine(row) for row in rows}
    if len(machines) > 1:
        yield f"not the same machine: {' and '.join(sorted(machines))}; measure on one"


def _machine(row: CostResult) -> str:
    here = row.environment
    return f"{here.processor}, {here.cores} cores, {row.stack.device}" if here else "unknown"


def _overall(measure: Measure, drafts: Sequence[Draft]) -> Draft:
    """Geometric mean over workloads: sees what all have in common before each alone shows it."""

    def effect_at(level: float) -> Effect:
        return together([draft.effect_at(level) for draft in drafts])

    finding = Finding("overall", f"{len(drafts)} workloads", "", measure.quantity, "same")
    return Draft(finding, effect_at, measure.higher_is_better)
