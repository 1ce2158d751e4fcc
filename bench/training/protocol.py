"""The two-phase protocol, literally: the reference that every faster path must equal.

1. Build: raw pixels (in training, the epoch's augmented view of them) -> the backbone's
   preprocessing -> the backbone, pinned to inference mode -> head.
2. Phase 1: freeze the whole backbone, compile, fit the head.
3. Phase 2: unfreeze what the strategy says, compile again at a far lower learning rate, fit on.
4. Choose on val (early stopping keeps the best weights), then look at test once.

`Literal` computes the phases so, trial by trial; `bench.training.sharing` computes the same, doing
once what trials have in common. `Steps` names each step that a script could get wrong, so that a
test, or a trial with a trap (`bench.training.trapped`), can swap one for a wrong one and watch
which guard notices.
"""

import pathlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench import marks
from bench.records import (
    BatchNorm,
    Epoch,
    Guard,
    Head,
    Phase,
    PhaseResult,
    Preprocessing,
    SplitName,
    TrialSpec,
)
from bench.training import execution, guards, parallel
from bench.training.batches import Batches, Pictures, of_pictures
from bench.training.fitting import compile_model, fit, predict
from bench.training.model import PinnedBackbone, TrialModel, build
from bench.training.modes import Mode
from bench.training.recording import LossScaling, Recorder, Report
from bench.training.scoring import Scores, score
from bench.training.views import EpochViews, set_generator
from bench.zoo import freezing, preprocessing


def freeze_all(backbone: Any) -> None:
    """Phase 1: nothing of the backbone trains."""
    freezing.set_trainable(backbone, False)


def unfreeze(trial: TrialModel, start: int, batch_norm: BatchNorm) -> None:
    """Phase 2: layers from ``start`` on train, BatchNorm by its mode."""
    freezing.apply(trial.backbone, start, batch_norm)
    trial.wrapper.follow_training = batch_norm == "train"


def planned(spec: TrialSpec) -> tuple[Phase | None, Phase | None]:
    """Both phases as the trial plans them."""
    return spec.phase1, spec.phase2


@dataclass(frozen=True)
class Steps:
    """The steps that a script could get wrong."""

    phases: Callable[[TrialSpec], tuple[Phase | None, Phase | None]] = planned
    pin: Callable[[Any], Any] = PinnedBackbone
    preprocess: Callable[[Preprocessing, Any], Any] = preprocessing.apply
    freeze_all: Callable[[Any], None] = freeze_all
    compile: Callable[[Any, Phase, Head, bool], None] = compile_model
    unfreeze: Callable[[TrialModel, int, BatchNorm], None] = unfreeze
    recompile: Callable[[Any, Phase, Head, bool], None] = compile_model


@dataclass(frozen=True)
class Ingredients:
    """What a trial needs besides its spec.

    Attributes:
        backbone: Keras model without top, its weights loaded.
        contract: what the backbone expects of pixels.
        block_starts: index of the first layer of each of its blocks.
        classes: classes of the dataset.
        train, val, test: the pictures of the three splits.
        jit: compile with XLA.
        scratch: an existing folder for files that last no longer than the trial.
        stock: whether the backbone's operations are as keras.applications has them.
    """

    backbone: Any
    contract: Preprocessing
    block_starts: tuple[int, ...]
    classes: int
    train: Pictures
    val: Pictures
    test: Pictures
    jit: bool
    scratch: pathlib.Path
    stock: bool = True

    @property
    def probe(self) -> NDArray[np.uint8]:
        """A few pictures for the guards to look at: uint8 (n, size, size, 3)."""
        return self.val[np.arange(min(guards.PROBE_PICTURES, len(self.val)))]

    @property
    def layers(self) -> freezing.BackboneLayers:
        """What a freeze strategy may look at."""
        names = tuple(layer.name for layer in self.backbone.layers)
        return freezing.BackboneLayers(names, self.block_starts)


@dataclass(frozen=True)
class Fitting:
    """What fitting a phase gave; the weights are in the trial's model.

    Attributes:
        epochs: one row each.
        first_rate: learning rate in force at the first step.
        images_per_second: of the stock model's training steps; None where it was not what trained.
        input_wait: share of the training time that went into waiting for input.
        execution: graph, XLA or eager.
        scaling: what loss scaling came to; None where the loss is not scaled.
    """

    epochs: tuple[Epoch, ...]
    first_rate: float
    images_per_second: float | None = None
    input_wait: float | None = None
    execution: str = ""
    scaling: LossScaling | None = None


class Path(Protocol):
    """How the phases of one trial are computed: `Literal`, or with work shared between trials."""

    trial: TrialModel
    steps: Steps

    def look(self, plan: guards.PhasePlan) -> list[Guard]:
        """The guards that look at a phase's model before it trains."""

    def fit(self, plan: guards.PhasePlan, phase: Phase, epochs_done: int) -> Fitting:
        """Compile for a phase and fit it; ``trial`` then holds the weights it ended with."""

    def outputs(self, split: SplitName) -> NDArray[np.float32]:
        """The model's outputs (pictures, outputs) for every picture of val or test."""


class Literal:
    """Step by step, every trial for itself: the model is the whole model, every time.

    Args:
        spec: the trial, its freeze strategy resolved.
        given: backbone and pictures.
        report: told of every epoch.
        steps: the protocol's steps; replaced only to break it on purpose.
        trial: the model to use; built where there is none yet.
    """

    def __init__(
        self,
        spec: TrialSpec,
        given: Ingredients,
        report: Report,
        steps: Steps = Steps(),
        trial: TrialModel | None = None,
    ) -> None:
        self.spec, self.given, self.report, self.steps = spec, given, report, steps
        self.trial = trial or build(
            given.backbone,
            given.contract,
            spec.head,
            image_size=spec.data.image_size,
            classes=given.classes,
            pin=steps.pin,
            preprocess=steps.preprocess,
        )
        self._views = EpochViews(spec, given.train, given.scratch)

    def look(self, plan: guards.PhasePlan) -> list[Guard]:
        """Is what would train what should; is the backbone deterministic?"""
        return [
            guards.trainable_set(self.trial.model, plan),
            guards.backbone_deterministic(self.trial, plan, self.given.probe),
        ]

    def fit(self, plan: guards.PhasePlan, phase: Phase, epochs_done: int) -> Fitting:
        """Compile the whole model, and let Keras fit it."""
        compile_step = self.steps.compile if plan.name == "phase 1" else self.steps.recompile
        mode = self.mode(plan, phase)
        compile_step(self.trial.model, phase, self.spec.head, mode.jit)
        spec, given, last = self.spec, self.given, epochs_done + phase.epochs
        train = Batches(
            *(self._views, given.train.labels, spec.execution.batch_size, spec.head),
            *(given.classes, spec.seed, epochs_done),
        )
        recorder = Recorder(plan.name, train, last, self.report, stock=given.stock)
        fit(self.trial.model, train, self._batches("val"), phase, epochs_done, recorder)
        return Fitting(
            epochs=tuple(recorder.epochs),
            first_rate=recorder.first_rate,
            images_per_second=recorder.images_per_second,
            input_wait=recorder.wait.share,
            execution=mode.text,
            scaling=recorder.scaling,
        )

    def mode(self, plan: guards.PhasePlan, phase: Phase) -> Mode:
        """Graph, XLA or eager: what the backend does by default."""
        return Mode(execution.mode(), "the backend's default, not measured")

    def outputs(self, split: SplitName) -> NDArray[np.float32]:
        """Of the whole model, the last partial batch included."""
        return predict(self.trial.model, self._batches(split))

    def _batches(self, split: SplitName) -> Batches:
        pictures: Pictures = getattr(self.given, split)
        size, head = self.spec.execution.batch_size, self.spec.head
        return of_pictures(pictures, size, head, self.given.classes)


@dataclass(frozen=True)
class Outcome:
    """What the protocol measured. ``test`` is None where the loss diverged."""

    model: Any
    phase1: PhaseResult | None
    phase2: PhaseResult | None
    val: Scores
    test: Scores | None
    guards: tuple[Guard, ...]


def run(
    spec: TrialSpec,
    given: Ingredients,
    path: Path,
    keep: Callable[[dict[str, PhaseResult]], None] = lambda _: None,
) -> Outcome:
    """Run both phases of a trial and look at test once.

    Args:
        spec: the trial, its freeze strategy resolved.
        given: backbone and pictures.
        path: computes the phases.
        keep: given each phase as it ends, so that phase 1 outlives a phase 2 that fails.

    Raises:
        ImpossibleTrialError: several devices would give other numbers than one.
    """
    parallel.check(spec, given.backbone, len(given.train))
    weights = freezing.inventory(given.backbone)
    layers = given.layers
    start = freezing.first_trainable(spec.freeze, layers)
    trial, steps = path.trial, path.steps
    seed_backbone(given.backbone, spec.seed)
    found = [guards.preprocessing_applied(trial, given.contract, given.probe)]
    untrained = guards.head_digests(trial)
    first, second = steps.phases(spec)
    phase1 = phase2 = scores = None

    if first:
        steps.freeze_all(trial.backbone)
        plan = plan_phase("phase 1", first, trial, weights, len(layers.names), "frozen")
        phase1, scores, checks = run_phase(plan, first, spec, given, path, 0)
        found += checks
        keep({"phase1": phase1})

    if second and _finite(found):
        if spec.phase1:
            found.append(guards.head_trained(untrained, trial))
        steps.unfreeze(trial, start, spec.batch_norm)
        plan = plan_phase("phase 2", second, trial, weights, start, spec.batch_norm)
        done, before = (len(phase1.epochs) if phase1 else 0), scores
        phase2, scores, checks = run_phase(plan, second, spec, given, path, done)
        found += checks
        keep({"phase2": phase2})
        if before is not None and _finite(checks):
            found.append(guards.no_cliff(before, scores))

    if scores is None:
        raise ValueError(f"{spec.label}: neither phase 1 nor phase 2 to run")
    test = None
    if _finite(found):
        test = score(path.outputs("test"), given.test.labels, spec.head)
    return Outcome(trial.model, phase1, phase2, scores, test, guards.merged(found))


def seed_backbone(backbone: Any, seed: int) -> None:
    """Let what is random inside a backbone (stochastic depth) begin as the trial's seed says.

    Only mode ``train`` lets it be random at all; how the backbone came to be must not matter then.
    """
    states = [v for v in backbone.variables if "seed_generator" in v.path]
    for position, state in enumerate(states):
        set_generator(state, seed, position)


def plan_phase(
    name: str,
    phase: Phase,
    trial: TrialModel,
    weights: Sequence[freezing.BackboneWeight],
    start: int,
    batch_norm: BatchNorm,
) -> guards.PhasePlan:
    """Work out what a phase should train, from names and sizes rather than Keras' flags."""
    backbone = freezing.planned(weights, start, batch_norm)
    head = {w.path for w in guards.head_weights(trial)}
    return guards.PhasePlan(
        name=name,
        trains=frozenset({w.path for w in backbone} | head),
        parameters=sum(w.size for w in backbone) + trial.head_parameters,
        learning_rate=phase.learning_rate,
        batch_norm=batch_norm,
        start=start,
    )


def run_phase(
    plan: guards.PhasePlan,
    phase: Phase,
    spec: TrialSpec,
    given: Ingredients,
    path: Path,
    epochs_done: int,
) -> tuple[PhaseResult, Scores, list[Guard]]:
    """Fit one phase, between the guards that look before and after.

    Returns:
        What the phase measured, its scores on val, and its guards.
    """
    trial = path.trial
    checks = path.look(plan)
    before = guards.snapshot(trial.model)
    began = time.perf_counter()
    fitting = path.fit(plan, phase, epochs_done)
    scores = score(path.outputs("val"), given.val.labels, spec.head)
    result = PhaseResult(
        epochs=fitting.epochs,
        trainable_parameters=sum(int(np.prod(w.shape)) for w in trial.model.trainable_weights),
        learning_rate=fitting.first_rate,
        val_accuracy=scores.accuracy,
        val_loss=scores.loss,
        val_correct=marks.packed(scores.correct),
        images_per_second=fitting.images_per_second,
        seconds=time.perf_counter() - began,
        input_wait=fitting.input_wait,
        execution=fitting.execution,
    )
    checks += guards.after_phase(trial, plan, before, fitting.first_rate, fitting.epochs)
    checks += guards.loss_scale(trial.model, plan, fitting.scaling)
    return result, scores, checks


def _finite(found: Sequence[Guard]) -> bool:
    return all(g.passed for g in found if g.name == "loss_finite")
