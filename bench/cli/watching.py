"""What commands that measure have in common: how long, a limit of memory, doubts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import amounts
from bench.cli.console import notes

if TYPE_CHECKING:
    from bench.running.doubts import Doubts
    from bench.settings import Settings

MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="8GiB",
        help="Of the machine's memory, for a worker and what it starts: above it a trial ends as "
        "out_of_memory, and the run goes on.",
    ),
]

Seconds = Annotated[float, typer.Option(min=0.1, max=3600, help="To time each kind of step.")]


def memory_limit(text: str | None) -> int | None:
    """Bytes; None for no limit.

    Raises:
        BenchError: it is no amount of memory.
    """
    found = amounts.amount("--memory-limit", text, amounts.MEMORY, "8GiB")
    return None if found is None else max(1, round(found))


def doubts(
    results: Path,
    settings: "Settings",
    limit: int | None,
    needed: Callable[[int], int] = lambda free: 0,
    alone: bool = True,
) -> "Doubts":
    """What looks at the machine before and during a run, and notes what it finds.

    Args:
        results: folder of the store.
        settings: where the cache lies.
        limit: of a worker's memory.
        needed: given the free bytes, what the run will write to the cache; 0 where nobody knows.
        alone: what keeps the cores busy beside us is none of our workers, as those of Ray may be.
    """
    from bench.measuring.load import Watch
    from bench.running.doubts import Doubts, disks

    def tell(text: str) -> None:
        notes([text])

    return Doubts(tell, disks(results, settings.cache, needed), Watch if alone else None, limit)
