"""Timing bursts of steps: warm-up apart, and many of them.

Nothing here knows what a step is, so that the arithmetic is tested with a clock of straw.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.costs import Latency, Rate

Run = Callable[[int], object]
"""Runs so many steps and returns when the device has done them."""

Clock = Callable[[], float]

Turn = Callable[[], object]
"""Returns when this process may time something, and no other that it takes turns with works."""

BURST_SECONDS = 0.1
"""A burst is as many steps as last this long: one step of a small model is too short to time, and
waiting for the device after each would be part of what is measured."""
MIN_BURSTS, LEAST_BURSTS = 8, 4
"""Timed bursts, and the fewest where a single step takes longer than all the time given."""
TURN_SECONDS = 0.25
"""The same where processes take turns, so that each turn's first step, which is not timed, is a
small part of it. Another process had the caches before."""
WARM_STEPS = 2
"""After the one that compiles: caches fill, clocks rise, allocators settle."""
MIN_CALLS, MAX_CALLS = 20, 1000
"""Single calls for a latency."""
P99_CALLS = 100
"""With fewer a 99th percentile is but their slowest."""


@dataclass(frozen=True)
class Pace:
    """How to time a kind of work, found by warming it up.

    Attributes:
        first: seconds of the very first step, which compiles.
        steps: in a burst.
        bursts: that fill the time given, or the fewest that say something.
    """

    first: float
    steps: int
    bursts: int


@dataclass(frozen=True)
class Timed:
    """Seconds per step of every burst.

    Attributes:
        seconds: one number a burst.
        steps: in each burst.
        first: seconds of the very first step.
    """

    seconds: tuple[float, ...]
    steps: int
    first: float

    @property
    def median(self) -> float:
        """Seconds per step."""
        return statistics.median(self.seconds)

    @property
    def compile_seconds(self) -> float:
        """What the first step took over a later one."""
        return max(0.0, self.first - self.median)

    def rate(self, batch_size: int) -> Rate:
        """Images per second, burst by burst."""
        return Rate.of([batch_size / s for s in self.seconds], self.steps)


def warmed(
    run: Run, seconds: float, clock: Clock = time.perf_counter, turn: Turn | None = None
) -> Pace:
    """Compile and warm up, all in one turn.

    Args:
        run: what will be timed.
        seconds: to spend on timed bursts.
        clock: seconds.
        turn: waits for one among several processes; None for one alone.
    """
    if turn is not None:
        turn()
    first = seconds_of(run, 1, clock)
    taken = seconds_of(run, 1, clock)
    if taken < seconds / LEAST_BURSTS:  # a slow step is warm after one
        taken = seconds_of(run, WARM_STEPS, clock) / WARM_STEPS
    taken = max(taken, 1e-9)
    if turn is not None:
        # As many bursts in every process, whatever its speed: they should end side by side, too.
        steps = max(1, round(TURN_SECONDS / taken))
        return Pace(first, steps, max(MIN_BURSTS, math.ceil(seconds / max(TURN_SECONDS, taken))))
    steps = max(1, math.ceil(BURST_SECONDS / taken))
    least = LEAST_BURSTS if taken * steps * MIN_BURSTS > seconds else MIN_BURSTS
    return Pace(first, steps, max(least, math.ceil(seconds / (taken * steps))))


def repeated(
    run: Run,
    steps: int,
    bursts: int,
    clock: Clock = time.perf_counter,
    turn: Turn | None = None,
) -> tuple[float, ...]:
    """Seconds per step of so many bursts of so many steps.

    They follow one another without a pause; or each is a turn of its own, after a step that is not
    timed.
    """

    def burst() -> float:
        if turn is not None:
            turn()
            run(1)
        return seconds_of(run, steps, clock) / steps

    return tuple(burst() for _ in range(bursts))


def timed(run: Run, seconds: float, clock: Clock = time.perf_counter) -> Timed:
    """Warm up, then time for so many seconds."""
    pace = warmed(run, seconds, clock)
    return Timed(repeated(run, pace.steps, pace.bursts, clock), pace.steps, pace.first)


def latency(
    run: Run, seconds: float, clock: Clock = time.perf_counter, turn: Turn | None = None
) -> Latency:
    """Time single calls, one after another; in turns as many at once as last a burst.

    Args:
        run: one call is one picture.
        seconds: to spend, more where that would leave too few calls to speak of.
        clock: seconds.
        turn: waits for one among several processes; None for one alone.
    """
    run(1)
    for _ in range(WARM_STEPS):
        run(1)
    taken: list[float] = []
    spent = 0.0
    while len(taken) < MIN_CALLS or (spent < seconds and len(taken) < MAX_CALLS):
        if turn is not None:
            turn()
            run(1)
        lasts = seconds - spent if turn is None else TURN_SECONDS
        began = clock()
        while True:
            taken.append(1e3 * seconds_of(run, 1, clock))
            if clock() - began >= lasts or len(taken) >= MAX_CALLS:
                break
        spent += clock() - began
    return _latency(taken)


def _latency(milliseconds: Sequence[float]) -> Latency:
    median, p90, p99 = map(float, np.quantile(milliseconds, (0.5, 0.9, 0.99)))
    count = len(milliseconds)
    return Latency(median=median, p90=p90, p99=p99 if count >= P99_CALLS else None, count=count)


def seconds_of(run: Run, steps: int, clock: Clock = time.perf_counter) -> float:
    """How long so many steps take."""
    began = clock()
    run(steps)
    return clock() - began
