"""The two-phase protocol on a tiny backbone, and its wrapper on real architectures."""

import itertools
import math

import keras
import numpy as np
import pytest
import tiny

from bench.progress import Progress
from bench.records import (
    Augmentation,
    EarlyStopping,
    Freeze,
    Head,
    HeadLayer,
    Phase,
    ReduceLearningRate,
    TrialSpec,
)
from bench.training import guards, protocol
from bench.training.batches import Batches
from bench.training.model import PinnedBackbone, build
from bench.zoo import backbones, freezing


def run(spec: TrialSpec) -> protocol.Outcome:
    return tiny.run(spec)


def test_phase_2_goes_on_counting_epochs_at_its_own_rate() -> None:
    spec = tiny.spec(
        phase1=Phase(epochs=2, learning_rate=1e-3), phase2=Phase(epochs=3, learning_rate=1e-5)
    )
    outcome = run(spec)
    assert [e.index for e in outcome.phase1.epochs] == [0, 1]
    assert [e.index for e in outcome.phase2.epochs] == [2, 3, 4]
    assert outcome.phase1.learning_rate == pytest.approx(1e-3)
    assert outcome.phase2.learning_rate == pytest.approx(1e-5)


def test_trainable_parameters_follow_the_strategy() -> None:
    head = 8 * 3 + 3
    block2 = 3 * 3 * 6 * 8 + 8
    frozen = run(tiny.spec(Freeze(strategy="top_blocks", amount=1)))
    affine = run(tiny.spec(Freeze(strategy="top_blocks", amount=1), batch_norm="affine"))
    assert frozen.phase1.trainable_parameters == head
    assert frozen.phase2.trainable_parameters == head + block2
    assert affine.phase2.trainable_parameters == head + block2 + 2 * 8


def test_a_head_alone_has_no_phase_2_and_scratch_no_phase_1() -> None:
    head_only = run(tiny.spec(Freeze(strategy="head_only"), phase2=None))
    assert head_only.phase2 is None
    assert head_only.test is not None
    scratch = run(tiny.spec(Freeze(strategy="scratch"), phase1=None, batch_norm="train"))
    assert scratch.phase1 is None
    total = sum(int(np.prod(w.shape)) for w in tiny.backbone().trainable_weights)
    assert scratch.phase2.trainable_parameters == total + 8 * 3 + 3
    assert all(g.passed is not False for g in scratch.guards)


def test_nothing_to_run_is_an_error() -> None:
    spec = tiny.spec(phase1=None, phase2=None)
    with pytest.raises(ValueError, match="neither phase"):
        run(spec)


def test_early_stopping_keeps_the_best_epochs_weights() -> None:
    """A rate so high that val gets worse: the phase must end with an earlier epoch's weights."""
    phase = Phase(epochs=12, learning_rate=0.5, early_stopping=EarlyStopping(patience=2))
    outcome = run(tiny.spec(Freeze(strategy="head_only"), phase1=phase, phase2=None))
    losses = [e.val_loss for e in outcome.phase1.epochs]
    assert outcome.phase1.val_loss == pytest.approx(min(losses), rel=1e-4)


def test_reduce_on_plateau_lowers_the_rate_within_a_phase() -> None:
    reduce = ReduceLearningRate(factor=0.1, patience=1)
    phase = Phase(epochs=8, learning_rate=5.0, reduce_learning_rate=reduce)
    outcome = run(tiny.spec(Freeze(strategy="head_only"), phase1=phase, phase2=None))
    epochs = outcome.phase1.epochs
    assert epochs[0].learning_rate == pytest.approx(5.0)
    for before, after in itertools.pairwise(epochs):
        best = min(e.val_loss for e in epochs[: before.index]) if before.index else math.inf
        factor = 1.0 if before.val_loss < best - 1e-4 else 0.1
        assert after.learning_rate == pytest.approx(before.learning_rate * factor)
    assert epochs[-1].learning_rate < 5.0


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    augmented = (Augmentation(kind="flip", amount="horizontal"),)
    head = Head(name="mlp", layers=(HeadLayer(dense=8), HeadLayer(dropout=0.5)))

    def val_losses(seed: int) -> list[float]:
        keras.backend.clear_session()
        spec = tiny.spec(seed=seed, augmentation=augmented, head=head)
        given = tiny.ingredients(spec)
        keras.utils.set_random_seed(seed)
        outcome = tiny.run(spec, given)
        return [e.val_loss for p in (outcome.phase1, outcome.phase2) for e in p.epochs]

    assert val_losses(1) == val_losses(1)
    assert val_losses(1) != val_losses(2)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
@pytest.mark.parametrize("loss", ["sparse", "one_hot"])
def test_every_output_and_loss_learns_the_pictures(loss: str, output: str) -> None:
    head = Head(name="h", pooling="flatten", loss=loss, output=output)
    phase = Phase(epochs=20, learning_rate=0.1)
    outcome = run(tiny.spec(Freeze(strategy="head_only"), head=head, phase1=phase, phase2=None))
    last = outcome.phase1.epochs[-1]
    assert outcome.test.accuracy > 0.6  # chance is a third
    assert outcome.phase1.val_accuracy == pytest.approx(last.val_accuracy, abs=1e-6)
    assert outcome.phase1.val_loss == pytest.approx(last.val_loss, rel=1e-3)


def test_a_binary_head_scores_two_classes() -> None:
    head = Head(name="b", loss="binary")
    spec = tiny.spec(Freeze(strategy="head_only"), head=head, phase2=None)
    given = tiny.ingredients(spec)
    for pictures in (given.train, given.val, given.test):
        pictures.labels[:] %= 2
    outcome = tiny.run(spec, given)
    assert outcome.test.probabilities.shape == (20, 2)
    assert outcome.test.probabilities.sum(axis=1) == pytest.approx(1.0)
    val = outcome.phase1.epochs[-1].val_accuracy
    assert outcome.phase1.val_accuracy == pytest.approx(val, abs=1e-6)


def test_progress_is_reported_for_every_epoch() -> None:
    said: list[Progress] = []
    tiny.run(tiny.spec(), report=said.append)
    done = [(p.stage, p.epoch, p.epochs) for p in said if p.epoch_done]
    assert done == [("phase 1", 1, 2), ("phase 1", 2, 2), ("phase 2", 3, 3)]


def test_epochs_visit_every_picture_once_in_the_order_of_seed_and_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through both phases of real fits, whatever Keras looks at before it trains."""
    spec = tiny.spec(
        phase1=Phase(epochs=2, learning_rate=1e-3), phase2=Phase(epochs=2, learning_rate=1e-5)
    )
    given = tiny.ingredients(spec)
    asked: list[tuple[int, list[int]]] = []

    class Spy(Batches):
        epoch = -1

        def start_epoch(self, epoch: int) -> None:
            super().start_epoch(epoch)
            self.epoch = epoch

        def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
            pixels, targets = super().__getitem__(batch)
            if len(self) == 3 and self.seed is not None:
                asked.append((self.epoch, [picture_number(p) for p in pixels]))
            return pixels, targets

    def picture_number(pixels: np.ndarray) -> int:
        return int(np.flatnonzero((given.train.pixels[:48] == pixels).all(axis=(1, 2, 3)))[0])

    monkeypatch.setattr(protocol, "Batches", Spy)
    tiny.run(spec, given)
    for epoch in range(4):
        first_three = [pictures for e, pictures in asked if e == epoch][:3]
        order = np.random.default_rng([spec.seed, epoch]).permutation(48).tolist()
        assert [len(pictures) for pictures in first_three] == [16, 16, 16]
        assert [i for pictures in first_three for i in pictures] == order


def test_what_is_random_inside_a_backbone_begins_as_the_trials_seed_says() -> None:
    """However the backbone came to be, and whatever it was used for before."""

    def states(model: keras.Model) -> list[list[int]]:
        found = [v for v in model.variables if "seed_generator" in v.path]
        return [keras.ops.convert_to_numpy(v).tolist() for v in found]

    fresh, used = tiny.backbone(), tiny.backbone()
    used(np.zeros((1, tiny.SIZE, tiny.SIZE, 3)), training=True)
    assert states(fresh) != states(used)
    protocol.seed_backbone(fresh, 4)
    protocol.seed_backbone(used, 4)
    assert states(fresh) == states(used)
    assert len({tuple(s) for s in states(fresh)}) == len(states(fresh)) == 3
    protocol.seed_backbone(used, 5)
    assert states(fresh) != states(used)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetV2B0"])
def test_the_wrapper_holds_on_real_architectures(name: str) -> None:
    """Random weights: this is about modes, not accuracy."""
    row = backbones.row(name)
    model = backbones.construct(row, 64, None)
    trial = build(
        *(model, row.preprocessing, Head(name="linear")),
        image_size=64,
        classes=3,
        pin=PinnedBackbone,
    )
    start = backbones.block_starts(row.blocks, [layer.name for layer in model.layers])[-2]
    protocol.unfreeze(trial, start, "affine")
    protocol.compile_model(trial.model, Phase(epochs=1, learning_rate=1e-4), Head(name="h"), False)
    before = guards.snapshot(trial.model)
    pixels = np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), dtype=np.uint8)
    trial.model.fit(pixels, np.arange(16) % 3, epochs=1, batch_size=8, verbose=0)
    plan = guards.PhasePlan("phase 2", frozenset(), 0, 1e-4, "affine", start)
    after, statistics = guards.snapshot(trial.model), guards._statistics(model)
    assert guards.batchnorm_statistics(plan, before, after, statistics).passed
    assert guards.frozen_weights(plan, before, after, statistics).passed
    # Random MobileNetV2 features are all but constant, so some gradients vanish: most weights move.
    moved = {p for p in before.trainable if before.digests[p] != after.digests[p]}
    assert len(moved) > 0.8 * len(before.trainable)
    assert guards.backbone_deterministic(trial, plan, pixels[:4]).passed
    assert len(freezing.planned(freezing.inventory(model), start, "affine")) > 0
