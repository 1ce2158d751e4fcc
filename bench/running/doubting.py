"""Listeners that have the machine looked at between tasks, and pass on what they are told."""

from collections.abc import Sequence

from bench.progress import Progress
from bench.running import lockstep
from bench.running.doubts import Doubts
from bench.running.listening import FleetListener, Passing
from bench.running.lockstep import Side
from bench.tasks import Row, Spec


class Doubting(Passing):
    """A `bench.running.listening.FleetListener`.

    Args:
        listener: who is told in the end.
        doubts: what looks.

    Raises:
        StoreError: where a task begins, and there is no room for its row.
    """

    def __init__(self, listener: FleetListener, doubts: Doubts) -> None:
        super().__init__(listener)
        self._doubts = doubts

    def trial_begins(self, spec: Spec) -> None:
        """A trial starts, unless a disk is full."""
        self._doubts.task_begins(spec)
        super().trial_begins(spec)

    def progress(self, spec: Spec, progress: Progress) -> None:
        """A trial goes on."""
        self._doubts.task_goes_on(spec)
        super().progress(spec, progress)

    def trial_ends(self, result: Row) -> None:
        """A trial has ended and is on disk."""
        super().trial_ends(result)
        self._doubts.task_ends(result)


class DoubtingSides:
    """The same as a `bench.running.lockstep.Listener`."""

    def __init__(self, listener: lockstep.Listener, doubts: Doubts) -> None:
        self._listener, self._doubts = listener, doubts

    def begins(self, sides: Sequence[Side], measurements: int, settled: int) -> None:
        """It starts."""
        self._doubts.started(*(side.engine for side in sides))
        self._listener.begins(sides, measurements, settled)

    def trial_begins(self, side: Side, spec: Spec) -> None:
        """A side begins, unless a disk is full."""
        self._doubts.task_begins(spec)
        self._listener.trial_begins(side, spec)

    def progress(self, side: Side, spec: Spec, progress: Progress) -> None:
        """It goes on."""
        self._doubts.task_goes_on(spec)
        self._listener.progress(side, spec, progress)

    def trial_ends(self, side: Side, result: Row) -> None:
        """It has ended, and its row is on disk."""
        self._listener.trial_ends(side, result)
        self._doubts.task_ends(result)
