"""Trying something in a process of its own, so that it leaves nothing behind in this one.

Frameworks keep memory that they once had, and steps run slower after others have: what is tried to
find a batch size or the fastest way must not touch the process that measures. A process that is
killed for memory is an answer, too. What is tried is in `bench.measuring.tried`; this imports no
framework, and so the process has only what the work itself needs.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any


class TriedError(Exception):
    """What was tried failed; the text says how."""


def run(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a fresh process.

    Raises:
        TriedError: it raised, or the process died.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            answer, failure = pool.submit(_safely, work, arguments).result()
        except BrokenProcessPool:
            raise TriedError("its process died, for want of memory most likely") from None
    if failure:
        raise TriedError(failure)
    return answer


def _safely(work: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, str]:
    """Frameworks' errors cannot be handed from process to process: their text can."""
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_ends_with, args=(parent,), daemon=True).start()
    try:
        return work(*arguments), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _ends_with(parent: Any) -> None:
    """End this process when the one that wants its answer is gone."""
    parent.join()
    os._exit(1)
