"""What a case of bad input is.

A `Case` is refused: one message that names the thing and the remedy, exit code 2, nothing written.
An `Accepted` looks bad and is none: it works, or it is left out with a note.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def nothing(folder: Path) -> None:
    """For a case that needs no file."""


@dataclass(frozen=True)
class Case:
    """One wrong input.

    Attributes:
        id: unique in its area, of letters and dashes.
        area: heading in the table.
        words: of the command line, after ``bench``; paths are relative to the case's folder, which
            is the working directory.
        names: what the message must hold so that it names the thing.
        remedy: what the message must hold so that it says what to do.
        make: puts the input into the case's folder, which exists and is empty.
        environment: variables, beside ``BENCH_CACHE_DIR``, an empty folder outside the case's.
        denied: paths in the folder that may not be read, even by a superuser.
        call: what is done in place of the command line, which `words` then only shows; it is
            given the case's folder and raises the `BenchError`.
        slow: needs Keras: runs in a worker process of its own, and its test is marked slow.
        caches: pictures are decoded before it can be told, and stay in the cache.
    """

    id: str
    area: str
    words: tuple[str, ...]
    names: tuple[str, ...]
    remedy: tuple[str, ...]
    make: Callable[[Path], object] = nothing
    environment: dict[str, str] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    call: Callable[[Path], object] | None = None
    slow: bool = False
    caches: bool = False


@dataclass(frozen=True)
class Accepted:
    """Input that looks wrong and is taken.

    Attributes:
        id, area, words, make, environment, call, slow: as of a `Case`.
        says: what is printed somewhere: that it works, or what is left out and why.
        code: how the command ends.
    """

    id: str
    area: str
    words: tuple[str, ...]
    says: tuple[str, ...]
    make: Callable[[Path], object] = nothing
    environment: dict[str, str] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    call: Callable[[Path], object] | None = None
    slow: bool = False
    code: int = 0
