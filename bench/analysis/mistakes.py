"""Trials that made a mistake on purpose, each beside the right protocol."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.analysis.evidence import Line
from bench.analysis.stats import Effect
from bench.analysis.trades import effect_of


class Mistake(NamedTuple):
    """A trial with a trap, and the same without it."""

    right: Line
    trapped: Line

    @property
    def effect(self) -> Effect | None:
        """What it cost: a difference in accuracy; None where answers are not known."""
        return effect_of(self.right, self.trapped)

    @property
    def guards(self) -> tuple[str, ...]:
        """Names of those that failed in any of its seeds."""
        return tuple(sorted({n for r in self.trapped.group.rows for n in r.failed_guards}))


def of(lines: Sequence[Line]) -> Iterator[Mistake]:
    """Of the lines of one field: what has a result on both sides."""
    right = {_alike(x): x for x in lines if not x.group.spec.trap and x.test_accuracy}
    for line in trapped(lines):
        if line.test_accuracy and _alike(line) in right:
            yield Mistake(right[_alike(line)], line)


def trapped(lines: Sequence[Line]) -> list[Line]:
    """Those with a trap, whose accuracy means something."""
    return [x for x in lines if x.group.spec.trap and not x.random]


def _alike(line: Line) -> tuple[str, object]:
    """What both have in common: the trial, and what it loaded."""
    spec = line.group.spec.model_copy(update={"seed": 0, "trap": None})
    row = line.group.finished[0] if line.group.finished else line.group.rows[0]
    loaded = row.weights.sha256 if row.weights and spec.backbone.weights != "random" else ""
    return spec.key, (loaded, row.protocol)
