"""The wrong steps of the trap table at work: each fails the guards that its row names, alone."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny
from conftest import STACK

from bench.errors import ImpossibleTrialError, UnknownNameError
from bench.records import Freeze, Phase, Preprocessing, TrialSpec, WeightsUsed
from bench.settings import Settings
from bench.training import execution, grounds, protocol, trapped
from bench.training.grounds import Workplace
from bench.training.trial import run_trial
from bench.zoo import preprocessing, traps, weights

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def spec(trap: str | None, **changes: object) -> TrialSpec:
    """Two epochs, then one in which BatchNorm's scale and shift train, as tutorials mean it."""
    return tiny.spec(**{"batch_norm": "affine", "trap": trap} | changes)


@pytest.mark.parametrize("name", traps.TRAPS)
def test_a_trap_fails_the_guards_that_its_row_names(name: str) -> None:
    if name == "no_recompile" and not ON_TENSORFLOW:
        pytest.skip("cannot be made on this backend")
    outcome = tiny.run(spec(name), steps=trapped.steps_of(spec(name)))
    failed = {g.name for g in outcome.guards if g.passed is False}
    assert failed - traps.CONSEQUENCES == set(traps.TRAPS[name].guards)
    assert traps.as_expected(name, failed)


def test_without_a_trap_the_steps_are_the_protocols() -> None:
    assert trapped.steps_of(spec(None)) == protocol.Steps()


@pytest.mark.parametrize("name", traps.TRAPS)
def test_a_trap_has_one_step_wrong(name: str) -> None:
    if name == "no_recompile" and not ON_TENSORFLOW:
        pytest.skip("cannot be made on this backend")
    right, wrong = protocol.Steps(), trapped.steps_of(spec(name))
    names = [f.name for f in dataclasses.fields(right)]
    assert sum(getattr(right, n) is not getattr(wrong, n) for n in names) == 1


def test_no_recompile_is_refused_where_keras_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ImpossibleTrialError, match="no_recompile cannot be made on jax"):
        trapped.steps_of(spec("no_recompile"))


def test_a_trap_that_is_no_mistake_is_refused() -> None:
    alone = spec("phase2_rate", freeze=Freeze(strategy="head_only"), phase2=None)
    with pytest.raises(ImpossibleTrialError, match=r"phase2_rate is no mistake.*one phase only"):
        trapped.steps_of(alone)
    with pytest.raises(UnknownNameError, match="unknown trap"):
        trapped.steps_of(spec("odd"))


@pytest.mark.parametrize("contract", preprocessing.CONTRACTS)
def test_preprocessing_twice_under_every_contract(contract: Preprocessing) -> None:
    pixels = keras.Input((4, 4, 3))
    model = keras.Model(pixels, trapped.preprocess_twice(contract, pixels))
    shown = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    found = keras.ops.convert_to_numpy(model(shown))
    by_hand = preprocessing.reference("minus_one_to_one", shown)
    once = preprocessing.reference(contract, shown)
    wanted = by_hand if contract == "raw" else preprocessing.reference(contract, once)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_script_without_phase_1_trains_at_its_rate_and_with_its_optimizer() -> None:
    changes: dict[str, Any] = {
        "phase1": Phase(epochs=2, learning_rate=3e-3, optimizer="sgd"),
        "phase2": Phase(epochs=1, learning_rate=1e-5, optimizer="adam"),
    }
    outcome = tiny.run(spec("no_phase1", **changes), steps=trapped.steps_of(spec("no_phase1")))
    assert outcome.phase1 is None
    assert outcome.model.optimizer.name.startswith("sgd")  # numbered from the second on
    assert outcome.phase2.learning_rate == pytest.approx(3e-3)
    assert len(outcome.phase2.epochs) == 3


# ------------------------------------------------------------------------------ a trial as a row


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """Not literal: a trial without a trap would share work here."""
    pytest.importorskip("sklearn", reason="digits need the extra 'offline'")
    used = WeightsUsed(source="random", sha256="0" * 64)

    def load(*_: object) -> weights.LoadedBackbone:
        return weights.LoadedBackbone(tiny.backbone(), "minus_one_to_one", used, r"block(\d)_")

    monkeypatch.setattr(grounds.weights, "load", load)
    settings = Settings(cache=tmp_path / "cache")
    return Workplace(settings, tmp_path, STACK, execution.environment())


def digits(trap: str | None, **changes: object) -> TrialSpec:
    made = spec(trap, **changes)
    subset = {"train_examples": 60, "val_examples": 20, "test_examples": 30}
    return made.model_copy(update={"data": made.data.model_copy(update=subset)})


def test_a_trial_with_a_trap_runs_literally_beside_one_that_shares(place: Workplace) -> None:
    rows = [run_trial(digits(trap), place, lambda _: None)[0] for trap in (None, "phase2_rate")]
    assert [r.status for r in rows] == ["ok", "ok"]
    assert [r.way for r in rows] == ["shared", "literal"]
    assert rows[0].failed_guards == ()
    assert set(rows[1].failed_guards) - traps.CONSEQUENCES == {"learning_rate"}
    assert rows[1].rewrites == ""
    first, again = ([e.loss for e in r.phase1.epochs] for r in rows)
    assert first == pytest.approx(again, rel=1e-4)
    assert type(rows[1]).model_validate_json(rows[1].model_dump_json()) == rows[1]


def test_auto_that_comes_to_a_head_alone_skips_a_mistake_between_phases(place: Workplace) -> None:
    row, _ = run_trial(digits("no_phase1", freeze=Freeze(strategy="auto")), place, lambda _: None)
    assert row.status == "skipped"
    assert row.reason == "trap no_phase1 is no mistake here: head_only has one phase only"
