"""The workbench: what trials on one ground share.

The activations at every cut that the suite's trials need, the heads of phase 1, and models that
were compiled once and are used again, each time as if just made.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import steps
from bench.errors import ImpossibleTrialError
from bench.progress import Progress
from bench.records import Epoch, Guard, Phase, SplitName, TrialSpec
from bench.settings import Settings
from bench.steps import FRONTIER, POOLED, HeadStep, View, pooled_name
from bench.training import frontier, guards, kept_heads, stacking
from bench.training.activations import Activations, Cut, Found, Source
from bench.training.batches import Pictures, targets
from bench.training.fitting import compile_model
from bench.training.model import PinnedBackbone, TrialModel, build
from bench.training.modes import Chooser, Mode
from bench.training.protocol import Ingredients
from bench.training.recording import Report
from bench.training.stacking import Lessons, TrainedHead
from bench.zoo import freezing, heads, weights


@dataclass(frozen=True)
class Terms:
    """What a workbench works under.

    Attributes:
        identity: of weights, stack and whatever else activations depend on; JSON values.
        about: what entries of the cache say of themselves besides; JSON values.
        label: of backbone and dataset, for lists of the cache.
        activations_bytes: room for activations; without them, a phase is computed whole.
        settings: whose cache keeps activations and heads.
        machine: what speeds depend on, as `bench.training.modes.choose` wants it.
    """

    identity: Mapping[str, Any]
    about: Mapping[str, Any]
    label: str
    activations_bytes: float
    settings: Settings
    machine: Mapping[str, Any]


class Workbench:
    """What trials on one ground share within a process; across processes, the cache does.

    Args:
        given: backbone and pictures.
        terms: what to work under.
        trials: those of the suite on this ground; what they need is computed along.
    """

    def __init__(self, given: Ingredients, terms: Terms, trials: Sequence[TrialSpec]) -> None:
        self.given, self.terms = given, terms
        self._fresh, self._loaded = _values(given.backbone), weights.fingerprint(given.backbone)
        self.trials = [t for t in trials if _possible(t, given)]
        self.splits: dict[SplitName, Pictures] = {
            "train": given.train,
            "val": given.val,
            "test": given.test,
        }
        self.frontiers = self._frontiers()
        self.about = {**terms.about, **self._findings()}
        source = Source(
            backbone=given.backbone,
            contract=given.contract,
            splits=self.splits,
            identity=terms.identity,
            about=self.about,
            label=terms.label,
            settings=terms.settings,
            jit=given.jit,
            machine=terms.machine,
            untrained=self._untrained,
        )
        self.chooser = Chooser(terms.machine, terms.settings)
        self.activations = Activations(source, self._cuts(), self._passes())
        self.looked: dict[str, list[Guard]] = {}
        self._models: dict[str, TrialModel] = {}
        self._top: tuple[str, Top] | None = None

    # ------------------------------------------------------------------------------------- cuts

    def _cuts(self) -> list[Cut]:
        """The pooled features and frontiers that trials need, while there is room for them."""
        cuts = {pooled_name(t): self._pooled(t) for t in self.trials}
        cuts |= {cut.name: cut for cut in self.frontiers.values() if cut}
        sizes = {name: self._bytes(cut) for name, cut in cuts.items()}
        room = min(self.terms.activations_bytes, self.terms.settings.cache_bytes)
        return [cuts[name] for name in sorted(steps.kept(sizes, room))]

    def _pooled(self, spec: TrialSpec) -> Cut:
        layer = heads.pooling(spec.head)
        layer.name = f"pooled_{spec.head.pooling}"  # several kinds may stand in one model
        return Cut(pooled_name(spec), (layer(self.given.backbone.outputs[0]),))

    def _frontiers(self) -> dict[str, Cut | None]:
        """By freeze strategy; None where it leaves nothing constant below its boundary."""
        sharing = [t for t in self.trials if steps.shares_phase2(t)]
        starts = {t.freeze.label: _start(t, self.given) for t in sharing}
        crossing = {s: frontier.crossing(self.given.backbone, s) for s in set(starts.values())}
        return {
            label: Cut(frontier_name(start), tuple(crossing[start])) if crossing[start] else None
            for label, start in starts.items()
        }

    def _findings(self) -> dict[str, Any]:
        """What `bench.running.known` cannot find out without a model; JSON values."""
        return {
            "frontiers": {
                label: [cut.name, cut.numbers] if cut else None
                for label, cut in self.frontiers.items()
            },
            "pictures": {split: len(pictures) for split, pictures in self.splits.items()},
        }

    def _bytes(self, cut: Cut) -> int:
        """On disk, over every view that a trial may see there."""
        views: set[View | None] = set()
        for trial in self.trials:
            assert trial.phase1 is not None
            if cut.name == pooled_name(trial):
                views.update(steps.views_of(trial, 0, trial.phase1.epochs))
            elif steps.shares_phase2(trial) and cut.name == _frontier(trial, self.given):
                views.update(steps.possible_views2(trial))
        others = len(self.given.val) + len(self.given.test)
        return steps.cut_bytes(cut.numbers, len(views), len(self.given.train), others)

    def _passes(self) -> int:
        """How many views of the train pictures all trials see together."""
        views: set[View | None] = {None}
        for trial in self.trials:
            assert trial.phase1 is not None
            more = trial.phase2.epochs if trial.phase2 else 0
            views.update(steps.views_of(trial, 0, trial.phase1.epochs + more))
        return len(views)

    def as_loaded(self) -> bool:
        """Whether the backbone holds the weights that it was loaded with."""
        return weights.fingerprint(self.given.backbone) == self._loaded

    def at(self, cut: str, split: SplitName, view: View | None, report: Report) -> Found:
        """The activations of a split at a cut, as a view shows it; val and test have none."""
        view = view if split == "train" else None
        return self.activations.get(cut, split, view, self._along(cut, split, view), report)

    def _along(self, cut: str, split: SplitName, view: View | None) -> list[str]:
        """Cuts that other trials will ask for, so that one pass serves them all."""
        wanted = set()
        for trial in self.trials:
            assert trial.phase1 is not None
            if split != "train" or view in steps.views_of(trial, 0, trial.phase1.epochs):
                wanted.add(pooled_name(trial))
            if steps.shares_phase2(trial):
                name = _frontier(trial, self.given)
                if (
                    split != "train"
                    or view in steps.planned_views2(trial)
                    or cut.startswith(FRONTIER)
                ):
                    wanted.add(name)
        return sorted(wanted & self.activations.cuts.keys())

    def run_pass(self, split: SplitName, view: View | None, report: Report) -> None:
        """Compute every cut that trials plan to ask for of a split, as a view shows it."""
        wanted: set[str] = set()
        for trial in self.trials:
            for need in steps.needs(trial, steps.shares_phase2(trial)):
                if (need.split, need.view) == (split, view):
                    pooled = need.cut == "pooled"
                    wanted.add(pooled_name(trial) if pooled else _frontier(trial, self.given))
        names = sorted(wanted & self.activations.cuts.keys())
        for name in names:
            self.activations.get(name, split, view, names, report)

    @contextmanager
    def _untrained(self) -> Iterator[None]:
        """For a while, the backbone as it was loaded: a trial may have trained it meanwhile."""
        now = _values(self.given.backbone)
        _assign(self.given.backbone, self._fresh)
        try:
            yield
        finally:
            _assign(self.given.backbone, now)

    # ---------------------------------------------------------------------------------- phase 1

    def head(self, spec: TrialSpec, report: Report) -> TrainedHead:
        """The head that phase 1 of a trial ends with; trains the whole stack it belongs to."""
        step = steps.head_step(spec)
        settings = self.terms.settings
        if (known := kept_heads.read(settings, self._head_identity(step))) is not None:
            return known
        members = dict.fromkeys([*map(steps.head_step, self.trials), step])
        # A head's place in a stack shows in its last bits: it must not follow the suite's order.
        stack = [m for m in members if m.stack == step.stack]
        stack.sort(key=lambda m: (m.seed, m.model_dump_json()))
        if keras.config.dtype_policy().name == "mixed_float16":
            stack = [step]  # the optimizer's loss scale, and the steps it skips, are the stack's
        for member, head in zip(stack, self._train(stack, spec, report), strict=True):
            label = f"{self.terms.label} seed {member.seed}"
            kept_heads.write(settings, self._head_identity(member), label, self.about, head)
            if member == step:
                trained = head
        return trained

    def _train(
        self, stack: Sequence[HeadStep], spec: TrialSpec, report: Report
    ) -> list[TrainedHead]:
        cut, phase = pooled_name(spec), stack[0].phase

        def features(epoch: int) -> Found:
            return self.at(cut, "train", steps.view_of(spec, epoch), report)

        lessons = Lessons(
            features=features,
            labels=self.given.train.labels,
            val_features=self.at(cut, "val", None, report)[0],
            val_labels=self.given.val.labels,
            classes=self.given.classes,
            jit=self.given.jit,
        )

        def tell(epoch: Epoch) -> None:
            report(Progress(stage="phase 1", epoch=epoch.index + 1, epochs=phase.epochs))

        return stacking.train(stack, lessons, tell)

    def _head_identity(self, step: HeadStep) -> dict[str, Any]:
        labels = [self.given.train.labels.tolist(), self.given.val.labels.tolist()]
        view = steps.View(augmentation=step.augmentation, number=0) if step.augmentation else None
        cut = f"{POOLED}{step.head.pooling}"
        return {
            "features": self.activations.identity(cut, "train", view),
            "val": self.activations.digest("val"),
            "labels": hashlib.sha256(repr(labels).encode()).hexdigest(),
            "classes": self.given.classes,
            "step": step.model_dump(mode="json"),
            "jit": self.given.jit,
            "version": steps.HEADS_VERSION,
        }

    # ----------------------------------------------------------------------------------- models

    def trial_model(self, spec: TrialSpec) -> TrialModel:
        """The whole model of a trial, backbone and head as they begin."""
        name = spec.head.model_copy(update={"name": ""}).model_dump_json()
        if name not in self._models:
            self._models[name] = build(
                self.given.backbone,
                self.given.contract,
                spec.head,
                image_size=spec.data.image_size,
                classes=self.given.classes,
                pin=PinnedBackbone,
            )
        trial = self._models[name]
        trial.wrapper.follow_training = False
        _assign(self.given.backbone, self._fresh)
        width = int(trial.pooled.shape[-1])
        alone = stacking.initial(steps.head_step(spec), width, self.given.classes)
        put_head(
            trial,
            alone.get_weights(),
            list(map(stacking.state_of, stacking.dropout_generators(alone))),
        )
        return trial

    def top(self, spec: TrialSpec, trial: TrialModel, plan: guards.PhasePlan) -> "Top":
        """The top of the backbone with the trial's head, compiled for phase 2, as if just made."""
        assert spec.phase2 is not None
        cut = self.activations.cuts[frontier_name(plan.start)]
        head = spec.head.model_copy(update={"name": ""})
        name = repr((cut.name, plan.batch_norm, head, spec.phase2.optimizer))
        if self._top is None or self._top[0] != name:
            self._top = None  # before another is made: both would not fit everywhere
            self._top = name, Top(self, cut, trial, spec, plan)
        top = self._top[1]
        top.renew(spec.phase2)
        return top


class Top:
    """A model from the frontier to the head's outputs; its layers are the trial model's own.

    Compiled once: another seed begins from other weights and a fresh optimizer, but what Keras
    traced stays, which costs seconds.
    """

    def __init__(
        self,
        bench: Workbench,
        cut: Cut,
        trial: TrialModel,
        spec: TrialSpec,
        plan: guards.PhasePlan,
    ) -> None:
        inputs = [keras.Input(t.shape[1:]) for t in cut.tensors]
        above = PinnedBackbone(frontier.above(bench.given.backbone, list(cut.tensors)))
        features = above(inputs if len(inputs) > 1 else inputs[0])
        outputs = keras.Model(trial.features, trial.model.output)(features)
        self.model = keras.Model(inputs, outputs)
        self.features = keras.Model(inputs, features)
        self.mode = self._choose(bench, cut, spec, plan)
        self._compiled(spec, self.mode.jit)
        self.model.optimizer.build(self.model.trainable_variables)
        self._fresh = _values(self.model.optimizer)

    def _compiled(self, spec: TrialSpec, jit: bool) -> Any:
        assert spec.phase2 is not None
        compile_model(self.model, spec.phase2, spec.head, jit)
        return self.model

    def _choose(self, bench: Workbench, cut: Cut, spec: TrialSpec, plan: guards.PhasePlan) -> Mode:
        """Graph or XLA. A step trains no more than thrice a pass through the whole backbone."""
        assert spec.phase2 is not None
        size, pace = spec.execution.batch_size, bench.activations.seconds_per_picture

        def batch() -> tuple[Any, Any]:
            few = np.arange(min(size, len(bench.given.val)))
            found = bench.at(cut.name, "val", None, lambda _: None)
            taken = [np.resize(np.asarray(t[few]), (size, *t.shape[1:])) for t in found]
            labels = np.resize(bench.given.val.labels[few], size)
            return taken, targets(labels, spec.head, bench.given.classes)

        return bench.chooser.for_fit(
            f"{plan.name} {cut.name} {plan.batch_norm} {spec.head.model_dump_json()}",
            lambda jit: self._compiled(spec, jit),
            batch,
            spec.phase2.epochs * -(-len(bench.given.train) // size),
            3 * pace * size if pace is not None else None,
        )

    def renew(self, phase: Phase) -> None:
        """Give the optimizer the state it began with."""
        for variable, value in zip(self.model.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        self.model.optimizer.learning_rate = phase.learning_rate


def frontier_name(start: int) -> str:
    """Name of the cut below the layer of this index."""
    return f"{FRONTIER}{start}"


def put_head(trial: TrialModel, weights: Sequence[Any], states: Sequence[Any]) -> None:
    """Give a trial's head its weights, and its Dropout layers' generators their states."""
    head = keras.Model(trial.pooled, trial.model.output)
    head.set_weights(list(weights))
    for generator, state in zip(stacking.dropout_generators(head), states, strict=True):
        generator.state.assign(state)


def _start(spec: TrialSpec, given: Ingredients) -> int:
    return freezing.first_trainable(spec.freeze, given.layers)


def _frontier(spec: TrialSpec, given: Ingredients) -> str:
    return frontier_name(_start(spec, given))


def _possible(spec: TrialSpec, given: Ingredients) -> bool:
    """Whether a trial can share here at all; what is wrong with it, it says when it runs."""
    try:
        _start(spec, given)
    except ImpossibleTrialError:
        return False
    return steps.shares_phase1(spec)


def _values(holder: Any) -> list[NDArray[Any]]:
    """Copies of a model's or an optimizer's variables; states of random numbers are among them."""
    return [np.array(keras.ops.convert_to_numpy(v)) for v in holder.variables]


def _assign(model: Any, values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
