"""Which trials are the best on a dataset, as far as test pictures tell, and which are ties."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis.accuracy_stats import accuracy, accuracy_difference
from bench.analysis.stats import holm
from bench.analysis.summary import Group, summarise
from bench.records import DatasetUsed, TrialResult

Standing = Literal["best", "tie", ""]
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Ranked:
    """Trials, and which of them are the best.

    Attributes:
        groups: the trials, their seeds taken together.
        standings: of each.
    """

    groups: tuple[Group, ...]
    standings: tuple[Standing, ...]


def ranked(rows: Iterable[TrialResult]) -> Ranked:
    """Take the seeds of rows together, and rank the trials."""
    groups = summarise(rows)
    return Ranked(tuple(groups), tuple(standings(groups)))


def standings(groups: Sequence[Group]) -> list[Standing]:
    """For each group whether it is the best on its stack and its pictures.

    Nobody should choose a trap, or a frozen backbone of random weights, so these are nothing.

    The group with the highest accuracy is ``best`` if every other on the same pictures is told from
    it; otherwise it and those that are not told from it are a ``tie``. One alone is nothing.

    Two are told apart by their difference, paired on the pictures (p-values adjusted by Holm's
    method), or where their intervals have nothing in common: two seeds of an unsteady trial leave
    the former few degrees of freedom.

    Args:
        groups: of one results folder, any datasets and stacks.
    """
    found: list[Standing] = ["" for _ in groups]
    fields: dict[tuple[str, str], list[int]] = {}
    for i, group in enumerate(groups):
        if group.spec.trap or group.random:
            continue
        seen = pictures(group)
        if seen and group.correct is not None:
            fields.setdefault((group.stack.id, seen.fingerprint), []).append(i)
    for field in fields.values():
        top = _top(groups, field) if len(field) > 1 else []
        for i in top:
            found[i] = "best" if len(top) == 1 else "tie"
    return found


def pictures(group: Group) -> DatasetUsed | None:
    """What its finished seeds saw, else any; None where none got so far."""
    return next((r.dataset for r in (*group.finished, *group.rows) if r.dataset), None)


def _top(groups: Sequence[Group], field: Sequence[int]) -> list[int]:
    """The highest, and those that are not told from it."""
    answers = {i: correct for i in field if (correct := groups[i].correct) is not None}
    first = max(answers, key=lambda i: float(answers[i].mean()))
    others = [i for i in answers if i != first]
    effects = [accuracy_difference(answers[i], answers[first], LEVEL) for i in others]
    adjusted = holm([e.p_value for e in effects])
    lowest = accuracy(answers[first], LEVEL).interval.low
    told = [
        (p <= 1 - LEVEL and e.no_change not in e.interval)
        or accuracy(answers[i], LEVEL).interval.high < lowest
        for i, p, e in zip(others, adjusted, effects, strict=True)
    ]
    return [first, *(i for i, apart in zip(others, told, strict=True) if not apart)]
