"""What the engines add to each step: one on this machine, several, and Ray, side by side.

    python -m benchmarks.engine_overhead             measures, prints a table, and writes
                                                     results/reference/engine_overhead.json
    python -m benchmarks.engine_overhead --show FILE prints what such a file says

Trials that do nothing, in worker processes that import no framework, through the real runner: what
a step takes is what runner, engine and processes take. Every engine runs in every round, in an
order that is turned round each time. Start-up is counted apart: until every worker says that it is
ready, which takes a framework's import longer in real life, on any engine. No row is written.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field
from tabulate import tabulate

from bench.errors import BenchError
from bench.records import (
    Backbone,
    Data,
    Dataset,
    Environment,
    Execution,
    Freeze,
    Head,
    Phase,
    Record,
    Stack,
    TrialSpec,
)
from bench.running import ray_fleet, runner
from bench.running.engines import local_engines
from bench.running.fleets import Ended, Event, Fleet, Joined
from bench.running.jobs import Job
from bench.running.local_fleet import LocalFleet
from bench.running.messages import Setup
from bench.running.ray_fleet import Options
from bench.settings import Settings
from benchmarks import written
from benchmarks.simulated_fleet import NoStore, Silence

OUTPUT = Path("results/reference/engine_overhead.json")
WORKER = (sys.executable, str(Path(__file__).with_name("idle_worker.py").absolute()))
TRIALS, ROUNDS = 200, 5
LONGEST_WAIT = 120.0
"""Seconds in which a worker must have joined."""


class Side(Record):
    """An engine.

    Attributes:
        name: of it.
        workers: that it had.
        started: seconds until all of them were ready, round by round.
        each: seconds for each trial, from the first to the last, round by round.
    """

    name: str
    workers: int
    started: tuple[float, ...]
    each: tuple[float, ...]


class Report(Record):
    """Everything measured in one run, every engine in every round."""

    command: str
    measured_at: str
    environment: Environment
    ray_version: str
    trials: int
    sides: tuple[Side, ...] = Field(min_length=1)


def trials(count: int) -> tuple[TrialSpec, ...]:
    """So many, which differ in their seeds."""
    first = TrialSpec(
        backbone=Backbone(name="MobileNetV2"),
        data=Data(dataset=Dataset(name="digits"), image_size=96),
        head=Head(name="linear"),
        freeze=Freeze(strategy="head_only"),
        phase1=Phase(epochs=1, learning_rate=1e-3),
        phase2=None,
    )
    return tuple(first.model_copy(update={"seed": seed}) for seed in range(count))


# --------------------------------------------------------------------------------- the engines


class Gathered:
    """A fleet whose work begins when all of its workers are there.

    Args:
        fleet: which.
        workers: how many it will have.
    """

    def __init__(self, fleet: Fleet, workers: int) -> None:
        self._fleet, self._workers = fleet, workers
        self._joined: list[Event] = []
        self.ready = self.last = 0.0

    @property
    def stack(self) -> Stack:
        """Of its workers."""
        return self._fleet.stack

    def __enter__(self) -> "Gathered":
        self._fleet.__enter__()
        end = time.monotonic() + LONGEST_WAIT
        while len(self._joined) < self._workers:
            self._fleet.want(self._workers)
            event = self._fleet.next(0.1)
            if isinstance(event, Joined):
                self._joined.append(event)
            elif time.monotonic() > end:
                raise BenchError(
                    f"{len(self._joined)} of {self._workers} workers after {LONGEST_WAIT:.0f} s"
                )
        self.ready = time.perf_counter()
        return self

    def __exit__(self, *given: object) -> None:
        self._fleet.__exit__(*given)

    def start(self, worker: str, job: Job) -> None:
        """Give it a job."""
        self._fleet.start(worker, job)

    def next(self, seconds: float) -> Event | None:
        """Who joined before, then what happens."""
        event = self._joined.pop(0) if self._joined else self._fleet.next(seconds)
        if isinstance(event, Ended):
            self.last = time.perf_counter()
        return event

    def want(self, workers: int) -> None:
        """So many would have something to do."""
        self._fleet.want(self._workers)

    def rest(self, worker: str) -> None:
        """It keeps what it holds: nothing is at stake here but time."""

    def unheard(self) -> Iterator[Ended]:
        """What was not heard of."""
        return self._fleet.unheard()

    def now(self) -> float:
        """Of its clock."""
        return self._fleet.now()


Opened = Callable[[Setup], AbstractContextManager[Fleet]]
"""How the workers of an engine are started and ended."""


def local(workers: int) -> Opened:
    """Worker processes of this machine."""

    @contextmanager
    def opened(setup: Setup) -> Iterator[Fleet]:
        with local_engines(setup, None, (None,) * workers, WORKER) as engines:
            yield LocalFleet(engines)

    return opened


def ray(workers: int) -> Opened:
    """Actors of a Ray of this machine, each with a worker process."""

    def opened(setup: Setup) -> AbstractContextManager[Fleet]:
        options = Options(address="local", workers=workers, cpus=1)
        return ray_fleet.ray_fleet(setup, None, options, lambda _: None, WORKER)

    return opened


def alone(setup: Setup, count: int) -> tuple[float, float]:
    """One engine without a fleet, as `bench run` has it: seconds to start, and for each trial."""
    began = time.perf_counter()
    with local_engines(setup, None, (None,), WORKER) as engines:
        ready = time.perf_counter()
        runner.run(trials(count), _store(), engines[0], Silence())
        return ready - began, (time.perf_counter() - ready) / count


def together(setup: Setup, count: int, workers: int, opened: Opened) -> tuple[float, float]:
    """The same of a fleet."""
    began = time.perf_counter()
    with opened(setup) as fleet:
        gathered = Gathered(fleet, workers)
        runner.run_on(trials(count), _store(), gathered, Silence(), literal=True)
    return gathered.ready - began, (gathered.last - gathered.ready) / count


def _store() -> Any:
    return NoStore()


# ------------------------------------------------------------------------------------ measuring


_Run = Callable[[Setup, int], tuple[float, float]]
SIDES: dict[str, tuple[int, _Run]] = {
    "one worker, no fleet": (1, alone),
    "local fleet, 1 worker": (1, lambda s, n: together(s, n, 1, local(1))),
    "Ray, 1 worker": (1, lambda s, n: together(s, n, 1, ray(1))),
    "local fleet, 2 workers": (2, lambda s, n: together(s, n, 2, local(2))),
    "Ray, 2 workers": (2, lambda s, n: together(s, n, 2, ray(2))),
}


def measure(count: int, rounds: int) -> Report:
    """Every engine in every round, forwards and backwards in turn."""
    import ray as installed

    from bench.training.execution import environment

    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    for number in range(rounds):
        for name in list(SIDES)[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory() as folder:
                taken[name].append(SIDES[name][1](_setup(Path(folder)), count))
            print(f"engine_overhead: {name}: {taken[name][-1]}", file=sys.stderr, flush=True)
    sides = [
        Side(
            name=name,
            workers=SIDES[name][0],
            started=tuple(started for started, _ in found),
            each=tuple(each for _, each in found),
        )
        for name, found in taken.items()
    ]
    return Report(
        command=f"python -m benchmarks.engine_overhead --trials {count} --rounds {rounds}",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(),
        ray_version=installed.__version__,
        trials=count,
        sides=tuple(sides),
    )


def _setup(folder: Path) -> Setup:
    return Setup(
        settings=Settings(cache=folder / "cache"),
        folder=folder,
        scratch=folder,
        execution=Execution(),
        literal=True,
    )


# ------------------------------------------------------------------------------------- in words


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.engine_overhead")


def document(report: Report, form: str = "simple") -> str:
    """One line an engine, and below it what it was measured on.

    Args:
        report: what was measured.
        form: as tabulate calls it.
    """
    titles = ("engine", "a worker's ms for each trial", "trials/s", "start-up, s")
    lines = [
        (
            side.name,
            _spread([1000 * side.workers * seconds for seconds in side.each]),
            f"{1 / statistics.median(side.each):.0f}",
            _spread(side.started),
        )
        for side in report.sides
    ]
    made = tabulate(lines, titles, tablefmt=form, disable_numparse=True)
    machine, rounds = report.environment, len(report.sides[0].each)
    return (
        f"{made}\n\nMedian (least to most) of {rounds} rounds of {report.trials} trials that do "
        f"nothing, in worker processes without a framework; no row is written. Ray "
        f"{report.ray_version}, started for each round. {machine.processor}, {machine.cores} cores."
    )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; or show what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, metavar="FILE")
    parser.add_argument("--format", default="simple", choices=("simple", "github"))
    asked = parser.parse_args(arguments)
    try:
        report = read(asked.show) if asked.show else measure(asked.trials, asked.rounds)
    except BenchError as error:
        print(f"engine_overhead: {error}", file=sys.stderr)
        return 2
    print(document(report, asked.format))
    if not asked.show:
        asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
