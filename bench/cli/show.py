"""``bench show``: the tables of a results folder."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.console import err


class Form(StrEnum):
    """Formats of a table."""

    CONSOLE = "console"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"
    PYTEST_BENCHMARK = "pytest-benchmark"


def show(
    results: Annotated[
        Path, typer.Argument(help="A results folder, or a JSON file of pytest-benchmark.")
    ],
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.CONSOLE,
    time_to: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Show when val reached this accuracy (0 to 1)."),
    ] = None,
) -> None:
    """Print the tables of a results folder: trials, and measurements of cost."""
    tables_of(results, form, target=time_to)


def tables_of(
    folder: Path, form: Form, keys: set[str] | None = None, target: float | None = None
) -> None:
    """Print the table of a folder or a JSON file, or of these trials in it."""
    from bench.reporting import cost_tables, pytest_benchmark, tables
    from bench.running import store

    if folder.suffix == ".json" and not folder.is_dir():
        contents = store.Contents((), pytest_benchmark.read(folder))
    else:
        contents = store.read(folder)
    rows = [r for r in contents.rows if keys is None or r.key in keys]
    costs = [c for c in contents.costs if keys is None or c.key in keys]
    found = []
    if form is Form.PYTEST_BENCHMARK:  # which has no place for what has no throughput
        found.append(pytest_benchmark.document(costs))
        rows, costs = [], [c for c in costs if c.device]
    else:
        if rows or not (costs or contents.numerics or contents.probes):
            found.append(tables.document(rows, form.value, contents.costs, target))
        if costs:
            found.append(cost_tables.document(costs, form.value))
    if found:
        sys.stdout.write("\n\n".join(found) + "\n")
    if contents.numerics and form is Form.CONSOLE:
        count = len(contents.numerics)
        err.print(f"bench: {count} fingerprint{'s' if count > 1 else ''}: see bench compare")
    if contents.probes and form is Form.CONSOLE:
        count = len(contents.probes)
        err.print(f"bench: {count} probe{'s' if count > 1 else ''}: see bench choose")
    others = len(contents.rows) + len(contents.costs) - len(rows) - len(costs)
    if others:
        err.print(f"bench: {others} other rows not shown; bench show {folder} has all")
    for problem in contents.problems:
        err.print(f"bench: {problem}", markup=False, soft_wrap=True)
