"""The study of stated probabilities: what it counts, and what it makes of rows. No framework."""

from pathlib import Path

import numpy as np
import pytest
from conftest import make_result, make_spec

from bench.errors import BenchError
from bench.marks import packed
from bench.records import DatasetUsed, Freeze, PhaseResult, TrialResult
from bench.running import store
from benchmarks import advice, choice_calibrated, choice_calibration, swept


def row(strategy: str, seed: int, rate: float, val: int = 40, test: int = 60) -> TrialResult:
    rng = np.random.default_rng([seed, round(100 * rate)])
    spec = make_spec(seed=seed)
    freeze = Freeze(strategy=strategy, amount=None if strategy == "head_only" else 0.2)
    spec = spec.model_copy(update={"freeze": freeze})
    phase = PhaseResult(
        epochs=(),
        trainable_parameters=1,
        learning_rate=1e-3,
        val_accuracy=rate,
        val_loss=1,
        images_per_second=None,
        seconds=1,
        val_correct=packed(rng.random(val) < rate),
    )
    return make_result(spec).model_copy(
        update={
            "key": spec.key,
            "phase1": phase,
            "phase2": None,
            "test_correct": packed(rng.random(test) < rate),
            "dataset": DatasetUsed(
                fingerprint="f", class_names=("a", "b"), train=120, val=val, test=test
            ),
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with store.writing(tmp_path / "sweep") as held:
        for seed in range(5):
            held.append(row("head_only", seed, 0.6), None)
            held.append(row("top_fraction", seed, 0.9), None)
    return tmp_path / "sweep"


class TestReliability:
    def test_bins_and_scores(self) -> None:
        stated, came = np.array([0.1, 0.1, 0.9, 0.7, 1.0]), np.array([0, 1, 1, 0, 1.0])
        found = choice_calibration.reliability(stated, came, np.full(5, 0.5))
        assert [(round(b.stated, 2), b.observed, b.count) for b in found.bins] == [
            (0.1, 0.5, 2),
            (0.7, 0.0, 1),
            (0.9, 1.0, 1),
            (1.0, 1.0, 1),
        ]
        assert found.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0.49) / 5)
        assert found.uninformed == pytest.approx(0.25)
        assert found.error == pytest.approx((2 * 0.4 + 0.7 + 0.1 + 0) / 5)
        assert found.bins[0].low < 0.5 < found.bins[0].high

    def test_noise_is_that_of_sampling(self) -> None:
        rng = np.random.default_rng(0)
        answers = rng.random((2, 3, 4000)) < 0.8
        noise = choice_calibration.noise_of(answers)
        assert np.sqrt(noise.diagonal()) == pytest.approx([np.sqrt(0.16 / 12_000)] * 2, rel=0.5)
        assert abs(noise[0, 1]) < noise[0, 0] / 4


class TestWorlds:
    def test_a_clear_case_is_stated_and_comes_true(self, folder: Path) -> None:
        found = choice_calibration.report([folder], 2)
        assert {c.way for c in found.checked} == {"resampled", "apart"}
        assert {c.on for c in found.checked} >= {"held out"}
        known = [c for c in found.checked if c.told == "3 seeds"]
        assert len(known) == 2
        assert all(c.pick.stated > 0.9 and c.pick.observed == 1 for c in known)
        assert "the pick is best" in choice_calibrated.document(found)

    def test_too_few_seeds_are_no_sweep(self, tmp_path: Path) -> None:
        with store.writing(tmp_path / "few") as held:
            held.append(row("head_only", 0, 0.6), None)
        with pytest.raises(BenchError, match="no sweep"):
            choice_calibration.report([tmp_path / "few"], 1)


class TestSwept:
    def test_seeds_are_lines_and_traps_are_left_out(self, folder: Path) -> None:
        (sweep,) = swept.read([folder])
        assert [c.strategy for c in sweep.candidates] == ["head_only", "top_fraction=0.2"]
        assert sweep.candidates[0].test.shape == (5, 60)
        assert sweep.candidates[0].val is not None
        assert sweep.candidates[0].val.shape == (5, 40)


class TestAdvice:
    def test_what_following_it_loses(self, folder: Path) -> None:
        found = advice.report([folder, folder / "nowhere"])
        (line,) = found.unfrozen
        assert (line.advised, line.best) == ("head_only", "top_fraction=0.2")
        assert line.lost == pytest.approx(0.3, abs=0.1)
        assert line.low is not None
        assert line.low > 0
        assert not found.ranked
        assert any("nowhere: not there" in m for m in found.missing)
        assert "told to be worse than the best in 1" in advice.document(found)

    def test_rankings(self) -> None:
        reached = {"A": 0.8, "B": 0.9, "C": 0.85}
        same = advice.ranked("d", "r", {"A": 1, "B": 3, "C": 2}, reached)
        assert (same.tau, same.lost, same.first) == (1.0, 0.0, "B")
        other = advice.ranked("d", "r", {"A": 3, "B": 1, "C": 2}, reached)
        assert (other.tau, other.first, other.best) == (-1.0, "A", "B")
        assert other.lost == pytest.approx(0.1)
        assert advice.ranked("d", "r", {"A": 1, "B": 1, "C": 1}, reached).tau is None

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match="expected finished trials"):
            advice.report([tmp_path / "nothing"])
