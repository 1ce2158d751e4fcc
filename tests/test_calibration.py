"""The study of false alarms and mistakes: its mistakes, and what it makes of rows. No framework."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from conftest import make_spec
from test_compare import cost, right, trial

from bench.records import Augmentation, Freeze
from bench.running import store
from bench.tasks import Row
from benchmarks import calibrated, calibration, faults


class TestFaults:
    def test_each_recipe_changes_in_one_place(self) -> None:
        spec = make_spec()
        changed = {}
        for name, fault in faults.FAULTS.items():
            if fault.change:
                other = fault.change(spec).model_dump()
                changed[name] = {k for k, v in spec.model_dump().items() if other[k] != v}
        assert changed == {
            "batch_norm": {"batch_norm"},
            "preprocessing": {"backbone"},
            "rate_high": {"phase1", "phase2"},
            "rate_low": {"phase1", "phase2"},
            "flipped": {"augmentation"},
        }

    def test_what_they_change_it_to(self) -> None:
        spec = make_spec()
        wrong = {n: f.change(spec) for n, f in faults.FAULTS.items() if f.change}
        assert wrong["batch_norm"].batch_norm == "train"
        assert wrong["preprocessing"].backbone.preprocessing == "raw"
        for name, rate in (("rate_high", 1e-4), ("rate_low", 1e-6)):
            phase = wrong[name].phase2
            assert phase is not None
            assert phase.learning_rate == pytest.approx(rate)
        flip = Augmentation(kind="flip", amount="horizontal_and_vertical")
        assert wrong["flipped"].augmentation == (flip,)

    def test_a_head_alone_has_no_phase_2_to_spoil(self) -> None:
        head = make_spec(Freeze(strategy="head_only")).model_copy(update={"phase2": None})
        change = faults.FAULTS["batch_norm"].change
        assert change is not None
        assert change(head) == head

    def test_a_trial_runs_otherwise_and_its_row_does_not_say_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ran = []
        stub = ModuleType("bench.training.trial")

        def run_trial(spec: object, place: object, report: object) -> object:
            ran.append((spec, place.trials))  # type: ignore[attr-defined]
            return trial(0, right(0.9, 0)), "predictions"

        stub.run_trial = run_trial  # type: ignore[attr-defined]
        package = ModuleType("bench.training")
        package.trial = stub  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "bench.training", package)
        monkeypatch.setitem(sys.modules, "bench.training.trial", stub)
        spec, change = make_spec(), faults.FAULTS["batch_norm"].change
        assert change is not None
        faults._change_trials(change)
        place = ModuleType("place")
        place.trials = (spec,)  # type: ignore[attr-defined]
        row, predictions = stub.run_trial(spec, place, None)
        assert ran == [(change(spec), (change(spec),))]
        assert (row.spec, row.key, predictions) == (spec, spec.key, "predictions")

    def test_a_step_takes_longer_by_the_share_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Bursts:
            def __call__(self, steps: int) -> None:
                clock[0] += steps

        clock = [0.0]
        stub, package = ModuleType("bench.measuring.steps"), ModuleType("bench.measuring")
        stub.Bursts = Bursts  # type: ignore[attr-defined]
        package.steps = stub  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "bench.measuring", package)
        monkeypatch.setitem(sys.modules, "bench.measuring.steps", stub)
        monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

        def sleep(seconds: float) -> None:
            clock[0] += seconds

        monkeypatch.setattr(time, "sleep", sleep)
        faults._slow_down(0.1)
        Bursts()(10)
        assert clock[0] == pytest.approx(11)


def written(folder: Path, rows: Sequence[Row]) -> None:
    with store.writing(folder) as held:
        for row in rows:
            held.append(row, None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small study: one trial, one workload; a mistake that costs five points, and one nothing."""
    monkeypatch.setattr(calibration, "COMPARISONS", 10)
    honest = [trial(s, right(0.9, s)) for s in range(calibration.SEEDS)]
    written(tmp_path / "trials" / calibration.HONEST, honest)
    for name, fault in faults.FAULTS.items():
        accuracy = 0.9 if name == "flipped" else 0.85
        if fault.change:
            rows = [trial(s, right(accuracy, s, 1)) for s in range(calibration.SIDE_SEEDS)]
            written(tmp_path / "trials" / name, rows)
    for name, level in ((calibration.HONEST, 1.0), (calibration.SLOWED, 1 / 1.1)):
        for side, by in (("A", 1.0), ("B", level)):
            # A little apart, so that no two processes draw the same bursts.
            rows = [cost(by + 0.001 * (side == "B"), r) for r in range(calibration.ROUNDS)]
            written(tmp_path / "costs" / name / side, rows)
    return tmp_path


def test_the_study_as_a_whole(folder: Path) -> None:
    found = calibration.report(folder)
    assert found.alarms.comparisons == 10
    assert found.alarms.alarmed <= 2
    assert sum(found.alarms.by_quantity["accuracy"].values()) == 10
    assert found.sides.low <= found.sides.throughput <= found.sides.high
    assert found.sides.throughput == pytest.approx(1, abs=0.02)
    caught = {fault.name: fault for fault in found.faults}
    assert set(caught) == set(faults.FAULTS)
    assert caught["batch_norm"].verdict == "worse"
    assert caught["batch_norm"].worse == ("accuracy",)
    assert caught["batch_norm"].effect == pytest.approx(-0.05, abs=0.02)
    assert caught["batch_norm"].visible
    assert caught["flipped"].verdict != "worse"
    assert "throughput" in caught["sleep"].worse
    by = {power.slower: power.caught for power in found.power}
    assert by[0.02] <= 1  # within the margin
    assert by[0.2] == 10
    file = folder / "calibration.json"
    file.write_text(found.model_dump_json())
    assert calibrated.read(file) == found
    said = calibrated.document(found, "github")
    assert f"{found.alarms.alarmed} of 10 comparisons raised a false alarm" in said
    for fault in faults.FAULTS.values():
        assert f"| {fault.text}" in said
    assert "points (" in said
