"""What `benchmarks.choice_calibration` found: its records, and how they are told."""

from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from bench.records import Record, Stack
from benchmarks import written


class Bin(Record):
    """Statements of about one probability.

    Attributes:
        stated: their mean.
        observed: the share that came true.
        low, high: 95% interval of that, as if all were independent.
        count: how many.
    """

    stated: float
    observed: float
    low: float
    high: float
    count: int


class Reliability(Record):
    """Statements and what came true.

    Attributes:
        bins: by probability, empty ones left out.
        stated, observed: means over all.
        brier: mean squared error (Brier 1950); 0 is best.
        uninformed: the same of one who calls all candidates equally probable.
        error: expected calibration error: mean distance of the bins, by their count.
        count: how many.
    """

    bins: tuple[Bin, ...]
    stated: float
    observed: float
    brier: float
    uninformed: float
    error: float
    count: int


class Checked(Record):
    """Worlds of one kind.

    Attributes:
        way: ``resampled`` or ``apart``.
        on: a dataset, ``tuning`` for all that the belief was settled with, ``held out`` for others.
        told: what was known of the candidates.
        pick: that the pick is best.
        each: that a candidate is best, every one.
        close: that the pick is within `Report.margin` of the best.
        before: stated of the pick before the noise of the outcome is added, mean; ``apart`` only.
        holds: share of 95% intervals that hold the truth; ``resampled`` only.
    """

    way: str
    on: str
    told: str
    pick: Reliability
    each: Reliability
    close: Reliability
    before: float | None = None
    holds: float | None = None


class Report(Record):
    """Everything, and what it was worked out from."""

    command: str
    stack: Stack
    machine: str
    candidates: dict[str, int]
    pictures: dict[str, tuple[int, int]]
    worlds: int
    draws: int
    margin: float
    assumed: dict[str, float]
    checked: tuple[Checked, ...]


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.choice_calibration")


def document(found: Report, form: str = "github") -> str:
    """The tables, and what they were worked out from.

    Args:
        found: what came true.
        form: as tabulate calls it.
    """
    sizes = ", ".join(
        f"{name} ({found.candidates[name]} candidates, {val} val and {test} test pictures)"
        for name, (val, test) in found.pictures.items()
    )
    together = [c for c in found.checked if c.told == "together"]
    return "\n\n".join(
        [
            _summary([c for c in found.checked if c.told != "together"], form),
            *(_bins(c, form) for c in together),
            f"{found.worlds} worlds in each line of the first table, {found.draws} draws in each "
            f"world; close is within {100 * found.margin:g} points. From {sizes}, on "
            f"{found.stack.id}, {found.machine}.",
        ]
    )


def _summary(checked: Sequence[Checked], form: str) -> str:
    titles = (
        "way",
        "dataset",
        "told",
        "pick is best: stated",
        "came true",
        "pick is close: stated",
        "came true",
        "Brier, each",
        "all equal",
        "95% holds",
    )
    lines = [
        [
            c.way,
            c.on,
            c.told,
            _percent(c.pick.stated) + (f" (truth {_percent(c.before)})" if c.before else ""),
            _percent(c.pick.observed),
            _percent(c.close.stated),
            _percent(c.close.observed),
            f"{c.each.brier:.3f}",
            f"{c.each.uninformed:.3f}",
            "–" if c.holds is None else _percent(c.holds),
        ]
        for c in checked
    ]
    return tabulate(lines, titles, tablefmt=form, disable_numparse=True)


def _bins(checked: Checked, form: str) -> str:
    lines = [
        [
            name,
            _percent(b.stated),
            _percent(b.observed),
            f"{_percent(b.low)} to {_percent(b.high)}",
            f"{b.count:,}",
        ]
        for name, found in (
            ("the pick is best", checked.pick),
            ("this one is best", checked.each),
            ("the pick is close", checked.close),
        )
        for b in found.bins
    ]
    titles = ("statement", "stated", "came true", "95%", "statements")
    table = tabulate(lines, titles, tablefmt=form, disable_numparse=True)
    errors = (
        f"Expected calibration error: {100 * checked.pick.error:.1f} points of the pick, "
        f"{100 * checked.each.error:.1f} of each, {100 * checked.close.error:.1f} of close."
    )
    return f"{checked.way}, {checked.on}:\n\n{table}\n\n{errors}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
