"""The shared path: the same numbers as the literal one, with equal work done once.

Phase 1 is a lookup: the heads of all seeds were trained as one stack on pooled features. Phase 2
trains the top of the backbone from the frontier. In both, the trial's own whole model ends up with
the weights, so that the guards see what they always see; one more of them, ``shared_work``, holds
what was computed once against the stock model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import steps
from bench.records import Guard, Phase, Progress, SplitName, TrialSpec
from bench.training import execution, guards, protocol
from bench.training.activations import Found
from bench.training.batches import Batches
from bench.training.fitting import fit
from bench.training.protocol import Fitting
from bench.training.recording import Recorder, Report
from bench.training.workbench import Workbench, frontier_name, pooled_name, put_head


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
        whole = protocol.Literal(
            *(self.spec, self.bench.given, self.report),
            trial=self.trial,
            chooser=self.bench.chooser,
        )
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
        (features,) = self.bench.at(pooled_name(self.spec), split, None, self.report)
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
        fit(top.model, train, batches("val"), phase, epochs_done, recorder)

        def predicted(split: SplitName) -> NDArray[np.float32]:
            found: NDArray[np.float32] = top.model.predict(batches(split), verbose=0)
            return found

        self._outputs = predicted
        return Fitting(
            epochs=tuple(recorder.epochs),
            first_rate=recorder.first_rate,
            input_wait=recorder.wait.share,
            execution=top.mode.text,
        )

    # ----------------------------------------------------------------------------------- guards

    def _shared_work(self, plan: guards.PhasePlan, probe: NDArray[np.uint8]) -> Guard:
        """Hold what was computed once against the stock model, on a few pictures of val."""
        trial, bench, few = self.trial, self.bench, slice(0, len(probe))
        if plan.name == "phase 1":
            (features,) = bench.at(pooled_name(self.spec), "val", None, self.report)
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
