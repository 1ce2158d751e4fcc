"""Honest doubt: what of this machine may spoil a run, said once, with what to do about it.

A look costs some 0.3 ms and is taken between tasks, and now and then while a trial goes on; never
while a cost is measured, whose rows hold doubts of their own (`bench.costs.CostResult.doubtful`).
Results' disk without room for another row is no doubt but the end of the run, before the next task;
nothing else that is found here, or that the system does not tell, ends one.
"""

import errno
import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import psutil

from bench.costs import BUSY
from bench.errors import StoreError
from bench.records import TrialSpec
from bench.running.clocks import UNTOLD, Clocks, Cores
from bench.running.sizes import amount
from bench.tasks import Row, Spec

LEAST_DISK, ENOUGH_DISK = 100 * 2**20, 2 * 2**30
"""Bytes below which a run stops (a row with its predictions takes less), and below which it warns
where nobody knows what it will write."""
LEAST_MEMORY, ENOUGH_MEMORY = 512 * 2**20, 2 * 2**30
"""Bytes that should be free while a worker works, and before one starts that nobody knows yet."""
SWAPPED = 64 * 2**20
"""Bytes written to swap between two looks, from which it is no accident."""
LOOK_SECONDS, FREQUENCY_SECONDS = 10.0, 30.0
"""Between two looks while a trial goes on; and at the clocks of the cores, which may take long."""
JUMP = 2.0
"""Seconds that two clocks may part between two looks."""
SHORT = 2.0
"""Seconds below which the system's account says nothing of how busy the cores are."""
RAN = ("ok", "diverged")
"""Of tasks that took all the memory they take."""
FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))
"""What the reason of a task says that met a full disk."""

Tell = Callable[[str], None]


class Busy(Protocol):
    """`bench.measuring.load.Watch`: how busy other work keeps our cores."""

    elsewhere: float | None


Watch = Callable[[], AbstractContextManager[Busy]]


@runtime_checkable
class Workers(Protocol):
    """`bench.running.isolation.LocalEngine`, as far as its memory goes."""

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes held now, and at the most."""


@dataclass(frozen=True)
class Disk:
    """Where a run writes.

    Attributes:
        what: for messages: ``results``, ``cache``.
        folder: of it; need not be there yet.
        remedy: how to make room there, or elsewhere.
        needed: given the free bytes, those that the run will write; 0 where nobody knows.
        vital: whether every task ends with something written here.
    """

    what: str
    folder: Path
    remedy: str
    needed: Callable[[int], int] = lambda free: 0
    vital: bool = False

    @property
    def free(self) -> int | None:
        """Bytes; None where nothing can be written, or the system does not tell."""
        with suppress(OSError, StopIteration):
            if os.access(there := self._there(), os.W_OK):
                usage = shutil.disk_usage(there)
                return usage.free if usage.total else None
        return None

    @property
    def device(self) -> str:
        """What two folders on one disk have in common."""
        with suppress(OSError, StopIteration):
            return str(self._there().stat().st_dev)
        return self.what

    def _there(self) -> Path:
        return next(f for f in (self.folder, *self.folder.parents) if f.exists())


class Doubts:
    """Looks at the machine, and says what it finds: each kind of doubt once.

    Args:
        tell: what to say it with.
        disks: where the run writes.
        watch: begins to watch how busy other work keeps the cores; None not to.
        memory_limit: of each worker, in bytes; None without one.
        clocks: for tests.

    Attributes:
        workers: whose memory counts; none at first.
    """

    def __init__(
        self,
        tell: Tell,
        disks: tuple[Disk, ...],
        watch: Watch | None = None,
        memory_limit: int | None = None,
        clocks: Callable[[], Clocks] = Clocks.now,
    ) -> None:
        self.workers: tuple[Workers, ...] = ()
        self._tell, self._disks, self._watch, self._now = tell, disks, watch, clocks
        self._limit, self._told = memory_limit, set[str]()
        self._full = ""
        self._looked = self._asked = clocks()
        self._swapped = _swapped()
        self._cores, self._known = Cores(), False
        self._watching: dict[str, tuple[ExitStack, Busy, float]] = {}

    # ------------------------------------------------------------------------------------- when

    def before(self, workers: int = 1) -> None:
        """Before anything starts.

        Args:
            workers: how many there will be.

        Raises:
            StoreError: no room for results.
        """
        self._check_disks(ending=True)
        self._look_for_room()
        self._check_limit(workers)
        self._begin("the start")

    def started(self, *engines: object) -> None:
        """The first workers of these engines are ready; those that tell of their memory count."""
        with suppress(*UNTOLD):  # to ask whether it tells is to ask it
            self.workers = tuple(engine for engine in engines if isinstance(engine, Workers))
        share = self._end("the start")
        if share is not None and share >= BUSY:
            self._doubt(
                "busy",
                f"other processes use {share:.0%} of the cores: times and images/s of this run "
                "will be in doubt (accuracies are not): end them, or run on an idle machine",
            )

    def task_begins(self, spec: Spec) -> None:
        """Before a task.

        Raises:
            StoreError: no room for results, or a task met a full disk.
        """
        if self._full:
            raise StoreError(self._full)
        self._check_disks(ending=True)
        self._look_for_memory()
        self._look()
        if isinstance(spec, TrialSpec):
            self._cores.begin()
            self._begin(spec.key)

    def task_goes_on(self, spec: Spec) -> None:
        """While a task runs; looks now and then, and not where a cost is measured."""
        now = self._now()
        if isinstance(spec, TrialSpec) and now.awake - self._looked.awake >= LOOK_SECONDS:
            self._look()
            self._check_disks(ending=False)
        if isinstance(spec, TrialSpec) and now.awake - self._asked.awake >= FREQUENCY_SECONDS:
            self._asked = now
            self._look_at_frequency()

    def task_ends(self, row: Row) -> None:
        """When its row is on disk."""
        share = self._end(row.key)
        if share is not None and share >= BUSY:
            self._doubt(
                "busy",
                f"other processes used {share:.0%} of the cores during {row.spec.label}: its times "
                "and images/s are in doubt (its accuracy is not): end them, or run on an idle "
                "machine",
            )
        self._known = self._known or row.status in RAN
        if row.status not in RAN and any(words in row.reason for words in FULL):
            self._full = (
                f"stopped: a disk is full, and every further task would fail like "
                f"{row.spec.label} ({row.reason}): make room "
                f"({'; '.join(disk.remedy for disk in self._disks)}) and give the same command "
                "again: what was measured is kept"
            )
        self._look()

    # ------------------------------------------------------------------------------------- what

    def _doubt(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._tell(text)

    def _check_disks(self, ending: bool) -> None:
        for disk in self._disks:
            free = disk.free
            if free is None or free >= LEAST_DISK:
                continue
            if ending and disk.vital:
                raise StoreError(
                    f"{disk.folder}: {amount(free)} are free, and the next row may need up to "
                    f"{amount(LEAST_DISK)}: {disk.remedy} and give the same command again: what "
                    "was measured is kept"
                )
            less = f"less than {amount(LEAST_DISK)}, and what is written next may find no room"
            self._doubt_disk(disk, free, less)

    def _look_for_room(self) -> None:
        """Hold every disk against what the run will write, the largest need first."""
        wants = [
            (disk.needed(free), free, disk)
            for disk in self._disks
            if (free := disk.free) is not None
        ]
        for needed, free, disk in sorted(wants, key=lambda want: want[0], reverse=True):
            if free < (needed or ENOUGH_DISK):
                enough = f"less than {amount(ENOUGH_DISK)}"
                why = f"and the run may need {amount(needed)}" if needed else enough
                self._doubt_disk(disk, free, why)

    def _doubt_disk(self, disk: Disk, free: int, why: str) -> None:
        said = f"{amount(free)} are free on this disk, {why}"
        self._doubt(f"disk {disk.device}", f"{disk.folder} ({disk.what}): {said}: {disk.remedy}")

    def _check_limit(self, workers: int) -> None:
        total = _memory("total")
        if self._limit and total is not None and workers * self._limit > total:
            each = f"{workers} workers of" if workers > 1 else "a worker of"
            self._doubt(
                "limit",
                f"--memory-limit: {each} {amount(self._limit)} may take more than the "
                f"{amount(total)} of this machine, which then ends one without a word: "
                "expected a smaller limit, or fewer --workers",
            )

    def _look_for_memory(self) -> None:
        """Before a task: whether there will be as much as workers took, or are known to take."""
        free = _memory("available")
        held, peak = self._workers_memory()
        wanted = peak if self._known and peak else max(peak, ENOUGH_MEMORY)
        if free is not None and free + held < wanted:
            most = "a worker took that at its most" if wanted == peak else "a worker may need it"
            self._doubt(
                "memory",
                f"{amount(free)} of memory are free, of {amount(wanted)} wanted ({most}): end what "
                "else runs, or use a smaller batch (execution.batch_size) or fewer --workers",
            )

    def _workers_memory(self) -> tuple[int, int]:
        held, peaks = 0, 0
        for worker in self.workers:
            with suppress(*UNTOLD):
                now, peak = worker.memory
                held, peaks = held + now, peaks + peak
        return held, peaks

    def _look(self) -> None:
        """At what takes no time to look at."""
        self._look_at_clocks()
        free = _memory("available")
        if free is not None and free < LEAST_MEMORY:
            self._doubt(
                "memory",
                f"only {amount(free)} of memory are free: the system may end a worker: end what "
                "else runs, or use a smaller batch (execution.batch_size) or fewer --workers",
            )
        before, self._swapped = self._swapped, max(self._swapped, _swapped())
        if self._swapped - before >= SWAPPED:
            self._doubt(
                "swap",
                "this machine writes memory to its disk (swap): times and images/s are in doubt, "
                "and a run may take many times as long: end what else runs, or use a smaller batch "
                "(execution.batch_size) or fewer --workers",
            )

    def _look_at_clocks(self) -> None:
        now, last = self._now(), self._looked
        self._looked = now
        slept, jumped = now.slept(last), now.jumped(last)
        if slept > JUMP:
            self._doubt(
                "suspended",
                f"this machine was suspended for {slept:,.0f} s: no time limit counts that, but "
                "what was being timed then is in doubt: keep it awake during a run",
            )
        if now.boot is None and jumped > JUMP:
            self._doubt(
                "clock",
                f"this machine was suspended for {jumped:,.0f} s, or its clock was set by that: "
                "what was being timed then is in doubt, or when rows began: keep it awake during "
                "a run, and check its time service",
            )
        elif abs(jumped) > JUMP:
            self._doubt(
                "clock",
                f"the clock of this machine jumped by {jumped:+,.0f} s: when rows began is off by "
                "that, how long they took is not: check its time service",
            )

    def _look_at_frequency(self) -> None:
        if slowed := self._cores.look():
            self._doubt(
                "frequency",
                f"the fastest core runs at {slowed.now:.1f} GHz, and ran at {slowed.usual:.1f} GHz "
                "before: heat or a power setting slows this machine down, and times and images/s "
                "of earlier and later trials differ: let it cool, or see to its power setting",
            )

    def _begin(self, what: str) -> None:
        if self._watch is not None and "busy" not in self._told:
            held = ExitStack()
            with suppress(*UNTOLD):
                watch = held.enter_context(self._watch())
                self._watching[what] = held, watch, self._now().awake

    def _end(self, what: str) -> float | None:
        """How busy others kept the cores since it began; None where nobody watched, or not long."""
        if what not in self._watching:
            return None
        held, watch, began = self._watching.pop(what)
        with suppress(*UNTOLD):
            held.close()
            return watch.elsewhere if self._now().awake - began >= SHORT else None
        return None


def _memory(what: str) -> int | None:
    """Of this machine's, in bytes: total, or available; None where the system does not tell."""
    with suppress(*UNTOLD):
        return int(getattr(psutil.virtual_memory(), what))
    return None


def _swapped() -> int:
    """Bytes written to swap since the machine started; 0 where the system does not tell."""
    with warnings.catch_warnings(), suppress(*UNTOLD):
        warnings.simplefilter("ignore")
        return int(psutil.swap_memory().sout)
    return 0


def disks(results: Path, cache: Path, needed: Callable[[int], int]) -> tuple[Disk, ...]:
    """The two that every run writes to.

    Args:
        results: folder of the store.
        cache: folder of intermediate work.
        needed: what the run will write to the cache (`Disk.needed`).
    """
    return (
        Disk("results", results, "make room, or give --results on another disk", vital=True),
        Disk(
            "cache",
            cache,
            "make room (bench cache --clear), set BENCH_CACHE_DIR to another disk, or "
            "BENCH_CACHE_GIB to less than is free",
            needed,
        ),
    )
