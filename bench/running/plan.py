"""What a run would do, and whether it could: without a worker, and without Keras.

A suite's trials become steps, and equal steps are one. What they cost is counted in passes, which
is arithmetic on the suite: nothing here measures time. It is counted as if no phase stopped early
and no trial failed, and without the few pictures that guards look at.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from bench import cache, steps
from bench.costs import CostSpec
from bench.data import datasets
from bench.errors import BenchError, DatasetError
from bench.records import Dataset, SplitName, TrialSpec
from bench.running import backends, devices, jobs
from bench.running.known import Known
from bench.running.room import Features, Frontier, Room, room_on
from bench.settings import Settings
from bench.steps import Ground, HeadStep, View, pooled_name
from bench.suite import Suite
from bench.zoo import freezing, traps, weights

_Task = TypeVar("_Task", TrialSpec, CostSpec)

FEWEST_DIGITS = 8
KEY = re.compile(rf"[0-9a-f]{{{FEWEST_DIGITS},32}}")
"""How the beginning of a key is written, where a trial is chosen by it."""

Kind = Literal["images", "activations", "heads", "fine-tuning", "evaluation"]
KINDS: tuple[Kind, ...] = ("images", "activations", "heads", "fine-tuning", "evaluation")


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
        features: of every ground and kind of pooling.
        activations_gib: room for features and frontiers of a ground together.
        literal: nothing is to be shared.
        unresolved: trials whose strategy ``auto`` waits for the pictures to be counted.
    """

    trials: tuple[TrialSpec, ...]
    measured: Mapping[str, str]
    steps: tuple[Step, ...]
    literally: tuple[Step, ...]
    stacks: int
    frontiers: tuple[Frontier, ...]
    features: tuple[Features, ...]
    activations_gib: float
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
    known = Known(settings, suite.folder, results, suite.backend, suite.devices)
    every = [_Trial(t.key, _resolved(t, known)) for t in suite.trials]
    pending = [t for t in every if t.key not in known.measured]
    shared: dict[Ground, list[_Trial]] = {}
    alone = []
    for trial in pending:
        if literal or not steps.shares_phase1(trial.spec):
            alone.append(trial)
        else:
            shared.setdefault(steps.ground_of(trial.spec), []).append(trial)
    room = min(suite.activations_gib * 2**30, settings.cache_bytes)
    found = {g: room_on(g, [t.spec for t in every], known, room) for g in shared}
    images = list(_images(pending, known))
    parts = [_on_ground(g, trials, found[g], known) for g, trials in shared.items()]
    work = [*images, *chain(*parts), *chain(*(_literally(t, known) for t in alone))]
    stacks = {
        (ground, steps.head_step(t.spec).stack)
        for ground, trials in shared.items()
        for t in trials
        if found[ground].holds_features(t.spec)
    }
    return Plan(
        trials=suite.trials,
        measured={t.key: known.measured[t.key].stack.id for t in every if t.key in known.measured},
        steps=tuple(sorted(work, key=lambda s: KINDS.index(s.kind))),
        literally=(*images, *chain(*(_literally(t, known) for t in pending))),
        stacks=len(stacks),
        frontiers=tuple(f for g in found.values() for f in g.frontiers.values()),
        features=tuple(f for g in found.values() for f in g.features.values()),
        activations_gib=room / 2**30,
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
        key = jobs.images_key(dataset, size)
        keys = tuple(t.key for t in users)
        yield Step("images", key, keys, cached=known.images(users[0].spec.data))


def _literally(trial: _Trial, known: Known) -> Iterator[Step]:
    """Phase by phase: val after every epoch and at the end of each phase, test once."""
    key, spec = trial
    pictures = known.counts(spec.data).train
    phase1, phase2 = traps.phases(spec)
    looks = 1 + sum(p.epochs + 1 for p in (phase1, phase2) if p)
    if phase1:
        yield _own("heads", key, Cost(forward=phase1.epochs), pictures)
    if phase2:
        yield _own("fine-tuning", key, Cost(tuning=phase2.epochs), pictures)
    yield _own("evaluation", key, Cost(evaluation=looks), pictures)


def _own(kind: Kind, key: str, cost: Cost, pictures: int | None) -> Step:
    """A step that no other trial shares."""
    return Step(kind, cache.key({"trial": key, "step": kind}), (key,), cost, pictures)


def _on_ground(
    ground: Ground, trials: Sequence[_Trial], room: Room, known: Known
) -> Iterator[Step]:
    """What trials that share a ground take."""
    pictures = known.counts(ground.data).train
    yield from _activations(ground, trials, room, known)
    heads: dict[HeadStep, list[str]] = {}
    for key, spec in trials:
        if room.holds_features(spec):
            heads.setdefault(steps.head_step(spec), []).append(key)
    for head, keys in heads.items():
        name = jobs.head_key(ground, head)
        cached = known.head(ground, head)
        yield Step("heads", name, tuple(keys), pictures=pictures, cached=cached)
    for key, spec in trials:
        yield from _of_its_own(key, spec, room, pictures)


def _of_its_own(key: str, spec: TrialSpec, room: Room, pictures: int | None) -> Iterator[Step]:
    """What a trial on a shared ground does for itself; looks as in `_literally` where whole."""
    looks, whole = 0, not room.holds_features(spec)
    if spec.phase1 and whole:
        yield _own("heads", key, Cost(forward=spec.phase1.epochs), pictures)
        looks += spec.phase1.epochs + 1
    if spec.phase2:
        epochs, whole = spec.phase2.epochs, not room.holds_frontier(spec)
        yield _own("fine-tuning", key, Cost(tuning=epochs) if whole else Cost(top=epochs), pictures)
        looks += epochs + 1 if whole else 0
    yield _own("evaluation", key, Cost(evaluation=looks + whole), pictures)


def _activations(
    ground: Ground, trials: Sequence[_Trial], room: Room, known: Known
) -> Iterator[Step]:
    """One step for each split and view: a pass gives every cut that its trials need."""
    users: dict[tuple[SplitName, View | None], dict[str, None]] = {}
    missing: dict[tuple[SplitName, View | None], bool] = {}
    for key, spec in trials:
        trained = known.head(ground, steps.head_step(spec))
        for split, view, cut in steps.needs(spec, room.holds_frontier(spec)):
            if cut == "pooled" and not room.holds_features(spec):
                continue
            shown = split, view
            users.setdefault(shown, {})[key] = None
            name: str | None = pooled_name(spec)
            if cut == "frontier":
                name = room.frontiers[spec.freeze.label].cut
            elif trained and split == "train":
                continue  # nobody will look at what that head learned from
            there = name is not None and known.activations(ground, split, view, name)
            missing[shown] = missing.get(shown, False) or not there
    pictures = known.counts(ground.data).train
    for (split, view), keys in users.items():
        name = jobs.pass_key(ground, split, view)
        cost = Cost(forward=1) if split == "train" else Cost(evaluation=1)
        cached = not missing.get((split, view), False)
        yield Step("activations", name, tuple(keys), cost, pictures, cached)


# ------------------------------------------------------------------- choosing and what is missing


def select(trials: Sequence[_Task], words: Sequence[str]) -> tuple[_Task, ...]:
    """The trials, or measurements, that the words choose.

    Args:
        trials: to choose from.
        words: each is part of the label, whatever its case, and all of these must be; or the
            beginning of a key (`FEWEST_DIGITS` digits at least), of which any does.

    Raises:
        BenchError: nothing fits.
    """
    keys = {w.lower() for w in words if KEY.fullmatch(w.lower())}
    texts = [w.lower() for w in words if w.lower() not in keys]
    chosen = tuple(
        t
        for t in trials
        if all(text in t.label.lower() for text in texts)
        and (not keys or any(map(t.key.startswith, keys)))
    )
    if not chosen:
        labels = [t.label.lower() for t in trials]
        alone = [w for w in words if w.lower() in texts and not any(w.lower() in t for t in labels)]
        raise BenchError(
            f"--only {' '.join(alone or words)!r}: nothing of this suite matches; "
            f"one of them is {trials[0].label!r}, with key {trials[0].key}"
        )
    return chosen


def problems(suite: Suite, settings: Settings, elsewhere: bool = False) -> list[str]:
    """What is known to be missing before anything runs: the backend, devices, files.

    Args:
        suite: what is to run.
        settings: of this machine.
        elsewhere: on other machines, whose devices nobody here knows.
    """
    missing = backends.problem(suite.backend)
    if missing is None and not elsewhere:
        missing = devices.problem(suite.devices, backends.chosen(suite.backend))
    found = {missing: None} if missing else {}
    for backbone, dataset in dict.fromkeys((t.backbone, t.data.dataset) for t in suite.trials):
        try:
            weights.locate(backbone, settings, suite.folder)
            _locate_folder(dataset, suite.folder)
        except BenchError as error:
            found[str(error)] = None
    return list(found)


def _locate_folder(dataset: Dataset, base: Path) -> None:
    folder = datasets.located(dataset, base).folder
    if folder and not Path(folder).is_dir():
        raise DatasetError(f"dataset {dataset.name!r}: folder {dataset.folder!r} is not there")
