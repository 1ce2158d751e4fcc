"""Batches of pictures for Keras: from the memory-mapped cache, in an order the seed decides."""

import keras
import numpy as np
from numpy.typing import NDArray

from bench.records import Head


class Batches(keras.utils.PyDataset):
    """Pictures and labels, batch by batch; the last batch may be smaller, none is dropped.

    Pixels stay uint8 until the device. With a seed, epoch ``e`` (from 0) visits the pictures in an
    order that depends on the seed and ``e`` alone: whoever trains calls `start_epoch` first. (Keras
    would tell of an epoch's end too, but also of that of a look ahead that trains nothing.)

    Args:
        pixels: uint8 (pictures, height, width, 3), memory-mapped or not.
        labels: int (pictures,), the class of each.
        indices: which pictures, in this order where there is no seed.
        batch_size: pictures per batch.
        head: decides the form of the labels.
        classes: classes of the dataset.
        seed: shuffle with it; None keeps the order.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.int64],
        indices: NDArray[np.int64],
        batch_size: int,
        head: Head,
        classes: int,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.pixels, self.indices, self.batch_size, self.seed = pixels, indices, batch_size, seed
        self.labels = labels[indices]
        self.targets = targets(self.labels, head, classes)
        self._order = np.arange(len(indices))

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __getitem__(self, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Pixels (batch, height, width, 3) uint8 and targets as the loss wants them."""
        chosen = self._order[batch * self.batch_size : (batch + 1) * self.batch_size]
        return self.pixels[self.indices[chosen]], self.targets[chosen]

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch, counted from the trial's first."""
        if self.seed is not None:
            random = np.random.default_rng([self.seed, epoch])
            self._order = random.permutation(len(self.indices))


def targets(labels: NDArray[np.int64], head: Head, classes: int) -> NDArray[np.float32]:
    """Labels as the head's loss wants them: (n,), one-hot (n, classes), or (n, 1) for binary."""
    if head.loss == "one_hot":
        return np.eye(classes, dtype=np.float32)[labels]
    if head.loss == "binary":
        return labels[:, None].astype(np.float32)
    return labels.astype(np.float32)
