"""Answers that are waited for in vain: a mount or a server that hangs neither answers nor fails."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

SECONDS = 60.0
"""So long an answer of a few bytes is waited for, of a store that is shared."""
BYTES_A_SECOND = 1_000_000
"""What is slower than this is taken for a store that hangs."""

T = TypeVar("T")


class NoAnswerError(Exception):
    """No answer came in time."""


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What a call gives, or raises, if it ends in time.

    Args:
        seconds: to wait.
        ask: runs in a thread of its own. One that hangs is left to itself, and does not keep the
            process from ending.

    Raises:
        NoAnswerError: it is still at it.
    """
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=answer, daemon=True).start()
    if not wait([future], seconds).done:
        raise NoAnswerError(f"no answer within {seconds:.0f} s")
    return future.result()
