"""The cases of the speed comparison, and what each side is told to do for one.

Sizes are chosen for two CPU cores (see `benchmarks.speed` for what the whole costs); a ratio holds
for its case's sizes and the machine it was measured on.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal, Self

from bench.records import Augmentation, Freeze, Phase, Record
from benchmarks import plain

Side = Literal["bench", "plain", "literal"]
"""``literal`` is Bench again, with no work shared between trials."""

BATCH_NORM = "affine"
"""What the tutorials mean by ``training=False``: scale and shift of the unfrozen BatchNorm layers
train, so that both sides train the same number of weights."""

HEAD_ONLY = Freeze(strategy="head_only")


class Case(Record):
    """One job for both sides.

    Attributes:
        name: a letter.
        backbone: a row of the backbone table.
        weights: ``imagenet`` or ``random``.
        dataset: a row of the dataset table that TensorFlow Datasets has.
        image_size: pixels of each side.
        train, val, test: pictures.
        freezes: the strategies of phase 2.
        seeds: how many, from 0.
        phase1, phase2: epochs and learning rates.
        augmentation: random layers.
        batch_size: pictures of a step.
        order: which side runs when, each in a fresh process.
        target: how many times faster than plain Keras Bench should be.
        over: a case whose ratio this one's is divided by before it meets the target.
    """

    name: str
    backbone: str = "MobileNetV2"
    weights: str = "imagenet"
    dataset: str
    image_size: int = 160
    train: int
    val: int
    test: int
    freezes: tuple[Freeze, ...]
    seeds: int = 1
    phase1: Phase
    phase2: Phase
    augmentation: tuple[Augmentation, ...] = ()
    batch_size: int = 32
    order: tuple[Side, ...]
    target: float
    over: str | None = None

    @property
    def job(self) -> str:
        """One line: what both sides do."""
        strategies, epochs = self.freezes[0].label, f"{self.phase1.epochs}"
        if self.freezes != (HEAD_ONLY,):
            epochs += f" + {self.phase2.epochs}"
        if len(self.freezes) > 1:
            strategies = f"{len(self.freezes)} strategies"
        parts = [
            f"{self.backbone}, {strategies}, {self.seeds} {'seeds' if self.seeds > 1 else 'seed'}",
            f"{self.train:,} pictures of {self.image_size} px",
            f"{epochs} epochs",
            *(["augmented"] if self.augmentation else []),
        ]
        return ", ".join(parts)

    def small(self) -> Self:
        """The same shape of a case in about a minute: does the harness work?"""
        phases = {
            "phase1": self.phase1.model_copy(update={"epochs": 1}),
            "phase2": self.phase2.model_copy(update={"epochs": 1}),
        }
        sizes = {"image_size": 64, "train": 32, "val": 16, "test": 16}
        order = ("bench", "plain")
        return self.model_copy(update={**phases, **sizes, "seeds": 1, "order": order})


class Prepared(Record):
    """What is worked out once for a case, before any clock runs.

    Attributes:
        weights: the backbone's weights as a file for the plain script; None for random ones.
        rescale: whether the backbone wants pixels in [-1, 1].
        first_layers: index of the first layer that trains in phase 2, by the strategy's label;
            None for the head alone.
    """

    weights: str | None
    rescale: bool
    first_layers: dict[str, int | None]


def _phases(first: int, second: int) -> dict[str, Phase]:
    return {
        "phase1": Phase(epochs=first, learning_rate=1e-3),
        "phase2": Phase(epochs=second, learning_rate=1e-5),
    }


LAYER_100 = Freeze(strategy="from_layer", amount=100)
FOUR_STRATEGIES = (
    HEAD_ONLY,
    Freeze(strategy="top_blocks", amount=1),
    Freeze(strategy="top_blocks", amount=2),
    LAYER_100,
)
LIGHT = (Augmentation(kind="flip", amount="horizontal"), Augmentation(kind="rotation", amount=0.1))

_SWEEP = Case(
    name="b",
    dataset="cats_vs_dogs",
    train=280,
    val=60,
    test=60,
    freezes=FOUR_STRATEGIES,
    seeds=3,
    **_phases(4, 4),
    order=("bench", "plain", "bench"),
    target=5.0,
)

_ALL = (
    Case(
        name="a",
        dataset="tf_flowers",
        train=1_600,
        val=200,
        test=200,
        freezes=(HEAD_ONLY,),
        seeds=5,
        **_phases(10, 1),
        order=("bench", "plain", "bench"),
        target=20.0,
    ),
    _SWEEP,
    Case(
        name="c",
        dataset="cats_vs_dogs",
        train=500,
        val=60,
        test=60,
        freezes=(LAYER_100,),
        **_phases(5, 5),
        order=("bench", "plain") * 3,
        target=1.5,
    ),
    _SWEEP.model_copy(
        update={
            "name": "d",
            "augmentation": LIGHT,
            "order": ("bench", "plain"),
            "target": 2.5,
        }
    ),
    Case(
        name="e",
        backbone="ConvNeXtTiny",
        weights="random",
        dataset="cats_vs_dogs",
        image_size=96,
        train=320,
        val=48,
        test=48,
        freezes=(Freeze(strategy="top_blocks", amount=1),),
        **_phases(4, 4),
        order=("bench", "plain", "bench"),
        target=6.0,
        over="c",
    ),
)

CASES: Mapping[str, Case] = {case.name: case for case in _ALL}


# ---------------------------------------------------------------------- what each side is told


def suite_text(case: Case) -> str:
    """The suite file (TOML) that has Bench do a case. Strings and numbers are as in JSON."""
    freezes = ", ".join(_freeze(freeze) for freeze in case.freezes)
    layers = ", ".join(f"{{ {a.kind} = {json.dumps(a.amount)} }}" for a in case.augmentation)
    return f"""\
description = {json.dumps(case.job)}

[data]
image_size = {case.image_size}
train_examples = {case.train}
val_examples = {case.val}
test_examples = {case.test}
augmentation = [{layers}]

[phase1]
epochs = {case.phase1.epochs}
learning_rate = {case.phase1.learning_rate!r}

[phase2]
epochs = {case.phase2.epochs}
learning_rate = {case.phase2.learning_rate!r}
batch_norm = "{BATCH_NORM}"

[execution]
batch_size = {case.batch_size}

[[matrix]]
backbones = [{json.dumps(case.backbone)}]
datasets = [{json.dumps(case.dataset)}]
freezes = [{freezes}]
heads = ["dropout"]
seeds = {list(range(case.seeds))}
weights = {json.dumps(case.weights)}
"""


def _freeze(freeze: Freeze) -> str:
    if freeze.amount is None:
        return json.dumps(freeze.strategy)
    return f"{{ {freeze.strategy} = {json.dumps(freeze.amount)} }}"


def plain_config(case: Case, prepared: Prepared) -> plain.Config:
    """What the plain script is told."""
    amounts = {a.kind: a.amount for a in case.augmentation}
    flip, rotation = amounts.get("flip"), amounts.get("rotation")
    return plain.Config(
        dataset=case.dataset,
        train=case.train,
        val=case.val,
        test=case.test,
        image_size=case.image_size,
        batch_size=case.batch_size,
        backbone=case.backbone,
        weights=prepared.weights,
        rescale=prepared.rescale,
        flip=None if flip is None else str(flip),
        rotation=None if rotation is None else float(rotation),
        phase1=(case.phase1.epochs, case.phase1.learning_rate),
        phase2=(case.phase2.epochs, case.phase2.learning_rate),
        strategies=prepared.first_layers,
        seeds=list(range(case.seeds)),
    )


def plain_text(case: Case, prepared: Prepared) -> str:
    """The plain script's configuration file (JSON)."""
    return json.dumps(asdict(plain_config(case, prepared)), indent=1)
