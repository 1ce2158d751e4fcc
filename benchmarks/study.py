"""Do the shared and the literal path give the same accuracy? With real weights and pictures.

    python -m benchmarks.study                 runs suites/sharing.toml both ways, then compares
    python -m benchmarks.study --show          compares what was measured before
    ... --format markdown                      for README

For every trial the two paths differ by rounding alone: another batch size in one convolution, a
sum in another order. Training multiplies that. What matters is that the difference stays far below
the spread between seeds, which is what any comparison of trials has to reckon with.
"""

import argparse
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from scipy import stats
from tabulate import tabulate

from bench.errors import BenchError
from bench.records import TrialResult
from bench.running import store

SUITE = Path("suites/sharing.toml")
FOLDER = Path("results/reference/sharing")
WAYS = ("shared", "literal")
CONFIDENCE = 0.95
TITLES = (
    *("backbone", "dataset", "freeze", "seeds", "shared: test %", "literal: test %"),
    *("difference, points", "95% interval", "spread over seeds", "largest difference in loss"),
)

Pair = tuple[TrialResult, TrialResult]


class Compared(NamedTuple):
    """Two results folders held against each other.

    Attributes:
        groups: the same trial both ways, the seeds of one configuration together.
        left_out: trials and configurations that cannot be compared, and why; one a line.
    """

    groups: list[list[Pair]]
    left_out: list[str]


def compare(folder: Path) -> Compared:
    """Pair the rows of both ways.

    Raises:
        StoreError: one of them was never measured.
        BenchError: no configuration has two seeds that ended ``ok`` both ways.
    """
    shared, literal = ({r.key: r for r in store.read(folder / way).rows} for way in WAYS)
    groups: dict[str, list[Pair]] = {}
    left_out = []
    for key in dict.fromkeys((*shared, *literal)):
        pair = shared.get(key), literal.get(key)
        if pair[0] and pair[1] and pair[0].status == pair[1].status == "ok":
            seedless = pair[0].spec.seedless.key
            groups.setdefault(seedless, []).append((pair[0], pair[1]))
        else:
            left_out.append(_why(*pair))
    for same in groups.values():
        if len(same) < 2:
            label = same[0][0].spec.label
            left_out.append(f"{label}: the only seed of its configuration; a spread needs two")
    several = [same for same in groups.values() if len(same) > 1]
    if not several:
        found = "".join(f"\n  {line}" for line in left_out)
        raise BenchError(
            f"{folder}: fewer than two seeds of any configuration ended ok both ways, and a "
            f"spread needs two{found}"
        )
    return Compared(several, left_out)


def _why(*pair: TrialResult | None) -> str:
    """Why a trial is not compared: how it ended each way."""
    label = next(row.spec.label for row in pair if row)
    ends = (
        f"{way}: {_end(row) if row else 'not measured'}"
        for way, row in zip(WAYS, pair, strict=True)
        if row is None or row.status != "ok"
    )
    return f"{label}: {'; '.join(ends)}"


def _end(row: TrialResult) -> str:
    return " ".join(f"{row.status} {row.reason}".split())


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Student's 95% interval of a mean over seeds."""
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    return mean - reach, mean + reach


def _accuracy(row: TrialResult) -> float:
    return math.nan if row.test_accuracy is None else 100 * row.test_accuracy


def _losses(row: TrialResult) -> list[float]:
    phases = [p for p in (row.phase1, row.phase2) if p]
    return [loss for p in phases for e in p.epochs for loss in (e.loss, e.val_loss)]


def lines(groups: Sequence[Sequence[Pair]]) -> Iterator[list[str]]:
    """One line a configuration, as `TITLES` says."""
    for same in groups:
        spec = same[0][0].spec
        shared, literal = ([_accuracy(p[i]) for p in same] for i in (0, 1))
        differences = [a - b for a, b in zip(shared, literal, strict=True)]
        low, high = interval(differences)
        apart = max(
            abs(a - b)
            for one, other in same
            for a, b in zip(_losses(one), _losses(other), strict=True)
        )
        yield [
            *(spec.backbone.name, spec.data.dataset.name, spec.freeze.label, str(len(same))),
            *(f"{statistics.fmean(shared):.2f}", f"{statistics.fmean(literal):.2f}"),
            f"{statistics.fmean(differences):+.2f}",
            f"{low:+.2f} to {high:+.2f}",
            f"{statistics.stdev(literal):.2f}",
            f"{apart:.1g}",
        ]


def table(folder: Path, form: str) -> str:
    """The comparison, what it rests on, and below it what is not compared.

    Raises:
        BenchError: as `compare`.
    """
    groups, left_out = compare(folder)
    made = tabulate(list(lines(groups)), TITLES, tablefmt=form, disable_numparse=True)
    stacks = sorted({row.stack.id for same in groups for pair in same for row in pair})
    failed = sorted({g for s in groups for pair in s for row in pair for g in row.failed_guards})
    below = f"{', '.join(stacks)}; guards failed: {', '.join(failed) or 'none'}"
    return "\n".join([made, "", below, *(["", "not compared:"] if left_out else []), *left_out])


def measure(folder: Path) -> None:
    """Run the suite both ways. A failed trial or guard (exit code 1) is no reason to stop.

    Raises:
        BenchError: a run ended otherwise: wrong input, or a signal.
    """
    for way in WAYS:
        command = [sys.executable, "-m", "bench", "run", str(SUITE)]
        command += ["--results", str(folder / way), *(["--literal"] * (way == "literal"))]
        code = subprocess.run(command).returncode
        if code not in (0, 1):
            raise BenchError(f"the {way} run ended with exit code {code}: nothing is compared")


def main() -> None:
    """Run both ways where asked, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", action="store_true", help="compare only")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--format", default="simple", choices=("simple", "github"))
    wanted = parser.parse_args()
    try:
        if not wanted.show:
            measure(wanted.folder)
        print(table(wanted.folder, wanted.format))
    except BenchError as error:
        sys.exit(f"study: {error}")


if __name__ == "__main__":
    main()
