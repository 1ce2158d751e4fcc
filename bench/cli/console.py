"""What every command prints with, and how a suite is named."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from bench.errors import BenchError
from bench.reporting.consoles import Closed, Console
from bench.strangers import plain

if TYPE_CHECKING:
    from bench.data.images import Progress


class PlainConsole(Console):
    """Prints nothing that a terminal would obey, whoever wrote the text."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but every text is made `plain` first."""
        super().print(*map(_plain, objects), **options)


def _plain(thing: object) -> object:
    if isinstance(thing, Text):
        thing = thing.copy()
        thing.plain = plain(thing.plain)
    return plain(thing) if isinstance(thing, str) else thing


out = PlainConsole(highlight=False, emoji=False)
err = PlainConsole(stderr=True, highlight=False, emoji=False)

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
    """The path given, or the file of that name under suites/ or suites/recipes/.

    Raises:
        BenchError: no file can have this name.
    """
    path, named = Path(suite), SUITES / f"{suite}.toml"
    try:
        path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BenchError(f"{suite}: expected a suite's name, or its file: {reason}") from error
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


def notes(texts: Iterable[str]) -> None:
    """Say what is worth knowing and stops nothing, not even where nobody listens any more."""
    for text in texts:
        with suppress(OSError, Closed):
            err.print(f"bench: note: {text}", markup=False, soft_wrap=True)


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
