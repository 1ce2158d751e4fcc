"""Trials in worker processes: a crash, a kill or a hang costs one trial, never the suite."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.costs import CostResult
from bench.errors import WorkerError
from bench.probes import ProbeSpec
from bench.progress import Progress
from bench.records import Status, TrialSpec
from bench.running.endings import Ended
from bench.running.messages import Finished, Setup, Share, Shared
from bench.running.process import COMMAND, Turn, Worker
from bench.tasks import ROWS, Row, Spec

RETIRE_BYTES = 2 * 2**30
"""A worker that holds more memory than this after a trial makes room for a fresh one: TensorFlow
keeps the graph of every model it traced (through its registry of custom gradients) until the
process ends, about 0.1 to 0.4 GiB a trial."""


class LocalEngine:
    """Runs trials one at a time on this machine, in a worker process per backbone.

    A worker ends with its backbone (device memory comes back only when a process ends; but probes
    take less time than a process takes to start, so all of them share one), after a trial that
    failed (what it left behind is not to be trusted), when it has grown large (above half its
    memory limit at the latest), and after each measurement of cost: nothing that ran before may
    warm, fill or fragment what is measured. The first worker starts at once: where not even that
    works, nothing would. A later one that does not start fails its trial.

    Args:
        setup: how workers run their trials.
        trial_seconds: time limit of a trial.
        command: what to start as a worker.
        wait: until the first worker is ready; else the caller calls `wait`, before anything else.

    Raises:
        WorkerError: the first worker did not start.
    """

    def __init__(
        self,
        setup: Setup,
        trial_seconds: float | None = None,
        command: tuple[str, ...] = COMMAND,
        wait: bool = True,
    ) -> None:
        self._setup, self._seconds, self._command = setup, trial_seconds, command
        self._worker: Worker | None = Worker(setup, command)
        self._last: Spec | None = None
        self._peak = 0
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait for the first worker, and take over its stack.

        Raises:
            WorkerError: it did not start.
        """
        assert self._worker is not None
        self._worker.wait()
        self.stack, self.environment = self._worker.stack, self._worker.environment

    def execute(
        self,
        spec: Spec,
        report: Callable[[Progress], None],
        turn: Turn | None = None,
        save: Path | None = None,
    ) -> Finished:
        """Run one trial; whatever happens to the worker becomes the trial's status."""
        began, started_at = time.monotonic(), datetime.now(UTC)
        status: Status
        try:
            answer = self._answer(spec, report, turn, save)
        except WorkerError as error:
            status, reason = "failed", str(error)
        else:
            if isinstance(answer, Finished):
                return answer
            assert isinstance(answer, Ended)
            status, reason = answer.explained()
        result: Row = ROWS[type(spec)].model_validate(
            {
                "key": spec.key,
                "spec": spec,
                "stack": self.stack,
                "environment": self.environment,
                "status": status,
                "reason": reason,
                "started_at": started_at.isoformat(timespec="seconds"),
                "seconds": time.monotonic() - began,
            }
        )
        return Finished(result=result)

    def share(self, step: Share, report: Callable[[Progress], None]) -> Shared:
        """Do one step that trials share; whatever happens to the worker becomes its reason."""
        began = time.monotonic()
        try:
            answer = self._answer(step, report)
        except WorkerError as error:
            reason = str(error)
        else:
            if isinstance(answer, Shared):
                return answer
            assert isinstance(answer, Ended)
            _, reason = answer.explained()
        return Shared(seconds=time.monotonic() - began, reason=reason)

    def _answer(
        self,
        work: Spec | Share,
        report: Callable[[Progress], None],
        turn: Turn | None = None,
        save: Path | None = None,
    ) -> Finished | Shared | Ended:
        """Run a trial; once more in a fresh worker where its memory limit ended one that had run
        others, which may be what filled it.

        Raises:
            WorkerError: no worker.
        """
        spec = work.spec if isinstance(work, Share) else work
        if self._last is not None and not _go_together(self._last, spec):
            self.close()
        self._last = spec
        while True:
            worker = self._ready_worker()
            fresh = worker.fresh
            answer = worker.run(work, self._seconds, report, turn, save)
            self._peak = max(self._peak, worker.peak)
            if not isinstance(answer, Ended):
                if self._is_spent(worker, answer):
                    self.close()
                return answer
            self._worker = None
            if fresh or answer.limit is None:
                return answer

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes that its worker holds now, and the most that a worker of this run held."""
        worker = self._worker
        held, peak = (worker.memory, worker.peak) if worker else (0, 0)
        return held, max(self._peak, peak)

    def _is_spent(self, worker: Worker, answer: Finished | Shared) -> bool:
        """Whether a worker that ran to the end should not run another task."""
        if isinstance(answer, Finished) and isinstance(answer.result, CostResult):
            return True  # frameworks keep memory they once had, and the next one is measured, too
        failed = _failed(answer)
        limit = self._setup.memory_limit
        most = RETIRE_BYTES if limit is None else min(RETIRE_BYTES, limit // 2)
        return failed or not worker.alive or worker.memory > most

    def _ready_worker(self) -> Worker:
        """The worker, or a new one on the same stack.

        Raises:
            WorkerError: it did not start, or came up on another stack (its GPU is gone, say).
        """
        if self._worker is not None and not self._worker.alive:
            self.close()  # it died between two trials, which costs neither
        if self._worker is None:
            self._worker = worker = Worker(self._setup, self._command)
            worker.wait()  # kept already, so that another thread's `close` ends it meanwhile
            if worker.stack != self.stack:
                self.close()
                raise WorkerError(
                    f"a new worker came up as {worker.stack.id}, but this run is {self.stack.id}"
                )
            return worker
        return self._worker

    def close(self) -> None:
        """End the worker, on whatever thread; a trial that it runs ends as if it had crashed."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()


def _go_together(last: Spec, spec: Spec) -> bool:
    """Whether a task may run in the process of the one before it."""
    kinds = {type(last), type(spec)}
    related = len(kinds) == 1 or kinds == {ProbeSpec, TrialSpec}
    return kinds == {ProbeSpec} or (related and last.backbone.name == spec.backbone.name)


def _failed(answer: Finished | Shared) -> bool:
    if isinstance(answer, Shared):
        return bool(answer.reason)
    return answer.result.status in ("failed", "out_of_memory")
