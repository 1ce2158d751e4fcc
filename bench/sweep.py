"""A sweep over candidates for one dataset, as a suite and as a question to choose by.

    Asked -> text of a suite file -> Suite -> Question

What a suite leaves open is filled in as most would: how much to unfreeze and how long to train by
the number of train pictures.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.choices import Limits, Objective, Question
from bench.data.datasets import DATASETS
from bench.errors import BenchError
from bench.probes import ProbeSpec
from bench.records import Backbone, Data, Dataset, Freeze, Splits, TrialSpec
from bench.suite import Suite

BACKBONES = ("MobileNetV2", "EfficientNetV2B0", "ResNet50", "ConvNeXtTiny")
"""Candidates where none are named: small to middling, of four families."""
SPLITS = Splits(train=0.6, val=0.2, test=0.2)
"""A choice goes by val and is judged by test: both need pictures."""
IMAGE_SIZE = 160
SEEDS = 3
WHOLE_FROM = 5_000
"""Train pictures from which on training the whole backbone is a candidate, too."""
HEAD_PICTURES, TOP_PICTURES = 20_000, 8_000
"""Pictures that a head, and the top in phase 2, should see in training, all epochs together."""

PROBED, PROBED_PER_CLASS = 500, 10
"""Train pictures of a probe: so many, and at least so many of each class."""
PROBED_VAL = 500
NEARLY = 1.5
"""A subset that would save less than this factor is not worth a pass of its own."""


@dataclass(frozen=True)
class Asked:
    """What a user asked to sweep, of one dataset.

    Attributes:
        dataset: which.
        train: its train pictures, once split by `SPLITS`.
        backbones: names of the table, or paths of ``.keras`` files that take raw pixels.
        freezes: how much to unfreeze; empty for what suits the number of pictures.
        seeds: how many of each.
        image_size: side of the pictures, in pixels.
    """

    dataset: Dataset
    train: int
    backbones: tuple[str, ...] = BACKBONES
    freezes: tuple[Freeze, ...] = ()
    seeds: int = SEEDS
    image_size: int = IMAGE_SIZE


# ------------------------------------------------------------------------------------- the suite


def suite_text(asked: Asked) -> str:
    """The suite file (TOML) of a sweep over every candidate."""
    epochs = _epochs(HEAD_PICTURES, asked.train, 10, 40), _epochs(TOP_PICTURES, asked.train, 4, 15)
    names = [_backbone_name(b) for b in asked.backbones]
    freezes = asked.freezes or freezes_for(asked.train)
    lines = [
        "# Every candidate of one `bench choose`, in full; written by it.",
        f"description = {_quoted(f'Every candidate for {asked.dataset.name}')}",
        "",
        "[data]",
        f"image_size = {asked.image_size}",
        f"splits = {{ train = {SPLITS.train}, val = {SPLITS.val}, test = {SPLITS.test} }}",
        "",
        "[phase1]",
        f"epochs = {epochs[0]}",
        "learning_rate = 2e-3",
        "",
        "[phase2]",
        f"epochs = {epochs[1]}",
        "learning_rate = 1e-4",
        "",
        *_tables(asked),
        "[[matrix]]",
        f"backbones = {_quoted(names)}",
        f"datasets = {_quoted([asked.dataset.name])}",
        f"freezes = [{', '.join(map(_freeze, freezes))}]",
        'heads = ["dropout"]',
        f"seeds = {list(range(asked.seeds))}",
        "",
    ]
    return "\n".join(lines)


def freezes_for(train: int) -> tuple[Freeze, ...]:
    """Strategies that make sense for so many train pictures.

    The head alone, the top fifth and the top half, which is the range of the common advice; the
    whole backbone where there are enough pictures to train it.
    """
    few = (
        Freeze(strategy="head_only"),
        Freeze(strategy="top_fraction", amount=0.2),
        Freeze(strategy="top_fraction", amount=0.5),
    )
    return (*few, Freeze(strategy="all")) if train >= WHOLE_FROM else few


def _epochs(pictures: int, train: int, fewest: int, most: int) -> int:
    return min(max(math.ceil(pictures / max(train, 1)), fewest), most)


def _tables(asked: Asked) -> list[str]:
    """What the tables of Bench do not hold."""
    lines = []
    if asked.dataset.folder or asked.dataset.tfds:
        lines += ["[[datasets]]", f"name = {_quoted(asked.dataset.name)}"]
        kind = "folder" if asked.dataset.folder else "tfds"
        lines += [f"{kind} = {_quoted(asked.dataset.folder or asked.dataset.tfds)}", ""]
    for path in filter(is_file, asked.backbones):
        lines += ["[[backbones]]", f"name = {_quoted(_backbone_name(path))}"]
        lines += [f"file = {_quoted(path)}", 'preprocessing = "raw"', ""]
    return lines


def is_file(backbone: str) -> bool:
    """Whether a backbone is given as a file rather than by name."""
    return backbone.endswith(".keras")


def _backbone_name(backbone: str) -> str:
    return Path(backbone).stem if is_file(backbone) else backbone


def _freeze(freeze: Freeze) -> str:
    if freeze.amount is None:
        return _quoted(freeze.strategy)
    return f"{{ {freeze.strategy} = {_quoted(freeze.amount)} }}"


def _quoted(value: object) -> str:
    """A value as TOML: strings, numbers and lists of strings are written as in JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def plainly_named(dataset: Dataset) -> Dataset:
    """The dataset under a name that a suite may give it: a folder may be called anything."""
    if not (dataset.folder or dataset.tfds):
        return dataset
    name = re.sub(r"[^A-Za-z0-9 ._-]+", "-", dataset.name).lstrip(" ._-") or "pictures"
    if name in DATASETS:
        name += "-folder" if dataset.folder else "-tfds"
    return dataset.model_copy(update={"name": name})


# ---------------------------------------------------------------------------------- the question


@dataclass(frozen=True)
class Pictures:
    """How many there are, once split: in train, in val, and how many classes."""

    train: int
    val: int
    classes: int


def question(
    suite: Suite,
    pictures: Pictures,
    *,
    name: str,
    limits: Limits,
    objective: Objective,
    give_up: float,
    margin: float,
    sure: float,
    budget_seconds: float | None,
) -> Question:
    """The question whose candidates are a suite's trials.

    Args:
        suite: of one dataset; trials with a trap are no candidates.
        pictures: that it sees.
        name: of the results folder.
        limits, objective, give_up, margin, sure, budget_seconds: see `Question`.

    Raises:
        BenchError: the trials are of several datasets, or see different pictures.
    """
    trials = tuple(t for t in suite.trials if t.trap is None)
    if not trials:
        raise BenchError(f"suite {suite.name}: expected trials without a trap to choose among")
    one_task(suite)
    probes = {t.backbone: _probe(t, pictures, trials) for t in trials if t.phase1}
    return Question(
        name=name,
        trials=trials,
        probes=tuple(probes.values()),
        limits=limits,
        objective=objective,
        give_up=give_up,
        margin=margin,
        sure=sure,
        budget_seconds=budget_seconds,
    )


def one_task(suite: Suite) -> Data:
    """The pictures that all trials of a suite see, those with a trap apart.

    Raises:
        BenchError: there are several; it says how to keep to one.
    """
    kinds = list(dict.fromkeys(t.data for t in suite.trials if t.trap is None))
    names = list(dict.fromkeys(d.dataset.name for d in kinds))
    if len(names) > 1:
        raise BenchError(
            f"suite {suite.name}: {len(names)} datasets ({', '.join(names)}), but a choice is for "
            f"one: keep to it by --set 'matrix.datasets=[\"{names[0]}\"]'"
        )
    if len(kinds) > 1:
        raise BenchError(
            f"suite {suite.name}: its trials see different pictures of {names[0]} "
            "(train_examples): a choice is for one task; change that by --set"
        )
    return kinds[0]


def _probe(trial: TrialSpec, pictures: Pictures, trials: Sequence[TrialSpec]) -> ProbeSpec:
    """Of a trial's backbone; on its own pictures where a subset would save little."""
    assert trial.phase1 is not None
    train = max(PROBED, PROBED_PER_CLASS * pictures.classes)
    few = {
        "train_examples": train if pictures.train > NEARLY * train else None,
        "val_examples": PROBED_VAL if pictures.val > NEARLY * PROBED_VAL else None,
    }
    changes = {k: v for k, v in few.items() if v is not None}
    if changes and trial.data.train_per_class:
        changes = {}
    seeds = dict.fromkeys(t.seed for t in trials)
    return ProbeSpec(
        backbone=trial.backbone,
        data=trial.data.model_copy(update=changes),
        head=trial.head,
        phase1=trial.phase1,
        seeds=tuple(seeds)[:3],
        execution=trial.execution,
    )


def backbones_of(suite: Suite) -> list[Backbone]:
    """Each once, in order."""
    return list(dict.fromkeys(t.backbone for t in suite.trials))
