"""What a trial consists of, and which of it is equal to other trials' work. Needs no Keras.

    images        decoding a dataset at a size
    activations   one pass of the pictures through the backbone: the pooled features that heads
                  learn from, and the frontier (what crosses the freeze boundary), for each view
    heads         phase 1: every seed's head (and heads of one shape) trained as one stack
    fine-tuning   phase 2: the top of the backbone, from the frontier; a trial's own
    evaluation    scoring val and test; a trial's own

Activations and heads are kept under a content key, so that equal ones are computed once, survive a
kill and serve the next suite. This module says what is equal; `bench.training.sharing` computes it.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from bench.records import (
    Augmentation,
    Backbone,
    Data,
    Execution,
    Head,
    Phase,
    Record,
    SplitName,
    TrialSpec,
)

ACTIVATIONS_VERSION = 1
HEADS_VERSION = 1
VIEWS_VERSION = 1
"""Part of what names these in the cache. Raised when the same step would give other numbers."""

POOLED, FRONTIER = "pooled ", "frontier "
"""What the names of cuts begin with."""


class View(Record):
    """What augmentation makes of the train pictures in one epoch.

    Attributes:
        augmentation: the random layers.
        number: which view.
        seed: of the trial where each seed has views of its own; None where they are shared.
    """

    augmentation: tuple[Augmentation, ...]
    number: int
    seed: int | None = None


def view_of(spec: TrialSpec, epoch: int) -> View | None:
    """The view that an epoch (counted from the trial's first) sees; None without augmentation."""
    if not spec.augmentation:
        return None
    number = epoch % spec.views if isinstance(spec.views, int) else epoch
    seed = spec.seed if spec.views == "per-seed" else None
    return View(augmentation=spec.augmentation, number=number, seed=seed)


def views_of(spec: TrialSpec, first: int, epochs: int) -> list[View | None]:
    """The distinct views of a phase that begins with epoch ``first``, in order."""
    return list(dict.fromkeys(view_of(spec, e) for e in range(first, first + epochs)))


class Ground(Record):
    """What trials must have in common to share anything: one model and its pictures.

    Attributes:
        seed: of random weights, which differ by it; None for weights that do not.
    """

    backbone: Backbone
    data: Data
    execution: Execution
    seed: int | None = None


def ground_of(spec: TrialSpec) -> Ground:
    """The ground that a trial stands on."""
    random = spec.backbone.weights == "random"
    return Ground(
        backbone=spec.backbone,
        data=spec.data,
        execution=spec.execution,
        seed=spec.seed if random else None,
    )


def shares_phase1(spec: TrialSpec) -> bool:
    """Whether phase 1 can learn from features computed once: the backbone is frozen in it.

    A trial with a trap is computed step by step: sharing rests on the steps being right.
    """
    return spec.phase1 is not None and spec.trap is None


def shares_phase2(spec: TrialSpec) -> bool:
    """Whether phase 2 has a constant part below its freeze boundary, and no trap changes it."""
    everything = spec.freeze.strategy in ("all", "scratch")
    constant = not everything and spec.batch_norm != "train"
    return spec.phase2 is not None and spec.trap is None and constant


def pooled_name(spec: TrialSpec) -> str:
    """Name of the cut that a trial's head learns from."""
    return f"{POOLED}{spec.head.pooling}"


def planned_views2(spec: TrialSpec) -> list[View | None]:
    """The views that phase 2 of a trial with both phases sees, unless phase 1 stops early."""
    assert spec.phase1 is not None
    assert spec.phase2 is not None
    return views_of(spec, spec.phase1.epochs, spec.phase2.epochs)


class Need(NamedTuple):
    """What a trial asks of one pass through the backbone.

    Attributes:
        split: which pictures pass.
        view: how augmentation shows them; None as they are.
        cut: where in the backbone: the pooled features, or the frontier.
    """

    split: SplitName
    view: View | None
    cut: Literal["pooled", "frontier"]


def needs(spec: TrialSpec, frontier: bool) -> list[Need]:
    """What a trial with a shared phase 1 asks of the passes, should no phase stop early.

    Args:
        spec: the trial, its freeze strategy resolved.
        frontier: phase 2 trains from the frontier. Without it, phase 2 asks for nothing here.
    """
    if spec.phase1 is None:
        return []
    phase1 = views_of(spec, 0, spec.phase1.epochs)
    found = [Need("train", view, "pooled") for view in phase1]
    found.append(Need("val", None, "pooled"))
    if spec.phase2 is None:
        found.append(Need("test", None, "pooled"))
    elif frontier:
        found += [Need("train", view, "frontier") for view in planned_views2(spec)]
        found += [Need("val", None, "frontier"), Need("test", None, "frontier")]
    return found


class HeadStep(Record):
    """Phase 1 of a trial: what a head's weights depend on besides the features."""

    head: Head
    phase: Phase
    batch_size: int
    augmentation: tuple[Augmentation, ...]
    views: Any
    seed: int

    @property
    def stack(self) -> str:
        """Heads with an equal one can train as one batched computation.

        Seeds and dropout rates may differ; and a rate that follows each head's own val loss cannot
        be shared.
        """
        if self.phase.reduce_learning_rate is not None:
            return self.model_dump_json()
        alone = self.views == "per-seed"
        layers = [
            layer.model_copy(update={"dropout": 0.5}) if layer.dropout is not None else layer
            for layer in self.head.layers
        ]
        shape = self.head.model_copy(update={"name": "", "layers": tuple(layers)})
        same = self.model_copy(update={"head": shape, "seed": self.seed if alone else 0})
        return json.dumps(same.model_dump(mode="json"), sort_keys=True)


def head_step(spec: TrialSpec) -> HeadStep:
    """Phase 1 of a trial that has one.

    Raises:
        ValueError: it has none.
    """
    if spec.phase1 is None:
        raise ValueError(f"{spec.label}: no phase 1")
    return HeadStep(
        head=spec.head.model_copy(update={"name": ""}),
        phase=spec.phase1,
        batch_size=spec.execution.batch_size,
        augmentation=spec.augmentation,
        views=spec.views if spec.augmentation else None,
        seed=spec.seed,
    )


def possible_views2(spec: TrialSpec) -> list[View | None]:
    """Every view that phase 2 may see: phase 1 may stop early, and phase 2 counts on from there.

    Raises:
        ValueError: the trial has no phase 2.
    """
    if spec.phase1 is None or spec.phase2 is None:
        raise ValueError(f"{spec.label}: no two phases")
    first = 1 if spec.phase1.early_stopping else spec.phase1.epochs
    return views_of(spec, first, spec.phase1.epochs - first + spec.phase2.epochs)


FLOAT_BYTES = 4


def cut_bytes(numbers: int, views: int, train: int, others: int) -> int:
    """What a cut takes on disk.

    Args:
        numbers: that cross for one picture.
        views: of the train pictures that are needed there.
        train, others: train pictures; val and test pictures together.
    """
    return numbers * FLOAT_BYTES * (views * train + others)


def kept(sizes: Mapping[str, int], room: float) -> set[str]:
    """The cuts that are kept, smallest first, while their bytes fit the room."""
    names = set()
    for name, size in sorted(sizes.items(), key=lambda item: (item[1], item[0])):
        room -= size
        if room < 0:
            break
        names.add(name)
    return names
