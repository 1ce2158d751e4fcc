"""What else the machine did while something was measured, and whether that is a reason for doubt.

Only the cores that this process may run on are looked at. A container or a scheduler often gives a
process a few of many cores; what runs on the others takes no time from it, and how busy they are
says nothing of its own. Where those few cannot be told apart in the system's account (not Linux,
some containers), it is every core that the account shows. A quota of time (``docker --cpus``) binds
no cores: there it is the whole machine, too.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

# Of the system's account. Time of guests is in `user` and `nice` already. `steal` is what a
# hypervisor gave to others.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")

# What asking the system raises where it does not tell: no reason to lose what is measured.
_UNTOLD = (OSError, RuntimeError, ValueError, psutil.Error)

T = TypeVar("T")


class Watch:
    """How busy other work keeps our cores during ``with Watch() as watch``.

    All CPU time that went by on these cores, less what this process and its descendants used.
    Waiting for a disk is not counted. The system counts in steps of 10 ms, so what is measured
    should take a second or more, all its parts together where some of the time is left out.

    Attributes:
        elsewhere: share of the cores' time, 0 to 1, that other work used; None until left, and
            where the system does not tell.
    """

    def __init__(self) -> None:
        self.elsewhere: float | None = None
        self._others = self._possible = 0.0
        self._untold = False

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        if self._untold:
            return
        share = self._others / self._possible if self._possible > 0 else 0.0
        self.elsewhere = min(1.0, max(0.0, share))

    def leaving_out(self, wait: Callable[[], T] | None) -> Callable[[], T] | None:
        """The same wait, during which nobody looks; None where there is nothing to wait for."""
        if wait is None:
            return None

        def waiting() -> T:
            self._end()
            try:
                return wait()
            finally:
                self._begin()

        return waiting

    def _begin(self) -> None:
        try:
            # The slow reading first, and at the end last: the others lie close around the work.
            self._own = _own_seconds()
            self._cores = _cores()
        except _UNTOLD:
            self._untold = True
        self._start = _clock()

    def _end(self) -> None:
        if self._untold:
            return
        wall = _clock() - self._start
        try:
            cores = _cores()
            self._others += cores.busy - self._cores.busy - (_own_seconds() - self._own)
        except _UNTOLD:
            self._untold = True
            return
        self._possible += wall * cores.count


@dataclass(frozen=True)
class _Cores:
    """How many cores, and seconds that they were busy since the machine started, added up."""

    count: int
    busy: float


_clock = time.perf_counter


def _cores() -> _Cores:
    """Our cores' account."""
    every = psutil.cpu_times(percpu=True)
    ours = _of(every, _affinity())
    return _Cores(len(ours), sum(getattr(core, name, 0.0) for core in ours for name in _BUSY))


def _of(every: Sequence[Any], allowed: set[int] | None) -> list[Any]:
    """Those allowed; all of them where the numbers cannot be those of this account."""
    if allowed is None or max(allowed) >= len(every):
        return list(every)
    return [every[number] for number in sorted(allowed)]


def _affinity() -> set[int] | None:
    """Numbers of the cores that this process may run on; None where the system does not tell."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _own_seconds() -> float:
    """CPU time of this process and its descendants, those that have ended included."""
    me = psutil.Process()
    total = _used(me)
    for child in me.children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile, and is in its parent's account
            total += _used(child)
    return total


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
