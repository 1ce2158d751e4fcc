"""Simpler rules than the dispatcher's, to see what its own are worth."""

import heapq
from typing import Any

from bench.running.dispatching import Dispatcher
from bench.running.fleets import Worker
from bench.running.jobs import Job


class FirstCome(Dispatcher):
    """The job that has been ready for longest, to whoever asks, wherever its like are done."""

    def _look(self, key: str) -> None:
        before = self._state[key]
        super()._look(key)
        if self._state[key] == "ready" != before:
            heapq.heappush(self._queue(), (self._order[key], key))

    def _queue(self) -> list[tuple[int, str]]:
        queue: list[tuple[int, str]] = self.__dict__.setdefault("queue", [])
        return queue

    def _pop(self, ground: Any) -> str:
        return heapq.heappop(self._queue())[1]

    def next_for(self, name: str) -> Job | None:
        """The oldest."""
        if not self._queue():
            return None
        self._on[name] = self._ground(self._queue()[0][1])
        return super().next_for(name)


class Glued(Dispatcher):
    """Whole grounds, the largest first, each to one worker."""

    def _other(self, worker: Worker) -> Any:
        return self._top(self._free, worker)
