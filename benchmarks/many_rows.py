"""What `bench compare` takes for two folders of 10,000 rows each, and `bench report` for one.

    python -m benchmarks.many_rows      generates them, prints a line, writes
                                        results/reference/many_rows.json

The rows are one real row, 10 epochs in each phase, again and again under other learning rates and
seeds, with answers of its own for each; in B one trial in twenty is five points worse.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import marks
from bench.records import Environment, Phase, PhaseResult, Record, TrialResult
from bench.running import store
from benchmarks import commands, written

REAL = Path("results/reference/real_small")
OUTPUT = Path("results/reference/many_rows.json")
ROWS, SEEDS, EPOCHS = 10_000, 5, 10
WORSE_EVERY, WORSE_BY = 20, 0.05


class Taken(Record):
    """What a command took.

    Attributes:
        seconds: wall time, start of the process included.
        peak_bytes: its resident memory at its most.
        read_bytes: of the results that it read.
    """

    seconds: float
    peak_bytes: int
    read_bytes: int


class Report(Record):
    """What was measured.

    Attributes:
        rows: in each folder.
        compared: `bench compare` of two folders.
        findings, worse: that it came to.
        reported: `bench report` of one.
        page_bytes: of its page.
    """

    command: str
    rows: int
    compared: Taken
    findings: int
    worse: int
    reported: Taken
    page_bytes: int
    environment: Environment


def example() -> TrialResult:
    """A real row with two phases, and as many epochs in each as a real job has."""
    rows = [r for r in store.read(REAL).rows if r.phase1 and r.phase2 and r.dataset]
    row = max(rows, key=lambda r: r.dataset.test if r.dataset else 0)

    def longer(phase: PhaseResult | None) -> PhaseResult | None:
        epochs = phase.epochs * EPOCHS if phase else ()
        return phase and phase.model_copy(update={"epochs": epochs[:EPOCHS]})

    return row.model_copy(update={"phase1": longer(row.phase1), "phase2": longer(row.phase2)})


def generate(folder: Path, rows: int, version: str, worse: bool) -> None:
    """A results folder of so many rows, on a stack of this version."""
    real = example()
    stack = real.stack.model_copy(update={"backend_version": version})
    pictures = real.dataset.test if real.dataset else 0
    rng = np.random.default_rng(int(worse))
    hard = np.random.default_rng(9).random(pictures)
    file = folder / stack.id / store.TRIALS
    file.parent.mkdir(parents=True)
    with file.open("wb") as lines:
        for number in range(rows):
            trial, seed = divmod(number, SEEDS)
            by = WORSE_BY if worse and trial % WORSE_EVERY == 0 else 0.0
            correct = hard + 0.1 * rng.standard_normal(pictures) < 0.9 - by
            rate = Phase(epochs=EPOCHS, learning_rate=1e-3 / (1 + trial))
            spec = real.spec.model_copy(update={"phase1": rate, "seed": seed})
            row = real.model_copy(
                update={
                    "key": spec.key,
                    "spec": spec,
                    "stack": stack,
                    "test_accuracy": float(correct.mean()),
                    "test_correct": marks.packed(correct),
                    "predictions": None,
                }
            )
            lines.write(store.line(row))


def measure(rows: int) -> Report:
    """Generate two folders, compare them and report on one, each in a process of its own."""
    from bench.training.execution import environment

    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / name for name in ("A", "B")]
        for folder, version in zip(folders, ("2.20.0", "2.21.0"), strict=True):
            generate(folder, rows, version, worse=folder.name == "B")
        said, pages = Path(root) / "comparison.json", Path(root) / "report"
        compared = _taken(folders, "compare", *folders, "--format", "json", "-o", said)
        found = json.loads(said.read_text(encoding="utf-8"))
        reported = _taken(folders[:1], "report", folders[0], "-o", pages)
        page_bytes = (pages / "index.html").stat().st_size
    return Report(
        command="python -m benchmarks.many_rows",
        rows=rows,
        compared=compared,
        findings=len(found["findings"]),
        worse=sum(f["verdict"] == "worse" for f in found["findings"]),
        reported=reported,
        page_bytes=page_bytes,
        environment=environment(),
    )


def _taken(folders: Sequence[Path], *words: object) -> Taken:
    ran = commands.bench(*map(str, words))
    size = sum(f.stat().st_size for folder in folders for f in folder.rglob("*") if f.is_file())
    return Taken(seconds=ran.seconds, peak_bytes=ran.peak_bytes, read_bytes=size)


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.many_rows")


def sentence(report: Report) -> str:
    """One line for each command."""
    rows, machine = f"{report.rows:,} rows", report.environment
    return (
        f"bench compare of two folders of {rows} ({_mib(report.compared.read_bytes)}): "
        f"{_told(report.compared)}, {report.findings:,} findings; bench report of one of them: "
        f"{_told(report.reported)}, a page of {_mib(report.page_bytes)} "
        f"({machine.processor}, {machine.cores} cores)"
    )


def _told(taken: Taken) -> str:
    return f"{taken.seconds:.1f} s, {_mib(taken.peak_bytes)}"


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    report = measure(asked.rows)
    print(sentence(report))
    asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
