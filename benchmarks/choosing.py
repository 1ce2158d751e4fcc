"""What does `bench choose` save, and what does that cost in accuracy?

    python -m benchmarks.choosing                  measures, writes results/reference/choosing.json
    python -m benchmarks.choosing --show FILE      prints what such a file says

For each dataset, one after another in one run and with nothing in the cache but decoded pictures:
`bench run` over the suite with its first seed alone, and `bench choose` over the whole suite with a
budget of a share of what the sweep would take. The sweep itself (every seed) was run before: its
rows in results/reference/small_zoo say how good every candidate is. Its time is what the first seed
took here, plus for each further seed the steps of phase 2 again, at the pace of their later epochs:
less than it would take, since it leaves out compiling, evaluation, guards and process starts.

A pick is judged by the sweep's test accuracies, means over all seeds, of which `bench choose` saw
none: what it loses against the highest of them. The highest of twelve means is itself a lucky one,
so a choice that loses nothing at all is not to be expected.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench import suite as suites
from bench.analysis import choosing
from bench.errors import BenchError
from bench.records import Environment, Record, Stack, TrialResult
from bench.running import store
from benchmarks import commands, swept, written
from benchmarks.swept import Sweep

SUITE = Path("suites/small_zoo.toml")
SWEEP = Path("results/reference/small_zoo")
PICKS = Path("results/reference")
OUTPUT = Path("results/reference/choosing.json")
DATASETS = ("cats_vs_dogs", "tf_flowers", "stanford_dogs")
SHARE = 0.19
"""Of the sweep's time, for `bench choose` in all."""


class Run(Record):
    """One dataset.

    Attributes:
        dataset: its name.
        first_seed_seconds: wall time of the sweep's first seed, as a command.
        other_seeds_seconds: of each further seed: the steps of phase 2 alone.
        seeds: of the sweep.
        budget_seconds: that `bench choose` was given.
        seconds: wall time that it took, as a command.
    """

    dataset: str
    first_seed_seconds: float
    other_seeds_seconds: float
    seeds: int
    budget_seconds: float
    seconds: float

    @property
    def sweep_seconds(self) -> float:
        """Of a full sweep on this machine, at the least."""
        return self.first_seed_seconds + (self.seeds - 1) * self.other_seeds_seconds


class Study(Record):
    """Every dataset, and what it ran on."""

    stack: Stack
    environment: Environment
    runs: tuple[Run, ...]


# ---------------------------------------------------------------------------------- measuring


def measure(datasets: Sequence[str], share: float) -> Study:
    """Run both commands for each dataset."""
    runs = [_of_dataset(name, share) for name in datasets]
    row = store.read(_folder(datasets[0])).rows[0]
    assert row.environment is not None
    return Study(stack=row.stack, environment=row.environment, runs=tuple(runs))


def _of_dataset(dataset: str, share: float) -> Run:
    only = ("--set", f'matrix.datasets=["{dataset}"]')
    seeds = len({t.seed for t in suites.load(SUITE).trials})
    with tempfile.TemporaryDirectory() as folder:
        _without_activations()
        first = commands.bench(
            "run", str(SUITE), *only, "--set", "matrix.seeds=[0]", "--results", folder
        )
        if first.code != 0:
            raise BenchError(f"{dataset}: the sweep's first seed ended with {first.code}")
        rows = store.read(Path(folder)).rows
    others = sum(map(_tuning, rows))
    budget = share * (first.seconds + (seeds - 1) * others)
    _without_activations()
    chosen = commands.bench(
        "choose", str(SUITE), *only, "--time-budget", f"{budget:.0f}s", "--results", str(PICKS),
        "--output", str(Path("reports/reference") / _folder(dataset).name),
    )  # fmt: skip
    if chosen.code != 0:
        raise BenchError(f"{dataset}: bench choose ended with {chosen.code}")
    return Run(
        dataset=dataset,
        first_seed_seconds=first.seconds,
        other_seeds_seconds=others,
        seeds=seeds,
        budget_seconds=budget,
        seconds=chosen.seconds,
    )


def _without_activations() -> None:
    """Nothing that another run has computed may help this one."""
    for kind in ("activations", "heads"):
        ran = commands.bench("cache", "--clear", "--kind", kind)
        if ran.code != 0:
            raise BenchError(f"bench cache --clear --kind {kind} ended with {ran.code}")


def _tuning(row: TrialResult) -> float:
    """Seconds of phase 2's epochs, all at the pace of the later ones: the first compiles."""
    if row.phase2 is None:
        return 0.0
    later = [epoch.seconds for epoch in row.phase2.epochs[1:]]
    return len(row.phase2.epochs) * statistics.median(later)


def _folder(dataset: str) -> Path:
    """Of a choice's results."""
    return PICKS / f"choose-{SUITE.stem}-{dataset}"


# ------------------------------------------------------------------------------------ showing


def read(file: Path) -> Study:
    """A study that was written."""
    return written.read(Study, file, "a study of `bench choose`")


def rendered(study: Study) -> str:
    """A line for each dataset, as Markdown."""
    sweeps = {sweep.name: sweep for sweep in swept.read([SWEEP])}
    titles = (
        "dataset",
        "pick",
        "best of the sweep",
        "pick, test % in the sweep",
        "best, test %",
        "lost, points",
        "best with",
        "within 0.5 with",
        "sweep",
        "choice",
        "share of its time",
    )
    lines = [_line(run, sweeps[run.dataset]) for run in study.runs]
    table = tabulate(lines, titles, tablefmt="github", disable_numparse=True)
    return f"{table}\n\nMeasured on {study.stack.id}, {_machine(study)}."


def _line(run: Run, sweep: Sweep) -> list[str]:
    choice = choosing.read(_folder(run.dataset))
    if choice is None or choice.pick is None:
        raise BenchError(f"{_folder(run.dataset)}: expected a choice with a pick")
    means = {c.label: float(np.mean(c.test)) for c in sweep.candidates}
    best = max(means, key=lambda label: means[label])
    pick = choice.pick
    return [
        run.dataset,
        pick.label,
        best,
        f"{100 * means[pick.label]:.1f}",
        f"{100 * means[best]:.1f}",
        f"{100 * (means[best] - means[pick.label]):.1f}",
        f"{100 * pick.best:.0f}%",
        f"{100 * pick.close:.0f}%",
        f"{run.sweep_seconds / 60:.1f} min",
        f"{run.seconds / 60:.1f} min",
        f"{100 * run.seconds / run.sweep_seconds:.0f}%",
    ]


def _machine(study: Study) -> str:
    return f"{study.environment.processor}, {study.environment.cores} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", type=Path, help="print a study instead of making one")
    parser.add_argument("--share", type=float, default=SHARE)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    asked = parser.parse_args()
    if asked.show:
        study = read(asked.show)
    else:
        study = measure(asked.datasets, asked.share)
        OUTPUT.write_text(study.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(rendered(study))


if __name__ == "__main__":
    main()
