"""What commands take on a store of 100,000 rows: to go on with, to show, compare and report.

    python -m benchmarks.large_store      makes the store, runs the commands, prints what they took
                                          and writes results/reference/large_store.json

A suite spans backbones, datasets, freeze strategies, heads and seeds; every trial of it gets a real
row (of results/reference/real_small) under its own key, with answers of its own. The store is
written without waiting for the disk after each row, and holds no predictions.

Each command is a process of its own, as a user types it. The machine may be shared, so times are
given in units of one plain pass over the same files, too: `json.loads` of every line, in a process
of its own, right before. It ends with 1 where a command takes more than `LIMITS`.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from bench import marks, suite
from bench.errors import BenchError
from bench.records import Environment, Record, TrialResult, TrialSpec
from bench.running import store
from benchmarks import written
from benchmarks.tables import mib

REAL = Path("results/reference/real_small")
OUTPUT = Path("results/reference/large_store.json")
ROWS = 100_000
PER_HEAD = 5_000
"""Trials of a suite with one head: 10 backbones, 5 datasets, 10 freeze strategies, 10 seeds."""
PICTURES = 256
"""Test pictures that a generated row tells of."""

SUITE = """
description = "a store of many rows"
data = {{ image_size = 160 }}
phase1 = {{ epochs = 3, learning_rate = 2e-3 }}
phase2 = {{ epochs = 2, learning_rate = 1e-4 }}
{heads}
[[datasets]]
name = "beans"
tfds = "beans"
[[datasets]]
name = "pets"
tfds = "oxford_iiit_pet"
[[matrix]]
backbones = ["MobileNetV2", "MobileNet", "EfficientNetB0", "DenseNet121", "ResNet50",
    "ResNet50V2", "Xception", "InceptionV3", "NASNetMobile", "EfficientNetV2B0"]
datasets = ["cats_vs_dogs", "tf_flowers", "stanford_dogs", "beans", "pets"]
freezes = ["head_only", {blocks}]
heads = [{names}]
seeds = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
"""
ONE_PASS = "import json, sys\nfor file in sys.argv[1:]:\n for line in open(file): json.loads(line)"
LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
process.stdout.readline()
first = time.perf_counter() - began
while process.stdout.read(65536):
    pass
_, status, used = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
print(os.waitstatus_to_exitcode(status), seconds, first, 1024 * used.ru_maxrss)
"""
"""A small process starts what is measured: see `benchmarks.commands`."""
WORDS = {
    "go on": "`bench run`, all measured before",
    "show": "`bench show`",
    "compare": "`bench compare` of two such stores",
    "report": "`bench report`",
}


class Limit(NamedTuple):
    """What a command may take: so many plain passes over what it reads, and bytes for each row."""

    passes: float
    row_bytes: float


LIMITS: Mapping[str, Limit] = {
    "go on": Limit(40, 25_000),
    "show": Limit(15, 20_000),
    "compare": Limit(12, 8_000),
    "report": Limit(60, 40_000),
}
"""Of a store of `ROWS`; in a smaller one the start of a process counts for more than its rows."""


class Taken(Record):
    """What a command took.

    Attributes:
        seconds: wall time, start of the process included.
        first_word: seconds until it printed its first line.
        peak_bytes: resident memory at the most, of its process or of its worker's, whichever had
            more.
        read_bytes: of the rows that it read.
        pass_seconds: that a plain pass over them took, right before.
    """

    seconds: float
    first_word: float
    peak_bytes: int
    read_bytes: int
    pass_seconds: float

    @property
    def passes(self) -> float:
        """Its time in plain passes."""
        return self.seconds / self.pass_seconds


class Report(Record):
    """What was measured.

    Attributes:
        rows: of the store.
        taken: by command: ``go on`` (`bench run` of the suite, all of which is settled), ``show``,
            ``compare`` (with a store of the same size), ``report``.
    """

    command: str
    measured_at: str
    rows: int
    taken: dict[str, Taken]
    environment: Environment

    @property
    def beyond(self) -> list[str]:
        """What took more than it may; empty where nothing did, or there are fewer than `ROWS`."""
        found = []
        for name, taken in self.taken.items() if self.rows >= ROWS else ():
            limit, each = LIMITS[name], taken.peak_bytes / self.rows
            if taken.passes > limit.passes:
                found.append(f"{name}: {taken.passes:.1f} passes, more than {limit.passes:g}")
            if each > limit.row_bytes:
                found.append(f"{name}: {each:,.0f} bytes a row, more than {limit.row_bytes:,.0f}")
        return found


# ------------------------------------------------------------------------------------ the store


def suite_text(rows: int) -> str:
    """A suite file of so many trials, rounded up to whole heads."""
    names = [f"head{i}" for i in range(-(-rows // PER_HEAD))]
    layer = "layers = [{{ dense = {} }}]"
    heads = [f'[[heads]]\nname = "{n}"\n{layer.format(8 + i)}' for i, n in enumerate(names)]
    blocks = ", ".join(f"{{ top_blocks = {i} }}" for i in range(1, 10))
    quoted = ", ".join(f'"{n}"' for n in names)
    return SUITE.format(heads="\n".join(heads), blocks=blocks, names=quoted)


def generate(file: Path, results: Path, rows: int, better: float = 0.0) -> Path:
    """Rows for the first trials of a suite, as if this machine's frameworks had measured them.

    Args:
        file: the suite.
        results: where its folder of results is made.
        rows: how many.
        better: added to the accuracy of every fifth trial.

    Returns:
        The file of rows.
    """
    trials = suite.load(file).trials[:rows]
    sources = {kind: _source(kind) for kind in (False, True)}
    lines = results / file.stem / sources[True].stack.id / store.TRIALS
    lines.parent.mkdir(parents=True)
    hard = np.random.default_rng(9).random(PICTURES)
    chance = np.random.default_rng(int(better * 1000))
    with lines.open("wb") as stream:
        for number, spec in enumerate(trials):
            more = better if (number // 10) % 5 == 0 else 0.0
            right = hard + 0.1 * chance.standard_normal(PICTURES) < _level(spec) + more
            stream.write(store.line(_row(sources[spec.phase2 is not None], spec, right)))
    return lines


def _source(phase2: bool) -> TrialResult:
    """A real row with a phase 2, or without, as of the frameworks that are installed."""
    row = next(r for r in store.read(REAL).rows if bool(r.phase2) == phase2 and r.phase1)
    stack = row.stack.model_copy(
        update={
            "backend_version": metadata.version(row.stack.backend),
            "keras_version": metadata.version("keras"),
        }
    )
    return row.model_copy(update={"stack": stack, "predictions": None})


def _row(source: TrialResult, spec: TrialSpec, right: marks.Correct) -> TrialResult:
    """A row as if this trial had come to these answers."""
    fingerprint = hashlib.sha256(spec.data.dataset.name.encode()).hexdigest()
    used = source.dataset
    return source.model_copy(
        update={
            "key": spec.key,
            "spec": spec,
            "dataset": used
            and used.model_copy(update={"fingerprint": fingerprint, "test": PICTURES}),
            "freeze_resolved": spec.freeze,
            "test_accuracy": float(right.mean()),
            "test_correct": marks.packed(right),
        }
    )


def _level(spec: TrialSpec) -> float:
    """The share of pictures that such a trial gets right."""
    larger = len(spec.backbone.name) / 40
    deeper = 0.01 * spec.freeze.amount if isinstance(spec.freeze.amount, int) else 0.0
    return 0.5 + larger + deeper


# ---------------------------------------------------------------------------------- the commands


def measure(rows: int) -> Report:
    """Make two stores, and run every command on them."""
    from bench.training.execution import environment

    taken = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        suite_file = root / "many.toml"
        suite_file.write_text(suite_text(rows), encoding="utf-8")
        results = [root / "A", root / "B"]
        files = [generate(suite_file, r, rows, 0.05 * i) for i, r in enumerate(results)]
        folder, other = (r / suite_file.stem for r in results)
        for command, words, read in (
            ("go on", ("run", suite_file, "--results", results[0]), files[:1]),
            ("show", ("show", folder), files[:1]),
            ("compare", ("compare", folder, other), files),
            ("report", ("report", folder, "-o", root / "pages", "--pictures", "none"), files[:1]),
        ):
            taken[command] = _taken(tuple(map(str, words)), read)
            print(*_cells(command, taken[command], rows), sep=" · ", flush=True)
    return Report(
        command=f"python -m benchmarks.large_store --rows {rows}",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=rows,
        taken=taken,
        environment=environment(),
    )


def _taken(words: Sequence[str], files: Sequence[Path]) -> Taken:
    """Run a command of bench after a plain pass over the files that it reads."""
    pass_seconds, _, _ = _run([sys.executable, "-c", ONE_PASS, *map(str, files)])
    seconds, first, peak = _run([sys.executable, "-m", "bench", *words])
    return Taken(
        seconds=seconds,
        first_word=first,
        peak_bytes=peak,
        read_bytes=sum(file.stat().st_size for file in files),
        pass_seconds=pass_seconds,
    )


def _run(command: Sequence[str]) -> tuple[float, float, int]:
    """Seconds in all, until the first line of output, and resident bytes at the most."""
    launcher = [sys.executable, "-S", "-E", "-c", LAUNCHER, *command]
    ran = subprocess.run(launcher, stdout=subprocess.PIPE, text=True, check=False, env=_environ())
    code, seconds, first, peak = ran.stdout.split()
    if int(code):
        raise BenchError(f"{' '.join(command[:6])} ... ended with {code}")
    return float(seconds), float(first), int(peak)


def _environ() -> dict[str, str]:
    """The stack that the rows are of, whatever this machine has."""
    return os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}


# ------------------------------------------------------------------------------------- in words


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.large_store")


def document(report: Report, form: str = "simple") -> str:
    """One line a command, and below it what it was measured on.

    Args:
        report: what was measured.
        form: as tabulate calls it.
    """
    titles = ("command", "time", "first word", "plain passes", "memory", "a row", "bounds")
    lines = [_cells(name, taken, report.rows) for name, taken in report.taken.items()]
    made = tabulate(lines, titles, tablefmt=form, disable_numparse=True)
    machine, size = report.environment, report.taken["show"].read_bytes
    smaller = "" if report.rows >= ROWS else f" (bounds are for {ROWS:,})"
    return (
        f"{made}\n\nA store of {report.rows:,} rows, {mib(size)}{smaller}. A plain pass: "
        "json.loads of every line that the command reads, in a process of its own. On "
        f"{machine.processor}, {machine.cores} cores."
    )


def _cells(name: str, taken: Taken, rows: int) -> tuple[str, ...]:
    limit = LIMITS[name]
    return (
        WORDS[name],
        f"{taken.seconds:.0f} s",
        f"{taken.first_word:.0f} s",
        f"{taken.passes:.1f}",
        mib(taken.peak_bytes),
        f"{taken.peak_bytes / rows / 1000:.1f} kB",
        f"{limit.passes:g} passes, {limit.row_bytes / 1000:g} kB a row",
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    report = measure(asked.rows)
    print(document(report))
    asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if report.beyond:
        sys.exit("; ".join(report.beyond))


if __name__ == "__main__":
    main()
