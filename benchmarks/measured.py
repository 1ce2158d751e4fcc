"""What the speed comparison measured: records, JSON both ways, and the arithmetic of ratios."""

import itertools
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from bench.records import Environment, Record, Stack
from benchmarks import written
from benchmarks.cases import Case, Side


class Trial(Record):
    """One trial as its own side timed it.

    Attributes:
        strategy: label of the freeze strategy.
        seconds: from building the model to the accuracy on test; where Bench's trials share work,
            it counts in the trial that did it.
        phase1_seconds, phase2_seconds: None where there was no such phase.
        trainable_parameters: numbers that trained in the last phase.
        way: for Bench, whether work was shared.
    """

    strategy: str
    seed: int
    seconds: float
    phase1_seconds: float | None
    phase2_seconds: float | None
    trainable_parameters: int
    test_accuracy: float
    way: str = ""


class Run(Record):
    """One side's run of a case, in a fresh process.

    Attributes:
        work_seconds: from frameworks imported and pictures decoded to the last result.
        whole_seconds: of the process, start-up included, decoding left out.
        data_seconds: what the plain script's decoding took; 0 for Bench, whose image cache was
            filled before.
    """

    side: Side
    work_seconds: float
    whole_seconds: float
    data_seconds: float = 0.0
    trials: tuple[Trial, ...]

    @property
    def accuracy(self) -> float:
        """On test, the mean over the trials."""
        return statistics.fmean(t.test_accuracy for t in self.trials)

    @property
    def parameters(self) -> dict[str, int]:
        """Numbers that trained in the last phase, by strategy."""
        return {t.strategy: t.trainable_parameters for t in self.trials}


class Ratio(Record):
    """How many times faster, and between which bounds over pairs of neighbouring runs."""

    value: float
    low: float
    high: float

    def over(self, other: "Ratio") -> "Ratio":
        """The ratio of two ratios, its bounds as wide as both allow."""
        return Ratio(
            value=self.value / other.value,
            low=self.low / other.high,
            high=self.high / other.low,
        )


class Measured(Record):
    """A case with its runs, in the order they ran."""

    case: Case
    measured_at: str
    runs: tuple[Run, ...]

    def of(self, side: Side) -> tuple[Run, ...]:
        """The runs of one side."""
        return tuple(run for run in self.runs if run.side == side)

    def seconds(self, side: Side) -> float | None:
        """Mean work of a side's runs; None where it has none."""
        runs = self.of(side)
        return statistics.fmean(run.work_seconds for run in runs) if runs else None

    def accuracy(self, side: Side) -> float | None:
        """Mean accuracy on test of a side's trials; None where it has none."""
        runs = self.of(side)
        return statistics.fmean(run.accuracy for run in runs) if runs else None

    def ratio(self, whole: bool = False) -> Ratio | None:
        """Plain seconds over Bench's; None where either has no run.

        The value is that of the mean seconds. Its bounds are the smallest and the largest ratio of
        two runs that followed each other, since those met the machine in the same state.

        Args:
            whole: of whole processes rather than of the work alone.
        """
        runs = [run for run in self.runs if run.side != "literal"]
        time = _whole if whole else _work
        if {run.side for run in runs} != {"bench", "plain"}:
            return None
        pairs = [
            {one.side: time(one), two.side: time(two)}
            for one, two in itertools.pairwise(runs)
            if one.side != two.side
        ]
        ratios = [pair["plain"] / pair["bench"] for pair in pairs]
        value = _mean(time, self.of("plain")) / _mean(time, self.of("bench"))
        return Ratio(value=value, low=min(ratios), high=max(ratios))

    @property
    def same_parameters(self) -> bool | None:
        """Whether every run trained equally many numbers; None where there is one run only."""
        first, *others = (run.parameters for run in self.runs)
        return all(first == other for other in others) if others else None


class Comparison(Record):
    """Everything measured, on one stack and one machine."""

    stack: Stack
    environment: Environment
    measured: tuple[Measured, ...]

    def by_name(self) -> Mapping[str, Measured]:
        """The cases by their letters."""
        return {m.case.name: m for m in self.measured}

    def with_case(self, measured: Measured) -> Self:
        """The same with one more case, or with a newer measurement of one."""
        cases = dict(self.by_name()) | {measured.case.name: measured}
        return self.model_copy(update={"measured": tuple(cases[n] for n in sorted(cases))})

    def counted(self, measured: Measured) -> Ratio | None:
        """The ratio that a case's target is about; None where it cannot be told."""
        ratio, over = measured.ratio(), measured.case.over
        if ratio is None or over is None:
            return ratio
        other = self.by_name().get(over)
        base = other.ratio() if other else None
        return ratio.over(base) if base else None

    def reached(self, measured: Measured) -> bool | None:
        """Whether a case meets its target; None where that cannot be told."""
        counted = self.counted(measured)
        return None if counted is None else counted.value >= measured.case.target


def read(file: Path) -> Comparison:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Comparison, file, "measurements of benchmarks.speed")


def write(comparison: Comparison, file: Path) -> None:
    """Write all of it; a kill leaves the file as it was."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(file.name + ".part")
    draft.write_text(comparison.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.replace(file)


def _work(run: Run) -> float:
    return run.work_seconds


def _whole(run: Run) -> float:
    return run.whole_seconds


def _mean(time: Callable[[Run], float], runs: tuple[Run, ...]) -> float:
    return statistics.fmean(map(time, runs))
