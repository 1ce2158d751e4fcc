"""Known answers, properties, and error rates by simulation, of what comparisons rest on."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as reference

from bench.analysis import accuracy_stats, speed_stats
from bench.analysis.accuracy_stats import accuracy, accuracy_difference, mcnemar, tango
from bench.analysis.speed_stats import ratio
from bench.analysis.stats import Effect, Interval, holm, needed, noticed, verdict, wilson
from bench.errors import BenchError

Correct = NDArray[np.bool_]


def correct(*rows: str) -> Correct:
    """``"1101"`` for each seed."""
    return np.array([[c == "1" for c in row] for row in rows])


def table(both: int, gained: int, lost: int, neither: int) -> tuple[Correct, Correct]:
    """One seed each, from how many pictures did what."""
    a = [True] * both + [False] * gained + [True] * lost + [False] * neither
    b = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return np.array([a]), np.array([b])


def effect(low: float, estimate: float, high: float, p: float = 0.001, **more: float) -> Effect:
    whole = {"detectable": 0.1, "no_change": 0, "repeats": 3, "assumed": False} | more
    return Effect(estimate, Interval(low, high, 0.95), p, **whole)  # type: ignore[arg-type]


def trained(
    rng: np.random.Generator, shape: tuple[int, int], share: float, spread: float, times: int
) -> Iterator[tuple[Correct, Correct]]:
    """Two sides with nothing between them: seeds differ by ``spread`` of accuracy, and the
    difficulty of pictures explains 0.6 of what happens to them, as in reference results."""
    middle = reference.norm.ppf(share)
    seed = spread / reference.norm.pdf(middle)
    for _ in range(times):
        easy = math.sqrt(0.6) * rng.standard_normal((1, 1, shape[1]))
        own = math.sqrt(0.4) * rng.standard_normal((2, *shape))
        levels = seed * rng.standard_normal((2, shape[0], 1)) + middle * math.sqrt(1 + seed**2)
        sides = levels + easy + own > 0
        yield sides[0], sides[1]


def processes(
    rng: np.random.Generator, count: int, spread: float, bursts: int = 20
) -> list[list[float]]:
    """Images/s of bursts, each correlated with the one before, in processes that differ."""
    noise = np.empty((count, bursts))
    noise[:, 0] = rng.standard_normal(count)
    for i in range(1, bursts):
        noise[:, i] = 0.6 * noise[:, i - 1] + 0.8 * rng.standard_normal(count)
    levels = spread * rng.standard_normal((count, 1))
    made: list[list[float]] = (100 * np.exp(levels + 0.02 * noise)).tolist()
    return made


class TestWilson:
    # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
    @pytest.mark.parametrize(
        ("right", "n", "low", "high"),
        [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_published(self, right: int, n: int, low: float, high: float) -> None:
        found = wilson(right, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)

    @given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
    def test_agrees_with_scipy(self, n: int, share: float, level: float) -> None:
        right = round(share * n)
        theirs = reference.binomtest(right, n).proportion_ci(level, "wilson")
        found = wilson(right, n, level)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
        assert right / n in found

    def test_all_right_and_all_wrong_are_no_certainty(self) -> None:
        right, wrong = wilson(10, 10), wilson(0, 10)
        assert (right.low, right.high) == pytest.approx((0.7225, 1), abs=5e-5)
        assert (wrong.low, wrong.high) == pytest.approx((0, 0.2775), abs=5e-5)

    @pytest.mark.parametrize(("right", "n"), [(1, 0), (-1, 5), (6, 5), (math.nan, 5)])
    def test_nonsense(self, right: float, n: int) -> None:
        with pytest.raises(BenchError, match=f"of {n}: expected"):
            wilson(right, n)

    @pytest.mark.parametrize("level", [0, 1, 95, math.nan])
    def test_a_level_is_a_share(self, level: float) -> None:
        with pytest.raises(BenchError, match=f"level {level}: expected a share"):
            wilson(1, 2, level)


class TestAccuracy:
    def test_one_seed_is_wilson(self) -> None:
        one = correct("1110111110")
        assert accuracy(one).interval == wilson(8, 10)
        assert accuracy(one).repeats == 1

    @pytest.mark.parametrize("row", ["1111111111", "0000000000"])
    def test_all_right_or_all_wrong_counts_each_picture_once(self, row: str) -> None:
        found = accuracy(correct(row, row, row))
        assert found.interval == wilson(row.count("1"), 10)
        assert found.value == float(row[0])

    def test_equal_seeds_say_no_more_than_one(self) -> None:
        row = "1101111011" * 20
        one, five = accuracy(correct(row)), accuracy(correct(*[row] * 5))
        assert five.value == one.value
        assert five.interval.low == pytest.approx(one.interval.low, abs=1e-3)

    def test_seeds_that_differ_widen_it(self) -> None:
        rng = np.random.default_rng(0)
        still = rng.random((3, 400)) < 0.9
        moved = rng.random((3, 400)) < np.array([[0.82], [0.9], [0.98]])
        widths = [accuracy(c).interval for c in (still, moved)]
        assert widths[1].high - widths[1].low > 2 * (widths[0].high - widths[0].low)

    def test_one_picture(self) -> None:
        assert accuracy(correct("1", "0")).interval == wilson(0.5, 1)

    @pytest.mark.parametrize(("seeds", "spread"), [(2, 0.01), (3, 0.0), (3, 0.02), (5, 0.01)])
    def test_covers_what_it_says(self, seeds: int, spread: float) -> None:
        rng = np.random.default_rng(1)
        sides = trained(rng, (seeds, 300), 0.86, spread, 200)
        held = np.mean([0.86 in accuracy(a).interval for a, _ in sides])
        assert 0.9 <= held <= 0.99  # 0.95, give or take two standard errors and the method's own

    @pytest.mark.parametrize(
        "wrong",
        [np.zeros((0, 5), bool), np.zeros((2, 0), bool), np.zeros(5, bool), np.ones((1, 5))],
    )
    def test_another_shape_or_kind(self, wrong: Correct) -> None:
        with pytest.raises(BenchError, match=r"accuracy: .* expected bool \(seeds, pictures\)"):
            accuracy(wrong)


class TestPairedPictures:
    def test_published_example(self) -> None:
        # Airway hyper-responsiveness before and after: Fagerland, Lydersen and Laake (2014),
        # Statistics in Medicine 33, 2850-2875: difference -0.286, Tango -0.517 to -0.026,
        # exact McNemar p = 0.070.
        found = tango(gained=1, lost=7, n=21)
        assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)
        a, b = table(both=1, gained=1, lost=7, neither=12)
        assert mcnemar(a[0], b[0]) == pytest.approx(18 / 256)
        assert accuracy_difference(a, b).p_value == pytest.approx(18 / 256)

    @given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60), st.floats(0.5, 0.999))
    def test_tango_solves_its_equation(self, b: int, c: int, rest: int, level: float) -> None:
        n = b + c + rest
        found = tango(b, c, n, level)
        assert found.low < (b - c) / n < found.high
        z = reference.norm.ppf((1 + level) / 2)
        for delta in (found.low, found.high):
            if not abs(delta) < 1:
                continue
            # The likelihood's maximum on the line p(gained) - p(lost) = delta, by search.
            p = np.linspace(max(0, -delta), (1 - delta) / 2, 200_001)
            with np.errstate(divide="ignore", invalid="ignore"):
                parts = [(b, p + delta), (c, p), (rest, 1 - delta - 2 * p)]
                fit = sum(k * np.log(np.maximum(q, 1e-300)) for k, q in parts if k)
            lost = p[np.argmax(fit)]
            spread = math.sqrt(n * max(2 * lost + delta * (1 - delta), 0))
            assert abs(b - c - n * delta) == pytest.approx(z * spread, rel=0.01, abs=0.02)

    def test_no_change_at_all_is_no_certainty(self) -> None:
        z = reference.norm.ppf(0.975)
        assert tango(0, 0, 140).high == pytest.approx(z**2 / (140 + z**2))

    def test_extremes_stay_within_one(self) -> None:
        assert tango(50, 0, 50).high == 1
        z = reference.norm.ppf(0.975)
        assert tango(50, 0, 50).low == pytest.approx((50 - z**2) / (50 + z**2))
        assert tango(0, 1, 1).low == -1


class TestAccuracyDifference:
    @pytest.mark.parametrize("seeds", [1, 2, 3, 5])
    def test_identical_sides(self, seeds: int) -> None:
        a = np.random.default_rng(seeds).random((seeds, 200)) < 0.8
        found = accuracy_difference(a, a.copy())
        assert (found.estimate, found.p_value) == (0, 1)
        assert found.interval == Interval(-found.interval.high, found.interval.high, 0.95)
        assert 0 < found.interval.high < 0.02
        assert verdict(found, 0.02) == "same"
        assert needed(found, 0.001) is None  # no number of seeds makes the pictures more

    @settings(max_examples=40)
    @given(st.integers(0, 10_000), st.sampled_from([(1, 1), (2, 2), (3, 3), (1, 4), (3, 2)]))
    def test_swapping_the_sides_negates(self, seed: int, counts: tuple[int, int]) -> None:
        rng = np.random.default_rng(seed)
        a, b = (rng.random((n, 60)) < rng.uniform(0.5, 1) for n in counts)
        one, other = accuracy_difference(a, b), accuracy_difference(b, a)
        assert other.estimate == pytest.approx(-one.estimate)
        assert other.interval.low == pytest.approx(-one.interval.high, abs=1e-6)
        assert other.p_value == pytest.approx(one.p_value, abs=1e-6)
        assert other.detectable == pytest.approx(one.detectable, abs=1e-6)
        assert one.estimate in one.interval

    @pytest.mark.parametrize("seeds", [2, 3, 4])
    def test_p_and_interval_agree(self, seeds: int) -> None:
        rng = np.random.default_rng(4)
        for a, b in trained(rng, (seeds, 100), 0.8, 0.02, 30):
            found = accuracy_difference(a, b)
            if found.estimate == 0:
                continue
            ends = accuracy_difference(a, b, level=1 - found.p_value).interval
            assert min(abs(ends.low), abs(ends.high)) == pytest.approx(0, abs=1e-5)

    def test_more_pictures_and_more_seeds_narrow_it(self) -> None:
        rng = np.random.default_rng(5)
        a, b = (rng.random((5, 1600)) < 0.9 for _ in range(2))
        widths = [
            accuracy_difference(a[:s, :p], b[:s, :p]).half_width
            for s, p in [(3, 100), (3, 400), (3, 1600), (5, 1600)]
        ]
        assert widths == sorted(widths, reverse=True)

    def test_seeds_that_ran_the_same_course_are_compared_with_each_other(self) -> None:
        rng = np.random.default_rng(6)
        a = rng.random((5, 400)) < np.array([[0.7], [0.75], [0.8], [0.85], [0.9]])
        b = a.copy()
        b[:, :8] = False  # the same few pictures, whatever the seed
        alike = accuracy_difference(a, b)
        shuffled = accuracy_difference(a, b[[1, 2, 3, 4, 0]])
        assert alike.half_width < shuffled.half_width / 3
        assert alike.p_value < 0.05 < shuffled.p_value
        assert (alike.freedom, shuffled.freedom) == (4, 8)

    @pytest.mark.parametrize(("counts", "assumed"), [((1, 1), True), ((3, 3), False)])
    def test_says_when_the_spread_over_seeds_is_assumed(
        self, counts: tuple[int, int], assumed: bool
    ) -> None:
        rng = np.random.default_rng(7)
        a, b = (rng.random((n, 100)) < 0.8 for n in counts)
        assert accuracy_difference(a, b).assumed is assumed

    def test_one_seed_is_widened_by_the_assumption(self, monkeypatch: pytest.MonkeyPatch) -> None:
        a, b = table(both=326, gained=10, lost=24, neither=40)
        assumed = accuracy_difference(a, b)
        monkeypatch.setattr(accuracy_stats, "TOGETHER", 0.0)
        found = accuracy_difference(a, b)
        assert found.interval.low == pytest.approx(tango(10, 24, 400).low, abs=1e-9)
        assert assumed.half_width == pytest.approx(found.half_width * math.sqrt(2.2), rel=0.05)
        assert assumed.p_value == found.p_value < 0.05
        assert (verdict(assumed, 0.01), verdict(found, 0.01)) == ("unclear", "worse")

    @pytest.mark.parametrize("counts", [(1, 1), (2, 2), (3, 3), (1, 4)])
    @pytest.mark.parametrize("pictures", [1, 50])
    def test_everything_lost(self, counts: tuple[int, int], pictures: int) -> None:
        a, b = np.ones((counts[0], pictures), bool), np.zeros((counts[1], pictures), bool)
        found = accuracy_difference(a, b)
        assert found.estimate == found.interval.low == -1
        assert verdict(found, 0.01) == ("worse" if pictures > 1 else "unclear")

    def test_changes_that_cancel_picture_by_picture_are_still_changes(self) -> None:
        a, b = correct("1" * 40, "0" * 40, "1" * 40), correct("0" * 40, "1" * 40, "1" * 40)
        found = accuracy_difference(a, b)
        assert (found.estimate, found.p_value) == (0, 1)
        assert found.interval.high > 0.5

    def test_other_pictures(self) -> None:
        with pytest.raises(BenchError, match="A has 3 pictures, B 2"):
            accuracy_difference(correct("111"), correct("11"))

    @pytest.mark.parametrize("share_spread", [(0.97, 0.0), (0.86, 0.01), (0.86, 0.02)])
    @pytest.mark.parametrize("seeds", [2, 3, 5])
    def test_false_alarms(self, seeds: int, share_spread: tuple[float, float]) -> None:
        rng = np.random.default_rng(8)
        found = [accuracy_difference(*s) for s in trained(rng, (seeds, 300), *share_spread, 200)]
        assert np.mean([e.p_value <= 0.05 for e in found]) <= 0.06
        assert np.mean([0 in e.interval for e in found]) >= 0.94
        assert np.mean([verdict(e, 0.01) == "worse" for e in found]) <= 0.04

    def test_one_seed_raises_no_alarm_for_a_seed_s_luck(self) -> None:
        found = [
            accuracy_difference(*sides)
            for sides in trained(np.random.default_rng(9), (1, 300), 0.86, 0.015, 200)
        ]
        assert np.mean([verdict(e, 0.01) == "worse" for e in found]) <= 0.05
        # What the assumption is there for: these models do differ.
        assert np.mean([e.p_value <= 0.05 for e in found]) > 0.06

    def test_what_is_detectable_is_detected(self) -> None:
        rng = np.random.default_rng(10)
        sides = list(trained(rng, (4, 300), 0.86, 0.01, 200))
        typical = float(np.median([accuracy_difference(a, b).detectable for a, b in sides]))
        lost = [
            accuracy_difference(a, b & (rng.random(b.shape) > typical / 0.86)) for a, b in sides
        ]
        assert 0.7 <= np.mean([e.p_value <= 0.05 for e in lost]) <= 0.92


class TestRatio:
    A = [[100.0, 101, 99], [103.0, 102, 104], [98.0, 97, 99]]
    B = [[90.0, 91, 92], [93.0, 92, 94], [95.0, 94, 95]]

    def test_agrees_with_welch_on_log_medians(self) -> None:
        found = ratio(self.A, self.B)
        logs = [[math.log(np.median(run)) for run in side] for side in (self.B, self.A)]
        theirs = reference.ttest_ind(*logs, equal_var=False)
        ends = theirs.confidence_interval(0.95)
        assert found.p_value == pytest.approx(theirs.pvalue)
        assert found.interval.low == pytest.approx(math.exp(ends.low))
        assert found.interval.high == pytest.approx(math.exp(ends.high))
        assert found.estimate == pytest.approx((91 * 93 * 95 / 100 / 103 / 98) ** (1 / 3))
        assert not found.assumed

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_swapping_inverts_and_units_do_not_matter(self, count: int) -> None:
        one, other = ratio(self.A[:count], self.B), ratio(self.B, self.A[:count])
        assert other.estimate == pytest.approx(1 / one.estimate)
        assert other.interval.low == pytest.approx(1 / one.interval.high)
        assert other.p_value == pytest.approx(one.p_value)
        assert other.detectable == pytest.approx(one.detectable)
        scaled = ratio(
            [[7e3 * s for s in run] for run in self.A[:count]],
            [[7e3 * s for s in run] for run in self.B],
        )
        assert scaled.interval.low == pytest.approx(one.interval.low)
        assert scaled.p_value == pytest.approx(one.p_value)

    @pytest.mark.parametrize("count", [1, 2, 3, 5])
    def test_identical_sides(self, count: int) -> None:
        runs = processes(np.random.default_rng(0), count, 0.01)
        found = ratio(runs, runs)
        assert (found.estimate, found.p_value) == (1, 1)
        assert found.interval.low < 1 < found.interval.high

    def test_no_variance_at_all(self) -> None:
        still = [[100.0] * 5] * 3
        assert ratio(still, still).interval == Interval(1, 1, 0.95)
        assert verdict(ratio(still, still), 0.01) == "same"
        assert verdict(ratio(still, [[90.0] * 5] * 3), 0.01) == "worse"

    def test_one_process_takes_the_spread_between_processes_from_the_assumption(self) -> None:
        found = ratio([[100.0] * 50], [[95.0] * 50])
        assert found.assumed
        reach = reference.norm.ppf(0.975) * math.sqrt(2) * speed_stats.PROCESS_SPREAD
        assert found.half_width == pytest.approx(reach)
        assert found.p_value > 0.05

    def test_the_assumption_is_a_floor(self) -> None:
        near = ratio([[100.0] * 5, [100.1] * 5], [[100.0] * 5] * 2)
        far = ratio([[50.0] * 5, [200.0] * 5], [[100.0] * 5] * 2)
        assert far.half_width > 3 * near.half_width

    def test_bursts_that_hang_together_say_less(self) -> None:
        rng = np.random.default_rng(1)
        alone = 100 * np.exp(0.2 * rng.standard_normal(400))
        together = np.sort(alone)
        sides = [ratio([s.tolist()], [s.tolist()]) for s in (alone, together)]
        assert sides[1].half_width > 1.1 * sides[0].half_width

    @pytest.mark.parametrize(
        ("a", "message"),
        [
            ([], r"A: repeats of \[\] samples"),
            ([[1.0], []], r"A: repeats of \[1, 0\] samples"),
            ([[1.0, 0.0]], "A: sample 0: expected a number above 0"),
            ([[math.nan]], "A: sample nan"),
            ([[math.inf]], "A: sample inf"),
        ],
    )
    def test_nonsense(self, a: list[list[float]], message: str) -> None:
        with pytest.raises(BenchError, match=message):
            ratio(a, [[1.0]])

    @pytest.mark.parametrize(
        ("count", "spread"), [(1, 0.02), (2, 0.025), (3, 0.01), (3, 0.04), (5, 0.02), (8, 0.02)]
    )
    def test_false_alarms(self, count: int, spread: float) -> None:
        rng = np.random.default_rng(12)
        found = [
            ratio(processes(rng, count, spread), processes(rng, count, spread)) for _ in range(400)
        ]
        assert np.mean([e.p_value <= 0.05 for e in found]) <= 0.065
        assert np.mean([1 in e.interval for e in found]) >= 0.935
        assert np.mean([verdict(e, 0.03) == "worse" for e in found]) <= 0.045

    def test_what_is_detectable_is_detected(self) -> None:
        rng = np.random.default_rng(4)
        pairs = [(processes(rng, 4, 0.02), processes(rng, 4, 0.02)) for _ in range(200)]
        typical = float(np.median([ratio(a, b).detectable for a, b in pairs]))
        slower = [ratio(a, [[s / typical for s in run] for run in b]) for a, b in pairs]
        assert 0.7 <= np.mean([e.p_value <= 0.05 for e in slower]) <= 0.92


class TestHolm:
    def test_worked_example(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))

    def test_none_and_one(self) -> None:
        assert holm([]) == ()
        assert holm([0.2]) == (0.2,)

    def test_what_was_not_tested_does_not_count(self) -> None:
        adjusted = holm([math.nan, 0.01, math.nan, 0.03])
        assert adjusted[1::2] == pytest.approx((0.02, 0.03))
        assert math.isnan(adjusted[0])
        assert math.isnan(adjusted[2])
        assert all(math.isnan(p) for p in holm([math.nan]))

    @given(st.lists(st.floats(0, 1), max_size=12))
    def test_never_smaller_never_above_one_order_kept(self, values: list[float]) -> None:
        adjusted = holm(values)
        assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
        for i in np.argsort(values)[:-1]:
            assert all(
                adjusted[i] <= adjusted[j] for j in range(len(values)) if values[i] < values[j]
            )

    @pytest.mark.parametrize("wrong", [-0.1, 1.5])
    def test_no_probability(self, wrong: float) -> None:
        with pytest.raises(BenchError, match=f"p-value {wrong:g}: expected"):
            holm([0.5, wrong])


class TestVerdict:
    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (effect(-0.005, 0.0, 0.005, p=1.0), "same"),
            (effect(-0.009, -0.005, -0.001), "same"),  # a real change, too small to matter
            (effect(-0.04, -0.03, -0.02), "worse"),
            (effect(-0.05, -0.03, -0.005), "worse"),
            (effect(0.005, 0.03, 0.05), "better"),
            (effect(-0.05, -0.03, 0.001, p=0.06), "unclear"),
            (effect(-0.03, -0.008, -0.001), "unclear"),
            (effect(-0.05, -0.03, -0.005, p=0.2), "unclear"),  # once adjusted for being one of many
            (effect(-0.04, -0.03, -0.02, p=math.nan), "unclear"),
            (effect(-0.005, 0.0, 0.005, p=math.nan), "unclear"),
        ],
    )
    def test_against_a_margin_of_a_point(self, found: Effect, expected: str) -> None:
        assert verdict(found, 0.01) == expected

    def test_lower_can_be_better(self) -> None:
        slower = effect(1.1, 1.2, 1.3, no_change=1)
        assert verdict(slower, 0.05, higher_is_better=False) == "worse"
        assert verdict(slower, 0.05) == "better"

    @pytest.mark.parametrize(("low", "expected"), [(1 / 1.049, "same"), (1 / 1.06, "unclear")])
    def test_the_margin_of_a_ratio_is_the_same_both_ways(self, low: float, expected: str) -> None:
        assert verdict(effect(low, 1.0, 1.049, p=1.0, no_change=1), 0.05) == expected

    def test_a_stricter_level_asks_for_a_smaller_p(self) -> None:
        found = effect(-0.05, -0.03, -0.005, p=0.02)
        assert verdict(found, 0.01) == "worse"
        assert verdict(found, 0.01, level=0.99) == "unclear"

    @pytest.mark.parametrize("margin", [0, -0.1, math.nan, math.inf])
    def test_a_margin_is_above_nothing(self, margin: float) -> None:
        with pytest.raises(BenchError, match=f"margin {margin}: expected a number above 0"):
            verdict(effect(-1, 0, 1), margin)


class TestNeeded:
    def test_enough_already(self) -> None:
        assert needed(effect(-0.005, 0, 0.005), 0.01) == 3

    def test_a_quarter_of_the_width_takes_sixteen_times_as_many(self) -> None:
        assert needed(effect(-0.04, 0, 0.04), 0.01) == 48

    def test_few_degrees_of_freedom_gain_more(self) -> None:
        few = replace(effect(-0.04, 0, 0.04), freedom=2.0)
        assert 3 < (needed(few, 0.01) or 0) < 48

    def test_pictures_are_a_bound(self) -> None:
        found = replace(effect(-0.04, 0, 0.04), fixed=0.02)
        assert needed(found, 0.019) is None
        assert (needed(found, 0.03) or 0) > (needed(effect(-0.04, 0, 0.04), 0.03) or 0)

    def test_beyond_all_reason(self) -> None:
        assert needed(effect(-0.9, 0, 0.9), 1e-4) is None

    def test_is_about_right(self) -> None:
        rng = np.random.default_rng(0)
        small = [ratio(processes(rng, 4, 0.03), processes(rng, 4, 0.03)) for _ in range(40)]
        count = int(np.median([needed(e, 0.025) or 0 for e in small]))
        large = [ratio(processes(rng, count, 0.03), processes(rng, count, 0.03)) for _ in range(40)]
        assert np.median([e.half_width for e in large]) == pytest.approx(0.025, rel=0.25)


@pytest.mark.parametrize(("freedom", "expected"), [(math.inf, 1.959964 + 0.841621), (1e9, 2.8016)])
def test_noticed_is_the_textbook_s_for_many_repeats(freedom: float, expected: float) -> None:
    assert noticed(0.95, freedom) == pytest.approx(expected, abs=1e-4)
