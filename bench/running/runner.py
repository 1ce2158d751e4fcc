"""The runner: a suite's tasks (trials, or measurements of cost), each a row as it ends.

It knows nothing of Keras: an `Engine` executes a task and hands back a row; a fleet
(`bench.running.fleets`) does so with many tasks at once, here or elsewhere. Store and listener hear
of it all from the thread that called.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from bench.progress import Progress
from bench.records import Stack, TrialResult
from bench.running import jobs
from bench.running.dispatching import Dispatcher, Lost
from bench.running.fleets import Ended, Event, Fleet, Joined, Left
from bench.running.jobs import Job
from bench.running.listening import FleetListener, Listener
from bench.running.messages import Finished, Shared
from bench.running.slimming import Outlines
from bench.running.store import Store
from bench.tasks import ROWS, Row, Spec

LOOK_SECONDS = 5.0
"""How often to look for jobs that take long, where nothing else happens."""
UNKNOWN_SECONDS = 300.0
"""Of every job, where no row tells of any: more than beginning on another ground takes, or nobody
would ever join others there."""
SLOW_FACTOR, SLOW_SECONDS = 3.0, 60.0
"""A job is told of that takes so many times what was expected, and so much longer."""


class Engine(Protocol):
    """What executes trials."""

    stack: Stack

    def execute(self, spec: Spec, report: Callable[[Progress], None]) -> Finished:
        """Run one trial; whatever goes wrong in it becomes its status."""

    def close(self) -> None:
        """Let go of what trials left; one that runs on another thread ends at once."""


@dataclass(frozen=True)
class Summary:
    """How a run ended, its rows in outline (`slimming.outlined`): the store has the whole.

    Attributes:
        measured: rows of this run, in the order they ended.
        settled: rows of earlier runs that were kept.
        built: entries of the cache that a fleet made, by kind.
    """

    measured: tuple[Row, ...]
    settled: tuple[Row, ...]
    built: Mapping[str, int] = field(default_factory=dict)

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
        for note in finished.notes:
            listener.noted(note)
        listener.trial_ends(row)
    return Summary(tuple(measured), settled)


def run_on(
    trials: Sequence[Spec],
    store: Store,
    fleet: Fleet,
    listener: FleetListener,
    stands: Stands = any_row,
    literal: bool = False,
    seconds: Callable[[Job], float | None] = lambda _: None,
) -> Summary:
    """The same on many workers at once; what trials share is done once, wherever it is done.

    What has ended is stored, whatever ends the run.

    Args:
        trials: the order counts where nothing else decides.
        store: held for writing; only the calling thread writes to it.
        fleet: not yet entered.
        listener: called by the calling thread only.
        stands: asked of the rows that the store holds.
        literal: trials share nothing but pictures.
        seconds: what a job is expected to take, by what earlier rows tell; None where they do not.

    Raises:
        BenchError: there is no worker, nor will there be.
        StoreError: a row could not be written.
    """
    settled, pending = _sorted_out(trials, store, fleet.stack, stands)
    listener.begins(fleet.stack, len(trials), len(settled))
    course = _Course(jobs.of(pending, literal), store, fleet, listener, seconds)
    try:
        with fleet:
            course.run()
    finally:
        for event in fleet.unheard():
            course.save(event)
    return Summary(tuple(course.measured), settled, course.built)


class _Course:
    """A run on a fleet, event by event."""

    def __init__(
        self,
        work: Sequence[Job],
        store: Store,
        fleet: Fleet,
        listener: FleetListener,
        seconds: Callable[[Job], float | None],
    ) -> None:
        self._store, self._fleet, self._listener = store, fleet, listener
        self._known = {job.key: seconds(job) for job in work}
        self._state = Dispatcher(work, _guessed(work, self._known))
        self._outlines = Outlines(job.work for job in work if isinstance(job.work, Spec))
        self._began: dict[str, float] = {}
        self._told_slow: set[str] = set()
        self._look_at = 0.0
        self._noted: set[str] = set()
        self._bill = _Bill(work)
        self.measured: list[Row] = []
        self.built: Counter[str] = Counter()

    def run(self) -> None:
        """Until every job has ended or was given up."""
        while not self._state.done:
            self._fleet.want(self._state.useful)
            for worker in self._state.idle:
                self._occupy(worker)
            event = self._fleet.next(LOOK_SECONDS)
            if event is not None:
                self._hear(event)
            self._tell_slow()

    def save(self, event: Ended) -> Row | None:
        """Have what ended on disk; gives its row, if it comes to one."""
        outcome = event.outcome
        self.built.update(outcome.built)
        if isinstance(outcome, Shared):
            self._bill.add(event.job, outcome)
            return None
        billed = self._bill.settled(outcome.result)
        return self._stored(outcome.model_copy(update={"result": billed}))

    # ----------------------------------------------------------------------------- what happens

    def _occupy(self, worker: str) -> None:
        job = self._state.next_for(worker)
        if job is None:
            self._fleet.rest(worker)
            return
        if isinstance(job.work, Spec):
            self._listener.trial_begins(job.work)
        else:
            self._listener.step_begins(job)
        self._began[worker] = self._fleet.now()
        self._fleet.start(worker, job)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Joined):
            self._state.joined(event.worker)
        elif isinstance(event, Ended):
            failed = isinstance(event.outcome, Shared) and bool(event.outcome.reason)
            self._state.ended(event.worker, in_vain=failed and event.job.stage == "images")
            self._end(event)
        elif isinstance(event, Left):
            self._lose(event)
        elif isinstance(event.job.work, Spec):
            self._listener.progress(event.job.work, event.progress)
        else:
            self._listener.step_goes_on(event.job, event.progress)

    def _end(self, event: Ended) -> None:
        row = self.save(event)  # first: a listener whose reader is gone ends the run
        for note in event.outcome.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._listener.noted(note)
        if row is not None:
            self._listener.trial_ends(row)
        elif isinstance(event.outcome, Shared):
            self._listener.step_ends(event.job, event.outcome)

    def _lose(self, event: Left) -> None:
        """A worker is gone: its job goes elsewhere, or is given up."""
        lost = self._state.left(event.worker, event.why, event.busy)
        if not event.why:
            return
        doing = f" while it did {lost.job.label}" if lost and event.busy else ""
        self._listener.noted(f"worker {event.worker} is lost{doing}: {event.why}")
        if lost is None:
            return
        work = lost.job.work
        if not isinstance(work, Spec):
            reason = event.why if lost.given_up else ""  # else it begins anew elsewhere
            self._listener.step_ends(lost.job, Shared(seconds=0.0, reason=reason))
        elif not lost.given_up:
            self._listener.trial_is_lost(work)
        for job in lost.given_up:
            self._give_up(job, lost)

    def _give_up(self, job: Job, lost: Lost) -> None:
        """A row that says why nobody will do a task any more."""
        assert isinstance(job.work, Spec)
        if job.key != lost.job.key:
            self._listener.trial_begins(job.work)
        shared = "" if job.key == lost.job.key else f" ({lost.job.label}, which it shares)"
        reasons = "; ".join(dict.fromkeys(lost.why))
        row = ROWS[type(job.work)].model_validate(
            {
                "key": job.key,
                "spec": job.work,
                "stack": self._fleet.stack,
                "status": "failed",
                "reason": f"its worker was lost {len(lost.why)} times{shared}: {reasons}",
                "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": 0.0,
            }
        )
        self._listener.trial_ends(self._stored(Finished(result=row)))

    def _stored(self, finished: Finished) -> Row:
        row = self._store.append(finished.result, finished.predictions)
        self.measured.append(self._outlines.of(row))
        return row

    def _tell_slow(self) -> None:
        """Say once of a job that it takes much longer than earlier rows have led to expect."""
        now = self._fleet.now()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for worker, job in self._state.doing.items():
            known, taken = self._known[job.key], now - self._began[worker]
            if known is None or job.key in self._told_slow:
                continue
            if taken > SLOW_FACTOR * known and taken > known + SLOW_SECONDS:
                self._told_slow.add(job.key)
                self._listener.noted(
                    f"slow: {job.label} has been at it for {taken / 60:.1f} min on worker "
                    f"{worker}; about {known / 60:.1f} min were expected"
                )


class _Bill:
    """What shared steps took, to be counted in the first trial that waits for each.

    So the seconds of all rows come to the work of a run, however many workers it had: with one,
    the trial that asks first does the step itself.

    Args:
        work: all jobs of a run.
    """

    def __init__(self, work: Sequence[Job]) -> None:
        self._payer: dict[str, str] = {}
        for job in work:
            for key in job.after if isinstance(job.work, Spec) else ():
                self._payer.setdefault(key, job.key)
        self._seconds: dict[tuple[str, str], float] = {}

    def add(self, job: Job, shared: Shared) -> None:
        """A step has ended; one that found its work done costs nobody anything."""
        payer = self._payer.get(job.key)
        if payer and shared.built:
            owed = payer, "pictures_seconds" if job.stage == "images" else "seconds"
            self._seconds[owed] = self._seconds.get(owed, 0.0) + shared.seconds

    def settled(self, row: Row) -> Row:
        """The row of a trial, with what was done for it."""
        if not isinstance(row, TrialResult):
            return row
        names = ("seconds", "pictures_seconds")
        owed = {n: self._seconds.pop((row.key, n), 0.0) for n in names}
        return row.model_copy(update={n: getattr(row, n) + more for n, more in owed.items()})


def _guessed(work: Sequence[Job], known: Mapping[str, float | None]) -> Callable[[Job], float]:
    """What each job should take: where nothing is known of it, as much as its like usually do."""
    told: dict[str, list[float]] = {}
    for job in work:
        if (seconds := known[job.key]) is not None:
            told.setdefault(job.stage, []).append(seconds)
            told.setdefault("", []).append(seconds)
    usual = {stage: statistics.median(found) for stage, found in told.items()}

    def guess(job: Job) -> float:
        seconds = known[job.key]
        return usual.get(job.stage, usual.get("", UNKNOWN_SECONDS)) if seconds is None else seconds

    return guess


def _sorted_out(
    trials: Sequence[Spec], store: Store, stack: Stack, stands: Stands
) -> tuple[tuple[Row, ...], list[Spec]]:
    """Rows that the store holds already, and trials to measure."""
    keyed = [(trial.key, trial) for trial in trials]
    known = {k: row for k, row in store.outlines(stack, dict(keyed)).items() if stands(row)}
    settled = tuple(known[key] for key, _ in keyed if key in known)
    return settled, [trial for key, trial in keyed if key not in known]
