"""One step of a workload, compiled as the backend compiles it; the same for every backend.

A step is what Keras' own trainer runs for a batch (`train_step`, or a forward pass), without the
loop around it: no callbacks, no logs fetched, and the device is waited for only when asked. So
many steps can be timed as one burst, with a batch that is on the device already.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import keras
from numpy.typing import NDArray

Kind = Literal["inference", "training"]
Batch = tuple[Any, Any]
"""Pictures and targets, on the device."""


class Step(Protocol):
    """A compiled step."""

    def run(self, batch: Batch) -> None:
        """Start a step; it may still run when this returns."""

    def wait(self) -> None:
        """Return when every step that was started has ended."""

    def close(self) -> None:
        """Hand the model its variables back; the step is of no use afterwards."""


def to_device(*arrays: NDArray[Any]) -> tuple[Any, ...]:
    """Copy to the device, as they are: pictures stay uint8 (n, size, size, 3)."""
    return tuple(map(keras.ops.convert_to_tensor, arrays))


def compiled(model: Any, kind: Kind, example: Batch) -> Step:
    """The step of a compiled Keras model (``model.compile`` says whether XLA compiles it).

    Args:
        model: uint8 pictures -> outputs; compiled.
        kind: a forward pass in inference mode, or a training step.
        example: a batch of the shapes to come.
    """
    if kind == "training":
        _build(model, example)
    return _BACKENDS[keras.backend.backend()](model, kind)


def _build(model: Any, example: Batch) -> None:
    """Make what Keras makes late: the state of optimizer and metrics."""
    model.optimizer.build(model.trainable_variables)
    targets = example[1][:1]
    outputs = keras.ops.zeros((1, *model.output.shape[1:]))
    model.compute_loss(x=None, y=targets, y_pred=outputs)
    model.compute_metrics(None, targets, outputs)
    model.reset_metrics()


class _TensorFlow:
    def __init__(self, model: Any, kind: Kind) -> None:
        import tensorflow as tf

        steps: dict[Kind, Callable[[Any, Any], Any]] = {
            "inference": lambda pictures, targets: model(pictures, training=False),
            "training": lambda pictures, targets: model.train_step((pictures, targets)),
        }
        self._sync = tf.test.experimental.sync_devices
        self._step = tf.function(steps[kind], jit_compile=model.jit_compile, autograph=False)

    def run(self, batch: Batch) -> None:
        self._last = self._step(*batch)

    def wait(self) -> None:
        self._sync()

    def close(self) -> None:
        del self._step


class _Jax:
    """JAX's step is a pure function of the variables, whose buffers the next state takes over."""

    def __init__(self, model: Any, kind: Kind) -> None:
        import jax

        trained = model.trainable_variables, model.non_trainable_variables
        self._variables: tuple[Any, ...]
        if kind == "inference":
            self._variables = trained

            def infer(state: Any, batch: Batch) -> Any:
                return model.stateless_call(*state, batch[0], training=False)[0], state

            step: Callable[[Any, Batch], Any] = infer
        else:
            self._variables = *trained, model.optimizer.variables, model.metrics_variables
            step = model.train_step
        self._ready = jax.block_until_ready
        self._step = jax.jit(step, donate_argnums=0)
        self._state: Any = tuple([v.value for v in part] for part in self._variables)

    def run(self, batch: Batch) -> None:
        self._last, self._state = self._step(self._state, batch)

    def wait(self) -> None:
        self._ready((self._last, self._state))

    def close(self) -> None:
        for part, values in zip(self._variables, self._state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        del self._state


class _Torch:
    def __init__(self, model: Any, kind: Kind) -> None:
        import torch

        self._torch, self._model, self._kind = torch, model, kind

    def run(self, batch: Batch) -> None:
        if self._kind == "training":
            self._model.train_step(batch)
            return
        with self._torch.no_grad():
            self._model(batch[0], training=False)

    def wait(self) -> None:
        if self._torch.cuda.is_available():
            self._torch.cuda.synchronize()

    def close(self) -> None:
        self._model.zero_grad()


_BACKENDS: Mapping[str, Callable[[Any, Kind], Step]] = {
    "tensorflow": _TensorFlow,
    "jax": _Jax,
    "torch": _Torch,
}


@dataclass(frozen=True)
class Bursts:
    """Runs so many steps and waits for the last: what `bench.measuring.timing` times.

    Attributes:
        step: compiled.
        next_batch: gives the batch of each step.
    """

    step: Step
    next_batch: Callable[[], Batch]

    def __call__(self, steps: int) -> None:
        """Run them."""
        for _ in range(steps):
            self.step.run(self.next_batch())
        self.step.wait()
