"""A trial from spec to row: whatever happens becomes a status, and what was measured is kept."""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from conftest import STACK

from bench.errors import DatasetError
from bench.progress import Progress
from bench.records import Freeze, Head, Phase, TrialSpec, WeightsUsed
from bench.settings import Settings
from bench.training import execution, grounds, protocol, trial
from bench.training.grounds import Workplace
from bench.training.trial import run_trial
from bench.zoo import same_weights, weights

pytest.importorskip("sklearn", reason="digits need the extra 'offline'")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("trial")
    settings = Settings(cache=folder / "cache")
    return Workplace(settings, folder, STACK, execution.environment(), literal=True)


@pytest.fixture(autouse=True)
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backbone is the tiny one: these tests are about what surrounds it."""
    used = WeightsUsed(source="random", sha256="0" * 64)

    def load(*_: object) -> weights.LoadedBackbone:
        return weights.LoadedBackbone(tiny.backbone(), "minus_one_to_one", used, r"block(\d)_")

    monkeypatch.setattr(grounds.weights, "load", load)


def digits(freeze: Freeze | None = None, **changes: object) -> TrialSpec:
    spec = tiny.spec(freeze, **changes)
    subset = {"train_examples": 60, "val_examples": 20, "test_examples": 30}
    return spec.model_copy(update={"data": spec.data.model_copy(update=subset)})


def test_a_trial_becomes_a_whole_row(place: Workplace, tmp_path: Path) -> None:
    said: list[Progress] = []
    row, predictions = run_trial(digits(), place, said.append)
    assert (row.status, row.reason) == ("ok", "")
    assert row.key == digits().key
    assert (row.dataset.train, row.dataset.val, row.dataset.test) == (60, 20, 30)
    assert row.weights.sha256 == "0" * 64
    assert row.failed_guards == ()
    assert len(row.guards) == 10
    assert row.test_accuracy == pytest.approx(predictions.scores.accuracy)
    assert [p.stage for p in said if p.epoch_done] == ["phase 1", "phase 1", "phase 2"]
    predictions.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as stored:
        assert stored["probabilities"].shape == (30, 10)
        accuracy = (stored["probabilities"].argmax(1) == stored["labels"]).mean()
        assert accuracy == pytest.approx(row.test_accuracy)
        assert len(set(stored["pictures"].tolist())) == 30


def test_a_row_survives_json(place: Workplace) -> None:
    row, _ = run_trial(digits(), place, lambda _: None)
    assert type(row).model_validate_json(row.model_dump_json()) == row


def test_a_trial_does_not_depend_on_what_ran_before(place: Workplace) -> None:
    alone, _ = run_trial(digits(seed=3), place, lambda _: None)
    run_trial(digits(Freeze(strategy="scratch"), phase1=None, seed=9), place, lambda _: None)
    again, _ = run_trial(digits(seed=3), place, lambda _: None)
    assert alone.test_loss == again.test_loss
    assert [e.loss for e in alone.phase1.epochs] == [e.loss for e in again.phase1.epochs]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_stacks_precision_is_in_force_in_every_trial(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Keras' clear_session, called before each trial, forgets the precision."""
    stack = place.stack.model_copy(update={"precision": precision})
    policies: list[str] = []

    def load(*_: object) -> weights.LoadedBackbone:
        model = tiny.backbone()
        policies.append(model.get_layer("block1_conv").dtype_policy.name)
        used = WeightsUsed(source="random", sha256="0" * 64)
        return weights.LoadedBackbone(model, "minus_one_to_one", used, r"block(\d)_")

    monkeypatch.setattr(grounds.weights, "load", load)
    for _ in range(2):
        row, _ = run_trial(digits(), dataclasses.replace(place, stack=stack), lambda _: None)
        assert row.status == "ok", row.reason
        assert row.failed_guards == ()
    assert policies == [precision, precision]
    keras.config.set_dtype_policy("float32")


def test_other_weights_than_those_of_earlier_rows_are_not_measured(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> weights.LoadedBackbone:
        used = WeightsUsed(source="tiny.h5", sha256="1" * 64)
        return weights.LoadedBackbone(tiny.backbone(), "minus_one_to_one", used, r"block(\d)_")

    monkeypatch.setattr(grounds.weights, "load", load)
    name = same_weights.name_of(digits().backbone)
    before = dataclasses.replace(place, earlier_weights={name: "0" * 64})
    row, predictions = run_trial(digits(), before, lambda _: None)
    assert (row.status, row.phase1, predictions) == ("failed", None, None)
    assert "the weights of tiny.h5 are not those of earlier rows" in row.reason
    same = dataclasses.replace(place, earlier_weights={name: "1" * 64})
    assert run_trial(digits(), same, lambda _: None)[0].status == "ok"


def test_phase_1_outlives_a_phase_2_that_fails(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("too large")

    broken = functools.partial(protocol.Literal, steps=protocol.Steps(unfreeze=fail))
    monkeypatch.setattr(trial.protocol, "Literal", broken)
    row, predictions = run_trial(digits(), place, lambda _: None)
    assert row.status == "out_of_memory"
    assert len(row.phase1.epochs) == 2
    assert row.phase2 is None
    assert predictions is None


def test_auto_resolves_by_the_number_of_train_pictures(place: Workplace) -> None:
    row, _ = run_trial(digits(Freeze(strategy="auto")), place, lambda _: None)
    assert row.freeze_resolved == Freeze(strategy="head_only")
    assert row.phase2 is None


def test_a_loss_that_is_not_finite_ends_as_diverged(place: Workplace) -> None:
    hot = Phase(epochs=2, learning_rate=1e30, optimizer="sgd")
    row, predictions = run_trial(digits(phase2=hot), place, lambda _: None)
    assert row.status == "diverged"
    assert "not finite in epoch 3" in row.reason
    assert row.phase1 is not None
    assert row.test_accuracy is None
    assert predictions is None
    assert type(row).model_validate_json(row.model_dump_json()).phase2.epochs[0].index == 2


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (digits(head=Head(name="b", loss="binary")), "binary loss, but digits has 10 classes"),
        (digits(Freeze(strategy="top_blocks", amount=9)), "expected at most 3"),
        (digits(Freeze(strategy="last_layers", amount=99)), "expected at most 13"),
        (digits(Freeze(strategy="from_layer", amount="block9_conv")), "did you mean block"),
    ],
)
def test_what_cannot_go_together_is_skipped(place: Workplace, spec: TrialSpec, reason: str) -> None:
    row, _ = run_trial(spec, place, lambda _: None)
    assert row.status == "skipped"
    assert reason in row.reason


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (MemoryError("no more"), "out_of_memory", "MemoryError: no more"),
        (RuntimeError("RESOURCE_EXHAUSTED: 8 GiB"), "out_of_memory", "8 GiB"),
        (ValueError("two\nlines"), "failed", "ValueError: two lines"),
        (DatasetError("no such folder"), "failed", "no such folder"),
    ],
)
def test_errors_become_a_status(
    place: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: str,
    reason: str,
) -> None:
    def run(*_: object, **__: object) -> protocol.Outcome:
        raise error

    monkeypatch.setattr(trial.protocol, "run", run)
    row, predictions = run_trial(digits(), place, lambda _: None)
    assert row.status == status
    assert reason in row.reason
    assert row.dataset is not None
    assert predictions is None


def test_what_shares_nothing_is_bit_identical_either_way(place: Workplace) -> None:
    """From scratch there is nothing to share but pictures."""
    spec = digits(Freeze(strategy="scratch"), phase1=None, batch_norm="train")
    literal, _ = run_trial(spec, place, lambda _: None)
    sharing = dataclasses.replace(place, literal=False, prepared=None)
    other, _ = run_trial(spec, sharing, lambda _: None)
    assert (literal.status, other.status, other.way) == ("ok", "ok", "literal")
    assert [e.loss for e in literal.phase2.epochs] == [e.loss for e in other.phase2.epochs]
    assert literal.test_loss == other.test_loss
    assert "not measured" in other.phase2.execution


def test_work_of_our_own_passes_where_the_cache_cannot_be_written(
    place: Workplace, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    (tmp_path / "scratch").mkdir()
    settings = Settings(cache=tmp_path / "cache")
    poor = dataclasses.replace(place, settings=settings, scratch=tmp_path / "scratch")
    assert poor.work.cache.parent == tmp_path / "scratch"
    assert poor.work.scratch().is_dir()
    assert place.work == place.settings
