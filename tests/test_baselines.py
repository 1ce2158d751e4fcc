"""Baselines: what is saved is what is compared with, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import (
    STACK,
    Bench,
    make_cost,
    make_dataset,
    make_numerics,
    make_result,
    make_spec,
    refused,
)

from bench import marks
from bench.errors import BenchError, StoreError
from bench.records import Stack, TrialResult
from bench.running import baselines, store

OTHER = STACK.model_copy(update={"backend_version": "2.22.0"})
TEST = np.arange(179) % 10 != 0
"""Which test pictures are right."""


def trial(seed: int, stack: Stack = STACK, right: Any = TEST, **changes: Any) -> TrialResult:
    fields = {
        "stack": stack,
        "dataset": make_dataset(),
        "test_accuracy": float(np.mean(right)),
        "test_correct": marks.packed(right),
    }
    return make_result(make_spec(seed=seed), **(fields | changes))


def fill(folder: Path, *rows: Any, npz: bool = True) -> Path:
    """A results folder of these rows, predictions beside the trials."""
    with store.writing(folder) as held, held.scratch() as scratch:
        for row in rows:
            source = None
            if npz and isinstance(row, TrialResult):
                source = scratch / "x.npz"
                np.savez(source, probabilities=np.eye(179), labels=np.arange(179))
            held.append(row, source)
    return folder


def suite(folder: Path, stack: Stack = STACK, right: Any = TEST) -> Path:
    """Five seeds, two runs of a cost and a fingerprint."""
    seeds = (trial(seed, stack, right) for seed in range(5))
    cost = make_cost(stack=stack)
    return fill(folder, *seeds, cost, cost, make_numerics(stack=stack))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "results" / baselines.FOLDER


def files(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


# --------------------------------------------------------------------------------------- saving


def test_rows_are_copied_without_what_they_say_themselves(tmp_path: Path, place: Path) -> None:
    source = suite(tmp_path / "results" / "small")
    saved = baselines.save(place, "v1", source, STACK.id)
    names = ["costs.jsonl", "numerics.jsonl", "trials.jsonl"]
    assert files(place / "v1") == ["baseline.json", *(f"{STACK.id}/{name}" for name in names)]
    before, after = store.read(source), store.read(place / "v1")
    assert after.rows == tuple(r.model_copy(update={"predictions": None}) for r in before.rows)
    assert (after.costs, after.numerics) == (before.costs, before.numerics)
    assert saved == baselines.load(place, "v1")
    assert (saved.trials, saved.measurements, saved.fingerprints) == (5, 2, 1)
    assert (saved.name, saved.suite, saved.stack) == ("v1", "small", STACK.id)
    assert str(tmp_path) not in (place / "v1" / baselines.FILE).read_text()


def test_what_only_predictions_know_is_said_by_the_row(tmp_path: Path, place: Path) -> None:
    source = fill(tmp_path / "small", trial(0, test_correct=None))
    baselines.save(place, "v1", source, STACK.id)
    (row,) = store.read(place / "v1").rows
    assert row.predictions is None
    assert row.test_correct is not None
    assert marks.unpacked(row.test_correct, 179).all()
    assert not list((place / "v1").rglob("*.npz"))


def test_predictions_that_are_gone_are_not_promised(tmp_path: Path, place: Path) -> None:
    source = fill(tmp_path / "small", trial(0, test_correct=None))
    next(source.rglob("*.npz")).unlink()
    baselines.save(place, "v1", source, STACK.id)
    assert store.read(place / "v1").rows[0].predictions is None


def test_only_one_stack_of_several_is_kept(tmp_path: Path, place: Path) -> None:
    source = fill(tmp_path / "small", trial(0), trial(0, OTHER), trial(1, OTHER), trial(1, OTHER))
    saved = baselines.save(place, "v1", source, OTHER.id)
    assert {row.stack for row in store.read(place / "v1").rows} == {OTHER}
    assert saved.trials == 2


def test_nothing_of_that_stack_is_no_baseline(tmp_path: Path, place: Path) -> None:
    with pytest.raises(StoreError, match=f"no results of {OTHER.id}"):
        baselines.save(place, "v1", suite(tmp_path / "small"), OTHER.id)
    assert baselines.every(place) == {}
    assert files(place) in ([], [baselines.LOCK])


@pytest.mark.parametrize(
    ("below", "said"), [("small", "small"), ("stacks/small/old", "small"), ("small/..", "results")]
)
def test_the_suite_is_told_by_the_folder(
    tmp_path: Path, place: Path, below: str, said: str
) -> None:
    root = tmp_path / "results"
    (root / "small").mkdir(parents=True)
    source = fill(root / below, trial(0))
    if "stacks" in below:
        (source / "stack.json").write_text("{}")
    if ".." in below:
        place = tmp_path / "elsewhere"
    assert baselines.save(place, "v1", source, STACK.id).suite == said


def test_a_name_is_taken_until_it_may_be_replaced(tmp_path: Path, place: Path) -> None:
    baselines.save(place, "v1", suite(tmp_path / "a"), STACK.id)
    second = suite(tmp_path / "b", OTHER)
    with pytest.raises(BenchError, match=r"v1: expected a new name, or --replace"):
        baselines.save(place, "v1", second, OTHER.id)
    assert baselines.load(place, "v1").stack == STACK.id
    baselines.save(place, "v1", second, OTHER.id, replace=True)
    assert {row.stack for row in store.read(place / "v1").rows} == {OTHER}
    assert list(baselines.every(place)) == ["v1"]
    assert sorted(f.name for f in place.iterdir() if f.is_dir()) == ["v1"]


def test_a_failed_replacement_leaves_the_old_one(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = suite(tmp_path / "a")
    baselines.save(place, "v1", source, STACK.id)

    def fails(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(baselines, "_put", fails)
        with pytest.raises(StoreError, match=r"v1: cannot be written: no space left"):
            baselines.save(place, "v1", source, STACK.id, replace=True)
    assert baselines.load(place, "v1").trials == 5
    assert len(store.read(place / "v1").rows) == 5


@pytest.mark.parametrize("finished", [True, False])
def test_what_a_kill_left_is_undone(tmp_path: Path, place: Path, finished: bool) -> None:
    source = suite(tmp_path / "a")
    baselines.save(place, "v1", source, STACK.id)
    (place / "v1").rename(place / ".old-v1")
    (place / ".new-v2").mkdir()
    if finished:
        fill(place / "v1", trial(0))
        (place / "v1" / baselines.FILE).write_text("{}")
    baselines.save(place, "v3", source, STACK.id)
    assert sorted(f.name for f in place.iterdir() if f.is_dir()) == ["v1", "v3"]
    assert len(store.read(place / "v1").rows) == (1 if finished else 5)


BAD = ["", ".", "..", "../x", "a/b", "a b", ".hidden", "-x", "é", "a" * 101, "x.lock", "x.", "a\n"]


@pytest.mark.parametrize("name", BAD)
def test_bad_names(tmp_path: Path, place: Path, name: str) -> None:
    source = suite(tmp_path / "a")
    for use in (
        lambda: baselines.save(place, name, source, STACK.id),
        lambda: baselines.load(place, name),
    ):
        with pytest.raises(BenchError, match="expected up to 100 letters, digits"):
            use()
    assert not place.exists()


def test_results_that_hold_the_baselines_are_refused(tmp_path: Path, place: Path) -> None:
    suite(tmp_path / "results" / "small")
    with pytest.raises(BenchError, match="baselines lie in it"):
        baselines.save(place, "v1", tmp_path / "results", STACK.id)


# -------------------------------------------------------------------------------------- loading


def test_an_unknown_name_says_what_there_is(tmp_path: Path, place: Path) -> None:
    with pytest.raises(BenchError, match="holds none"):
        baselines.load(place, "v1")
    baselines.save(place, "v10", suite(tmp_path / "a"), STACK.id)
    with pytest.raises(BenchError, match=r"unknown baseline 'v1': did you mean v10\?"):
        baselines.load(place, "v1")


@pytest.mark.parametrize("change", ["newer", "damaged"])
def test_a_baseline_that_cannot_be_read(tmp_path: Path, place: Path, change: str) -> None:
    baselines.save(place, "v1", suite(tmp_path / "a"), STACK.id)
    file = place / "v1" / baselines.FILE
    content = json.loads(file.read_text()) | {"format": 2}
    file.write_text(json.dumps(content) if change == "newer" else "{")
    with pytest.raises(StoreError, match=r"baseline\.json: cannot be read"):
        baselines.load(place, "v1")
    (reason,) = baselines.every(place).values()
    assert isinstance(reason, str)


# --------------------------------------------------------------------------------- command line


def test_save_list_check(tmp_path: Path, bench: Bench) -> None:
    source, where = suite(tmp_path / "small"), ("--results", tmp_path)
    assert "no baselines; bench baseline save" in bench("baseline", "list", *where).out
    saved = bench("baseline", "save", "v1", source, *where)
    assert saved.code == 0
    assert f"{STACK.id}: 5 trials, 2 measurements, 1 fingerprints" in saved.out
    _, _, line = bench("baseline", "list", *where).out.splitlines()
    assert line.split()[:6] == ["v1", STACK.id, "small", "5", "2", "1"]
    checked = bench("baseline", "check", "v1", source, *where, "--strict")
    assert checked.code in (0, 3)  # two runs of a cost may settle nothing
    assert "A is baseline v1: " in checked.out
    found = bench("baseline", "check", "v1", source, *where, "--format", "json")
    by = {f["quantity"]: f["verdict"] for f in json.loads(found.out)["findings"]}
    assert {by["accuracy"], by["numerics"], by["parameters"], by["guards"]} == {"same"}


def test_a_regression_since_the_baseline_is_exit_code_1(tmp_path: Path, bench: Bench) -> None:
    where = ("--results", tmp_path)
    bench("baseline", "save", "v1", suite(tmp_path / "a"), *where)
    worse = suite(tmp_path / "b", OTHER, TEST & (np.arange(179) % 3 != 1))
    report = tmp_path / "made" / "report.xml"
    answer = bench("baseline", "check", "v1", worse, *where, "--format", "junit", "-o", report)
    assert answer.code == 1
    assert '<failure message="worse: 89.9% -&gt; ' in report.read_text()
    margins = tmp_path / "margins.toml"
    margins.write_text("[margins]\naccuracy = 0.5\n")
    mild = bench("baseline", "check", "v1", worse, *where, "--margins", margins, "--all")
    assert mild.code == 0
    assert "50 points" in mild.out


def test_of_two_stacks_one_must_be_chosen(tmp_path: Path, bench: Bench) -> None:
    both = fill(tmp_path / "small", trial(0), trial(0, OTHER))
    where = ("--results", tmp_path)
    assert "choose by --stack TEXT" in refused(bench("baseline", "save", "v1", both, *where))
    assert bench("baseline", "save", "v1", both, "--stack", "2.21", *where).code == 0
    assert "choose by --stack TEXT" in refused(bench("baseline", "check", "v1", both, *where))
    checked = bench("baseline", "check", "v1", both, "--stack", "2.22", *where)
    assert f": {OTHER.id} (1 trial" in checked.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("save", "a/b", "RESULTS"), "baseline name 'a/b': expected"),
        (("save", "v1", "nowhere"), "nowhere: expected a results folder"),
        (("save", "v0", "RESULTS"), "--replace"),
        (("check", "v1", "RESULTS"), "unknown baseline 'v1'"),
        (("check", "v0", "nowhere"), "nowhere: expected a results folder"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path, bench: Bench, words: tuple[str, ...], said: str
) -> None:
    source = suite(tmp_path / "small")
    where = ("--results", tmp_path)
    bench("baseline", "save", "v0", source, *where)
    given = [source if word == "RESULTS" else word for word in words]
    assert said in refused(bench("baseline", *given, *where))


def test_a_damaged_baseline_is_listed_with_its_reason(tmp_path: Path, bench: Bench) -> None:
    where = ("--results", tmp_path)
    bench("baseline", "save", "v1", suite(tmp_path / "small"), *where)
    (tmp_path / baselines.FOLDER / "v1" / baselines.FILE).write_text("{")
    answer = bench("baseline", "list", *where)
    assert answer.code == 0
    assert answer.out.splitlines()[-1].split() == ["v1", *"––––––"]
    assert "baseline.json: cannot be read" in answer.err
