"""``bench report``: a page, a document, tables and plots from results folders."""

import gc
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.console import err, out


class PicturesShown(StrEnum):
    """Which pictures may stand in the page."""

    NONE = "none"
    SHAREABLE = "shareable"
    ALL = "all"


def report(
    results: Annotated[list[Path], typer.Argument(help="Results folders, side by side.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the report goes.")
    ],
    title: Annotated[str | None, typer.Option(help="Its heading.")] = None,
    pictures: Annotated[
        PicturesShown,
        typer.Option(
            help="Pictures of mistakes: none; of datasets whose licence lets you pass them on; all."
        ),
    ] = PicturesShown.SHAREABLE,
) -> None:
    """Make a report from results folders, and print its answer."""
    from bench.reporting import report as reports
    from bench.reporting.forms import foreign
    from bench.settings import Settings

    gc.set_threshold(100_000, 50, 100)  # rows stay until the end; looking for garbage among them
    settings = Settings.from_environment()  # took a third of the time
    made = reports.build(results, output, settings, pictures.value, title)
    for subject, sentences in made.answers:
        if subject:
            out.print(foreign(subject, "console"), style="bold", markup=False, soft_wrap=True)
        for sentence in sentences:
            indent = "  " if subject else ""
            out.print(indent + foreign(sentence, "console"), markup=False, soft_wrap=True)
    for problem in made.problems:
        err.print(f"bench: {problem}", markup=False, soft_wrap=True)
    out.print(f"\nreport: {made.page}", markup=False, soft_wrap=True)
