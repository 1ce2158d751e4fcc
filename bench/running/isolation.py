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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil
from pydantic import ValidationError

from bench.costs import CostResult
from bench.errors import WorkerError
from bench.probes import ProbeSpec
from bench.progress import Progress
from bench.records import Environment, Stack, Status, TrialSpec
from bench.running import backends, devices
from bench.running.messages import REPLY, Finished, Go, Ready, Reply, Running, Setup, Task, Waiting
from bench.tasks import ROWS, Row, Spec

START_SECONDS = 300.0
LOOK_SECONDS = 1.0
"""How often to look whether a silent worker still lives."""
RETIRE_BYTES = 2 * 2**30
"""A worker that holds more memory than this after a trial makes room for a fresh one: TensorFlow
keeps the graph of every model it traced (through its registry of custom gradients) until the
process ends, about 0.1 to 0.4 GiB a trial."""
LOG_LINES = 5
HOME = Path(__file__).parents[2]
"""Where this very code lies, so that workers import no other."""
COMMAND = (sys.executable, "-P", "-m", "bench.running.worker")
"""With -P, a folder called bench where the command was started does not hide the package."""

Turn = Callable[[], int]
"""Blocks until a worker may time something; gives how many others take turns with it."""


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

    Attributes:
        stack, environment: known once it is ready.

    Raises:
        WorkerError: the process could not be started.
    """

    stack: Stack
    environment: Environment

    def __init__(self, setup: Setup, command: tuple[str, ...] = COMMAND) -> None:
        self._replies: queue.Queue[Reply | None] = queue.Queue()
        self._killed, self._killing = False, threading.Lock()
        with contextlib.ExitStack() as on_failure:
            try:
                self._log: IO[bytes] = on_failure.enter_context(tempfile.TemporaryFile())
                self._process = _started(command, self._log, _environ(setup))
            except OSError as error:
                raise WorkerError(f"a worker process could not start: {error}") from error
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
            on_failure.callback(self.stop)
            self._send(setup.model_dump_json())
            on_failure.pop_all()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it is ready; where it never is, or we are interrupted, it is gone.

        Args:
            seconds: how long; None for `START_SECONDS`.

        Raises:
            WorkerError: it did not start.
        """
        seconds = START_SECONDS if seconds is None else seconds
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.stop)
            ready = self._next(time.monotonic() + seconds)
            if not isinstance(ready, Ready):
                raise WorkerError(f"a worker process could not start: {_said(ready, seconds)}")
            on_failure.pop_all()
        self.stack, self.environment = ready.stack, ready.environment

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
        self,
        spec: Spec,
        seconds: float | None,
        report: Callable[[Progress], None],
        turn: Turn | None = None,
        save: Path | None = None,
    ) -> Finished | Ended:
        """Run one trial. After an `Ended` this worker is gone.

        Args:
            spec: the trial.
            seconds: its time limit; waiting for a turn does not count.
            report: told of its progress.
            turn: takes a turn among workers that are measured together; None for one alone.
            save: where to write the model that the trial trained.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        task = Task(spec=spec, in_turns=turn is not None, save=save)
        self._send(task.model_dump_json())
        while True:
            reply = self._next(deadline)
            if isinstance(reply, Running):
                report(reply.progress)
            elif isinstance(reply, Waiting):
                began = time.monotonic()
                others = turn() if turn else 0
                if deadline is not None:
                    deadline += time.monotonic() - began
                self._send(Go(others=others).model_dump_json())
            elif isinstance(reply, Finished | Ended):
                return reply

    def stop(self) -> None:
        """Kill the process and whatever it started, if it still runs, and wait for its end.

        Another thread that waits for a reply meanwhile gets an `Ended`.
        """
        self._kill()
        self._log.close()

    def _kill(self) -> None:
        with self._killing:
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
        # A worker that died, or was stopped (ValueError), is found when we listen to it.
        with contextlib.suppress(OSError, ValueError):
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
        lines: list[str] = []
        with contextlib.suppress(ValueError):  # closed: another thread has stopped us
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
        self._log.close()
        return Ended(self._process.returncode, timed_out, " | ".join(lines[-LOG_LINES:]))


def _environ(setup: Setup) -> dict[str, str]:
    """What a worker's process is started with: frameworks read it when they are imported."""
    environ = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | dict(os.environ)
    paths = [str(HOME), environ.get("PYTHONPATH", "")]
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if setup.backend is not None:
        environ[backends.VARIABLE] = setup.backend
    if setup.gpu is not None:
        environ[devices.VARIABLE] = setup.gpu
    return environ | setup.environ


def _started(
    command: tuple[str, ...], log: IO[bytes], environ: Mapping[str, str]
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environ,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _said(instead: Reply | Ended, seconds: float) -> str:
    """What a worker did instead of saying that it is ready."""
    if not isinstance(instead, Ended):
        return f"its first word was {instead.kind!r}"
    if instead.timed_out:
        return f"not ready after {seconds:.0f} s. {instead.last_words}".strip()
    return instead.explained()[1]


class LocalEngine:
    """Runs trials one at a time on this machine, in a worker process per backbone.

    A worker ends with its backbone (device memory comes back only when a process ends; but probes
    take less time than a process takes to start, so all of them share one), after a trial that
    failed (what it left behind is not to be trusted), when it has grown large, and after each
    measurement of cost: nothing that ran before may warm, fill or fragment what is measured. The
    first worker starts at once: where not even that works, nothing would. A later one that does
    not start fails its trial.

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
        if self._last is not None and not _go_together(self._last, spec):
            self.close()
        self._last = spec
        try:
            worker = self._ready_worker()
            answer = worker.run(spec, self._seconds, report, turn, save)
        except WorkerError as error:
            status: Status = "failed"
            reason = str(error)
        else:
            if isinstance(answer, Finished):
                if self._is_spent(worker, answer.result):
                    self.close()
                return answer
            self._worker = None
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

    def _is_spent(self, worker: Worker, result: Row) -> bool:
        """Whether a worker that ran to the end should not run another task."""
        if isinstance(result, CostResult):
            return True  # frameworks keep memory they once had, and the next one is measured, too
        failed = result.status in ("failed", "out_of_memory")
        return failed or worker.memory > RETIRE_BYTES

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
