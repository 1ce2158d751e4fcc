"""The seam between the runner and whoever does the work: workers, and what they tell.

A fleet is a number of workers, each doing one job at a time: processes of this machine
(`bench.running.local_fleet`), of a Ray cluster (`bench.running.ray_fleet`), or of a simulated one.
Which job goes where is not its business (`bench.running.dispatching`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from bench.progress import Progress
from bench.records import Stack
from bench.running.jobs import Job
from bench.running.messages import Finished, Shared


@dataclass(frozen=True)
class Worker:
    """Who does one job at a time.

    Attributes:
        name: of no other worker of the run, for people too: ``2``, ``10.0.0.3 GPU 1``.
        node: the machine it is on.
        cache: which cache it reads and writes; equal for those who share one
            (`bench.cache.identity`).
        only_cpu: it has no GPU though others have one; given only what needs none.
    """

    name: str
    node: str = ""
    cache: str = ""
    only_cpu: bool = False


@dataclass(frozen=True)
class Joined:
    """A worker is ready for work."""

    worker: Worker


@dataclass(frozen=True)
class Left:
    """A worker is gone, and with it what it did.

    Attributes:
        why: for people; empty where it did nothing, and the fleet let go of it.
        busy: it was at its job; else a job that it was given since is not to blame.
    """

    worker: str
    why: str
    busy: bool = True


@dataclass(frozen=True)
class Said:
    """A worker says how its job goes."""

    worker: str
    job: Job
    progress: Progress


@dataclass(frozen=True)
class Ended:
    """A worker has ended its job, well or not; predictions lie in the run's scratch folder."""

    worker: str
    job: Job
    outcome: Finished | Shared


Event = Joined | Left | Said | Ended


class Fleet(Protocol):
    """Workers. Use it as a context manager: at the end, however it comes, none of them runs."""

    @property
    def stack(self) -> Stack:
        """What every worker that computes comes up on."""

    def __enter__(self) -> "Fleet":
        """Workers are asked for; each says when it has joined."""

    def __exit__(self, *_: object) -> None:
        """End every worker, and what it does."""

    def start(self, worker: str, job: Job) -> None:
        """Give a job to a worker that has none. Returns at once."""

    def next(self, seconds: float) -> Event | None:
        """What happened next; None where nothing did in so many seconds.

        Raises:
            BenchError: there will be no worker any more.
        """

    def want(self, workers: int) -> None:
        """So many workers would have something to do now."""

    def rest(self, worker: str) -> None:
        """There is nothing for it now: after a while, let it hold nothing that others could use."""

    def unheard(self) -> Iterator[Ended]:
        """After the end: what was done before, and not heard of."""

    def now(self) -> float:
        """Seconds on this fleet's clock, from wherever it counts."""
