"""Common advice against full trials: how much to unfreeze, and which backbone a probe names first.

    python -m benchmarks.advice               prints tables, writes results/reference/advice.json
    python -m benchmarks.advice --show FILE   prints them from that file

From the stored trials of sweeps (suites/small_zoo.toml and suites/recipes/freeze-by-size.toml by
default), and of their probes where there are any. Nothing is trained.

**How much to unfreeze.** What each strategy reaches on test with a backbone on a dataset; which of
them the advice by the number of train pictures takes (`bench.zoo.freezing.resolve`: the head alone
below 5,000, the top 20% below 20,000, the top 50% above); and what following it loses against the
best of those tried, paired on the test pictures. The best is found on the same pictures, so it is
a little flattered, and the loss too large rather than too small.

**Which backbone.** Probes rank the backbones by the accuracy of a linear probe, of the nearest
neighbours' vote, and by LogME (You et al. 2021). Held against the best that full trials of a
backbone reach on test: Kendall's tau-b (1 is the same order, 0 none, -1 the reverse), and what is
lost by taking the backbone that the ranking has first. With four backbones only 24 orders are
possible, so a single tau says little: even 1 has one chance in 24 by luck.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats
from tabulate import tabulate

from bench.analysis.accuracy_stats import accuracy, accuracy_difference
from bench.errors import BenchError
from bench.probes import ProbeResult
from bench.records import Freeze, Record, Stack
from bench.zoo import freezing
from benchmarks import swept, written
from benchmarks.swept import Sweep, Swept

FOLDERS = (
    Path("results/reference/small_zoo"),
    Path("results/reference/recipes/freeze-by-size"),
)
PROBED = tuple(
    Path(f"results/reference/choose-small_zoo-{name}")
    for name in ("cats_vs_dogs", "stanford_dogs", "tf_flowers")
)
"""Choices among the same candidates, whose probes tell of the backbones."""
OUTPUT = Path("results/reference/advice.json")

RANKINGS: dict[str, Callable[[ProbeResult], float | None]] = {
    "linear probe": lambda probe: float(np.mean(probe.linear)) if probe.linear else None,
    "kNN": lambda probe: probe.knn,
    "LogME": lambda probe: probe.logme,
}


class Reached(Record):
    """Test accuracy of a strategy, 0 to 1, with its 95% interval over pictures and seeds."""

    strategy: str
    accuracy: float
    low: float
    high: float
    seeds: int


class Unfrozen(Record):
    """One backbone on one dataset.

    Attributes:
        dataset, backbone: which.
        train: pictures.
        strategies: all that were tried.
        advised: what the advice takes; whether that was tried shows in ``strategies``.
        best: the highest.
        lost: accuracy of the best less that of the advised one, with its 95% interval, paired; None
            where the advised one was not tried.
        low, high: of that.
    """

    dataset: str
    backbone: str
    train: int
    strategies: tuple[Reached, ...]
    advised: str
    best: str
    lost: float | None
    low: float | None
    high: float | None


class Ranked(Record):
    """One ranking of the backbones on one dataset.

    Attributes:
        dataset, ranking: which.
        first: the backbone it has first.
        best: the one whose best trials are the best.
        scores: of each backbone, by the ranking.
        reached: the best test accuracy of each in full trials.
        tau: Kendall's tau-b; None where either has no order.
        lost: accuracy, by taking the first.
    """

    dataset: str
    ranking: str
    first: str
    best: str
    scores: dict[str, float]
    reached: dict[str, float]
    tau: float | None
    lost: float


class Report(Record):
    """Everything, and what it was worked out from. ``folders``: where the rows lie."""

    command: str
    stack: Stack
    machine: str
    folders: tuple[str, ...]
    unfrozen: tuple[Unfrozen, ...]
    ranked: tuple[Ranked, ...]
    missing: tuple[str, ...]


def report(folders: Sequence[Path]) -> Report:
    """Everything that the rows say.

    Args:
        folders: of results; those that are not there are left out and named.

    Raises:
        BenchError: none is there, or none holds a finished trial.
    """
    there = [f for f in folders if f.is_dir()]
    sweeps = swept.read(there, probed=sorted(p for p in PROBED if p.is_dir()))
    if not sweeps:
        raise BenchError(f"{', '.join(map(str, folders))}: expected finished trials; none is there")
    machine = sweeps[0].environment
    unprobed = [f"{s.name}: no probes" for s in sweeps if not s.probes]
    return Report(
        command="python -m benchmarks.advice",
        stack=sweeps[0].stack,
        machine=f"{machine.processor}, {machine.cores} cores" if machine else "",
        folders=tuple(f.name for f in there),
        unfrozen=tuple(unfrozen(s, b) for s in sweeps for b in s.backbones if len(s.of(b)) > 1),
        ranked=tuple(r for s in sweeps for r in rankings(s)),
        missing=(*(f"{f}: not there" for f in folders if f not in there), *unprobed),
    )


def unfrozen(sweep: Sweep, backbone: str) -> Unfrozen:
    """What each strategy reaches with a backbone, and what the advice loses.

    Args:
        sweep: of one dataset.
        backbone: one of its backbones.
    """
    tried = sweep.of(backbone)
    advised = freezing.resolve(Freeze(strategy="auto"), sweep.pictures.train).label
    best = max(tried, key=_mean)
    followed = next((c for c in tried if c.strategy == advised), None)
    effect = followed and accuracy_difference(followed.test, best.test)
    if followed is best:
        effect = None
    exact = 0.0 if followed is best else None
    return Unfrozen(
        dataset=sweep.name,
        backbone=backbone,
        train=sweep.pictures.train,
        strategies=tuple(_reached(c) for c in tried),
        advised=advised,
        best=best.strategy,
        lost=effect.estimate if effect else exact,
        low=effect.interval.low if effect else exact,
        high=effect.interval.high if effect else exact,
    )


def _mean(candidate: Swept) -> float:
    return float(candidate.test.mean())


def _reached(candidate: Swept) -> Reached:
    found = accuracy(candidate.test)
    return Reached(
        strategy=candidate.strategy,
        accuracy=found.value,
        low=found.interval.low,
        high=found.interval.high,
        seeds=found.repeats,
    )


def rankings(sweep: Sweep) -> Iterable[Ranked]:
    """The rankings of the backbones that were both probed and tried, where two were.

    Args:
        sweep: of one dataset.
    """
    for name, score in RANKINGS.items():
        scores = {
            probe.spec.backbone.name: value
            for probe in sweep.probes
            if (value := score(probe)) is not None and sweep.of(probe.spec.backbone.name)
        }
        if len(scores) > 1:
            yield ranked(
                sweep.name, name, scores, {b: max(map(_mean, sweep.of(b))) for b in scores}
            )


def ranked(
    dataset: str, ranking: str, scores: dict[str, float], reached: dict[str, float]
) -> Ranked:
    """One ranking against what full trials reach.

    Args:
        dataset, ranking: which.
        scores: of each backbone; higher is better.
        reached: by the same backbones.
    """
    order = list(scores)
    tau = float(stats.kendalltau([scores[b] for b in order], [reached[b] for b in order]).statistic)
    first, best = max(order, key=scores.__getitem__), max(order, key=reached.__getitem__)
    return Ranked(
        dataset=dataset,
        ranking=ranking,
        first=first,
        best=best,
        scores=scores,
        reached=reached,
        tau=None if np.isnan(tau) else tau,
        lost=reached[best] - reached[first],
    )


# --------------------------------------------------------------------------------------- in words


def document(found: Report, form: str = "github") -> str:
    """The tables, and what they were worked out from.

    Args:
        found: what came out.
        form: as tabulate calls it.
    """
    parts = [_unfrozen_table(found.unfrozen, form), _followed(found.unfrozen)]
    if found.ranked:
        parts += [_ranked_table(found.ranked, form), _averages(found.ranked)]
    parts += [f"Missing: {'; '.join(found.missing)}."] if found.missing else []
    where = f"On {found.stack.id}, {found.machine}."
    return "\n\n".join([*parts, where])


def _unfrozen_table(lines: Sequence[Unfrozen], form: str) -> str:
    strategies = list(dict.fromkeys(s.strategy for line in lines for s in line.strategies))
    cells = []
    for line in lines:
        by_name = {s.strategy: _accuracy(s) for s in line.strategies}
        found = [by_name.get(s, "–") for s in strategies]
        cells.append(
            [line.dataset, f"{line.train:,}", line.backbone, *found, line.advised, _lost(line)]
        )
    titles = ("dataset", "train", "backbone", *strategies, "advised", "lost by following it")
    return tabulate(cells, titles, tablefmt=form, disable_numparse=True)


def _accuracy(found: Reached) -> str:
    return f"{100 * found.accuracy:.1f} ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _lost(line: Unfrozen) -> str:
    if line.lost is None or line.low is None or line.high is None:
        return "was not tried"
    if line.advised == line.best:
        return "nothing: it is the best"
    values = " to ".join(f"{100 * v:+.1f}" for v in (line.low, line.high))
    return f"{100 * line.lost:.1f} points ({values}) to {line.best}"


def _followed(lines: Sequence[Unfrozen]) -> str:
    known = [line for line in lines if line.lost is not None]
    if not known:
        return "Nowhere was the advised strategy tried."
    told = sum(line.low is not None and line.low > 0 for line in known)
    best = sum(line.advised == line.best for line in known)
    mean = float(np.mean([line.lost for line in known if line.lost is not None]))
    return (
        f"Following the advice is best in {best} of {len(known)} cases, told to be worse than the "
        f"best in {told}, and loses {100 * mean:.1f} points on average."
    )


def _ranked_table(lines: Sequence[Ranked], form: str) -> str:
    cells = [
        [
            r.dataset,
            r.ranking,
            r.first,
            r.best,
            "–" if r.tau is None else f"{r.tau:+.2f}",
            f"{100 * r.lost:.1f}",
        ]
        for r in lines
    ]
    titles = ("dataset", "ranking", "its first", "best in full", "Kendall's tau", "points lost")
    return tabulate(cells, titles, tablefmt=form, disable_numparse=True)


def _averages(lines: Sequence[Ranked]) -> str:
    said = []
    for name in dict.fromkeys(r.ranking for r in lines):
        own = [r for r in lines if r.ranking == name]
        taus = [r.tau for r in own if r.tau is not None]
        tau = f"tau {np.mean(taus):+.2f}, " if taus else ""
        lost = 100 * float(np.mean([r.lost for r in own]))
        said.append(f"{name}: {tau}{lost:.1f} points lost")
    return f"On average over datasets: {'; '.join(said)}."


def main(arguments: Sequence[str] | None = None) -> None:
    """Work it out and write it, or show what was written."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=list(FOLDERS))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, metavar="FILE")
    parser.add_argument("--format", default="github", choices=("github", "simple"))
    asked = parser.parse_args(arguments)
    if asked.show:
        found = written.read(Report, asked.show, "a file of benchmarks.advice")
    else:
        found = report(asked.folders)
        asked.output.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(document(found, asked.format))


if __name__ == "__main__":
    main()
