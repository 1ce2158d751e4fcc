"""A store as pandas DataFrames: trials, their epochs, measurements of cost.

    results folders -> trials: a line for each trial and seed
                       epochs: a line for each trial, seed and epoch
                       costs:  a line for each measurement

The columns are the tables of `bench.analysis.columns`, all of them present in a frame of any
store. A frame says what they hold in ``frame.attrs["meaning"]``, and in which unit in
``frame.attrs["units"]``. Text is ``string``, a whole number ``Int64``, any other ``float64``, yes
or no ``boolean``, a time ``datetime64[us, UTC]``. Shares (accuracy, waiting, utilisation) are from
0 to 1.
"""

import hashlib
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from bench.analysis.columns import (
    COSTS,
    EPOCHS,
    TRIALS,
    Column,
    Cost,
    Item,
    Kind,
    Trained,
    Trial,
    Value,
)
from bench.analysis.summary import summarise
from bench.costs import CostResult
from bench.errors import BenchError
from bench.records import TrialResult
from bench.running import store

if TYPE_CHECKING:
    import pandas as pd

What = Literal["trials", "epochs", "costs"]
"""What a frame can hold."""


def load(results: str | Path | Sequence[str | Path], what: What = "trials") -> "pd.DataFrame":
    """Results folders as a pandas DataFrame.

    ``bench.load("results/quickstart")``; the columns are described in ``frame.attrs``.

    Args:
        results: one folder, or several; the column ``results`` says which a line is from.
        what: ``trials`` for a line per trial and seed, ``epochs`` for one per epoch of these,
            ``costs`` for one per measurement of `bench measure`.

    Warns:
        UserWarning: for each line of the store that could not be read.

    Raises:
        BenchError: a folder holds no results, or there is no such frame.
    """
    folders = [results] if isinstance(results, str | Path) else list(results)
    frame, problems = read([Path(folder) for folder in folders], what)
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return frame


def read(folders: Sequence[Path], what: What) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """The same, with lines of the store that could not be read.

    Raises:
        BenchError: a folder holds no results, or there is no such frame.
    """
    if what not in get_args(What):
        raise BenchError(f"frame {what!r}: expected one of {', '.join(get_args(What))}")
    found = [(folder.as_posix(), store.read(folder)) for folder in folders]
    problems = tuple(problem for _, contents in found for problem in contents.problems)
    if what == "costs":
        measured = [Cost(name, row) for name, contents in found for row in contents.costs]
        return _frame(COSTS, measured), problems
    tried = [t for name, contents in found for t in _trials(contents.rows, name)]
    return _frame(TRIALS, tried) if what == "trials" else _epochs(tried), problems


def trials(rows: Iterable[TrialResult], results: str = "") -> "pd.DataFrame":
    """A line for each row, that is for each trial and seed; its columns are `TRIALS`.

    Args:
        rows: of any stacks, whatever their status.
        results: the folder they are from, for the column of that name.
    """
    return _frame(TRIALS, list(_trials(rows, results)))


def epochs(rows: Iterable[TrialResult], results: str = "") -> "pd.DataFrame":
    """A line for each epoch that each row's trial trained; its columns are `EPOCHS`.

    Args:
        rows: of any stacks; one whose trial trained nothing has no lines.
        results: the folder they are from, for the column of that name.
    """
    return _epochs(_trials(rows, results))


def costs(rows: Iterable[CostResult], results: str = "") -> "pd.DataFrame":
    """A line for each measurement; its columns are `COSTS`.

    Args:
        rows: of any stacks, whatever their status.
        results: the folder they are from, for the column of that name.
    """
    return _frame(COSTS, [Cost(results, row) for row in rows])


def _trials(rows: Iterable[TrialResult], results: str) -> Iterator[Trial]:
    every = list(rows)
    known: dict[int, tuple[str, str]] = {}
    for group in summarise(every):
        trial = group.spec.seedless.key
        line = _line(results, group.stack.id, trial, group.apart or "")
        known |= {id(row): (trial, line) for row in group.rows}
    return (Trial(results, row, *known[id(row)]) for row in every)


def _line(*parts: str) -> str:
    """A key for what a table has in one line: 16 hex digits."""
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16]


def _epochs(tried: Iterable[Trial]) -> "pd.DataFrame":
    lines = [
        Trained(trial, number, epoch)
        for trial in tried
        for number, phase in ((1, trial.row.phase1), (2, trial.row.phase2))
        if phase
        for epoch in phase.epochs
    ]
    return _frame(EPOCHS, lines)


def _frame(columns: Sequence[Column[Item]], lines: Sequence[Item]) -> "pd.DataFrame":
    import pandas as pd

    values = {c.name: _series([c.of(line) for line in lines], c.kind) for c in columns}
    frame = pd.DataFrame(values)
    frame.attrs["units"] = {c.name: c.unit for c in columns if c.unit}
    frame.attrs["meaning"] = {c.name: c.meaning for c in columns}
    return frame


def _series(values: list[Value], kind: Kind) -> "pd.Series":
    import pandas as pd

    if kind == "time":
        times = pd.to_datetime(pd.Series(values, dtype="string"), utc=True, errors="coerce")
        return times.dt.as_unit("us")
    if kind == "float64":
        return pd.Series([math.nan if v is None else v for v in values], dtype="float64")
    return pd.Series(values, dtype=kind)
