"""Augmented views: what augmentation makes of the train pictures in one epoch.

A view is a fixed function of the pictures: its random numbers come from the view's number (and the
trial's seed where views are per seed), layer by layer and chunk by chunk in the split's order. So
whoever asks for view 3 sees the same pixels, in whatever order they are trained on later.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import cache, steps
from bench.records import TrialSpec
from bench.training.batches import Pictures, Rows
from bench.zoo import augmentation as augmentation_table

CHUNK = 64
"""Pictures augmented at a time. Part of what a view is: see `steps.VIEWS_VERSION`."""


def chunks(
    pictures: Pictures, view: steps.View | None
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """A split's pictures in order, as the view shows them; unchanged where it is None.

    Yields:
        Which of the split's pictures, and their pixels: uint8 (up to `CHUNK`, height, width, 3).
    """
    layers = augmentation_table.layers_of(view.augmentation, 0) if view else []
    for chunk, first in enumerate(range(0, len(pictures), CHUNK)):
        rows = np.arange(first, min(first + CHUNK, len(pictures)))
        pixels = pictures[rows]
        if view:
            pixels = _augmented(pixels, layers, view, chunk)
        yield slice(first, first + len(rows)), pixels


def _augmented(
    pixels: NDArray[np.uint8], layers: Sequence[Any], view: steps.View, chunk: int
) -> NDArray[np.uint8]:
    """Through the layers in training mode, and back to whole numbers in [0, 255]."""
    x = keras.ops.cast(keras.ops.convert_to_tensor(pixels), "float32")
    for position, layer in enumerate(layers):
        seed = 0 if view.seed is None else view.seed + 1
        numbers = steps.VIEWS_VERSION, seed, view.number, position, chunk
        set_generator(layer.generator.state, *numbers)
        x = layer(x, training=True)
    rounded = keras.ops.round(keras.ops.clip(x, 0.0, 255.0))
    return np.asarray(keras.ops.convert_to_numpy(rounded)).astype(np.uint8)


def set_generator(state: Any, *numbers: int) -> None:
    """Let the random numbers of a Keras generator, whose state this is, follow from numbers."""
    drawn = np.random.SeedSequence(numbers).generate_state(2).astype(np.int64)
    value = keras.ops.convert_to_tensor(drawn % 2**31)  # PyTorch keeps no more bits
    state.assign(keras.ops.cast(value, state.dtype))


class EpochViews:
    """What a model that augments nothing itself takes in each epoch: that epoch's view.

    A view is written to an unnamed file, so that memory does not grow with the pictures, and kept
    until another one is asked for.

    Args:
        spec: whose augmentation and views.
        pictures: of the train split.
        folder: an existing folder for the file.
    """

    def __init__(self, spec: TrialSpec, pictures: Pictures, folder: Path) -> None:
        self._spec, self._pictures, self._folder = spec, pictures, folder
        self._view: steps.View | None = None
        self._pixels: Rows = pictures

    def __call__(self, epoch: int) -> Sequence[Rows]:
        """The pixels of the epoch's view, one row a picture."""
        view = steps.view_of(self._spec, epoch)
        if view != self._view:
            self._pixels, self._view = self._written(view), view
        return (self._pixels,)

    def _written(self, view: steps.View | None) -> NDArray[np.uint8]:
        with TemporaryFile(dir=self._folder) as file:
            shape = (len(self._pictures), *self._pictures.pixels.shape[1:])
            cache.reserve(file.fileno(), math.prod(shape), self._folder)
            pixels = np.memmap(file, np.uint8, "r+", shape=shape)
            for rows, chunk in chunks(self._pictures, view):
                pixels[rows] = chunk
        return pixels
