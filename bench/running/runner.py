"""The runner: a suite's trials, one after another, each a row before the next begins.

It knows nothing of Keras: an `Engine` executes a trial and hands back a row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.records import Progress, Stack, TrialResult, TrialSpec
from bench.running.messages import Finished
from bench.running.store import Store


class Engine(Protocol):
    """What executes trials."""

    stack: Stack

    def execute(self, spec: TrialSpec, report: Callable[[Progress], None]) -> Finished:
        """Run one trial; whatever goes wrong in it becomes its status."""


class Listener(Protocol):
    """Who is told how the run goes."""

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        """The suite starts: so many trials, of which so many were measured before."""

    def trial_begins(self, spec: TrialSpec) -> None:
        """A trial starts."""

    def progress(self, progress: Progress) -> None:
        """The trial goes on."""

    def trial_ends(self, result: TrialResult) -> None:
        """A trial has ended and is on disk."""


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        measured: rows of this run, in order.
        settled: rows of earlier runs that were kept.
    """

    measured: tuple[TrialResult, ...]
    settled: tuple[TrialResult, ...]

    @property
    def all_ok(self) -> bool:
        """Whether every trial of the suite now has a result."""
        return all(r.status == "ok" for r in (*self.measured, *self.settled))


def run(trials: Sequence[TrialSpec], store: Store, engine: Engine, listener: Listener) -> Summary:
    """Measure every trial that the store does not hold under this stack.

    Args:
        trials: in the order to run.
        store: held for writing.
        engine: executes them.
        listener: told how it goes.
    """
    known = store.settled(engine.stack)
    settled = tuple(known[t.key] for t in trials if t.key in known)
    listener.begins(engine.stack, len(trials), len(settled))
    measured = []
    for spec in trials:
        if spec.key in known:
            continue
        listener.trial_begins(spec)
        finished = engine.execute(spec, listener.progress)
        row = store.append(finished.result, finished.predictions)
        measured.append(row)
        listener.trial_ends(row)
    return Summary(tuple(measured), settled)
