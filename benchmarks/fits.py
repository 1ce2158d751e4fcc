"""Two ways to let Keras fit the same compiled model, each timed over one epoch's steps.

An epoch's clock runs from its beginning to the end of its last step: validation is left out, and
whatever Keras does before the first epoch.
"""

import math
import time
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.measuring.subject import LEARNING_RATE, Subject, epoch_of
from bench.measuring.timing import WARM_STEPS
from bench.progress import Progress
from bench.records import Phase
from bench.training.batches import Pictures, of_pictures, targets
from bench.training.fitting import fit
from bench.training.recording import Recorder


class Clock(keras.callbacks.Callback):
    """Times an epoch without validation. It looks at no step, so Keras need not wait for any."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = math.nan
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self._began


class TimedRecorder(Recorder):
    """A trial's recorder that also times the steps of an epoch, its own work included."""

    seconds = math.nan

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_began = time.perf_counter()
        super().on_epoch_begin(epoch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self._epoch_began


class Repeated(keras.utils.PyDataset):
    """One batch from memory, so many times."""

    def __init__(self, batch: tuple[NDArray[Any], NDArray[Any]], times: int) -> None:
        super().__init__()
        self._batch, self._times = batch, times

    def __len__(self) -> int:
        return self._times

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        return self._batch


class Fits:
    """Fits of one model.

    Args:
        what: compiled, and used by nobody else.
        shown: a few pictures, mapped from a file as a trial's are.
        steps: of an epoch.
    """

    def __init__(self, what: Subject, shown: Pictures, steps: int) -> None:
        spec = what.spec
        assert spec.batch_size is not None
        self._model, self._steps = what.model, steps
        self._phase = Phase(epochs=1, learning_rate=LEARNING_RATE, optimizer=spec.optimizer)
        self._stage = spec.workload
        self._train = epoch_of(shown, spec, spec.batch_size, steps)
        self._val = of_pictures(shown, spec.batch_size, spec.head, spec.classes)
        first = np.arange(spec.batch_size)
        self._batch = shown[first], targets(shown.labels, spec.head, spec.classes)[first]

    def plain(self) -> float:
        """Seconds per step of Keras' own fit."""
        clock = Clock()
        self._plain(WARM_STEPS, Clock())
        self._plain(self._steps, clock)
        return clock.seconds / self._steps

    def trial(self) -> float:
        """Seconds per step of a trial's fit."""
        self._plain(WARM_STEPS, Clock())
        recorder = TimedRecorder(self._stage, self._train, 1, _unheard, stock=True)
        fit(self._model, self._train, self._val, self._phase, 0, recorder)
        return recorder.seconds / self._steps

    def _plain(self, steps: int, clock: Clock) -> None:
        repeated = Repeated(self._batch, steps)
        self._model.fit(repeated, epochs=1, callbacks=[clock], shuffle=False, verbose=0)


def _unheard(progress: Progress) -> None:
    """A runner that is told, and does nothing."""
