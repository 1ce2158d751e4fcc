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

from scipy import stats
from tabulate import tabulate

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


def pairs(folder: Path) -> list[list[Pair]]:
    """The same trial both ways, the seeds of one configuration together."""
    shared, literal = ({r.key: r for r in store.read(folder / way).rows} for way in WAYS)
    groups: dict[str, list[Pair]] = {}
    for key, row in shared.items():
        if key in literal:
            seedless = row.spec.model_copy(update={"seed": 0}).key
            groups.setdefault(seedless, []).append((row, literal[key]))
    return list(groups.values())


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Student's 95% interval of a mean over seeds."""
    mean = statistics.fmean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    return mean - reach, mean + reach


def _accuracy(row: TrialResult) -> float:
    return 100 * (row.test_accuracy or math.nan)


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
    """The comparison, and what it rests on."""
    groups = pairs(folder)
    made = tabulate(list(lines(groups)), TITLES, tablefmt=form, disable_numparse=True)
    stacks = sorted({row.stack.id for same in groups for pair in same for row in pair})
    failed = sorted({g for s in groups for pair in s for row in pair for g in row.failed_guards})
    return f"{made}\n\n{', '.join(stacks)}; guards failed: {', '.join(failed) or 'none'}"


def main() -> None:
    """Run both ways where asked, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", action="store_true", help="compare only")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--format", default="simple", choices=("simple", "github"))
    wanted = parser.parse_args()
    for way in () if wanted.show else WAYS:
        command = [sys.executable, "-m", "bench", "run", str(SUITE)]
        command += ["--results", str(wanted.folder / way), *(["--literal"] * (way == "literal"))]
        subprocess.run(command, check=True)
    print(table(wanted.folder, wanted.format))


if __name__ == "__main__":
    main()
