"""The shared path: the same numbers as the literal one, with equal work done once.

    Workbench   a backbone and its pictures: the activations at every cut that the suite's trials
                need, the heads of phase 1, and models compiled once and used again
    Shared      the phases of one trial on it (a `bench.training.protocol.Path`)

Phase 1 is a lookup: the heads of all seeds were trained as one stack on pooled features. Phase 2
trains the top of the backbone from the frontier. In both, the trial's own whole model ends up with
the weights, so that the guards see what they always see; one more of them, ``shared_work``, holds
what was computed once against the stock model.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import cache, steps
from bench.errors import ImpossibleTrialError
from bench.records import Epoch, Guard, Head, Phase, Progress, SplitName, TrialSpec
from bench.settings import Settings
from bench.steps import HeadStep, View
from bench.training import execution, frontier, guards, protocol, stacking
from bench.training.activations import Activations, Cut, Found, Source
from bench.training.batches import Batches, Pictures
from bench.training.model import PinnedBackbone, TrialModel, build
from bench.training.protocol import Fitting, Ingredients
from bench.training.recording import Recorder, Report
from bench.training.stacking import Lessons, TrainedHead
from bench.zoo import freezing, heads

HEADS = "heads"
HEADS_VERSION = 1
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Terms:
    """What a workbench works under.

    Attributes:
        identity: of weights, stack and whatever else activations depend on; JSON values.
        about: what entries of the cache say of themselves besides; JSON values.
        label: of backbone and dataset, for lists of the cache.
        frontier_bytes: room for frontiers; phase 2 from one that does not fit is computed whole.
        settings: whose cache keeps activations and heads.
    """

    identity: Mapping[str, Any]
    about: Mapping[str, Any]
    label: str
    frontier_bytes: float
    settings: Settings


class Workbench:
    """What trials on one ground share within a process; across processes, the cache does.

    Args:
        given: backbone and pictures.
        terms: what to work under.
        trials: those of the suite on this ground; what they need is computed along.
    """

    def __init__(self, given: Ingredients, terms: Terms, trials: Sequence[TrialSpec]) -> None:
        self.given, self.terms = given, terms
        self.trials = [t for t in trials if _possible(t, given)]
        self.splits: dict[SplitName, Pictures] = {
            "train": given.train,
            "val": given.val,
            "test": given.test,
        }
        source = Source(
            backbone=given.backbone,
            contract=given.contract,
            splits=self.splits,
            identity=terms.identity,
            about=terms.about,
            label=terms.label,
            settings=terms.settings,
        )
        self.activations = Activations(source, self._cuts())
        self.looked: dict[str, list[Guard]] = {}
        self._fresh = _values(given.backbone)
        self._models: dict[str, TrialModel] = {}
        self._tops: dict[str, Top] = {}

    # ------------------------------------------------------------------------------------- cuts

    def _cuts(self) -> list[Cut]:
        """The pooled features that trials need, and their frontiers while there is room."""
        features = self.given.backbone.outputs[0]
        cuts = {
            _pooled(t): Cut(_pooled(t), (heads.pooling(t.head)(features),)) for t in self.trials
        }
        room = self.terms.frontier_bytes
        for cut in sorted(self._frontiers(), key=self._bytes):
            room -= self._bytes(cut)
            if room >= 0:
                cuts[cut.name] = cut
        return list(cuts.values())

    def _frontiers(self) -> list[Cut]:
        found = {}
        for start in {_start(t, self.given) for t in self.trials if steps.shares_phase2(t)}:
            if tensors := frontier.crossing(self.given.backbone, start):
                found[start] = Cut(frontier_name(start), tuple(tensors))
        return list(found.values())

    def _bytes(self, cut: Cut) -> int:
        """On disk, over every view that a trial will see there."""
        views = {
            v
            for t in self.trials
            if t.phase2 and _frontier(t, self.given) == cut.name
            for v in _views2(t)
        }
        pictures = len(views) * len(self.given.train) + len(self.given.val) + len(self.given.test)
        return cut.numbers * FLOAT_BYTES * pictures

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
                wanted.add(_pooled(trial))
            if steps.shares_phase2(trial):
                name = _frontier(trial, self.given)
                if split != "train" or view in _views2(trial) or cut.startswith(FRONTIER):
                    wanted.add(name)
        return sorted(wanted & self.activations.cuts.keys())

    # ---------------------------------------------------------------------------------- phase 1

    def head(self, spec: TrialSpec, report: Report) -> TrainedHead:
        """The head that phase 1 of a trial ends with; trains the whole stack it belongs to."""
        step = steps.head_step(spec)
        if (known := self._read_head(step)) is not None:
            return known
        members = dict.fromkeys([*map(steps.head_step, self.trials), step])
        stack = [m for m in members if m.stack == step.stack]
        for member, head in zip(stack, self._train(stack, spec, report), strict=True):
            self._write_head(member, head)
            if member == step:
                trained = head
        return trained

    def _train(
        self, stack: Sequence[HeadStep], spec: TrialSpec, report: Report
    ) -> list[TrainedHead]:
        cut, phase = _pooled(spec), stack[0].phase

        def features(epoch: int) -> Found:
            return self.at(cut, "train", steps.view_of(spec, epoch), report)

        for epoch in range(phase.epochs):
            features(epoch)  # before Keras holds the backbone's variables, as it does on JAX
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
            "version": HEADS_VERSION,
        }

    def _read_head(self, step: HeadStep) -> TrainedHead | None:
        entry = cache.read(self.terms.settings, HEADS, self._head_identity(step))
        if entry is None:
            return None
        content, arrays = entry.content, entry.arrays
        return TrainedHead(
            weights=[np.array(arrays[f"weight{i}"]) for i in range(content["weights"])],
            dropout_states=[np.array(arrays[f"state{i}"]) for i in range(content["states"])],
            epochs=tuple(Epoch.model_validate(e) for e in content["epochs"]),
            first_rate=content["first_rate"],
            input_wait=content["input_wait"],
        )

    def _write_head(self, step: HeadStep, head: TrainedHead) -> None:
        label = f"{self.terms.label} seed {step.seed}"
        identity = self._head_identity(step)
        with cache.building(self.terms.settings, HEADS, identity, label) as writer:
            if writer is None:
                return
            for i, weight in enumerate(head.weights):
                writer.put(f"weight{i}", weight)
            for i, state in enumerate(head.dropout_states):
                writer.put(f"state{i}", state)
            writer.content |= {
                **self.terms.about,
                "weights": len(head.weights),
                "states": len(head.dropout_states),
                "epochs": [e.model_dump(mode="json") for e in head.epochs],
                "first_rate": head.first_rate,
                "input_wait": head.input_wait,
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
        if name not in self._tops:
            self._tops[name] = Top(self.given, cut, trial, spec.phase2, spec.head)
        top = self._tops[name]
        top.renew(spec.phase2)
        return top


class Top:
    """A model from the frontier to the head's outputs; its layers are the trial model's own.

    Compiled once: another seed begins from other weights and a fresh optimizer, but what Keras
    traced stays, which costs seconds.
    """

    def __init__(
        self, given: Ingredients, cut: Cut, trial: TrialModel, phase: Phase, head: Head
    ) -> None:
        inputs = [keras.Input(t.shape[1:]) for t in cut.tensors]
        above = PinnedBackbone(frontier.above(given.backbone, list(cut.tensors)))
        features = above(inputs if len(inputs) > 1 else inputs[0])
        outputs = keras.Model(trial.features, trial.model.output)(features)
        self.model = keras.Model(inputs, outputs)
        self.features = keras.Model(inputs, features)
        protocol.compile_model(self.model, phase, head, given.jit)
        self.model.optimizer.build(self.model.trainable_variables)
        self._fresh = _values(self.model.optimizer)

    def renew(self, phase: Phase) -> None:
        """Give the optimizer the state it began with."""
        for variable, value in zip(self.model.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        self.model.optimizer.learning_rate = phase.learning_rate


class Shared:
    """The phases of one trial, by way of what trials share.

    Args:
        spec: the trial, its freeze strategy resolved.
        bench: with what this trial shares.
        report: told of every epoch.
    """

    def __init__(self, spec: TrialSpec, bench: Workbench, report: Report) -> None:
        self.spec, self.bench, self.report = spec, bench, report
        self.steps = protocol.Steps()
        self.trial = bench.trial_model(spec)
        self._outputs: Callable[[SplitName], NDArray[np.float32]] = self._of_head

    def look(self, plan: guards.PhasePlan) -> list[Guard]:
        """The literal path's guards; those about the backbone once for all that share it."""
        looked = self.bench.looked
        name = repr((plan.name, plan.start, plan.batch_norm, self.spec.head.pooling))
        if name not in looked:
            probe = self.bench.given.probe
            looked[name] = [
                guards.backbone_deterministic(self.trial, plan, probe),
                self._shared_work(plan, probe),
            ]
        return [guards.trainable_set(self.trial.model, plan), *looked[name]]

    def fit(self, plan: guards.PhasePlan, phase: Phase, epochs_done: int) -> Fitting:
        """Phase 1 is looked up, phase 2 trained from the frontier, or whole where that is none."""
        if plan.name == "phase 1":
            return self._fit_head()
        if self._has_frontier(plan):
            return self._fit_top(plan, phase, epochs_done)
        whole = protocol.Literal(self.spec, self.bench.given, self.report, trial=self.trial)
        self._outputs = whole.outputs
        return whole.fit(plan, phase, epochs_done)

    def outputs(self, split: SplitName) -> NDArray[np.float32]:
        """Of the last phase's model, from what was computed once."""
        return self._outputs(split)

    # ---------------------------------------------------------------------------------- phase 1

    def _fit_head(self) -> Fitting:
        trained = self.bench.head(self.spec, self.report)
        put_head(self.trial, trained.weights, trained.dropout_states)
        for epoch in trained.epochs:
            self.report(
                Progress(
                    stage="phase 1",
                    epoch=epoch.index + 1,
                    epochs=len(trained.epochs),
                    epoch_done=epoch,
                )
            )
        return Fitting(
            epochs=trained.epochs,
            first_rate=trained.first_rate,
            input_wait=trained.input_wait,
            execution=execution.mode(),
        )

    def _of_head(self, split: SplitName) -> NDArray[np.float32]:
        (features,) = self.bench.at(_pooled(self.spec), split, None, self.report)
        head = keras.Model(self.trial.pooled, self.trial.model.output)
        return _in_pieces(head, (features,))

    # ---------------------------------------------------------------------------------- phase 2

    def _has_frontier(self, plan: guards.PhasePlan) -> bool:
        known = frontier_name(plan.start) in self.bench.activations.cuts
        return known and steps.shares_phase2(self.spec)

    def _fit_top(self, plan: guards.PhasePlan, phase: Phase, epochs_done: int) -> Fitting:
        spec, given, bench = self.spec, self.bench.given, self.bench
        cut = frontier_name(plan.start)
        for view in steps.views_of(spec, epochs_done, phase.epochs):
            bench.at(cut, "train", view, self.report)  # see Workbench._train
        top = bench.top(spec, self.trial, plan)
        size, head = spec.execution.batch_size, spec.head

        def batches(split: SplitName, seed: int | None = None) -> Batches:
            def inputs(epoch: int) -> Found:
                return bench.at(cut, split, steps.view_of(spec, epoch), self.report)

            labels = bench.splits[split].labels
            return Batches(inputs, labels, size, head, given.classes, seed, epochs_done)

        train = batches("train", spec.seed)
        recorder = Recorder(plan.name, train, epochs_done + phase.epochs, self.report)
        protocol.fit(top.model, train, batches("val"), phase, epochs_done, recorder)

        def predicted(split: SplitName) -> NDArray[np.float32]:
            found: NDArray[np.float32] = top.model.predict(batches(split), verbose=0)
            return found

        self._outputs = predicted
        return Fitting(
            epochs=tuple(recorder.epochs),
            first_rate=recorder.first_rate,
            input_wait=recorder.wait.share,
            execution=execution.mode(),
        )

    # ----------------------------------------------------------------------------------- guards

    def _shared_work(self, plan: guards.PhasePlan, probe: NDArray[np.uint8]) -> Guard:
        """Hold what was computed once against the stock model, on a few pictures of val."""
        trial, bench, few = self.trial, self.bench, slice(0, len(probe))
        if plan.name == "phase 1":
            (features,) = bench.at(_pooled(self.spec), "val", None, self.report)
            stock = keras.Model(trial.model.input, trial.pooled)(probe, training=True)
            return guards.shared_work(plan, "pooled features", features[few], stock)
        if not self._has_frontier(plan):
            evidence = f"{plan.name}: nothing shared, it has no frontier that fits the room for it"
            return Guard(name="shared_work", passed=None, evidence=evidence)
        found = bench.at(frontier_name(plan.start), "val", None, self.report)
        top = bench.top(self.spec, trial, plan)
        ours = top.features([np.asarray(t[few]) for t in found], training=True)
        stock = keras.Model(trial.model.input, trial.features)(probe, training=True)
        return guards.shared_work(plan, "feature map from the frontier", ours, stock)


POOLED, FRONTIER = "pooled ", "frontier "


def frontier_name(start: int) -> str:
    """Name of the cut below the layer of this index."""
    return f"{FRONTIER}{start}"


def put_head(trial: TrialModel, weights: Sequence[Any], states: Sequence[Any]) -> None:
    """Give a trial's head its weights, and its Dropout layers' generators their states."""
    head = keras.Model(trial.pooled, trial.model.output)
    head.set_weights(list(weights))
    for generator, state in zip(stacking.dropout_generators(head), states, strict=True):
        generator.state.assign(state)


def _pooled(spec: TrialSpec) -> str:
    return f"{POOLED}{spec.head.pooling}"


def _start(spec: TrialSpec, given: Ingredients) -> int:
    return freezing.first_trainable(spec.freeze, given.layers)


def _frontier(spec: TrialSpec, given: Ingredients) -> str:
    return frontier_name(_start(spec, given))


def _views2(spec: TrialSpec) -> list[View | None]:
    """The views that phase 2 sees, unless phase 1 stops early."""
    assert spec.phase1 is not None
    assert spec.phase2 is not None
    return steps.views_of(spec, spec.phase1.epochs, spec.phase2.epochs)


def _possible(spec: TrialSpec, given: Ingredients) -> bool:
    """Whether a trial can share here at all; what is wrong with it, it says when it runs."""
    try:
        _start(spec, given)
    except ImpossibleTrialError:
        return False
    return steps.shares_phase1(spec)


def _in_pieces(model: Any, arrays: Sequence[NDArray[Any]], size: int = 1024) -> NDArray[np.float32]:
    """A small model's outputs, computed without compiling it."""
    count = len(arrays[0])
    pieces = [
        keras.ops.convert_to_numpy(
            model(*(np.asarray(a[first : first + size]) for a in arrays), training=False)
        )
        for first in range(0, count, size)
    ]
    return np.concatenate(pieces).astype(np.float32)


def _values(holder: Any) -> list[NDArray[Any]]:
    """Copies of a model's weights, or of an optimizer's variables."""
    variables = getattr(holder, "weights", None) or holder.variables
    return [np.array(keras.ops.convert_to_numpy(v.value)) for v in variables]


def _assign(model: Any, values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(model.weights, values, strict=True):
        variable.assign(value)
