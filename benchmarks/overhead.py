"""What measuring and training with Bench add to a compiled step.

    python -m benchmarks.overhead                     writes results/reference/overhead.json
    python -m benchmarks.overhead --backbone ResNet50 --only "phase 2" --output FILE
    python -m benchmarks.overhead --show FILE         prints what such a file says

Four sides take turns on the same machine, each warmed up anew, each for as many steps:

  bare       a Python loop over the compiled step, the device waited for once, after the last
  measured   what ``bench measure`` reads on the same compiled step, from its bursts
  fit        Keras' fit of such a model on one batch repeated from memory, nobody watching
  trial      the fit of a trial: batches read from a mapped file, every step timed and recorded

`measured` over `bare` is the overhead of measuring. `trial` over `fit` is Bench's own share of a
fit, `fit` over `bare` is Keras'; both fits are timed from the beginning of an epoch to the end of
its last step. Ratios are of medians over rounds; their intervals come from drawing rounds again.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field
from tabulate import tabulate

from bench.costs import CostSpec
from bench.errors import BenchError
from bench.records import Environment, Execution, Record, Stack
from benchmarks import written

if TYPE_CHECKING:
    from bench.measuring.steps import Bursts
    from bench.measuring.subject import Subject
    from bench.training.batches import Pictures
    from bench.training.grounds import Workplace

LIMIT = 0.02
"""Of what measuring may add to a step."""
BACKBONES = ("MobileNetV2",)
IMAGE_SIZE, BATCH_SIZE = 160, 32
ROUNDS, SECONDS = 15, 3.0
FEWEST_STEPS = 4
RESAMPLES, QUANTILES = 10_000, (0.025, 0.975)
OUTPUT = Path("results/reference/overhead.json")

Side = Callable[[], float]
"""Runs a round, and returns its seconds per step."""


class Added(Record):
    """What one side takes over another, as a share of the other: 0.01 is 1% more.

    Attributes:
        value: of medians over rounds.
        low, high: 95% interval of that, from drawing rounds again.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, side: Sequence[float], over: Sequence[float]) -> Self:
        """From seconds per step of each round; those of one round belong together."""
        one, other = np.asarray(side), np.asarray(over)
        drawn = np.random.default_rng(0).integers(0, len(one), (RESAMPLES, len(one)))
        ratios = np.median(one[drawn], axis=1) / np.median(other[drawn], axis=1)
        low, high = np.quantile(ratios, QUANTILES)
        value = np.median(one) / np.median(other)
        return cls(value=float(value - 1), low=float(low - 1), high=float(high - 1))

    def __str__(self) -> str:
        return f"{self.value:+.1%} ({self.low:+.1%} to {self.high:+.1%})"


class Measured(Record):
    """One workload of one backbone.

    Attributes:
        execution: how its steps ran.
        steps: of each side in a round.
        seconds: per step, round by round, of each side; fits are there for training only.
        elsewhere: share of the cores' time, 0 to 1, that other work used meanwhile.
    """

    spec: CostSpec
    execution: str
    steps: int = Field(ge=1)
    seconds: dict[str, tuple[float, ...]]
    elsewhere: float | None = None

    def added(self, side: str, over: str = "bare") -> Added | None:
        """What a side takes over another; None where it was not run."""
        if side not in self.seconds or over not in self.seconds:
            return None
        return Added.of(self.seconds[side], self.seconds[over])


class Report(Record):
    """Everything measured in one run."""

    stack: Stack
    environment: Environment
    command: str
    measured_at: str
    measured: tuple[Measured, ...] = Field(min_length=1)

    @property
    def worst(self) -> tuple[Measured, Added]:
        """The workload where a measurement is farthest from the bare loop."""
        found = [(m, m.added("measured")) for m in self.measured]
        return max(((m, a) for m, a in found if a), key=lambda pair: abs(pair[1].value))

    @property
    def within(self) -> bool:
        """Whether it is near enough, above or below."""
        return abs(self.worst[1].value) < LIMIT


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.overhead")


def sentence(report: Report) -> str:
    """Whether measuring stays under its limit, in one line."""
    measured, added = report.worst
    return (
        f"bench measure is within {LIMIT:.0%} of a bare loop of the same compiled step: "
        f"{'yes' if report.within else 'no'}, {added} where it is farthest "
        f"({_name(measured.spec)})"
    )


def table(report: Report, form: str = "simple") -> str:
    """One line a workload, and below it what it was measured on.

    Args:
        report: what was measured.
        form: as tabulate calls it.
    """
    titles = ("work", "steps", "bare, ms a step", "bench measure", "Keras' fit", "a trial's fit")
    lines = [_line(m) for m in report.measured]
    made = tabulate(lines, (*titles, "ours"), tablefmt=form, disable_numparse=True)
    machine, spec = report.environment, report.measured[0].spec
    rounds = {len(m.seconds["bare"]) for m in report.measured}
    below = (
        f"At {spec.image_size} px, batch {spec.batch_size}, in percent over the bare loop (ours: a "
        f"trial's fit over Keras'). Medians of "
        f"{' or '.join(map(str, sorted(rounds)))} rounds (95% interval), on {report.stack.id}, "
        f"{machine.processor}, {machine.cores} cores."
    )
    busiest = max(m.elsewhere or 0.0 for m in report.measured)
    busy = f" Other work used up to {busiest:.0%} of the cores meanwhile."
    return f"{made}\n\n{below}{busy}"


def _line(measured: Measured) -> list[str]:
    added = [
        *(measured.added(side) for side in ("measured", "fit", "trial")),
        measured.added("trial", over="fit"),
    ]
    bare = statistics.median(measured.seconds["bare"])
    cells = ["–" if a is None else str(a) for a in added]
    return [_name(measured.spec), str(measured.steps), f"{1e3 * bare:.3g}", *cells]


def _name(spec: CostSpec) -> str:
    return f"{spec.backbone.name}, {spec.work}"


def in_turns(sides: Mapping[str, Side], rounds: int) -> dict[str, tuple[float, ...]]:
    """Seconds per step of every round of every side: a b c, a b c, ..."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(side())
    return {name: tuple(seconds) for name, seconds in taken.items()}


def measure(spec: CostSpec, place: "Workplace", rounds: int, seconds: float) -> Measured:
    """Measure one workload.

    Args:
        spec: which; its batch size is given.
        place: the process it is measured in.
        rounds: of each side.
        seconds: that a round of bare steps should take.
    """
    from bench.measuring import fastest, subject
    from bench.measuring.load import Watch
    from bench.measuring.steps import Bursts

    size = spec.batch_size or BATCH_SIZE
    # Two models of a kind: on JAX a step keeps the variables of its model for itself.
    stepped = subject.load(spec, place)
    fitted = subject.load(spec, place) if stepped.kind == "training" else None
    mode = fastest.default(stepped)
    batch = stepped.batch(size)
    mapped = subject.mapped_pictures(size, spec, None)
    with closing(stepped.step(batch)) as step, mapped as shown:
        run = Bursts(step, lambda: batch)
        steps = _steps(run, seconds)
        sides: dict[str, Side] = {
            "bare": lambda: bare(run, steps),
            "measured": lambda: measured(run, steps, seconds),
        }
        if fitted is not None:
            sides |= _fits(fitted, steps, shown)
        in_turns(sides, 1)  # compiles the fits
        with Watch() as machine:
            taken = in_turns(sides, rounds)
    return Measured(
        spec=spec,
        execution=mode.text,
        steps=steps,
        seconds=taken,
        elsewhere=machine.elsewhere,
    )


def _steps(run: "Bursts", seconds: float) -> int:
    """How many steps last so long, the first ones apart."""
    from bench.measuring import timing

    run(1)
    run(timing.WARM_STEPS)
    return max(FEWEST_STEPS, math.ceil(seconds * 2 / timing.seconds_of(run, 2)))


def bare(run: "Bursts", steps: int) -> float:
    """The loop that anybody would write, after as many steps as a measurement warms up for."""
    from bench.measuring import timing

    step, batch = run.step, run.next_batch()
    run(1)
    run(1 + timing.WARM_STEPS)
    began = time.perf_counter()
    for _ in range(steps):
        step.run(batch)
    step.wait()
    return (time.perf_counter() - began) / steps


def measured(run: "Bursts", steps: int, seconds: float) -> float:
    """What ``bench measure`` reads; the mean of its bursts, because the bare loop has no other."""
    from bench.measuring import timing

    return statistics.fmean(timing.timed(run, seconds).seconds)


def _fits(what: "Subject", steps: int, shown: "Pictures") -> dict[str, Side]:
    """Both ways to fit a model that nobody else uses."""
    from benchmarks.fits import Fits

    what.compile("auto")
    fits = Fits(what, shown, steps)
    return {"fit": fits.plain, "trial": fits.trial}


def measure_all(
    specs: Sequence[CostSpec], rounds: int, seconds: float, output: Path, command: str
) -> Report:
    """Measure one workload after another; what is done is on disk before the next begins."""
    from bench.settings import Settings
    from bench.training import execution
    from bench.training.grounds import Workplace

    # As bench measure does: deterministic kernels are slower ones.
    stack = execution.configure(Execution(precision=specs[0].precision, deterministic=False))
    machine = execution.environment()
    settings = Settings.from_environment()
    place = Workplace(settings=settings, folder=Path.cwd(), stack=stack, environment=machine)
    done: list[Measured] = []
    for spec in specs:
        print(f"overhead: {spec.label}", file=sys.stderr)
        done.append(measure(spec, place, rounds, seconds))
        report = Report(
            stack=stack,
            environment=machine,
            command=command,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
            measured=tuple(done),
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write, or show what was written; 1 where measuring adds too much."""
    wanted = _parser().parse_args(arguments)
    try:
        report = read(wanted.show) if wanted.show else _measured(wanted, arguments)
    except BenchError as error:
        print(f"overhead: {error}", file=sys.stderr)
        return 2
    print(f"{sentence(report)}\n\n{table(report, wanted.format)}")
    return int(not report.within)


def _measured(wanted: argparse.Namespace, arguments: Sequence[str] | None) -> Report:
    from bench.running import cases, plan

    if min(wanted.rounds, wanted.batch_size) < 1 or wanted.seconds <= 0:
        raise BenchError(
            f"--rounds {wanted.rounds} --batch-size {wanted.batch_size} --seconds "
            f"{wanted.seconds}: expected numbers above 0"
        )
    choice = cases.Choice(batch_sizes=(wanted.batch_size,), image_size=wanted.image_size)
    asked = cases.of_backbones(wanted.backbone or BACKBONES, choice)
    specs = plan.select(asked.cases, wanted.only)
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(("python -m benchmarks.overhead", *given))
    return measure_all(specs, wanted.rounds, wanted.seconds, wanted.output, command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", action="append", help="may be given again")
    parser.add_argument("--only", action="append", default=[], help="text in a workload's label")
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a round, of each side")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, metavar="FILE")
    parser.add_argument("--format", default="simple", choices=("simple", "github"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
