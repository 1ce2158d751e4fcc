"""Steps that trials share, each done by itself: so that several workers can do them side by side.

What comes of a step lies in the cache, where the trials find it. A step that turns out to have
nothing to do (the cache holds it, or there is no room for it) is done.
"""

from typing import Any

from bench import steps
from bench.records import SplitName, TrialSpec
from bench.steps import View
from bench.training.grounds import Workplace, pictures_for, prepared_for
from bench.training.recording import Report
from bench.training.trial import check_head
from bench.training.workbench import Workbench


def images(spec: TrialSpec, place: Workplace, report: Report) -> None:
    """Decode a trial's dataset. Needs no framework but what reads the dataset.

    Raises:
        BenchError: the dataset cannot be found or read, or the cache cannot be written.
    """
    pictures_for(spec, place, report)


def activations(
    spec: TrialSpec, split: SplitName, view: View | None, place: Workplace, report: Report
) -> None:
    """One pass of a split through a trial's backbone, keeping every cut that the suite needs there.

    Args:
        spec: a trial on the ground.
        split: which pictures.
        view: how augmentation shows them; None as they are.
        place: the suite's trials, and what they share.
        report: told of the pass.

    Raises:
        BenchError: as the trial itself would.
    """
    if (bench := _bench(spec, place, report)) is not None:
        bench.run_pass(split, view, report)


def heads(spec: TrialSpec, place: Workplace, report: Report) -> None:
    """Train the stack of heads that a trial's head belongs to.

    Raises:
        BenchError: as the trial itself would.
    """
    bench = _bench(spec, place, report)
    if bench is None or steps.pooled_name(spec) not in bench.activations.cuts:
        return
    check_head(spec, bench.given.classes)
    bench.head(spec, report)


def _bench(spec: TrialSpec, place: Workplace, report: Report) -> Workbench | None:
    if place.literal or not steps.shares_phase1(spec):
        return None
    row: dict[str, Any] = {}  # what a trial would say of the ground, which nobody asks here
    return prepared_for(spec, place, False, report, row).bench
