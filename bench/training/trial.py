"""One trial from end to end: TrialSpec -> TrialResult. Whatever goes wrong becomes a status."""

import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from bench import marks, steps
from bench.errors import BenchError, ImpossibleTrialError
from bench.records import (
    PROTOCOL_VERSION,
    Status,
    TrialResult,
    TrialSpec,
)
from bench.training import (
    execution,
    exporting,
    modes,
    protocol,
    sharing,
    trapped,
)
from bench.training.grounds import Prepared, Workplace, machine_of, prepared_for, resolved
from bench.training.model import TrialModel
from bench.training.recording import Report
from bench.training.scoring import Predictions, Scores


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
    row = place.row_of(spec, PROTOCOL_VERSION) | {"execution_mode": execution.mode()}
    predictions = place.trained = None
    with execution.watched() as unsteady:
        try:
            predictions = _measure(spec, place, report, row)
            status, reason = _verdict(row)
        except Exception as error:
            status, reason = explained(error)
    row["reruns"], row["reruns_reason"] = execution.reruns(spec.execution, place.stack, unsteady)
    seconds = time.perf_counter() - began - row.get("pictures_seconds", 0.0)
    return TrialResult(**row, status=status, reason=reason, seconds=seconds), predictions


def _measure(
    spec: TrialSpec, place: Workplace, report: Report, row: dict[str, Any]
) -> Predictions | None:
    """Fill the row as far as the trial gets."""
    literal = place.literal or not steps.shares_phase1(spec)
    prepared = prepared_for(spec, place, literal, report, row)
    given, bench = prepared.given, prepared.bench
    row |= {"weights": prepared.weights, "rewrites": prepared.rewrite.text}
    check_head(spec, given.classes)
    spec = resolved(spec, prepared.dataset.train)
    row["freeze_resolved"] = spec.freeze
    keras.utils.set_random_seed(spec.seed)  # the head's start, however the backbone was built
    path: protocol.Path
    if spec.trap:
        path = protocol.Literal(spec, given, report, trapped.steps_of(spec))
    elif bench is not None:
        path = sharing.Shared(spec, bench, report)
        row["way"] = "shared"
    elif place.literal:
        path = protocol.Literal(spec, given, report)
    else:
        chooser = modes.Chooser(machine_of(prepared, place), place.work)
        path = sharing.Whole(spec, given, report, chooser)
    outcome = protocol.run(spec, given, path, keep=row.update)
    row |= {"guards": outcome.guards, "total_parameters": outcome.model.count_params()}
    if outcome.test is None:
        return None
    row |= {"test_accuracy": outcome.test.accuracy, "test_loss": outcome.test.loss}
    row["test_correct"] = marks.packed(outcome.test.correct)
    if place.keep_trained:
        place.trained = _trained(spec, prepared, path.trial, outcome.test, row)
    return Predictions(outcome.test, given.test.hashes)


def _trained(
    spec: TrialSpec,
    prepared: Prepared,
    model: TrialModel,
    scores: Scores,
    row: Mapping[str, Any],
) -> exporting.Trained:
    return exporting.Trained(
        spec=spec,
        key=row["key"],
        model=model,
        contract=prepared.given.contract,
        dataset=prepared.dataset,
        weights=prepared.weights,
        stack=row["stack"],
        test=prepared.given.test,
        scores=scores,
    )


def check_head(spec: TrialSpec, classes: int) -> None:
    """See whether a trial's head can tell so many classes.

    Raises:
        ImpossibleTrialError: it cannot.
    """
    if spec.head.loss == "binary" and classes != 2:
        raise ImpossibleTrialError(
            f"head {spec.head.name!r} has a binary loss, but {spec.data.dataset.name} has "
            f"{classes} classes"
        )


def _verdict(row: dict[str, Any]) -> tuple[Status, str]:
    for guard in row["guards"]:
        if guard.name == "loss_finite" and not guard.passed:
            return "diverged", guard.evidence
    return "ok", ""


def explained(error: Exception) -> tuple[Status, str]:
    """What an error makes of a task: its status, and the reason."""
    if isinstance(error, ImpossibleTrialError):
        return "skipped", str(error)
    if isinstance(error, BenchError):
        return "failed", str(error)
    return "out_of_memory" if execution.is_out_of_memory(error) else "failed", _last_words(error)


def _last_words(error: Exception) -> str:
    """The error in one line, and the line of Bench that it came through."""
    ours = [
        f for f in traceback.extract_tb(error.__traceback__) if "bench" in Path(f.filename).parts
    ]
    where = f" (at {Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}{where}"
