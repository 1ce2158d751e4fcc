"""What every command prints with, and how a suite is named."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from bench.data.images import Progress

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

SUITES = Path("suites")
RECIPES = "recipes"

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A value in place of the suite's (phase2.epochs=3); may be given again.",
    ),
]
"""What `bench run` and `bench measure` change in a suite."""


def suite_path(suite: str) -> Path:
    """The path given, or the file of that name under suites/ or suites/recipes/."""
    path, named = Path(suite), SUITES / f"{suite}.toml"
    recipe = SUITES / RECIPES / named.name
    if recipe.exists() and not named.exists():
        named = recipe
    is_path = path.suffix or path.is_file() or (path.is_dir() and not named.exists())
    return path if is_path else named


def named_suite(what: Sequence[str]) -> Path | None:
    """The suite that is named; None for names of backbones."""
    path = suite_path(what[0])
    named = path.suffix == ".toml" and (path.exists() or path == Path(what[0]))
    return path if len(what) == 1 and named else None


def plain(text: str) -> str:
    """Without what a terminal would obey: names of files and classes are somebody else's."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def notes(texts: Iterable[str]) -> None:
    """Say what is worth knowing and stops nothing."""
    for text in texts:
        err.print(f"bench: note: {plain(text)}", markup=False, soft_wrap=True)


@contextmanager
def reading() -> "Iterator[Progress]":
    """Tells of decoding, on a terminal."""
    with err.status("reading pictures ...") as status:

        def tell(done: int, total: int) -> None:
            if done % 100 == 0:
                status.update(f"reading pictures: {done:,} of {total:,}")

        yield tell


@contextmanager
def interruptible() -> Iterator[None]:
    """Say that nothing is lost when the user interrupts; typer would end in silence."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("bench: interrupted; what was measured is kept, the same command goes on")
        raise typer.Exit(130) from None
