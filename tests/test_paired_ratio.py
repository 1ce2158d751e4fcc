"""Ratios from rounds measured in turns, and several of them together."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from bench.analysis import speed_stats
from bench.analysis.speed_stats import paired_ratio, ratio, together
from bench.errors import BenchError

Pairs = list[tuple[list[float], list[float]]]


def rounds(
    rng: np.random.Generator,
    count: int,
    *,
    faster: float = 1.0,
    drift: float = 0.1,
    process: float = 0.02,
) -> Pairs:
    """A machine that drifts from round to round, processes that differ, bursts that vary."""
    found = []
    for _ in range(count):
        here = 100 * math.exp(drift * rng.standard_normal())
        sides = [
            here * by * np.exp(process * rng.standard_normal() + 0.05 * rng.standard_normal(25))
            for by in (1.0, faster)
        ]
        found.append((sides[0].tolist(), sides[1].tolist()))
    return found


class TestPairedRatio:
    def test_a_worked_example(self) -> None:
        # Rounds whose ratios are 0.90, 0.95 and 0.92, each burst the same.
        pairs = [([100.0] * 3, [90.0] * 3), ([200.0], [190.0]), ([50.0] * 9, [46.0] * 2)]
        found = paired_ratio(pairs)
        logs = np.log([0.90, 0.95, 0.92])
        expected = reference.ttest_1samp(logs, 0)
        low, high = expected.confidence_interval(0.95)
        assert found.estimate == pytest.approx(reference.gmean([0.90, 0.95, 0.92]))
        assert found.p_value == pytest.approx(expected.pvalue)
        assert (found.interval.low, found.interval.high) == pytest.approx(
            (np.exp(low), np.exp(high))
        )
        assert (found.repeats, found.freedom, found.assumed) == (3, 2, False)

    def test_a_drift_of_the_machine_cancels(self) -> None:
        pairs = rounds(np.random.default_rng(0), 5, faster=0.9)
        apart = ratio([a for a, _ in pairs], [b for _, b in pairs])
        assert paired_ratio(pairs).half_width < 0.5 * apart.half_width

    def test_one_slow_burst_in_ten_hardly_counts(self) -> None:
        calm = [100.0] * 9
        found = paired_ratio([(calm, [*calm, 1.0][:10])] * 3)
        assert found.estimate == pytest.approx(1, abs=1e-9)

    @pytest.mark.parametrize("count", [1, 2])
    def test_few_rounds_take_their_spread_from_the_assumption(self, count: int) -> None:
        found = paired_ratio([([100.0] * 20, [95.0] * 20)] * count)
        reach = reference.norm.ppf(0.975) * speed_stats.ROUND_SPREAD / math.sqrt(count)
        assert found.assumed
        assert found.half_width == pytest.approx(reach)

    def test_nonsense(self) -> None:
        with pytest.raises(BenchError, match=r"A: repeats of \[\] samples"):
            paired_ratio([])
        with pytest.raises(BenchError, match="B: sample 0: expected a number above 0"):
            paired_ratio([([1.0], [0.0])])

    @pytest.mark.parametrize("count", [3, 5, 8])
    def test_coverage_and_false_alarms(self, count: int) -> None:
        rng = np.random.default_rng(count)
        found = [paired_ratio(rounds(rng, count, faster=0.93)) for _ in range(250)]
        assert 0.91 <= np.mean([0.93 in e.interval for e in found]) <= 0.975
        same = [paired_ratio(rounds(rng, count)) for _ in range(250)]
        assert np.mean([e.p_value <= 0.05 for e in same]) <= 0.08

    def test_what_is_detectable_is_detected(self) -> None:
        rng = np.random.default_rng(5)
        typical = float(np.median([paired_ratio(rounds(rng, 5)).detectable for _ in range(150)]))
        slower = [paired_ratio(rounds(rng, 5, faster=1 / typical)) for _ in range(150)]
        assert 0.7 <= np.mean([e.p_value <= 0.05 for e in slower]) <= 0.92


class TestTogether:
    def test_it_is_the_geometric_mean(self) -> None:
        effects = [paired_ratio([([100.0], [100.0 * by])] * 3) for by in (0.8, 0.9, 1.0)]
        assert together(effects).estimate == pytest.approx(reference.gmean([0.8, 0.9, 1.0]))

    def test_it_sees_more_than_each_alone(self) -> None:
        rng = np.random.default_rng(2)
        effects = [paired_ratio(rounds(rng, 5)) for _ in range(6)]
        alone = float(np.median([e.half_width for e in effects]))
        assert together(effects).half_width < 0.6 * alone

    def test_coverage(self) -> None:
        rng = np.random.default_rng(3)
        found = [
            together([paired_ratio(rounds(rng, 5, faster=0.95)) for _ in range(4)])
            for _ in range(150)
        ]
        assert 0.91 <= np.mean([0.95 in e.interval for e in found]) <= 0.985

    def test_one_alone_stays_what_it_is(self) -> None:
        one = paired_ratio(rounds(np.random.default_rng(4), 5))
        found = together([one])
        assert found.interval.low == pytest.approx(one.interval.low)
        assert found.p_value == pytest.approx(one.p_value)

    def test_assumptions_are_passed_on(self) -> None:
        seen = paired_ratio(rounds(np.random.default_rng(6), 5))
        assumed = paired_ratio([([100.0], [101.0])])
        assert together([seen, assumed]).assumed
        assert not together([seen, seen]).assumed
        assert math.isinf(together([assumed, assumed]).freedom)
