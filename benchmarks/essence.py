"""What of a trial must come out equal to the last bit when it is run again."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import TrialResult

TIMINGS = frozenset(
    {
        *("started_at", "seconds", "pictures_seconds", "images_per_second", "input_wait"),
        *("execution", "environment"),
    }
)
"""The only fields of a row in which two runs may differ (``execution`` of a phase says how it was
decided, which depends on times)."""


def essence(row: TrialResult, folder: Path, besides: Collection[str] = ()) -> dict[str, Any]:
    """Everything of a row that must come out equal, and what it predicted.

    Args:
        row: of the store.
        folder: the suite's results.
        besides: fields that may differ, too.
    """
    content: dict[str, Any] = _without(row.model_dump(mode="json"), TIMINGS.union(besides))
    if row.predictions:
        with np.load(folder / row.stack.id / row.predictions, allow_pickle=False) as arrays:
            content["arrays"] = {n: (str(a.dtype), a.shape, a.tobytes()) for n, a in arrays.items()}
    return content


def _without(value: Any, names: Collection[str]) -> Any:
    """A row as JSON without fields of these names, at whatever depth."""
    if isinstance(value, dict):
        return {k: _without(v, names) for k, v in value.items() if k not in names}
    if isinstance(value, list):
        return [_without(v, names) for v in value]
    return value
