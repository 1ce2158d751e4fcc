"""What this machine's clocks say: how time went by, and how fast its cores run while they work."""

import platform
import statistics
import time
from contextlib import suppress
from typing import NamedTuple

import psutil

SLOWED, TIMES = 0.75, 3
"""A share of the usual frequency, below which the fastest core is found so many times in a row; and
of how many looks that one is the median. A single high one is a boost that no machine can keep."""
WORKING = 35.0
"""Per cent of the cores' time, below which they mostly idle, and run as slow as they please. A
framework that has a thread for each physical core shows as 50."""
UNTOLD = (OSError, RuntimeError, ValueError, AttributeError, psutil.Error)
"""What asking the system raises where it does not tell: no doubt, and no reason to stop."""


class Clocks(NamedTuple):
    """Seconds by the wall, since the machine started, and of those it was not suspended.

    The second is None where the system has no clock that goes on while it is suspended.
    """

    wall: float
    boot: float | None
    awake: float

    @classmethod
    def now(cls) -> "Clocks":
        """As they stand."""
        awake, clock = time.monotonic(), _clock_of_boot()
        return cls(time.time(), None if clock is None else time.clock_gettime(clock), awake)

    def slept(self, last: "Clocks") -> float:
        """Seconds that the machine was suspended since; 0 where nobody can say."""
        if self.boot is None or last.boot is None:
            return 0.0
        return (self.boot - last.boot) - (self.awake - last.awake)

    def jumped(self, last: "Clocks") -> float:
        """Seconds by which the wall's clock was set since; sleep included where nobody can say."""
        if self.boot is None or last.boot is None:
            return (self.wall - last.wall) - (self.awake - last.awake)
        return (self.wall - last.wall) - (self.boot - last.boot)


def _clock_of_boot() -> int | None:
    """The number of the clock that goes on while the machine is suspended."""
    found: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    if found is None and platform.system() == "Darwin":
        # There it goes on in sleep, unlike `time.monotonic`, which counts another one.
        found = getattr(time, "CLOCK_MONOTONIC", None)
    return found


class Slowed(NamedTuple):
    """The fastest core, in GHz: now, and as it was."""

    now: float
    usual: float


class Cores:
    """How fast the cores run while they work, held against how fast they first did."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._slow = 0

    def begin(self) -> None:
        """Count how busy the cores are from here on."""
        with suppress(*UNTOLD):
            psutil.cpu_percent()

    def look(self) -> Slowed | None:
        """Look once; what it has come to where they slowed down and stay slow."""
        with suppress(*UNTOLD):
            if psutil.cpu_percent() < WORKING or not (found := _gigahertz()):
                return None
            if len(self._first) < TIMES:
                self._first.append(found)
                return None
            usual = statistics.median(self._first)
            self._slow = self._slow + 1 if found < SLOWED * usual else 0
            return Slowed(found, usual) if self._slow >= TIMES else None
        return None


def _gigahertz() -> float:
    """Of the core that runs fastest right now; 0 where the system does not tell."""
    return max((core.current for core in psutil.cpu_freq(percpu=True)), default=0.0) / 1000
