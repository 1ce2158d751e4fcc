"""Claims about throughput held against measurements of cost."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.analysis import speed_stats
from bench.analysis.claim_verdicts import Judged, Measured, against
from bench.claims import Claim, Selection
from bench.costs import CostResult


def of_costs(claim: Claim, costs: Sequence[CostResult]) -> Iterator[Judged]:
    """A claim of throughput, for each pair of measurements that differ only as it says."""
    if claim.over is None:
        return
    for cost in costs:
        if not _costs_of(claim.of, cost):
            continue
        for other in costs:
            if _costs_of(claim.over, other) and _same_setting(cost, other):
                yield _judged_speed(claim, cost, other)


def _costs_of(side: Selection, cost: CostResult) -> bool:
    """Whether a measurement is of a selection's phase, out of the box."""
    spec = cost.spec
    return (
        cost.device is not None
        and spec.mode == "default"
        and spec.workload == f"phase {side.phase}"
        and side.backbone in (None, spec.backbone.name)
        and side.head in (None, spec.head.name)
        # Phase 1 is the same whatever trains after it.
        and (side.phase == 1 or side.freeze in (None, spec.freeze))
    )


def _same_setting(one: CostResult, other: CostResult) -> bool:
    a, b = one.spec, other.spec
    return (
        one.stack.id == other.stack.id
        and a.backbone == b.backbone
        and a.head == b.head
        and (a.image_size, a.batch_size, a.precision) == (b.image_size, b.batch_size, b.precision)
    )


def _judged_speed(claim: Claim, cost: CostResult, other: CostResult) -> Judged:
    assert cost.device is not None
    assert other.device is not None
    effect = speed_stats.ratio([other.device.samples], [cost.device.samples])
    measured = Measured(effect.estimate, effect.interval)
    spec = cost.spec
    parts = (spec.backbone.name, f"{spec.image_size} px", f"{spec.work} over {other.spec.work}")
    judged = Judged(
        claim,
        against(claim, measured),
        about=" · ".join(parts),
        measured=measured,
        stack=cost.stack.id,
        doubts=tuple(_speed_doubts(cost, other)),
    )
    if claim.backbone in (None, spec.backbone.name):
        return judged
    reason = f"another backbone: claimed for {claim.backbone}"
    return replace(judged, verdict="not comparable", would=judged.verdict, reasons=(reason,))


def _speed_doubts(cost: CostResult, other: CostResult) -> Iterator[str]:
    yield f"on {cost.stack.device}, with batches of {cost.batch_size or cost.spec.batch_size}"
    if cost.doubtful or other.doubtful:
        yield "other work on the machine may have slowed it down"
