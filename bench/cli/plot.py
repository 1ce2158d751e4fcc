"""``bench plot``: one plot, or all of them, out of results folders."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import err
from bench.errors import BenchError, UnknownNameError

if TYPE_CHECKING:
    from bench.reporting.plots.panel import Panel

ALL = "all"


class PlotTheme(StrEnum):
    """What the plot lies on."""

    LIGHT = "light"
    DARK = "dark"


def plot(
    name: Annotated[
        str | None, typer.Argument(help="A plot (see --list), or all.", show_default=False)
    ] = None,
    results: Annotated[
        list[Path] | None, typer.Argument(help="One or several results folders.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            help="FILE.png, FILE.svg or FILE.pdf; or a folder, for a PNG and an SVG of each panel.",
        ),
    ] = None,
    theme: Annotated[PlotTheme, typer.Option(help="What it lies on.")] = PlotTheme.LIGHT,
    list_: Annotated[bool, typer.Option("--list", help="Say which plots there are.")] = False,
) -> None:
    """Draw one plot, or all of them, out of results folders."""
    from bench.reporting.plots import gallery

    if list_:
        width = max(map(len, gallery.PLOTS))
        lines = [f"{p.name:<{width}}  {p.description}" for p in gallery.PLOTS.values()]
        sys.stdout.write("\n".join([*lines, f"{ALL:<{width}}  each of them"]) + "\n")
        return
    if name is None or not results or output is None:
        raise BenchError("plot what? expected bench plot NAME RESULTS… -o FILE.png (see --list)")
    ending = output.suffix.lower().removeprefix(".")
    if ending and ending not in gallery.FORMATS and not output.is_dir():
        forms = ", ".join(f"FILE.{form}" for form in gallery.FORMATS)
        raise BenchError(f"--output {output}: expected {forms}, or a folder")
    found = _panels(name, results)
    for file in _write(found, output, theme):
        err.print(f"bench: {file}", markup=False, soft_wrap=True)
    for caption in dict.fromkeys(panel.caption for panel in found):
        err.print(f"bench: {caption}", markup=False, soft_wrap=True)


def _panels(name: str, results: Sequence[Path]) -> "list[Panel]":
    """The panels asked for, at least one."""
    from bench.analysis import evidence
    from bench.reporting.plots import gallery

    if name != ALL and name not in gallery.PLOTS:
        raise UnknownNameError("plot", name, [*gallery.PLOTS, ALL])
    found = evidence.read(results)
    panels = list(gallery.panels(found, None if name == ALL else [name]))
    if not panels:
        folders = ", ".join(map(str, results))
        needs = "trials or measurements" if name == ALL else gallery.PLOTS[name].needs
        unread = f" ({found.problems[0]})" if found.problems else ""
        raise BenchError(f"{folders}: nothing to draw for plot {name!r}: it needs {needs}{unread}")
    for problem in found.problems:
        err.print(f"bench: {problem}", markup=False, soft_wrap=True)
    return panels


def _write(panels: "Sequence[Panel]", output: Path, theme: PlotTheme) -> list[Path]:
    """Into one file if it is one panel's; of several, each beside it under its own name."""
    from bench.reporting.plots import gallery

    if output.is_dir() or not output.suffix:
        files = [
            (panel, output / f"{panel.name}.{form}") for panel in panels for form in ("png", "svg")
        ]
    elif len(panels) == 1:
        files = [(panels[0], output)]
    else:
        files = [(p, output.with_name(f"{output.stem}-{p.name}{output.suffix}")) for p in panels]
    for panel, file in files:
        gallery.write(panel, file, theme.value)
    return [file for _, file in files]
