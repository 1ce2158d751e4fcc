"""The Pareto front of points with intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.pareto import Better, Point, pareto


def points(*pairs: tuple[float, float], half: float = 0.0) -> list[Point]:
    return [Point(accuracy, cost, accuracy + half) for accuracy, cost in pairs]


def test_the_front_is_what_no_other_point_beats_in_both() -> None:
    found = pareto(points((0.9, 10), (0.8, 5), (0.85, 12), (0.7, 6), (0.6, 1)), "lower")
    assert found.front == (4, 1, 0)  # from the best cost on
    assert found.maybe == ()


def test_a_higher_cost_can_be_the_better_one() -> None:
    assert pareto(points((0.9, 10), (0.8, 50), (0.7, 20)), "higher").front == (1, 0)


def test_of_equal_cost_the_more_accurate_one_is_on_the_front() -> None:
    assert pareto(points((0.8, 5), (0.9, 5)), "lower").front == (1,)


def test_equal_points_are_on_it_together_or_not_at_all() -> None:
    assert pareto(points((0.9, 5), (0.9, 5), (0.7, 6), (0.7, 6)), "lower").front == (0, 1)


def test_a_point_whose_interval_reaches_the_front_may_be_on_it() -> None:
    some = [Point(0.9, 5, 0.92), Point(0.88, 6, 0.91), Point(0.85, 7, 0.87)]
    found = pareto(some, "lower")
    assert found.front == (0,)
    assert found.maybe == (1,)


def test_what_counts_is_the_front_at_the_points_own_cost() -> None:
    some = [Point(0.7, 1, 0.7), Point(0.69, 2, 0.72), Point(0.9, 3, 0.9)]
    assert pareto(some, "lower").maybe == (1,)


def test_what_is_no_number_is_nowhere() -> None:
    some = [Point(math.nan, 1, 1.0), Point(0.9, math.inf, 0.9), Point(0.5, 3, 0.5)]
    assert pareto(some, "lower").front == (2,)


def test_nothing_has_no_front() -> None:
    assert pareto([], "higher").front == ()


@pytest.mark.parametrize("better", ["lower", "higher"])
@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=12))
def test_it_is_the_definition(better: Better, pairs: list[tuple[int, int]]) -> None:
    sign = 1 if better == "lower" else -1

    def beaten(a: tuple[int, int], b: tuple[int, int]) -> bool:
        as_good = b[0] >= a[0] and sign * b[1] <= sign * a[1]
        return as_good and b != a

    expected = {i for i, a in enumerate(pairs) if not any(beaten(a, b) for b in pairs)}
    assert set(pareto(points(*pairs), better).front) == expected
