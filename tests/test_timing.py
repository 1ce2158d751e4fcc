"""The arithmetic of timing, with a clock of straw."""

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
