"""``--set KEY=VALUE``: values in place of a suite's, and how wrong ones are said."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, refused

from bench.cli import console
from bench.errors import BenchError, FileError
from bench.suite import load
from bench.suite_file import change

SUITE = """\
description = "small"

[data]
image_size = 96

[phase1]
epochs = 2
learning_rate = 1e-3

[phase2]
epochs = 3
learning_rate = 1e-5

[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only", "all"]
seeds = [0, 1]

[[matrix]]
backbones = ["ResNet50"]
datasets = ["digits"]
freezes = ["all"]

[smoke]
data = { image_size = 32, train_examples = 64 }
phase1 = { epochs = 1 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(SUITE)
    return path


# -------------------------------------------------------------------------------- KEY=VALUE


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("phase2.epochs=3", {"phase2": {"epochs": 3}}),
        ("matrix.seeds=[0,1]", {"matrix": {"seeds": [0, 1]}}),
        (" phase1 . optimizer = sgd ", {"phase1": {"optimizer": "sgd"}}),
        ('phase1.optimizer="sgd"', {"phase1": {"optimizer": "sgd"}}),
        ("a.b.c=true", {"a": {"b": {"c": True}}}),
        ("description=two words = many", {"description": "two words = many"}),
        ("data.splits={train=0.5,val=0.2,test=0.3}",
         {"data": {"splits": {"train": 0.5, "val": 0.2, "test": 0.3}}}),
        ("a=1\nb=2", {"a": "1\nb=2"}),
        ("a=", {"a": ""}),
        ("a=[1", {"a": "[1"}),
    ],
)  # fmt: skip
def test_a_change_is_a_path_and_toml(text: str, overrides: dict[str, Any]) -> None:
    assert change(text)[1] == overrides


@pytest.mark.parametrize("text", ["", "epochs", "=3", ".a=3", "a..b=3", "a b=3", "a[0]=3"])
def test_a_change_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="expected KEY=VALUE, such as"):
        change(text)


# ------------------------------------------------------------------------------------ in a suite


def test_changes_reach_the_trials_and_not_the_name(file: Path) -> None:
    suite = load(file, changes=["data.train_examples=100", "phase2.epochs=7"])
    assert suite.name == "my"
    assert {t.data.train_examples for t in suite.trials} == {100}
    assert {t.phase2.epochs for t in suite.trials if t.phase2} == {7}
    assert {t.data.image_size for t in suite.trials} == {96}, "what is not changed stays"


def test_a_change_of_the_matrix_reaches_each_matrix(file: Path) -> None:
    suite = load(file, changes=["matrix.seeds=[5]"])
    assert [(t.backbone.name, t.seed) for t in suite.trials] == [
        ("MobileNetV2", 5), ("MobileNetV2", 5), ("ResNet50", 5),
    ]  # fmt: skip


def test_changes_come_after_smoke_and_the_last_counts(file: Path) -> None:
    suite = load(file, smoke=True, changes=["data.image_size=48", "data.image_size=64"])
    assert suite.name == "my-smoke"
    assert {(t.data.image_size, t.data.train_examples) for t in suite.trials} == {(64, 64)}
    assert {t.phase1.epochs for t in suite.trials if t.phase1} == {1}


def test_no_changes_change_nothing(file: Path) -> None:
    assert load(file, changes=[]).trials == load(file).trials


@pytest.mark.parametrize(
    ("changes", "key", "value", "words"),
    [
        (["data.train_examples=many"], "--set data.train_examples", "many", "a whole number"),
        (["data.train_exmples=9"], "--set data.train_exmples", 9, "did you mean train_examples"),
        (["phase3.epochs=9"], "--set phase3", {"epochs": 9}, "did you mean phase2 or phase1"),
        (["matrix.seeds=[0,-1]"], "--set matrix[0].seeds[1]", -1, "or equal to 0"),
        (["matrix.backbones=[\"MobileNet2\"]"], "--set matrix[0].backbones[0]", "MobileNet2",
         "a backbone that exists"),
        (["matrix.backbones=MobileNetV2"], "--set matrix[0].backbones", "MobileNetV2", "a list"),
        (["phase1.epochs=1", "phase2.epochs=0"], "--set phase2.epochs", 0, "or equal to 1"),
        (["data.image_size=16"], "--set data.image_size", 16, "at least 32 for MobileNetV2"),
        (["smoke.data.image_size=32"], "--set smoke", {"data": {"image_size": 32}}, "a key that"),
        (["data.image_size=64", "matrix.backbones=[\"InceptionV3\"]"], "--set data.image_size", 64,
         "at least 75"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_change_is_named(
    file: Path, changes: list[str], key: str, value: object, words: str
) -> None:
    with pytest.raises(FileError) as caught:
        load(file, changes=changes)
    assert (caught.value.key, caught.value.value) == (key, value)
    assert words in caught.value.expected


def test_a_change_that_makes_another_value_wrong_is_named_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(SUITE.replace("image_size = 96", "image_size = 64"))
    with pytest.raises(FileError) as caught:
        load(path, changes=['matrix.backbones=["InceptionV3"]'])
    assert caught.value.key == "--set matrix.backbones: data.image_size"


def test_a_file_that_is_wrong_by_itself_is_not_the_changes_fault(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(SUITE.replace("epochs = 2", "epochs = 0"))
    with pytest.raises(FileError) as caught:
        load(path, changes=["phase1.epochs=2"])
    assert caught.value.key == "phase1.epochs"


# ---------------------------------------------------------------------------------- commands


def test_run_and_measure_take_changes(bench: Bench, file: Path) -> None:
    run = bench("run", file, "--dry-run", "--set", "matrix.seeds=[9]", "--set", "phase2.epochs=4")
    assert run.code == 0
    assert "seed 9" in run.out
    assert "seed 0" not in run.out
    cost = bench("measure", file, "--dry-run", "--set", "data.image_size=128")
    assert "128 px" in cost.out
    assert "96 px" not in cost.out


def test_a_wrong_change_is_one_line(bench: Bench, file: Path) -> None:
    said = refused(bench("run", file, "--dry-run", "--set", "phase2.epoch=4"))
    assert "my.toml: --set phase2.epoch = 4: expected a key that exists" in said
    assert "expected KEY=VALUE" in refused(bench("run", file, "--dry-run", "--set", "phase2"))


def test_backbones_by_name_have_nothing_to_change(bench: Bench) -> None:
    said = refused(bench("measure", "MobileNetV2", "--dry-run", "--set", "phase2.epochs=4"))
    assert "--set phase2.epochs=4: expected a suite to change" in said


# ------------------------------------------------------------------------------ names of suites


def test_a_recipe_is_found_by_its_name(bench: Bench) -> None:
    assert "from_layer=100" in bench("run", "catsdogs-2000", "--dry-run").out
    assert "suites/recipes/catsdogs-2000.toml" in bench("list", "suites").out


def test_a_suite_goes_before_a_recipe_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipes = Path("suites/recipes")
    recipes.mkdir(parents=True)
    (recipes / "one.toml").touch()
    (recipes / "two.toml").touch()
    Path("suites/two.toml").touch()
    assert console.suite_path("one") == recipes / "one.toml"
    assert console.suite_path("two") == Path("suites/two.toml")
    assert console.suite_path("none") == Path("suites/none.toml")
    assert console.suite_path("one.toml") == Path("one.toml")
