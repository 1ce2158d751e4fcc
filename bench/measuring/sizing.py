"""The largest batch that fits: tried from above, halved each time it does not."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import BenchError

LARGEST = {"cpu": 64, "accelerator": 1024}
"""Where to begin. On a CPU larger batches are no faster, and memory that runs out is not an error
there but the end of the process."""


@dataclass(frozen=True)
class Found:
    """A batch size.

    Attributes:
        size: pictures in a step.
        reason: how it was found.
        refused: how many larger ones did not fit.
    """

    size: int
    reason: str = ""
    refused: int = 0


def largest(attempt: Callable[[int], object], begin: int) -> Found:
    """Find the largest batch size that runs.

    Memory runs out in many words (a library that finds no workspace, a kernel that fails to
    launch), so any error halves the batch; a single picture must run.

    Args:
        attempt: runs a step on a batch of so many pictures, from a fresh start.
        begin: the size to try first.

    Raises:
        BenchError: what `attempt` raised of ours.
        Exception: what it raised with a single picture.
    """
    size: int = begin
    refused: list[str] = []
    while True:
        try:
            attempt(size)
        except BenchError:
            raise
        except Exception as error:
            if size == 1:
                raise
            refused.append(f"{size} did not fit ({_first_words(error)})")
            size //= 2
        else:
            last = f"{size} fits" if refused else f"{size} fits; more was not tried"
            return Found(size, "; ".join([*refused, last]), len(refused))


def _first_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:80]}"
