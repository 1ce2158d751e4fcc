"""Preprocessing contracts: what each family of backbones expects of pixels in [0, 255].

Every contract is "reverse the channels or not, then scale and offset each", so one table of
numbers serves the Keras layers of the model and the NumPy arithmetic that the guard checks them
with. Source of the numbers: ``keras.applications.imagenet_utils.preprocess_input``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.records import Preprocessing

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Contract:
    """``pixels[..., ::-1 if reverse] * scale + offset``, channel by channel."""

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    reverse: bool = False


CONTRACTS: Mapping[Preprocessing, Contract] = {
    "raw": Contract((1.0,) * 3, (0.0,) * 3),
    "minus_one_to_one": Contract((1 / 127.5,) * 3, (-1.0,) * 3),
    "zero_to_one": Contract((1 / 255,) * 3, (0.0,) * 3),
    "caffe": Contract((1.0,) * 3, (-103.939, -116.779, -123.68), reverse=True),
    "torch": Contract(
        tuple(1 / (255 * d) for d in _DEVIATION),  # type: ignore[arg-type]
        tuple(-m / d for m, d in zip(_MEAN, _DEVIATION, strict=True)),  # type: ignore[arg-type]
    ),
}


def apply(preprocessing: Preprocessing, pixels: Any) -> Any:
    """Symbolic float pixels (batch, height, width, 3) in [0, 255] -> what the backbone expects."""
    import keras

    contract = CONTRACTS[preprocessing]
    if preprocessing == "raw":
        return pixels
    if contract.reverse:
        pixels = keras.ops.flip(pixels, axis=-1)
    layer = keras.layers.Rescaling(
        list(contract.scale), list(contract.offset), dtype="float32", name="preprocessing"
    )
    return layer(pixels)


def reference(preprocessing: Preprocessing, pixels: NDArray[Any]) -> NDArray[np.float64]:
    """The same in NumPy and float64: what the guard holds the model's own result against."""
    contract = CONTRACTS[preprocessing]
    ordered = np.asarray(pixels, np.float64)[..., :: -1 if contract.reverse else 1]
    return np.asarray(ordered * np.array(contract.scale) + np.array(contract.offset))
