"""A results folder's trials as a suite, to be run again: on another machine, or by a reader."""

from pathlib import Path

from bench.errors import BenchError
from bench.running import store
from bench.suite import Suite


def suite_of(folder: Path) -> Suite:
    """The trials of every row at or below a results folder, word for word.

    Relative paths of weights and pictures start in the working directory.

    Raises:
        StoreError: it is no results folder.
        BenchError: it holds no trial.
    """
    rows = store.read(folder).rows
    trials = tuple(dict.fromkeys(row.spec for row in rows))
    if not trials:
        raise BenchError(f"{folder}: expected results of trials, but there is none in it")
    return Suite(
        name=folder.absolute().name,
        description=f"the trials of {folder} again",
        folder=Path.cwd(),
        trials=trials,
    )
