"""``bench claims``, as a user meets it."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Bench, make_dataset, make_result, refused

from bench import marks
from bench.cli.claims import ClaimForm
from bench.records import TrialResult, TrialSpec
from bench.running import store
from bench.suite import load

CLAIMED = """\
description = "a recipe"

[phase1]
epochs = 2
learning_rate = 1e-3

[phase2]
epochs = 2
learning_rate = 1e-5

[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only", { top_blocks = 2 }]
seeds = [0, 1]

[[claims]]
text = "95% from the head alone"
quantity = "accuracy"
of = { freeze = "head_only" }
low = 0.94
high = 0.96
source = "a tutorial"

[[claims]]
text = "fine-tuning adds 10 points"
quantity = "accuracy_gain"
of = { freeze = { top_blocks = 2 } }
over = { freeze = "head_only" }
low = 0.1
high = 0.12
source = "a tutorial"
"""


def row(spec: TrialSpec) -> TrialResult:
    """1,900 of 2,000 right, each time."""
    correct = marks.packed(np.arange(2000) < 1900)
    return make_result(spec, dataset=make_dataset(test=2000), test_correct=correct)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(CLAIMED)
    return path


@pytest.fixture
def results(tmp_path: Path, file: Path) -> Path:
    """A folder of results with the suite kept, as `bench run` leaves it."""
    folder = tmp_path / "results" / "mine"
    with store.writing(folder) as held:
        held.keep_suite(file.read_bytes())
        for spec in load(file).trials:
            held.append(row(spec), None)
    return folder


def test_claims_of_the_suite_kept_with_the_results(bench: Bench, results: Path) -> None:
    answer = bench("claims", results)
    assert answer.code == 0
    assert answer.err == ""
    lines = answer.out.splitlines()
    (head,) = [line for line in lines if "95% from the head alone" in line]
    (gain,) = [line for line in lines if "fine-tuning adds 10 points" in line]
    assert "holds" in head
    assert "below" in gain
    assert "+0.0 points" in gain


@pytest.mark.parametrize("form", list(ClaimForm))
def test_every_form(bench: Bench, results: Path, form: ClaimForm) -> None:
    answer = bench("claims", results, "--format", form.value)
    assert answer.code == 0
    assert "fine-tuning adds 10 points" in answer.out
    if form is ClaimForm.JSON:
        assert [one["verdict"] for one in json.loads(answer.out)] == ["holds", "below"]


def test_several_results_stand_in_one_table(bench: Bench, results: Path, tmp_path: Path) -> None:
    other = tmp_path / "results" / "other"
    results.rename(other)
    with store.writing(results) as held:
        held.keep_suite((other / store.SUITE).read_bytes())
        held.append(row(load(other / store.SUITE).trials[0]), None)
    found = json.loads(bench("claims", results, other, "--format", "json").out)
    assert [(one["results"], one["verdict"]) for one in found] == [
        ("mine", "holds"), ("mine", "not measured"), ("other", "holds"), ("other", "below"),
    ]  # fmt: skip
    missing = "bench run mine would measure it"
    assert missing in found[1]["reasons"][0]
    assert "results" in bench("claims", results, other).out.splitlines()[0]


def test_results_without_a_suite_need_one(bench: Bench, results: Path, file: Path) -> None:
    (results / store.SUITE).unlink()
    said = refused(bench("claims", results))
    assert "expected suite.toml, which bench run keeps" in said
    assert "--suite FILE" in said
    assert bench("claims", results, "--suite", file).code == 0


def test_a_suite_without_claims_has_none_to_judge(bench: Bench, results: Path) -> None:
    (results / store.SUITE).write_text(CLAIMED[: CLAIMED.index("[[claims]]")])
    assert "expected [[claims]], but the suite has none" in refused(bench("claims", results))


def test_a_recipe_by_its_name(bench: Bench, results: Path) -> None:
    answer = bench("claims", results, "--suite", "catsdogs-2000")
    assert answer.code == 0
    assert "another dataset: claimed for cats_vs_dogs" in answer.out
    assert "bench run catsdogs-2000 would measure it" in answer.out


def test_a_store_of_nothing_is_said(bench: Bench, tmp_path: Path) -> None:
    assert "nothing is there" in refused(bench("claims", tmp_path / "none"))


def test_a_kept_suite_that_is_wrong_is_named(bench: Bench, results: Path) -> None:
    text = CLAIMED.replace("low = 0.94", "low = 0.97")
    (results / store.SUITE).write_text(text)
    assert "suite.toml: claims[0].low = 0.97: expected at most" in refused(bench("claims", results))


def test_run_keeps_the_suite_as_its_file_is(
    bench: Bench, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cli.run._measure", lambda *_: True)
    folder = tmp_path / "out"
    file.write_text(CLAIMED.replace("[phase2]", "[phase2] # as it is"))
    words = ("--set", "phase2.epochs=1", "--results", folder)
    monkeypatch.setattr("bench.cli.run.tables_of", lambda *_: None)
    assert bench("run", file, *words).code == 0
    assert (folder / "mine" / store.SUITE).read_bytes() == file.read_bytes()
    bench("run", file, "--dry-run", "--results", tmp_path / "dry")
    assert not (tmp_path / "dry").exists()
