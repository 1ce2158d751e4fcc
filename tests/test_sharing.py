"""The shared path against the literal one: equal numbers, whatever was computed once."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny
from conftest import STACK

from bench import cache
from bench.records import (
    Augmentation,
    Backbone,
    Dataset,
    EarlyStopping,
    Execution,
    Freeze,
    Guard,
    Head,
    HeadLayer,
    Phase,
    PhaseResult,
    TrialSpec,
)
from bench.settings import Settings
from bench.training import activations, execution, protocol, sharing, stacking
from bench.training.batches import Pictures
from bench.training.trial import Workplace, run_trial
from bench.training.workbench import Workbench
from bench.zoo import backbones, rewriting

NEEDS = ("TFDS_DATA_DIR", "BENCH_WEIGHTS_DIR")
missing = [name for name in NEEDS if not os.environ.get(name)]

WITHIN = 1e-3
"""How far apart two weights may end, relative to how far training moved them."""
MOVED = 1e-4
"""How far every tensor that trains must move, or nothing is compared."""

FLIP = (Augmentation(kind="flip", amount="horizontal"),)
DROPOUT = Head(name="dropout", layers=(HeadLayer(dropout=0.3),))
MLP = Head(name="mlp", layers=(HeadLayer(dense=7), HeadLayer(dropout=0.3)))
MAXIMUM = Head(name="max", pooling="max", layers=(HeadLayer(dropout=0.3),), output="probabilities")


def spec(strategy: str, amount: Any = None, **changes: Any) -> TrialSpec:
    """Two epochs of phase 1 and two of phase 2, at rates that move weights."""
    phases = {
        "phase1": Phase(epochs=2, learning_rate=0.02),
        "phase2": Phase(epochs=2, learning_rate=3e-3),
    }
    if strategy == "head_only":
        phases["phase2"] = None
    fields = {"head": DROPOUT} | phases | changes
    return tiny.spec(Freeze(strategy=strategy, amount=amount), **fields)


TRIALS = {
    "two blocks": spec("top_blocks", 2),
    "head only, after two blocks trained": spec("head_only", seed=1),
    "one block, another seed": spec("top_blocks", 1, seed=1),
    "through a block, affine, two views": spec(
        "from_layer", 6, seed=1, batch_norm="affine", head=MLP, augmentation=FLIP, views=2
    ),
    "per-seed views, another pooling": spec(
        "top_blocks", 1, augmentation=FLIP, views="per-seed", head=MAXIMUM
    ),
    "training mode": spec("top_blocks", 1, seed=1, batch_norm="train"),
    "everything, in training mode": spec("all", batch_norm="train"),
    "two blocks, another seed, at last": spec("top_blocks", 2, seed=1),
}
"""In the order in which they run on one workbench: whatever one leaves behind, the next one meets."""

SLOW_TRIALS = {
    "one view an epoch": spec("from_layer", "block2_conv", augmentation=FLIP, views="per-epoch"),
    "head only, one view an epoch": spec(
        "head_only", seed=2, augmentation=FLIP, views="per-epoch", head=MLP
    ),
    "everything": spec("all", seed=1),
    "no block left to share": spec("last_layers", 2),
    "affine": spec("top_blocks", 2, seed=3, batch_norm="affine", augmentation=FLIP, views=2),
    "stops early": spec(
        "top_blocks",
        1,
        seed=1,
        phase1=Phase(epochs=9, learning_rate=0.3, early_stopping=EarlyStopping(patience=1)),
        phase2=Phase(epochs=9, learning_rate=0.1, early_stopping=EarlyStopping(patience=1)),
        augmentation=FLIP,
        views="per-epoch",
    ),
    "other optimizers": spec(
        "top_blocks",
        1,
        phase1=Phase(epochs=2, learning_rate=0.02, optimizer="sgd"),
        phase2=Phase(epochs=2, learning_rate=3e-3, optimizer="rmsprop"),
    ),
    "two blocks, per-seed views": spec("top_blocks", 2, seed=2, augmentation=FLIP),
}


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
    given = given or tiny.ingredients(trial)
    keras.utils.set_random_seed(trial.seed)
    return ran(trial, given, protocol.Literal(trial, given, lambda _: None))


def by_sharing(trial: TrialSpec, bench: Workbench) -> Ran:
    keras.utils.set_random_seed(trial.seed)
    return ran(trial, bench.given, sharing.Shared(trial, bench, lambda _: None))


def assert_equal(found: Ran, wanted: Ran, within: float = WITHIN) -> None:
    """Start, epochs, every weight, random numbers, test: all of it."""
    assert found.weights.keys() == wanted.weights.keys()
    assert found.trained == wanted.trained
    for path, value in wanted.start.items():
        np.testing.assert_array_equal(found.start[path], value, err_msg=path)
    for mine, theirs in zip(found.phases, wanted.phases, strict=True):
        np.testing.assert_allclose(measured(mine), measured(theirs), rtol=1e-4, atol=1e-5)
        assert mine.trainable_parameters == theirs.trainable_parameters
    for path, value in wanted.weights.items():
        far = np.abs(value - wanted.start[path]).max()
        assert far >= MOVED or path not in wanted.trained, path
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


# -------------------------------------------------------------------------------- the contract


def session(trials: Sequence[TrialSpec], folder: Path) -> list[Ran]:
    bench = tiny.bench_for(trials, Settings(cache=folder / "cache"))
    return [by_sharing(t, bench) for t in trials]


@pytest.fixture(scope="module")
def one_after_another(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    folder = tmp_path_factory.mktemp("sharing")
    return dict(zip(TRIALS, session(list(TRIALS.values()), folder), strict=True))


@pytest.fixture(scope="module")
def first_literal() -> Ran:
    return literally(TRIALS["two blocks"])


@pytest.mark.parametrize("name", TRIALS)
def test_the_shared_path_equals_the_literal_one(
    name: str, one_after_another: dict[str, Ran], first_literal: Ran
) -> None:
    found = one_after_another[name]
    assert_equal(found, first_literal if name == "two blocks" else literally(TRIALS[name]))
    assert found.guards["shared_work"].passed
    assert found.failing == set()
