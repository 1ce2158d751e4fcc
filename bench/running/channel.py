"""The runner's end of a worker's pipes: whatever the worker does, nobody here waits for it."""

import contextlib
import queue
import threading
from typing import IO

from pydantic import ValidationError

from bench.running import limits
from bench.running.messages import REPLY, Finished, Reply, Shared

LONGEST_LINE = 2**26
"""Characters of a reply. A longer line is none, and must not fill the runner's memory."""


class Channel:
    """Lines to a worker and its replies, each way on a thread of its own.

    A pipe holds some 64 KiB, and a suite may take more to tell: to a worker that stalls before it
    reads, whoever writes would wait for ever.

    Args:
        lines: the worker's standard input.
        replies: its standard output.
    """

    def __init__(self, lines: IO[str], replies: IO[str]) -> None:
        self._to_say: queue.Queue[str | None] = queue.Queue()
        self._heard: queue.Queue[Reply | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._speak, args=(lines,), daemon=True),
            threading.Thread(target=self._listen, args=(replies,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, line: str) -> None:
        """Have a line written, after those before it. That nobody reads it shows in the replies."""
        self._to_say.put(line)

    def next(self, seconds: float) -> Reply | None:
        """The next reply; None where there will be none any more.

        Args:
            seconds: how long to wait for it.

        Raises:
            queue.Empty: none came.
        """
        return self._heard.get(timeout=seconds)

    def result_waiting(self) -> Finished | Shared | None:
        """A result that arrived while nobody asked; whatever arrived before it is passed over."""
        for _ in range(self._heard.qsize()):
            reply = self._heard.get()
            if isinstance(reply, Finished | Shared):
                return reply
        return None

    def close(self) -> None:
        """Close both pipes, once what the worker said last has been heard. It has ended."""
        self._to_say.put(None)
        for thread in self._threads:
            # Not for ever: a process that left the worker's group may hold a pipe open.
            thread.join(limits.LOOK_SECONDS)

    def _speak(self, pipe: IO[str]) -> None:
        # A worker that died is found by who listens to it.
        with contextlib.suppress(OSError):
            while (line := self._to_say.get()) is not None:
                pipe.write(line + "\n")
                pipe.flush()
        # Here, as another thread would wait for a write that waits for the worker.
        with contextlib.suppress(OSError):
            pipe.close()

    def _listen(self, pipe: IO[str]) -> None:
        """Queue every reply; lines that are none are left out. None stands for the end."""
        with pipe:
            while line := pipe.readline(LONGEST_LINE):
                with contextlib.suppress(ValidationError):
                    self._heard.put(REPLY.validate_json(line))
        self._heard.put(None)
