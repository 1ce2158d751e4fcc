"""The largest batch that fits: tried from above, halved each time memory runs out."""

from collections.abc import Callable

from bench.training.execution import is_out_of_memory

LARGEST = {"cpu": 64, "accelerator": 1024}
"""Where to begin. On a CPU larger batches are no faster, and memory that runs out is not an error
there but the end of the process."""


def largest(attempt: Callable[[int], object], begin: int) -> tuple[int, str]:
    """Find the batch size, and say how.

    Args:
        attempt: runs a step on a batch of so many pictures.
        begin: the size to try first.

    Raises:
        Exception: what `attempt` raised with a single picture, or for another reason than memory.
    """
    size, refused = begin, []
    while True:
        try:
            attempt(size)
        except Exception as error:
            if size == 1 or not is_out_of_memory(error):
                raise
            refused.append(f"{size} did not fit ({_first_words(error)})")
            size //= 2
        else:
            how = "; ".join([*refused, f"{size} fits"]) if refused else f"{size} fits, not tried on"
            return size, how


def _first_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:80]}"
