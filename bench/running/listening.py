"""Who is told how a run goes, and passing it on."""

from typing import Protocol

from bench.progress import Progress
from bench.records import Stack
from bench.running.jobs import Job
from bench.running.messages import Shared
from bench.tasks import Row, Spec


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

    def noted(self, text: str) -> None:
        """Something that people should know: a worker is lost, a job takes long."""


class FleetListener(Listener, Protocol):
    """Who is also told what a fleet does beside trials."""

    def step_begins(self, job: Job) -> None:
        """A step that trials share starts."""

    def step_goes_on(self, job: Job, progress: Progress) -> None:
        """It goes on."""

    def step_ends(self, job: Job, shared: Shared) -> None:
        """It has ended, well or not."""

    def trial_is_lost(self, spec: Spec) -> None:
        """The worker of a trial that began is gone; it will begin again."""


class Passing:
    """A `FleetListener` that passes everything on; a class of its own does more with some of it.

    Args:
        listener: who is told in the end.
    """

    def __init__(self, listener: FleetListener) -> None:
        self._listener = listener

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        """The suite starts."""
        self._listener.begins(stack, trials, settled)

    def trial_begins(self, spec: Spec) -> None:
        """A trial starts."""
        self._listener.trial_begins(spec)

    def progress(self, spec: Spec, progress: Progress) -> None:
        """A trial goes on."""
        self._listener.progress(spec, progress)

    def trial_ends(self, result: Row) -> None:
        """A trial has ended and is on disk."""
        self._listener.trial_ends(result)

    def trial_is_lost(self, spec: Spec) -> None:
        """A trial will begin again."""
        self._listener.trial_is_lost(spec)

    def step_begins(self, job: Job) -> None:
        """A shared step starts."""
        self._listener.step_begins(job)

    def step_goes_on(self, job: Job, progress: Progress) -> None:
        """It goes on."""
        self._listener.step_goes_on(job, progress)

    def step_ends(self, job: Job, shared: Shared) -> None:
        """It has ended."""
        self._listener.step_ends(job, shared)

    def noted(self, text: str) -> None:
        """Something that people should know."""
        self._listener.noted(text)
