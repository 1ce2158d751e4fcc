"""The next batches, made while the device is busy with this one.

Keras' own look-ahead is none where it matters: TensorFlow's deterministic mode takes batches one by
one, and so do JAX and PyTorch without worker processes.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

DEPTH = 3
"""Batches made ahead. They are held in memory."""

T = TypeVar("T")


class Ahead(Generic[T]):
    """Makes what is asked for in order before it is asked for.

    Args:
        make: number -> batch; called on another thread.
        count: how many there are.

    Attributes:
        ready: when each batch was made, as `time.perf_counter` has it.
    """

    def __init__(self, make: Callable[[int], T], count: int) -> None:
        self.ready: dict[int, float] = {}
        self._make, self._count = make, count
        self._pool: ThreadPoolExecutor | None = None
        self._coming: dict[int, Future[T]] = {}

    def get(self, number: int) -> T:
        """A batch; the ones that follow are begun. After the last one the thread ends."""
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="batches")
        for next_one in range(number, min(number + 1 + DEPTH, self._count)):
            if next_one not in self._coming:
                self._coming[next_one] = self._pool.submit(self._timed, next_one)
        batch = self._coming.pop(number).result()
        if number == self._count - 1:
            self._pool.shutdown(wait=False)
            self._pool = None
        return batch

    def forget(self) -> None:
        """Drop what was made ahead: what batches hold is about to change."""
        for future in self._coming.values():
            future.cancel()
        for future in list(self._coming.values()):
            if not future.cancelled():
                future.exception()  # wait for it: it reads what is about to change
        self._coming.clear()
        self.ready.clear()

    def _timed(self, number: int) -> T:
        made = self._make(number)
        self.ready[number] = time.perf_counter()
        return made
