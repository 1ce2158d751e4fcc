"""``bench compare``: what changed between two stacks."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import err
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.analysis.results import Results


class ReportForm(StrEnum):
    """Formats of a comparison."""

    CONSOLE = "console"
    MARKDOWN = "markdown"
    JSON = "json"
    JUNIT = "junit"


MarginsOption = Annotated[
    Path | None, typer.Option("--margins", help="A TOML file: how much worse matters.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Exit with 3 where something is unclear.")
]
FormOption = Annotated[ReportForm, typer.Option("--format", help="How to print it.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="A file to write instead of printing.")
]
EverythingOption = Annotated[bool, typer.Option("--all", help="List what is the same, too.")]


def compare(
    a: Annotated[Path, typer.Argument(help="Results of the reference.")],
    b: Annotated[
        Path | None, typer.Argument(help="Results to hold against it; the same folder if left out.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A's stack: part of its name.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="TEXT", help="B's stack: part of its name.")
    ] = None,
    margins: MarginsOption = None,
    strict: StrictOption = False,
    form: FormOption = ReportForm.CONSOLE,
    output: OutputOption = None,
    everything: EverythingOption = False,
) -> None:
    """Say what changed between two stacks, with verdicts; exit with 1 if anything is worse."""
    (name, first), (other, second) = _sides(a, b, before, after)
    names = (str(a), str(b)) if b else (name, other)
    raise typer.Exit(report(first, second, names, margins, strict, form, output, everything))


Named = tuple[str, "Results"]


def _sides(a: Path, b: Path | None, before: str | None, after: str | None) -> tuple[Named, Named]:
    """What to compare: one stack of each folder, or the two of a single one; each with its name."""
    from bench.analysis import results

    here = results.read(a)
    if b is None and not (before or after):
        if len(here) != 2:
            plural = "" if len(here) == 1 else "s"
            raise BenchError(
                f"{a}: {len(here)} stack{plural}: expected two, or a second folder, or --before "
                f"and --after with parts of their names: {', '.join(here)}"
            )
        first, second = here.items()
        return first, second
    there = here if b is None else results.read(b)
    found = (
        (here, results.chosen(here, a, before, "--before")),
        (there, results.chosen(there, b or a, after, "--after")),
    )
    if found[0][1] is found[1][1]:
        raise BenchError(f"{a}: --before and --after name the same stack, {found[0][1].stack.id}")
    first, second = ((_name(side, held), side) for held, side in found)
    return first, second


def _name(side: "Results", held: "Mapping[str, Results]") -> str:
    return next(name for name, results in held.items() if results is side)


def report(
    a: "Results",
    b: "Results",
    names: tuple[str, str],
    margins: Path | None,
    strict: bool,
    form: ReportForm,
    output: Path | None,
    everything: bool = False,
) -> int:
    """Compare, print or write what was found, and say how to exit.

    Args:
        a: the reference.
        b: what is held against it.
        names: of the two, for people.
        margins: a file of them; None for the defaults.
        strict: whether what is unclear counts.
        form: of the report.
        output: a file; None for standard output.
        everything: list what is the same, too.
    """
    from bench.analysis import margins as rules
    from bench.analysis.compare import compare as compared
    from bench.reporting import comparisons

    found = compared(a, b, rules.load(margins), names)
    text = comparisons.document(found, form.value, strict=strict, everything=everything)
    if output is None:
        sys.stdout.write(text + "\n")
    else:
        _write(output, text + "\n")
        err.print(f"bench: {found.verdict}; report: {output}", markup=False, soft_wrap=True)
    return found.exit_code(strict)


def _write(output: Path, text: str) -> None:
    """The file, whole or not at all."""
    from bench.reporting import exports

    try:
        with exports.whole(output) as place:
            place.write_text(text, encoding="utf-8")
    except BenchError as error:
        raise BenchError(f"--output {error}") from error
