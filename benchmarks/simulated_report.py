"""What simulated sweeps came to: its record, and in words."""

from pathlib import Path

from pydantic import Field
from tabulate import tabulate

from bench.records import Environment, Record, Stack
from benchmarks import written
from benchmarks.tables import mib

OUTPUT = Path("results/reference/simulated.json")
LEAST, MOST_GROWTH = 0.9, 2.0
"""Bounds: of utilisation, and of what a trial of the largest sweep takes over one of 1,000."""


class Variant(Record):
    """A simulated run.

    Attributes:
        name: what is particular about it.
        trials, jobs: that ended.
        hours: that it took.
        ideal_hours: that it could have taken.
        setup, idle, lost, away: shares of the GPUs' time that went to beginning on grounds, to
            waiting, with jobs that lost nodes took along, and by nodes that were not there.
        setups: how often a worker began on a ground.
        moves: how many of these on a ground that another worker of its cache had begun.
        given_up: trials that lost too many workers.
    """

    name: str
    trials: int
    jobs: int
    hours: float
    ideal_hours: float
    setup: float
    idle: float
    lost: float
    away: float
    setups: int
    moves: int
    given_up: int

    @property
    def utilisation(self) -> float:
        """The ideal over what it took."""
        return self.ideal_hours / self.hours


class Cost(Record):
    """What a sweep took of the machine that the runner is on, in a process of its own.

    Attributes:
        trials, jobs: of the sweep.
        cpu_seconds: of the runner's process during the run, the simulation's own apart.
        wall_seconds: every row's way to the disk included.
        memory_bytes: by which the process grew during the run; what it had to spare before is not
            in it.
        held_bytes: of Python objects that the run made, at the most, in a second run that does not
            count otherwise (and has no store, which holds nothing).
    """

    trials: int
    jobs: int
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    held_bytes: int


class Report(Record):
    """Everything simulated in one run; the first variant is the one that is held to `LEAST`."""

    command: str
    measured_at: str
    environment: Environment
    stack: Stack
    faster: float
    variants: tuple[Variant, ...] = Field(min_length=1)
    costs: tuple[Cost, ...] = Field(min_length=1)

    @property
    def beyond(self) -> list[str]:
        """What is not as it should be; empty where all is well."""
        found = []
        if self.variants[0].utilisation < LEAST:
            found.append(f"utilisation {self.variants[0].utilisation:.1%}, less than {LEAST:.0%}")
        for word, name in (("time", "cpu_seconds"), ("memory", "held_bytes")):
            each = {cost.trials: getattr(cost, name) / cost.trials for cost in self.costs}
            growth = each[max(each)] / each.get(1_000, each[min(each)])
            if growth > MOST_GROWTH:
                found.append(
                    f"{word} of a trial of the largest sweep: {growth:.1f} of one of 1,000"
                )
        return found


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.simulated")


def document(report: Report, form: str = "simple") -> str:
    """What came of it: a line for each variant, and one for each size of a sweep.

    Args:
        report: what was simulated.
        form: as tabulate calls it.
    """
    titles = ("", "hours", "ideal", "utilisation", "beginning", "waiting", "lost", "begun", "moves")
    lines = [
        (
            v.name + (f" ({v.given_up} trials given up)" if v.given_up else ""),
            f"{v.hours:.2f}",
            f"{v.ideal_hours:.2f}",
            f"{v.utilisation:.1%}",
            f"{v.setup:.1%}",
            f"{v.idle:.1%}",
            f"{v.lost + v.away:.1%}",
            f"{v.setups:,}",
            f"{v.moves:,}",
        )
        for v in report.variants
    ]
    costs = [
        (
            f"{c.trials:,}",
            f"{c.jobs:,}",
            f"{1000 * c.cpu_seconds / c.trials:.2f} ms",
            f"{1000 * c.wall_seconds / c.trials:.2f} ms",
            f"{c.held_bytes / c.trials / 1000:.1f} kB",
            mib(c.memory_bytes),
        )
        for c in report.costs
    ]
    sizes = ("trials", "jobs", "processor, a trial", "wall, a trial", "objects, a trial", "growth")
    machine, first = report.environment, report.variants[0]
    made = tabulate(lines, titles, tablefmt=form, disable_numparse=True)
    grown = tabulate(costs, sizes, tablefmt=form, disable_numparse=True)
    return (
        f"{made}\n\nOf the GPUs' time: beginning on a backbone with its pictures (begun: how "
        "often; moves: of these, where another worker had begun), waiting, and lost with nodes. "
        f"{first.trials:,} trials, {first.jobs:,} jobs, 64 simulated GPUs on 8 nodes, "
        f"each taken to be {report.faster:g} times as fast as the two cores that real rows were "
        f"measured on ({report.stack.id}).\n\n{grown}\n\nWhat the runner takes with a real store: "
        "time of its process and until every row was on disk, objects held at the most, and by how "
        "much its process grew in all. On "
        f"{machine.processor}, {machine.cores} cores."
    )
