"""Batches of pictures, or of what was computed from them, in an order that the seed decides."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from bench.records import Head
from bench.training import parallel
from bench.training.ahead import Ahead


class Rows(Protocol):
    """One row a picture: an array, memory-mapped or not, or some pictures of one."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]:
        """Those rows."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of one split, in its order.

    Attributes:
        pixels: uint8 (all pictures of the dataset, height, width, 3), memory-mapped or not.
        indices: which of them the split has.
        labels: int (split's pictures,), the class of each.
        hashes: of the content of each of the split's pictures.
    """

    pixels: NDArray[np.uint8]
    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    hashes: tuple[str, ...]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (rows, height, width, 3)."""
        return self.pixels[self.indices[rows]]

    def __len__(self) -> int:
        return len(self.indices)


Inputs = Callable[[int], Sequence[Rows]]
"""Epoch, counted from the trial's first -> what the model takes: one or several."""


class Batches(keras.utils.PyDataset):
    """Inputs and targets, batch by batch; the last batch may be smaller, none is dropped.

    Pixels stay uint8 until the device. With a seed, epoch ``e`` (from 0) visits the pictures in an
    order that depends on the seed and ``e`` alone: whoever trains calls `start_epoch` first. (Keras
    would tell of an epoch's end too, but also of that of a look ahead that trains nothing.)

    On several devices a batch is filled up until they divide it, and has weights
    (`bench.training.parallel`).

    Args:
        inputs: for each epoch, what the model takes.
        labels: int (pictures,), the class of each.
        batch_size: pictures per batch.
        head: decides the form of the labels.
        classes: classes of the dataset.
        seed: shuffle with it; None keeps the order.
        first_epoch: the one to begin with.
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: NDArray[np.int64],
        batch_size: int,
        head: Head,
        classes: int,
        seed: int | None = None,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.labels, self.batch_size, self.seed = labels, batch_size, seed
        self.targets = targets(labels, head, classes)
        self._ahead: Ahead[tuple[Any, ...]] = Ahead(self._made, len(self))
        self._inputs, self._first_epoch = inputs, first_epoch
        self._current: Sequence[Rows] | None = None
        self._preparing = 0.0
        self._order = np.arange(len(labels))
        self._spread = parallel.count() > 1
        self._asking = threading.Lock()  # a look ahead on TensorFlow may still go on in an epoch

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __getitem__(self, batch: int) -> tuple[Any, ...]:
        """What the model takes (each batch first) and targets as the loss wants them."""
        with self._asking:
            if self._current is None:  # Keras looks ahead before the first epoch
                self._prepare(self._first_epoch)
            return self._ahead.get(batch)

    def _made(self, batch: int) -> tuple[Any, ...]:
        assert self._current is not None
        chosen = self._order[batch * self.batch_size : (batch + 1) * self.batch_size]
        weights = (parallel.weights(len(chosen)),) if self._spread else ()
        if self._spread:
            chosen = np.resize(chosen, parallel.padded(len(chosen)))
        taken = tuple(rows[chosen] for rows in self._current)
        return taken[0] if len(taken) == 1 else taken, self.targets[chosen], *weights

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch, counted from the trial's first."""
        with self._asking:
            self._ahead.forget()
            self._prepare(epoch)
            self._order = order(self.seed, epoch, len(self.labels))

    @property
    def ready(self) -> Mapping[int, float]:
        """When each batch of the epoch was there, as `time.perf_counter` has it."""
        return self._ahead.ready

    def prepared(self) -> float:
        """Seconds that went into making epochs' inputs since this was last asked."""
        seconds, self._preparing = self._preparing, 0.0
        return seconds

    def _prepare(self, epoch: int) -> None:
        began = time.perf_counter()
        self._current = self._inputs(epoch)
        self._preparing += time.perf_counter() - began


def of_pictures(
    pictures: Pictures, batch_size: int, head: Head, classes: int, seed: int | None = None
) -> Batches:
    """Batches of a split's pictures as they are, the same in every epoch."""
    return Batches(lambda _: (pictures,), pictures.labels, batch_size, head, classes, seed)


def order(seed: int | None, epoch: int, count: int) -> NDArray[np.int64]:
    """The order in which an epoch visits so many pictures."""
    if seed is None:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)


def targets(labels: NDArray[np.int64], head: Head, classes: int) -> NDArray[np.float32]:
    """Labels as the head's loss wants them: (n,), one-hot (n, classes), or (n, 1) for binary."""
    if head.loss == "one_hot":
        return np.eye(classes, dtype=np.float32)[labels]
    if head.loss == "binary":
        return labels[:, None].astype(np.float32)
    return labels.astype(np.float32)
