"""The shared path: the same numbers as the literal one, with equal work done once.

Phase 1 is a lookup: the heads of all seeds were trained as one stack on pooled features. Phase 2
trains the top of the backbone from the frontier. In both, the trial's own whole model ends up with
the weights, so that the guards see what they always see; one more of them, ``shared_work``, holds
what was computed once against the stock model.
"""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import steps
from bench.progress import Progress
from bench.records import Guard, Phase, SplitName, TrialSpec
from bench.steps import pooled_name
from bench.training import execution, guards, protocol, views
from bench.training.activations import Found
from bench.training.batches import Batches, targets
from bench.training.fitting import compile_model, fit, predict
from bench.training.model import TrialModel
from bench.training.modes import Chooser, Mode
from bench.training.protocol import Fitting, Ingredients
from bench.training.recording import Recorder, Report
from bench.training.workbench import Workbench, frontier_name, put_head


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
                self._shared_work(plan),
            ]
        own = [guards.trainable_set(self.trial.model, plan)]
        if plan.name == "phase 1":
            own.append(guards.as_loaded(plan, self.bench.as_loaded()))
        return [*own, *looked[name]]

    def fit(self, plan: guards.PhasePlan, phase: Phase, epochs_done: int) -> Fitting:
        """Phase 1 is looked up, phase 2 trained from the frontier, or whole where that is none."""
        if self._cut(plan) in self.bench.activations.cuts:
            if plan.name == "phase 1":
                return self._fit_head(phase)
            return self._fit_top(plan, phase, epochs_done)
        whole = Whole(self.spec, self.bench.given, self.report, self.bench.chooser, self.trial)
        self._outputs = whole.outputs
        return whole.fit(plan, phase, epochs_done)

    def outputs(self, split: SplitName) -> NDArray[np.float32]:
        """Of the last phase's model, from what was computed once."""
        return self._outputs(split)

    def _cut(self, plan: guards.PhasePlan) -> str | None:
        """What a phase would be computed from; None where nothing below it is constant."""
        if plan.name == "phase 1":
            return pooled_name(self.spec)
        return frontier_name(plan.start) if steps.shares_phase2(self.spec) else None

    # ---------------------------------------------------------------------------------- phase 1

    def _fit_head(self, phase: Phase) -> Fitting:
        trained = self.bench.head(self.spec, self.report)
        put_head(self.trial, trained.weights, trained.dropout_states)
        self._outputs = self._of_head
        for epoch in trained.epochs:
            done = epoch.index + 1
            self.report(
                Progress(stage="phase 1", epoch=done, epochs=phase.epochs, epoch_done=epoch)
            )
        return Fitting(
            epochs=trained.epochs,
            first_rate=trained.first_rate,
            input_wait=trained.input_wait,
            scaling=trained.scaling,
            execution=f"features {self.bench.activations.execution}; heads {execution.mode()}",
        )

    def _of_head(self, split: SplitName) -> NDArray[np.float32]:
        (features,) = self.bench.at(pooled_name(self.spec), split, None, self.report)
        head = keras.Model(self.trial.pooled, self.trial.model.output)
        return in_pieces(head, features)

    # ---------------------------------------------------------------------------------- phase 2

    def _fit_top(self, plan: guards.PhasePlan, phase: Phase, epochs_done: int) -> Fitting:
        spec, given, bench = self.spec, self.bench.given, self.bench
        cut = frontier_name(plan.start)
        for view in steps.views_of(spec, epochs_done, phase.epochs):
            # Now, because on JAX Keras holds the backbone's variables while it fits.
            bench.at(cut, "train", view, self.report)
        top = bench.top(spec, self.trial, plan)
        size, head = spec.execution.batch_size, spec.head

        def batches(split: SplitName, seed: int | None = None) -> Batches:
            def inputs(epoch: int) -> Found:
                return bench.at(cut, split, steps.view_of(spec, epoch), self.report)

            labels = bench.splits[split].labels
            return Batches(inputs, labels, size, head, given.classes, seed, epochs_done)

        train = batches("train", spec.seed)
        last = epochs_done + phase.epochs
        recorder = Recorder(plan.name, train, last, self.report, stock=False)
        fit(top.model, train, batches("val"), phase, epochs_done, recorder)

        def predicted(split: SplitName) -> NDArray[np.float32]:
            bench.at(cut, split, None, self.report)  # now, for the same reason
            return predict(top.model, batches(split))

        self._outputs = predicted
        return Fitting(
            epochs=tuple(recorder.epochs),
            first_rate=recorder.first_rate,
            input_wait=recorder.wait.share,
            execution=top.mode.text,
            scaling=recorder.scaling,
        )

    # ----------------------------------------------------------------------------------- guards

    def _shared_work(self, plan: guards.PhasePlan) -> Guard:
        """Hold what was computed once against the stock model: some pictures of train and val."""
        trial, bench, cut = self.trial, self.bench, self._cut(plan)
        if cut not in bench.activations.cuts:
            evidence = f"{plan.name}: nothing shared, it has no cut that fits the room for it"
            return Guard(name="shared_work", passed=None, evidence=evidence)
        view = steps.view_of(self.spec, self._first_epoch(plan))
        few = slice(0, len(bench.given.probe))
        shown = next(views.chunks(bench.given.train, view))[1][few]
        parts = [bench.at(cut, s, view, self.report) for s in ("train", "val")]
        found = [np.concatenate([t[few], v[few]]) for t, v in zip(*parts, strict=True)]
        pixels = np.concatenate([shown, bench.given.probe])
        if plan.name == "phase 1":
            stock = keras.Model(trial.model.input, trial.pooled)(pixels, training=True)
            return guards.shared_work(plan, "pooled features", found[0], stock)
        ours = bench.top(self.spec, trial, plan).features(found, training=True)
        stock = keras.Model(trial.model.input, trial.features)(pixels, training=True)
        return guards.shared_work(plan, "feature map from the frontier", ours, stock)

    def _first_epoch(self, plan: guards.PhasePlan) -> int:
        """The first epoch of a phase, as far as is known beforehand."""
        return 0 if plan.name == "phase 1" or not self.spec.phase1 else self.spec.phase1.epochs


def in_pieces(model: Any, features: NDArray[Any], size: int = 1024) -> NDArray[np.float32]:
    """A small model's outputs, computed without compiling it."""
    pieces = [
        keras.ops.convert_to_numpy(model(np.asarray(features[i : i + size]), training=False))
        for i in range(0, len(features), size)
    ]
    return np.concatenate(pieces).astype(np.float32)


class Whole(protocol.Literal):
    """A phase of the whole model, where nothing below it is constant or there is no room for it.

    Args:
        chooser: chooses graph or XLA.
    """

    def __init__(
        self,
        spec: TrialSpec,
        given: Ingredients,
        report: Report,
        chooser: Chooser,
        trial: TrialModel | None = None,
    ) -> None:
        super().__init__(spec, given, report, trial=trial)
        self._chooser = chooser

    def mode(self, plan: guards.PhasePlan, phase: Phase) -> Mode:
        """Graph or XLA. A step trains no more than thrice a pass of its pictures."""
        model, size, probe = self.trial.model, self.spec.execution.batch_size, self.given.probe
        seconds = [_seconds(lambda: model(probe, training=False)) for _ in range(2)]
        few = np.resize(np.arange(len(self.given.val)), size)

        def compiled(jit: bool) -> Any:
            compile_model(model, phase, self.spec.head, jit)
            return model

        def batch() -> tuple[Any, Any]:
            labels = self.given.val.labels[few]
            return self.given.val[few], targets(labels, self.spec.head, self.given.classes)

        return self._chooser.for_fit(
            f"{plan.name} whole from {plan.start} {plan.batch_norm} {self.spec.head}",
            compiled,
            batch,
            phase.epochs * -(-len(self.given.train) // size),
            3 * seconds[-1] * size / len(probe),
        )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
