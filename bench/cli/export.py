"""``bench export``: results for other programs, as a table or for TensorBoard."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.console import err
from bench.errors import BenchError


class What(StrEnum):
    """What a table can hold."""

    TRIALS = "trials"
    EPOCHS = "epochs"
    COSTS = "costs"


def export(
    results: Annotated[list[Path], typer.Argument(help="One or several results folders.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A table: FILE.csv or FILE.parquet.")
    ] = None,
    what: Annotated[What, typer.Option(help="What is in its lines.")] = What.TRIALS,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Event files of every trial's history, for TensorBoard."),
    ] = None,
) -> None:
    """Export results as a tidy table, or their histories for TensorBoard."""
    if not (output or tensorboard):
        raise BenchError("export to what? expected -o FILE.csv, -o FILE.parquet, --tensorboard DIR")
    if output:
        _table(results, output, what)
    if tensorboard:
        _histories(results, tensorboard)


def _table(folders: list[Path], output: Path, what: What) -> None:
    from bench.analysis import frames
    from bench.reporting import exports

    exports.ending(output)
    frame, problems = frames.read(folders, what.value)
    exports.write(frame, output)
    _say(problems, f"{_count(len(frame), 'line')}: {output}")


def _histories(folders: list[Path], directory: Path) -> None:
    from bench.reporting import tensorboard
    from bench.running import store

    several, count = len(folders) > 1, 0
    tensorboard.prepare(directory)
    for folder in folders:
        contents = store.read(folder)
        name = folder.as_posix() if several else ""
        count += tensorboard.write(contents.rows, directory, name)
        _say(contents.problems)
    _say((), f"{_count(count, 'trial')}: tensorboard --logdir {directory}")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _say(problems: tuple[str, ...], done: str = "") -> None:
    for line in (*problems, *([done] if done else [])):
        err.print(f"bench: {line}", markup=False, soft_wrap=True)
