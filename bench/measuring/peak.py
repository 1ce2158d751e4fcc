"""The fastest this device multiplies matrices: what a model's arithmetic is held against."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.errors import UnknownNameError

SMALLEST, LARGEST = 256, 8192
"""Sides of the matrices. Small at first: a CPU may be a hundred times slower in half precision."""

LONG = 0.05
"""Seconds that a measurement takes at least: starting it and waiting for it vanish in that, and so
does, on a busy CPU, one thread of a product waiting some 15 ms for its turn."""

_REPEATS, _ENOUGH = 4, 0.6
"""Bursts of a size, of which the best counts; no more than two once they have taken 0.6 s."""

_DTYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}

Run = Callable[[int], None]
"""Computes a product so many times, and returns when the device is done."""


def peak_flops(precision: str) -> float:
    """Floating-point operations per second of a square matrix product, at its fastest.

    Two times side cubed for a product, in the dtype that a precision computes in, on the default
    device, compiled where the backend compiles. The side grows from 256 while a product takes less
    than 50 ms, up to 8192; the fastest of all that was timed counts, the first of each size apart.
    It takes a second or two on a laptop, and up to 1 GB of the device's memory meanwhile.

    What it is compared with must compute as it does. In ``float32`` a GPU may use TF32, which each
    backend decides for itself, and PyTorch otherwise for convolutions than for this product; on a
    CPU, Keras on PyTorch multiplies float16 in float32.

    Args:
        precision: ``float32``, ``mixed_bfloat16`` or ``mixed_float16``.

    Raises:
        UnknownNameError: another precision.
    """
    if precision not in _DTYPES:
        raise UnknownNameError("precision", precision, _DTYPES)
    return max(_rates(_DTYPES[precision]))


def _rates(dtype: str) -> Iterator[float]:
    """The best rate of each size, and of bursts where even the largest is done at once."""
    size = SMALLEST
    while True:
        run = _product(size, dtype)
        run(1)
        seconds = _best(run, 1)
        yield 2 * size**3 / seconds
        if seconds >= LONG or size == LARGEST:
            break
        # Four times the side is 64 times the work; each size that is left out compiles nothing.
        size = min(LARGEST, size * (4 if seconds < LONG / 64 else 2))
    if (count := math.ceil(LONG / seconds)) > 1:
        yield 2 * size**3 / _best(run, count)


def _best(run: Run, count: int) -> float:
    """Seconds of one product: least of several bursts of so many."""
    bursts = [_timed(run, count), _timed(run, count)]
    while len(bursts) < _REPEATS and sum(bursts) < _ENOUGH:
        bursts.append(_timed(run, count))
    return min(bursts) / count


_clock = time.perf_counter


def _timed(run: Run, count: int) -> float:
    start = _clock()
    run(count)
    return _clock() - start


def _product(size: int, dtype: str) -> Run:
    """A product of two random matrices of this side on the default device."""
    import keras

    left, right = (
        keras.ops.cast(keras.random.normal((size, size), dtype="float32", seed=seed), dtype)
        for seed in (0, 1)
    )
    multiply, wait = _BACKENDS[keras.backend.backend()](keras.ops.matmul)

    def run(count: int) -> None:
        for _ in range(count):
            result = multiply(left, right)
        wait(result)

    return run


Multiply = Callable[[Any, Any], Any]
Compiled = tuple[Multiply, Callable[[Any], object]]
"""A product as the backend runs it, and how to wait for the last of several."""


def _tensorflow(multiply: Multiply) -> Compiled:
    import tensorflow as tf

    compiled = tf.function(multiply, autograph=False)
    return compiled, lambda _: tf.test.experimental.sync_devices()


def _jax(multiply: Multiply) -> Compiled:
    import jax

    return jax.jit(multiply), jax.block_until_ready


def _torch(multiply: Multiply) -> Compiled:
    import torch

    return multiply, lambda result: torch.cuda.synchronize() if result.is_cuda else None


_BACKENDS: dict[str, Callable[[Multiply], Compiled]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
