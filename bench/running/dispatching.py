"""Which job goes to which worker, and what becomes of the jobs of a worker that is lost.

A worker stays on its ground, whose backbone it holds, as long as there is something to do on it;
then it begins the ground with the most work left that nobody works on. But it joins the others on
the ground that would keep them longest, if that saves more than it costs, where there is no such
ground, or where they would be at theirs for longer than all workers at what is left of the run. On
a ground the job with the longest way to the end of it comes first. Where workers share no cache, a
ground belongs to the cache that its work began in.

Pure bookkeeping: no clock, no threads; the same events in the same order, the same decisions.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.running.fleets import Worker
from bench.running.jobs import Job
from bench.running.messages import Share

SETUP_SECONDS = 15.0
"""Assumed: what it takes a worker to begin on another ground: a process, its framework, a backbone
and what its graphs take to trace."""
MOST_LOSSES = 3
"""A job that has lost so many workers is given up: it may be what ends them."""

State = Literal["waiting", "ready", "running", "ended"]


@dataclass
class _Ground:
    """Jobs that stand on one ground.

    Attributes:
        order: of its first job.
        keys: of its jobs, those that others wait for first.
        first: what all else waits for, wherever it is.
        gpu: whether any of them is for a GPU.
        ready: heap of (-longest way, order, key); entries of jobs that are not ready are stale.
        left: seconds of its jobs that have not ended.
        waiting: how many of its jobs are ready.
        workers: who is on it.
        cache: that its work began in; None before.
        stamp: of its newest place among the grounds.
    """

    order: int
    keys: list[str] = field(default_factory=list)
    first: bool = False
    gpu: bool = False
    ready: list[tuple[float, int, str]] = field(default_factory=list)
    left: float = 0.0
    waiting: int = 0
    workers: set[str] = field(default_factory=set)
    cache: str | None = None
    stamp: int = 0


_Entry = tuple[float, int, int, _Ground]
"""What puts a ground in its place among others: -share of work, order, stamp; and the ground."""
_Table = dict[tuple[str | None, bool], list[_Entry]]
"""Heaps by cache (None for grounds that belong to none) and by whether a GPU is needed."""


@dataclass(frozen=True)
class Lost:
    """What the loss of a worker comes to.

    Attributes:
        job: that it did.
        why: the losses of this job, oldest first.
        given_up: tasks that nobody will do any more; empty where the job goes elsewhere.
    """

    job: Job
    why: tuple[str, ...]
    given_up: tuple[Job, ...] = ()


class Dispatcher:
    """The state of a run.

    Args:
        jobs: each after those that it waits for.
        seconds: what a job is expected to take.
        setup_seconds: what beginning on another ground is expected to take.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        seconds: Callable[[Job], float],
        setup_seconds: float = SETUP_SECONDS,
    ) -> None:
        self._jobs = {job.key: job for job in jobs}
        self._order = {key: number for number, key in enumerate(self._jobs)}
        self._seconds = {job.key: seconds(job) for job in jobs}
        self._setup = setup_seconds
        self._dependents: dict[str, list[str]] = {key: [] for key in self._jobs}
        for job in jobs:
            for key in job.after:
                self._dependents[key].append(job.key)
        self._way = self._ways()
        self._state: dict[str, State] = dict.fromkeys(self._jobs, "waiting")
        self._left = len(self._jobs)
        self._left_seconds = sum(self._seconds.values())
        self._startable = 0
        self._losses: dict[str, list[str]] = {}
        self._workers: dict[str, Worker] = {}
        self._caches: Counter[str] = Counter()
        self._helpers = 0
        self._on: dict[str, _Ground] = {}
        self._doing: dict[str, str] = {}
        self._stamps = 0
        self._free: _Table = {}
        self._shared: _Table = {}
        self._grounds = self._by_ground()
        for key in self._jobs:
            self._look(key)
        for ground in self._grounds.values():
            self._place(ground)

    # ------------------------------------------------------------------------------- questions

    @property
    def done(self) -> bool:
        """Whether every job has ended or was given up."""
        return self._left == 0

    @property
    def useful(self) -> int:
        """How many workers could have something to do now."""
        return len(self._doing) + self._startable

    @property
    def idle(self) -> tuple[str, ...]:
        """Workers without a job."""
        return tuple(name for name in self._workers if name not in self._doing)

    @property
    def doing(self) -> Mapping[str, Job]:
        """Job of each worker that has one."""
        return {name: self._jobs[key] for name, key in self._doing.items()}

    def expected(self, job: Job) -> float:
        """Seconds that a job was expected to take."""
        return self._seconds[job.key]

    # -------------------------------------------------------------------------------- changes

    def joined(self, worker: Worker) -> None:
        """A worker is there."""
        self._workers[worker.name] = worker
        if worker.only_cpu:
            self._helpers += 1
            self._place_first()
            return
        self._caches[worker.cache] += 1
        if self._caches[worker.cache] == 1:
            self._place_of(worker.cache)

    def next_for(self, name: str) -> Job | None:
        """Give a worker that has none its next job; None where there is nothing for it now."""
        worker = self._workers[name]
        ground = self._on.get(name)
        if ground is None or not ground.waiting:
            ground = self._other(worker)
        if ground is None:
            return None
        self._settle(ground, worker)
        key = self._pop(ground)
        self._state[key], self._doing[name] = "running", key
        self._startable -= 1
        ground.waiting -= 1
        self._place(ground)
        return self._jobs[key]

    def ended(self, name: str, in_vain: bool = False) -> None:
        """The job of a worker has ended, well or not.

        Args:
            name: of the worker.
            in_vain: shared steps that wait for it would fail, too, and are left out; tasks are
                not, for each says in its row what is wrong.
        """
        key = self._doing.pop(name)
        for other in self._waiting_for(key) if in_vain else ():
            if self._state[other] == "waiting" and isinstance(self._jobs[other].work, Share):
                self._finish(other)
        self._finish(key)

    def left(self, name: str, why: str, blamed: bool = True) -> Lost | None:
        """A worker is gone; None where it did nothing.

        Args:
            name: of the worker.
            why: for people.
            blamed: whether its job may be what ended it.

        Returns:
            Its job, which is ready for another worker, or given up with all that waits for it.
        """
        worker = self._workers.pop(name, None)
        if worker is None:
            return None
        if worker.only_cpu:
            self._helpers -= 1
            self._place_first()
        else:
            self._caches[worker.cache] -= 1
        if (ground := self._on.pop(name, None)) is not None:
            ground.workers.discard(name)
            self._place(ground)
        key = self._doing.pop(name, None)
        lost = None if key is None else self._lost(key, [why] if blamed else [])
        if not worker.only_cpu and not self._alive(worker.cache):
            self._place_of(worker.cache)
        return lost

    # ---------------------------------------------------------------------------------- setup

    def _ways(self) -> dict[str, float]:
        """Seconds from the beginning of each job to the end of all that waits for it."""
        ways: dict[str, float] = {}
        for key in reversed(self._jobs):
            longest = max((ways[d] for d in self._dependents[key]), default=0.0)
            ways[key] = self._seconds[key] + longest
        return ways

    def _by_ground(self) -> dict[Hashable, _Ground]:
        grounds: dict[Hashable, _Ground] = {}
        for key, job in self._jobs.items():
            ground = grounds.setdefault(job.ground, _Ground(self._order[key]))
            ground.keys.append(key)
            ground.left += self._seconds[key]
            ground.gpu = ground.gpu or job.gpu
        for ground in grounds.values():
            ground.first = not ground.gpu
        return grounds

    # ----------------------------------------------------------------------------------- jobs

    def _ground(self, key: str) -> _Ground:
        return self._grounds[self._jobs[key].ground]

    def _look(self, key: str) -> None:
        """Make a job ready if nothing that it waits for is left."""
        after = self._jobs[key].after
        if self._state[key] == "waiting" and all(self._state[a] == "ended" for a in after):
            self._state[key] = "ready"
            self._startable += 1
            ground = self._ground(key)
            ground.waiting += 1
            heapq.heappush(ground.ready, (-self._way[key], self._order[key], key))

    def _finish(self, key: str) -> None:
        self._state[key] = "ended"
        self._left -= 1
        self._left_seconds -= self._seconds[key]
        ground = self._ground(key)
        ground.left -= self._seconds[key]
        self._place(ground)
        for dependent in self._dependents[key]:
            self._look(dependent)
            self._place(self._ground(dependent))

    def _pop(self, ground: _Ground) -> str:
        while True:
            _, _, key = heapq.heappop(ground.ready)
            if self._state[key] == "ready":
                return key

    def _lost(self, key: str, why: Sequence[str]) -> Lost:
        losses = self._losses.setdefault(key, [])
        losses += why
        self._state[key] = "waiting"
        if len(losses) < MOST_LOSSES:
            self._look(key)
            self._place(self._ground(key))
            return Lost(self._jobs[key], tuple(losses))
        given_up = []
        for doomed in self._waiting_for(key):
            if self._state[doomed] == "waiting":
                self._finish(doomed)
                if not isinstance(self._jobs[doomed].work, Share):
                    given_up.append(self._jobs[doomed])
        return Lost(self._jobs[key], tuple(losses), tuple(given_up))

    def _waiting_for(self, key: str) -> list[str]:
        """A job and whatever waits for it, however indirectly; the last first."""
        found = {key: None}
        for other in self._jobs:
            if any(a in found for a in self._jobs[other].after):
                found[other] = None
        return list(reversed(found))

    # -------------------------------------------------------------------------------- grounds

    def _alive(self, cache: str | None) -> bool:
        """Whether anybody is left who can go on with a ground that began in this cache."""
        return cache is not None and self._caches[cache] > 0

    def _place(self, ground: _Ground) -> None:
        """Put a ground where workers that look for one find it, in place of where it stood."""
        self._stamps += 1
        ground.stamp = self._stamps
        if not ground.waiting:
            return
        owner = ground.cache if self._alive(ground.cache) else None
        table = self._shared if ground.workers else self._free
        share = ground.left / max(len(ground.workers), 1)
        if ground.first:  # all else waits for it; but a GPU is for other things where it can be
            share = 0.0 if self._helpers else float("inf")
        entry = (-share, ground.order, ground.stamp, ground)
        heapq.heappush(table.setdefault((owner, ground.gpu), []), entry)

    def _place_first(self) -> None:
        for ground in self._grounds.values():
            if ground.first:
                self._place(ground)

    def _place_of(self, cache: str) -> None:
        """The cache has come to life, or has nobody any more."""
        for ground in self._grounds.values():
            if ground.cache == cache:
                self._place(ground)

    def _other(self, worker: Worker) -> _Ground | None:
        """A ground to begin on: one that nobody works on, or one where a hand more is worth it."""
        free, busy = self._top(self._free, worker), self._top(self._shared, worker)
        if busy is None:
            return free
        each = busy.left / len(busy.workers)
        worth = busy.first or each > self._setup + self._seconds[self._peek(busy)]
        late = each > self._left_seconds / max(len(self._workers) - self._helpers, 1)
        return busy if worth and (late or free is None) else free

    def _top(self, table: _Table, worker: Worker) -> _Ground | None:
        """The ground with the most work, of those that a worker may take."""
        best: _Entry | None = None
        for owner in (worker.cache, None):
            for gpu in (False,) if worker.only_cpu else (False, True):
                heap = table.get((owner, gpu), [])
                while heap and heap[0][2] != heap[0][3].stamp:
                    heapq.heappop(heap)
                if heap and (best is None or heap[0] < best):
                    best = heap[0]
        return best[3] if best else None

    def _peek(self, ground: _Ground) -> str:
        while self._state[ground.ready[0][2]] != "ready":
            heapq.heappop(ground.ready)
        return ground.ready[0][2]

    def _settle(self, ground: _Ground, worker: Worker) -> None:
        """A worker begins, or goes on, on a ground."""
        before = self._on.get(worker.name)
        if before is not ground:
            if before is not None:
                before.workers.discard(worker.name)
                self._place(before)
            self._on[worker.name] = ground
            ground.workers.add(worker.name)
        if ground.cache not in (None, worker.cache):
            self._restart(ground)
        if not ground.first:
            ground.cache = worker.cache

    def _restart(self, ground: _Ground) -> None:
        """What was shared on a ground lies where nobody is left: it is to be done again."""
        for key in reversed(ground.keys):
            shared = isinstance(self._jobs[key].work, Share)
            needed = any(self._state[d] != "ended" for d in self._dependents[key])
            if self._state[key] == "ended" and shared and needed:
                self._state[key] = "waiting"
                self._left += 1
                self._left_seconds += self._seconds[key]
                ground.left += self._seconds[key]
            elif self._state[key] == "ready":
                self._state[key] = "waiting"
                ground.waiting -= 1
                self._startable -= 1
        ground.ready.clear()
        for key in ground.keys:
            self._look(key)
