"""Does a repeated measurement agree with itself?

    python -m benchmarks.repeat                       writes results/reference/repeat.json
    python -m benchmarks.repeat --show FILE           prints what such a file says

``bench measure`` runs as a user types it, a fresh command with a fresh worker for each case and
each time, the cases in turns. What it reports is the median of its bursts and what 95% of them lay
between: honest if the median of every other run lies in there, too.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

from pydantic import Field
from tabulate import tabulate

from bench.costs import CostResult, CostSpec, Rate, pooled
from bench.errors import BenchError
from bench.records import Backbone, Freeze, Record
from bench.running import store
from benchmarks import written

BACKBONE, IMAGE_SIZE, BATCH_SIZE = "MobileNetV2", 160, 32
REPEATS, SECONDS = 5, 10.0
OUTPUT = Path("results/reference/repeat.json")

Measure = Callable[[CostSpec, float, Path], CostResult]
"""Measures a case for so many seconds, its results in a folder of its own."""


class Repeats(Record):
    """The measurements of one case, in the order they ran."""

    rows: tuple[CostResult, ...] = Field(min_length=2)

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Throughput on the device, measurement by measurement."""
        return tuple(row.device for row in self.rows if row.device)

    @property
    def spread(self) -> float:
        """From the lowest median to the highest, as a share of the one in the middle."""
        medians = [rate.median for rate in self.rates]
        return (max(medians) - min(medians)) / statistics.median(medians)

    @property
    def agreeing(self) -> tuple[int, int]:
        """Of all ordered pairs of measurements: where the interval of the one holds the median of
        the other; and how many there are."""
        pairs = list(permutations(self.rates, 2))
        return sum(one.low <= other.median <= one.high for one, other in pairs), len(pairs)

    @property
    def foretold(self) -> int:
        """How many medians lie in the interval that all other measurements together report."""
        return sum(
            rate.low <= row.device.median <= rate.high
            for i, row in enumerate(self.rows)
            if row.device and (rate := pooled([*self.rows[:i], *self.rows[i + 1 :]]).device)
        )

    def missed_by(self, rate: Rate) -> int:
        """How many intervals of the measurements do not hold the median of this one."""
        return sum(not other.low <= rate.median <= other.high for other in self.rates)


class Report(Record):
    """Everything measured in one run."""

    command: str
    measured_at: str
    cases: tuple[Repeats, ...] = Field(min_length=1)


def read(file: Path) -> Report:
    """What an earlier run wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.repeat")


def sentence(report: Report) -> str:
    """How far the measurements agree, case by case, in one line."""
    return "; ".join(_verdict(repeats) for repeats in report.cases)


def _verdict(repeats: Repeats) -> str:
    agreeing, pairs = repeats.agreeing
    count, spec = len(repeats.rows), repeats.rows[0].spec
    others = f"that of the other {count - 1} runs together (--runs {count - 1})"
    return (
        f"{spec.backbone.name}, {spec.work}: {count} medians within {repeats.spread:.1%}; the "
        f"interval of a single run holds the median of another in {agreeing} of {pairs} pairs, "
        f"{others} in {repeats.foretold} of {count}"
    )


def table(report: Report, form: str = "simple") -> str:
    """One line a measurement, and below it what they were measured on.

    Args:
        report: what was measured.
        form: as tabulate calls it.
    """
    titles = ("work", "run", "images/s", "95% of bursts", "outside the interval of", "others busy")
    lines = [line for repeats in report.cases for line in _lines(repeats)]
    made = tabulate(lines, titles, tablefmt=form, disable_numparse=True)
    first = report.cases[0].rows[0]
    machine = first.environment
    where = f", {machine.processor}, {machine.cores} cores" if machine else ""
    below = (
        f"At {first.spec.image_size} px, batch {first.batch_size}, on {first.stack.id}{where}; "
        "others busy: share of the cores' time that other work used meanwhile."
    )
    return f"{made}\n\n{below}"


def _lines(repeats: Repeats) -> list[list[str]]:
    return [
        [
            f"{row.spec.backbone.name}, {row.spec.work}",
            str(number),
            f"{rate.median:.4g}",
            f"{rate.low:.4g}–{rate.high:.4g}",
            f"{missed} of {len(repeats.rows) - 1}" if missed else "none",
            "–" if row.elsewhere is None else f"{row.elsewhere:.0%}",
        ]
        for number, (row, rate) in enumerate(zip(repeats.rows, repeats.rates, strict=True), start=1)
        for missed in (repeats.missed_by(rate),)
    ]


def measured(spec: CostSpec, seconds: float, folder: Path) -> CostResult:
    """Have ``bench measure`` measure one case.

    Raises:
        BenchError: it has no result.
    """
    words = [spec.backbone.name, "--image-size", spec.image_size, "--batch-size", spec.batch_size]
    words += ["--only", spec.label, "--seconds", seconds, "--results", folder]
    command = [sys.executable, "-m", "bench", "measure", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchError(f"bench measure ended with exit code {done.returncode}: {last}")
    (row,) = store.read(folder).costs
    if row.device is None:
        raise BenchError(f"{spec.label}: {row.status}: {row.reason}")
    return row


def measure_all(
    specs: Sequence[CostSpec], times: int, seconds: float, command: str, measure: Measure = measured
) -> Report:
    """Measure every case so often, in turns."""
    rows: dict[CostSpec, list[CostResult]] = {spec: [] for spec in specs}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            for place, spec in enumerate(specs):
                print(f"repeat: {number + 1} of {times}: {spec.label}", file=sys.stderr)
                rows[spec].append(measure(spec, seconds, Path(folder) / f"{number}-{place}"))
    return Report(
        command=command,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        cases=tuple(Repeats(rows=tuple(found)) for found in rows.values()),
    )


def cases(image_size: int, batch_size: int) -> tuple[CostSpec, ...]:
    """Inference, and training of two blocks."""
    whole = CostSpec(
        backbone=Backbone(name=BACKBONE, weights="random"),
        image_size=image_size,
        batch_size=batch_size,
        workload="inference",
    )
    freeze = Freeze(strategy="top_blocks", amount=2)
    return whole, whole.model_copy(update={"workload": "phase 2", "freeze": freeze})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write, or show what was written; 1 where a measurement contradicts another."""
    wanted = _parser().parse_args(arguments)
    try:
        report = read(wanted.show) if wanted.show else _measured(wanted, arguments)
    except BenchError as error:
        print(f"repeat: {error}", file=sys.stderr)
        return 2
    print(f"{sentence(report)}\n\n{table(report, wanted.format)}")
    return int(any(repeats.foretold < len(repeats.rows) for repeats in report.cases))


def _measured(wanted: argparse.Namespace, arguments: Sequence[str] | None) -> Report:
    if wanted.repeats < 2:
        raise BenchError(f"--repeats {wanted.repeats}: expected at least 2")
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(("python -m benchmarks.repeat", *given))
    specs = cases(wanted.image_size, wanted.batch_size)
    report = measure_all(specs, wanted.repeats, wanted.seconds, command)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="to time each kind of step")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, metavar="FILE")
    parser.add_argument("--format", default="simple", choices=("simple", "github"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
