"""One worker process: started, given work, watched, and ended whatever it does."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from bench.errors import WorkerError
from bench.progress import Progress
from bench.records import Environment, Stack
from bench.running import backends, devices, limits
from bench.running.channel import Channel
from bench.running.endings import Ended, last_words
from bench.running.limits import Memory, Patience
from bench.running.messages import (
    Finished,
    Go,
    Ready,
    Reply,
    Running,
    Setup,
    Share,
    Shared,
    Task,
    Waiting,
)
from bench.tasks import Spec

START_SECONDS = 300.0
HOME = Path(__file__).parents[2]
"""Where this very code lies, so that workers import no other."""
COMMAND = (sys.executable, "-P", "-m", "bench.running.worker")
"""With -P, a folder called bench where the command was started does not hide the package."""

Turn = Callable[[], int]
"""Blocks until a worker may time something; gives how many others take turns with it."""


class Worker:
    """One worker process.

    Args:
        setup: how it runs its trials.
        command: what to start; tests start something that misbehaves.

    Attributes:
        stack, environment: known once it is ready.
        fresh: whether it was given no task yet.

    Raises:
        WorkerError: the process could not be started.
    """

    stack: Stack
    environment: Environment

    def __init__(self, setup: Setup, command: tuple[str, ...] = COMMAND) -> None:
        self.fresh = True
        self._killed, self._killing = False, threading.Lock()
        with contextlib.ExitStack() as on_failure:
            try:
                self._log: IO[bytes] = on_failure.enter_context(tempfile.TemporaryFile())
                self._process = _started(command, self._log, _environ(setup))
            except OSError as error:
                raise WorkerError(f"a worker process could not start: {error}") from error
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._channel = Channel(self._process.stdin, self._process.stdout)
            on_failure.callback(self.stop)
            self._memory = Memory(self._process.pid, setup.memory_limit)
            self._channel.send(setup.model_dump_json())
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
            ready = self._next(Patience(seconds))
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
        """Resident bytes of it and its children, mapped pictures apart; 0 once it has ended."""
        return limits.held(self._process.pid)

    @property
    def peak(self) -> int:
        """The most that `memory` was seen to be."""
        return self._memory.peak

    def run(
        self,
        work: Spec | Share,
        seconds: float | None,
        report: Callable[[Progress], None],
        turn: Turn | None = None,
        save: Path | None = None,
    ) -> Finished | Shared | Ended:
        """Run one trial, or do one shared step. After an `Ended` this worker is gone.

        Args:
            work: the trial, or the step.
            seconds: its time limit; waiting for a turn does not count.
            report: told of its progress.
            turn: takes a turn among workers that are measured together; None for one alone.
            save: where to write the model that the trial trained.
        """
        self.fresh, patience = False, Patience(seconds)
        task = Task(work=work, in_turns=turn is not None, save=save)
        self._channel.send(task.model_dump_json())
        while True:
            reply = self._next(patience)
            if isinstance(reply, Running):
                report(reply.progress)
            elif isinstance(reply, Waiting):
                patience.look()
                others = turn() if turn else 0
                patience.skip()
                self._channel.send(Go(others=others).model_dump_json())
            elif isinstance(reply, Finished | Shared | Ended):
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
            self._process.wait()
            self._channel.close()

    def _next(self, patience: Patience) -> Reply | Ended:
        """The next reply, or the worker's end.

        A child of a worker may hold the channel open after the worker's death, so that silence
        alone does not tell.
        """
        while True:
            left, too_large = patience.look(), self._memory.exceeded()
            if left <= 0 or too_large:
                waiting = self._channel.result_waiting()  # we were stopped, or busy printing
                return waiting or self._ended(timed_out=not too_large, ours=True)
            was_alive = self.alive
            try:
                reply = self._channel.next(min(left, self._memory.due))
            except queue.Empty:
                if not was_alive:
                    return self._ended()
            else:
                return reply if reply is not None else self._ended()

    def _ended(self, *, timed_out: bool = False, ours: bool = False) -> Finished | Shared | Ended:
        """Collect what is left of it, a result that was on its way if there is one.

        ``ours``: it is we who end it, for its time or its memory.
        """
        if not ours:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        self._kill()
        words = ""
        with contextlib.suppress(ValueError):  # closed: another thread has stopped us
            words = last_words(self._log)
        self._log.close()
        return self._channel.result_waiting() or Ended(
            code=self._process.returncode,
            timed_out=timed_out,
            last_words=words,
            memory=self._memory.peak,
            limit=self._memory.limit if ours and not timed_out else None,
        )


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
