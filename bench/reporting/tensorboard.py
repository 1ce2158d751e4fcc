"""Histories of trials for TensorBoard.

    DIR/<dataset>/<backbone>/<freeze> <head> <8 digits>/seed <n>                test, hparams, text
                                                                /train       epoch_loss, ...
                                                                /validation  epoch_loss, ...

Runs and tags are those of Keras' TensorBoard callback, so the curves of both lie over each other.
A step is an epoch and goes on counting from phase 1 into phase 2; the curve ``phase`` rises where
phase 2 begins.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError
from bench.records import Epoch, Stack, TrialResult
from bench.reporting import event_files
from bench.reporting.event_files import Event
from bench.reporting.forms import foreign
from bench.running.listening import FleetListener, Passing
from bench.tasks import Row

LONGEST = 80
"""Characters of a folder's name."""

_UNSAFE = re.compile(r"[^\w.=+-]+")


class Done(NamedTuple):
    """An epoch, its phase, and when it ended, in seconds since 1970."""

    phase: int
    epoch: Epoch
    wall: float


def prepare(folder: Path) -> None:
    """See that event files can be written there, before anything is measured.

    Raises:
        BenchError: they cannot.
    """
    event_files.check()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(
            f"--tensorboard {folder}: cannot be written: {error.strerror or error}"
        ) from error


def write(rows: Iterable[TrialResult], folder: Path, results: str = "") -> int:
    """Write the runs of every row; those of the same trial and seed are replaced.

    Args:
        rows: whatever their status: a trial without a history still says why.
        folder: for TensorBoard's ``--logdir``.
        results: the results folder that they are from, where there are several: its runs get a
            folder of their own.

    Returns:
        How many trials were written.

    Raises:
        BenchError: the package tensorboard is not here, or a file cannot be written.
    """
    prepare(folder)
    count = 0
    for row in rows:
        _write(row, results, folder)
        count += 1
    return count


def run_of(row: TrialResult, results: str = "") -> Path:
    """The folder of a row's run, below the one given to TensorBoard.

    No part of it leads upwards or elsewhere, whatever things are called. Its digits, of a SHA-256
    of trial, stack and results folder, keep trials apart whose names come to the same.
    """
    spec = row.spec
    trap = f" trap {spec.trap}" if spec.trap else ""
    recipe = f"{_safe(spec.freeze.label + ' ' + spec.head.name + trap)} {_digits(row, results)}"
    parts = (_safe(spec.data.dataset.name), _safe(spec.backbone.name), recipe)
    return Path(*([_safe(results)] if results else []), *parts, f"seed {spec.seed}")


def _digits(row: TrialResult, results: str) -> str:
    group = row.spec.seedless.key
    return hashlib.sha256("\n".join((results, row.stack.id, group)).encode()).hexdigest()[:8]


def _safe(name: str) -> str:
    """A folder's name: letters, digits, ``. = + - _`` and single spaces."""
    words = (_UNSAFE.sub("-", word) for word in name.split())
    return " ".join(words)[:LONGEST].strip(". ") or "unnamed"


def _write(row: TrialResult, results: str, folder: Path) -> None:
    run, began, history = folder / run_of(row, results), _began(row), _history(row)
    ended = max(began + row.seconds, history[-1].wall if history else began)
    seeds = f"{_digits(row, results)} {row.dataset.fingerprint[:8] if row.dataset else ''}"
    last = history[-1].epoch.index if history else 0
    facts = (
        *event_files.settings(_settings(row), seeds.strip(), began, ended, row.status == "ok"),
        event_files.text("trial", _story(row, history), began),
        *(event_files.scalar(tag, value, ended, last) for tag, value in _outcome(row)),
    )
    event_files.write(run, facts, began)
    event_files.write(run / "train", _curves(history, _train), began)
    event_files.write(run / "validation", _curves(history, _validation), began)


def _began(row: TrialResult) -> float:
    """When training began, in seconds since 1970; 0 where a row says no time."""
    try:
        return datetime.fromisoformat(row.started_at).timestamp() + row.pictures_seconds
    except (ValueError, OverflowError):
        return 0.0


def _history(row: TrialResult) -> list[Done]:
    phases = ((n, p) for n, p in ((1, row.phase1), (2, row.phase2)) if p)
    epochs = [(number, epoch) for number, phase in phases for epoch in phase.epochs]
    _, *ends = accumulate((epoch.seconds for _, epoch in epochs), initial=_began(row))
    return [Done(*done, end) for done, end in zip(epochs, ends, strict=True)]


def _curves(
    history: Iterable[Done], values: Callable[[Done], Mapping[str, float | None]]
) -> Iterator[Event]:
    for done in history:
        for tag, value in values(done).items():
            if value is not None:
                yield event_files.scalar(tag, value, done.wall, done.epoch.index)


def _train(done: Done) -> Mapping[str, float | None]:
    return {
        "epoch_loss": done.epoch.loss,
        "epoch_accuracy": done.epoch.accuracy,
        "epoch_learning_rate": done.epoch.learning_rate,
        "epoch_images_per_second": done.epoch.images_per_second,
        "phase": done.phase,
    }


def _validation(done: Done) -> Mapping[str, float | None]:
    return {"epoch_loss": done.epoch.val_loss, "epoch_accuracy": done.epoch.val_accuracy}


def _outcome(row: TrialResult) -> Iterator[tuple[str, float]]:
    for tag, value in (("test_accuracy", row.test_accuracy), ("test_loss", row.test_loss)):
        if value is not None:
            yield tag, value


def _settings(row: TrialResult) -> Mapping[str, str | float]:
    """What trials differ in but for the seed, by names of `bench.analysis.columns`."""
    spec = row.spec
    found: dict[str, str | float] = {
        "backbone": spec.backbone.name,
        "weights": spec.backbone.weights,
        "dataset": spec.data.dataset.name,
        "image_size": spec.data.image_size,
        "head": spec.head.name,
        "freeze": spec.freeze.label,
        "batch_norm": spec.batch_norm,
        "augmentation": ", ".join(f"{a.kind} {a.amount}" for a in spec.augmentation) or "none",
        "trap": spec.trap or "none",
        "batch_size": spec.execution.batch_size,
        "stack": row.stack.id,
    }
    for number, phase in ((1, spec.phase1), (2, spec.phase2)):
        if phase:
            found[f"phase{number}_epochs"] = phase.epochs
            found[f"phase{number}_learning_rate"] = phase.learning_rate
            found[f"phase{number}_optimizer"] = phase.optimizer
    return found


def _story(row: TrialResult, history: Iterable[Done]) -> str:
    """For the text page, in Markdown."""
    second = next((done.epoch.index for done in history if done.phase == 2), None)
    lines = (
        f"{row.spec.label} on {row.stack.id}",
        f"{row.status}: {row.reason}" if row.reason else row.status,
        f"guards failed: {', '.join(row.failed_guards)}" if row.failed_guards else "",
        "" if second is None else f"phase 2 begins at step {second}",
    )
    return "\n\n".join(foreign(line, "markdown") for line in lines if line)


class Mirror(Passing):
    """A listener of a run that writes each row's event files as it arrives, and passes all on.

    A run is worth more than its curves: a file that cannot be written stops nothing.

    Attributes:
        problems: why curves are missing, each reason once.

    Args:
        listener: told everything, first.
        folder: for TensorBoard's ``--logdir``.
        settled: rows measured before under a stack.
    """

    def __init__(
        self, listener: FleetListener, folder: Path, settled: Callable[[Stack], Iterable[Row]]
    ) -> None:
        super().__init__(listener)
        self._folder, self._settled = folder, settled
        self.problems: tuple[str, ...] = ()

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        """Write what was measured before."""
        super().begins(stack, trials, settled)
        self._keep(self._settled(stack))

    def trial_ends(self, result: Row) -> None:
        """Write its history."""
        super().trial_ends(result)
        self._keep([result])

    def _keep(self, rows: Iterable[Row]) -> None:
        try:
            write((row for row in rows if isinstance(row, TrialResult)), self._folder)
        except BenchError as error:
            self.problems = tuple(dict.fromkeys((*self.problems, str(error))))
