"""``bench claims``: published numbers beside measured ones."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import err, suite_path
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.analysis.claim_verdicts import Judged
    from bench.suite import Suite


class ClaimForm(StrEnum):
    """Formats of the table."""

    CONSOLE = "console"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"
    JSON = "json"


def claims(
    results: Annotated[list[Path], typer.Argument(help="Results folders of suites.")],
    suite: Annotated[
        str | None,
        typer.Option(help="The suite with the claims; without it the one kept with the results."),
    ] = None,
    form: Annotated[
        ClaimForm, typer.Option("--format", help="How to print it.")
    ] = ClaimForm.CONSOLE,
) -> None:
    """Hold the claims of a suite against its results."""
    from bench.reporting import claim_tables

    found = [(folder.name, one) for folder in results for one in _judged(folder, suite)]
    sys.stdout.write(claim_tables.document(found, form.value) + "\n")


def _judged(folder: Path, suite: str | None) -> "list[Judged]":
    from bench.analysis import claimed, summary
    from bench.running import store

    contents = store.read(folder)
    for problem in contents.problems:
        err.print(f"bench: {problem}", markup=False, soft_wrap=True)
    loaded, name = _suite(folder, suite)
    groups = summary.summarise(contents.rows)
    return claimed.judge(loaded.claims, groups, contents.costs, loaded.trials, name, folder)


def _suite(folder: Path, suite: str | None) -> "tuple[Suite, str]":
    """The suite with the claims, and what to call it."""
    from bench import suite as suites
    from bench.running.store import SUITE
    from bench.strangers import LINK_OUT, inside

    path = suite_path(suite) if suite else folder / SUITE
    if suite is None and not path.is_file():
        raise BenchError(
            f"{folder}: expected {SUITE}, which bench run keeps with a suite's results; give "
            "--suite FILE"
        )
    if suite is None and not inside(path, folder):
        raise BenchError(f"{path}: {LINK_OUT}, or give --suite FILE")
    loaded = suites.load(path)
    if not loaded.claims:
        raise BenchError(f"{path}: expected [[claims]], but the suite has none; give --suite FILE")
    return loaded, loaded.name if suite else folder.absolute().name.removesuffix(suites.SMOKE)
