"""Rows with a given number of test pictures right, and the answers to them."""

from pathlib import Path

import numpy as np
from conftest import make_dataset, make_phase, make_result, make_spec

from bench import marks
from bench.analysis import answer, evidence
from bench.analysis.answer import Answer
from bench.costs import CostResult
from bench.records import Backbone, Freeze, TrialResult

PICTURES = 1000
HEAD = Freeze(strategy="head_only")


def blocks(n: int) -> Freeze:
    return Freeze(strategy="top_blocks", amount=n)


def right(count: int, turn: int = 0) -> np.ndarray:
    """So many pictures right, beginning at some place."""
    return np.roll(np.arange(PICTURES) < count, turn)


def row(
    freeze: Freeze,
    count: int | None,
    seed: int = 0,
    backbone: str = "MobileNetV2",
    weights: str = "imagenet",
    trap: str | None = None,
    speed: float = 300.0,
    **changes: object,
) -> TrialResult:
    """A row with so many pictures right; None for one that failed."""
    spec = make_spec(freeze, seed=seed).model_copy(
        update={"backbone": Backbone(name=backbone, weights=weights), "trap": trap}
    )
    if freeze.strategy in ("head_only", "scratch"):
        phase = {"head_only": "phase2", "scratch": "phase1"}[freeze.strategy]
        spec = spec.model_copy(update={phase: None})
        changes = {phase: None} | changes
    phases = {
        name: make_phase(0.9).model_copy(update={"images_per_second": speed})
        for name in ("phase1", "phase2")
    }
    fields: dict[str, object] = phases | {"dataset": make_dataset(test=PICTURES)}
    if count is None:
        fields |= {"status": "failed", "reason": "no room", "test_accuracy": None}
    else:
        packed = marks.packed(right(count, 7 * seed))
        fields |= {"test_accuracy": count / PICTURES, "test_correct": packed}
    return make_result(spec, **(fields | changes))


def of(*rows: TrialResult, costs: tuple[CostResult, ...] = ()) -> tuple[Answer, ...]:
    return answer.of(evidence.of([evidence.Source("here", Path("here"), rows, costs)]))
