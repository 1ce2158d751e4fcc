"""Rows in little memory: a sweep of 100,000 trials is read, resumed and shown on a laptop."""

import gc
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.records import PhaseResult, TrialResult, TrialSpec
from bench.tasks import Row, Spec

Common = dict[Hashable, Any]
"""What rows have said so far, each thing once."""
_SPEC = ("backbone", "data", "head", "freeze", "phase1", "phase2", "execution")
_ROW = ("dataset", "stack", "weights", "freeze_resolved")


def shared(row: Row, common: Common) -> Row:
    """The row, of which what others said before is held once for all of them."""
    changes = _known(row, _ROW, common)
    if guards := getattr(row, "guards", ()):
        changes["guards"] = tuple(common.setdefault(g, g) for g in guards)
    if row.environment is not None:  # it holds a mapping, so that its text stands for it
        text = row.environment.model_dump_json()
        changes["environment"] = common.setdefault(text, row.environment)
    if isinstance(row.spec, TrialSpec):
        changes["spec"] = row.spec.model_copy(update=_known(row.spec, _SPEC, common))
    return row.model_copy(update=changes)


def _known(record: Any, names: tuple[str, ...], common: Common) -> dict[str, Any]:
    said = {name: getattr(record, name, None) for name in names}
    return {name: common.setdefault(value, value) for name, value in said.items() if value}


def outlined(row: Row) -> Row:
    """What a run needs to know of a row on disk: how it ended."""
    if not isinstance(row, TrialResult):
        return row

    def brief(phase: PhaseResult | None) -> PhaseResult | None:
        return phase and phase.model_copy(update={"epochs": (), "val_correct": None})

    changes = {
        "phase1": brief(row.phase1),
        "phase2": brief(row.phase2),
        "test_correct": None,
        "guards": tuple(g for g in row.guards if g.passed is False),
        "environment": None,
    }
    return row.model_copy(update=changes)


class Outlines:
    """Rows in outline, with the very specs that the caller holds anyway.

    Args:
        specs: whose rows will come.
    """

    def __init__(self, specs: Iterable[Spec]) -> None:
        self._specs = {spec.key: spec for spec in specs}
        self._common: Common = {}

    def of(self, row: Row) -> Row:
        """One of them, as `outlined` leaves it."""
        brief = shared(outlined(row), self._common)
        return brief.model_copy(update={"spec": self._specs.get(row.key, row.spec)})


@contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for cycles, which would walk all rows read so far again and again.

    Rows form no cycles; with it, reading many of them takes four times as long.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
