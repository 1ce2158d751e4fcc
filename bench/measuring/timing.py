"""Timing bursts of steps: warm-up apart, many of them, several kinds in turns.

Nothing here knows what a step is, so that the arithmetic is tested with a clock of straw.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.costs import Latency, Rate

Run = Callable[[int], object]
"""Runs so many steps and returns when the device has done them."""

Clock = Callable[[], float]

BURST_SECONDS = 0.1
"""A burst is as many steps as last this long: one step of a small model is too short to time, and
waiting for the device after each would be part of what is measured."""
MIN_BURSTS, LEAST_BURSTS = 8, 4
"""Timed bursts, and the fewest where a single step takes longer than all the time given."""
WARM_STEPS = 2
"""After the one that compiles: caches fill, clocks rise, allocators settle."""
MIN_CALLS, MAX_CALLS = 20, 1000
"""Single calls for a latency; its 99th percentile needs more than a slow model can give."""


@dataclass(frozen=True)
class Timed:
    """Seconds per step of every burst of one kind of work.

    Attributes:
        seconds: one number a burst.
        steps: in each burst.
        first: seconds of the very first step, which compiles.
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


def bursts(
    runs: Mapping[str, Run], seconds: float, clock: Clock = time.perf_counter
) -> dict[str, Timed]:
    """Time several kinds of work, burst by burst in turns, so that a slow spell meets them all.

    Args:
        runs: each kind of work by name.
        seconds: to spend on timed bursts of each, after warming up; more where that would leave
            fewer than a handful.
        clock: seconds.
    """
    firsts = {name: seconds_of(run, 1, clock) for name, run in runs.items()}
    warm = {name: _warmed(run, seconds, clock) for name, run in runs.items()}
    steps = {name: max(1, math.ceil(BURST_SECONDS / s)) for name, s in warm.items()}
    slowest = max(warm[n] * steps[n] for n in runs)
    least = LEAST_BURSTS if slowest * MIN_BURSTS > seconds else MIN_BURSTS
    count = max(least, math.ceil(seconds / slowest))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(count):
        for name, run in runs.items():
            taken[name].append(seconds_of(run, steps[name], clock) / steps[name])
    return {name: Timed(tuple(taken[name]), steps[name], firsts[name]) for name in runs}


def _warmed(run: Run, seconds: float, clock: Clock) -> float:
    """Seconds of a step once warm. A step that is slow by itself needs no second warm-up."""
    taken = seconds_of(run, 1, clock)
    if taken < seconds / LEAST_BURSTS:
        taken = seconds_of(run, WARM_STEPS, clock) / WARM_STEPS
    return max(taken, 1e-9)


def latency(run: Run, seconds: float, clock: Clock = time.perf_counter) -> Latency:
    """Time single calls, one after another.

    Args:
        run: one call is one picture.
        seconds: to spend, more where that would leave too few calls to speak of.
        clock: seconds.
    """
    run(1)
    for _ in range(WARM_STEPS):
        run(1)
    taken: list[float] = []
    began = clock()
    while len(taken) < MIN_CALLS or (clock() - began < seconds and len(taken) < MAX_CALLS):
        taken.append(1e3 * seconds_of(run, 1, clock))
    return _latency(taken)


def _latency(milliseconds: Sequence[float]) -> Latency:
    median, p90, p99 = np.quantile(milliseconds, (0.5, 0.9, 0.99))
    return Latency(median=float(median), p90=float(p90), p99=float(p99), count=len(milliseconds))


def seconds_of(run: Run, steps: int, clock: Clock = time.perf_counter) -> float:
    """How long so many steps take."""
    began = clock()
    run(steps)
    return clock() - began
