"""Results folders taken together: lines, their costs, the names of folders."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.analysis import evidence
from bench.errors import StoreError
from bench.running import store

REAL = Path("results/reference/real_small")
STACKS = Path("results/reference/stacks")


def uncosted() -> evidence.Evidence:
    """Trials whose costs nobody measured apart."""
    (source,) = evidence.read([REAL]).sources
    return evidence.of([replace(source, costs=())])


def test_a_line_for_each_trial_in_the_order_measured() -> None:
    found = evidence.read([REAL])
    assert [line.number for line in found.lines] == list(range(1, 25))
    assert (found.lines[0].backbone, found.lines[0].dataset) == ("MobileNetV2", "cats_vs_dogs")
    assert len(found.rows) == 48
    assert not found.several_sources
    assert not found.several_stacks


def test_accuracy_comes_with_the_interval_that_the_tables_show() -> None:
    line = evidence.read([REAL]).lines[0]
    assert line.accuracy is not None
    assert line.accuracy.value == pytest.approx(0.975)
    assert (line.accuracy.interval.low, line.accuracy.interval.high) == pytest.approx(
        (0.940, 0.990), abs=5e-4
    )


def test_costs_measured_apart_go_before_the_trials_own() -> None:
    lines = evidence.read([STACKS]).lines
    speed = [line.cost("train_speed") for line in lines]
    assert all(s is not None and s.apart and s.low and s.low < s.value for s in speed)
    speed_in_trial = uncosted().lines[0].cost("train_speed")
    assert speed_in_trial is not None
    assert not speed_in_trial.apart
    latency, memory = lines[0].cost("latency"), lines[0].cost("memory")
    assert latency is not None
    assert 1 < latency.value < 100  # ms
    assert memory is not None
    assert memory.value > 2**28  # bytes


def test_what_trains_is_of_the_last_phase() -> None:
    head, blocks = evidence.read([REAL]).lines[:2]
    counts = [line.cost("trainable_parameters") for line in (head, blocks)]
    assert [c.value for c in counts if c] == [2_562, 1_197_442]


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    row = next(r for r in store.read(REAL).rows)
    folders = [tmp_path / "here" / "quick", tmp_path / "there" / "quick"]
    for folder in folders:
        file = folder / row.stack.id / store.TRIALS
        file.parent.mkdir(parents=True)
        file.write_bytes(store.line(row))
    found = evidence.read(folders)
    assert [s.name for s in found.sources] == ["here/quick", "there/quick"]
    assert found.several_sources
    assert len(found.lines) == 2


def test_a_folder_given_twice_is_refused() -> None:
    with pytest.raises(StoreError, match="given twice"):
        evidence.read([REAL, REAL])
    with pytest.raises(StoreError, match="real_small: given twice: it is results/reference"):
        evidence.read([REAL.parent, REAL])


def test_each_folder_is_ranked_for_itself(tmp_path: Path) -> None:
    alone = [line.standing for line in evidence.read([REAL]).lines]
    assert "tie" in alone
    copy = tmp_path / "copy"
    shutil.copytree(REAL, copy)
    assert [line.standing for line in evidence.read([REAL, copy]).lines] == [*alone, *alone]


def test_the_two_kinds_of_throughput_can_be_asked_for() -> None:
    apart, own = evidence.read([STACKS]).lines[0], uncosted().lines[0]
    for line, kind in ((apart, True), (own, False)):
        assert line.cost("train_speed", apart=kind) == line.cost("train_speed")
        assert line.cost("train_speed", apart=not kind) is None
    assert own.cost("parameters", apart=True) is None
    assert apart.cost("latency", apart=False) is None


def test_the_working_directory_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REAL)
    assert [s.name for s in evidence.read([Path()]).sources] == ["real_small"]


def test_no_results_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing is there"):
        evidence.read([tmp_path / "none"])


def test_equal_parts_of_rows_are_held_once() -> None:
    rows = store.read(REAL).rows
    assert len({id(r.stack) for r in rows}) == 1
    assert len({id(r.dataset) for r in rows}) == 3
