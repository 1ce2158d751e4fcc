"""A tiny backbone with everything that can go wrong in a big one, and pictures it can learn.

Shapes and mechanics only: random weights, so no accuracy here means anything.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from conftest import make_spec

from bench.records import Execution, Freeze, Guard, Head, PhaseResult, TrialSpec
from bench.settings import Settings
from bench.training import protocol, sharing, workbench
from bench.training.batches import Pictures
from bench.training.recording import Report

SIZE, CLASSES = 16, 3
BLOCK_STARTS = (1, 5, 9)


def backbone() -> keras.Model:
    """Three blocks of convolution, BatchNorm, ReLU and Dropout: 13 layers with the input."""
    keras.utils.set_random_seed(7)
    inputs = x = keras.Input((SIZE, SIZE, 3))
    for i, channels in enumerate((4, 6, 8)):
        x = keras.layers.Conv2D(channels, 3, strides=2, name=f"block{i}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{i}_bn")(x)
        x = keras.layers.ReLU(name=f"block{i}_relu")(x)
        x = keras.layers.Dropout(0.2, name=f"block{i}_drop")(x)
    return keras.Model(inputs, x)


def pictures(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose brightest channel is their class: uint8 (n, 16, 16, 3) and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pixels = rng.integers(0, 120, (count, SIZE, SIZE, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, labels] += 100
    return pixels, labels.astype(np.int64)


def spec(freeze: Freeze | None = None, **changes: object) -> TrialSpec:
    """A trial on the tiny pictures."""
    made = make_spec(freeze or Freeze(strategy="top_blocks", amount=2))
    data = made.data.model_copy(update={"image_size": SIZE})
    head = Head(name="linear")
    update = {"data": data, "head": head, "execution": Execution(batch_size=16)} | changes
    return made.model_copy(update=update)


def ingredients(trial: TrialSpec, model: keras.Model | None = None) -> protocol.Ingredients:
    """What the protocol needs besides the spec: 48 train, 20 val and 20 test pictures."""
    pixels, labels = pictures(88)

    def split(first: int, last: int) -> Pictures:
        indices = np.arange(first, last)
        return Pictures(pixels, indices, labels[indices], tuple(f"{i:064x}" for i in indices))

    return protocol.Ingredients(
        backbone=model or backbone(),
        contract="minus_one_to_one",
        block_starts=BLOCK_STARTS,
        classes=CLASSES,
        train=split(0, 48),
        val=split(48, 68),
        test=split(68, 88),
        jit=False,
        scratch=Path(tempfile.gettempdir()),
    )


def run(
    trial: TrialSpec,
    given: protocol.Ingredients | None = None,
    report: Report = lambda _: None,
    steps: protocol.Steps | None = None,
) -> protocol.Outcome:
    """The protocol, literally."""
    given = given or ingredients(trial)
    path = protocol.Literal(trial, given, report, steps or protocol.Steps())
    return protocol.run(trial, given, path)


def bench_for(
    trials: Sequence[TrialSpec],
    settings: Settings,
    given: protocol.Ingredients | None = None,
    activations_bytes: float = 2**30,
) -> workbench.Workbench:
    """A workbench for trials on one ground."""
    terms = workbench.Terms(
        identity={"weights": "a" * 64},
        about={"ground": "tiny"},
        label="tiny pictures",
        activations_bytes=activations_bytes,
        settings=settings,
        machine={"stack": "tiny"},
    )
    return workbench.Workbench(given or ingredients(trials[0]), terms, trials)


# ------------------------------------------------------------------- one way against the other

WITHIN = 1e-3
"""How far apart two weights may end, relative to how far training moved them."""
MOVED = 1e-4
"""How far every tensor that trains must move, or nothing is compared."""


@dataclasses.dataclass
class Ran:
    """What a trial left, copied before another one uses its model."""

    outcome: protocol.Outcome
    weights: dict[str, np.ndarray]
    states: list[np.ndarray]
    start: dict[str, np.ndarray]
    trained: set[str]

    @property
    def phases(self) -> list[PhaseResult]:
        return [p for p in (self.outcome.phase1, self.outcome.phase2) if p]

    @property
    def guards(self) -> dict[str, Guard]:
        return {g.name: g for g in self.outcome.guards}

    @property
    def failing(self) -> set[str]:
        return {g.name for g in self.outcome.guards if g.passed is False}


def weights(model: Any) -> dict[str, np.ndarray]:
    return {w.path: np.array(keras.ops.convert_to_numpy(w)) for w in model.weights}


def states(model: Any) -> list[np.ndarray]:
    """Of every generator of random numbers, the backbone's included."""
    found = [v for v in model.variables if "seed_generator" in v.path]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in found]


def ran(trial: TrialSpec, given: protocol.Ingredients, path: protocol.Path) -> Ran:
    start = weights(path.trial.model)
    outcome = protocol.run(trial, given, path)
    trained = {w.path for w in outcome.model.trainable_weights}
    return Ran(outcome, weights(outcome.model), states(outcome.model), start, trained)


def literally(trial: TrialSpec, given: protocol.Ingredients | None = None) -> Ran:
    given = given or ingredients(trial)
    keras.utils.set_random_seed(trial.seed)
    return ran(trial, given, protocol.Literal(trial, given, lambda _: None))


def by_sharing(trial: TrialSpec, bench: workbench.Workbench) -> Ran:
    keras.utils.set_random_seed(trial.seed)
    return ran(trial, bench.given, sharing.Shared(trial, bench, lambda _: None))


def assert_equal(found: Ran, wanted: Ran, within: float = WITHIN, least: float = MOVED) -> None:
    """Start, epochs, every weight, random numbers, test: all of it.

    Left out are biases below a BatchNorm layer in training mode: the batch's mean takes them away
    again, so they have no gradient, and what Adam makes of its rounding error is anybody's guess.
    """
    in_training = any("batch_norm = train" in g.evidence for g in wanted.outcome.guards)
    assert found.weights.keys() == wanted.weights.keys()
    assert found.trained == wanted.trained
    for path, value in wanted.start.items():
        np.testing.assert_array_equal(found.start[path], value, err_msg=path)
    for mine, theirs in zip(found.phases, wanted.phases, strict=True):
        np.testing.assert_allclose(measured(mine), measured(theirs), rtol=1e-4, atol=1e-5)
        assert mine.trainable_parameters == theirs.trainable_parameters
    for path, value in wanted.weights.items():
        if in_training and path.endswith("_conv/bias"):
            continue
        far = np.abs(value - wanted.start[path]).max()
        assert far >= least or path not in wanted.trained, path
        apart = np.abs(found.weights[path] - value).max()
        assert apart <= within * far, f"{path}: {apart} apart after {far}"
    assert len(found.states) == len(wanted.states)
    for mine, theirs in zip(found.states, wanted.states, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(
        found.outcome.test.probabilities, wanted.outcome.test.probabilities, rtol=1e-3, atol=1e-5
    )
    assert found.failing == wanted.failing


def measured(phase: PhaseResult) -> list[list[float]]:
    epochs = [
        [e.index, e.loss, e.accuracy, e.val_loss, e.val_accuracy, e.learning_rate]
        for e in phase.epochs
    ]
    return [*epochs, [0.0, phase.val_loss, phase.val_accuracy, phase.learning_rate, 0.0, 0.0]]
