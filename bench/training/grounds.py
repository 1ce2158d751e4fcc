"""A trial's ground: its backbone, its pictures, and the workbench where trials on it share work.

Made once for trials that follow one another; a process (`Workplace`) holds the last one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import steps
from bench.data import datasets, images, splits
from bench.data.decoding import DECODING_VERSION
from bench.errors import CacheError
from bench.progress import Progress
from bench.records import Dataset, DatasetUsed, Environment, Stack, TrialSpec, WeightsUsed
from bench.settings import Settings
from bench.tasks import Spec
from bench.training import execution, exporting, parallel, protocol, workbench
from bench.training.batches import Pictures
from bench.training.recording import Report
from bench.zoo import backbones, freezing, rewriting, same_weights, weights


@dataclass(frozen=True)
class Prepared:
    """A ground as trials need it.

    Attributes:
        ground: which one.
        given: backbone and pictures.
        dataset: what the splits hold.
        weights: what the backbone was loaded with.
        rewrite: what was done to its operations.
        names: where each of the dataset's pictures comes from, by index.
        bench: where trials share work; None where each is computed literally.
    """

    ground: steps.Ground
    given: protocol.Ingredients
    dataset: DatasetUsed
    weights: WeightsUsed
    rewrite: rewriting.Rewrite
    names: Sequence[str]
    bench: workbench.Workbench | None = None


@dataclass
class Workplace:
    """What every trial of a process shares.

    Attributes:
        settings: folders of this machine.
        folder: of the suite file; relative paths in a spec start there.
        stack: as `bench.training.execution.configure` returned it.
        environment: of this process.
        literal: compute every trial step by step, and leave the backbone's operations as they are.
        trials: the suite's, with which a trial may share work.
        activations_bytes: room for what trials on one ground share.
        scratch: where files that nobody keeps may lie; its owner removes it.
        timed_seconds: how long a measurement of cost times each kind of step.
        earlier_weights: SHA-256 of what earlier rows were measured with, by the backbone's JSON.
        turns: waits for this process' turn among several that are measured together, and gives how
            many others there are; None for one alone.
        keep_trained: keep what the next trial trains, for whoever wants to write it.
        trained: what the last trial trained, where it was to be kept and the trial ended well; it
            holds until the next trial begins.
        prepared: the ground of the last trial, kept because the next one often shares it.
        opened: the pictures of the last trial, with what they were opened for.
    """

    settings: Settings
    folder: Path
    stack: Stack
    environment: Environment
    literal: bool = False
    trials: Sequence[TrialSpec] = ()
    activations_bytes: float = 8 * 2**30
    scratch: Path | None = None
    timed_seconds: float = 10.0
    earlier_weights: Mapping[str, str] = field(default_factory=dict)
    turns: Callable[[], int] | None = None
    keep_trained: bool = False
    trained: exporting.Trained | None = None
    prepared: Prepared | None = None
    opened: tuple[tuple[Dataset, int], images.Images] | None = None

    def row_of(self, spec: Spec, protocol: int) -> dict[str, Any]:
        """What the row of any task here begins with.

        Args:
            spec: the task.
            protocol: version of what its spec measures.
        """
        return {
            "key": spec.key,
            "spec": spec,
            "stack": self.stack,
            "environment": self.environment,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "protocol": protocol,
        }

    @cached_property
    def work(self) -> Settings:
        """Settings for work of our own: with a passing cache where the machine's is read-only."""
        try:
            probe = self.settings.scratch()
            with TemporaryFile(dir=probe):
                return self.settings
        except (CacheError, OSError):
            passing = Path(mkdtemp(prefix="cache-", dir=self.scratch))
            return self.settings.model_copy(update={"cache": passing})


def resolved(spec: TrialSpec, train_examples: int) -> TrialSpec:
    """The trial with strategy ``auto`` replaced by what it comes to."""
    freeze = freezing.resolve(spec.freeze, train_examples)
    changes: dict[str, Any] = {"freeze": freeze}
    if freeze.strategy == "head_only":
        changes["phase2"] = None
    return spec.model_copy(update=changes)


def prepared_for(
    spec: TrialSpec,
    place: Workplace,
    literal: bool,
    report: Report,
    row: dict[str, Any],
    beside: Sequence[TrialSpec] = (),
) -> Prepared:
    """The trial's ground: as the last trial left it where that shares it, else made anew.

    Args:
        spec: the trial.
        place: what it shares with the others of this process.
        literal: without a workbench.
        report: told of pictures and weights.
        row: filled as far as one gets: ``dataset``, ``pictures_seconds``.
        beside: trials that share work with it though they are none of the suite's.
    """
    ground = steps.ground_of(spec)
    kept = place.prepared
    if not literal and kept and _serves(kept, ground, beside):
        row["dataset"] = kept.dataset
        return kept
    place.prepared = None  # its models go before others come
    keras.backend.clear_session()
    keras.config.set_dtype_policy(place.stack.precision)  # which clear_session has just forgotten
    parallel.resume()  # and the devices
    prepared = _prepare(spec, place, report, row)
    if not literal:
        bench = _workbench([*place.trials, *beside, spec], prepared, place)
        prepared = place.prepared = replace(prepared, bench=bench)
    return prepared


def _serves(kept: Prepared, ground: steps.Ground, beside: Sequence[TrialSpec]) -> bool:
    """Whether a ground is this one, and its workbench knows all that share work there."""
    if kept.bench is None or kept.ground != ground:
        return False
    return {t for t in beside if steps.ground_of(t) == ground} <= set(kept.bench.trials)


def _prepare(spec: TrialSpec, place: Workplace, report: Report, row: dict[str, Any]) -> Prepared:
    began = time.perf_counter()
    pictures = pictures_for(spec, place, report)
    row["pictures_seconds"] = time.perf_counter() - began
    split = splits.split(pictures, spec.data)
    used = row["dataset"] = splits.describe(pictures, split)
    report(Progress(stage="weights"))
    keras.utils.set_random_seed(spec.seed)
    loaded = weights.load(spec.backbone, spec.data.image_size, place.settings, place.folder)
    same_weights.check(spec.backbone, loaded.used, place.earlier_weights)
    if spec.freeze.strategy == "scratch":
        freezing.shorten_memory(loaded.model)
    stock = place.literal or spec.trap is not None
    rewrite = rewriting.Rewrite() if stock else rewriting.depthwise(loaded.model)

    def part(indices: NDArray[np.int64]) -> Pictures:
        hashes = tuple(pictures.hashes[i] for i in indices)
        return Pictures(pictures.pixels, indices, pictures.labels[indices], hashes)

    names = [layer.name for layer in loaded.model.layers]
    given = protocol.Ingredients(
        backbone=loaded.model,
        contract=loaded.preprocessing,
        block_starts=backbones.block_starts(loaded.blocks, names) if loaded.blocks else (),
        classes=len(used.class_names),
        train=part(split.train),
        val=part(split.val),
        test=part(split.test),
        jit=execution.jit(),
        scratch=place.work.scratch(),
        stock=not rewrite.layers,
    )
    return Prepared(steps.ground_of(spec), given, used, loaded.used, rewrite, pictures.ids)


def pictures_for(spec: TrialSpec, place: Workplace, report: Report) -> images.Images:
    """A trial's pictures, decoded if need be.

    Opened once for trials that follow one another: TensorFlow never lets go of what it read.
    """
    wanted = datasets.located(spec.data.dataset, place.folder), spec.data.image_size
    if place.opened is None or place.opened[0] != wanted:
        pictures = images.open_images(
            *wanted,
            place.settings,
            lambda done, total: report(Progress(stage="images", step=done, steps=total)),
        )
        place.opened = wanted, pictures
    return place.opened[1]


def machine_of(prepared: Prepared, place: Workplace) -> dict[str, Any]:
    """What the speed of a step depends on, besides the step."""
    ground, environment = prepared.ground, place.environment
    return {
        "stack": place.stack.id,
        "processor": environment.processor,
        "cores": environment.cores,
        "backbone": ground.backbone.model_dump(mode="json"),
        "image_size": ground.data.image_size,
        "execution": ground.execution.model_dump(mode="json"),
        "rewritten": prepared.rewrite.layers,
        "architecture": weights.architecture(prepared.given.backbone),
    }


def _workbench(
    asked: Sequence[TrialSpec], prepared: Prepared, place: Workplace
) -> workbench.Workbench:
    """A workbench for those trials that stand on this ground."""
    ground, given = prepared.ground, prepared.given
    trials = [
        resolved(t, prepared.dataset.train)
        for t in dict.fromkeys(asked)
        if steps.ground_of(t) == ground and steps.shares_phase1(t)
    ]
    terms = workbench.Terms(
        identity={
            "weights": prepared.weights.sha256,
            "stack": place.stack.id,
            "image_size": ground.data.image_size,
            "contract": given.contract,
            "rewritten": prepared.rewrite.layers,
            "architecture": weights.architecture(given.backbone),
            "decoding": DECODING_VERSION,
            "deterministic": ground.execution.deterministic,
        },
        about={"ground": ground.model_dump(mode="json", exclude_defaults=True)},
        label=f"{ground.backbone.name} {ground.data.dataset.name}",
        activations_bytes=place.activations_bytes,
        settings=place.work,
        machine=machine_of(prepared, place),
    )
    return workbench.Workbench(given, terms, trials)
