"""Trials in worker processes: a crash, a kill or a hang costs one trial, never the suite."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

from pydantic import ValidationError

from bench.errors import WorkerError
from bench.records import Environment, Progress, Stack, Status, TrialResult, TrialSpec
from bench.running.messages import REPLY, Finished, Ready, Reply, Running, Setup, Task

START_SECONDS = 300.0
LOG_LINES = 5
COMMAND = (sys.executable, "-m", "bench.running.worker")


@dataclass(frozen=True)
class Ended:
    """A worker stopped speaking.

    Attributes:
        code: its exit code; negative is the number of the signal that killed it.
        timed_out: whether we killed it because its time was up.
        last_words: the end of what it wrote to standard error.
    """

    code: int
    timed_out: bool
    last_words: str

    def explained(self) -> tuple[Status, str]:
        """As the status and the reason of the trial that it was running."""
        if self.timed_out:
            return "timeout", "stopped when its time was up (limits.trial_minutes)"
        if self.code == -signal.SIGKILL:
            return "failed", "worker killed (SIGKILL): out of system memory, or killed by hand"
        if self.code < 0:
            name = signal.Signals(-self.code).name
            return "failed", f"worker killed ({name}). {self.last_words}".strip()
        return "failed", f"worker exited with {self.code} and no result. {self.last_words}".strip()


class Worker:
    """One worker process.

    Args:
        setup: how it runs its trials.
        command: what to start; tests start something that misbehaves.

    Raises:
        WorkerError: it did not start.
    """

    def __init__(self, setup: Setup, command: tuple[str, ...] = COMMAND) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._replies: queue.Queue[Reply | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(setup.model_dump_json())
        ready = self._next(time.monotonic() + START_SECONDS)
        if not isinstance(ready, Ready):
            self.stop()
            said = ready.last_words if isinstance(ready, Ended) else repr(ready)
            raise WorkerError(f"a worker process could not start: {said}")
        self.stack: Stack = ready.stack
        self.environment: Environment = ready.environment

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def run(
        self, spec: TrialSpec, seconds: float | None, report: Callable[[Progress], None]
    ) -> Finished | Ended:
        """Run one trial. After an `Ended` this worker is gone.

        Args:
            spec: the trial.
            seconds: its time limit.
            report: told of its progress.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        self._send(Task(spec=spec).model_dump_json())
        while True:
            reply = self._next(deadline)
            if isinstance(reply, Running):
                report(reply.progress)
            elif isinstance(reply, Finished | Ended):
                return reply

    def stop(self) -> None:
        """Kill the process and whatever it started, if it still runs, and wait for its end."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a worker that died is found when we listen to it
            self._process.stdin.write(line + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _listen(self) -> None:
        """Queue every reply; lines that are none are left out. None stands for the end."""
        for line in self._process.stdout:  # type: ignore[union-attr]
            with contextlib.suppress(ValidationError):
                self._replies.put(REPLY.validate_json(line))
        self._replies.put(None)

    def _next(self, deadline: float | None) -> Reply | Ended:
        try:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            reply = self._replies.get(timeout=left)
        except queue.Empty:
            return self._ended(timed_out=True)
        return reply if reply is not None else self._ended(timed_out=False)

    def _ended(self, *, timed_out: bool) -> Ended:
        if not timed_out:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        self.stop()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return Ended(self._process.returncode, timed_out, " | ".join(lines[-LOG_LINES:]))


class LocalEngine:
    """Runs trials one at a time on this machine, in a worker process per backbone.

    A worker ends with its backbone (device memory comes back only when a process ends), and after
    a trial that failed (what it left behind is not to be trusted).

    Args:
        setup: how workers run their trials.
        trial_seconds: time limit of a trial.
        command: what to start as a worker.
    """

    def __init__(
        self,
        setup: Setup,
        trial_seconds: float | None = None,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._setup, self._seconds, self._command = setup, trial_seconds, command
        self._worker: Worker | None = Worker(setup, command)
        self._group: str | None = None
        self.stack, self.environment = self._worker.stack, self._worker.environment

    def execute(self, spec: TrialSpec, report: Callable[[Progress], None]) -> Finished:
        """Run one trial; whatever happens to the worker becomes the trial's status."""
        began, started_at = time.monotonic(), datetime.now(UTC)
        if self._group not in (None, spec.backbone.name):
            self.close()
        self._group = spec.backbone.name
        self._worker = self._worker or Worker(self._setup, self._command)
        answer = self._worker.run(spec, self._seconds, report)
        if isinstance(answer, Finished):
            if answer.result.status in ("failed", "out_of_memory"):
                self.close()
            return answer
        self._worker = None
        status, reason = answer.explained()
        result = TrialResult(
            key=spec.key,
            spec=spec,
            stack=self.stack,
            environment=self.environment,
            status=status,
            reason=reason,
            started_at=started_at.isoformat(timespec="seconds"),
            seconds=time.monotonic() - began,
        )
        return Finished(result=result)

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
