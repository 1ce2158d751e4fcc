"""What a run would do, and whether it could: without a worker, and without Keras.

A suite's trials become steps, and equal steps are one. What they cost is counted in passes, which
is arithmetic on the suite: nothing here measures time. It is counted as if no phase stopped early
and no trial failed, and without the few pictures that guards look at.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from bench import cache, steps
from bench.data import datasets
from bench.errors import BenchError, DatasetError
from bench.records import Dataset, SplitName, TrialSpec
from bench.running.known import Boundary, Counts, Known
from bench.settings import Settings
from bench.steps import Ground, HeadStep, View
from bench.suite import Suite
from bench.zoo import freezing, weights

Kind = Literal["images", "activations", "heads", "fine-tuning", "evaluation"]
KINDS: tuple[Kind, ...] = ("images", "activations", "heads", "fine-tuning", "evaluation")
FLOAT_BYTES = 4


# ------------------------------------------------------------------------------- what a plan is


@dataclass(frozen=True)
class Cost:
    """Work in passes: in one, every picture of a split goes through once.

    Attributes:
        forward: train pictures, forwards through the whole backbone.
        tuning: train pictures, forwards and backwards through the whole backbone.
        top: train pictures, forwards and backwards through the part above the frontier.
        evaluation: val or test pictures, forwards through the whole backbone.
    """

    forward: int = 0
    tuning: int = 0
    top: int = 0
    evaluation: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        names = [f.name for f in fields(self)]
        return Cost(**{n: getattr(self, n) + getattr(other, n) for n in names})


@dataclass(frozen=True)
class Step:
    """One piece of work, done once however many trials need it.

    Attributes:
        kind: what it is; ``activations`` is one pass of a split, for every cut that it gives.
        key: equal for equal work, as far as a suite tells: 32 hex digits.
        trials: keys of those that need it.
        cost: in passes.
        pictures: in the train split; None where unknown.
        cached: need not be done, because what it gives is in the cache.
    """

    kind: Kind
    key: str
    trials: tuple[str, ...]
    cost: Cost = Cost()
    pictures: int | None = None
    cached: bool = False


State = Literal["kept", "too large", "none", "unknown"]


@dataclass(frozen=True)
class Frontier:
    """What crosses the freeze boundary of a strategy, on one ground.

    Attributes:
        ground: backbone and pictures.
        freeze: label of the strategy.
        state: ``kept`` within the room for it; ``too large``, so phase 2 runs through the whole
            backbone; ``none`` there is nothing constant below it, with the same effect; ``unknown``
            until a trial has run.
        cut: its name where known: strategies with one name share one frontier.
        bytes: of train (in every view), val and test together; None where unknown.
    """

    ground: Ground
    freeze: str
    state: State
    cut: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        trials: of the suite, in order.
        measured: stacks under which trials were measured before, by key; the steps are the others'.
        steps: distinct, by kind.
        literally: what the same trials take where nothing is shared but pictures.
        stacks: groups of heads that train as one computation.
        frontiers: of every ground and strategy that may have one.
        frontier_gib: room for them on each ground.
        literal: nothing is to be shared.
        unresolved: trials whose strategy ``auto`` waits for the pictures to be counted.
    """

    trials: tuple[TrialSpec, ...]
    measured: Mapping[str, str]
    steps: tuple[Step, ...]
    literally: tuple[Step, ...]
    stacks: int
    frontiers: tuple[Frontier, ...]
    frontier_gib: float
    literal: bool
    unresolved: int

    @property
    def pending(self) -> tuple[TrialSpec, ...]:
        """Trials that a run would measure."""
        return tuple(t for t in self.trials if t.key not in self.measured)

    def of_kind(self, kind: Kind) -> tuple[Step, ...]:
        """The distinct steps of a kind."""
        return tuple(s for s in self.steps if s.kind == kind)


def total(parts: Iterable[Step]) -> Cost:
    """What steps cost together."""
    return sum((s.cost for s in parts), Cost())


# ------------------------------------------------------------------------------------- planning


class _Trial(NamedTuple):
    """A trial that would run; in ``spec``, strategy ``auto`` is resolved where that is possible."""

    key: str
    spec: TrialSpec


def of(
    suite: Suite, settings: Settings, literal: bool = False, results: Path | None = None
) -> Plan:
    """The plan of a suite on this machine.

    Args:
        suite: whose trials.
        settings: where the cache lies.
        literal: share nothing.
        results: the suite's results folder; its settled rows need no measuring.

    Raises:
        StoreError: the rows were written by a newer Bench.
        CacheError: the cache cannot be read.
    """
    known = Known(settings, suite.folder, results)
    every = [_Trial(t.key, _resolved(t, known)) for t in suite.trials]
    pending = [t for t in every if t.key not in known.measured]
    shared: dict[Ground, list[_Trial]] = {}
    alone = []
    for trial in pending:
        if literal or not steps.shares_phase1(trial.spec):
            alone.append(trial)
        else:
            shared.setdefault(steps.ground_of(trial.spec), []).append(trial)
    room = suite.frontier_gib * 2**30
    frontiers = {g: _frontiers(g, every, known, room) for g in shared}
    images = list(_images(pending, known))
    parts = [_on_ground(g, trials, frontiers[g], known) for g, trials in shared.items()]
    found = [*images, *chain(*parts), *chain(*(_literally(t, known) for t in alone))]
    stacks = {(g, steps.head_step(t.spec).stack) for g, trials in shared.items() for t in trials}
    return Plan(
        trials=suite.trials,
        measured={t.key: known.measured[t.key].stack.id for t in every if t.key in known.measured},
        steps=tuple(sorted(found, key=lambda s: KINDS.index(s.kind))),
        literally=(*images, *chain(*(_literally(t, known) for t in pending))),
        stacks=len(stacks),
        frontiers=tuple(f for g in frontiers.values() for f in g.values()),
        frontier_gib=suite.frontier_gib,
        literal=literal,
        unresolved=sum(t.spec.freeze.strategy == "auto" for t in pending),
    )


def _resolved(spec: TrialSpec, known: Known) -> TrialSpec:
    if spec.freeze.strategy != "auto" or (train := known.counts(spec.data).train) is None:
        return spec
    freeze = freezing.resolve(spec.freeze, train)
    phase2 = None if freeze.strategy == "head_only" else spec.phase2
    return spec.model_copy(update={"freeze": freeze, "phase2": phase2})


def _images(trials: Sequence[_Trial], known: Known) -> Iterator[Step]:
    wanted: dict[tuple[Dataset, int], list[_Trial]] = {}
    for trial in trials:
        data = trial.spec.data
        wanted.setdefault((data.dataset, data.image_size), []).append(trial)
    for (dataset, size), users in wanted.items():
        key = cache.key({"images": dataset.model_dump(mode="json"), "size": size})
        keys = tuple(t.key for t in users)
        yield Step("images", key, keys, cached=known.images(users[0].spec.data))


def _literally(trial: _Trial, known: Known) -> Iterator[Step]:
    """Phase by phase: val after every epoch and at the end of each phase, test once."""
    key, spec = trial
    pictures = known.counts(spec.data).train
    looks = 1 + sum(p.epochs + 1 for p in (spec.phase1, spec.phase2) if p)
    if spec.phase1:
        yield _own("heads", key, Cost(forward=spec.phase1.epochs), pictures)
    if spec.phase2:
        yield _own("fine-tuning", key, Cost(tuning=spec.phase2.epochs), pictures)
    yield _own("evaluation", key, Cost(evaluation=looks), pictures)


def _own(kind: Kind, key: str, cost: Cost, pictures: int | None) -> Step:
    """A step that no other trial shares."""
    return Step(kind, cache.key({"trial": key, "step": kind}), (key,), cost, pictures)


def _on_ground(
    ground: Ground, trials: Sequence[_Trial], frontiers: Mapping[str, Frontier], known: Known
) -> Iterator[Step]:
    """What trials that share a ground take."""
    pictures = known.counts(ground.data).train
    yield from _activations(ground, trials, frontiers, known)
    heads: dict[HeadStep, list[str]] = {}
    for key, spec in trials:
        heads.setdefault(steps.head_step(spec), []).append(key)
    for head, keys in heads.items():
        name = cache.key({"ground": _json(ground), "head": head.model_dump(mode="json")})
        cached = known.head(ground, head)
        yield Step("heads", name, tuple(keys), pictures=pictures, cached=cached)
    for key, spec in trials:
        looks = 0
        if spec.phase2:
            epochs = spec.phase2.epochs
            whole = not _from_frontier(spec, frontiers)
            cost = Cost(tuning=epochs) if whole else Cost(top=epochs)
            yield _own("fine-tuning", key, cost, pictures)
            looks = epochs + 2 if whole else 0
        yield _own("evaluation", key, Cost(evaluation=looks), pictures)


def _activations(
    ground: Ground, trials: Sequence[_Trial], frontiers: Mapping[str, Frontier], known: Known
) -> Iterator[Step]:
    """One step for each split and view: a pass gives every cut that its trials need."""
    users: dict[tuple[SplitName, View | None], dict[str, None]] = {}
    missing: dict[tuple[SplitName, View | None], bool] = {}
    for key, spec in trials:
        trained = known.head(ground, steps.head_step(spec))
        for split, view, cut in steps.needs(spec, _from_frontier(spec, frontiers)):
            shown = split, view
            users.setdefault(shown, {})[key] = None
            name: str | None = f"{steps.POOLED}{spec.head.pooling}"
            if cut == "frontier":
                name = frontiers[spec.freeze.label].cut
            elif trained and split == "train":
                continue  # nobody will look at what that head learned from
            there = name is not None and known.activations(ground, split, view, name)
            missing[shown] = missing.get(shown, False) or not there
    pictures = known.counts(ground.data).train
    for (split, view), keys in users.items():
        about = {"split": split, "view": view.model_dump(mode="json") if view else None}
        name = cache.key({"ground": _json(ground), **about})
        cost = Cost(forward=1) if split == "train" else Cost(evaluation=1)
        cached = not missing.get((split, view), False)
        yield Step("activations", name, tuple(keys), cost, pictures, cached)


def _json(ground: Ground) -> dict[str, object]:
    return ground.model_dump(mode="json", exclude_defaults=True)


def _from_frontier(spec: TrialSpec, frontiers: Mapping[str, Frontier]) -> bool:
    if not steps.shares_phase2(spec):
        return False
    return frontiers[spec.freeze.label].state in ("kept", "unknown")


# ------------------------------------------------------------------------------------ frontiers


def _frontiers(
    ground: Ground, trials: Iterable[_Trial], known: Known, room: float
) -> dict[str, Frontier]:
    """By strategy; the smallest go first into the room, as in `bench.training.sharing`."""
    specs = [t.spec for t in trials if steps.ground_of(t.spec) == ground]
    sharing = [s for s in specs if steps.shares_phase1(s) and steps.shares_phase2(s)]
    boundaries = known.boundaries(ground)
    found = {s.freeze.label: boundaries.get(s.freeze.label) for s in sharing}
    sizes = _sizes(sharing, found, known.counts(ground.data))
    kept: set[str] = set()
    for cut in sorted(sizes, key=lambda c: sizes[c]):
        room -= sizes[cut]
        if room >= 0:
            kept.add(cut)

    def state(boundary: Boundary | None) -> State:
        if boundary and boundary.cut is None:
            return "none"
        if boundary is None or boundary.cut not in sizes:
            return "unknown"
        return "kept" if boundary.cut in kept else "too large"

    cuts = {label: boundary.cut if boundary else None for label, boundary in found.items()}
    return {
        label: Frontier(ground, label, state(found[label]), cut, sizes.get(cut or ""))
        for label, cut in cuts.items()
    }


def _sizes(
    specs: Iterable[TrialSpec], boundaries: Mapping[str, Boundary | None], counts: Counts
) -> dict[str, int]:
    """Bytes of the cuts whose size is known, over every view that phase 2 of some trial sees."""
    if counts.train is None or counts.val is None or counts.test is None:
        return {}
    views: dict[str, set[View | None]] = {}
    numbers = {}
    for spec in specs:
        boundary = boundaries[spec.freeze.label]
        if boundary and boundary.cut:
            needed = [n for n in steps.needs(spec, frontier=True) if n.cut == "frontier"]
            seen = {n.view for n in needed if n.split == "train"}
            views.setdefault(boundary.cut, set()).update(seen)
            numbers[boundary.cut] = boundary.numbers
    others = counts.val + counts.test
    return {
        cut: FLOAT_BYTES * numbers[cut] * (len(views[cut]) * counts.train + others)
        for cut in numbers
    }


# ------------------------------------------------------------------- choosing and what is missing


def select(trials: Sequence[TrialSpec], words: Sequence[str]) -> tuple[TrialSpec, ...]:
    """The trials whose label holds every one of the words, whatever their case.

    Raises:
        BenchError: no trial does.
    """
    chosen = tuple(t for t in trials if all(w.lower() in t.label.lower() for w in words))
    if not chosen:
        raise BenchError(
            f"--only {' '.join(words)!r}: no trial of this suite matches; "
            f"one of them is {trials[0].label!r}"
        )
    return chosen


def problems(suite: Suite, settings: Settings) -> list[str]:
    """Files that the suite names and that are not there: known before anything runs."""
    found: dict[str, None] = {}
    for trial in suite.trials:
        try:
            weights.locate(trial.backbone, settings, suite.folder)
            _locate_folder(trial.data.dataset, suite.folder)
        except BenchError as error:
            found[str(error)] = None
    return list(found)


def _locate_folder(dataset: Dataset, base: Path) -> None:
    folder = datasets.located(dataset, base).folder
    if folder and not Path(folder).is_dir():
        raise DatasetError(f"dataset {dataset.name!r}: folder {dataset.folder!r} is not there")
