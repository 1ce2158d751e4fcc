"""What a phase records while Keras trains: one `Epoch` each, timed, and passed on as it happens."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from bench.progress import Progress
from bench.records import Epoch
from bench.training.batches import Batches

Report = Callable[[Progress], None]

REPORT_SECONDS = 1.0
TIMED_STEPS = 3
"""Fewest whole steps after the first for an epoch's throughput to mean anything."""


@dataclass(frozen=True)
class LossScaling:
    """What loss scaling came to in a phase under mixed float16.

    Attributes:
        scale: factor on the loss after the last step.
        steps: how many were run.
        skipped: of those, whose gradients overflowed, so that they changed no weight.
    """

    scale: float
    steps: int
    skipped: int


class ScaleWatch:
    """Finds out how many steps Keras' loss scaling skipped, which no history of Keras' tells.

    The optimizer inside a `keras.optimizers.LossScaleOptimizer` counts the steps that it applied;
    what was run beyond them was skipped. ``found`` is None where the loss is not scaled.
    """

    def __init__(self) -> None:
        self.found: LossScaling | None = None
        self._steps = self._applied_before = 0

    def begins(self, optimizer: Any) -> None:
        """Training begins, with an optimizer that may have been used before."""
        self._steps, self._applied_before = 0, _applied(optimizer)

    def step_ends(self) -> None:
        """A step was run, whether it was skipped or not."""
        self._steps += 1

    def ends(self, optimizer: Any) -> None:
        """Training has ended, and what Keras holds of the optimizer is up to date."""
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            scale = float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))
            skipped = self._steps - (_applied(optimizer) - self._applied_before)
            self.found = LossScaling(scale, self._steps, skipped)


def _applied(optimizer: Any) -> int:
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


class InputWait:
    """How much of the training time went into waiting for input.

    A step could begin when the one before it had ended; if its batch was ready only later, the
    device waited in between; while an augmented view is made, it waits, too. The first step of an
    epoch is left out: Keras may compile in it, and asks for the batch only then.
    """

    def __init__(self) -> None:
        self._waited = self._seconds = 0.0
        self._free: float | None = None

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where no epoch had a second step."""
        return self._waited / self._seconds if self._seconds else None

    def epoch_begins(self, preparing: float) -> None:
        """No step has ended yet; so many seconds went into preparing the epoch's input."""
        self._waited += preparing
        self._seconds += preparing
        self._free = None

    def step_ends(self, ready: float) -> None:
        """A step has ended whose batch was ready at that time of `time.perf_counter`."""
        now = time.perf_counter()
        if self._free is not None:
            self._waited += max(0.0, ready - self._free)
            self._seconds += now - self._free
        self._free = now


class Recorder(keras.callbacks.Callback):
    """Records every epoch of one phase and stops it when the loss is no longer finite.

    Args:
        stage: ``phase 1`` or ``phase 2``.
        train: what the phase trains on; told of each epoch as it begins.
        last_epoch: where the phase's planned epochs end, counted from the trial's first.
        report: told of each epoch, and of the steps about once a second.
        stock: whether the stock model trains, so that its throughput may be told.
    """

    def __init__(
        self, stage: str, train: Batches, last_epoch: int, report: Report, *, stock: bool
    ) -> None:
        super().__init__()
        self.stage, self.train, self.stock = stage, train, stock
        self.last_epoch, self.report = last_epoch, report
        self.epochs: list[Epoch] = []
        self.first_rate = math.nan
        self.wait, self._scale = InputWait(), ScaleWatch()
        self._rate = math.nan
        self._epoch = self._steps = self._timed = 0
        self._began = self._timed_from = self._trained = self._reported = 0.0

    @property
    def images_per_second(self) -> float | None:
        """Median training throughput over the epochs; None where none could be timed."""
        known = [e.images_per_second for e in self.epochs if e.images_per_second is not None]
        return statistics.median(known) if known else None

    @property
    def scaling(self) -> LossScaling | None:
        """What loss scaling came to, once the phase has ended; None where there is none."""
        return self._scale.found

    def on_train_begin(self, logs: Any = None) -> None:
        """Note the learning rate in force at the first step."""
        self.first_rate = self._current_rate()
        self._scale.begins(self.model.optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        """Note what loss scaling came to (on JAX, the optimizer is up to date only now)."""
        self._scale.ends(self.model.optimizer)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Shuffle the pictures and start the epoch's clock."""
        self.train.start_epoch(epoch)
        self.wait.epoch_begins(self.train.prepared())
        self._epoch, self._steps, self._timed = epoch, 0, 0
        self._rate = self._current_rate()
        self._began = self._reported = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Time the step, and report about once a second."""
        now = time.perf_counter()
        self._steps += 1
        self.wait.step_ends(self.train.ready.get(batch, 0.0))
        self._scale.step_ends()
        if self._steps == 1:
            self._timed_from = now
        elif self._steps * self.train.batch_size <= len(self.train.labels):
            self._trained, self._timed = now, self._timed + 1
        if now - self._reported > REPORT_SECONDS:
            self._reported = now
            self.report(self._progress(None))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Record the epoch; a loss that is not finite stops the phase."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        done = Epoch(
            index=epoch,
            loss=values["loss"],
            accuracy=values["accuracy"],
            val_loss=values["val_loss"],
            val_accuracy=values["val_accuracy"],
            learning_rate=self._rate,
            seconds=time.perf_counter() - self._began,
            images_per_second=self._throughput(),
        )
        self.epochs.append(done)
        self.report(self._progress(done))
        if not math.isfinite(done.loss + done.val_loss):
            self.model.stop_training = True

    def _throughput(self) -> float | None:
        """Of whole batches after the first; a smaller last one may have to be compiled anew."""
        if not self.stock or self._timed < TIMED_STEPS:
            return None
        return self._timed * self.train.batch_size / (self._trained - self._timed_from)

    def _current_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _progress(self, done: Epoch | None) -> Progress:
        return Progress(
            stage=self.stage,
            epoch=self._epoch + 1,
            epochs=self.last_epoch,
            step=self._steps,
            steps=len(self.train),
            epoch_done=done,
        )
