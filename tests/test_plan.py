"""What a run would do, and what stops it before it starts."""

import zipfile
from pathlib import Path

import pytest
from conftest import make_spec

from bench.errors import BenchError
from bench.records import Backbone, Data, Dataset, Freeze, TrialSpec
from bench.running import plan
from bench.settings import Settings
from bench.suite import Suite

TRIALS = (
    make_spec(seed=0),
    make_spec(seed=1),
    make_spec(Freeze(strategy="all"), dataset="beans"),
)


def _suite(folder: Path, *trials: TrialSpec) -> Suite:
    return Suite(name="s", description="d", folder=folder, trials=trials)


def _with_backbone(**fields: object) -> TrialSpec:
    backbone = Backbone.model_validate({"name": "ResNet50"} | fields)
    return make_spec().model_copy(update={"backbone": backbone})


def _with_folder(folder: str) -> TrialSpec:
    data = Data(dataset=Dataset(name="holiday", folder=folder))
    return make_spec().model_copy(update={"data": data})


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["MobileNetV2"], [0, 1, 2]),
        (["mobilenetv2", "SEED 1"], [1]),
        (["beans"], [2]),
        (["top_blocks=2"], [0, 1]),
        (["digits", "seed 0"], [0]),
    ],
)
def test_only_keeps_what_holds_every_word(words: list[str], chosen: list[int]) -> None:
    assert plan.select(TRIALS, words) == tuple(TRIALS[i] for i in chosen)


def test_only_that_matches_nothing_shows_what_a_label_looks_like() -> None:
    with pytest.raises(BenchError, match=r"--only 'beans seed 7'.*no trial.*MobileNetV2 · digits"):
        plan.select(TRIALS, ["beans", "seed 7"])


def test_weights_that_keras_downloads_are_no_problem(tmp_path: Path, settings: Settings) -> None:
    trials = (_with_backbone(), _with_backbone(weights="random"))
    assert plan.problems(_suite(tmp_path, *trials), settings) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": "mine.weights.h5"}, ["mine.weights.h5", "BENCH_WEIGHTS_DIR"]),
        ({"weights": "imagnet"}, ["imagnet", ".h5"]),
        ({"name": "Mine", "file": "mine.keras", "preprocessing": "raw"}, ["mine.keras"]),
        ({"name": "Mine", "file": "mine.keras"}, ["needs preprocessing"]),
        ({"name": "ResNet5O"}, ["unknown backbone", "ResNet50"]),
    ],
)
def test_missing_weights_are_a_problem_that_names_the_way_out(
    tmp_path: Path, settings: Settings, fields: dict[str, object], words: list[str]
) -> None:
    (problem,) = plan.problems(_suite(tmp_path, _with_backbone(**fields)), settings)
    for word in words:
        assert word in problem


def test_a_problem_of_many_trials_is_told_once(tmp_path: Path, settings: Settings) -> None:
    trial = _with_backbone(weights="mine.weights.h5")
    trials = [trial.model_copy(update={"seed": seed}) for seed in range(5)]
    assert len(plan.problems(_suite(tmp_path, *trials), settings)) == 1


def test_every_different_problem_is_told(tmp_path: Path, settings: Settings) -> None:
    trials = (_with_backbone(weights="a.h5"), _with_backbone(weights="b.h5"), _with_folder("c"))
    assert len(plan.problems(_suite(tmp_path, *trials), settings)) == 3


def test_files_are_found_beside_the_suite(tmp_path: Path, settings: Settings) -> None:
    with zipfile.ZipFile(tmp_path / "mine.keras", "w") as file:
        file.writestr("config.json", "{}")
    (tmp_path / "pictures").mkdir()
    mine = _with_backbone(name="Mine", file="mine.keras", preprocessing="raw")
    assert plan.problems(_suite(tmp_path, mine, _with_folder("pictures")), settings) == []


def test_a_missing_folder_of_pictures_is_a_problem(tmp_path: Path, settings: Settings) -> None:
    (problem,) = plan.problems(_suite(tmp_path, _with_folder("pictures")), settings)
    assert problem == "dataset 'holiday': folder 'pictures' is not there"


def test_a_file_is_no_folder_of_pictures(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "pictures").write_text("x")
    assert plan.problems(_suite(tmp_path, _with_folder("pictures")), settings)
