"""What is believed of candidates: known answers, simulated ones, and whether they come true."""

import tracemalloc

import numpy as np
import pytest
from scipy import special

from bench.analysis.belief import Draws, Seen, believe, best, close, interval
from bench.errors import BenchError
from bench.marks import Correct

HEAD, TOP, HALF = "head_only", "top_fraction=0.2", "top_fraction=0.5"


def answers(
    rng: np.random.Generator,
    rate: float,
    pictures: int = 400,
    seeds: int = 1,
    luck: float = 0.0,
    hard: np.ndarray | None = None,
) -> Correct:
    """Right with this probability, on pictures that are hard or easy for everyone.

    ``luck``: standard deviation over seeds of the right share's probit.
    """
    hard = rng.normal(size=pictures) if hard is None else hard
    middle = special.ndtri(rate) * np.sqrt(1 + 1.0 + luck**2)
    moved = luck * rng.normal(size=(seeds, 1))
    return np.asarray(middle + moved + hard + rng.normal(size=(seeds, len(hard))) > 0)


def exactly(right: int, pictures: int = 400, seeds: int = 1) -> Correct:
    """The first so many right, with every seed."""
    return np.tile(np.arange(pictures) < right, (seeds, 1))


def expected(draws: Draws) -> list[float]:
    return [mean for mean, _, _ in interval(draws)]


def width(draws: Draws, i: int) -> float:
    _, low, high = interval(draws)[i]
    return high - low


class TestCounting:
    def test_ties_share(self) -> None:
        draws = np.array([[0.9, 0.9, 0.1], [0.5, 0.6, 0.6], [0.8, 0.2, 0.3], [0.7, 0.7, 0.7]])
        assert best(draws) == pytest.approx(
            [(0.5 + 0 + 1 + 1 / 3) / 4, (0.5 + 0.5 + 1 / 3) / 4, (0.5 + 1 / 3) / 4]
        )
        assert best(draws).sum() == pytest.approx(1)

    def test_close_counts_who_is_within_the_margin(self) -> None:
        draws = np.array([[0.90, 0.89, 0.70], [0.80, 0.85, 0.85]])
        assert close(draws, 0.02).tolist() == [0.5, 1, 0.5]
        assert close(draws, 0.0).tolist() == [0.5, 0.5, 0.5]

    def test_interval_is_mean_and_quantiles(self) -> None:
        draws = np.linspace(0, 1, 1001)[:, None] * [1, 0.5]
        (mean, low, high), (_, _, other) = interval(draws, 0.9)
        assert (mean, low, high, other) == pytest.approx((0.5, 0.05, 0.95, 0.475))

    def test_a_level_that_is_none(self) -> None:
        with pytest.raises(BenchError, match="level 95"):
            interval(np.zeros((2, 2)), 95)


class TestKnownAnswers:
    def test_one_far_better(self) -> None:
        draws = believe([Seen("A", HEAD, exactly(300), None), Seen("B", HEAD, exactly(380), None)])
        assert draws.shape == (4000, 2)
        assert best(draws)[1] > 0.99
        assert expected(draws) == pytest.approx([0.75, 0.95], abs=0.03)

    def test_identical_answers_share(self) -> None:
        same = exactly(350, seeds=2)
        draws = believe([Seen(name, HEAD, same, None) for name in "ABCD"])
        assert best(draws) == pytest.approx([0.25] * 4, abs=0.03)

    def test_everything_right_is_not_certain(self) -> None:
        draws = believe(
            [Seen("A", HEAD, exactly(100, 100), None), Seen("B", HEAD, exactly(99, 100), None)]
        )
        assert draws.max() <= 1
        assert 0.5 < best(draws)[0] < 0.95
        assert width(draws, 0) > 0.01

    def test_more_seeds_narrow(self) -> None:
        widths = []
        for seeds in (1, 2, 5):
            rng = np.random.default_rng(1)
            hard = rng.normal(size=2000)
            seen = [Seen(n, TOP, answers(rng, 0.85, seeds=seeds, hard=hard), None) for n in "AB"]
            widths.append(width(believe(seen), 0))
        assert widths[0] > widths[1] > widths[2]

    def test_one_seed_of_many_pictures_still_has_the_seeds_noise(self) -> None:
        seen = [Seen(n, TOP, exactly(40_000 + k, 50_000), None) for n, k in (("A", 0), ("B", 250))]
        draws = believe(seen)
        assert width(draws, 0) > 0.01  # pictures alone: 0.007
        assert best(draws)[1] < 0.9

    def test_an_unsteady_candidate_is_less_certain(self) -> None:
        rng = np.random.default_rng(2)
        hard = rng.normal(size=1000)
        seen = [
            Seen("A", TOP, answers(rng, 0.85, seeds=3, hard=hard), None),
            Seen("B", TOP, answers(rng, 0.85, seeds=3, hard=hard, luck=0.5), None),
        ]
        draws = believe(seen)
        assert width(draws, 1) > 1.5 * width(draws, 0)

    def test_pictures_in_common_count_as_pairs(self) -> None:
        rng = np.random.default_rng(3)
        first = exactly(340)
        paired = first.copy()
        paired[0, 340:352] = True
        shuffled = rng.permutation(paired[0])[None]
        alike, unlike = (
            best(believe([Seen("A", HEAD, first, None), Seen("B", HEAD, other, None)]))[1]
            for other in (paired, shuffled)
        )
        assert alike > unlike + 0.05


class TestUntried:
    def test_between_what_was_tried_and_wider(self) -> None:
        seen = [
            Seen("A", HEAD, exactly(280), None),
            Seen("A", TOP, exactly(300), None),
            Seen("B", HEAD, exactly(340), None),
            Seen("B", TOP, None, None),
        ]
        draws = believe(seen)
        middle = expected(draws)
        assert middle[0] < middle[3] < 0.95
        assert middle[3] > middle[2]  # what the strategy gained on A is expected of B
        assert width(draws, 3) > 1.3 * width(draws, 2)

    def test_better_probes_promise_more(self) -> None:
        seen = [
            Seen(name, TOP, None, exactly(right, 300, 3))
            for name, right in (("A", 210), ("B", 240), ("C", 270))
        ]
        draws = believe(seen)
        a, b, c = expected(draws)
        assert a < b < c
        assert best(draws)[2] > 0.8

    def test_what_trials_gain_over_probes_is_learned(self) -> None:
        def other(trial: int) -> float:
            tried = Seen("A", HEAD, exactly(trial), exactly(320, seeds=3))
            return expected(believe([tried, Seen("B", HEAD, None, exactly(320, seeds=3))]))[1]

        assert other(320) + 0.02 < other(370)

    def test_of_nothing_nothing_is_known(self) -> None:
        draws = believe([Seen("A", HEAD, None, None), Seen("B", HALF, None, None)])
        assert width(draws, 0) > 0.5
        assert best(draws) == pytest.approx([0.5, 0.5], abs=0.05)

    def test_two_that_differ_in_no_name_are_two(self) -> None:
        tried = exactly(350)
        draws = believe([Seen("A", HEAD, tried, None), Seen("A", HEAD, None, None)])
        assert width(draws, 1) > width(draws, 0)


class TestDraws:
    def test_equal_evidence_gives_equal_draws(self) -> None:
        seen = [Seen("A", HEAD, exactly(350), None), Seen("B", TOP, None, exactly(320))]
        assert (believe(seen, 50, seed=4) == believe(seen, 50, seed=4)).all()
        assert (believe(seen, 50, seed=4) != believe(seen, 50, seed=5)).any()

    def test_they_are_accuracies(self) -> None:
        rng = np.random.default_rng(5)
        seen = [Seen("A", HEAD, answers(rng, r, 30), None) for r in (0.01, 0.5, 0.99)]
        draws = believe(seen, 500)
        assert draws.shape == (500, 3)
        assert (draws >= 0).all()
        assert (draws <= 1).all()

    def test_many_answers_take_little_memory(self) -> None:
        rng = np.random.default_rng(6)
        names = (HEAD, TOP, HALF, "all")
        hard = rng.normal(size=5000)
        seen = [
            Seen(f"B{i // 4}", names[i % 4], answers(rng, 0.8, seeds=5, hard=hard), None)
            for i in range(16)
        ]
        tracemalloc.start()
        believe(seen, 4000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6

    @pytest.mark.parametrize(
        ("seen", "message"),
        [
            ([], "no candidates"),
            ([Seen("A", HEAD, np.ones((1, 0), bool), None)], "val: bool of shape"),
            ([Seen("A", HEAD, np.ones((1, 4)), None)], "val: float64"),  # type: ignore[arg-type]
            ([Seen("A", HEAD, None, np.ones(4, bool))], "probe: bool of shape"),
            (
                [Seen("A", HEAD, exactly(3, 4), None), Seen("B", HEAD, exactly(3, 5), None)],
                "val: 5 pictures of one, 4 of another",
            ),
            (
                [Seen("A", HEAD, None, exactly(3, 4)), Seen("B", HEAD, None, exactly(3, 5))],
                "probe: 5 pictures",
            ),
        ],
    )
    def test_bad_answers(self, seen: list[Seen], message: str) -> None:
        with pytest.raises(BenchError, match=message):
            believe(seen)

    def test_no_draws(self) -> None:
        with pytest.raises(BenchError, match="0 draws"):
            believe([Seen("A", HEAD, None, None)], 0)


class TestComesTrue:
    """Candidates are drawn, then seeds and pictures: probits, of which the belief knows nothing."""

    @pytest.fixture(scope="class")
    def worlds(self) -> list[tuple[Draws, np.ndarray]]:
        rng = np.random.default_rng(7)
        return [self.world(rng) for _ in range(80)]

    @staticmethod
    def world(rng: np.random.Generator) -> tuple[Draws, np.ndarray]:
        hard = rng.normal(size=500)
        task = rng.uniform(0.6, 0.95)
        gains = rng.normal(0.05, 0.1, size=2) * [0, 1]
        truth, seen = [], []
        for backbone in "ABC":
            better = rng.normal(0, 0.15)
            for strategy, gain in zip((HEAD, TOP), gains, strict=True):
                rate = special.ndtr(special.ndtri(task) + better + gain + rng.normal(0, 0.05))
                right = answers(rng, rate, seeds=int(rng.integers(1, 4)), luck=0.06, hard=hard)
                seen.append(Seen(backbone, strategy, right, None))
                truth.append(rate)
        return believe(seen, 600), np.array(truth)

    def test_statements_of_60_to_95_percent(self, worlds: list[tuple[Draws, np.ndarray]]) -> None:
        stated, came = [], []
        for draws, truth in worlds:
            for i, probability in enumerate(best(draws)):
                if 0.6 <= probability <= 0.95:
                    stated.append(probability)
                    came.append(truth[i] == truth.max())
        assert len(stated) >= 25
        assert np.mean(came) == pytest.approx(np.mean(stated), abs=0.12)

    def test_picks(self, worlds: list[tuple[Draws, np.ndarray]]) -> None:
        picks = [int(best(draws).argmax()) for draws, _ in worlds]
        stated = [best(draws)[i] for (draws, _), i in zip(worlds, picks, strict=True)]
        came = [truth[i] == truth.max() for (_, truth), i in zip(worlds, picks, strict=True)]
        assert np.mean(came) == pytest.approx(np.mean(stated), abs=0.1)

    def test_intervals_hold_the_truth(self, worlds: list[tuple[Draws, np.ndarray]]) -> None:
        inside = [
            low <= true <= high
            for draws, truth in worlds
            for (_, low, high), true in zip(interval(draws), truth, strict=True)
        ]
        assert 0.9 < np.mean(inside) < 0.995
