"""Workers on this machine, each an engine on a thread of its own."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bench.progress import Progress
from bench.records import Stack
from bench.running.fleets import Ended, Event, Joined, Said, Worker
from bench.running.jobs import Job, Work
from bench.running.messages import Finished, Share, Shared
from bench.running.runner import Engine

END_SECONDS = 0.1
"""How often to look whether engines that were told to end have done so."""
REST_SECONDS = 30.0
"""An engine that had nothing to do for so long lets go of its process. To start another takes a
large part of that, and most waits are for one step of another engine."""


class SharingEngine(Engine, Protocol):
    """An engine that can also do a shared step by itself."""

    def share(self, step: Share, report: Callable[[Progress], None]) -> Shared:
        """Do it; whatever goes wrong becomes its reason."""


Report = Callable[[Progress], None]
"""Told how it goes."""


class LocalFleet:
    """A `bench.running.fleets.Fleet` of engines.

    Args:
        engines: on one stack; they are closed at the end.
        cache: which cache all of them use.
    """

    def __init__(self, engines: Sequence[Engine], cache: str = "") -> None:
        self._cache = cache
        self._engines = {str(number): engine for number, engine in enumerate(engines, 1)}
        self._inboxes: dict[str, queue.Queue[Job | None]] = {
            n: queue.Queue() for n in self._engines
        }
        self._told: queue.Queue[Event | BaseException] = queue.Queue()
        self._resting: dict[str, float] = {}
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(name,), daemon=True)
            for name in self._engines
        ]

    @property
    def stack(self) -> Stack:
        """Of the engines."""
        return next(iter(self._engines.values())).stack

    def __enter__(self) -> "LocalFleet":
        for name in self._engines:
            self._told.put(Joined(Worker(name, cache=self._cache)))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs. An engine may be about to start something: tell it until it ends."""
        self._ending.set()
        for inbox in self._inboxes.values():
            inbox.put(None)
        while any(thread.is_alive() for thread in self._threads):
            for engine in self._engines.values():
                engine.close()
            for thread in self._threads:
                thread.join(END_SECONDS)

    def start(self, worker: str, job: Job) -> None:
        """Give an engine its next job."""
        self._resting.pop(worker, None)
        self._inboxes[worker].put(job)

    def next(self, seconds: float) -> Event | None:
        """What a thread says; what an engine raised is raised here."""
        try:
            said = self._told.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(said, BaseException):
            raise said
        return said

    def want(self, workers: int) -> None:
        """There are as many as there are."""

    def rest(self, worker: str) -> None:
        """End its process if that lasts; the next job, if there is one, starts another."""
        since = self._resting.setdefault(worker, self.now())
        if self.now() - since >= REST_SECONDS:
            self._engines[worker].close()

    def unheard(self) -> Iterator[Ended]:
        """What ended and was not asked for, because the run ended before."""
        with contextlib.suppress(queue.Empty):
            while True:
                waiting = self._told.get_nowait()
                if isinstance(waiting, Ended):
                    yield waiting

    def now(self) -> float:
        """Of this machine's clock that never jumps."""
        return time.monotonic()

    def _serve(self, name: str) -> None:
        engine = self._engines[name]
        try:
            while (job := self._inboxes[name].get()) is not None:
                if not self._ending.is_set():
                    self._do(name, engine, job)
        except BaseException as error:
            self._told.put(error)

    def _do(self, name: str, engine: Engine, job: Job) -> None:
        def tell(progress: Progress) -> None:
            self._told.put(Said(name, job, progress))

        outcome = done(engine, job.work, tell)
        # Ended by ourselves, it has failed for no fault of its own; what is complete counts.
        if is_complete(outcome) or not self._ending.is_set():
            self._told.put(Ended(name, job, outcome))


def done(engine: Engine, work: Work, report: Report) -> Finished | Shared:
    """Have an engine do what a job asks for."""
    if not isinstance(work, Share):
        return engine.execute(work, report)
    sharing: SharingEngine = engine  # type: ignore[assignment]
    return sharing.share(work, report)


def is_complete(outcome: Finished | Shared) -> bool:
    """Whether it came to its end, even if somebody was about to end it."""
    return isinstance(outcome, Finished) and outcome.result.status == "ok"
