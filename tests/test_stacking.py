"""Heads trained as one stack, held against each of them trained alone: by itself, and by Keras."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import pytest
import tiny

from bench import steps
from bench.records import (
    Augmentation,
    EarlyStopping,
    Epoch,
    Head,
    HeadLayer,
    Phase,
    ReduceLearningRate,
)
from bench.settings import Settings
from bench.steps import HeadStep
from bench.training import fitting, protocol, stacking
from bench.training.batches import Batches
from bench.training.recording import Recorder
from bench.training.stacking import Lessons, TrainedHead

WIDTH, TRAIN, VAL = 6, 50, 22
"""50 pictures in batches of 16: the last batch is a small one."""
CLOSE = {
    "sgd": {"rtol": 1e-5, "atol": 1e-6},
    # Adam divides by the gradient's own size, so that rounding near a zero gradient grows.
    "adam": {"rtol": 1e-4, "atol": 1e-5},
}
HEADS = {
    "linear": Head(name="linear"),
    "dropout": Head(name="dropout", layers=(HeadLayer(dropout=0.2),)),
    "mlp": Head(
        name="mlp", layers=(HeadLayer(dropout=0.1), HeadLayer(dense=7), HeadLayer(dropout=0.5))
    ),
}


def lessons(classes: int = 3) -> Lessons:
    """Features that a linear head can learn, not all of them at once."""
    rng = np.random.default_rng(2)
    labels = np.arange(TRAIN + VAL) % classes
    features = rng.normal(size=(TRAIN + VAL, WIDTH)).astype("float32")
    features[np.arange(TRAIN + VAL), labels] += 1.0
    return Lessons(
        features=lambda _: (features[:TRAIN],),
        labels=labels[:TRAIN].astype(np.int64),
        val_features=features[TRAIN:],
        val_labels=labels[TRAIN:].astype(np.int64),
        classes=classes,
        jit=False,
    )


def step(seed: int = 0, head: str | Head = "linear", **changes: Any) -> HeadStep:
    known = HEADS[head] if isinstance(head, str) else head
    phase = changes.pop("phase", Phase(epochs=3, learning_rate=0.05))
    spec = tiny.spec(head=known, phase1=phase, seed=seed, **changes)
    return steps.head_step(spec)


def together(members: list[HeadStep], taught: Lessons) -> list[TrainedHead]:
    assert len({m.stack for m in members}) == 1
    return stacking.train(members, taught, lambda _: None)


def by_keras(member: HeadStep, taught: Lessons) -> TrainedHead:
    """The head as the literal path trains one: compiled by the protocol, fitted by Keras."""
    model = stacking.initial(member, WIDTH, taught.classes)
    fitting.compile_model(model, member.phase, member.head, jit=False)
    rest = member.batch_size, member.head, taught.classes
    train = Batches(taught.features, taught.labels, *rest, member.seed)
    val = Batches(lambda _: (taught.val_features,), taught.val_labels, *rest)
    recorder = Recorder("phase 1", train, member.phase.epochs, lambda _: None, stock=True)
    fitting.fit(model, train, val, member.phase, 0, recorder)
    return TrainedHead(
        weights=model.get_weights(),
        dropout_states=[stacking.state_of(g) for g in stacking.dropout_generators(model)],
        epochs=tuple(recorder.epochs),
        first_rate=recorder.first_rate,
        input_wait=None,
    )


def assert_equal(found: TrainedHead, wanted: TrainedHead, optimizer: str = "sgd") -> None:
    """Weights, what each epoch measured, and where the random numbers stand."""
    close = CLOSE[optimizer]
    for ours, theirs in zip(found.weights, wanted.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, **close)
    for mine, other in zip(found.dropout_states, wanted.dropout_states, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert found.first_rate == pytest.approx(wanted.first_rate)
    assert [e.index for e in found.epochs] == [e.index for e in wanted.epochs]
    np.testing.assert_allclose(measured(found), measured(wanted), rtol=1e-4, atol=1e-6)


def measured(head: TrainedHead) -> list[list[float]]:
    return [[e.loss, e.accuracy, e.val_loss, e.val_accuracy, e.learning_rate] for e in head.epochs]


def distance(one: TrainedHead, other: TrainedHead) -> float:
    pairs = zip(one.weights, other.weights, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


KINDS = [
    ("linear", "binary", "logits", "adam"),
    ("dropout", "sparse", "probabilities", "sgd"),
    ("mlp", "one_hot", "logits", "adam"),
    pytest.param("linear", "sparse", "logits", "sgd", marks=pytest.mark.slow),
    pytest.param("linear", "one_hot", "probabilities", "adam", marks=pytest.mark.slow),
    pytest.param("dropout", "binary", "probabilities", "sgd", marks=pytest.mark.slow),
    pytest.param("mlp", "sparse", "probabilities", "sgd", marks=pytest.mark.slow),
    pytest.param("mlp", "sparse", "logits", "adam", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("head", "loss", "output", "optimizer"), KINDS)
def test_a_stack_equals_its_heads_alone(head: str, loss: Any, output: Any, optimizer: str) -> None:
    shaped = HEADS[head].model_copy(update={"loss": loss, "output": output})
    phase = Phase(epochs=2, learning_rate=0.05, optimizer=optimizer)
    taught = lessons(2 if loss == "binary" else 3)
    members = [step(seed, shaped, phase=phase) for seed in (0, 5)]
    stack = together(members, taught)
    assert distance(*stack) > 0.05
    for member, trained in zip(members, stack, strict=True):
        start = stacking.initial(member, WIDTH, taught.classes).get_weights()
        moved = [np.abs(w - s).max() for w, s in zip(trained.weights, start, strict=True)]
        assert min(moved) > 0.01  # or there would be nothing to compare
        assert_equal(trained, by_keras(member, taught), optimizer)


@pytest.mark.slow
def test_a_stack_equals_stacks_of_one() -> None:
    phase = Phase(epochs=2, learning_rate=0.05, optimizer="adam")
    members = [step(seed, "mlp", phase=phase) for seed in (0, 1, 5)]
    stack = together(members, taught := lessons())
    assert_equal(stack[1], together([members[1]], taught)[0], "adam")


def test_heads_that_differ_in_dropout_rates_train_side_by_side() -> None:
    rates = (0.0, 0.7)
    heads = [Head(name=f"d{r}", layers=(HeadLayer(dropout=r),)) for r in rates]
    members = [step(3, head) for head in heads]
    stack = together(members, taught := lessons())
    assert [len(h.dropout_states) for h in stack] == [0, 1]
    for member, trained in zip(members, stack, strict=True):
        assert_equal(trained, by_keras(member, taught))


def test_epochs_see_their_own_features() -> None:
    """As augmentation's views change them, head by head in its own order."""
    plain = lessons()
    views = [plain.features(0)[0] * factor for factor in np.float32([1.0, 0.5, -1.0])]
    taught = dataclasses.replace(plain, features=lambda epoch: (views[epoch],))
    members = [step(seed) for seed in (0, 1)]
    stack = together(members, taught)
    assert_equal(stack[1], by_keras(members[1], taught))
    assert distance(stack[1], together(members, plain)[1]) > 0.01


# ------------------------------------------------------------------------------------ stopping


def test_each_head_stops_in_its_own_epoch_and_keeps_its_best_weights() -> None:
    """The stack ends with its last head."""
    stopping = EarlyStopping(patience=2)
    phase = Phase(epochs=12, learning_rate=0.05, optimizer="sgd", early_stopping=stopping)
    members = [step(seed, "dropout", phase=phase) for seed in (0, 3)]
    said: list[Epoch] = []
    stack = stacking.train(members, taught := lessons(), said.append)
    lengths = [len(h.epochs) for h in stack]
    assert lengths[0] < lengths[1] < phase.epochs
    assert len(said) == lengths[1]
    for member, trained in zip(members, stack, strict=True):
        losses = [e.val_loss for e in trained.epochs]
        assert 0 < losses.index(min(losses)) < len(losses) - 1  # the best weights are not the last
        assert_equal(trained, by_keras(member, taught))


def test_a_head_that_diverges_leaves_its_neighbours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one begins with weights whose outputs are infinite."""
    initial = stacking.initial

    def hot(member: HeadStep, width: int, classes: int) -> Any:
        model = initial(member, width, classes)
        if member.seed == 0:
            model.set_weights([np.full_like(w, 3e38) for w in model.get_weights()])
        return model

    members = [step(seed) for seed in (0, 1)]
    with monkeypatch.context() as patched:
        patched.setattr(stacking, "initial", hot)
        lost, kept = together(members, taught := lessons())
    assert len(lost.epochs) == 1
    assert not math.isfinite(lost.epochs[0].loss)
    assert_equal(kept, by_keras(members[1], taught))


# --------------------------------------------------------------------------- who shares a stack


def test_heads_of_one_shape_share_a_stack() -> None:
    dropped = Head(name="other name", layers=(HeadLayer(dropout=0.9),))
    assert step(0, "dropout").stack == step(7, "dropout").stack == step(1, dropped).stack


@pytest.mark.parametrize(
    "other",
    [
        step(0, "mlp"),
        step(0, "linear"),
        step(0, Head(name="d", layers=(HeadLayer(dropout=0.2),), loss="one_hot")),
        step(0, Head(name="d", layers=(HeadLayer(dropout=0.2),), output="probabilities")),
        step(0, Head(name="d", layers=(HeadLayer(dropout=0.2),), pooling="max")),
        step(0, "dropout", phase=Phase(epochs=4, learning_rate=0.05)),
        step(0, "dropout", phase=Phase(epochs=3, learning_rate=0.06)),
        step(0, "dropout", augmentation=(Augmentation(kind="flip", amount="horizontal"),)),
    ],
)
def test_other_heads_do_not(other: HeadStep) -> None:
    assert other.stack != step(0, "dropout").stack


def test_units_are_part_of_the_shape() -> None:
    units = [step(0, Head(name="m", layers=(HeadLayer(dense=n),))).stack for n in (7, 8)]
    assert units[0] != units[1]


@pytest.mark.slow
def test_a_rate_that_follows_its_own_val_loss_trains_alone() -> None:
    reduce = ReduceLearningRate(factor=0.1, patience=1)
    phase = Phase(epochs=6, learning_rate=2.0, optimizer="sgd", reduce_learning_rate=reduce)
    members = [step(seed, phase=phase) for seed in (0, 1)]
    assert members[0].stack != members[1].stack
    (trained,) = together(members[1:], taught := lessons())
    rates = [e.learning_rate for e in trained.epochs]
    assert rates[-1] < rates[0]
    assert_equal(trained, by_keras(members[1], taught))


def test_views_of_each_seeds_own_train_alone() -> None:
    flip = (Augmentation(kind="flip", amount="horizontal"),)
    for views, alone in (("per-seed", True), ("per-epoch", False), (2, False)):
        seeds = [step(seed, augmentation=flip, views=views).stack for seed in (0, 1)]
        assert (seeds[0] != seeds[1]) is alone


@pytest.mark.parametrize(("precision", "size"), [("float32", 2), ("mixed_float16", 1)])
def test_heads_whose_loss_is_scaled_train_alone(
    precision: str, size: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The optimizer scales the whole stack's loss, and skips its step when one head overflows."""
    trials = [tiny.spec(seed=seed) for seed in (0, 1)]
    bench = tiny.bench_for(trials, settings)
    sizes: list[int] = []

    def counting(stack: Any, *_: Any) -> Any:
        sizes.append(len(stack))
        raise InterruptedError

    monkeypatch.setattr(stacking, "train", counting)
    monkeypatch.setattr(keras.config, "dtype_policy", lambda: keras.DTypePolicy(precision))
    with pytest.raises(InterruptedError):
        bench.head(trials[0], lambda _: None)
    assert sizes == [size]


def test_initial_heads_are_those_of_the_literal_path() -> None:
    spec = tiny.spec(head=HEADS["mlp"], seed=4)
    given = tiny.ingredients(spec)
    keras.utils.set_random_seed(4)
    trial = protocol.Literal(spec, given, lambda _: None).trial
    literal = keras.Model(trial.pooled, trial.model.output)
    alone = stacking.initial(steps.head_step(spec), 8, tiny.CLASSES)
    for mine, theirs in zip(alone.get_weights(), literal.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    generators = [stacking.dropout_generators(m) for m in (alone, literal)]
    assert [len(g) for g in generators] == [2, 2]
    for mine, theirs in zip(*generators, strict=True):
        np.testing.assert_array_equal(stacking.state_of(mine), stacking.state_of(theirs))
