"""Rows that do not say which pictures were right, completed from their stored predictions."""

from pathlib import Path

from bench import marks
from bench.records import TrialResult
from bench.strangers import LINK_OUT, inside
from bench.tasks import Row

PREDICTIONS = "predictions"
"""The folder of a stack's predictions, beside its rows."""


def answered(row: Row, folder: Path, problems: list[str]) -> Row:
    """The row as its predictions say it; as it is where there are none that can be read.

    Args:
        row: of any kind.
        folder: of its stack; predictions are read nowhere else.
        problems: what could not be read is added to it.
    """
    if not isinstance(row, TrialResult) or row.test_correct or not row.predictions:
        return row
    file = folder / PREDICTIONS / Path(row.predictions).name
    if not inside(file, folder):
        problems.append(f"{file}: {LINK_OUT}")
        return row
    if not file.is_file():
        return row
    try:
        right = marks.packed(marks.of_predictions(file))
    except marks.DamagedError as error:
        problems.append(str(error))
    except (KeyError, ValueError):  # whole, but no predictions
        pass
    else:
        return row.model_copy(update={"test_correct": right})
    return row
