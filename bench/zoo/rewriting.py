"""The exact depthwise rewrite: a grouped convolution of one channel per group, run as depthwise.

keras.applications writes ConvNeXt's depthwise convolution as ``Conv2D(groups=channels)``, which
TensorFlow on a CPU runs tens of times slower than the same arithmetic as a depthwise convolution.
The rewrite replaces a layer's `convolution_op` alone, which Keras documents as open to overriding:
weights keep their paths, shapes and values, so freezing, guards and fingerprints see no change.

It is applied where, on this machine, the numbers agree and it measures faster; never by name.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.zoo import freezing

FASTER = 1.2
"""How many times faster the rewrite must be. Below that a busy machine could decide either way."""

TOLERANCE = {"float32": 1e-5, "float64": 1e-5, "float16": 2e-2, "bfloat16": 2e-2}
"""Largest difference allowed between the two, relative to the output's largest value, by dtype."""

_REPEATS = 5


@dataclass(frozen=True)
class Rewrite:
    """What became of a backbone's depthwise convolutions that are written as grouped ones.

    Attributes:
        layers: how many run as depthwise convolutions now.
        candidates: how many convolutions have as many groups as input channels, two at least.
        difference: largest relative difference of an applied rewrite, 0 where none is applied.
        speedup: stock seconds / rewritten seconds, forward only, the median over the applied
            shapes; 1 where none is applied.
        refused: for each shape left as it is, which one, and why.
    """

    layers: int = 0
    candidates: int = 0
    difference: float = 0.0
    speedup: float = 1.0
    refused: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line for a row; empty where the backbone has no such convolution."""
        if not self.candidates:
            return ""
        said = f"{self.layers} of {self.candidates} grouped convolutions as depthwise ones"
        if self.layers:
            times = f"{self.speedup:.{0 if self.speedup >= 10 else 1}f} times faster"
            said += f": largest relative difference {self.difference:.1e}, {times}"
        if self.refused:
            said += f"; left as they are: {', '.join(self.refused)}"
        return said


@dataclass(frozen=True)
class _Depthwise:
    """A `convolution_op`: that of one layer, as a depthwise convolution.

    Args:
        strides, padding, data_format, dilation_rate: the layer's own.
    """

    strides: tuple[int, ...]
    padding: str
    data_format: str
    dilation_rate: tuple[int, ...]

    def __call__(self, inputs: Any, kernel: Any) -> Any:
        """Convolve; the kernel is the grouped one, shape (height, width, 1, outputs)."""
        import keras

        channels = inputs.shape[_channel_axis(self.data_format)]
        height, width, _, outputs = kernel.shape
        # Outputs g * m ... g * m + m - 1 belong to group g in both layouts, so that for any
        # multiplier m the kernel is reshaped, where swapping its last axes would do for m = 1 only.
        shape = (height, width, channels, outputs // channels)
        return keras.ops.depthwise_conv(
            inputs,
            keras.ops.reshape(kernel, shape),
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )


@dataclass(frozen=True)
class _Verdict:
    """What measuring one shape says: the rewrite holds there, or a reason why not."""

    difference: float = 0.0
    speedup: float = 1.0
    reason: str = ""


def depthwise(backbone: Any, batch: int = 2) -> Rewrite:
    """Run grouped convolutions of one channel per group as depthwise ones, where that pays.

    Each distinct shape is measured once, on random input and kernel. To be called before the model
    is compiled: functions that Keras has traced already keep the stock operation.

    Args:
        backbone: a Keras model, built; nested models are looked through. Changed in place.
        batch: pictures in a measurement.

    Returns:
        What was done. Called again, it starts afresh.
    """
    undo(backbone)
    found: dict[tuple[Any, ...], list[Any]] = {}
    candidates = [layer for layer in _layers(backbone) if _is_depthwise(layer)]
    for layer in candidates:
        found.setdefault(_shape(layer), []).append(layer)
    verdicts = {shape: _judge(layers[0], batch) for shape, layers in found.items()}
    good = {s: v for s, v in verdicts.items() if not v.reason}
    for shape in good:
        for layer in found[shape]:
            layer.convolution_op = _rewritten(layer)
    return Rewrite(
        layers=sum(len(found[s]) for s in good),
        candidates=len(candidates),
        difference=max((v.difference for v in good.values()), default=0.0),
        speedup=statistics.median(v.speedup for v in good.values()) if good else 1.0,
        refused=tuple(
            f"{_said(found[s])} {v.reason}" for s, v in verdicts.items() if s not in good
        ),
    )


def undo(backbone: Any) -> None:
    """Give every rewritten layer its stock operation back. To be called before compiling, too."""
    for layer in _layers(backbone):
        if isinstance(vars(layer).get("convolution_op"), _Depthwise):
            del layer.convolution_op


def _layers(backbone: Any) -> list[Any]:
    """Every layer once, though nested models may share it."""
    return list({id(leaf): leaf for leaf in freezing.leaves(backbone)}.values())


def _is_depthwise(layer: Any) -> bool:
    import keras

    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.groups > 1
        and layer.built
        and layer.kernel.shape[-2] == 1
    )


def _channel_axis(data_format: str) -> int:
    return -1 if data_format == "channels_last" else 1


def _input_shape(layer: Any) -> tuple[int | None, ...]:
    """The shape a layer was built for, batch first, None for what is not known.

    `layer.input.shape` says the same, but not for shared layers nor outside functional models.
    """
    return tuple(layer.get_build_config()["input_shape"])


def _shape(layer: Any) -> tuple[Any, ...]:
    """Layers that agree in this run the same arithmetic at the same size."""
    return (
        _input_shape(layer),
        tuple(layer.kernel.shape),
        tuple(layer.strides),
        tuple(layer.dilation_rate),
        layer.padding,
        layer.data_format,
        layer.compute_dtype,
    )


def _said(layers: list[Any]) -> str:
    """These layers, all of one shape, for a reader: ``7x7 on 56x56x96 (3 layers)``."""
    first = layers[0]
    kernel = "x".join(map(str, first.kernel_size))
    size = "x".join("?" if n is None else str(n) for n in _input_shape(first)[1:])
    return f"{kernel} on {size} ({len(layers)} {'layer' if len(layers) == 1 else 'layers'})"


def _rewritten(layer: Any) -> Callable[[Any, Any], Any]:
    return _Depthwise(
        strides=tuple(layer.strides),
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=tuple(layer.dilation_rate),
    )


def _judge(layer: Any, batch: int) -> _Verdict:
    """Compare the two operations of a layer that is not rewritten, in numbers and in time."""
    size = _input_shape(layer)[1:]
    shape = tuple(n for n in size if n is not None)
    if len(shape) < len(size):
        return _Verdict(reason="input size not known, so not measured")
    arguments = _random(layer, (batch, *shape))
    rewritten = _rewritten(layer)
    try:
        wanted = _numbers(layer.convolution_op, arguments)
        given = _numbers(rewritten, arguments)
    # A backend says in its own words that it has no such operation (unequal strides, for one).
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        return _Verdict(reason=f"cannot run ({type(error).__name__}: {first_line[:200]})")
    difference = _difference(wanted, given)
    tolerance = TOLERANCE.get(layer.compute_dtype, TOLERANCE["float32"])
    if not difference <= tolerance:  # nan is refused as well
        return _Verdict(reason=f"differs by {difference:.1e}, more than {tolerance:.0e}")
    speedup = _seconds(layer.convolution_op, arguments) / _seconds(rewritten, arguments)
    if speedup < FASTER:
        return _Verdict(reason=f"measured {speedup:.2f} times faster, less than {FASTER}")
    return _Verdict(difference, speedup)


def _random(layer: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Input and kernel in the layer's dtype. Not its own kernel, which could be all zeros."""
    import keras

    rng = np.random.default_rng(0)
    inputs, kernel = (rng.standard_normal(s) for s in (shape, tuple(layer.kernel.shape)))
    kernel /= math.sqrt(math.prod(layer.kernel_size))  # the output stays within float16
    dtype = layer.compute_dtype
    return tuple(keras.ops.convert_to_tensor(a.astype("float32"), dtype) for a in (inputs, kernel))


def _numbers(operation: Callable[[Any, Any], Any], arguments: tuple[Any, Any]) -> Any:
    import keras

    output = _compiled(operation)(*arguments)
    return keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))


def _difference(wanted: Any, given: Any) -> float:
    """Largest difference, relative to the largest of the wanted values."""
    if wanted.shape != given.shape:
        return math.inf
    return float(np.max(np.abs(wanted - given)) / np.max(np.abs(wanted)))


def _seconds(operation: Callable[[Any, Any], Any], arguments: tuple[Any, Any]) -> float:
    """Median seconds of a run, compiled beforehand as training compiles it."""
    import keras

    def one_number(inputs: Any, kernel: Any) -> Any:
        return keras.ops.sum(operation(inputs, kernel))

    run = _compiled(one_number)  # so that waiting for it copies nothing from an accelerator

    def timed() -> float:
        start = time.perf_counter()
        keras.ops.convert_to_numpy(run(*arguments))
        return time.perf_counter() - start

    timed()
    return statistics.median(timed() for _ in range(_REPEATS))


def _compiled(operation: Callable[..., Any]) -> Callable[..., Any]:
    """As a plain graph on TensorFlow, compiled on JAX, as it is on PyTorch.

    Run eagerly, TensorFlow would compile a grouped convolution again at each call.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(operation, autograph=False)  # type: ignore[no-any-return]
    if backend == "jax":
        import jax

        return jax.jit(operation)  # type: ignore[no-any-return]
    return operation
