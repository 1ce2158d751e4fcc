"""Published claims held against what was measured.

    claims, groups of trials, measurements of cost -> Judged ...

A claim is judged for everything that its selection admits: each stack, each number of train
pictures, and twice where the recipe ran twice: as it was meant, and as a plain Keras 3 script runs
it (trap `PLAIN`). Settings unlike the recipe's that the claim depends on make it not comparable.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench import suite as suites
from bench.analysis.accuracy_stats import accuracy, accuracy_difference
from bench.analysis.answer import WIDE
from bench.analysis.claim_pairs import Pair, Tested, pairs, place, words
from bench.analysis.claim_settings import Recipe, Unlike, unlike
from bench.analysis.claim_verdicts import Judged, Measured, against
from bench.analysis.claimed_speeds import of_costs
from bench.analysis.summary import Group
from bench.claims import Claim, Selection
from bench.costs import CostResult
from bench.data.datasets import DATASETS
from bench.errors import BenchError
from bench.records import TrialSpec
from bench.running.store import SUITE
from bench.strangers import LINK_OUT, inside

PLAIN = "unpinned"
"""The trap that is the published recipe as a plain Keras 3 script runs it."""
RUNS: Mapping[str | None, str] = {None: "as meant", PLAIN: "plain script"}
"""What a claim is about unless it names a trap: trials without one, and trials with this one."""
MOST_OTHER_PICTURES = 0.1
"""A claim is not about trials whose number of train pictures differs by a larger share."""


def judge(
    claims: Iterable[Claim],
    groups: Sequence[Group],
    costs: Sequence[CostResult] = (),
    recipe: Sequence[TrialSpec] = (),
    name: str = "SUITE",
    folder: Path | None = None,
) -> list[Judged]:
    """Judge claims, in their order.

    Args:
        claims: of a suite.
        groups: of one results folder, seeds taken together.
        costs: of the same folder.
        recipe: the suite's trials as its file has them; what ran otherwise is not comparable.
        name: of the suite, for the command that would measure what is missing.
        folder: of the results; predictions kept there tell whether trials with other train pictures
            were tested on the same ones.
    """
    found: list[Judged] = []
    tested, meant = Tested(folder), Recipe(recipe)
    for claim in claims:
        speed = claim.quantity == "throughput_ratio"
        some = of_costs(claim, costs, meant) if speed else _of(claim, groups, meant, tested)
        # Counts of parameters, and what failed, are the same whatever the train pictures.
        told = list({replace(j, seeds=None): j for j in some}.values())
        found += told or [_missing(claim, name)]
    return found


def kept_suite(folder: Path) -> tuple[suites.Suite | None, str | None]:
    """The suite kept with a results folder, and why it cannot be read; both None where none is."""
    if not (folder / SUITE).exists():
        return None, None
    if not inside(folder / SUITE, folder):
        return None, f"{folder / SUITE}: {LINK_OUT}; claims of this suite are not judged"
    try:
        return suites.load(folder / SUITE), None
    except BenchError as error:
        return None, f"{error}; claims of this suite are not judged"


def _missing(claim: Claim, name: str) -> Judged:
    speed = claim.quantity == "throughput_ratio"
    sides = [side for side in (claim.of, claim.over) if side]
    lacking = f"bench {'measure' if speed else 'run'} {name}"
    about = " over ".join(dict.fromkeys(words(side) for side in sides))
    reason = f"nothing in these results is about it; {lacking} would measure it"
    return Judged(claim, "not measured", about=about, reasons=(reason,))


# ------------------------------------------------------------------------------ claims of trials


def _of(claim: Claim, groups: Sequence[Group], recipe: Recipe, tested: Tested) -> Iterator[Judged]:
    others = [group for group in groups if claim.over and _admitted(claim.over, group)]
    places: dict[tuple[str, ...], list[Group]] = {}
    for group in others:
        places.setdefault(place(claim, group), []).append(group)
    apart = {id(group) for group in others}
    for group in groups:
        if not _admitted(claim.of, group) or id(group) in apart:
            continue
        found = [_alone(group)]
        if claim.over:
            found = pairs(claim, group, places.get(place(claim, group), []), tested)
        for pair in found:
            yield _judged(claim, pair, recipe)


def _admitted(side: Selection, group: Group) -> bool:
    """Whether a group is among a selection's trials; without a trap named, only `RUNS` are."""
    ran = side.phase is None or bool(group.spec.phase1 if side.phase == 1 else group.spec.phase2)
    usual = side.trap is not None or group.spec.trap in RUNS
    return ran and usual and side.admits(group.spec, _pictures(group))


def _pictures(group: Group) -> int | None:
    """Trained on; None where no trial got so far and the suite does not say it."""
    seen = next((row.dataset.train for row in group.rows if row.dataset), None)
    return seen if seen is not None else group.spec.data.train_examples


def _alone(group: Group) -> Pair:
    lacking = (
        "" if group.finished else f"{group.spec.freeze.label}: {group.status}: {group.reasons}"
    )
    return Pair(group, None, lacking)


def _judged(claim: Claim, pair: Pair, recipe: Recipe) -> Judged:
    """One claim for one trial, or for two."""
    group, over = pair.group, pair.over
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
    measured = None if pair.lacking else _measured(claim, group, over)
    if measured is None:
        reason = pair.lacking or "its trials do not hold this number"
        return replace(judged, reasons=(reason,))
    verdict = against(claim, measured)
    judged = replace(judged, measured=measured, verdict=verdict)
    other = _unlike(claim, [side.spec for side in (group, over) if side], recipe)
    counted = claim.quantity == "trainable_parameters"
    reasons = [*(_of_a_count(claim, group, recipe) if counted else _differences(claim, group))]
    if other.matters:
        reasons.append(f"not as in the recipe: {', '.join(other.matters)}")
    if reasons:
        judged = replace(judged, verdict="not comparable", would=verdict, reasons=tuple(reasons))
    if counted:
        return judged
    return replace(judged, doubts=tuple(_doubts(claim, group, over, measured, other)))


def _about(claim: Claim, group: Group, over: Group | None) -> str:
    spec, pictures = group.spec, _pictures(group)
    parts = [spec.backbone.name]
    if claim.quantity == "trainable_parameters":
        if spec.head.loss != "binary":
            parts.append(spec.data.dataset.name)
        if spec.head.pooling == "flatten":
            parts.append(f"{spec.data.image_size} px")
        return " · ".join((*parts, spec.freeze.label, f"phase {claim.of.phase}"))
    first, second = (_kind(g, claim) for g in (group, over or group))
    parts += [spec.data.dataset.name, first if over is None else f"{first} over {second}"]
    if pictures and (over is None or "train_examples" not in claim.varied):
        parts.append(f"{pictures:,} train")
    return " · ".join((*parts, *([group.apart] if group.apart else [])))


def _kind(group: Group, claim: Claim) -> str:
    """Its strategy, and what else tells the claim's two sides from each other."""
    spec = group.spec
    trap = f" with {spec.trap}" if "trap" in claim.varied and spec.trap else ""
    parts = [spec.freeze.label + trap]
    parts += [spec.backbone.name] if "backbone" in claim.varied else []
    parts += [spec.head.name] if "head" in claim.varied else []
    if "train_examples" in claim.varied and (pictures := _pictures(group)):
        parts.append(f"{pictures:,} train")
    return ", ".join(parts)


def _failed_guards(group: Group, over: Group | None) -> list[str]:
    """Of both sides, but for a trap that the other side alone made on purpose."""
    meant = over is not None and over.spec.trap in (None, group.spec.trap)
    rows = (*group.finished, *(over.finished if over and meant else ()))
    return list(dict.fromkeys(name for row in rows for name in row.failed_guards))


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


# ---------------------------------------------------------------------------- what is not alike


def _unlike(claim: Claim, specs: Sequence[TrialSpec], recipe: Recipe) -> Unlike:
    """What any of the trials has otherwise than the recipe."""
    found = [unlike(claim, spec, recipe) for spec in specs]
    matters, lesser = (dict.fromkeys(t for u in found for t in u[i]) for i in (0, 1))
    return Unlike(tuple(matters), tuple(lesser))


def _differences(claim: Claim, group: Group) -> Iterator[str]:
    """In what the trials differ from what an accuracy was claimed of; settings apart."""
    spec, pictures = group.spec, _pictures(group)
    if claim.backbone and spec.backbone.name != claim.backbone:
        yield f"another backbone: claimed for {claim.backbone}"
    if claim.dataset and spec.data.dataset.name != claim.dataset:
        yield f"another dataset: claimed for {claim.dataset}"
    if claim.weights and claim.weights != "random" and spec.meaningless:
        yield f"random weights: claimed with {claim.weights}"
    claimed = claim.train_pictures
    if claimed and pictures and abs(pictures - claimed) > MOST_OTHER_PICTURES * claimed:
        yield f"{pictures:,} train pictures: claimed with {claimed:,}"


def _of_a_count(claim: Claim, group: Group, recipe: Recipe) -> Iterator[str]:
    """The same for a count of parameters: by backbone and number of classes.

    A claim that names neither is about those of the recipe.
    """
    meant = recipe.admitted(claim.of)
    own = group.spec.backbone.name
    backbones = [claim.backbone] if claim.backbone else [trial.backbone.name for trial in meant]
    if backbones and own not in backbones:
        yield f"another backbone: claimed for {_listed(backbones)}"
    datasets = [claim.dataset] if claim.dataset else [trial.data.dataset.name for trial in meant]
    used = next((row.dataset for row in group.finished if row.dataset), None)
    here = len(used.class_names) if used else _classes(group.spec.data.dataset.name)
    same = group.spec.data.dataset.name in datasets or here in map(_classes, datasets)
    if datasets and (here is None or not same):
        has = f", while these have {here} classes" if here else ""
        yield f"another dataset: claimed for {_listed(datasets)}{has}"


def _listed(names: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(names))


def _classes(dataset: str) -> int | None:
    return DATASETS[dataset].classes if dataset in DATASETS else None


def _doubts(
    claim: Claim, group: Group, over: Group | None, measured: Measured, other: Unlike
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
    if over is not None and over.spec.trap != group.spec.trap and "trap" not in claim.varied:
        yield f"{over.spec.freeze.label} ran once, for both runs"
    if other.lesser:
        yield f"not as in the recipe: {', '.join(other.lesser)}"
