"""Trials in worker processes: a crash, a kill or a hang costs one trial, never the suite."""

import contextlib
import math
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

import psutil
from pydantic import ValidationError

from bench.errors import WorkerError
from bench.records import Environment, Progress, Stack, Status, TrialResult, TrialSpec
from bench.running.messages import REPLY, Finished, Ready, Reply, Running, Setup, Task

START_SECONDS = 300.0
LOOK_SECONDS = 1.0
"""How often to look whether a silent worker still lives."""
RETIRE_BYTES = 2 * 2**30
"""A worker that holds more memory than this after a trial makes room for a fresh one: TensorFlow
keeps the graph of every model it traced (through its registry of custom gradients) until the
process ends, about 0.1 to 0.4 GiB a trial."""
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
            known = {int(s): s.name for s in signal.Signals}
            name = known.get(-self.code, f"signal {-self.code}")
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
        self._replies: queue.Queue[Reply | None] = queue.Queue()
        self._killed = False
        with contextlib.ExitStack() as on_failure:
            try:
                self._log: IO[bytes] = on_failure.enter_context(tempfile.TemporaryFile())
                self._process = _started(command, self._log)
            except OSError as error:
                raise WorkerError(f"a worker process could not start: {error}") from error
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
            on_failure.callback(self.stop)  # Ctrl-C may come while we wait
            self._send(setup.model_dump_json())
            ready = self._next(time.monotonic() + START_SECONDS)
            if not isinstance(ready, Ready):
                raise WorkerError(f"a worker process could not start: {_said(ready)}")
            on_failure.pop_all()
        self.stack: Stack = ready.stack
        self.environment: Environment = ready.environment

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def memory(self) -> int:
        """Resident bytes of its own, mapped pictures apart; 0 once it has ended."""
        try:
            held = psutil.Process(self._process.pid).memory_info()
            return int(held.rss - getattr(held, "shared", 0))
        except psutil.Error:
            return 0

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
        self._kill()
        self._log.close()

    def _kill(self) -> None:
        if self._killed:
            return  # its number may be another process's by now
        self._killed = True
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._listener.join(LOOK_SECONDS)  # a process that left the group may hold the channel

    def _send(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a worker that died is found when we listen to it
            self._process.stdin.write(line + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _listen(self) -> None:
        """Queue every reply; lines that are none are left out. None stands for the end."""
        with self._process.stdout as channel:  # type: ignore[union-attr]
            for line in channel:
                with contextlib.suppress(ValidationError):
                    self._replies.put(REPLY.validate_json(line))
        self._replies.put(None)

    def _next(self, deadline: float | None) -> Reply | Ended:
        """The next reply, or the worker's end.

        A child of a worker may hold the channel open after the worker's death, so that silence
        alone does not tell.
        """
        while True:
            left = math.inf if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return self._ended(timed_out=True)
            was_alive = self.alive
            try:
                reply = self._replies.get(timeout=min(left, LOOK_SECONDS))
            except queue.Empty:
                if not was_alive:
                    return self._ended(timed_out=False)
            else:
                return reply if reply is not None else self._ended(timed_out=False)

    def _ended(self, *, timed_out: bool) -> Ended:
        if not timed_out:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        self._kill()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        self._log.close()
        return Ended(self._process.returncode, timed_out, " | ".join(lines[-LOG_LINES:]))


def _started(command: tuple[str, ...], log: IO[bytes]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _said(instead: Reply | Ended) -> str:
    """What a worker did instead of saying that it is ready."""
    if not isinstance(instead, Ended):
        return f"its first word was {instead.kind!r}"
    if instead.timed_out:
        return f"not ready after {START_SECONDS:.0f} s. {instead.last_words}".strip()
    return instead.explained()[1]


class LocalEngine:
    """Runs trials one at a time on this machine, in a worker process per backbone.

    A worker ends with its backbone (device memory comes back only when a process ends), after a
    trial that failed (what it left behind is not to be trusted), and when it has grown large. The
    first worker starts at once: where not even that works, nothing would. A later one that does
    not start fails its trial.

    Args:
        setup: how workers run their trials.
        trial_seconds: time limit of a trial.
        command: what to start as a worker.

    Raises:
        WorkerError: the first worker did not start.
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
        try:
            answer = self._ready_worker().run(spec, self._seconds, report)
        except WorkerError as error:
            status: Status = "failed"
            reason = str(error)
        else:
            if isinstance(answer, Finished):
                failed = answer.result.status in ("failed", "out_of_memory")
                if failed or self._worker is None or self._worker.memory > RETIRE_BYTES:
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

    def _ready_worker(self) -> Worker:
        """The worker, or a new one on the same stack.

        Raises:
            WorkerError: it did not start, or came up on another stack (its GPU is gone, say).
        """
        if self._worker is not None and not self._worker.alive:
            self.close()  # it died between two trials, which costs neither
        if self._worker is None:
            worker = Worker(self._setup, self._command)
            if worker.stack != self.stack:
                worker.stop()
                raise WorkerError(
                    f"a new worker came up as {worker.stack.id}, but this run is {self.stack.id}"
                )
            self._worker = worker
        return self._worker

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
