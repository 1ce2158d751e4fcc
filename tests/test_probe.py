"""A probe from spec to row: what its heads have in common with trials, and what it leaves alone."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from conftest import STACK

from bench import cache, marks
from bench.data import images
from bench.errors import WeightsError
from bench.probes import ProbeSpec
from bench.progress import Progress
from bench.records import Backbone, Data, Dataset, Freeze, Head, HeadLayer, Phase, WeightsUsed
from bench.settings import Settings
from bench.training import execution, grounds, probe
from bench.training.grounds import Workplace
from bench.training.probe import run_probe
from bench.training.trial import run_trial
from bench.zoo import weights

pytest.importorskip("sklearn", reason="digits need the extra 'offline'")

DATA = Data(
    dataset=Dataset(name="digits"),
    image_size=tiny.SIZE,
    train_examples=60,
    val_examples=40,
    test_examples=30,
)
SPEC = ProbeSpec(
    backbone=Backbone(name="MobileNetV2"),
    data=DATA,
    head=Head(name="linear"),
    phase1=Phase(epochs=3, learning_rate=1e-2),
    execution=tiny.spec().execution,
)


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the digits' pictures and nothing else."""
    cache = tmp_path_factory.mktemp("digits")
    images.open_images(DATA.dataset, tiny.SIZE, Settings(cache=cache))
    return cache


@pytest.fixture
def place(tmp_path: Path, decoded: Path) -> Workplace:
    shutil.copytree(decoded, tmp_path / "c")
    return Workplace(Settings(cache=tmp_path / "c"), tmp_path, STACK, execution.environment())


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every backbone is the tiny one; how often one was loaded."""
    used, loaded = WeightsUsed(source="random", sha256="0" * 64), list[int]()

    def load(*_: object) -> weights.LoadedBackbone:
        loaded.append(len(loaded))
        return weights.LoadedBackbone(tiny.backbone(), "minus_one_to_one", used, r"block(\d)_")

    monkeypatch.setattr(grounds.weights, "load", load)
    return loaded


def quietly(_: Progress) -> None: ...


def kept(place: Workplace, kind: str) -> list[str]:
    """Names of what the cache keeps, without their keys."""
    return sorted(e.path.name.rpartition("-")[0] for e in cache.entries(place.settings, [kind]))


@pytest.mark.usefixtures("tiny_backbone")
def test_a_probe_becomes_a_whole_row(place: Workplace) -> None:
    said: list[str] = []
    row = run_probe(SPEC, place, lambda progress: said.append(progress.stage))
    assert (row.status, row.reason, row.key) == ("ok", "", SPEC.key)
    assert (row.dataset.train, row.dataset.val) == (60, 40)
    assert (row.width, len(row.linear), len(row.linear_correct)) == (8, 3, 3)
    assert row.total_parameters == tiny.backbone().count_params() + 8 * 10 + 10
    for accuracy, text in zip(row.linear, row.linear_correct, strict=True):
        assert marks.unpacked(text, 40).mean() == pytest.approx(accuracy)
    assert 0 < row.knn < 1
    assert np.isfinite(row.logme)
    assert row.suspects == ()
    assert {"weights", "activations", "phase 1"} <= set(said)
    assert type(row).model_validate_json(row.model_dump_json()) == row


@pytest.mark.usefixtures("tiny_backbone")
def test_the_linear_probe_is_phase_1_of_trials_with_its_seeds(
    place: Workplace, tmp_path: Path, decoded: Path
) -> None:
    head = Head(name="x", layers=(HeadLayer(dropout=0.3),))
    spec = SPEC.model_copy(update={"head": head, "seeds": (0, 7)})
    row = run_probe(spec, place, quietly)
    shutil.copytree(decoded, tmp_path / "other")
    other = Workplace(
        Settings(cache=tmp_path / "other"), tmp_path, STACK, place.environment, trials=spec.trials
    )
    for alone, accuracy, correct in zip(spec.trials, row.linear, row.linear_correct, strict=True):
        found, _ = run_trial(alone, other, quietly)
        assert found.phase1.val_accuracy == accuracy
        assert found.phase1.val_correct == correct
    assert len(set(row.linear_correct)) > 1


def test_a_probe_and_trials_on_its_ground_do_equal_work_once(
    place: Workplace, tiny_backbone: list[int]
) -> None:
    tuned = SPEC.trials[0].model_copy(
        update={
            "freeze": Freeze(strategy="top_blocks", amount=1),
            "phase2": Phase(epochs=1, learning_rate=1e-4),
        }
    )
    place.trials = [tuned]
    said: list[str] = []
    run_probe(SPEC, place, quietly)
    run_trial(tuned, place, lambda progress: said.append(progress.stage))
    again = run_probe(SPEC, place, quietly)
    assert tiny_backbone == [0]
    activations = kept(place, "activations")
    assert len([a for a in activations if "frontier" in a]) == 3
    # One more of the test pictures, which the trial needs; train and val came with the probe's.
    assert said.count("activations") == 1
    assert len(kept(place, "heads")) == 3
    assert (again.status, again.features_seconds) == ("ok", None)


@pytest.mark.usefixtures("tiny_backbone")
def test_test_pictures_pass_through_nothing(place: Workplace) -> None:
    run_probe(SPEC, place, quietly)
    names = kept(place, "activations")
    assert len(names) == 2
    assert [n.rpartition("-")[2] for n in names] == ["train", "val"]


def test_a_probe_after_a_trial_makes_a_ground_that_knows_all_its_seeds(
    place: Workplace, tiny_backbone: list[int]
) -> None:
    run_trial(SPEC.trials[0], place, quietly)
    row = run_probe(SPEC, place, quietly)
    assert len(row.linear) == 3
    assert tiny_backbone == [0, 1]
    assert set(SPEC.trials) <= set(place.prepared.bench.trials)


@pytest.mark.usefixtures("tiny_backbone")
def test_pictures_in_doubt_are_named(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubt(features: np.ndarray, labels: np.ndarray, classes: int) -> list[object]:
        assert features.shape == (100, 8)
        assert (len(labels), classes) == (100, 10)
        return [probe.transferability.Doubted(61, 4, 0.99), probe.transferability.Doubted(2, 3, 1)]

    monkeypatch.setattr(probe.transferability, "suspects", doubt)
    row = run_probe(SPEC, place, quietly)
    val, train = row.suspects
    assert (val.split, train.split) == ("val", "train")
    given = place.prepared.given
    assert val.picture == given.val.hashes[1][:16]
    assert (val.label, val.neighbours_say, val.share) == (given.val.labels[1], 4, 0.99)
    assert train.name == f"digits/{given.train.indices[2]}"


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"phase1": Phase(epochs=2, learning_rate=1e38, optimizer="sgd")}, "diverged", "loss"),
        ({"head": Head(name="b", loss="binary")}, "skipped", "has 10 classes"),
        (
            {"data": DATA.model_copy(update={"train_examples": 10**6})},
            "failed",
            "digits",
        ),
    ],
)
def test_whatever_goes_wrong_is_a_status(
    place: Workplace, changes: dict[str, object], status: str, said: str
) -> None:
    row = run_probe(SPEC.model_copy(update=changes), place, quietly)
    assert row.status == status, row.reason
    assert said in row.reason
    assert row.linear == ()


def test_weights_that_are_not_there_fail_the_probe(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise WeightsError("no such file")

    monkeypatch.setattr(grounds.weights, "load", load)
    row = run_probe(SPEC, place, quietly)
    assert (row.status, row.reason) == ("failed", "no such file")
    assert row.dataset.train == 60


@pytest.mark.usefixtures("tiny_backbone")
def test_features_need_room(place: Workplace) -> None:
    place.activations_bytes = 10
    row = run_probe(SPEC, place, quietly)
    assert row.status == "failed"
    assert "no room for features of digits" in row.reason


NEEDS = ("TFDS_DATA_DIR", "BENCH_WEIGHTS_DIR")
missing = [name for name in NEEDS if not os.environ.get(name)]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not set: no real pictures")
def test_real_flowers(tmp_path: Path) -> None:
    settings = Settings.from_environment().model_copy(update={"cache": tmp_path / "cache"})
    place = Workplace(settings, tmp_path, STACK, execution.environment())
    data = DATA.model_copy(
        update={
            "dataset": Dataset(name="tf_flowers"),
            "image_size": 96,
            "train_examples": 300,
            "val_examples": 200,
        }
    )
    spec = SPEC.model_copy(update={"data": data, "phase1": Phase(epochs=8, learning_rate=3e-3)})
    row = run_probe(spec, place, quietly)
    assert row.status == "ok", row.reason
    assert row.width == 1280
    assert min(row.linear) > 0.7
    assert 0.6 < row.knn < max(row.linear) + 0.02
    assert 0 < row.features_seconds < 1
    place.trials = spec.trials
    found, _ = run_trial(spec.trials[1], place, quietly)
    assert found.phase1.val_accuracy == row.linear[1]
    assert found.phase1.val_correct == row.linear_correct[1]
    assert len(row.suspects) < 15
