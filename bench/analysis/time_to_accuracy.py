"""How long a trial trains before its val accuracy first reaches a target, from its history.

Where the stock model trained step by step, the epochs' own seconds count. Where work was shared
these say nothing of the model, and the time is that of so many epochs at the throughput measured
apart, if it was: training alone, without looking at val.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from bench.analysis.speeds import Speeds
from bench.analysis.summary import Group
from bench.records import Epoch, TrialResult


@dataclass(frozen=True)
class Reached:
    """The first epoch at or above a target.

    Attributes:
        epochs: trained until then, that one included.
        seconds: spent on them; None where that is not known.
    """

    epochs: int
    seconds: float | None


@dataclass(frozen=True)
class Spent:
    """Means over the seeds that reached a target.

    Attributes:
        reached, finished: seeds that reached it, of those that have a result.
        epochs: until then.
        seconds: None where not every one of them is known.
    """

    reached: int
    finished: int
    epochs: float | None
    seconds: float | None


def first_reached(row: TrialResult, target: float, speeds: Speeds) -> Reached | None:
    """When a trial reached a val accuracy (0 to 1); None where it never did."""
    count, seconds = 0, 0.0
    known = True
    for phase, epoch in _epochs(row):
        taken = _seconds(row, phase, epoch, speeds)
        known = known and taken is not None
        count, seconds = count + 1, seconds + (taken or 0.0)
        if epoch.val_accuracy >= target:
            return Reached(count, seconds if known else None)
    return None


def spent(group: Group, target: float, speeds: Speeds) -> Spent:
    """The same over the seeds of a trial."""
    found = [r for row in group.finished if (r := first_reached(row, target, speeds))]
    seconds = [r.seconds for r in found if r.seconds is not None]
    return Spent(
        reached=len(found),
        finished=len(group.finished),
        epochs=statistics.fmean(r.epochs for r in found) if found else None,
        seconds=statistics.fmean(seconds) if found and len(seconds) == len(found) else None,
    )


def _epochs(row: TrialResult) -> Iterator[tuple[int, Epoch]]:
    """Every epoch of a trial with the number of its phase."""
    for number, phase in ((1, row.phase1), (2, row.phase2)):
        for epoch in phase.epochs if phase else ():
            yield number, epoch


def _seconds(row: TrialResult, phase: int, epoch: Epoch, speeds: Speeds) -> float | None:
    if row.way == "literal" or _ran_whole(row, phase):
        return epoch.seconds
    rate = speeds.of(row.spec, row.stack, phase)
    return row.dataset.train / rate if rate and row.dataset else None


def _ran_whole(row: TrialResult, phase: int) -> bool:
    """Whether the stock model trained in a phase, though the trial shared other work."""
    result = row.phase1 if phase == 1 else row.phase2
    return result is not None and result.images_per_second is not None
