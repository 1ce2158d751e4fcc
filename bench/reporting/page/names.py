"""Short names on the page: of stacks, and of trials."""

from collections.abc import Iterable

from bench.analysis.evidence import Evidence, Line
from bench.records import Stack
from bench.reporting import tables
from bench.zoo.traps import NONE

UNNAMED = ("stack", "head")
"""Columns whose cells say by themselves what they are."""


def stack(found: Stack) -> str:
    """All of it: ``tensorflow 2.21.0, Keras 3.15.1, cpu, float32``."""
    return ", ".join(_parts(found))


def stacks(found: Iterable[Stack]) -> dict[str, str]:
    """By id what they differ in: ``tensorflow 2.21.0``; all of one that is alone."""
    parts = {s.id: _parts(s) for s in found}
    differ = [len(set(column)) > 1 for column in zip(*parts.values(), strict=True)]
    if not any(differ):
        return {key: ", ".join(said) for key, said in parts.items()}
    return {
        key: ", ".join(part for part, told in zip(said, differ, strict=True) if told)
        for key, said in parts.items()
    }


def _parts(found: Stack) -> tuple[str, ...]:
    backend = f"{found.backend} {found.backend_version}"
    return backend, f"Keras {found.keras_version}", found.device, found.precision


def trials(evidence: Evidence) -> dict[int, str]:
    """What tells each line from the others, by its number."""
    columns = tables.identity([line.group for line in evidence.lines])
    short = stacks(line.group.stack for line in evidence.lines)

    def title(line: Line) -> str:
        cells = {c.title: c.cell(line.group) for c in columns}
        said = [str(cells.pop(column.title)) for column in tables.IDENTITY]
        if "stack" in cells:
            cells["stack"] = short[line.stack]
        said += [
            str(cell) if name in UNNAMED else f"{name} {cell}"
            for name, cell in cells.items()
            if cell not in (None, NONE)
        ]
        return " · ".join([*said, line.source] if evidence.several_sources else said)

    return {line.number: title(line) for line in evidence.lines}
