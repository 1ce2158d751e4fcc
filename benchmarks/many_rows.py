"""What `bench compare` takes for two folders of 10,000 rows each, and `bench report` for one.

    python -m benchmarks.many_rows      generates them, prints a line, writes
                                        results/reference/many_rows.json

The rows are one real row, 10 epochs in each phase, again and again: on 10 datasets, with 20
backbones (all of made-up names), under as many freeze strategies as it takes, by 5 seeds each, with
answers of its own for each; in B one trial in twenty is five points worse.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import marks
from bench.records import (
    Backbone,
    Dataset,
    Environment,
    Freeze,
    PhaseResult,
    Record,
    TrialResult,
    TrialSpec,
)
from bench.running import store
from benchmarks import commands, written
from benchmarks.tables import mib

REAL = Path("results/reference/real_small")
OUTPUT = Path("results/reference/many_rows.json")
ROWS, SEEDS, EPOCHS = 10_000, 5, 10
DATASETS, BACKBONES = 10, 20
WORSE_EVERY, WORSE_BY = 20, 0.05
HEAD_ONLY = Freeze(strategy="head_only")


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
            row = like(real, trial, seed).model_copy(update={"stack": stack})
            correct = hard + 0.1 * rng.standard_normal(pictures) < _level(row.spec) - by
            answers = {
                "test_accuracy": float(correct.mean()),
                "test_correct": marks.packed(correct),
            }
            lines.write(store.line(row.model_copy(update=answers)))


def like(real: TrialResult, trial: int, seed: int) -> TrialResult:
    """The row as if another trial had made it: the more backbones, the larger and slower."""
    each, dataset = divmod(trial, DATASETS)
    blocks, backbone = divmod(each, BACKBONES)
    name = f"dataset_{dataset + 1:02}"
    freeze = Freeze(strategy="top_blocks", amount=blocks) if blocks else HEAD_ONLY
    spec = real.spec.model_copy(
        update={
            "backbone": Backbone(name=f"backbone_{backbone + 1:02}", weights="imagenet"),
            "data": real.spec.data.model_copy(update={"dataset": Dataset(name=name)}),
            "freeze": freeze,
            "phase2": real.spec.phase2 if blocks else None,
            "seed": seed,
        }
    )
    fingerprint = hashlib.sha256(name.encode()).hexdigest()

    def slower(phase: PhaseResult | None) -> PhaseResult | None:
        speed = 1000 / (1 + backbone)
        return phase and phase.model_copy(update={"images_per_second": speed})

    return real.model_copy(
        update={
            "key": spec.key,
            "spec": spec,
            "dataset": real.dataset
            and real.dataset.model_copy(update={"fingerprint": fingerprint}),
            "freeze_resolved": freeze,
            "phase1": slower(real.phase1),
            "phase2": slower(real.phase2) if blocks else None,
            "total_parameters": 1_000_000 * (1 + backbone),
            "predictions": None,
        }
    )


def _level(spec: TrialSpec) -> float:
    """The share of pictures that such a trial gets right: more with a larger backbone."""
    larger = int(spec.backbone.name.removeprefix("backbone_")) / BACKBONES
    return 0.8 + 0.1 * larger + (0.02 if spec.phase2 else 0.0)


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
        f"bench compare of two folders of {rows} ({mib(report.compared.read_bytes)}): "
        f"{_told(report.compared)}, {report.findings:,} findings; bench report of one of them: "
        f"{_told(report.reported)}, a page of {mib(report.page_bytes)} "
        f"({machine.processor}, {machine.cores} cores)"
    )


def _told(taken: Taken) -> str:
    return f"{taken.seconds:.1f} s, {mib(taken.peak_bytes)}"


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
