"""What a worker may take: time and memory, watched from the runner.

A limit of the address space (``RLIMIT_AS``) would need no watching, but frameworks reserve many
times what they use, and die of it without a word.
"""

import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

LOOK_SECONDS = 1.0
"""At least so often the memory of a worker is looked at, and whether a silent one still lives."""
SOON_SECONDS = 0.05
"""At most so often: a look takes some 0.2 ms, more where a machine has thousands of processes."""
IDLE = 10
"""So many times what a look took, nobody looks again."""
FASTEST = 4 * 2**30
"""Bytes a second that a process hardly takes faster: what is free of a limit says when to look."""
PAUSE_SECONDS = 5.0
"""The most that counts of the time between two looks. Where more went by, the runner was stopped,
or the whole machine was, and its worker's time limit is not to blame for that."""

SHARE = re.compile(r"^(Pss|Pss_Anon):\s+(\d+) kB$", re.MULTILINE)

Clock = Callable[[], float]


def held(worker: int) -> int:
    """Resident bytes of a worker and whatever it started, shared pages apart; 0 once it has ended.

    Shared pages are mapped pictures for the most part, which the system takes back when it wants
    to, and libraries. Where the system does not tell them apart (macOS), they count.

    Args:
        worker: its process id; it leads a session, so that its children need no search.
    """
    return sum(map(_resident, _processes(worker)))


def held_apart(worker: int) -> int:
    """As `held`, but what a process shares with its fork counts once: what neither wrote to since.

    Takes some 20 ms for each GiB that each of them maps. On other systems than Linux it is `held`.

    Args:
        worker: its process id.
    """
    resident = {pid: _resident(pid) for pid in _processes(worker)}
    return sum(min(own, _proportional(pid, own)) for pid, own in resident.items())


def _processes(worker: int) -> Iterator[int]:
    return filter(lambda pid: _session(pid) == worker, psutil.pids())


def _session(pid: int) -> int | None:
    with suppress(OSError):  # it has ended, or is none of ours
        return os.getsid(pid)
    return None


def _resident(pid: int) -> int:
    with suppress(psutil.Error):
        info = psutil.Process(pid).memory_info()
        return max(0, int(info.rss - getattr(info, "shared", 0)))
    return 0


def _proportional(pid: int, resident: int) -> int:
    """Bytes, each page divided by the processes that share it; ``resident`` where nobody tells.

    Without those of files where the system tells them apart (Linux 5.4).
    """
    with suppress(OSError, KeyError):
        found = dict(SHARE.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))
        return 1024 * int(found.get("Pss_Anon") or found["Pss"])
    return resident


class Memory:
    """The memory of a worker, looked at now and then.

    Twice before it is found too large, the second time by what its processes hold apart: a process
    that has just forked seems to hold everything twice, and most forks soon become something else.

    Args:
        worker: its process id.
        limit: bytes that it may hold, its children's included; None for any.
        clock: seconds, for tests.

    Attributes:
        limit: as given.
        peak: the most that was seen, in bytes.
    """

    def __init__(self, worker: int, limit: int | None, clock: Clock = time.monotonic) -> None:
        self.limit, self.peak = limit, 0
        self._worker, self._clock = worker, clock
        self._next = -math.inf
        self._suspected = False

    def exceeded(self) -> bool:
        """Whether it holds more than its limit; looks if it is time to, else says no."""
        now = self._clock()
        if now < self._next:
            return False
        found = held(self._worker)
        suspected, self._suspected = self._suspected, self._is_above(found)
        if self._suspected and not suspected:
            self._next = now + SOON_SECONDS
            return False
        if self._suspected:
            found = held_apart(self._worker)
        self.peak = max(self.peak, found)
        took = self._clock() - now
        self._next = now + took + max(IDLE * took, _look_again(found, self.limit))
        return self._is_above(found)

    def _is_above(self, found: int) -> bool:
        return self.limit is not None and found > self.limit

    @property
    def due(self) -> float:
        """Seconds until the next look."""
        return max(0.0, self._next - self._clock())


def _look_again(found: int, limit: int | None) -> float:
    """After how many seconds: the sooner, the less of the limit is left."""
    if limit is None:
        return LOOK_SECONDS
    return min(LOOK_SECONDS, max(SOON_SECONDS, (limit - found) / FASTEST))


class Patience:
    """The time that a worker has left, as far as the runner itself ran meanwhile.

    Args:
        seconds: in all; None for as long as it takes.
        clock: seconds, for tests.
    """

    def __init__(self, seconds: float | None, clock: Clock = time.monotonic) -> None:
        self._left = math.inf if seconds is None else seconds
        self._clock, self._last = clock, clock()

    def look(self) -> float:
        """Count the time since the last look; gives the seconds left, 0 at the least."""
        now = self._clock()
        self._left -= min(now - self._last, PAUSE_SECONDS)
        self._last = now
        return max(0.0, self._left)

    def skip(self) -> None:
        """Leave out the time since the last look."""
        self._last = self._clock()
