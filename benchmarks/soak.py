"""Hundreds of tiny trials in one run, watched from outside: what grows?

    python -m benchmarks.soak --trials 500      runs them, prints what was seen, and writes
                                                results/reference/soak.json
    python -m benchmarks.soak --show FILE       prints what such a file says

One ``bench run`` of scikit-learn's digits at 16 px with a backbone of 13 layers: heads and freeze
strategies, each under many seeds, so that all trials differ. Once a second, from another process:
the runner's memory, open files and threads, the workers' memory, and the bytes on disk under
results, cache and temporary folder.

The runner's growth is a straight line through its memory over the rows it has written, from the
second tenth of the run to its last row (what imports, first use and the table at the end take is
no growth), and its 95% interval is over blocks of the run, for samples next to each other tell the
same thing. The command ends with 1
where something is beyond `LIMITS`.
"""

import argparse
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import numpy as np
import psutil
from pydantic import Field
from scipy import stats
from tabulate import tabulate

from bench.errors import BenchError
from bench.records import Environment, Record, Stack
from bench.running import store
from benchmarks import written
from benchmarks.tables import mib

OUTPUT = Path("results/reference/soak.json")
TRIALS = 500
LOOK_SECONDS = 1.0
KEPT_SAMPLES = 120
BLOCKS = 12
SETTLING = 0.1
"""Share of the rows before which nothing is called growth."""

LIMITS = {
    "runner_growth": 8_000.0,
    "handles": 64,
    "threads": 16,
    "disk": 100_000.0,
    "left_over": 0,
}
"""Bytes of the runner's memory for each row; files open at once; threads; bytes on disk for each
row, results and cache together; files in the temporary folder when all is over."""

BACKBONE = """
import sys
import keras

keras.utils.set_random_seed(7)
inputs = x = keras.Input((16, 16, 3))
for i, channels in enumerate((4, 6, 8)):
    x = keras.layers.Conv2D(channels, 3, strides=2, name=f"block{i}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"block{i}_bn")(x)
    x = keras.layers.ReLU(name=f"block{i}_relu")(x)
    x = keras.layers.Dropout(0.2, name=f"block{i}_drop")(x)
keras.Model(inputs, x).save(sys.argv[1])
"""
SUITE = """
description = "many tiny trials"
data = {{ image_size = 16, train_examples = 64, val_examples = 32, test_examples = 64 }}
phase1 = {{ epochs = 2, learning_rate = 1e-2 }}
phase2 = {{ epochs = 1, learning_rate = 1e-3 }}
[[backbones]]
name = "tiny"
file = "tiny.keras"
preprocessing = "minus_one_to_one"
blocks = 'block([0-9]+)_'
[[matrix]]
backbones = ["tiny"]
datasets = ["digits"]
freezes = ["head_only", {{ top_blocks = 1 }}]
heads = ["linear", "dropout"]
seeds = [{seeds}]
"""
PER_SEED = 4
"""Trials of the suite for each of its seeds."""


class Sample(Record):
    """One look.

    Attributes:
        seconds: since the run began.
        rows: in the store.
        runner, workers: resident bytes, of all workers together.
        handles, threads: of the runner.
        results, cache, temporary: bytes on disk under these folders.
    """

    seconds: float
    rows: int
    runner: int
    workers: int
    handles: int
    threads: int
    results: int
    cache: int
    temporary: int


class Slope(Record):
    """Bytes for each row, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value / 1000:+.1f} kB ({self.low / 1000:+.1f} to {self.high / 1000:+.1f})"


class Report(Record):
    """What was seen.

    Attributes:
        rows: by status.
        seconds: of the whole run.
        runner_growth: its memory for each row.
        workers: processes that ran trials, one after another.
        handles, threads: of the runner at the most.
        runner_peak, workers_peak: resident bytes at the most.
        disk: bytes for each row when all was over, of results and cache.
        left_over: files in the temporary folder when all was over.
        samples: some of those taken, evenly.
    """

    command: str
    measured_at: str
    stack: Stack
    environment: Environment
    rows: dict[str, int]
    seconds: float
    runner_growth: Slope
    workers: int
    handles: int
    threads: int
    runner_peak: int
    workers_peak: int
    disk: float
    left_over: int
    samples: tuple[Sample, ...] = Field(min_length=3)

    @property
    def beyond(self) -> list[str]:
        """What is beyond its limit; empty where nothing is."""
        found = {
            "runner_growth": self.runner_growth.high,
            "handles": self.handles,
            "threads": self.threads,
            "disk": self.disk,
            "left_over": self.left_over,
        }
        return [
            f"{name} = {value:,.0f}, more than {LIMITS[name]:,.0f}"
            for name, value in found.items()
            if value > LIMITS[name]
        ]


# ---------------------------------------------------------------------------------- the run


def suite_text(trials: int) -> str:
    """A suite file of so many trials, rounded up to whole seeds."""
    return SUITE.format(seeds=", ".join(map(str, range(-(-trials // PER_SEED)))))


def measure(trials: int) -> Report:
    """Run so many trials in a folder of their own and watch them.

    Raises:
        BenchError: the run failed.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "soak.toml").write_text(suite_text(trials), encoding="utf-8")
        (root / "temporary").mkdir()
        backbone = [sys.executable, "-c", BACKBONE, str(root / "tiny.keras")]
        subprocess.run(backbone, check=True, capture_output=True)
        began = time.perf_counter()
        process = _started(root)
        samples, workers = [], set[int]()
        while process.poll() is None:
            with suppress(psutil.Error, OSError):  # it has just ended, or a file has gone
                sample, pids = _look(process.pid, root, time.perf_counter() - began)
                samples.append(sample)
                workers |= pids
            time.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        if process.returncode:
            raise BenchError((root / "log").read_text(encoding="utf-8")[-2000:])
        return _report(root, trials, seconds, samples, len(workers))


def _started(root: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {
        "BENCH_CACHE_DIR": str(root / "cache"),
        "TMPDIR": str(root / "temporary"),
    }
    with (root / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "bench", "run", str(root / "soak.toml")],
            cwd=root,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _look(pid: int, root: Path, seconds: float) -> tuple[Sample, set[int]]:
    runner = psutil.Process(pid)
    children = runner.children(recursive=True)
    return Sample(
        seconds=round(seconds, 1),
        rows=_rows(root / "results"),
        runner=runner.memory_info().rss,
        workers=sum(child.memory_info().rss for child in children),
        handles=runner.num_fds(),
        threads=runner.num_threads(),
        results=_bytes(root / "results"),
        cache=_bytes(root / "cache"),
        temporary=_bytes(root / "temporary"),
    ), {child.pid for child in children}


def _rows(results: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in results.rglob(store.TRIALS))


def _bytes(folder: Path) -> int:
    return sum(size for size in map(_size, folder.rglob("*")))


def _size(path: Path) -> int:
    """Of a file; 0 where it is none, or has just gone."""
    with suppress(OSError):
        return 0 if path.is_dir() else path.stat().st_size
    return 0


def _report(
    root: Path, trials: int, seconds: float, samples: Sequence[Sample], workers: int
) -> Report:
    rows = store.read(root / "results").rows
    row = next(r for r in rows if r.environment)
    assert row.environment is not None
    return Report(
        command=f"python -m benchmarks.soak --trials {trials}",
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        stack=row.stack,
        environment=row.environment,
        rows=dict(Counter(r.status for r in rows)),
        seconds=round(seconds, 1),
        runner_growth=growth([(s.rows, s.runner) for s in samples]),
        workers=workers,
        handles=max(s.handles for s in samples),
        threads=max(s.threads for s in samples),
        runner_peak=max(s.runner for s in samples),
        workers_peak=max(s.workers for s in samples),
        disk=(_bytes(root / "results") + _bytes(root / "cache")) / len(rows),
        left_over=sum(path.is_file() for path in (root / "temporary").rglob("*")),
        samples=tuple(thinned(samples, KEPT_SAMPLES)),
    )


def growth(seen: Sequence[tuple[int, int]], blocks: int = BLOCKS) -> Slope:
    """The slope of bytes over rows, after the start.

    Args:
        seen: rows in the store, and resident bytes, look by look.
        blocks: the run is cut into so many pieces of equally many rows, each one observation.

    Raises:
        BenchError: too little was seen to tell.
    """
    most = max((rows for rows, _ in seen), default=0)
    first = SETTLING * most
    pieces: dict[int, list[tuple[int, int]]] = {}
    for rows, held in seen:
        if first <= rows < most:
            piece = min(int((rows - first) / (most - first + 1e-9) * blocks), blocks - 1)
            pieces.setdefault(piece, []).append((rows, held))
    points = [(fmean(r for r, _ in p), fmean(h for _, h in p)) for p in pieces.values()]
    if len(points) < 4:
        raise BenchError(f"{most} rows in {len(seen)} looks: expected more, to tell what grows")
    line = stats.linregress(*zip(*points, strict=True))
    error = 0.0 if math.isnan(line.stderr) else line.stderr  # SciPy has none of a flat line
    wide = float(stats.t.ppf(0.975, len(points) - 2) * error)
    return Slope(value=line.slope, low=line.slope - wide, high=line.slope + wide)


def thinned(samples: Sequence[Sample], most: int) -> Iterator[Sample]:
    """Evenly so many of them, first and last included."""
    if len(samples) <= most:
        yield from samples
        return
    chosen = np.linspace(0, len(samples) - 1, most).round().astype(int)
    yield from (samples[i] for i, _ in itertools.groupby(chosen))


# ------------------------------------------------------------------------------------ in words


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.soak")


def document(report: Report, form: str = "simple") -> str:
    """A line for each thing that could grow, and below it what it was measured on.

    Args:
        report: what was seen.
        form: as tabulate calls it.
    """
    growth, ended = report.runner_growth, ", ".join(f"{n} {s}" for s, n in report.rows.items())
    lines = [
        ("runner's memory, for each row", str(growth), f"at most {_kb(LIMITS['runner_growth'])}"),
        ("runner's memory, at the most", mib(report.runner_peak), ""),
        ("runner's open files", str(report.handles), f"at most {LIMITS['handles']:g}"),
        ("runner's threads", str(report.threads), f"at most {LIMITS['threads']:g}"),
        ("workers' memory, at the most", mib(report.workers_peak), ""),
        ("results and cache, for each row", _kb(report.disk), f"at most {_kb(LIMITS['disk'])}"),
        ("temporary files left", str(report.left_over), "none"),
    ]
    made = tabulate(lines, ("", "seen", "bound"), tablefmt=form, disable_numparse=True)
    machine, total = report.environment, sum(report.rows.values())
    workers = "one worker process"
    if report.workers > 1:
        workers = f"{report.workers} worker processes one after another"
    return (
        f"{made}\n\n{total} trials ({ended}) in one run of {report.seconds / 60:.0f} minutes, "
        f"{workers}; growth with its 95% interval. "
        f"{report.stack.id}, {machine.processor}, {machine.cores} cores."
    )


def _kb(size: float) -> str:
    return f"{size / 1000:.0f} kB"


def main() -> None:
    """Measure, print and write, or show what was written."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path)
    asked = parser.parse_args()
    if asked.show:
        print(document(read(asked.show)))
        return
    report = measure(asked.trials)
    print(document(report))
    asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if report.beyond:
        sys.exit("; ".join(report.beyond))


if __name__ == "__main__":
    main()
