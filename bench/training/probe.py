"""One probe from end to end: ProbeSpec -> ProbeResult. Whatever goes wrong becomes a status.

Features and heads are a trial's own, through the same workbench and the same cache: a trial of a
head alone on the same pictures then finds its phase 1 done, and the other way round. Test pictures
pass through nothing.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import marks, steps
from bench.errors import BenchError
from bench.probes import PROBE_VERSION, ProbeResult, ProbeSpec, Suspect
from bench.progress import Progress
from bench.records import SplitName, Status, TrialSpec
from bench.training import activations, sharing, stacking, transferability
from bench.training.batches import Pictures
from bench.training.grounds import Prepared, Workplace, prepared_for
from bench.training.recording import Report
from bench.training.scoring import Scores, score
from bench.training.stacking import TrainedHead
from bench.training.trial import check_head, explained
from bench.training.workbench import Workbench


def run_probe(spec: ProbeSpec, place: Workplace, report: Report) -> ProbeResult:
    """Run one probe; never raises for what is the probe's own fault.

    Of a backbone with random weights, all heads learn from what the first seed drew.

    Args:
        spec: the probe.
        place: what it shares with the other tasks of this process.
        report: told of its progress.
    """
    began = time.perf_counter()
    row = place.row_of(spec, PROBE_VERSION)
    place.trained = None
    try:
        status, reason = _measure(spec, place, report, row)
    except Exception as error:
        status, reason = explained(error)
    seconds = time.perf_counter() - began - row.get("pictures_seconds", 0.0)
    return ProbeResult(**row, status=status, reason=reason, seconds=seconds)


def _measure(
    spec: ProbeSpec, place: Workplace, report: Report, row: dict[str, Any]
) -> tuple[Status, str]:
    """Fill the row as far as the probe gets; how it ends."""
    trials = spec.trials
    prepared = prepared_for(trials[0], place, False, report, row, trials)
    row["weights"] = prepared.weights
    check_head(trials[0], prepared.given.classes)
    found = _features(trials[0], prepared, report)
    row |= {"width": found.train.shape[1], "features_seconds": found.seconds}
    row |= _neighbours(spec, prepared, found)
    return _linear(trials, prepared, found, report, row)


@dataclass(frozen=True)
class _Features:
    """Pooled features of two splits, (pictures, width) each.

    Attributes:
        seconds: for each picture; None where none had to be computed, or too few to tell.
    """

    train: NDArray[np.float32]
    val: NDArray[np.float32]
    seconds: float | None


def _features(spec: TrialSpec, prepared: Prepared, report: Report) -> _Features:
    bench, cut = _bench(prepared), steps.pooled_name(spec)
    if cut not in bench.activations.cuts:
        raise BenchError(
            f"no room for features of {spec.data.dataset.name}: expected activations_gib and "
            "BENCH_CACHE_GIB to hold them"
        )
    passes = 0

    def listen(progress: Progress) -> None:
        nonlocal passes
        passes += progress.stage == activations.KIND
        report(progress)

    def of(split: SplitName) -> NDArray[np.float32]:
        (found,) = bench.at(cut, split, None, listen)
        if not np.isfinite(found).all():
            raise BenchError(
                f"{spec.backbone.name} makes features of {spec.data.dataset.name}, {split}, that "
                "are not finite"
            )
        return found

    train, val = of("train"), of("val")
    return _Features(train, val, bench.activations.seconds_per_picture if passes else None)


def _bench(prepared: Prepared) -> Workbench:
    assert prepared.bench is not None
    return prepared.bench


# ---------------------------------------------------------------------------------- neighbours


def _neighbours(spec: ProbeSpec, prepared: Prepared, found: _Features) -> dict[str, Any]:
    """What needs no training, as fields of the row."""
    given = prepared.given
    known = transferability.nearest(found.val, found.train, spec.neighbours)
    said = transferability.vote(known, given.train.labels, given.classes)
    return {
        "knn": float((said.argmax(axis=1) == given.val.labels).mean()),
        "logme": transferability.logme(found.train, given.train.labels),
        "suspects": tuple(_suspects(prepared, found)),
    }


def _suspects(prepared: Prepared, found: _Features) -> list[Suspect]:
    given = prepared.given
    parts: list[tuple[SplitName, Pictures]] = [("train", given.train), ("val", given.val)]
    places = [(split, part, i) for split, part in parts for i in range(len(part))]
    labels = np.concatenate([given.train.labels, given.val.labels])
    features = np.concatenate([found.train, found.val])
    return [
        Suspect(
            picture=part.hashes[i][:16],
            name=prepared.names[part.indices[i]],
            split=split,
            label=int(part.labels[i]),
            neighbours_say=doubted.neighbours_say,
            share=doubted.share,
        )
        for doubted in transferability.suspects(features, labels, given.classes)
        for split, part, i in (places[doubted.picture],)
    ]


# ------------------------------------------------------------------------------- linear probe


def _linear(
    trials: Sequence[TrialSpec],
    prepared: Prepared,
    found: _Features,
    report: Report,
    row: dict[str, Any],
) -> tuple[Status, str]:
    """Train the heads of all seeds, and score each on val."""
    heads = [_bench(prepared).head(trial, report) for trial in trials]
    for trial, head in zip(trials, heads, strict=True):
        for epoch in head.epochs:
            if not math.isfinite(epoch.loss + epoch.val_loss):
                return "diverged", f"seed {trial.seed}: loss {epoch.loss} in epoch {epoch.index}"
    scores = [
        _scored(trial, head, prepared, found) for trial, head in zip(trials, heads, strict=True)
    ]
    row["total_parameters"] = prepared.given.backbone.count_params() + sum(
        weight.size for weight in heads[0].weights
    )
    row["linear"] = tuple(s.accuracy for s in scores)
    row["linear_correct"] = tuple(marks.packed(s.correct) for s in scores)
    return "ok", ""


def _scored(trial: TrialSpec, head: TrainedHead, prepared: Prepared, found: _Features) -> Scores:
    given = prepared.given
    model = stacking.initial(steps.head_step(trial), found.val.shape[1], given.classes)
    model.set_weights(head.weights)
    return score(sharing.in_pieces(model, found.val), given.val.labels, trial.head)
