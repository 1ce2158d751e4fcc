"""A sweep of 10,000 trials on 64 GPUs that are not there, through the real scheduling code.

    python -m benchmarks.simulated              runs it, prints what came of it, and writes
                                                results/reference/simulated.json
    python -m benchmarks.simulated --show FILE  prints what such a file says

40 backbones x 10 datasets x 5 strategies x 5 seeds, from a suite file, through the runner, its
dispatcher and its store; only the workers are simulated, on a clock that jumps. What jobs take is
drawn from real rows (`benchmarks.simulated_work`). The scheduler does not know it: it has rows of
one earlier seed of each trial, of other noise, in the same store. What pictures take to decode
counts once, even where nodes have caches of their own.

The ideal is the work of all jobs spread evenly over all GPUs, or the longest chain of jobs that
wait for each other, whichever is longer; beginning on a ground counts as no work. The run ends
with 1 where utilisation, the ideal over the time that the run took, is below `LEAST`, or where a
trial of the largest sweep costs the runner more than `MOST_GROWTH` times the processor's time, or
the memory, that one of 1,000 does.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from bench import suite as suites
from bench.errors import BenchError
from bench.records import TrialSpec
from bench.running import expected, jobs, runner, store
from bench.running.dispatching import Dispatcher
from bench.running.expected import Expected
from bench.running.jobs import Job
from bench.running.messages import Share
from bench.suite import Suite
from bench.tasks import Row
from benchmarks import simulated_work
from benchmarks.simulated_baselines import FirstCome, Glued
from benchmarks.simulated_fleet import Cluster, NoStore, Silence, SimulatedFleet
from benchmarks.simulated_report import OUTPUT, Cost, Report, Variant, document, read
from benchmarks.simulated_work import SHAPES, World

SIZES = (100, 300, 1_000, 3_000, 10_000)
FASTER = 50.0
"""How many times as fast as two processor cores a GPU is taken to be."""
NOISE, EARLIER_NOISE, EARLIER_SEED = 1, 2, 99
ONE_CACHE = Cluster()
LOSSES = tuple((3600.0 * hours, 3600.0) for hours in (2, 4, 6))
COMMAND = "python -m benchmarks.simulated"

Seconds = Callable[[Job], float | None]


# ------------------------------------------------------------------------------------ one sweep


def loaded(trials: int, folder: Path) -> Suite:
    """The sweep of so many trials, from a suite file."""
    file = folder / "sweep.toml"
    file.write_text(simulated_work.suite_text(trials), encoding="utf-8")
    return suites.load(file)


def simulated(
    name: str,
    suite: Suite,
    fleet: SimulatedFleet,
    seconds: Seconds,
    held: store.Store | None = None,
    dispatcher: type[Dispatcher] = Dispatcher,
) -> Variant:
    """Run a sweep.

    Args:
        name: of the variant.
        suite: whose trials.
        fleet: on which.
        seconds: what the scheduler expects of jobs.
        held: a store to write to; None for none.
        dispatcher: who decides.
    """
    with patch.object(runner, "Dispatcher", dispatcher):
        place: Any = held or NoStore()
        summary = runner.run_on(suite.trials, place, fleet, Silence(), seconds=seconds)
    told, gpus = fleet.told, fleet.cluster.nodes * fleet.cluster.gpus
    total, longest = _ideal(suite, fleet.world)
    took = fleet.now()
    shares = {name: getattr(told, name) / gpus / took for name in ("setup", "lost", "away")}
    return Variant(
        name=name,
        trials=len(summary.measured),
        jobs=told.jobs,
        hours=took / 3600,
        ideal_hours=max(total / gpus, longest) / 3600,
        idle=max(1 - told.work / gpus / took - sum(shares.values()), 0.0),
        setups=told.setups,
        moves=told.moves,
        given_up=sum(row.status != "ok" for row in summary.measured),
        **shares,
    )


def _ideal(suite: Suite, world: World) -> tuple[float, float]:
    """Seconds of all jobs together, and of the longest chain of them."""
    ends: dict[str, float] = {}
    total = 0.0
    for job in jobs.of(suite.trials):
        seconds = world.seconds(job)
        total += seconds
        ends[job.key] = seconds + max((ends[key] for key in job.after), default=0.0)
    return total, max(ends.values())


def earlier(suite: Suite, world: World) -> Iterator[Row]:
    """Rows of one earlier seed of every trial, on one worker: the first of each ground did what
    they share."""
    source, shared = simulated_work.source(), dict[str, float]()
    first = (t for t in suite.trials if t.seed == suite.trials[0].seed)
    for job in jobs.of([t.model_copy(update={"seed": EARLIER_SEED}) for t in first]):
        seconds = world.seconds(job)
        if isinstance(job.work, Share):
            shared[job.key] = seconds
            continue
        assert isinstance(job.work, TrialSpec)
        row = simulated_work.row_of(job.work, seconds, source)
        extra = sum(shared.pop(key, 0.0) for key in job.after)
        yield row.model_copy(update={"seconds": seconds + extra})


# --------------------------------------------------------------------------------------- studies


def swept(trials: int) -> tuple[Variant, Cost]:
    """Run a sweep into a real store, and see what it takes of this process."""
    told, source = simulated_work.recorded(), simulated_work.source()
    with tempfile.TemporaryDirectory() as name:
        suite = loaded(trials, Path(name))
        before = World(told, EARLIER_NOISE, FASTER)
        file = Path(name) / "results" / source.stack.id / store.TRIALS
        file.parent.mkdir(parents=True)
        file.write_bytes(b"".join(map(store.line, earlier(suite, before))))
        fleet = SimulatedFleet(ONE_CACHE, World(told, NOISE, FASTER), source.stack, source)
        process = psutil.Process()
        with store.writing(Path(name) / "results") as held:
            held_before, cpu, wall = process.memory_info().rss, time.process_time(), time.time()
            known = expected.of_store(held.folder, source.stack)
            variant = simulated("rows of an earlier seed", suite, fleet, known.seconds, held)
            wall = time.time() - wall - fleet.told.own_seconds
            cpu = time.process_time() - cpu - fleet.told.own_seconds
            grown = process.memory_info().rss - held_before
        again = SimulatedFleet(ONE_CACHE, fleet.world, source.stack, source)
        tracemalloc.start()
        simulated(variant.name, suite, again, known.seconds)
        held_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return variant, Cost(
        trials=trials,
        jobs=variant.jobs,
        cpu_seconds=cpu,
        wall_seconds=wall,
        memory_bytes=grown,
        held_bytes=held_bytes,
    )


def variants(trials: int) -> Iterator[Variant]:
    """The same sweep under other conditions, and by other rules; without a store."""
    told, source = simulated_work.recorded(), simulated_work.source()
    with tempfile.TemporaryDirectory() as name:
        suite = loaded(trials, Path(name))

    def world(seed: int, **changes: Any) -> World:
        return World(told, **({"seed": seed, "faster": FASTER} | changes))

    def run(
        name: str,
        seconds: Seconds,
        cluster: Cluster = ONE_CACHE,
        rules: Any = Dispatcher,
        **changes: Any,
    ) -> Variant:
        fleet = SimulatedFleet(cluster, world(NOISE, **changes), source.stack, source)
        return simulated(name, suite, fleet, seconds, dispatcher=rules)

    def rows(**changes: Any) -> Seconds:
        return Expected(earlier(suite, world(EARLIER_NOISE, **changes))).seconds

    known, nothing = rows(), Expected().seconds
    speeds = Expected(simulated_work.measurements(suite, world(EARLIER_NOISE))).seconds
    yield run("jobs without noise", rows(noisy=False), noisy=False)
    yield run("each node with a cache of its own", known, Cluster(own_caches=True))
    yield run("three nodes gone for an hour each", known, Cluster(losses=LOSSES))
    yield run("a CPU worker more on each node", known, Cluster(helpers=1))
    yield run("GPUs no faster than recorded", rows(faster=1.0), faster=1.0)
    yield run("GPUs ten times as fast again", rows(faster=10 * FASTER), faster=10 * FASTER)
    yield run("only inference was measured", speeds)
    yield run("nothing is known", nothing)
    yield run("instead: grounds glued to workers", known, rules=Glued)
    yield run("instead: first come, first served", known, rules=FirstCome)


def measure(sizes: Sequence[int]) -> Report:
    """Sweeps of these sizes, each in a process of its own, and the largest in every variant."""
    from bench.training.execution import environment

    found = []
    for trials in sizes:
        words = [sys.executable, "-m", "benchmarks.simulated", "--one", str(trials)]
        ran = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        variant, cost = ran.stdout.splitlines()[-2:]
        found.append((Variant.model_validate_json(variant), Cost.model_validate_json(cost)))
        print(cost, file=sys.stderr, flush=True)
    return Report(
        command=COMMAND,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(),
        stack=simulated_work.source().stack,
        faster=FASTER,
        variants=(found[-1][0], *variants(sizes[-1])),
        costs=tuple(cost for _, cost in found),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print and write; or show what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, choices=SHAPES)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, metavar="FILE")
    parser.add_argument("--format", default="simple", choices=("simple", "github"))
    parser.add_argument("--one", type=int, choices=SHAPES, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        print(*(part.model_dump_json() for part in swept(asked.one)), sep="\n")
        return 0
    try:
        report = read(asked.show) if asked.show else measure(sorted(asked.sizes))
    except BenchError as error:
        print(f"simulated: {error}", file=sys.stderr)
        return 2
    print(document(report, asked.format))
    if not asked.show:
        asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    for problem in report.beyond:
        print(f"simulated: {problem}", file=sys.stderr)
    return int(bool(report.beyond))


if __name__ == "__main__":
    sys.exit(main())
