"""``bench merge``: results of several machines or people, made one store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import notes, out

if TYPE_CHECKING:
    from bench.running.merging import Merged


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Results folders: of one suite each, or roots with those of several."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to make; an empty one will do.")
    ],
    prefer: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="One of them, whose rows stand wherever results of the same trial differ.",
        ),
    ] = None,
) -> None:
    """Make one store of results measured on several machines, or by several people."""
    from bench.running import merging

    merged = merging.merge(folders, output, prefer)
    out.print(_listing(merged), markup=False, soft_wrap=True)
    notes(merged.notes)
    out.print(f"\nresults: {output}", markup=False, soft_wrap=True)


def _listing(merged: "Merged") -> str:
    from bench.reporting.forms import printed

    titles = ("folder", "stack", "rows", "taken", "same", "yielded", "earlier")
    lines = [
        (str(c.folder), c.place.as_posix(), c.rows, c.taken, c.same, c.yielded, c.earlier)
        for c in merged.counts
    ]
    return printed(titles, lines, "console")
