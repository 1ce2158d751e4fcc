"""Whether running a suite again gives the same rows, bit for bit, on this stack.

    python -m benchmarks.determinism      runs a small suite again and again, prints what was seen,
                                          and notes it in results/reference/determinism.json
    KERAS_BACKEND=jax python -m benchmarks.determinism       the same on another backend
    python -m benchmarks.determinism --only again            one way only, beside those noted

Every run is the command line in processes of its own. Compared is all of a row but its timings
and the machine, and every stored probability. The file holds one entry for each stack, which the
command replaces.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from tabulate import tabulate

from bench.errors import BenchError
from bench.records import Environment, Record, Stack, TrialResult
from bench.running import store
from benchmarks import written
from benchmarks.essence import essence

OUTPUT = Path("results/reference/determinism.json")
SUITE = """
description = "five trials of MobileNetV2 with its ImageNet weights, on scikit-learn's digits"
data = {{ image_size = 48, train_examples = 96, val_examples = 32, test_examples = 64 }}
phase1 = {{ epochs = 1, learning_rate = 5e-3 }}
phase2 = {{ epochs = 1, learning_rate = 1e-4 }}
execution = {{ deterministic = {deterministic} }}
[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = [{freezes}]
seeds = [{seeds}]
[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["scratch"]
"""
FREEZES, SEEDS = ('"head_only"', "{ top_blocks = 2 }"), ("0", "1")


@dataclass(frozen=True)
class Way:
    """One way to run the suite.

    Attributes:
        against: the way whose rows these should equal.
        words: further words of the command.
        before: words of a command that is run first, into the same folder.
        deterministic: what the suite says.
        backwards: whether trials stand in the opposite order.
        warm: whether the cache is the one that an earlier way has filled.
        cores: how many the processes may use; None for all.
        variables: further environment variables.
    """

    against: str
    words: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    deterministic: bool = True
    backwards: bool = False
    warm: bool = False
    cores: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


WAYS: Mapping[str, Way] = {
    "again": Way("first"),
    "with a full cache": Way("first", warm=True),
    "in another order": Way("first", backwards=True),
    "stopped and resumed": Way("first", before=("--only", "scratch")),
    "one seed before the others": Way("first", before=("--only", "seed 0")),
    "literally, twice": Way("literal", words=("--literal",)),
    "on one core": Way("first", cores=1),
    "OMP_NUM_THREADS=1": Way("first", variables={"OMP_NUM_THREADS": "1"}),
    "deterministic = false, twice": Way("free", deterministic=False),
}
"""In the order of the table."""
FIRST: Mapping[str, Way] = {
    "first": Way(""),
    "literal": Way("", words=("--literal",)),
    "free": Way("", deterministic=False),
}
"""What the others are held against."""


class Seen(Record):
    """One way against the first.

    Attributes:
        rows: that both have.
        equal: of those, how many are equal in every bit.
        apart: the largest difference between two probabilities of a test picture.
    """

    rows: int = Field(ge=1)
    equal: int
    apart: float

    def __str__(self) -> str:
        if self.equal == self.rows:
            return "equal"
        how = f"probabilities by {self.apart:.0e}" if self.apart else "not their probabilities"
        return f"{self.rows - self.equal} of {self.rows} differ ({how})"


class OnStack(Record):
    """What was seen on one stack, by way."""

    stack: Stack
    environment: Environment
    measured_at: str
    seen: dict[str, Seen]


class Report(Record):
    """Of every stack that was tried, by its id."""

    command: str = "python -m benchmarks.determinism"
    stacks: dict[str, OnStack]


def compared(ours: Path, theirs: Path) -> Seen:
    """Rows of one results folder against those of another, by key."""
    found = {row.key: row for row in store.read(ours).rows}
    wanted = {row.key: row for row in store.read(theirs).rows}
    both = [key for key in wanted if key in found]
    # The reason names the number of threads, which one way changes.
    threads = ("reruns_reason",)
    equal = sum(
        essence(found[k], ours, threads) == essence(wanted[k], theirs, threads) for k in both
    )
    apart = [_apart(ours, found[k], theirs, wanted[k]) for k in both]
    return Seen(rows=len(both), equal=equal, apart=max(apart))


def _apart(ours: Path, row: TrialResult, theirs: Path, other: TrialResult) -> float:
    one, two = _probabilities(ours, row), _probabilities(theirs, other)
    return float(np.abs(one - two).max()) if one.shape == two.shape else float("inf")


def _probabilities(folder: Path, row: TrialResult) -> Any:
    if row.predictions is None:
        return np.zeros(0)
    with np.load(folder / row.stack.id / row.predictions, allow_pickle=False) as arrays:
        return arrays["probabilities"].astype(np.float64)


def run(way: Way, folder: Path, cache: Path) -> Path:
    """Run the suite one way; the folder of its results.

    Raises:
        BenchError: the run did not end well; with all that it printed.
    """
    folder.mkdir(parents=True)
    step = -1 if way.backwards else 1
    text = SUITE.format(
        freezes=", ".join(FREEZES[::step]),
        seeds=", ".join(SEEDS[::step]),
        deterministic=str(way.deterministic).lower(),
    )
    (folder / "few.toml").write_text(text, encoding="utf-8")
    for words in ((way.before,) if way.before else ()) + ((),):
        _bench(("run", "few.toml", "--results", ".", *way.words, *words), folder, cache, way)
    return folder / "few"


def _bench(words: Sequence[str], folder: Path, cache: Path, way: Way) -> None:
    environment = os.environ | {"BENCH_CACHE_DIR": str(cache), **way.variables}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=partial(_limited, way.cores) if way.cores else None,
    )
    if ran.returncode:
        raise BenchError(ran.stdout + ran.stderr)


def _limited(cores: int) -> None:
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, allowed)


def measure(root: Path, ways: Mapping[str, Way] = WAYS) -> OnStack:
    """Run the suite in every way; a folder to work in is given."""
    needed = {way.against for way in ways.values()}
    first = {
        name: run(way, root / name, root / f"cache-{name}")
        for name, way in FIRST.items()
        if name in needed
    }
    row = store.read(next(iter(first.values()))).rows[0]
    assert row.environment is not None
    seen = {}
    for number, (name, way) in enumerate(ways.items()):
        cache = root / (f"cache-{way.against}" if way.warm else f"cache{number}")
        seen[name] = compared(run(way, root / str(number), cache), first[way.against])
        print(f"{row.stack.id}: {name}: {seen[name]}", flush=True)
    return OnStack(
        stack=row.stack,
        environment=row.environment,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seen=seen,
    )


def read(file: Path) -> Report:
    """What earlier runs wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.determinism")


def document(report: Report, form: str = "simple") -> str:
    """One line a way, one column a stack, and below it what it was seen on.

    Args:
        report: what was seen.
        form: as tabulate calls it.
    """
    stacks = [report.stacks[name] for name in sorted(report.stacks)]
    ways = [name for name in WAYS if any(name in one.seen for one in stacks)]
    cells = [[name, *(str(one.seen.get(name, "–")) for one in stacks)] for name in ways]
    titles = [
        "run",
        *(f"{s.stack.backend} {s.stack.backend_version}, {s.stack.device}" for s in stacks),
    ]
    made = tabulate(cells, titles, tablefmt=form, disable_numparse=True)
    machines = dict.fromkeys(
        f"{one.environment.processor}, {one.environment.cores} cores" for one in stacks
    )
    below = (
        "Rows against those of a first run, each in processes of its own: all but times, and "
        f"every stored probability. Seen on {'; '.join(machines)}."
    )
    return f"{made}\n\n{below}"


def main() -> None:
    """Measure, print and note."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", action="store_true", help="print what is noted, and no more")
    parser.add_argument("--only", action="append", choices=tuple(WAYS), help="may be repeated")
    asked = parser.parse_args()
    before = read(asked.output).stacks if asked.output.exists() else {}
    if not asked.show:
        ways = {name: WAYS[name] for name in asked.only or WAYS}
        with tempfile.TemporaryDirectory() as root:
            found = measure(Path(root), ways)
        if asked.only and (earlier := before.get(found.stack.id)):
            found = found.model_copy(update={"seen": {**earlier.seen, **found.seen}})
        before = {**before, found.stack.id: found}
        report = Report(stacks=before)
        asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(document(Report(stacks=before)))


if __name__ == "__main__":
    main()
