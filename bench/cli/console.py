"""What every command prints with, and how a suite is named."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

SUITES = Path("suites")


def suite_path(suite: str) -> Path:
    """The path given, or the file of that name under suites/."""
    path, named = Path(suite), SUITES / f"{suite}.toml"
    is_path = path.suffix or path.is_file() or (path.is_dir() and not named.exists())
    return path if is_path else named


def notes(texts: Iterable[str]) -> None:
    """Say what is worth knowing and stops nothing."""
    for text in texts:
        err.print(f"bench: note: {text}", markup=False, soft_wrap=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Say that nothing is lost when the user interrupts; typer would end in silence."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("bench: interrupted; what was measured is kept, the same command goes on")
        raise typer.Exit(130) from None
