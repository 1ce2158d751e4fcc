"""A suite on three nodes of a Ray cluster, one of which is lost: the same rows as on one machine?

    python -m benchmarks.scaled_out              runs it three times, prints what came of it, and
                                                 writes results/reference/scaled_out.json
    python -m benchmarks.scaled_out --show FILE  prints what such a file says

MobileNetV2 with its ImageNet weights, on scikit-learn's digits and, where TFDS_DATA_DIR has them,
on photographs of flowers: by the command line with one worker on this machine; on three Ray nodes
of one CPU each, which are processes of this machine, too, and share a cache; and once more, where
one of the nodes is killed while it works. Compared is all of a row but its times, and every stored
probability. So this tells what is equal and what is built how often, not how fast a cluster is.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tabulate import tabulate

from bench import cache
from bench import suite as suites
from bench.errors import BenchError
from bench.records import Environment, Record, Stack
from bench.running import plan, store
from bench.settings import Settings
from benchmarks import written
from benchmarks.essence import essence
from tests.ray_cluster import Nodes, nodes

OUTPUT = Path("results/reference/scaled_out.json")
NODES = 3
LONGEST = 900.0
"""Seconds of a run."""
ALIKE = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
"""How many threads a sum is split among may decide its last bit."""
NAME = "scaled_out"
SUITE = """
description = "MobileNetV2 with its ImageNet weights, on one machine and on several"
data = {{ image_size = {size}, train_examples = {train}, val_examples = 64, test_examples = 64 }}
phase1 = {{ epochs = 3, learning_rate = 5e-3 }}
phase2 = {{ epochs = 2, learning_rate = 1e-4 }}
execution = {{ batch_size = 16 }}
[matrix]
backbones = ["MobileNetV2"]
datasets = [{datasets}]
freezes = [{freezes}]
seeds = [0, 1]
"""
WATCHED = """
import json, sys
from pathlib import Path
from bench import cli
from bench.running import ray_fleet, runner

built, started = map(Path, sys.argv[1:3])
sys.argv = ["bench", *sys.argv[3:]]
run_on, start = runner.run_on, ray_fleet.RayFleet.start

def counted(*arguments, **options):
    summary = run_on(*arguments, **options)
    built.write_text(json.dumps(dict(summary.built)))
    return summary

def noted(self, worker, job):
    with started.open("a") as file:
        file.write(worker + "\\n")
    start(self, worker, job)

runner.run_on, ray_fleet.RayFleet.start = counted, noted
cli.main()
"""
"""The command line, which also writes down what a fleet built, and who was given something."""


@dataclass(frozen=True)
class Size:
    """How large the suite is.

    Attributes:
        size, train: pixels of a side; train pictures.
        freezes: strategies, as a suite has them.
        flowers: whether photographs are in it, too, where there are any.
        kill_after, kill_rows: a node is killed that has begun so many jobs, the last of all nodes,
            as soon as so many rows are stored.
    """

    size: int
    train: int
    freezes: Sequence[str]
    flowers: bool
    kill_after: int
    kill_rows: int = 0


WHOLE = Size(96, 192, ('"head_only"', "{ top_blocks = 1 }", "{ top_blocks = 2 }"), True, 3, 4)
SHORT = Size(32, 64, ('"head_only"', "{ top_blocks = 2 }"), False, 1)
WAYS = ("one machine", "three nodes", "three nodes, one lost")


class Ran(Record):
    """One run.

    Attributes:
        seconds: by the clock, a Ray that runs already apart.
        rows: with a result.
        equal: of those, how many equal the first run's in every bit.
        entries: in the cache at its end, by kind.
        built: of those, how many workers reported to have made, by kind; empty where nobody asks.
        workers: that were given something to do.
        lost: what the run said of workers that it lost.
        killed_after, killed_rows: when the node was killed, in seconds, and rows stored by then.
    """

    seconds: float
    rows: int
    equal: int
    entries: dict[str, int]
    built: dict[str, int] = {}
    workers: int = 1
    lost: tuple[str, ...] = ()
    killed_after: float | None = None
    killed_rows: int | None = None


class Report(Record):
    """What was seen.

    Attributes:
        trials: of the suite, and ``steps`` that the plan says they share, by kind.
        runs: in the order they ran; the first is what the others are held against.
    """

    command: str = "python -m benchmarks.scaled_out"
    measured_at: str
    stack: Stack
    environment: Environment
    datasets: tuple[str, ...]
    trials: int
    steps: dict[str, int]
    runs: dict[str, Ran]


class _Place:
    """A folder for the results and the cache of one run."""

    def __init__(self, suite: Path, folder: Path) -> None:
        folder.mkdir()
        self.suite, self.folder, self.cache = suite, folder, folder / "cache"
        self.results = folder / NAME
        self.built, self.started = folder / "built.json", folder / "started"

    def begin(self, options: Sequence[str]) -> "subprocess.Popen[str]":
        words = ["run", str(self.suite), "--results", str(self.folder), *options]
        paths = [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
        return subprocess.Popen(
            [sys.executable, "-c", WATCHED, str(self.built), str(self.started), *words],
            env={
                **os.environ,
                **ALIKE,
                "BENCH_CACHE_DIR": str(self.cache),
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            },
            stdout=(self.folder / "out").open("w"),
            stderr=subprocess.STDOUT,
            text=True,
        )

    def busy(self, size: Size) -> int | None:
        """The number of a node, not the first, that is to be killed now."""
        if _lines(self.results) < size.kill_rows:
            return None
        begun = [worker.partition(" ")[0] for worker in self.workers()]
        others = {f"127.0.0.{number + 1}": number for number in range(1, NODES)}
        last = next((node for node in reversed(begun) if node in others), None)
        return None if last is None or begun.count(last) < size.kill_after else others[last]

    def workers(self) -> list[str]:
        return self.started.read_text().splitlines() if self.started.exists() else []

    def said(self) -> str:
        return (self.folder / "out").read_text()


def measure(root: Path, size: Size, ways: Sequence[str] = WAYS) -> Report:
    """Run the suite in each of the ways.

    Args:
        root: an empty folder to work in.
        size: of the suite.
        ways: the first of `WAYS`, and others.

    Raises:
        BenchError: a run did not end well; with all that it printed.
    """
    names = _datasets(size)
    file = root / f"{NAME}.toml"
    quoted = ", ".join(f'"{name}"' for name in names)
    text = SUITE.format(
        size=size.size, train=size.train, datasets=quoted, freezes=", ".join(size.freezes)
    )
    file.write_text(text, encoding="utf-8")
    first = _Place(file, root / "local")
    runs = {ways[0]: _ran(first, first, None, None)}
    for number, way in enumerate(ways[1:]):
        with nodes(
            [ALIKE | {"BENCH_CACHE_DIR": "", "RAY_TMPDIR": tempfile.gettempdir()}] * NODES
        ) as cluster:
            killing = size if way == WAYS[2] else None
            runs[way] = _ran(_Place(file, root / f"ray{number}"), first, cluster, killing)
        print(f"{way}: {runs[way]}", flush=True)
    row = store.read(first.results).rows[0]
    assert row.environment is not None
    suite = suites.load(file)
    planned = plan.of(suite, Settings(cache=root / "nothing"), False, root / "none")
    return Report(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        stack=row.stack,
        environment=row.environment,
        datasets=names,
        trials=len(suite.trials),
        steps={kind: len(planned.of_kind(kind)) for kind in ("images", "activations", "heads")},
        runs=runs,
    )


def _datasets(size: Size) -> tuple[str, ...]:
    flowers = Path(os.environ.get("TFDS_DATA_DIR") or "nowhere") / "tf_flowers"
    return ("digits", "tf_flowers") if size.flowers and flowers.is_dir() else ("digits",)


def _ran(place: _Place, first: _Place, cluster: Nodes | None, killing: Size | None) -> Ran:
    began = time.monotonic()
    options = ("--engine", "ray", "--address", cluster.address) if cluster else ()
    process, killed_after, killed_rows = place.begin(options), None, None
    try:
        while process.poll() is None and time.monotonic() - began < LONGEST:
            time.sleep(0.1)
            chosen = place.busy(killing) if killing and killed_after is None else None
            if chosen is not None and cluster:
                killed_after, killed_rows = time.monotonic() - began, _lines(place.results)
                cluster.lose(chosen)
    finally:
        process.kill()
    seconds = time.monotonic() - began
    if process.wait() != 0 or (killing and killed_after is None):
        raise BenchError(f"the run ended with {process.returncode}:\n{place.said()}")
    ours, theirs = _rows(place.results), _rows(first.results)
    return Ran(
        seconds=seconds,
        rows=len(ours),
        equal=sum(ours.get(key) == row for key, row in theirs.items()),
        entries=dict(Counter(e.kind for e in cache.entries(Settings(cache=place.cache)))),
        built=json.loads(place.built.read_text()) if cluster else {},
        workers=len(set(place.workers())) or 1,
        lost=tuple(re.findall(r"^worker .* is lost.*$", place.said(), re.MULTILINE)),
        killed_after=killed_after,
        killed_rows=killed_rows,
    )


def _lines(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in folder.glob(f"*/{store.TRIALS}"))


def _rows(folder: Path) -> Mapping[str, object]:
    return {row.key: essence(row, folder) for row in store.read(folder).rows if row.status == "ok"}


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.scaled_out")


def document(report: Report, form: str = "simple") -> str:
    """A line for each run, and below it what it was.

    Args:
        report: what was seen.
        form: as tabulate calls it.
    """
    kinds = {"images": "pictures", "activations": "activations", "heads": "heads"}
    cells = [
        [
            name,
            f"{ran.equal} of {report.trials}",
            *(str((ran.built or ran.entries).get(kind, 0)) for kind in kinds),
            str(len(ran.lost)),
            f"{ran.seconds:.0f} s",
        ]
        for name, ran in report.runs.items()
    ]
    titles = ["run", "rows equal", *(f"{k} built" for k in kinds.values()), "workers lost", "time"]
    made = tabulate(cells, titles, tablefmt=form, disable_numparse=True)
    there = report.environment
    told = [
        f"{report.trials} trials of MobileNetV2 on {' and '.join(report.datasets)}; "
        f"{report.stack.id}, {there.processor}, {there.cores} cores, which three nodes share. "
        "Built are entries of the cache, one for "
        f"each cut that a pass gives; the plan has {_listed(report.steps)} steps of these kinds.",
        *(
            f"The node was killed after {ran.killed_after:.0f} s, with {ran.killed_rows} rows "
            f"stored: {'; '.join(ran.lost)}."
            for ran in report.runs.values()
            if ran.killed_after is not None
        ),
    ]
    return "\n\n".join([made, " ".join(told)])


def _listed(steps: Mapping[str, int]) -> str:
    *others, last = map(str, steps.values())
    return f"{', '.join(others)} and {last}"


def main() -> None:
    """Measure, print and note."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, help="print what a file says, and no more")
    parser.add_argument("--short", action="store_true", help="a smaller suite")
    asked = parser.parse_args()
    if asked.show:
        print(document(read(asked.show)))
        return
    with tempfile.TemporaryDirectory() as root:
        report = measure(Path(root), SHORT if asked.short else WHOLE)
    asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(document(report))


if __name__ == "__main__":
    main()
