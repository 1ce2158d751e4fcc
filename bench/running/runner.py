"""The runner: a suite's tasks (trials, or measurements of cost), each a row as it ends.

It knows nothing of Keras: an `Engine` executes a task and hands back a row. Several engines work
side by side, each on a thread; store and listener hear of it all from the thread that called.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from bench.probes import ProbeSpec
from bench.progress import Progress
from bench.records import Stack, TrialSpec
from bench.running.messages import Finished
from bench.running.slimming import Outlines
from bench.running.store import Store
from bench.steps import ground_of
from bench.tasks import Row, Spec

END_SECONDS = 0.1
"""How often to look whether engines that were told to end have done so."""


class Engine(Protocol):
    """What executes trials."""

    stack: Stack

    def execute(self, spec: Spec, report: Callable[[Progress], None]) -> Finished:
        """Run one trial; whatever goes wrong in it becomes its status."""

    def close(self) -> None:
        """Let go of what trials left; one that runs on another thread ends at once."""


class Listener(Protocol):
    """Who is told how the run goes."""

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        """The suite starts: so many trials, of which so many were measured before."""

    def trial_begins(self, spec: Spec) -> None:
        """A trial starts."""

    def progress(self, spec: Spec, progress: Progress) -> None:
        """A trial goes on."""

    def trial_ends(self, result: Row) -> None:
        """A trial has ended and is on disk."""


@dataclass(frozen=True)
class Summary:
    """How a run ended, its rows in outline (`slimming.outlined`): the store has the whole.

    Attributes:
        measured: rows of this run, in the order they ended.
        settled: rows of earlier runs that were kept.
    """

    measured: tuple[Row, ...]
    settled: tuple[Row, ...]

    @property
    def all_ok(self) -> bool:
        """Whether every trial of the suite now has a result."""
        return all(r.status == "ok" for r in (*self.measured, *self.settled))


Stands = Callable[[Row], bool]
"""Whether a row of an earlier run need not be measured again."""


def any_row(_: Row) -> bool:
    """Every row stands that the store holds to be settled."""
    return True


def run(
    trials: Sequence[Spec],
    store: Store,
    engine: Engine,
    listener: Listener,
    stands: Stands = any_row,
) -> Summary:
    """Measure every trial that the store does not hold under this stack.

    Args:
        trials: in the order to run.
        store: held for writing.
        engine: executes them.
        listener: told how it goes.
        stands: asked of the rows that the store holds.
    """
    settled, pending = _sorted_out(trials, store, engine.stack, stands)
    listener.begins(engine.stack, len(trials), len(settled))
    measured, outlines = [], Outlines(pending)
    for spec in pending:
        listener.trial_begins(spec)
        finished = engine.execute(spec, partial(listener.progress, spec))
        row = store.append(finished.result, finished.predictions)
        measured.append(outlines.of(row))
        listener.trial_ends(row)
    return Summary(tuple(measured), settled)


def run_side_by_side(
    trials: Sequence[Spec],
    store: Store,
    engines: Sequence[Engine],
    listener: Listener,
    stands: Stands = any_row,
) -> Summary:
    """The same on several engines at once; on a single one it is `run`.

    Trials that can share work go to one engine, as a group: nobody else gets one of them meanwhile.
    What has finished is stored, whatever ends the run.

    Args:
        trials: groups of them are handed out in this order.
        store: held for writing; only the calling thread writes to it.
        engines: on one stack. Several are closed at the end, however it comes.
        listener: called by the calling thread only.
        stands: asked of the rows that the store holds.
    """
    if len(engines) == 1:
        return run(trials, store, engines[0], listener, stands)
    stack = engines[0].stack
    settled, pending = _sorted_out(trials, store, stack, stands)
    listener.begins(stack, len(trials), len(settled))
    measured: list[Row] = []
    outlines = Outlines(pending)
    work = iter(groups(pending))
    team = Team(engines, [work] * len(engines))

    def keep(finished: Finished) -> None:
        row = store.append(finished.result, finished.predictions)
        measured.append(outlines.of(row))
        listener.trial_ends(row)

    try:
        with team:
            for _, spec, said in team.told():
                if said is None:
                    listener.trial_begins(spec)
                elif isinstance(said, Progress):
                    listener.progress(spec, said)
                else:
                    keep(said)
    finally:
        for _, finished in team.unheard():
            keep(finished)
    return Summary(tuple(measured), settled)


def groups(trials: Sequence[Spec]) -> list[list[Spec]]:
    """Trials and probes by the ground they stand on, measurements by backbone; in order of their
    first."""
    found: dict[Hashable, list[Spec]] = {}
    for spec in trials:
        trial = spec.trials[0] if isinstance(spec, ProbeSpec) else spec
        alike = ground_of(trial) if isinstance(trial, TrialSpec) else trial.backbone.name
        found.setdefault(alike, []).append(spec)
    return list(found.values())


def _sorted_out(
    trials: Sequence[Spec], store: Store, stack: Stack, stands: Stands
) -> tuple[tuple[Row, ...], list[Spec]]:
    """Rows that the store holds already, and trials to measure."""
    keyed = [(trial.key, trial) for trial in trials]
    known = {k: row for k, row in store.outlines(stack, dict(keyed)).items() if stands(row)}
    settled = tuple(known[key] for key, _ in keyed if key in known)
    return settled, [trial for key, trial in keyed if key not in known]


class Told(NamedTuple):
    """What a thread says of a trial: that it begins (None), goes on, or has finished."""

    engine: Engine
    spec: Spec
    said: Progress | Finished | None


class Team:
    """Engines at work, each on a thread of its own. Use it as a context manager.

    Args:
        engines: that work.
        work: groups of trials for each engine, to be run whole; where several hold the same
            iterator, whoever is free takes the next one.
    """

    def __init__(self, engines: Sequence[Engine], work: Sequence[Iterator[Sequence[Spec]]]) -> None:
        self._engines = engines
        self._taking, self._ending = threading.Lock(), threading.Event()
        self._told: queue.Queue[Told | BaseException | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._work, args=(engine, groups), daemon=True)
            for engine, groups in zip(engines, work, strict=True)
        ]

    def __enter__(self) -> "Team":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs. An engine may be about to start something: tell it until it ends."""
        self._ending.set()
        while any(thread.is_alive() for thread in self._threads):
            for engine in self._engines:
                engine.close()
            for thread in self._threads:
                thread.join(END_SECONDS)

    def told(self) -> Iterator[Told]:
        """What the threads say, until all have ended; what an engine raised is raised here."""
        left = len(self._threads)
        while left:
            said = self._told.get()
            if isinstance(said, BaseException):
                raise said
            if said is None:
                left -= 1
            else:
                yield said

    def unheard(self) -> Iterator[tuple[Engine, Finished]]:
        """What finished and was not told, because the run ended before."""
        with contextlib.suppress(queue.Empty):
            while True:
                waiting = self._told.get_nowait()
                if isinstance(waiting, Told) and isinstance(waiting.said, Finished):
                    yield waiting.engine, waiting.said

    def _work(self, engine: Engine, groups: Iterator[Sequence[Spec]]) -> None:
        try:
            while group := self._next_of(groups):
                for spec in group:
                    self._execute(spec, engine)
            engine.close()  # others may go on for hours: it must not hold memory meanwhile
        except BaseException as error:
            self._told.put(error)
        else:
            self._told.put(None)

    def _next_of(self, groups: Iterator[Sequence[Spec]]) -> Sequence[Spec] | None:
        with self._taking:
            return next(groups, None)

    def _execute(self, spec: Spec, engine: Engine) -> None:
        if self._ending.is_set():
            return

        def tell(said: Progress | Finished | None) -> None:
            self._told.put(Told(engine, spec, said))

        tell(None)
        finished = engine.execute(spec, tell)
        # Ended by ourselves, it has failed for no fault of its own; what is complete counts.
        if finished.result.status == "ok" or not self._ending.is_set():
            tell(finished)
