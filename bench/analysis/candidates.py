"""What a question's rows say of each of its candidates.

Question, rows -> Known ... (a candidate each) -> Seen ..., for `bench.analysis.belief`
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bench import marks
from bench.analysis.belief import Seen
from bench.choices import Limits, Question
from bench.costs import CostResult, CostSpec
from bench.marks import Correct
from bench.probes import ProbeResult
from bench.records import TrialResult, TrialSpec
from bench.running import cases
from bench.tasks import Row

LEEWAY = 2.0
"""A speed that was measured beside other work excludes a candidate beyond this factor only."""

R = TypeVar("R", TrialResult, ProbeResult)


@dataclass(frozen=True, eq=False)
class Known:
    """A candidate, and its rows.

    Attributes:
        specs: its trials, by seed.
        rows: those that finished, by seed.
        failed: rows of trials that did not.
        probe: of its backbone, finished or not; None where there is none.
        cost: what inference takes, finished or not; None where it was not measured.
        val: bool (seeds, pictures): its answers on val, None where there are none. Those of a
            head alone are known from every trial that began with it, too.
    """

    specs: tuple[TrialSpec, ...]
    rows: tuple[TrialResult, ...]
    failed: tuple[TrialResult, ...]
    probe: ProbeResult | None
    cost: CostResult | None
    val: Correct | None = None

    @property
    def spec(self) -> TrialSpec:
        """Of its first seed."""
        return self.specs[0]

    @property
    def attempts(self) -> int:
        """Trials that ended, however."""
        return len(self.rows) + len(self.failed)

    @property
    def untried(self) -> tuple[TrialSpec, ...]:
        """Its trials that have no row."""
        ended = {row.key for row in (*self.rows, *self.failed)}
        return tuple(spec for spec in self.specs if spec.key not in ended)

    @property
    def parameters(self) -> int | None:
        """Numbers in backbone and head; None where nothing tells."""
        rows = (*self.rows, *((self.probe,) if self.probe else ()))
        return next((r.total_parameters for r in rows if r.total_parameters), None)

    @property
    def every_row(self) -> tuple[Row, ...]:
        """Of its trials, however they ended, its probe and its cost; others may share the last."""
        shared = tuple(row for row in (self.probe, self.cost) if row is not None)
        return (*self.rows, *self.failed, *shared)


def cost_of(spec: TrialSpec) -> CostSpec:
    """The measurement that says what inference with a trial's model takes."""
    return next(iter(cases.of_trial(spec)))


def gathered(question: Question, rows: Iterable[Row]) -> tuple[list[Known], list[str]]:
    """Every candidate with its rows, in the question's order; and what was left out, and why.

    Only rows that saw the same pictures can be held against each other: the question's, or those
    that most of them saw.
    """
    trials: dict[str, TrialResult] = {}
    probes: dict[str, ProbeResult] = {}
    costs: dict[str, CostResult] = {}
    for row in rows:
        if isinstance(row, TrialResult):
            trials[row.key] = row
        elif isinstance(row, ProbeResult):
            probes[row.key] = row
        elif isinstance(row, CostResult):
            costs[row.key] = row
    asked = {spec.seedless for spec in question.trials}
    trials = {k: row for k, row in trials.items() if row.spec.seedless in asked}
    trials, notes = _alike(trials, "trials", question.pictures)
    told = {k: r for k, r in trials.items() if r.status != "ok" or marks_of(r, True) is not None}
    if len(told) < len(trials):
        notes.append(
            f"{len(trials) - len(told)} trials do not say which val pictures they had right, and "
            "do not count: an older Bench measured them"
        )
    trials = told
    probes = {p.key: probes[p.key] for p in question.probes if p.key in probes}
    probes, more = _alike(probes, "probes", question.pictures)
    by_backbone = {p.backbone: probes.get(p.key) for p in question.probes}
    found = [
        Known(
            specs=specs,
            rows=tuple(r for s in specs if (r := trials.get(s.key)) and r.status == "ok"),
            failed=tuple(r for s in specs if (r := trials.get(s.key)) and r.status != "ok"),
            probe=by_backbone.get(specs[0].backbone),
            cost=costs.get(cost_of(specs[0]).key),
        )
        for specs in _candidates([*question.trials, *(r.spec for r in trials.values())])
    ]
    return [replace(known, val=_val(known, found)) for known in found], [*notes, *more]


def _candidates(trials: Sequence[TrialSpec]) -> list[tuple[TrialSpec, ...]]:
    """Trials that differ in nothing but the seed, by seed."""
    groups: dict[TrialSpec, list[TrialSpec]] = {}
    for spec in dict.fromkeys(trials):
        groups.setdefault(spec.seedless, []).append(spec)
    return [tuple(sorted(same, key=lambda s: s.seed)) for same in groups.values()]


def _alike(
    rows: dict[str, R], what: str, pictures: Sequence[str]
) -> tuple[dict[str, R], list[str]]:
    """Rows that saw certain pictures; without any, those that most rows saw."""
    counts = Counter(r.dataset.fingerprint for r in rows.values() if r.dataset)
    right = pictures or [found for found, _ in counts.most_common(1)]
    kept = {k: r for k, r in rows.items() if not r.dataset or r.dataset.fingerprint in right}
    gone = len(rows) - len(kept)
    if not gone:
        return rows, []
    return kept, [
        f"{gone} of {len(rows)} {what} saw other pictures and do not count: the dataset has "
        "changed between runs"
    ]


def _val(known: Known, everyone: Sequence[Known]) -> Correct | None:
    """Answers on val, a line for each seed that has any."""
    answers = {r.spec.seed: marks_of(r, True) for r in known.rows}
    if known.spec.freeze.strategy == "head_only":
        for other in everyone:
            if _starts_as(other.spec, known.spec):
                answers = {r.spec.seed: marks_of(r, False) for r in other.rows} | answers
    whole = [correct for _, correct in sorted(answers.items()) if correct is not None]
    return np.stack(whole) if whole else None


def _starts_as(spec: TrialSpec, head: TrialSpec) -> bool:
    """Whether phase 1 of a trial is the whole of a head-only one, but for the seed."""
    alike = {"freeze": head.freeze, "phase2": None, "batch_norm": head.batch_norm, "seed": 0}
    return spec.phase2 is not None and spec.model_copy(update=alike) == head.seedless


def marks_of(row: TrialResult, last: bool) -> Correct | None:
    """A trial's answers on val after its last phase, or after its first.

    Args:
        row: finished.
        last: after the last phase; else after phase 1.
    """
    phase = row.last_phase if last else row.phase1
    if phase is None or row.dataset is None:
        return None
    return marks.of_row(phase.val_correct, row.dataset.val)


def seen(known: Known) -> Seen:
    """What belief goes by. Candidates of one backbone have all of it in common, its weights too."""
    probe, spec = known.probe, known.spec
    answers = None
    if probe and probe.dataset:
        pictures = probe.dataset.val
        lines = [marks.of_row(text, pictures) for text in probe.linear_correct]
        whole = [line for line in lines if line is not None]
        answers = np.stack(whole) if whole else None
    other_head = probe is not None and probe.spec.head != spec.head
    strategy = f"{spec.freeze.label} {spec.head.name}" if other_head else spec.freeze.label
    return Seen(spec.backbone.model_dump_json(), strategy, known.val, answers)


def excluded(known: Known, limits: Limits) -> str:
    """Why a candidate cannot be the pick; empty where it can, as far as is known."""
    if known.spec.meaningless:
        return "random weights: its accuracy means nothing"
    if known.failed and not known.rows:
        return f"its trial ended {known.failed[-1].status}: {known.failed[-1].reason}"
    failed = known.probe is not None and known.probe.status not in ("ok", "diverged")
    if known.probe and failed and not known.rows:
        return f"its probe ended {known.probe.status}: {known.probe.reason}"
    return next(iter(_broken(known, limits)), "")


def _broken(known: Known, limits: Limits) -> Iterable[str]:
    parameters, cost = known.parameters, known.cost
    if limits.parameters and parameters and parameters > limits.parameters:
        yield f"{parameters:,} parameters, more than {limits.parameters:,}"
    if cost is None:
        return
    if cost.status != "ok" and limits.measured:
        yield f"its cost could not be measured: {cost.reason}"
        return
    if limits.latency:
        if cost.latency is None:
            yield "its latency is not known here, and there is a limit to it"
        elif cost.latency.median > limits.latency * _leeway(cost):
            yield f"{cost.latency.median:.3g} ms a picture, more than {limits.latency:g} ms"
    if limits.throughput:
        if cost.device is None:
            yield "its images/s are not known here, and there is a limit to them"
        elif cost.device.median < limits.throughput / _leeway(cost):
            yield f"{cost.device.median:.3g} images/s, fewer than {limits.throughput:g}"
    if limits.memory:
        if cost.memory is None:
            yield "its memory is not known on this device, and there is a limit to it"
        elif cost.memory.peak > limits.memory:
            yield f"{cost.memory.peak / 2**20:,.0f} MiB, more than {limits.memory / 2**20:,.0f} MiB"


def _leeway(cost: CostResult) -> float:
    """How far beyond a limit a speed is certainly too slow, though other work disturbed it."""
    return LEEWAY if cost.doubtful else 1.0


def near_limit(known: Known, limits: Limits) -> str:
    """Where what was measured reaches across a limit, though it does not exclude."""
    cost = known.cost
    if cost is None:
        return ""
    busy = "; measured beside other work, so it is in doubt" if cost.doubtful else ""
    if limits.latency and cost.latency and cost.latency.median > limits.latency:
        return f"{cost.latency.median:.3g} ms a picture, more than {limits.latency:g} ms{busy}"
    if limits.latency and cost.latency and cost.latency.p90 > limits.latency:
        return f"one call in ten took longer than {limits.latency:g} ms{busy}"
    if limits.throughput and cost.device and cost.device.low < limits.throughput:
        return f"some bursts were slower than {limits.throughput:g} images/s{busy}"
    return ""
