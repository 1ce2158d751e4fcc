"""What does `bench choose` save, and what does that cost in accuracy?

    python -m benchmarks.choosing                  measures, writes results/reference/choosing.json
    python -m benchmarks.choosing --show FILE      prints what such a file says

The full sweep of suites/small_zoo.toml (four backbones, three strategies, five seeds, on three
datasets) was run before: results/reference/small_zoo. Here `bench choose` runs over the same suite,
one dataset after another, as a command, with a budget of a share of the sweep's time and with
nothing in the cache but decoded pictures.

**What a pick loses** is judged by the sweep: test accuracies, means over all five seeds, of which
`bench choose` saw none. The highest of twelve such means is itself a lucky one, so that a pick that
loses nothing at all is not to be expected.

**The sweep's time** is what it would have taken at the choice's pace, because it ran beside other
work and the choice did not. A candidate that the choice tried counts with the seconds of a trial
there, for each of its seeds; another one with the fastest of its seeds in the sweep, times the
ratio that those which ran in both come to, all datasets together. Passes through the backbones are
brought to that pace, too. Starting processes is left out of it, and is in the choice's time, as
everything is that the command does: looking at the pictures, measuring what the pick costs, the
report.
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from bench.analysis import choosing
from bench.analysis.accuracy_stats import accuracy_difference
from bench.errors import BenchError
from bench.records import Environment, Record, Stack, TrialResult
from bench.running import store
from benchmarks import commands, swept, written
from benchmarks.swept import Sweep, Swept

SUITE = Path("suites/small_zoo.toml")
SWEEP = Path("results/reference/small_zoo")
PICKS = Path("results/reference")
REPORTS = Path("reports/reference")
OUTPUT = Path("results/reference/choosing.json")
HEAD = "head_only"
DATASETS = ("cats_vs_dogs", "tf_flowers", "stanford_dogs")
SHARE = 0.185
"""Of the sweep's time, for `bench choose` in all."""
RATIO = 0.7
"""Guess at the choice's pace over the sweep's, for the budget of the first that runs."""


class Run(Record):
    """One dataset.

    Attributes:
        dataset: its name.
        budget_seconds: that `bench choose` was given.
        seconds: wall time that it took, as a command.
    """

    dataset: str
    budget_seconds: float
    seconds: float


class Study(Record):
    """Every dataset, and what it ran on."""

    stack: Stack
    environment: Environment
    runs: tuple[Run, ...]


# ---------------------------------------------------------------------------------- measuring


def measure(datasets: Sequence[str], share: float) -> Study:
    """Choose for one dataset after another."""
    runs: list[Run] = []
    for dataset in datasets:
        pace = ratio([run.dataset for run in runs]) if runs else RATIO
        runs.append(_of_dataset(dataset, share * sweep_seconds(_sweep(dataset), (), pace)))
    row = _chosen(datasets[0])[0]
    assert row.environment is not None
    return Study(stack=row.stack, environment=row.environment, runs=tuple(runs))


def _of_dataset(dataset: str, budget: float) -> Run:
    for kind in ("activations", "heads", "modes"):
        _ran("cache", "--clear", "--kind", kind)
    output = str(REPORTS / _folder(dataset).name)
    seconds = _ran(
        *("choose", str(SUITE), "--set", f'matrix.datasets=["{dataset}"]'),
        *("--time-budget", f"{budget:.0f}s", "--results", str(PICKS), "--output", output),
    )
    return Run(dataset=dataset, budget_seconds=round(budget), seconds=seconds)


def _ran(*words: str) -> float:
    """Seconds of a command that ended well."""
    ran = commands.bench(*words)
    if ran.code != 0:
        raise BenchError(f"bench {' '.join(words)}: ended with {ran.code}")
    return ran.seconds


def _folder(dataset: str) -> Path:
    """Of a choice's results."""
    return PICKS / f"choose-{SUITE.stem}-{dataset}"


def _chosen(dataset: str) -> tuple[TrialResult, ...]:
    return store.read(_folder(dataset)).rows


def _sweep(dataset: str) -> Sweep:
    return next(s for s in swept.read([SWEEP]) if s.name == dataset)


# ------------------------------------------------------------------------------- the sweep's time


def sweep_seconds(sweep: Sweep, chosen: Iterable[TrialResult], pace: float) -> float:
    """Of a sweep, at the pace of trials of the same candidates that ran elsewhere.

    Args:
        sweep: on one dataset.
        chosen: those trials.
        pace: their seconds over the sweep's, for what did not run there.
    """
    own = _seconds(chosen)
    total = 0.0
    for candidate in sweep.candidates:
        seconds = own.get(_name(candidate.rows[0]), pace * _fastest(candidate))
        # Further seeds of a head alone take next to nothing.
        total += seconds * (1 if candidate.strategy == HEAD else len(candidate.rows))
    return total


def ratio(datasets: Iterable[str]) -> float:
    """Seconds of the choices' trials over those of the sweep's fastest seeds, where both ran."""
    here = there = 0.0
    for dataset in datasets:
        own = _seconds(_chosen(dataset))
        both = [c for c in _sweep(dataset).candidates if _name(c.rows[0]) in own]
        here += sum(own[_name(c.rows[0])] for c in both)
        there += sum(map(_fastest, both))
    if not there:
        raise BenchError("no trial ran in both, so the sweep's pace cannot be told")
    return here / there


def _seconds(chosen: Iterable[TrialResult]) -> dict[tuple[str, str], float]:
    """Of a trial of each candidate: phase 2, which nothing is shared in; of a head alone the whole
    of the one that made the pass."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in chosen:
        if row.status == "ok":
            seconds = row.phase2.seconds if row.phase2 else row.seconds
            found.setdefault(_name(row), []).append(seconds)
    together = {name: max if name[1] == HEAD else statistics.mean for name in found}
    return {name: together[name](seconds) for name, seconds in found.items()}


def _fastest(candidate: Swept) -> float:
    """Of a trial in the sweep; of a head alone, of the seed that made the pass."""
    if candidate.strategy == HEAD:
        return candidate.rows[0].seconds
    return min(row.phase2.seconds for row in candidate.rows if row.phase2)


def _name(row: TrialResult) -> tuple[str, str]:
    return row.spec.backbone.name, row.spec.freeze.label


# ------------------------------------------------------------------------------------ showing


def read(file: Path) -> Study:
    """A study that was written."""
    return written.read(Study, file, "a study of `bench choose`")


def rendered(study: Study) -> str:
    """A line for each dataset, as Markdown."""
    titles = (
        *(
            "dataset",
            "pick",
            "best of the sweep",
            "pick, test %",
            "best, test %",
            "lost, points (95%)",
        ),
        *("best with", "within 0.5 with", "sweep", "choice", "share of its time"),
    )
    pace = ratio([run.dataset for run in study.runs])
    lines = [_line(run, _sweep(run.dataset), pace) for run in study.runs]
    table = tabulate(lines, titles, tablefmt="github", disable_numparse=True)
    machine = f"{study.environment.processor}, {study.environment.cores} cores"
    return f"{table}\n\nMeasured on {study.stack.id}, {machine}."


def _line(run: Run, sweep: Sweep, pace: float) -> list[str]:
    choice = choosing.read(_folder(run.dataset))
    if choice is None or choice.pick is None:
        raise BenchError(f"{_folder(run.dataset)}: expected a choice with a pick")
    means = {c.label: float(np.mean(c.test)) for c in sweep.candidates}
    best, pick = max(means, key=lambda label: means[label]), choice.pick
    seconds = sweep_seconds(sweep, _chosen(run.dataset), pace)
    return [
        run.dataset,
        pick.label,
        best,
        f"{100 * means[pick.label]:.1f}",
        f"{100 * means[best]:.1f}",
        _lost(sweep, pick.label, best),
        f"{100 * pick.best:.0f}%",
        f"{100 * pick.close:.0f}%",
        f"{seconds / 60:.1f} min",
        f"{run.seconds / 60:.1f} min",
        f"{100 * run.seconds / seconds:.0f}%",
    ]


def _lost(sweep: Sweep, pick: str, best: str) -> str:
    """Points, and what they lie between: paired by picture and seed."""
    if pick == best:
        return "0"
    answers = {c.label: c.test for c in sweep.candidates}
    found = accuracy_difference(answers[pick], answers[best])
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return f"{100 * found.estimate:.1f} ({low:+.1f} to {high:+.1f})"


def _together(before: Study, after: Study) -> Study:
    runs = {run.dataset: run for run in (*before.runs, *after.runs)}
    return after.model_copy(update={"runs": tuple(runs[d] for d in DATASETS if d in runs)})


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", type=Path, help="print a study instead of making one")
    parser.add_argument("--share", type=float, default=SHARE)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    asked = parser.parse_args()
    if asked.show:
        study = read(asked.show)
    else:
        study = measure(asked.datasets, asked.share)
        if OUTPUT.is_file():  # datasets that were not asked for keep their runs
            study = _together(read(OUTPUT), study)
        OUTPUT.write_text(study.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(rendered(study))


if __name__ == "__main__":
    main()
