"""The largest batch that fits: tried from above, halved each time it does not."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.measuring.apart import TriedError

LARGEST = {"cpu": 64, "accelerator": 1024}
"""Where to begin. On a CPU larger batches are no faster."""


FIRST_WORDS = 100
"""Letters of an error that tell enough."""


@dataclass(frozen=True)
class Found:
    """A batch size.

    Attributes:
        size: pictures in a step.
        reason: how it was found; empty where it was asked for.
    """

    size: int
    reason: str = ""


def largest(attempt: Callable[[int], object], begin: int) -> Found:
    """Find the largest batch size that runs.

    Memory runs out in many words (a library that finds no workspace, a kernel that fails to
    launch, a process that is killed), so any failure halves the batch; a single picture must run.

    Args:
        attempt: runs a step on a batch of so many pictures, from a fresh start.
        begin: the size to try first.

    Raises:
        TriedError: what `attempt` raised with a single picture.
    """
    size: int = begin
    refused: list[str] = []
    while True:
        try:
            attempt(size)
        except TriedError as error:
            if size == 1:
                raise
            refused.append(f"{size} did not fit ({str(error)[:FIRST_WORDS]})")
            size //= 2
        else:
            last = f"{size} fits" if refused else f"{size} fits; more was not tried"
            return Found(size, "; ".join([*refused, last]))
