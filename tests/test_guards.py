"""Each guard, seen failing alone when the protocol is broken in just its way."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import pytest
import tiny

from bench.records import BatchNorm, Freeze, Head, HeadLayer, Phase
from bench.settings import Settings
from bench.training import guards, protocol, trapped
from bench.training.model import TrialModel
from bench.training.protocol import Steps, compile_model
from bench.training.scoring import Scores
from bench.zoo import freezing

EVERY_GUARD = {
    *("preprocessing", "trainable_set", "learning_rate", "backbone_deterministic"),
    *("frozen_weights", "batchnorm_statistics", "weights_moved", "loss_finite", "no_cliff"),
    "head_trained",
}


def trap(name: str) -> Steps:
    """The steps of a trial that makes a mistake of the trap table."""
    return trapped.steps_of(tiny.spec(trap=name))


def unfreeze_one_block_more(trial: TrialModel, start: int, batch_norm: BatchNorm) -> None:
    freezing.apply(trial.backbone, tiny.BLOCK_STARTS[0], batch_norm)


def unfreeze_without_pin(trial: TrialModel, start: int, batch_norm: BatchNorm) -> None:
    protocol.unfreeze(trial, start, batch_norm)
    trial.wrapper.follow_training = True


def only_set_the_rate(model: Any, phase: Phase, head: Head, jit: bool) -> None:
    """A script that forgets to compile again, but does lower the learning rate."""
    model.optimizer.learning_rate = phase.learning_rate


def scribble_on_a_frozen_weight(model: Any, phase: Phase, head: Head, jit: bool) -> None:
    """A script whose training writes where it should not."""
    compile_model(model, phase, head, jit)
    fit = model.fit

    def scribbling_fit(*args: Any, **kwargs: Any) -> Any:
        history = fit(*args, **kwargs)
        kernel = next(w for w in model.weights if w.path == "block0_conv/kernel")
        kernel.assign(kernel * 1.0001)
        return history

    model.fit = scribbling_fit


def failing(outcome: protocol.Outcome) -> set[str]:
    return {g.name for g in outcome.guards if g.passed is False}


def without_dropout() -> keras.Model:
    """The tiny backbone with BatchNorm as its only layer that has a training mode."""
    inputs = x = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    for layer in tiny.backbone().layers[1:]:
        x = x if isinstance(layer, keras.layers.Dropout) else layer(x)
    return keras.Model(inputs, x)


def test_the_protocol_passes_every_guard() -> None:
    outcome = tiny.run(tiny.spec())
    assert {g.name for g in outcome.guards} == EVERY_GUARD
    assert all(g.passed for g in outcome.guards), [g for g in outcome.guards if not g.passed]


@pytest.mark.parametrize("batch_norm", ["frozen", "affine", "train"])
def test_every_batch_norm_mode_passes(batch_norm: BatchNorm) -> None:
    spec = tiny.spec(batch_norm=batch_norm)
    outcome = tiny.run(spec)
    assert failing(outcome) == set()


@pytest.mark.parametrize(
    ("steps", "guard"),
    [
        pytest.param(trap("unpinned"), "backbone_deterministic", id="no wrapper"),
        pytest.param(trap("no_phase1"), "head_trained", id="no phase 1"),
        pytest.param(Steps(recompile=only_set_the_rate), "weights_moved", id="no recompile"),
        pytest.param(trap("phase2_rate"), "learning_rate", id="phase 1's rate"),
        pytest.param(trap("preprocessing_twice"), "preprocessing", id="preprocessed twice"),
        pytest.param(trap("preprocessing_skipped"), "preprocessing", id="not preprocessed"),
        pytest.param(Steps(unfreeze=unfreeze_one_block_more), "trainable_set", id="wrong layers"),
        pytest.param(
            Steps(compile=scribble_on_a_frozen_weight), "frozen_weights", id="frozen weight moved"
        ),
    ],
)
def test_one_mistake_fails_one_guard(steps: Steps, guard: str) -> None:
    spec = tiny.spec()
    outcome = tiny.run(spec, steps=steps)
    assert failing(outcome) == {guard}


def test_batch_norm_in_training_mode_fails_its_guard() -> None:
    spec = tiny.spec(Freeze(strategy="last_layers", amount=6), batch_norm="affine")
    given = tiny.ingredients(spec, without_dropout())
    outcome = tiny.run(spec, given, steps=Steps(unfreeze=unfreeze_without_pin))
    assert failing(outcome) == {"batchnorm_statistics"}


def test_statistics_that_should_move_and_do_not_fail_their_guard() -> None:
    """Mode ``train`` (so every trial from scratch) with the pin left on."""
    spec = tiny.spec(batch_norm="train")
    steps = Steps(unfreeze=lambda trial, start, mode: freezing.apply(trial.backbone, start, mode))
    outcome = tiny.run(spec, steps=steps)
    assert failing(outcome) == {"batchnorm_statistics"}
    evidence = next(g.evidence for g in outcome.guards if g.name == "batchnorm_statistics")
    assert "4 should move, 4 stayed" in evidence


def test_a_backbone_that_rescales_must_be_handed_raw_pixels() -> None:
    inputs = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    inside = keras.layers.Rescaling(1 / 127.5, -1.0, name="inside")(inputs)
    spec = tiny.spec()
    for contract, expected in (("minus_one_to_one", {"preprocessing"}), ("raw", set())):
        model = keras.Model(inputs, tiny.backbone()(inside))
        given = dataclasses.replace(
            tiny.ingredients(spec.model_copy(update={"phase2": None}), model), contract=contract
        )
        alone = spec.model_copy(update={"phase2": None, "freeze": Freeze(strategy="head_only")})
        assert failing(tiny.run(alone, given)) == expected


def test_the_textbook_recipe_moves_statistics_without_the_wrapper() -> None:
    """The reason for the wrapper: the tutorials' own recipe, under this Keras."""
    spec = tiny.spec(Freeze(strategy="last_layers", amount=6), batch_norm="affine")
    given = tiny.ingredients(spec, without_dropout())
    outcome = tiny.run(spec, given, steps=trap("unpinned"))
    assert failing(outcome) == {"batchnorm_statistics"}


def test_a_head_that_never_trained_is_named_before_phase_2() -> None:
    outcome = tiny.run(tiny.spec(), steps=trap("no_phase1"))
    held = next(g for g in outcome.guards if g.name == "head_trained")
    assert held.evidence == "phase 2 begins with 0 of 2 head weights moved from their start"
    assert outcome.phase1 is None
    assert [e.index for e in outcome.phase2.epochs] == [0, 1, 2]
    assert outcome.phase2.learning_rate == pytest.approx(1e-3)
    right = next(g for g in tiny.run(tiny.spec()).guards if g.name == "head_trained")
    assert right.evidence.startswith("phase 2 begins with 2 of 2 head weights moved")


def test_the_shared_path_brings_a_trained_head_to_phase_2(settings: Settings) -> None:
    spec = tiny.spec()
    found = tiny.by_sharing(spec, tiny.bench_for([spec], settings)).guards["head_trained"]
    assert found.passed
    assert "2 of 2" in found.evidence


@pytest.mark.parametrize(
    "changes",
    [
        {"freeze": Freeze(strategy="head_only"), "phase2": None},
        {"freeze": Freeze(strategy="scratch"), "phase1": None, "batch_norm": "train"},
    ],
    ids=["a head alone", "from scratch"],
)
def test_one_phase_asks_for_no_trained_head(changes: dict[str, Any]) -> None:
    outcome = tiny.run(tiny.spec(**changes))
    assert failing(outcome) == set()
    assert "head_trained" not in {g.name for g in outcome.guards}


HOT = Phase(epochs=3, learning_rate=1e30, optimizer="sgd")


def test_divergence_in_phase_1_fails_loss_finite_and_skips_phase_2() -> None:
    deep = Head(name="deep", layers=(HeadLayer(dense=8), HeadLayer(dense=8)))
    spec = tiny.spec(phase1=HOT, head=deep)
    outcome = tiny.run(spec)
    assert "loss_finite" in failing(outcome)
    assert outcome.phase2 is None
    assert outcome.test is None
    assert len(outcome.phase1.epochs) < 3


def test_divergence_in_phase_2_keeps_phase_1() -> None:
    spec = tiny.spec(phase2=HOT)
    outcome = tiny.run(spec)
    assert failing(outcome) == {"loss_finite"}
    assert outcome.test is None
    assert outcome.phase1.val_accuracy >= 0
    assert len(outcome.phase2.epochs) == 1


def scores(correct: list[bool]) -> Scores:
    chosen = [0 if c else 1 for c in correct]
    return Scores(np.eye(2)[chosen], np.zeros(len(correct), np.int64))


@pytest.mark.parametrize(
    ("lost", "gained", "passed"), [(0, 0, True), (9, 0, True), (10, 0, False), (40, 20, True)]
)
def test_no_cliff_allows_what_chance_explains(lost: int, gained: int, passed: bool) -> None:
    first = scores([True] * lost + [False] * gained + [True] * 50)
    second = scores([False] * lost + [True] * gained + [True] * 50)
    guard = guards.no_cliff(first, second)
    assert guard.passed is passed
    assert (lost - gained <= 3 * math.sqrt(lost + gained)) is passed
    assert f"{gained} pictures gained, {lost} lost" in guard.evidence


def test_merged_keeps_one_guard_per_name_and_the_worst_verdict() -> None:
    spec = tiny.spec(batch_norm="train")
    outcome = tiny.run(spec)
    names = [g.name for g in outcome.guards]
    assert len(names) == len(set(names))
    wide = next(g for g in outcome.guards if g.name == "backbone_deterministic")
    assert wide.passed is True
    assert "phase 2: batch_norm = train" in wide.evidence
    plan = guards.PhasePlan("phase 1", frozenset(), 0, 1e-3, "frozen", 0)
    good, bad = guards.learning_rate(plan, 1e-3), guards.learning_rate(plan, 1e-2)
    assert [g.passed for g in guards.merged([good, bad])] == [False]
    assert dataclasses.is_dataclass(plan)
