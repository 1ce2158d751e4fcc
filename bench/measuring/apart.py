"""Trying something in a process of its own, so that it leaves nothing behind in this one.

Frameworks keep memory that they once had, and steps run slower after others have: what is tried to
find a batch size or the fastest way must not touch the process that measures. A process that is
killed for memory is an answer, too.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.costs import CostSpec
from bench.measuring import fastest, subject
from bench.measuring.steps import Bursts
from bench.records import Execution
from bench.settings import Settings
from bench.training import execution
from bench.training.modes import Mode
from bench.training.trial import Workplace


class TriedError(Exception):
    """What was tried failed; the text says how."""


@dataclass(frozen=True)
class Place:
    """What a process needs to know to build a model: see `bench.training.trial.Workplace`."""

    settings: Settings
    folder: Path


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


def attempt(spec: CostSpec, place: Place, size: int) -> None:
    """One step out of the box on a batch of so many pictures."""
    what = subject.load(spec, _workplace(spec, place))
    batch = what.batch(size)
    what.compile("auto")
    Bursts(what.step(batch), lambda: batch)(1)


def choose(spec: CostSpec, place: Place, size: int) -> Mode:
    """The fastest way to run a step on such a batch."""
    what = subject.load(spec, _workplace(spec, place))
    return fastest.best(what, what.batch(size))


def _workplace(spec: CostSpec, place: Place) -> Workplace:
    stack = execution.configure(Execution(precision=spec.precision, deterministic=False))
    return Workplace(place.settings, place.folder, stack, execution.environment())
