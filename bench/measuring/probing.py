"""What a backbone computes, tensor by tensor: outputs of every layer, loss and gradients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.measuring import fixed
from bench.numerics import ExecutionMode, Numbers
from bench.records import Head
from bench.training import fitting
from bench.zoo import heads

Array = NDArray[Any]
Tensors = dict[str, Array]
"""By the probe's name, in the order they are computed."""

HEAD = Head(name="linear")
CLASSES = 10

_UNITS: Mapping[str, float] = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
EXACT = _UNITS["float32"]
"""Unit roundoff of what is float32 whatever the precision."""
_TENSOR_FLOAT = 2.0**-11

MODES: Mapping[str, tuple[ExecutionMode, ...]] = {
    "tensorflow": ("graph", "xla"),
    "jax": ("xla",),
    "torch": ("eager",),
}

Compiled = Callable[[Any, Any], tuple[Sequence[Any], Any, Sequence[Any]]]
"""(input of the backbone, labels) -> outputs, loss, gradients."""


def modes() -> tuple[ExecutionMode, ...]:
    """Ways that the backend runs, its default first."""
    return MODES[keras.backend.backend()]


def unit(precision: Numbers) -> float:
    """Unit roundoff of the products of a precision, as they come out on this device.

    Accelerators may compute float32 products in TF32, with 10 bits behind the point.
    """
    compute = precision.removeprefix("mixed_")
    if compute != "float32":
        return _UNITS[compute]
    fine = np.full((256, 256), 1 + 2.0**-12, np.float32)
    one = np.eye(256, dtype=np.float32)
    product = keras.ops.matmul(fine, one)
    convolved = keras.ops.conv(
        fine.reshape(4, 8, 8, 256), one.reshape(1, 1, 256, 256), data_format="channels_last"
    )
    kept = all(np.array_equal(_array(x).reshape(256, 256), fine) for x in (product, convolved))
    return EXACT if kept else _TENSOR_FLOAT


@dataclass(frozen=True)
class Probed:
    """A backbone with a linear head on it, and every tensor inside.

    Attributes:
        whole: preprocessed pixels -> every tensor named in ``names``.
        names: of its outputs: layers in the order of the graph, ``features``, ``logits``.
        statistics: of each BatchNorm layer, the name of the probe that it takes.
    """

    whole: Any
    names: tuple[str, ...]
    statistics: Mapping[str, str]

    @classmethod
    def of(cls, backbone: Any) -> "Probed":
        """Put the head on, with weights that are the same on every stack."""
        layers, names, sources = [], [], {}
        for layer in backbone.layers:
            for i, tensor in enumerate(_outputs(layer)):
                name = f"layer {layer.name}" + (f" output {i}" if i else "")
                sources[id(tensor)] = name
                layers.append(tensor)
                names.append(name)
        pooled = heads.pooling(HEAD)(backbone.output)
        logits = heads.attach_to_pooled(HEAD, pooled, CLASSES)
        whole = keras.Model(backbone.input, [*layers, pooled, logits])
        output = whole.get_layer("head_output")
        output.set_weights(
            [fixed.uniform(f"head {w.shape}", tuple(w.shape)) * 0.1 for w in output.weights]
        )
        takes = {
            layer.name: sources[id(layer.input)]
            for layer in backbone.layers
            if isinstance(layer, keras.layers.BatchNormalization)
            and len(layer._inbound_nodes) == 1
            and id(layer.input) in sources
        }
        return cls(whole, (*names, "features", "logits"), takes)

    def compiled(self, mode: ExecutionMode) -> Compiled:
        """A step in this mode; inference mode throughout, every weight trains."""
        return _BACKENDS[keras.backend.backend()](self.whole, mode)

    def tensors(self, run: Compiled, prepared: Array, labels: Array) -> Tensors:
        """Run a step; everything as float32.

        Args:
            run: as compiled.
            prepared: float32 (pictures, side, side, 3), what enters the backbone.
            labels: int (pictures,).
        """
        outputs, loss, gradients = run(
            keras.ops.convert_to_tensor(prepared), keras.ops.convert_to_tensor(labels)
        )
        found = dict(zip(self.names, map(_array, outputs), strict=True))
        found["loss"] = _array(loss)
        for weight, gradient in zip(self.whole.trainable_variables, gradients, strict=True):
            absent = gradient is None
            found[f"gradient {weight.path}"] = (
                np.zeros(weight.shape, np.float32) if absent else _array(gradient)
            )
        return found

    def moved_statistics(self, tensors: Tensors, turn: int) -> Tensors:
        """What a batch makes of the mean and variance of each BatchNorm layer, beginning from 0.

        Each layer is called by itself, in training mode, with what it took in inference mode: so
        nothing random in between plays a part. From 0, no digits are lost in what momentum leaves.

        Args:
            tensors: of the same weights.
            turn: which move: from 1 on, places are shuffled, as sums over many of them round by
                more than their terms do.
        """
        moved = {}
        for name, source in self.statistics.items():
            layer = self.whole.get_layer(name)
            parts = (layer.moving_mean, layer.moving_variance)
            kept = [_array(part.value) for part in parts]
            for part in parts:
                part.assign(np.zeros(part.shape, np.float32))
            taken = _shuffled(tensors[source], turn) if layer.axis in (-1, 3) else tensors[source]
            layer(keras.ops.convert_to_tensor(taken), training=True)
            moved[f"statistics {name}"] = np.concatenate([_array(part.value) for part in parts])
            for part, value in zip(parts, kept, strict=True):
                part.assign(value)
        return moved

    def weights(self) -> list[Array]:
        """Values of every weight."""
        return [_array(w.value) for w in self.whole.weights]

    def assign(self, values: Sequence[Array]) -> None:
        """Set every weight."""
        for weight, value in zip(self.whole.weights, values, strict=True):
            weight.assign(value)


def optimizer(name: str, unit: float, turn: int) -> Array:
    """Where three steps of an optimizer take numbers whose gradients span nine powers of ten.

    Args:
        name: of a row of `bench.training.fitting.OPTIMIZERS`.
        unit: gradients and numbers are moved by at most this share.
        turn: which move.
    """
    start = 0.03 * fixed.uniform("start", (72,)) * _moved((72,), "start", unit, turn)
    scales = 10.0 ** -(np.arange(72) % 9)
    variable = keras.Variable(start.astype(np.float32), dtype="float32")
    with_defaults = fitting.OPTIMIZERS[name](0.1)
    for step in range(3):
        label = f"gradient {step}"
        slope = fixed.uniform(label, (72,)) * scales * _moved((72,), label, unit, turn)
        with_defaults.apply([keras.ops.convert_to_tensor(slope.astype(np.float32))], [variable])
    return np.asarray(_array(variable.value) - start)


def moved(values: Array, name: str, unit: float, turn: int) -> Array:
    """Numbers, each moved by at most ``unit`` of itself; what is no floating number stays."""
    if turn == 0 or not np.issubdtype(values.dtype, np.floating):
        return values
    return np.asarray(values * _moved(values.shape, name, unit, turn)).astype(values.dtype)


def _moved(shape: tuple[int, ...], name: str, unit: float, turn: int) -> NDArray[np.float64]:
    return 1 + (unit * fixed.uniform(f"{name} {turn}", shape) if turn else np.zeros(shape))


def _shuffled(values: Array, turn: int) -> Array:
    """Pictures and places in another order; channels, the last axis, in theirs."""
    if turn == 0:
        return values
    rows = values.reshape(-1, values.shape[-1])
    order = np.argsort(fixed.words(f"places {turn}", len(rows)), kind="stable")
    return np.asarray(rows[order].reshape(values.shape))


def _outputs(layer: Any) -> list[Any]:
    if isinstance(layer, keras.layers.InputLayer):
        return []
    return list(keras.tree.flatten([node.outputs for node in layer._inbound_nodes]))


def _array(tensor: Any) -> Array:
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    return array if array.dtype.kind in "iub" else array.astype(np.float32)


# ------------------------------------------------------------------- loss and gradients, by backend


def _loss(outputs: Sequence[Any], labels: Any) -> Any:
    return fitting.loss_of(HEAD)(labels, outputs[-1])


def _tensorflow(whole: Any, mode: ExecutionMode) -> Compiled:
    import tensorflow as tf

    def step(prepared: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = whole(prepared, training=False)
            loss = _loss(outputs, labels)
        trained = [v.value for v in whole.trainable_variables]
        zero = tf.UnconnectedGradients.ZERO
        return outputs, loss, tape.gradient(loss, trained, unconnected_gradients=zero)

    compiled: Compiled = tf.function(step, jit_compile=mode == "xla", autograph=False)
    return compiled


def _jax(whole: Any, _: ExecutionMode) -> Compiled:
    import jax

    def forward(trained: Any, fixed_: Any, prepared: Any, labels: Any) -> Any:
        outputs, _ = whole.stateless_call(trained, fixed_, prepared, training=False)
        return _loss(outputs, labels), outputs

    step = jax.jit(jax.value_and_grad(forward, has_aux=True))

    def run(prepared: Any, labels: Any) -> Any:
        trained = [v.value for v in whole.trainable_variables]
        others = [v.value for v in whole.non_trainable_variables]
        (loss, outputs), gradients = step(trained, others, prepared, labels)
        return outputs, loss, gradients

    return run


def _torch(whole: Any, _: ExecutionMode) -> Compiled:
    import torch

    def run(prepared: Any, labels: Any) -> Any:
        outputs = whole(prepared, training=False)
        loss = _loss(outputs, labels)
        trained = [v.value for v in whole.trainable_variables]
        return outputs, loss, torch.autograd.grad(loss, trained, allow_unused=True)

    return run


_BACKENDS: Mapping[str, Callable[[Any, ExecutionMode], Compiled]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
