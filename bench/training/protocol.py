"""The two-phase protocol, literally: the reference that every faster path must equal.

1. Build: raw pixels -> augmentation -> the backbone's preprocessing -> the backbone, pinned to
   inference mode -> head.
2. Phase 1: freeze the whole backbone, compile, fit the head.
3. Phase 2: unfreeze what the strategy says, compile again at a far lower learning rate, fit on.
4. Choose on val (early stopping keeps the best weights), then look at test once.

`Steps` names each step that a script could get wrong, so that a test (or a suite about mistakes)
can swap one for a wrong one and watch which guard notices.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.records import BatchNorm, Guard, Head, Phase, PhaseResult, Preprocessing, TrialSpec
from bench.training import guards
from bench.training.batches import Batches
from bench.training.model import PinnedBackbone, TrialModel, build
from bench.training.recording import Recorder, Report
from bench.training.scoring import Scores, score
from bench.zoo import freezing, preprocessing

OPTIMIZERS: dict[str, Callable[[float], Any]] = {
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "adamw": lambda rate: keras.optimizers.AdamW(rate),
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "rmsprop": lambda rate: keras.optimizers.RMSprop(rate),
}


def freeze_all(backbone: Any) -> None:
    """Phase 1: nothing of the backbone trains."""
    backbone.trainable = False


def unfreeze(trial: TrialModel, start: int, batch_norm: BatchNorm) -> None:
    """Phase 2: layers from ``start`` on train, BatchNorm by its mode."""
    freezing.apply(trial.backbone, start, batch_norm)
    trial.wrapper.follow_training = batch_norm == "train"


def compile_model(model: Any, phase: Phase, head: Head, jit: bool) -> None:
    """Compile for a phase. Without this call, a change of ``trainable`` has no effect."""
    logits = head.output == "logits"
    losses = {
        "sparse": keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
        "one_hot": keras.losses.CategoricalCrossentropy(from_logits=logits),
        "binary": keras.losses.BinaryCrossentropy(from_logits=logits),
    }
    accuracies = {
        "sparse": keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        "one_hot": keras.metrics.CategoricalAccuracy(name="accuracy"),
        "binary": keras.metrics.BinaryAccuracy("accuracy", threshold=0.0 if logits else 0.5),
    }
    model.compile(
        optimizer=OPTIMIZERS[phase.optimizer](phase.learning_rate),
        loss=losses[head.loss],
        metrics=[accuracies[head.loss]],
        jit_compile=jit,
    )


@dataclass(frozen=True)
class Steps:
    """The steps that a script could get wrong."""

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
        train, val, test: the three splits.
        jit: compile with XLA.
    """

    backbone: Any
    contract: Preprocessing
    block_starts: tuple[int, ...]
    classes: int
    train: Batches
    val: Batches
    test: Batches
    jit: bool


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
    report: Report,
    steps: Steps = Steps(),
    keep: Callable[[dict[str, PhaseResult]], None] = lambda _: None,
) -> Outcome:
    """Run both phases of a trial and look at test once.

    Args:
        spec: the trial, its freeze strategy resolved.
        given: backbone and pictures.
        report: told of every epoch.
        steps: the protocol's steps; replaced only to break it on purpose.
        keep: given each phase as it ends, so that phase 1 outlives a phase 2 that fails.
    """
    weights = freezing.inventory(given.backbone)
    layers = freezing.BackboneLayers(
        tuple(layer.name for layer in given.backbone.layers), given.block_starts
    )
    start = freezing.first_trainable(spec.freeze, layers)
    trial = build(
        given.backbone,
        given.contract,
        spec.augmentation,
        spec.head,
        image_size=spec.data.image_size,
        classes=given.classes,
        seed=spec.seed,
        pin=steps.pin,
        preprocess=steps.preprocess,
    )
    probe = given.val[0][0][: guards.PROBE_PICTURES]
    found = [guards.preprocessing_applied(trial, given.contract, probe)]
    phase1 = phase2 = scores = None

    if spec.phase1:
        steps.freeze_all(trial.backbone)
        steps.compile(trial.model, spec.phase1, spec.head, given.jit)
        plan = plan_phase("phase 1", spec.phase1, trial, weights, len(layers.names), "frozen")
        phase1, scores, checks = fit_phase(plan, spec.phase1, spec.head, trial, given, 0, report)
        found += checks
        keep({"phase1": phase1})

    if spec.phase2 and _finite(found):
        steps.unfreeze(trial, start, spec.batch_norm)
        steps.recompile(trial.model, spec.phase2, spec.head, given.jit)
        plan = plan_phase("phase 2", spec.phase2, trial, weights, start, spec.batch_norm)
        done, before = (len(phase1.epochs) if phase1 else 0), scores
        phase2, scores, checks = fit_phase(plan, spec.phase2, spec.head, trial, given, done, report)
        found += checks
        keep({"phase2": phase2})
        if before is not None and _finite(checks):
            found.append(guards.no_cliff(before, scores))

    if scores is None:
        raise ValueError(f"{spec.label}: neither phase 1 nor phase 2 to run")
    test = evaluate(trial.model, given.test, spec.head) if _finite(found) else None
    return Outcome(trial.model, phase1, phase2, scores, test, guards.merged(found))


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
    others = [layer for layer in trial.model.layers if layer not in (trial.wrapper, trial.backbone)]
    head = {w.path for layer in others for w in layer.weights if "seed_generator" not in w.path}
    return guards.PhasePlan(
        name=name,
        trains=frozenset({w.path for w in backbone} | head),
        parameters=sum(w.size for w in backbone) + trial.head_parameters,
        learning_rate=phase.learning_rate,
        batch_norm=batch_norm,
        start=start,
    )


def fit_phase(
    plan: guards.PhasePlan,
    phase: Phase,
    head: Head,
    trial: TrialModel,
    given: Ingredients,
    epochs_done: int,
    report: Report,
) -> tuple[PhaseResult, Scores, list[Guard]]:
    """Fit one phase of a compiled model, between the guards that look before and after.

    Returns:
        What the phase measured, its scores on val, and its guards.
    """
    probe = given.val[0][0][: guards.PROBE_PICTURES]
    checks = guards.before_phase(trial, plan, probe)
    before = guards.snapshot(trial.model)
    last = epochs_done + phase.epochs
    recorder = Recorder(plan.name, given.train, last, report)
    began = time.perf_counter()
    trial.model.fit(
        given.train,
        validation_data=given.val,
        initial_epoch=epochs_done,
        epochs=last,
        callbacks=[recorder, *_callbacks(phase)],
        shuffle=False,  # Batches shuffles by the seed
        verbose=0,
    )
    scores = evaluate(trial.model, given.val, head)
    result = PhaseResult(
        epochs=tuple(recorder.epochs),
        trainable_parameters=sum(int(np.prod(w.shape)) for w in trial.model.trainable_weights),
        learning_rate=recorder.first_rate,
        val_accuracy=scores.accuracy,
        val_loss=scores.loss,
        images_per_second=recorder.images_per_second,
        seconds=time.perf_counter() - began,
    )
    checks += guards.after_phase(trial, plan, before, recorder.first_rate, recorder.epochs)
    return result, scores, checks


def evaluate(model: Any, batches: Batches, head: Head) -> Scores:
    """Score every picture of a split, the last partial batch included."""
    outputs: NDArray[np.float32] = model.predict(batches, verbose=0)
    return score(outputs, batches.labels, head)


def _callbacks(phase: Phase) -> list[Any]:
    callbacks: list[Any] = []
    if phase.reduce_learning_rate:
        reduce = phase.reduce_learning_rate
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss",
                factor=reduce.factor,
                patience=reduce.patience,
                min_lr=reduce.min_learning_rate,
            )
        )
    if phase.early_stopping:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss",
                patience=phase.early_stopping.patience,
                restore_best_weights=True,
            )
        )
    return callbacks


def _finite(found: Sequence[Guard]) -> bool:
    return all(g.passed for g in found if g.name == "loss_finite")
