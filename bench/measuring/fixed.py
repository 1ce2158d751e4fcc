"""What a fingerprint is computed from: numbers that are the same on every stack.

Everything comes of the raw words of NumPy's Philox generator, which NumPy promises never to change;
its distributions, and every framework's initialisers, may change between versions.
"""

import base64
import hashlib
import math
import struct
import zlib
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.numerics import SKETCH

PICTURES = 4
_GRID = 5
"""Random corners of a picture, with slopes in between: as smooth as photographs are."""

SHIFT, VARIANCE = 3.0, 4.0
"""Of a BatchNorm: the largest shift, and its variance. Shifts up to 3 have a variance of 3 and come
on top of a signal whose variance is 1; divided by 4 it stays 1."""

_PNG_SHAPE = (47, 61)
_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4"
    "UG1RV19iZ2hnPk1xeXBkeFxlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2Nj"
    "Y2NjY2NjY2NjY2NjY2NjY2NjY2P/wAARCAAYACQDASIAAhEBAxEB/8QAGQABAQEBAQEAAAAAAAAAAAAAAAQDBQIG/8QA"
    "IhAAAgIBBAEFAAAAAAAAAAAAAAECA2EEESExEkFCUYGh/8QAGQEAAgMBAAAAAAAAAAAAAAAAAgQBAwUG/8QAHxEAAgID"
    "AAIDAAAAAAAAAAAAAQIAEQMEEhMUITGh/9oADAMBAAIRAxEAPwD4qFGCiFGCqFGC6mPjUkC2TgXLdEed+br4uc6FGDeF"
    "GC09Vx8ppfJCbNkCpseucak9fUmVHHQOmqOOgOXKxnksKMGq0zfT2+gBPkMKM5PV2cuFusZozSOib9/4bUaFwsUnPfb0"
    "2ACXEgN1NZd/YcUzfglqo46AAxCDmf/Z"
)
"""36 x 24 pixels: slopes and edges, with colours at half the resolution."""


def words(name: str, count: int) -> NDArray[np.uint64]:
    """Random words that a name decides."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.asarray(np.random.Philox(key=key).random_raw(count), np.uint64)


def uniform(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers in [-1, 1), of variance 1/3."""
    bits = words(name, math.prod(shape)) >> np.uint64(11)
    return np.asarray(bits.reshape(shape) * 2.0**-52 - 1.0, np.float64)


def pictures(size: int) -> NDArray[np.uint8]:
    """Smooth coloured pictures, uint8 (PICTURES, size, size, 3); by whole numbers alone."""
    corners = (words("pictures", PICTURES * _GRID * _GRID * 3) % np.uint64(256)).astype(np.int64)
    shown = corners.reshape(PICTURES, _GRID, _GRID, 3)
    return _stretched(_stretched(shown, 1, size), 2, size).astype(np.uint8)


def _stretched(values: NDArray[np.int64], axis: int, size: int) -> NDArray[np.int64]:
    """Whole numbers between neighbours along an axis, so that it gets ``size`` of them."""
    steps = size - 1
    place = np.arange(size) * (_GRID - 1)
    low = np.minimum(place // steps, _GRID - 2)
    part = place - low * steps
    shape = [1] * values.ndim
    shape[axis] = size
    part = part.reshape(shape)
    below, above = np.take(values, low, axis), np.take(values, low + 1, axis)
    return np.asarray((below * (steps - part) + above * part) // steps)


def encoded() -> dict[str, bytes]:
    """Two encoded pictures, neither square: a PNG with transparency, and a JPEG."""
    return {"png": _png(), "jpeg": _JPEG}


def _png() -> bytes:
    height, width = _PNG_SHAPE
    y, x = np.mgrid[0:height, 0:width]
    channels = (x * 4 % 256, y * 5 % 256, (x * y) % 256, 255 - (x + y) * 2 % 256)
    rows = np.stack(channels, axis=-1).astype(np.uint8).reshape(height, -1)
    scanlines = b"".join(b"\0" + row.tobytes() for row in rows)  # 0: a line without a filter
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0),
        b"IDAT": zlib.compress(scanlines, 0),
        b"IEND": b"",
    }
    chunks = [
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def fill(model: Any) -> None:
    """Give a backbone random weights: kernels after He, normalisation that keeps sizes as they are.

    BatchNorm's shifts are wide, so that activations also reach where a ReLU6 ends; its variances
    make up for what they add. A layer that standardises pixels (``Normalization``) keeps its
    constants.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            continue
        wide = isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.weights:
            if "float" in keras.backend.standardize_dtype(weight.dtype):
                weight.assign(_initial(weight.path, tuple(weight.shape), wide))


def _initial(path: str, shape: tuple[int, ...], wide: bool) -> NDArray[np.float32]:
    name = path.rpartition("/")[2]
    numbers = uniform(path, shape)
    if "kernel" in name:
        inputs = math.prod(shape[:-1]) if "depthwise" not in name else math.prod(shape[:-2])
        numbers = numbers * math.sqrt(6 / inputs)
    elif "gamma" in name:
        numbers = 1 + 0.2 * numbers
    elif "variance" in name:
        numbers = VARIANCE * (1 + 0.2 * numbers)
    else:
        numbers = (SHIFT if wide and "beta" in name else 0.2) * numbers
    return numbers.astype(np.float32)


def sketch(values: NDArray[Any]) -> NDArray[np.float64]:
    """`SKETCH` sums that every number goes into one of, with a sign; both decided by its place.

    Linear, so that the difference of two sketches is the sketch of the difference. The square of
    its norm is, on average over signs, that of the tensor; its standard
    deviation is then sqrt(2 / SKETCH) of that, for a tensor of many numbers. So with 4 sums a
    distance comes out less than half of what it is in 9% of cases, less than a tenth in 0.02%, and
    more than twice in 0.3% (the quantiles of chi-squared over 4). The way of summing is Charikar,
    Chen and Farach-Colton's (Finding frequent items in data streams, 2002).
    """
    flat = np.asarray(values, np.float64).ravel()
    code = words("sketch", -(-flat.size // 8)).astype("<u8").view(np.uint8)[: flat.size]
    signed = np.where(code & 128, -flat, flat)
    return np.asarray(np.bincount(code % SKETCH, signed, SKETCH), np.float64)
