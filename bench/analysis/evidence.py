"""What one or several results folders hold, taken together for people to look at.

    results folders -> Source ... -> Evidence: a Line for each trial, its seeds taken together, with
                                     what its steps cost where that was measured

Reports, plots and pages are made from this and read nothing else.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from bench.analysis import ranking
from bench.analysis.accuracy_stats import accuracy
from bench.analysis.ranking import Ranked, Standing
from bench.analysis.speeds import Speeds
from bench.analysis.stats import Estimate
from bench.analysis.summary import Group, Spread
from bench.costs import CostResult, Workload
from bench.errors import StoreError
from bench.probes import ProbeResult
from bench.records import PhaseResult, TrialResult
from bench.running import store

Quantity = Literal[
    "train_speed", "inference_speed", "latency", "memory", "parameters", "trainable_parameters"
]
"""What a trial costs; `Line.cost` says in which units."""


@dataclass(frozen=True)
class Source:
    """One results folder.

    Attributes:
        name: what tells it from the others; its folder's name, with more of its path where two
            folders share that.
        folder: where.
        rows, costs, problems, probes: as `bench.running.store.read` gives them.
    """

    name: str
    folder: Path
    rows: tuple[TrialResult, ...]
    costs: tuple[CostResult, ...] = ()
    problems: tuple[str, ...] = ()
    probes: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
        value: in the quantity's unit.
        low, high: what 95% of its repeats lay between; None where it is exact, or a single one.
        doubtful: better measured again on a quiet machine.
        apart: measured apart from the trial, by `bench measure`, on the stock model.
    """

    value: float
    low: float | None = None
    high: float | None = None
    doubtful: bool = False
    apart: bool = False


@dataclass(frozen=True, eq=False)
class Line:
    """One trial on one stack: a line of every table, a point of every plot.

    Attributes:
        number: from 1, in the order of the results; its name in links.
        source: name of the folder it is from.
        group: its seeds.
        standing: whether it is the best on its pictures, of its folder and stack.
        inference, phase1, phase2: what these workloads cost, out of the box; None where that was
            not measured, or there is no such phase.
    """

    number: int
    source: str
    group: Group
    standing: Standing
    inference: CostResult | None = None
    phase1: CostResult | None = None
    phase2: CostResult | None = None

    @property
    def backbone(self) -> str:
        """Its name."""
        return self.group.spec.backbone.name

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.group.spec.data.dataset.name

    @property
    def stack(self) -> str:
        """Its id."""
        return self.group.stack.id

    @property
    def random(self) -> bool:
        """Whether it froze a backbone of random weights: its accuracy means nothing."""
        return self.group.random

    @cached_property
    def accuracy(self) -> Estimate | None:
        """On test, 0 to 1, with its interval over pictures and seeds; None where not known."""
        correct = self.group.correct
        return None if correct is None else accuracy(correct)

    @property
    def test_accuracy(self) -> Spread | None:
        """Mean and deviation over seeds, where no interval can be told."""
        return self.group.spread(lambda r: r.test_accuracy)

    def cost(self, quantity: Quantity, apart: bool | None = None) -> Figure | None:
        """What it costs; None where that is not known.

        ``train_speed``: images/s of the last phase's steps, as measured apart, else the trial's
        own; ``inference_speed``: images/s; ``latency``: ms, one picture; ``memory``: bytes at the
        most, of the last phase's training; ``parameters``: numbers in backbone and head;
        ``trainable_parameters``: of those, what trains in the last phase.

        Args:
            quantity: which.
            apart: True for what was measured apart only, False for the trial's own only: the two
                are not to be compared.
        """
        found = self._apart(quantity) if apart is not False else None
        return self._own(quantity) if found is None and apart is not True else found

    def _apart(self, quantity: Quantity) -> Figure | None:
        if quantity == "train_speed":
            return _speed(self.training)
        if quantity == "inference_speed":
            return _speed(self.inference)
        if quantity == "latency":
            found = self.inference and self.inference.latency
            return Figure(found.median, high=found.p90, apart=True) if found else None
        if quantity == "memory":
            held = self.training and self.training.memory
            return Figure(held.peak, apart=True) if held else None
        return None

    def _own(self, quantity: Quantity) -> Figure | None:
        if quantity == "train_speed":
            return self._of_last(lambda phase: phase.images_per_second)
        if quantity == "parameters":
            return _mean(self.group.spread(lambda r: r.total_parameters))
        if quantity == "trainable_parameters":
            return self._of_last(lambda phase: phase.trainable_parameters)
        return None

    @property
    def training(self) -> CostResult | None:
        """What the steps of its last phase cost."""
        return self.phase2 if self.group.spec.phase2 else self.phase1

    def _of_last(self, value: Callable[[PhaseResult], float | None]) -> Figure | None:
        return _mean(self.group.phase(2 if self.group.spec.phase2 else 1, value))


def _speed(row: CostResult | None) -> Figure | None:
    if row is None or row.device is None:
        return None
    rate = row.device
    return Figure(rate.median, rate.low, rate.high, row.doubtful, apart=True)


def _mean(spread: Spread | None) -> Figure | None:
    return Figure(spread.mean) if spread else None


@dataclass(frozen=True)
class Evidence:
    """Everything a report shows.

    Attributes:
        sources: the folders, in the order given.
        lines: every trial, folder by folder, in the order measured.
    """

    sources: tuple[Source, ...]
    lines: tuple[Line, ...]

    @property
    def rows(self) -> tuple[TrialResult, ...]:
        """Of all folders."""
        return tuple(row for source in self.sources for row in source.rows)

    @property
    def costs(self) -> tuple[CostResult, ...]:
        """Of all folders."""
        return tuple(cost for source in self.sources for cost in source.costs)

    @property
    def probes(self) -> tuple[ProbeResult, ...]:
        """Of all folders."""
        return tuple(probe for source in self.sources for probe in source.probes)

    @property
    def problems(self) -> tuple[str, ...]:
        """Lines of the store that could not be read."""
        return tuple(problem for source in self.sources for problem in source.problems)

    def ranked(self, source: Source | None = None) -> Ranked:
        """The lines, or those of one folder, with their standing in it."""
        lines = [x for x in self.lines if source is None or x.source == source.name]
        return Ranked(tuple(x.group for x in lines), tuple(x.standing for x in lines))

    @property
    def several_sources(self) -> bool:
        """Whether a reader must be told which folder a line is from."""
        return len({line.source for line in self.lines}) > 1

    @property
    def several_stacks(self) -> bool:
        """Whether a reader must be told which stack a line is of."""
        return len({line.stack for line in self.lines}) > 1


def read(folders: Sequence[Path]) -> Evidence:
    """Read results folders.

    Raises:
        StoreError: one is none, or was written by a newer Bench; or one lies in another.
    """
    for one, other in itertools.permutations(folders, 2):
        if one.resolve().is_relative_to(other.resolve()):
            raise StoreError(f"{one}: given twice: it is {other}, or lies in it")
    return of([_source(n, f) for n, f in zip(_names(folders), folders, strict=True)])


def of(sources: Sequence[Source]) -> Evidence:
    """Take together what was read."""
    numbers = itertools.count(1)
    lines = (line for source in sources for line in _lines(source, numbers))
    return Evidence(tuple(sources), tuple(lines))


def _lines(source: Source, numbers: Iterator[int]) -> Iterator[Line]:
    """Of one folder, ranked for itself: beside another it would tie with its own trials."""
    found, speeds = ranking.ranked(source.rows), Speeds(source.costs)
    for group, standing in zip(found.groups, found.standings, strict=True):
        yield _line(next(numbers), source.name, group, standing, speeds)


def _line(number: int, source: str, group: Group, standing: Standing, speeds: Speeds) -> Line:
    def measured(workload: Workload) -> CostResult | None:
        return speeds.workload(group.spec, group.stack, workload)

    return Line(
        *(number, source, group, standing),
        inference=measured("inference"),
        phase1=measured("phase 1"),
        phase2=measured("phase 2"),
    )


def _source(name: str, folder: Path) -> Source:
    found = store.read(folder)
    return Source(name, folder, found.rows, found.costs, found.problems, found.probes)


def _names(folders: Iterable[Path]) -> list[str]:
    """The shortest ends of their paths that tell them apart."""
    parts = [folder.resolve().parts[1:] for folder in folders]  # no two alike
    ends = (["/".join(p[-length:]) for p in parts] for length in itertools.count(1))
    return next(names for names in ends if len(set(names)) == len(names))
