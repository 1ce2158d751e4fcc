"""A sweep of 10,000 trials, and what each of its jobs takes, drawn from what real rows took.

Recorded on two processor cores (results/reference): pictures/s of each backbone's forward pass at
224 px (zoo_cost); what training takes over that pass: all layers and from scratch by measurements
of cost (measure, real_small), the top fifth and the top half by trials that shared a frontier
(small_zoo); heads, decoding, and what a trial takes beside its phases (small_zoo); and how trials
that differ in nothing but the seed differ in seconds (small_zoo), from which every job's noise is
drawn. A backbone of the table without a row: the pace of its family's member of nearest size, in
proportion to parameters. A GPU is taken to be so many times as fast at passes and training.
"""

import random
import statistics
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from bench import steps
from bench.costs import CostResult, CostSpec
from bench.records import DatasetUsed, PhaseResult, TrialResult, TrialSpec
from bench.running import store
from bench.running.jobs import Job
from bench.running.messages import Share
from bench.suite import Suite
from bench.tasks import Row
from bench.zoo.backbones import BACKBONES

REAL = Path("results/reference")
SIZE = 224
STRATEGIES = ("head_only", "top_fraction=0.2", "top_fraction=0.5", "all", "scratch")
SEEDS = 5
PROCESS_SECONDS = 12.0
"""Assumed, as `bench.analysis.pace` does: a worker's start, its framework's import included."""
DATASETS: Mapping[str, tuple[int, int, int]] = {
    "beans": (1_034, 133, 128),
    "uc_merced": (1_680, 210, 210),
    "dtd": (1_880, 1_880, 1_880),
    "oxford_flowers102": (1_020, 1_020, 6_149),
    "tf_flowers": (2_936, 367, 367),
    "caltech101": (2_753, 306, 6_084),
    "oxford_iiit_pet": (3_312, 368, 3_669),
    "cars196": (7_330, 814, 8_041),
    "stanford_dogs": (10_800, 1_200, 8_580),
    "cats_vs_dogs": (18_610, 2_326, 2_326),
}
"""Names of TensorFlow Datasets, and pictures in train, val and test."""
MOST_TRAIN = 2_000
"""Train pictures that a trial of the sweep learns from, at the most."""
SHAPES = {100: (2, 2), 200: (4, 2), 300: (4, 3), 1_000: (8, 5), 3_000: (15, 8), 10_000: (40, 10)}
"""Backbones and datasets of a sweep of so many trials."""
SUITE = """
description = "a sweep: {backbones} backbones, {datasets} datasets, 5 strategies, 5 seeds"
data = {{ image_size = 224, train_examples = {most} }}
phase1 = {{ epochs = 10, learning_rate = 1e-3 }}
phase2 = {{ epochs = 10, learning_rate = 1e-5 }}
{tables}
[[matrix]]
backbones = [{backbone_names}]
datasets = [{dataset_names}]
freezes = ["head_only", {{ top_fraction = 0.2 }}, {{ top_fraction = 0.5 }}, "all", "scratch"]
seeds = [0, 1, 2, 3, 4]
"""


def pictures_of(spec: TrialSpec) -> tuple[int, int, int]:
    """In train, val and test, as a trial of the sweep sees them."""
    train, val, test = DATASETS[spec.data.dataset.tfds or ""]
    return min(train, MOST_TRAIN), val, test


def suite_text(trials: int) -> str:
    """A suite file of so many trials, a key of `SHAPES`; small and large backbones and datasets."""
    backbones, datasets = SHAPES[trials]
    names, sets = _spread(list(BACKBONES), backbones), _spread(list(DATASETS), datasets)
    tables = "\n".join(f'[[datasets]]\nname = "sim_{n}"\ntfds = "{n}"' for n in sets)
    return SUITE.format(
        most=MOST_TRAIN,
        backbones=backbones,
        datasets=datasets,
        tables=tables,
        backbone_names=", ".join(f'"{n}"' for n in names),
        dataset_names=", ".join(f'"sim_{n}"' for n in sets),
    )


def _spread(names: list[str], count: int) -> list[str]:
    """So many of them, evenly, whatever their number."""
    return [names[i * len(names) // count] for i in range(count)]


# ------------------------------------------------------------------------------------- recorded


class Recorded(NamedTuple):
    """What real rows tell, on two processor cores.

    Attributes:
        paces: seconds of a picture's forward pass at 224 px, by backbone.
        factors: forward passes that a train picture takes in an epoch of phase 2, by strategy.
        rests: seconds of a trial beside its phases, without a phase 2 (False) and with one.
        heads: seconds of a stack of heads, for each train picture and epoch.
        decoding: seconds for each picture.
        loading: seconds to load a backbone and trace its passes.
        noise: of equal trials, seconds over their mean.
    """

    paces: Mapping[str, float]
    factors: Mapping[str, tuple[float, ...]]
    rests: Mapping[bool, tuple[float, ...]]
    heads: tuple[float, ...]
    decoding: tuple[float, ...]
    loading: tuple[float, ...]
    noise: tuple[float, ...]


def recorded(results: Path = REAL) -> Recorded:
    """Read the rows."""
    zoo, here = store.read(results / "small_zoo").rows, dict(_forward(results / "real_small", 160))
    paces = dict(_forward(results / "zoo_cost", SIZE))
    factors = {label: tuple(_over(zoo, label, here)) for label in STRATEGIES[1:3]}
    trained = [c for name in ("measure", "real_small") for c in _costs(results / name)]
    factors |= {label: tuple(_dearer(trained, label)) for label in STRATEGIES[3:]}
    first = [r for r in zoo if r.phase1 and r.phase1.seconds > 0.2 and r.dataset]
    later = [r for r in zoo if r.phase1 and r.phase1.seconds < 0.2 and r.seconds > 0]
    return Recorded(
        paces=paces,
        factors=factors,
        rests={p: tuple(_rest(r) for r in later if bool(r.phase2) == p) for p in (False, True)},
        heads=tuple(_seconds(r.phase1) / (_epochs(r.phase1) * _train(r)) for r in first),
        decoding=tuple(r.pictures_seconds / _pictures(r) for r in zoo if r.pictures_seconds > 1),
        loading=tuple(
            _rest(r) - _pictures(r) * here[r.spec.backbone.name]
            for r in first
            if r.spec.backbone.name in here
        ),
        noise=tuple(_residuals(zoo)),
    )


def _costs(folder: Path) -> list[CostResult]:
    """Measurements out of the box, with TensorFlow."""
    found = store.read(folder).costs
    return [c for c in found if c.spec.mode == "default" and c.stack.backend == "tensorflow"]


def _pace(cost: CostResult) -> float:
    assert cost.end_to_end is not None
    return 1 / cost.end_to_end.median


def _forward(folder: Path, size: int) -> Iterator[tuple[str, float]]:
    for cost in _costs(folder):
        if cost.spec.workload == "inference" and cost.spec.image_size == size:
            yield cost.spec.backbone.name, _pace(cost)


def _dearer(costs: list[CostResult], strategy: str) -> Iterator[float]:
    """Seconds of a training step over those of a forward pass, of the same backbone."""
    passes = {_case(c): _pace(c) for c in costs if c.spec.workload == "inference"}
    for cost in costs:
        if cost.spec.freeze and cost.spec.freeze.label == strategy:
            yield _pace(cost) / passes[_case(cost)]


def _case(cost: CostResult) -> Hashable:
    return cost.spec.backbone.name, cost.spec.image_size, cost.spec.batch_size


def _over(
    rows: tuple[TrialResult, ...], strategy: str, paces: Mapping[str, float]
) -> Iterator[float]:
    """Medians over the seeds of a trial; the first of them traces for the others."""
    found: dict[TrialSpec, list[float]] = {}
    for row in rows:
        pace = paces.get(row.spec.backbone.name)
        if pace and row.phase2 and row.spec.freeze.label == strategy:
            passes = row.phase2.seconds / (_epochs(row.phase2) * _train(row)) / pace
            found.setdefault(row.spec.seedless, []).append(passes)
    yield from map(statistics.median, found.values())


def _residuals(rows: tuple[TrialResult, ...]) -> Iterator[float]:
    cells: dict[TrialSpec, list[float]] = {}
    for row in rows:
        if row.phase2:
            cells.setdefault(row.spec.seedless, []).append(row.phase2.seconds)
    for seconds in cells.values():
        yield from (s / statistics.fmean(seconds) for s in seconds)


def _rest(row: TrialResult) -> float:
    return max(row.seconds - _seconds(row.phase1) - _seconds(row.phase2), 0.0)


def _seconds(phase: PhaseResult | None) -> float:
    return phase.seconds if phase else 0.0


def _epochs(phase: PhaseResult | None) -> int:
    return len(phase.epochs) if phase else 0


def _train(row: TrialResult) -> int:
    return row.dataset.train if row.dataset else 0


def _pictures(row: TrialResult) -> int:
    return row.dataset.train + row.dataset.val + row.dataset.test if row.dataset else 0


# ---------------------------------------------------------------------------------------- drawn


@dataclass(frozen=True)
class World:
    """What every job takes. Equal worlds, equal seconds, in whatever order they are asked for.

    Attributes:
        told: by real rows.
        seed: of the noise.
        faster: how many times as fast as recorded a GPU is at passes and training.
        noisy: else every job takes the mean of what it could.
    """

    told: Recorded
    seed: int = 0
    faster: float = 1.0
    noisy: bool = True

    def seconds(self, job: Job) -> float:
        """Of a job whose worker is ready for it."""
        work, draw = job.work, random.Random(f"{self.seed} {job.key}")
        spec = work.spec if isinstance(work, Share) else work
        assert isinstance(spec, TrialSpec)
        splits = pictures_of(spec)
        noise = self._one(draw, self.told.noise)
        if job.stage == "images":
            whole = sum(DATASETS[spec.data.dataset.tfds or ""])
            return noise * whole * self._one(draw, self.told.decoding)
        if not isinstance(work, Share):
            return self._trial(spec, splits[0], draw, noise)
        if work.stage == "heads":
            assert spec.phase1 is not None
            return noise * splits[0] * spec.phase1.epochs * self._one(draw, self.told.heads)
        pictures = splits[("train", "val", "test").index(work.split or "")]
        return noise * pictures * self.pace(spec.backbone.name) / self.faster

    def setup(self, before: str | None, job: Job) -> float:
        """Of a worker that held a backbone (None: nothing) and begins on another ground."""
        work, draw = job.work, random.Random(f"{self.seed} setup {job.key}")
        if job.stage == "images":
            return 0.0
        spec = work.spec if isinstance(work, Share) else work
        assert isinstance(spec, TrialSpec)
        start = PROCESS_SECONDS if spec.backbone.name != before else 0.0
        return start + self._one(draw, self.told.loading)

    def pace(self, backbone: str) -> float:
        """Recorded seconds of a picture's forward pass; of a backbone without a row, by the
        nearest of its family and parameters."""
        return self._paces[backbone]

    @cached_property
    def _paces(self) -> Mapping[str, float]:
        known, found = self.told.paces, {}
        for name, row in BACKBONES.items():
            family = [BACKBONES[n] for n in known if BACKBONES[n].family == row.family]
            near = min(family, key=lambda r: abs(r.parameters - row.parameters))
            found[name] = known[near.name] * row.parameters / near.parameters
        return found

    def _trial(self, spec: TrialSpec, train: int, draw: random.Random, noise: float) -> float:
        rest = self._one(draw, self.told.rests[spec.phase2 is not None])
        if spec.phase2 is None:
            return rest
        # What a strategy takes over a pass is the backbone's, the same for all its trials.
        told = self.told.factors[spec.freeze.label]
        factor = random.Random(f"{spec.backbone.name} {spec.freeze.label}").choice(told)
        pictures = train * spec.phase2.epochs
        return rest + noise * factor * pictures * self.pace(spec.backbone.name) / self.faster

    def _one(self, draw: random.Random, drawn_from: tuple[float, ...]) -> float:
        return draw.choice(drawn_from) if self.noisy else statistics.fmean(drawn_from)


# --------------------------------------------------------------------------------- earlier rows


def row_of(spec: TrialSpec, seconds: float, source: TrialResult) -> TrialResult:
    """A row as if this trial had taken so long, its shared steps done by others."""
    train, val, test = pictures_of(spec)
    used = DatasetUsed(
        fingerprint="0" * 64, class_names=("a", "b"), train=train, val=val, test=test
    )
    shared = steps.shares_phase1(spec)

    def phase(took: float, epochs: int) -> PhaseResult:
        assert source.phase2 is not None
        few = (source.phase2.epochs * epochs)[:epochs]
        return source.phase2.model_copy(update={"seconds": took, "epochs": few})

    tuned = max(seconds - 1.0, 0.0) if spec.phase2 else 0.0
    return source.model_copy(
        update={
            "key": spec.key,
            "spec": spec,
            "seconds": seconds,
            "pictures_seconds": 0.0,
            "phase1": phase(0.0, spec.phase1.epochs) if spec.phase1 else None,
            "phase2": phase(tuned, spec.phase2.epochs) if spec.phase2 else None,
            "dataset": used,
            "freeze_resolved": spec.freeze,
            "way": "shared" if shared else "literal",
            "predictions": None,
        }
    )


def source(results: Path = REAL) -> TrialResult:
    """A real row of two phases, whose shape every simulated row has."""
    rows = store.read(results / "small_zoo").rows
    return next(r for r in rows if r.phase1 and r.phase2 and r.dataset)


def measurements(suite: Suite, world: World) -> Iterator[Row]:
    """A measurement of each backbone's inference, as `bench measure` makes before a sweep."""
    like = _costs(REAL / "zoo_cost")[0]
    for backbone in dict.fromkeys(t.backbone for t in suite.trials):
        spec = CostSpec(backbone=backbone, image_size=SIZE, workload="inference")
        noise = random.Random(f"{world.seed} {backbone.name}").choice(world.told.noise)
        rate = like.end_to_end and like.end_to_end.model_copy(
            update={"median": world.faster / world.pace(backbone.name) / noise}
        )
        yield like.model_copy(update={"key": spec.key, "spec": spec, "end_to_end": rate})
