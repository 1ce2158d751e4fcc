"""The arithmetic of timing, with a clock of straw."""

import itertools
from collections.abc import Callable

import pytest

from bench.measuring import timing


class Straw:
    """A clock that moves only when a step runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps: list[tuple[str, int]] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: Callable[[int], float]) -> timing.Run:
        """Steps whose duration depends on how many ran before."""
        done = 0

        def run(steps: int) -> None:
            nonlocal done
            self.steps.append((name, steps))
            for _ in range(steps):
                self.now += seconds(done)
                done += 1

        return run


def test_the_first_step_is_compilation_and_no_part_of_the_rate() -> None:
    clock = Straw()
    run = clock.work("a", lambda done: 5.0 if done == 0 else 0.25)
    timed = timing.timed(run, 10.0, clock)
    assert timed.first == 5.0
    assert timed.median == pytest.approx(0.25)
    assert timed.compile_seconds == pytest.approx(4.75)
    rate = timed.rate(32)
    assert (rate.median, rate.low, rate.high) == pytest.approx((128.0, 128.0, 128.0))
    assert (len(rate.samples), rate.steps) == (40, 1)


def test_short_steps_are_timed_in_bursts_long_enough_for_a_clock() -> None:
    clock = Straw()
    timed = timing.timed(clock.work("a", lambda _: 0.001), 2.0, clock)
    assert timed.steps == 100
    assert len(timed.seconds) == 20
    assert timed.rate(8).median == pytest.approx(8000)


def test_a_step_longer_than_all_the_time_is_still_timed_a_few_times() -> None:
    clock = Straw()
    timed = timing.timed(clock.work("a", lambda _: 60.0), 10.0, clock)
    assert len(timed.seconds) == timing.LEAST_BURSTS
    # One that compiles, one that warms up, and no more than that.
    assert sum(n for _, n in clock.steps) == 2 + timing.LEAST_BURSTS


def test_bursts_follow_one_another_without_a_pause() -> None:
    clock = Straw()
    taken = timing.repeated(clock.work("a", lambda done: 1.0 + done), 2, 3, clock)
    assert taken == (1.5, 3.5, 5.5)
    assert clock.steps == [("a", 2)] * 3


def test_the_interval_holds_95_percent_of_the_bursts() -> None:
    seconds = tuple(1 / rate for rate in range(1, 102))
    rate = timing.Timed(seconds, 1, 1.0).rate(1)
    assert (rate.median, rate.low, rate.high) == pytest.approx((51.0, 3.5, 98.5))


def test_a_latency_has_its_percentiles_and_leaves_the_warm_up_out() -> None:
    clock = Straw()
    warm = 1 + timing.WARM_STEPS
    run = clock.work("a", lambda done: 9.0 if done < warm else (done - warm + 1) / 1000)
    found = timing.latency(run, 0.0, clock)
    assert found.count == timing.MIN_CALLS == 20
    assert found.median == pytest.approx(10.5)
    assert found.p90 == pytest.approx(18.1)
    assert found.p99 is None  # of twenty calls it would be the slowest


def test_a_fast_model_is_called_until_the_time_is_spent() -> None:
    clock = Straw()
    many = timing.latency(clock.work("a", lambda _: 0.01), 2.0, clock)
    assert many.count in (200, 201)
    assert many.p99 == pytest.approx(10.0)
    assert timing.latency(clock.work("a", lambda _: 1e-6), 2.0, clock).count == timing.MAX_CALLS


# ------------------------------------------------------------------------------------- in turns


def waiting(clock: Straw, seconds: float = 100.0) -> timing.Turn:
    """Others take so long before it is our turn again."""

    def turn() -> None:
        clock.steps.append(("turn", 0))
        clock.now += seconds

    return turn


def test_waiting_for_a_turn_is_never_timed() -> None:
    clock = Straw()
    run = clock.work("a", lambda done: 5.0 if done == 0 else 0.125)
    pace = timing.warmed(run, 1.0, clock, waiting(clock))
    taken = timing.repeated(run, pace.steps, pace.bursts, clock, waiting(clock))
    assert pace == timing.Pace(first=5.0, steps=2, bursts=timing.MIN_BURSTS)
    assert taken == pytest.approx((0.125,) * timing.MIN_BURSTS)


def test_warming_up_is_one_turn_and_each_burst_begins_one_with_a_step_untimed() -> None:
    clock = Straw()
    run = clock.work("a", lambda _: 0.125)
    timing.warmed(run, 1.0, clock, waiting(clock))
    assert clock.steps == [("turn", 0), ("a", 1), ("a", 1), ("a", timing.WARM_STEPS)]
    clock.steps.clear()
    slow_first = clock.work("b", lambda done: 9.0 if done % 3 == 0 else 1.0)
    assert timing.repeated(slow_first, 2, 2, clock, waiting(clock)) == (1.0, 1.0)
    assert clock.steps == [("turn", 0), ("b", 1), ("b", 2)] * 2


@pytest.mark.parametrize("step", [0.001, 0.01, 0.07, 0.2, 0.24])
def test_in_turns_there_are_as_many_bursts_whatever_the_speed(step: float) -> None:
    clock = Straw()
    pace = timing.warmed(clock.work("a", lambda _: step), 5.0, clock, waiting(clock))
    assert pace.bursts == 20
    assert 0.16 < pace.steps * step < 0.34


def test_a_latency_in_turns_is_of_as_many_calls_and_each_turn_lasts_a_burst() -> None:
    clock = Straw()
    run = clock.work("a", lambda _: 0.0625)
    found = timing.latency(run, 2.0, clock, waiting(clock))
    assert (found.count, found.median, found.p90) == pytest.approx((32, 62.5, 62.5))
    turns = [i for i, (name, _) in enumerate(clock.steps) if name == "turn"]
    assert len(turns) == 8
    # Of each turn one call is not timed, and four are.
    assert {b - a for a, b in itertools.pairwise(turns)} == {1 + 1 + 4}


def test_a_latency_in_turns_stops_at_enough_calls() -> None:
    clock = Straw()
    fast = timing.latency(clock.work("a", lambda _: 1e-6), 2.0, clock, waiting(clock))
    assert fast.count == timing.MAX_CALLS
    slow = timing.latency(clock.work("a", lambda _: 1.0), 0.0, clock, waiting(clock))
    assert slow.count == timing.MIN_CALLS
