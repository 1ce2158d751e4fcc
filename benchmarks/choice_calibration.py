"""Do the probabilities that `bench choose` states come true?

    python -m benchmarks.choice_calibration [FOLDER ...]   writes choice_calibration.json, prints it
    python -m benchmarks.choice_calibration --show FILE    prints tables from that file

It takes the stored trials of a full sweep (four backbones, three strategies, five seeds, three
datasets: suites/small_zoo.toml), gives `bench.analysis.belief.believe` little of it, and holds what
is then stated against the rest. Nothing is trained. In every world, some of the candidates are
asked about, two at least.

**Resampled.** The stored answers on val and test together are taken for the population, and the
mean over all of it for the truth. A world draws as many pictures as val has and one to three seeds,
both with replacement, for all candidates the same. With "half tried", the others have only a probe:
what their backbone's head alone answers on half as many other pictures, one draw of three seeds.
Worlds are independent draws, so the intervals of the observed shares hold for this population. What
it cannot show: whether five seeds stand for all seeds (their spread is a tenth too small, on
average, and a rare bad training may not be among them), or these datasets for others.

**Apart.** Nothing is used twice: probabilities are stated from the real val answers with one to
three seeds, and the outcome is who scores best on test with the other seeds. The noise of that
score (test pictures and few seeds) is added to what is drawn, because even a true best often does
not score best; how much that takes away is told beside. What it cannot show: anything finely. There
is one val and one test set for each dataset, so all worlds of a dataset share their luck, and the
intervals are far too narrow: read them as no more than the number of worlds.

What is assumed in the belief was settled on simulated answers and on other reference results, with
tf_flowers to look at; so the other datasets are told apart as held out. Not quite: this study had
been run on the trials of the first two backbones, all datasets, before the parts were last made
smaller (by a third or so, for the sake of simulated candidates that hardly differ).

A dataset is one truth. Where all candidates are nearly as good as each other, whoever has to state
who is best will be wrong more often than stated, and where they are far apart, less often: stated
probabilities can come true on average over tasks like those assumed, and three are no average.
That the pick is close is the statement to rely on.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis import belief
from bench.analysis.belief import Seen
from bench.analysis.stats import wilson
from bench.errors import BenchError
from bench.marks import Correct
from benchmarks import swept
from benchmarks.choice_calibrated import Bin, Checked, Reliability, Report, document, read
from benchmarks.swept import Sweep, Swept

FOLDER = Path("results/reference/small_zoo")
OUTPUT = Path("results/reference/choice_calibration.json")
SEEDS, WORLDS, DRAWS, MARGIN = 5, 100, 2000, 0.005
TUNED_ON = ("tf_flowers",)
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
CONSTANTS = (
    "SPREAD",
    "SPREAD_APART",
    "SPREADS_APART",
    "SPREAD_LEAST",
    "SPREAD_MOST",
    "TASK",
    "TASK_APART",
    "PROBES",
    "PROBES_APART",
    "BACKBONES",
    "STRATEGIES",
    "OWN",
    "PROBE",
    "SIZES_APART",
    "ALIKE",
)

Floats = NDArray[np.float64]
Made = Callable[[Sweep, np.random.Generator], "World"]


@dataclass(frozen=True, eq=False)
class World:
    """What was stated of some candidates, and how it is.

    Attributes:
        stated: of each, that it is best.
        best: of each, whether it is; those that tie share.
        pick: index of it.
        close: stated of the pick.
        near: whether it is that close.
        inside: of each, whether the interval holds the truth.
        before: stated of the pick's truth, where ``stated`` is of its score.
    """

    stated: Floats
    best: Floats
    pick: int
    close: float
    near: bool
    inside: tuple[bool, ...] = ()
    before: float | None = None


# -------------------------------------------------------------------------------------- the worlds


def resampled(sweep: Sweep, rng: np.random.Generator, seeds: int, tried: float = 1.0) -> World:
    """One world drawn from all stored answers.

    Args:
        sweep: of one dataset.
        rng: random numbers.
        seeds: of every candidate that was tried.
        tried: share of the candidates that were; the others have a probe.
    """
    asked = _some(sweep, rng)
    whole = {c.label: np.concatenate([_val(c), c.test], axis=1) for c in sweep.candidates}
    first = whole[asked[0].label]
    shown = rng.integers(first.shape[1], size=sweep.pictures.val)
    others = rng.integers(first.shape[1], size=sweep.pictures.val // 2)
    drawn = rng.integers(len(first), size=seeds)
    probing = rng.integers(len(first), size=3)
    done = rng.permutation(len(asked)) < max(round(tried * len(asked)), 1)
    heads = {c.backbone: whole[c.label] for c in sweep.candidates if c.strategy == "head_only"}
    seen = [
        Seen(
            c.backbone,
            c.strategy,
            whole[c.label][np.ix_(drawn, shown)] if there else None,
            heads[c.backbone][np.ix_(probing, others)]
            if tried < 1 and c.backbone in heads
            else None,
        )
        for c, there in zip(asked, done, strict=True)
    ]
    truth = np.array([whole[c.label].mean() for c in asked])
    draws = belief.believe(seen, DRAWS, int(rng.integers(2**31)))
    spans = belief.interval(draws)
    inside = tuple(
        low <= true <= high for (_, low, high), true in zip(spans, truth.tolist(), strict=True)
    )
    return _world(draws, truth, done, inside)


def apart(sweep: Sweep, rng: np.random.Generator, seeds: int) -> World:
    """Stated from val and some seeds, and held against test and the others.

    Args:
        sweep: of one dataset.
        rng: random numbers.
        seeds: that are shown of every candidate.
    """
    asked = _some(sweep, rng)
    order = rng.permutation(SEEDS)
    seen = [Seen(c.backbone, c.strategy, _val(c)[order[:seeds]], None) for c in asked]
    scored = np.stack([c.test[order[seeds:]] for c in asked])
    draws = belief.believe(seen, DRAWS, int(rng.integers(2**31)))
    noise = rng.multivariate_normal(np.zeros(len(asked)), noise_of(scored), DRAWS)
    world = _world(draws + noise, scored.mean(axis=(1, 2)), np.ones(len(asked), bool))
    return World(
        world.stated,
        world.best,
        world.pick,
        world.close,
        world.near,
        before=float(belief.best(draws)[world.pick]),
    )


def noise_of(answers: Correct) -> Floats:
    """Covariance of mean scores, from sampling pictures and seeds.

    The spread over seeds is taken to be in common, as a share of accuracy x (1 - accuracy).

    Args:
        answers: (candidates, seeds, pictures), two seeds at least.
    """
    cells = answers.astype(np.float64)
    count, seeds, pictures = cells.shape
    means = cells.mean(axis=1)
    centred = means - means.mean(axis=1, keepdims=True)
    by_seed = cells.mean(axis=2)
    alone = cells - means[:, None] - by_seed[:, :, None] + cells.mean(axis=(1, 2), keepdims=True)
    residual = (alone**2).sum(axis=(1, 2)) / ((seeds - 1) * pictures) / pictures
    each = cells.mean(axis=(1, 2)) * (1 - cells.mean(axis=(1, 2))) + 1 / pictures
    extra = max(float(((by_seed.var(axis=1, ddof=1) - residual) / each).mean()), 0.0)
    own = np.diag(extra * each / seeds)
    return np.asarray(centred @ centred.T / pictures**2 + own + 1e-12 * np.eye(count))


def _some(sweep: Sweep, rng: np.random.Generator) -> list[Swept]:
    count = int(rng.integers(2, len(sweep.candidates) + 1))
    return [sweep.candidates[i] for i in rng.permutation(len(sweep.candidates))[:count]]


def _val(candidate: Swept) -> Correct:
    if candidate.val is None:
        raise BenchError(f"{candidate.label}: its rows do not tell answers on val")
    return candidate.val


def _world(
    draws: Floats, truth: Floats, done: NDArray[np.bool_], inside: tuple[bool, ...] = ()
) -> World:
    stated = belief.best(draws)
    first = truth == truth.max()
    pick = int(np.argmax(np.where(done, stated, -1)))
    return World(
        stated,
        first / first.sum(),
        pick,
        float(belief.close(draws, MARGIN)[pick]),
        bool(truth[pick] >= truth.max() - MARGIN),
        inside,
    )


# ---------------------------------------------------------------------------------- what came true

KINDS: tuple[tuple[str, str, Made], ...] = (
    ("resampled", "1 seed", lambda sweep, rng: resampled(sweep, rng, 1)),
    ("resampled", "2 seeds", lambda sweep, rng: resampled(sweep, rng, 2)),
    ("resampled", "3 seeds", lambda sweep, rng: resampled(sweep, rng, 3)),
    ("resampled", "half tried, 2 seeds", lambda sweep, rng: resampled(sweep, rng, 2, 0.5)),
    ("apart", "1 seed", lambda sweep, rng: apart(sweep, rng, 1)),
    ("apart", "2 seeds", lambda sweep, rng: apart(sweep, rng, 2)),
    ("apart", "3 seeds", lambda sweep, rng: apart(sweep, rng, 3)),
)


def report(folders: Sequence[Path], worlds: int) -> Report:
    """Everything that the rows say.

    Args:
        folders: of results.
        worlds: of each kind and dataset.

    Raises:
        BenchError: no dataset has two candidates with `SEEDS` seeds.
    """
    sweeps = [s for s in swept.read(folders, SEEDS) if len(s.candidates) > 1]
    if not sweeps:
        raise BenchError(f"no sweep: expected two candidates with {SEEDS} seeds on one dataset")
    made = {
        (way, told, sweep.name): _worlds(make, sweep, worlds, (i, j))
        for i, (way, told, make) in enumerate(KINDS)
        for j, sweep in enumerate(sweeps)
    }
    machine = sweeps[0].environment
    return Report(
        command="python -m benchmarks.choice_calibration",
        stack=sweeps[0].stack,
        machine=f"{machine.processor}, {machine.cores} cores" if machine else "",
        candidates={s.name: len(s.candidates) for s in sweeps},
        pictures={s.name: (s.pictures.val, s.pictures.test) for s in sweeps},
        worlds=worlds,
        draws=DRAWS,
        margin=MARGIN,
        assumed={name: float(getattr(belief, name)) for name in CONSTANTS},
        checked=tuple(_checked(made, [s.name for s in sweeps])),
    )


def _worlds(make: Made, sweep: Sweep, worlds: int, number: tuple[int, int]) -> list[World]:
    rng = np.random.default_rng(number)
    return [make(sweep, rng) for _ in range(worlds)]


def _checked(
    made: dict[tuple[str, str, str], list[World]], names: Sequence[str]
) -> Iterable[Checked]:
    """Each kind on each dataset; then all kinds of a way together, tuning and held out."""
    for (way, told, name), worlds in made.items():
        yield _of_worlds(way, name, told, worlds)
    for way in dict.fromkeys(way for way, _, _ in KINDS):
        for on in ("tuning", "held out"):
            among = [n for n in names if (n in TUNED_ON) == (on == "tuning")]
            worlds = [
                world
                for (of, _, name), found in made.items()
                for world in found
                if of == way and name in among
            ]
            if worlds:
                yield _of_worlds(way, on, "together", worlds)


def _of_worlds(way: str, on: str, told: str, worlds: Sequence[World]) -> Checked:
    inside = [i for w in worlds for i in w.inside]
    before = [w.before for w in worlds if w.before is not None]
    chance = np.array([1 / len(w.stated) for w in worlds])
    each = np.repeat(chance, [len(w.stated) for w in worlds])
    return Checked(
        way=way,
        on=on,
        told=told,
        pick=reliability(
            np.array([w.stated[w.pick] for w in worlds]),
            np.array([w.best[w.pick] for w in worlds]),
            chance,
        ),
        each=reliability(
            np.concatenate([w.stated for w in worlds]),
            np.concatenate([w.best for w in worlds]),
            each,
        ),
        close=reliability(
            np.array([w.close for w in worlds]), np.array([float(w.near) for w in worlds]), chance
        ),
        before=float(np.mean(before)) if before else None,
        holds=float(np.mean(inside)) if inside else None,
    )


def reliability(stated: Floats, came: Floats, chance: Floats) -> Reliability:
    """Statements held against what came true.

    Args:
        stated: (statements,) probabilities.
        came: (statements,) 1 where it is so, 0 where not, a share where several are best.
        chance: (statements,) what one who knows nothing would state.
    """
    at = np.clip(np.searchsorted(BINS, stated, side="right") - 1, 0, len(BINS) - 2)
    bins = []
    for i in np.unique(at):
        here = at == i
        count, right = int(here.sum()), float(came[here].sum())
        span = wilson(right, count)
        bins.append(
            Bin(
                stated=float(stated[here].mean()),
                observed=right / count,
                low=span.low,
                high=span.high,
                count=count,
            )
        )
    return Reliability(
        bins=tuple(bins),
        stated=float(stated.mean()),
        observed=float(came.mean()),
        brier=float(((stated - came) ** 2).mean()),
        uninformed=float(((chance - came) ** 2).mean()),
        error=sum(b.count * abs(b.stated - b.observed) for b in bins) / len(stated),
        count=len(stated),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Work it out and write it, or show what was written."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[FOLDER])
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", type=Path, metavar="FILE")
    parser.add_argument("--format", default="github", choices=("github", "simple"))
    asked = parser.parse_args(arguments)
    if asked.show:
        found = read(asked.show)
    else:
        found = report(asked.folders, asked.worlds)
        asked.output.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(document(found, asked.format))


if __name__ == "__main__":
    main()
