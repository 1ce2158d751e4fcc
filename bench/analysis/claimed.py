"""Published claims held against what was measured.

    claims, groups of trials, measurements of cost -> Judged ...

A claim is judged for everything that its selection admits: each stack, each number of train
pictures, and twice where the recipe ran twice: as it was meant, and as a plain Keras 3 script runs
it (trap `PLAIN`). A single figure holds if the interval of what was measured contains it, a range
if the estimate lies in it; what the interval merely touches is unclear.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import suite as suites
from bench.analysis.accuracy_stats import accuracy, accuracy_difference
from bench.analysis.claim_verdicts import Judged, Measured, against
from bench.analysis.claimed_speeds import of_costs
from bench.analysis.summary import Group
from bench.claims import AS_MEANT, BETWEEN_TRIALS, Claim, Selection, named
from bench.costs import CostResult
from bench.errors import BenchError
from bench.records import TrialSpec
from bench.running.store import SUITE

PLAIN = "unpinned"
"""The trap that is the published recipe as a plain Keras 3 script runs it."""
RUNS: Mapping[str | None, str] = {None: "as meant", PLAIN: "plain script"}
"""What a claim is about unless it names a trap: trials without one, and trials with this one."""
MOST_OTHER_PICTURES = 0.1
"""A claim is not about trials whose number of train pictures differs by a larger share."""
WIDE = 0.05
"""An interval wider than this says little of an accuracy: it is named."""


def judge(
    claims: Iterable[Claim],
    groups: Sequence[Group],
    costs: Sequence[CostResult] = (),
    recipe: Sequence[TrialSpec] = (),
    name: str = "SUITE",
) -> list[Judged]:
    """Judge claims, in their order.

    Args:
        claims: of a suite.
        groups: of one results folder, seeds taken together.
        costs: of the same folder.
        recipe: the suite's trials as its file has them; settings of groups that differ are named.
        name: of the suite, for the command that would measure what is missing.
    """
    found: list[Judged] = []
    for claim in claims:
        speed = claim.quantity == "throughput_ratio"
        some = of_costs(claim, costs) if speed else _of_groups(claim, groups, recipe)
        # Counts of parameters, and what failed, are the same whatever the train pictures.
        told = list({replace(j, seeds=None): j for j in some}.values())
        found += told or [_missing(claim, name)]
    return found


def kept_suite(folder: Path) -> suites.Suite | None:
    """The suite kept with a results folder; None where none is, or this Bench cannot read it."""
    try:
        return suites.load(folder / SUITE)
    except BenchError:
        return None


def _missing(claim: Claim, name: str) -> Judged:
    speed = claim.quantity == "throughput_ratio"
    sides = [side for side in (claim.of, claim.over) if side]
    lacking = f"bench {'measure' if speed else 'run'} {name}"
    about = " over ".join(dict.fromkeys(_words(side) for side in sides))
    reason = f"nothing in these results is about it; {lacking} would measure it"
    return Judged(claim, "not measured", about=about, reasons=(reason,))


def _words(side: Selection) -> str:
    said = [side.backbone, side.dataset, side.freeze.label if side.freeze else None]
    if side.trap not in (None, AS_MEANT):
        said.append(f"trap {side.trap}")
    if side.train_examples:
        said.append(f"{side.train_examples:,} train")
    if side.train_from:
        said.append(f"{side.train_from:,} train or more")
    if side.train_below:
        said.append(f"below {side.train_below:,} train")
    if side.phase:
        said.append(f"phase {side.phase}")
    return " · ".join(word for word in said if word) or "any trial"


# ------------------------------------------------------------------------------ claims of trials


def _of_groups(
    claim: Claim, groups: Sequence[Group], recipe: Sequence[TrialSpec]
) -> Iterator[Judged]:
    others = [group for group in groups if claim.over and _admitted(claim.over, group)]
    apart = {id(group) for group in others}
    for group in groups:
        if not _admitted(claim.of, group) or id(group) in apart:
            continue
        over = _partner(claim.over, group, others) if claim.over else None
        yield _judged(claim, group, over, recipe)


def _admitted(side: Selection, group: Group) -> bool:
    """Whether a group is among a selection's trials; without a trap named, only `RUNS` are."""
    ran = side.phase is None or bool(group.spec.phase1 if side.phase == 1 else group.spec.phase2)
    usual = side.trap is not None or group.spec.trap in RUNS
    return ran and usual and side.admits(group.spec, _pictures(group))


def _pictures(group: Group) -> int | None:
    """Trained on; None where no trial got so far and the suite does not say it."""
    seen = next((row.dataset.train for row in group.rows if row.dataset), None)
    return seen if seen is not None else group.spec.data.train_examples


def _partner(side: Selection, group: Group, others: Sequence[Group]) -> Group | None:
    """What a group is compared with: under one stack, and alike in all that is not selected.

    A recipe's head alone may have run once for both runs (a backbone that is frozen as a whole may
    be the same either way), so a trial without a trap stands in.
    """
    fitting = [other for other in others if _alike(side, group, other)]

    def distance(other: Group) -> tuple[bool, ...]:
        return (
            _fingerprint(other) != _fingerprint(group),
            side.trap is None and other.spec.trap != group.spec.trap,
            bool(other.spec.phase1) and other.spec.phase1 != group.spec.phase1,
            not other.finished,
        )

    return min(fitting, key=distance, default=None)


def _alike(side: Selection, one: Group, other: Group) -> bool:
    a, b = named(one.spec), named(other.spec)
    held = [n for n in ("backbone", "dataset", "head", "freeze") if getattr(side, n) is None]
    usual = side.trap is not None or other.spec.trap in (one.spec.trap, None)
    changed: dict[str, object] = {"dataset": one.spec.data.dataset}
    if side.train_examples:
        changed["train_examples"] = one.spec.data.train_examples
    return (
        one.stack.id == other.stack.id
        and usual
        and all(a[n] == b[n] for n in held)
        and other.spec.data.model_copy(update=changed) == one.spec.data
        and other.spec.augmentation == one.spec.augmentation
        and other.spec.execution == one.spec.execution
    )


def _fingerprint(group: Group) -> str | None:
    return next((row.dataset.fingerprint for row in group.finished if row.dataset), None)


def _judged(claim: Claim, group: Group, over: Group | None, recipe: Sequence[TrialSpec]) -> Judged:
    """One claim for one group."""
    judged = Judged(
        claim,
        "not measured",
        about=_about(claim, group, over),
        run="" if claim.of.trap else RUNS.get(group.spec.trap, ""),
        seeds=len(group.finished),
        stack=group.stack.id,
        guards=tuple(_failed_guards(group, over)),
        group=group,
    )
    lacking = _lacking(claim, group, over)
    measured = None if lacking else _measured(claim, group, over)
    if measured is None:
        return replace(judged, reasons=(lacking or "its trials do not hold this number",))
    verdict = against(claim, measured)
    judged = replace(judged, measured=measured, verdict=verdict)
    if claim.quantity == "trainable_parameters":
        return judged
    reasons = tuple(_differences(claim, group))
    if reasons:
        judged = replace(judged, verdict="not comparable", would=verdict, reasons=reasons)
    return replace(judged, doubts=tuple(_doubts(claim, group, over, measured, recipe)))


def _about(claim: Claim, group: Group, over: Group | None) -> str:
    spec, pictures = group.spec, _pictures(group)
    parts = [spec.backbone.name]
    if claim.quantity == "trainable_parameters":
        return " · ".join((*parts, spec.freeze.label, f"phase {claim.of.phase}"))
    first, second = (_kind(g, claim) for g in (group, over or group))
    parts += [spec.data.dataset.name, first if over is None else f"{first} over {second}"]
    if pictures:
        parts.append(f"{pictures:,} train")
    return " · ".join((*parts, *([group.apart] if group.apart else [])))


def _kind(group: Group, claim: Claim) -> str:
    """Its strategy, and its trap where the claim is about one."""
    asked = claim.over and claim.over.trap
    trap = f" with {group.spec.trap}" if asked and group.spec.trap else ""
    return group.spec.freeze.label + trap


def _failed_guards(group: Group, over: Group | None) -> list[str]:
    """Of both sides, but for a trap that the other side alone made on purpose."""
    meant = over is not None and over.spec.trap in (None, group.spec.trap)
    rows = (*group.finished, *(over.finished if over and meant else ()))
    return list(dict.fromkeys(name for row in rows for name in row.failed_guards))


def _lacking(claim: Claim, group: Group, over: Group | None) -> str:
    """Why nothing was measured; empty where something was."""
    for side in (group, over):
        if side is not None and not side.finished:
            return f"{side.spec.freeze.label}: {side.status}: {side.reasons}"
    if claim.quantity not in BETWEEN_TRIALS:
        return ""
    if over is None or claim.over is None:
        wanted = _words(claim.over) if claim.over else ""
        return f"nothing to compare it with: no {wanted} in these results is alike otherwise"
    if _fingerprint(group) != _fingerprint(over):
        return f"{over.spec.freeze.label} was tested on other pictures"
    return ""


def _measured(claim: Claim, group: Group, over: Group | None) -> Measured | None:
    if claim.quantity == "trainable_parameters":
        number = claim.of.phase or 1
        spread = group.phase(number, lambda phase: phase.trainable_parameters)
        return Measured(spread.mean) if spread else None
    if over is None:
        if group.correct is not None:
            found = accuracy(group.correct)
            return Measured(found.value, found.interval)
        mean = group.spread(lambda row: row.test_accuracy)
        return Measured(mean.mean) if mean else None
    if group.correct is not None and over.correct is not None:
        effect = accuracy_difference(over.correct, group.correct)
        return Measured(effect.estimate, effect.interval)
    means = [side.spread(lambda row: row.test_accuracy) for side in (group, over)]
    return Measured(means[0].mean - means[1].mean) if means[0] and means[1] else None


def _differences(claim: Claim, group: Group) -> Iterator[str]:
    """In what the trials differ that the claim depends on."""
    spec, pictures = group.spec, _pictures(group)
    if claim.backbone and spec.backbone.name != claim.backbone:
        yield f"another backbone: claimed for {claim.backbone}"
    if claim.dataset and spec.data.dataset.name != claim.dataset:
        yield f"another dataset: claimed for {claim.dataset}"
    random = spec.backbone.weights == "random" and spec.freeze.strategy != "scratch"
    if claim.weights and claim.weights != "random" and random:
        yield f"random weights: claimed with {claim.weights}"
    claimed = claim.train_pictures
    if claimed and pictures and abs(pictures - claimed) > MOST_OTHER_PICTURES * claimed:
        yield f"{pictures:,} train pictures: claimed with {claimed:,}"


def _doubts(
    claim: Claim,
    group: Group,
    over: Group | None,
    measured: Measured,
    recipe: Sequence[TrialSpec],
) -> Iterator[str]:
    """Lesser differences, and how little the numbers tell."""
    if claim.on == "val":
        yield "claimed on val, measured on test"
    sources = dict.fromkeys(row.weights.source for row in group.finished if row.weights)
    foreign = [source for source in sources if source.startswith(("file", "package"))]
    if foreign and claim.weights == "imagenet":
        yield f"weights from {', '.join(foreign)}, which may not be those of the claim"
    if min(len(side.finished) for side in (group, over) if side) == 1:
        yield "a single seed: what another training changes is not in the interval"
    if measured.interval is None:
        yield "right or wrong is not kept picture by picture, so there is no interval"
    elif (width := measured.interval.high - measured.interval.low) > WIDE:
        yield f"the interval is {100 * width:.0f} points wide"
    named_trap = claim.over and claim.over.trap
    if over is not None and over.spec.trap != group.spec.trap and not named_trap:
        yield f"{over.spec.freeze.label} ran once, for both runs"
    if unlike := _unlike(group.spec, recipe):
        yield f"not as in the recipe: {unlike}"


# ------------------------------------------------------------------- settings against the recipe


def _unlike(spec: TrialSpec, recipe: Sequence[TrialSpec]) -> str:
    """In what a trial's settings differ from the recipe's nearest; which pictures apart."""
    same = ("backbone", "dataset", "freeze", "trap")
    mine = named(spec)
    near = [s for s in recipe if all(named(s)[name] == mine[name] for name in same)]
    unlike = [_changes(spec, other) for other in near]
    return min(unlike, key=len, default="")


def _changes(spec: TrialSpec, recipe: TrialSpec) -> str:
    here, there = dict(_settings(spec)), dict(_settings(recipe))
    names = dict.fromkeys((*here, *there))
    texts = (
        f"{name} {_short(here.get(name))} for {_short(there.get(name))}"
        for name in names
        if here.get(name) != there.get(name)
    )
    return ", ".join(texts)


def _settings(spec: TrialSpec) -> Iterator[tuple[str, Any]]:
    yield "image_size", spec.data.image_size
    yield "augmentation", [f"{a.kind} {a.amount}" for a in spec.augmentation]
    yield "head", spec.head.name
    yield "batch_norm", spec.batch_norm
    yield "batch_size", spec.execution.batch_size
    for number, phase in ((1, spec.phase1), (2, spec.phase2)):
        for name, value in (phase.model_dump() if phase else {}).items():
            yield f"phase {number} {name}", value


def _short(value: Any) -> str:
    if value in (None, [], {}):
        return "none"
    if isinstance(value, dict):
        return " ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
