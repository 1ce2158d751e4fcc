"""One trial from end to end: TrialSpec -> TrialResult. Whatever goes wrong becomes a status."""

import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras

from bench.data import images, splits
from bench.errors import BenchError, ImpossibleTrialError
from bench.records import (
    PROTOCOL_VERSION,
    DatasetUsed,
    Environment,
    Progress,
    Stack,
    Status,
    TrialResult,
    TrialSpec,
)
from bench.settings import Settings
from bench.training import execution, protocol
from bench.training.batches import Batches
from bench.training.recording import Report
from bench.training.scoring import Predictions
from bench.zoo import backbones, freezing, weights


@dataclass(frozen=True)
class Workplace:
    """What every trial of a process shares.

    Attributes:
        settings: folders of this machine.
        folder: of the suite file; relative paths in a spec start there.
        stack: as `bench.training.execution.configure` returned it.
        environment: of this process.
    """

    settings: Settings
    folder: Path
    stack: Stack
    environment: Environment


def run_trial(
    spec: TrialSpec, place: Workplace, report: Report
) -> tuple[TrialResult, Predictions | None]:
    """Run one trial; never raises for what is the trial's own fault.

    Args:
        spec: the trial.
        place: what it shares with the others of this process.
        report: told of its progress.

    Returns:
        The row for the store, and the predictions on test where it got that far.
    """
    began = time.perf_counter()
    row: dict[str, Any] = {
        "key": spec.key,
        "spec": spec,
        "stack": place.stack,
        "environment": place.environment,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "execution_mode": execution.mode(),
        "protocol": PROTOCOL_VERSION,
    }
    predictions = None
    try:
        predictions = _measure(spec, place, report, row)
        status, reason = _verdict(row)
    except ImpossibleTrialError as error:
        status, reason = "skipped", str(error)
    except BenchError as error:
        status, reason = "failed", str(error)
    except Exception as error:
        status = "out_of_memory" if execution.is_out_of_memory(error) else "failed"
        reason = _last_words(error)
    seconds = time.perf_counter() - began - row.get("pictures_seconds", 0.0)
    return TrialResult(**row, status=status, reason=reason, seconds=seconds), predictions


def _measure(
    spec: TrialSpec, place: Workplace, report: Report, row: dict[str, Any]
) -> Predictions | None:
    """Fill the row as far as the trial gets."""
    keras.backend.clear_session()
    keras.config.set_dtype_policy(place.stack.precision)  # which clear_session has just forgotten
    given, used, tested = _ingredients(spec, place, report, row)
    resolved = freezing.resolve(spec.freeze, used.train)
    row["freeze_resolved"] = resolved
    changes = {"freeze": resolved}
    if resolved.strategy == "head_only":
        changes["phase2"] = None  # type: ignore[assignment]
    keras.utils.set_random_seed(spec.seed)  # the head's start, however the backbone was built
    outcome = protocol.run(spec.model_copy(update=changes), given, report, keep=row.update)
    row |= {
        "guards": outcome.guards,
        "total_parameters": outcome.model.count_params(),
    }
    if outcome.test is None:
        return None
    row |= {"test_accuracy": outcome.test.accuracy, "test_loss": outcome.test.loss}
    return Predictions(outcome.test, tested)


def _ingredients(
    spec: TrialSpec, place: Workplace, report: Report, row: dict[str, Any]
) -> tuple[protocol.Ingredients, DatasetUsed, list[str]]:
    dataset = spec.data.dataset
    if dataset.folder:
        folder = place.folder / Path(dataset.folder).expanduser()
        dataset = dataset.model_copy(update={"folder": str(folder)})
    began = time.perf_counter()
    pictures = images.open_images(
        dataset,
        spec.data.image_size,
        place.settings,
        lambda done, total: report(Progress(stage="images", step=done, steps=total)),
    )
    row["pictures_seconds"] = time.perf_counter() - began
    split = splits.split(pictures, spec.data)
    used = row["dataset"] = splits.describe(pictures, split)
    classes = len(used.class_names)
    if spec.head.loss == "binary" and classes != 2:
        raise ImpossibleTrialError(
            f"head {spec.head.name!r} has a binary loss, but {dataset.name} has {classes} classes"
        )
    report(Progress(stage="weights"))
    keras.utils.set_random_seed(spec.seed)
    loaded = weights.load(spec.backbone, spec.data.image_size, place.settings, place.folder)
    row["weights"] = loaded.used
    if spec.freeze.strategy == "scratch":
        freezing.shorten_memory(loaded.model)

    def batches(indices: Any, seed: int | None = None) -> Batches:
        size = spec.execution.batch_size
        return Batches(pictures.pixels, pictures.labels, indices, size, spec.head, classes, seed)

    names = [layer.name for layer in loaded.model.layers]
    given = protocol.Ingredients(
        backbone=loaded.model,
        contract=loaded.preprocessing,
        block_starts=backbones.block_starts(loaded.blocks, names) if loaded.blocks else (),
        classes=classes,
        train=batches(split.train, spec.seed),
        val=batches(split.val),
        test=batches(split.test),
        jit=execution.jit(),
    )
    return given, used, [pictures.hashes[i] for i in split.test]


def _verdict(row: dict[str, Any]) -> tuple[Status, str]:
    for guard in row["guards"]:
        if guard.name == "loss_finite" and not guard.passed:
            return "diverged", guard.evidence
    return "ok", ""


def _last_words(error: Exception) -> str:
    """The error in one line, and the line of Bench that it came through."""
    ours = [
        f for f in traceback.extract_tb(error.__traceback__) if "bench" in Path(f.filename).parts
    ]
    where = f" (at {Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}{where}"
