"""Running what a policy asks for, one task after another, until it has enough or time is up.

A runner whose next task depends on the rows so far. It knows nothing of what is being decided: the
policy is given the rows and the time left, and says what to run. Rows go to the store as they end,
so that stopping at any moment loses no more than the task that ran.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from bench.costs import CostSpec
from bench.progress import Progress
from bench.records import Execution, TrialSpec
from bench.running.isolation import LocalEngine
from bench.running.listening import Listener
from bench.running.messages import Finished, Setup
from bench.running.process import Turn
from bench.running.runner import Engine
from bench.running.store import Store
from bench.tasks import Row, Spec

AGAIN_SECONDS = 0.1
"""How often a worker is ended whose time is up: it may have been about to start."""
TIMED_SECONDS = 2.0
"""How long a measurement of cost times each kind of step: enough to choose by."""


class Next(NamedTuple):
    """What to run next.

    Attributes:
        spec: the task.
        seconds: wall time after which it is given up; None for no more than the engine's own limit.
    """

    spec: Spec
    seconds: float | None = None


Policy = Callable[[Sequence[Row], float | None], Next | None]
"""(rows so far, seconds left or None without a budget) -> what to run; None when that is enough."""

Why = Literal["enough", "interrupted"]


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        rows: of this run and of earlier ones, in the order they were measured.
        why: the policy had enough, or somebody interrupted.
    """

    rows: tuple[Row, ...]
    why: Why


class Deadline:
    """A budget of wall time that has begun to run.

    Args:
        seconds: None for no end.
        clock: seconds, for tests.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock, self._began = seconds, clock, clock()

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    @property
    def left(self) -> float | None:
        """Seconds, 0 at the least; None without an end."""
        return None if self._seconds is None else max(self._seconds - self.spent, 0.0)


def run(
    policy: Policy,
    settled: Sequence[Row],
    store: Store,
    engine: Engine,
    listener: Listener,
    deadline: Deadline,
) -> Ending:
    """Run what the policy asks for.

    A probe or a measurement that is given up for time becomes a row with status ``timeout``: it is
    too slow to be of use. A trial that is, or anything when the whole budget is spent, leaves no
    row, and a later run tries it again. Nothing runs twice: a policy that asks for what has just
    run has enough. Ctrl-C ends the run as enough does.

    Args:
        policy: asked before every task.
        settled: rows of earlier runs.
        store: held for writing.
        engine: executes tasks.
        listener: told how it goes.
        deadline: of the whole run.
    """
    rows, ran = list(settled), set[str]()
    try:
        while deadline.left != 0:
            task = policy(rows, deadline.left)
            if task is None or task.spec.key in ran:
                break
            listener.trial_begins(task.spec)
            finished, given_up = _within(_limit(task, deadline), task.spec, engine, listener)
            if given_up and (isinstance(task.spec, TrialSpec) or deadline.left == 0):
                continue  # the budget's doing: it says nothing of the task
            row = store.append(finished.result, finished.predictions)
            rows.append(row)
            ran.add(row.key)
            listener.trial_ends(row)
    except KeyboardInterrupt:
        engine.close()
        return Ending(tuple(rows), "interrupted")
    return Ending(tuple(rows), "enough")


def _limit(task: Next, deadline: Deadline) -> float | None:
    return min((s for s in (task.seconds, deadline.left) if s is not None), default=None)


def _within(
    seconds: float | None, spec: Spec, engine: Engine, listener: Listener
) -> tuple[Finished, bool]:
    """Execute a task; after so many seconds its worker is ended, which the second value tells."""
    with _ending(seconds, engine) as over:
        finished = engine.execute(spec, partial(listener.progress, spec))
    if not over.is_set() or finished.result.status == "ok":
        return finished, False
    reason = f"given up after {seconds:.0f} s: too slow for the time there was"
    changes = {"status": "timeout", "reason": reason}
    return Finished(result=finished.result.model_copy(update=changes)), True


@contextmanager
def _ending(seconds: float | None, engine: Engine) -> Iterator[threading.Event]:
    """After so many seconds end what the engine runs, and whatever it starts instead."""
    over, done = threading.Event(), threading.Event()

    def end() -> None:
        if done.wait(seconds):
            return
        over.set()
        while not done.wait(AGAIN_SECONDS):
            engine.close()

    if seconds is None:
        yield over
        return
    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    try:
        yield over
    finally:
        done.set()
        thread.join()


class Switch:
    """One engine for trials and probes, another for measurements of cost; never both at once.

    Costs are measured with kernels that need not be deterministic, in processes of their own.

    Args:
        setup: how workers run trials.
        trial_seconds: time limit of a task.

    Raises:
        WorkerError: the first worker did not start.
    """

    def __init__(self, setup: Setup, trial_seconds: float | None = None) -> None:
        self._setup, self._seconds = setup, trial_seconds
        self._engine, self._costs = LocalEngine(setup, trial_seconds), False
        self.stack = self._engine.stack

    def execute(
        self,
        spec: Spec,
        report: Callable[[Progress], None],
        turn: Turn | None = None,
        save: Path | None = None,
    ) -> Finished:
        """Run one task on the engine for its kind (`bench.running.isolation.LocalEngine`)."""
        costs = isinstance(spec, CostSpec)
        if costs != self._costs:
            self._engine.close()
            self._engine, self._costs = self._next_engine(costs), costs
        return self._engine.execute(spec, report, turn, save)

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes that its worker holds now, and the most that a worker of this engine held."""
        return self._engine.memory

    def close(self) -> None:
        """End the worker, on whatever thread."""
        self._engine.close()

    def _next_engine(self, costs: bool) -> LocalEngine:
        """Not waited for: a worker that does not start fails its task, as any later one does."""
        engine = LocalEngine(self._setup_for(costs), self._seconds, wait=False)
        engine.stack, engine.environment = self.stack, self._engine.environment
        return engine

    def _setup_for(self, costs: bool) -> Setup:
        if not costs:
            return self._setup
        precision = self._setup.execution.precision
        changes = {
            "execution": Execution(precision=precision, deterministic=False),
            "timed_seconds": TIMED_SECONDS,
        }
        return self._setup.model_copy(update=changes)
