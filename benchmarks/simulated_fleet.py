"""A cluster that is not there: a fleet whose workers finish as a clock of its own says."""

import heapq
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.progress import Progress
from bench.records import Stack, TrialResult, TrialSpec
from bench.running.fleets import Ended, Event, Joined, Left, Worker
from bench.running.jobs import Job
from bench.running.messages import Finished, Share, Shared
from bench.tasks import Row, Spec
from benchmarks.simulated_work import World, row_of


@dataclass(frozen=True)
class Cluster:
    """What a simulated cluster is made of.

    Attributes:
        nodes: of so many.
        gpus: on each, a worker each.
        helpers: workers without a GPU, on each.
        own_caches: each node has a cache of its own; else all share one.
        losses: seconds since the start at which a node goes, and after how many more it is back.
    """

    nodes: int = 8
    gpus: int = 8
    helpers: int = 0
    own_caches: bool = False
    losses: tuple[tuple[float, float], ...] = ()

    def workers(self) -> Iterator[Worker]:
        """All of them, in the order in which they are there."""
        for kind, count in (("CPU", self.helpers), ("GPU", self.gpus)):
            for node in (f"node{n}" for n in range(self.nodes)):
                cache = node if self.own_caches else ""
                for number in range(count):
                    yield Worker(f"{node} {kind} {number}", node, cache, kind == "CPU")


@dataclass
class Told:
    """What a simulated run came to.

    Attributes:
        work: seconds of jobs that ended.
        setup: seconds of beginning on grounds.
        lost: seconds of jobs that a node took with it, beginning included.
        setups: how often a worker began on a ground.
        moves: how many of these were on a ground that another worker had begun.
        jobs: that ended.
        away: worker-seconds that lost nodes were not there.
        own_seconds: of this processor, spent on simulating.
    """

    work: float = 0.0
    setup: float = 0.0
    lost: float = 0.0
    setups: int = 0
    moves: int = 0
    jobs: int = 0
    away: float = 0.0
    own_seconds: float = 0.0


@dataclass
class _Doing:
    job: Job
    number: int
    began: float
    setup: float
    seconds: float


@dataclass
class SimulatedFleet:
    """A `bench.running.fleets.Fleet` on a clock that jumps from event to event.

    Attributes:
        cluster: of what workers.
        world: what jobs take.
        stack: that all of them are on.
        source: whose shape every row has.
        told: what happened.
    """

    cluster: Cluster
    world: World
    stack: Stack
    source: TrialResult
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        self._clock, self._count = 0.0, 0
        self._events: list[tuple[float, int, str, Event | None]] = []
        self._workers = {w.name: w for w in self.cluster.workers()}
        self._doing: dict[str, _Doing] = {}
        self._left_at: dict[str, float] = {}
        self._holds: dict[str, tuple[str | None, Hashable]] = {}
        self._begun: dict[tuple[str, Hashable], str] = {}

    def __enter__(self) -> "SimulatedFleet":
        for worker in self._workers.values():
            self._at(0.0, worker.name, Joined(worker))
        for number, (when, away) in enumerate(self.cluster.losses):
            node = f"node{number % self.cluster.nodes}"
            for worker in self._workers.values():
                if worker.node == node:
                    self._at(when, worker.name, Left(worker.name, f"{node} was preempted"))
                    self._at(when + away, worker.name, Joined(worker))
        return self

    def __exit__(self, *_: object) -> None:
        for left in self._left_at.values():
            self.told.away += self._clock - left

    def start(self, worker: str, job: Job) -> None:
        """Work out when it will have ended."""
        assert worker not in self._doing, f"{worker} has a job"
        began = time.process_time()
        setup, seconds = self._begin(worker, job), self.world.seconds(job)
        number = self._at(self._clock + setup + seconds, worker, None)
        self._doing[worker] = _Doing(job, number, self._clock, setup, seconds)
        self.told.own_seconds += time.process_time() - began

    def next(self, seconds: float) -> Event | None:
        """Jump to what happens next, however long that is from now."""
        began = time.process_time()
        found: Event | None = None
        while found is None and self._events:
            when, number, worker, event = heapq.heappop(self._events)
            found = self._ended(number, worker, when) if event is None else event
            if found is not None:
                self._clock = when
            if isinstance(event, Joined | Left):
                self._comes_or_goes(event, worker)
        self.told.own_seconds += time.process_time() - began
        return found

    def want(self, workers: int) -> None:
        """There are as many as there are."""

    def rest(self, worker: str) -> None:
        """It waits."""

    def unheard(self) -> Iterator[Ended]:
        """Nothing happens that is not heard of."""
        yield from ()

    def now(self) -> float:
        """Simulated seconds since the start."""
        return self._clock

    # ----------------------------------------------------------------------------------- events

    def _at(self, when: float, worker: str, event: Event | None) -> int:
        """Put an event in its place; None for the end of what the worker will be doing."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, worker, event))
        return self._count

    def _begin(self, worker: str, job: Job) -> float:
        """Seconds until a worker stands on a job's ground."""
        backbone, ground = self._holds.get(worker, (None, None))
        if ground == job.ground:
            return 0.0
        work = job.work.spec if isinstance(job.work, Share) else job.work
        assert isinstance(work, TrialSpec)
        seconds = self.world.setup(backbone, job)
        if job.stage != "images":
            place = self._workers[worker].cache, job.ground
            self.told.setups += 1
            self.told.moves += self._begun.setdefault(place, worker) != worker
            self._holds[worker] = work.backbone.name, job.ground
        return seconds

    def _ended(self, number: int, worker: str, when: float) -> Ended | None:
        """The end of a job; None where its worker went before."""
        doing = self._doing.get(worker)
        if doing is None or doing.number != number:
            return None
        del self._doing[worker]
        self.told.jobs += 1
        self.told.work += doing.seconds
        self.told.setup += doing.setup
        job = doing.job
        if isinstance(job.work, Share):
            return Ended(worker, job, Shared(seconds=doing.seconds, built={job.stage: 1}))
        assert isinstance(job.work, TrialSpec)
        return Ended(worker, job, Finished(result=row_of(job.work, doing.seconds, self.source)))

    def _comes_or_goes(self, event: Joined | Left, worker: str) -> None:
        if isinstance(event, Joined):
            self.told.away += self._clock - self._left_at.pop(worker, self._clock)
            return
        self._left_at[worker] = self._clock
        self._holds.pop(worker, None)
        if (doing := self._doing.pop(worker, None)) is not None:
            self.told.lost += self._clock - doing.began


class Silence:
    """A `bench.running.listening.FleetListener` that says nothing."""

    def begins(self, stack: Stack, trials: int, settled: int) -> None: ...
    def trial_begins(self, spec: Spec) -> None: ...
    def progress(self, spec: Spec, progress: Progress) -> None: ...
    def trial_ends(self, result: Row) -> None: ...
    def trial_is_lost(self, spec: Spec) -> None: ...
    def step_begins(self, job: Job) -> None: ...
    def step_goes_on(self, job: Job, progress: Progress) -> None: ...
    def step_ends(self, job: Job, shared: Shared) -> None: ...
    def noted(self, text: str) -> None: ...


class NoStore:
    """In place of a store, where only the schedule counts."""

    def outlines(self, stack: Stack, wanted: object) -> dict[str, Row]:
        """Nothing was measured before."""
        return {}

    def append(self, row: Row, predictions: Path | None) -> Row:
        """The row."""
        return row
