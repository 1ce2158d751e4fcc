"""What `benchmarks.calibration` found: its records, and how they are told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench.analysis.margins import Quantity
from bench.records import Record, Stack
from benchmarks import written


class Alarms(Record):
    """What comparisons of A with A came to.

    Attributes:
        comparisons: how many.
        alarmed: in which anything was called worse.
        by_quantity: findings of each, by verdict.
    """

    comparisons: int
    alarmed: int
    by_quantity: dict[str, dict[str, int]]


class Caught(Record):
    """What one mistake came to.

    Attributes:
        name, text: of the mistake.
        quantity, subject: what it made worse, where it made anything worse; of that, or of all,
            where its effect was largest against what could be seen.
        effect, low, high: a difference for accuracy, else a ratio.
        detectable: the smallest effect that the comparison could have seen there.
        verdict: of the whole comparison.
        worse: findings called worse.
    """

    name: str
    text: str
    quantity: Quantity
    subject: str
    effect: float
    low: float
    high: float
    detectable: float
    verdict: str
    worse: tuple[str, ...]

    @property
    def visible(self) -> bool:
        """Whether its effect is above the smallest visible one."""
        return size(self.quantity, self.effect) >= size(self.quantity, self.detectable)


class Power(Record):
    """How often a slower step was caught, in comparisons made as for `Alarms`.

    Attributes:
        slower: by which share of its time.
        comparisons: how many.
        caught: in which throughput was called worse.
        detectable: the smallest ratio that could be seen over all workloads, median.
    """

    slower: float
    comparisons: int
    caught: int
    detectable: float


class Sides(Record):
    """B over A of the same stack as they ran, over all workloads and rounds."""

    throughput: float
    low: float
    high: float


class Report(Record):
    """Everything. ``drawn``: what each comparison of the same stack was made of."""

    command: str
    drawn: str
    stack: Stack
    machine: str
    alarms: Alarms
    sides: Sides
    faults: tuple[Caught, ...]
    power: tuple[Power, ...]


def size(quantity: Quantity, value: float) -> float:
    """How large an effect is, whatever its direction."""
    return abs(value) if quantity == "accuracy" else abs(float(np.log(value)))


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.calibration")


def document(found: Report, form: str = "simple") -> str:
    """The tables, and what they were measured on.

    Args:
        found: what was measured.
        form: as tabulate calls it.
    """
    alarms = found.alarms
    return "\n\n".join(
        [
            f"The same stack twice: {alarms.alarmed} of {alarms.comparisons} comparisons raised a "
            f"false alarm ({alarms.alarmed / alarms.comparisons:.1%}), each of {found.drawn}.",
            _alarm_table(alarms, form),
            f"B over A as they ran, throughput of all workloads: {_ratio(found.sides.throughput)} "
            f"({_ratio(found.sides.low)} to {_ratio(found.sides.high)}): neither side is favoured "
            "where that holds 0.",
            "Mistakes made on purpose:",
            _fault_table(found.faults, form),
            "Steps slower by so much, made out of the rounds above:",
            _power_table(found.power, form),
            f"On {found.stack.id}, {found.machine}.",
        ]
    )


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]], form: str) -> str:
    return tabulate(lines, titles, tablefmt=form, disable_numparse=True)


def _alarm_table(alarms: Alarms, form: str) -> str:
    verdicts = ("same", "unclear", "better", "worse")
    lines = [
        [quantity, *(f"{counts.get(v, 0):,}" for v in verdicts)]
        for quantity, counts in alarms.by_quantity.items()
    ]
    return _table(("findings", *verdicts), lines, form)


def _fault_table(faults: Sequence[Caught], form: str) -> str:
    titles = ("mistake", "largest in", "effect (95%)", "could see", "verdict", "worse in")
    lines = [
        [
            fault.text,
            f"{fault.quantity}, {fault.subject}",
            _effect(fault),
            _amount(fault.quantity, fault.detectable),
            fault.verdict,
            ", ".join(fault.worse) or "–",
        ]
        for fault in faults
    ]
    return _table(titles, lines, form)


def _ratio(value: float) -> str:
    return f"{100 * (value - 1):+.1f}%"


def _effect(fault: Caught) -> str:
    values = (fault.effect, fault.low, fault.high)
    if fault.quantity == "accuracy":
        middle, low, high = (f"{100 * v:+.1f}" for v in values)
        return f"{middle} points ({low} to {high})"
    middle, low, high = (f"{100 * (v - 1):+.1f}%" for v in values)
    return f"{middle} ({low} to {high})"


def _amount(quantity: Quantity, value: float) -> str:
    return f"{100 * value:.1f} points" if quantity == "accuracy" else f"{100 * (value - 1):.1f}%"


def _power_table(power: Sequence[Power], form: str) -> str:
    titles = ("slower by", "caught", "could see, all workloads together")
    lines = [
        [
            f"{p.slower:.0%}",
            f"{p.caught} of {p.comparisons} ({p.caught / p.comparisons:.0%})",
            f"{100 * (p.detectable - 1):.1f}%",
        ]
        for p in power
    ]
    return _table(titles, lines, form)
