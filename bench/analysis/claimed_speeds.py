"""Claims about throughput held against measurements of cost."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.analysis import speed_stats
from bench.analysis.claim_pairs import words
from bench.analysis.claim_settings import VARIED, Recipe, differences
from bench.analysis.claim_verdicts import Judged, Measured, against
from bench.claims import Claim, Selection
from bench.costs import CostResult, CostSpec
from bench.running import cases

OF_A_PHASE = frozenset({"freeze", "batch_norm", "optimizer"})
"""Settings that phases 1 and 2 of one trial have each for itself."""


def of_costs(claim: Claim, costs: Sequence[CostResult], recipe: Recipe) -> Iterator[Judged]:
    """A claim of throughput, for each pair of measurements that differ only as it says.

    Args:
        claim: of a ratio.
        costs: of one results folder.
        recipe: what was measured otherwise than its trials run is not comparable.
    """
    if claim.over is None:
        return
    sides = [[c for c in costs if _costs_of(side, c)] for side in (claim.of, claim.over)]
    pairs = [(one, other) for one in sides[0] for other in sides[1] if _alike(claim, one, other)]
    asked = {spec: None for trial in recipe.trials for spec in cases.of_trial(trial)}
    for one, other in pairs:
        yield _judged_speed(claim, one, other, list(asked))
    if all(sides) and not pairs:
        reason = "no two measurements of its phases are alike otherwise, and of one machine"
        yield Judged(claim, "not measured", about=_words(claim), reasons=(reason,))


def _words(claim: Claim) -> str:
    return " over ".join(words(side) for side in (claim.of, claim.over) if side)


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


def _alike(claim: Claim, one: CostResult, other: CostResult) -> bool:
    """Whether two measurements on one machine have all in common that the claim does not name."""
    passed = {"workload"}.union(*(VARIED.get(key, frozenset()) for key in claim.varied))
    if one.spec.workload != other.spec.workload:
        passed |= OF_A_PHASE
    same_machine = one.stack.id == other.stack.id and _machine(one) == _machine(other)
    return (
        same_machine and not set(differences(_settings(one.spec), _settings(other.spec))) - passed
    )


def _machine(cost: CostResult) -> tuple[str, int] | None:
    here = cost.environment
    return (here.processor, here.cores) if here else None


def _settings(spec: CostSpec) -> dict[str, object]:
    """By the names that trials have for them."""
    found = {name: getattr(spec, name) for name in CostSpec.model_fields}
    head, backbone = spec.head.model_dump(exclude_none=True), spec.backbone.model_dump()
    found["freeze"] = spec.freeze.label if spec.freeze else None
    found |= {"head": head.pop("name"), "backbone": backbone.pop("name")}
    return found | head | backbone


def _judged_speed(
    claim: Claim, cost: CostResult, other: CostResult, asked: Sequence[CostSpec]
) -> Judged:
    assert cost.device is not None
    assert other.device is not None
    effect = speed_stats.ratio([other.device.samples], [cost.device.samples])
    measured = Measured(effect.estimate, effect.interval)
    spec = cost.spec
    judged = Judged(
        claim,
        against(claim, measured),
        about=_about(claim, cost, other),
        measured=measured,
        stack=cost.stack.id,
        doubts=tuple(_speed_doubts(cost, other, effect.assumed)),
    )
    reasons = []
    if claim.backbone not in (None, spec.backbone.name):
        reasons.append(f"another backbone: claimed for {claim.backbone}")
    unlike = dict.fromkeys(text for c in (cost, other) for text in _unlike(c.spec, asked))
    if unlike:
        reasons.append(f"not as in the recipe: {', '.join(unlike)}")
    if not reasons:
        return judged
    return replace(judged, verdict="not comparable", would=judged.verdict, reasons=tuple(reasons))


def _about(claim: Claim, cost: CostResult, other: CostResult) -> str:
    spec = cost.spec
    sides = []
    for one in (spec, other.spec):
        named = [one.backbone.name] if "backbone" in claim.varied else []
        sides.append(
            " ".join((one.work, *named, *([one.head.name] if "head" in claim.varied else [])))
        )
    batch = cost.batch_size or spec.batch_size
    parts = (spec.backbone.name, f"{spec.image_size} px", f"batch {batch}", " over ".join(sides))
    return " · ".join(parts)


def _unlike(spec: CostSpec, asked: Sequence[CostSpec]) -> tuple[str, ...]:
    """In what a measurement differs from the recipe's nearest of the same phase.

    The backbone is for the claim to say; speed does not depend on the pictures, nor on their
    classes.
    """
    wanted = [other for other in asked if other.workload == spec.workload]
    here = _settings(spec)
    out = VARIED["backbone"] | {"classes", "mode"}
    found = [differences(here, _settings(other)) for other in wanted]
    near = min(found, key=lambda d: ("freeze" in d, "head" in d, len(set(d) - out)), default={})
    return tuple(text for name, text in near.items() if name not in out)


def _speed_doubts(cost: CostResult, other: CostResult, assumed: bool) -> Iterator[str]:
    yield f"on {cost.stack.device}"
    if assumed:
        spread = f"{100 * speed_stats.PROCESS_SPREAD:.0f}%"
        yield f"the interval rests on an assumption: that processes differ in speed by {spread}"
    if cost.doubtful or other.doubtful:
        yield "other work on the machine may have slowed it down"
