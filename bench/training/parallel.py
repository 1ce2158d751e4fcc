"""One trial on several devices of one machine: each computes its part of every batch.

Keras does the work: `keras.distribution.DataParallel` on JAX, `tf.distribute.MirroredStrategy` on
TensorFlow. This module sees to it that the numbers stay those of one device, to rounding:

    batches that do not divide   filled up with pictures that count nothing (`padded`, `weights`),
                                 and taken out again of what Keras reports (`Unpadded`)
    dropout                      a part's mask is its part of the whole batch's (`replicas`)

What cannot be kept is refused (`check`, `check_precision`): above all BatchNorm in training mode on
TensorFlow. A replica's own statistics are not the batch's, and Keras' ``synchronized`` takes a mean
of squares less the square of a mean, which rounds coarsely: the loss of one step of MobileNetV2 was
3e-3 off. On one device nothing here does anything.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, ImpossibleTrialError
from bench.records import TrialSpec
from bench.zoo.freezing import leaves

KEY = "execution.devices"


class _Process:
    """What the devices of this process are; Keras keeps it per process, too."""

    count = 1
    active = 1
    distribution: Any = None
    scope: Any = None


# ------------------------------------------------------------------------------- of the process


def prepare(devices: int) -> None:
    """See that there are so many devices, before the backend looks for them.

    Without an accelerator they are virtual ones, parts of the processor.

    Raises:
        BenchError: the machine has accelerators, but fewer; or the backend cannot do it.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise BenchError(
            f"{KEY} = {devices}: expected 1 on {backend}: Keras spreads a batch over devices on "
            "tensorflow and jax only"
        )
    try:
        there = _tensorflow_there(devices) if backend == "tensorflow" else _jax_there(devices)
    except RuntimeError as error:
        raise BenchError(
            f"{KEY} = {devices}: {backend} has begun with another number: {error}"
        ) from error
    if devices > there:
        raise BenchError(
            f"{KEY} = {devices}: expected at most {there}, the accelerators that {backend} has here"
        )


def _tensorflow_there(devices: int) -> int:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        (processor,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(devices)]
        tf.config.set_logical_device_configuration(processor, parts)
    return len(gpus) or devices


def _jax_there(devices: int) -> int:
    import jax

    jax.config.update("jax_num_cpu_devices", devices)  # accelerators are not touched by it
    return len(jax.devices())


def check_precision(precision: str, devices: int) -> None:
    """See that several devices can train in a precision.

    On TensorFlow, Keras' loss scaling asks the first replica alone whether gradients overflowed;
    what overflowed in another one reaches the weights.

    Raises:
        BenchError: they cannot.
    """
    if devices > 1 and precision == "mixed_float16" and keras.backend.backend() == "tensorflow":
        raise BenchError(
            f"{KEY} = {devices}: expected 1 in mixed_float16 on tensorflow, where Keras misses "
            'overflows on any device but the first; execution.precision = "float32" takes several'
        )


def begin(devices: int) -> None:
    """From now on, models of this thread are made for so many devices, which `prepare` has seen."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        names = [f"{kind}:{number}" for number in range(devices)]
        _Process.distribution = tf.distribute.MirroredStrategy(names)
    else:
        names = keras.distribution.list_devices()[:devices]
        _Process.distribution = keras.distribution.DataParallel(devices=names)
    _Process.count = devices
    resume()


def resume() -> None:
    """Put the devices in force again, after Keras' ``clear_session`` has forgotten them."""
    if _Process.distribution is None:
        return
    _Process.active = _Process.count
    if keras.backend.backend() == "tensorflow":
        _Process.scope = _Process.distribution.scope()
        _Process.scope.__enter__()
    else:
        keras.distribution.set_distribution(_Process.distribution)


@contextmanager
def alone() -> Iterator[None]:
    """For a while, models are made for one device: what is small is faster there.

    Nothing in it may call Keras' ``clear_session``.
    """
    if count() == 1:
        yield
        return
    _suspend()
    try:
        yield
    finally:
        resume()


@contextmanager
def together() -> Iterator[None]:
    """Inside `alone`, for a while, all devices again."""
    if _Process.active == _Process.count:
        yield
        return
    resume()
    try:
        yield
    finally:
        _suspend()


def _suspend() -> None:
    _Process.active = 1
    if keras.backend.backend() == "tensorflow":
        _Process.scope.__exit__(None, None, None)
    else:
        keras.distribution.set_distribution(None)


def count() -> int:
    """Over how many devices models that are made now spread their batches."""
    return _Process.active


def distribution() -> Any:
    """Keras' or TensorFlow's own object for the devices in force; None where there is one."""
    return _Process.distribution if count() > 1 else None


def named(device: str, devices: int) -> str:
    """A device's name for a stack: ``NVIDIA H200 x2``."""
    return f"{device} x{devices}" if devices > 1 else device


def noted(text: str) -> str:
    """How something ran, with the number of devices where there are several."""
    return f"{text}, on {_Process.active} devices" if _Process.active > 1 else text


def check(spec: TrialSpec, backbone: Any, train: int) -> None:
    """See that several devices can give one device's numbers.

    Args:
        spec: the trial.
        backbone: Keras model.
        train: train pictures.

    Raises:
        ImpossibleTrialError: they cannot.
    """
    if count() == 1:
        return
    if spec.trap:
        raise _impossible(f"1 for trap {spec.trap}, which is made on one device")
    if spec.phase2 is None or spec.batch_norm != "train":
        return
    on_tensorflow = keras.backend.backend() == "tensorflow"
    layers = leaves(backbone)
    norms = any(isinstance(x, keras.layers.BatchNormalization) for x in layers)
    if norms and on_tensorflow:
        raise _impossible(
            "1 where BatchNorm trains on tensorflow, whose statistics over several devices are too "
            "coarse; jax takes several"
        )
    size = spec.execution.batch_size
    last = train % size or size
    if norms and (size % count() or last % count()):
        raise _impossible(
            f"a number that divides every batch, since BatchNorm trains and would count what fills "
            f"one up: they have {size} pictures, the last one {last}"
        )
    others = {type(x).__name__ for x in layers if hasattr(x, "seed_generator") and not drops(x)}
    if others and on_tensorflow:
        raise _impossible(
            f"1 for {spec.backbone.name} in training mode: its layers {', '.join(sorted(others))} "
            "would draw the same random numbers on each device"
        )


def drops(layer: Any) -> bool:
    """Whether a layer is Keras' Dropout, whose masks `bench.training.replicas` sees to."""
    return type(layer) is keras.layers.Dropout


def _impossible(expected: str) -> ImpossibleTrialError:
    return ImpossibleTrialError(f"{KEY} = {count()}: expected {expected}")


# ----------------------------------------------------------------------------------- of batches


def padded(pictures: int) -> int:
    """So many pictures, filled up to where the devices divide them."""
    return -(-pictures // _Process.active) * _Process.active


def weights(pictures: int) -> NDArray[np.float32]:
    """Of a batch's pictures, filled up: their weighted mean is the mean of those that count.

    Args:
        pictures: that count; they come first.
    """
    size = padded(pictures)
    found = np.zeros(size, np.float32)
    found[:pictures] = size / pictures
    return found


def counting(pictures: int, batch_size: int) -> NDArray[np.bool_]:
    """Of the outputs for all batches, filled up, which are of pictures that count."""
    rows = [min(batch_size, pictures - i) for i in range(0, pictures, batch_size)]
    return np.concatenate([np.arange(padded(n)) < n for n in rows])


class Unpadded(keras.callbacks.Callback):
    """Corrects the means over an epoch's pictures that Keras reports, first of all callbacks.

    Keras counts a batch as often as it has pictures, those that fill it up included. All batches
    but the last are alike, so that the means up to the last and up to the one before it tell both.

    Args:
        train, val: pictures of the splits.
        batch_size: pictures of a batch, but for the last.
    """

    def __init__(self, train: int, val: int, batch_size: int) -> None:
        super().__init__()
        self._pictures = {"": train, "val_": val}
        self._size = batch_size
        self._before: dict[str, float] = {}

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the means up to the last batch but one."""
        self._keep("", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the means up to the last batch but one."""
        self._keep("val_", batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Correct all, in place, for the callbacks that follow."""
        for name in logs or {}:
            assert logs is not None
            split = "val_" if name.startswith("val_") else ""
            if name in self._before:
                logs[name] = self._mean(self._before[name], logs[name], self._pictures[split])
        self._before = {}

    def _keep(self, split: str, batch: int, logs: Mapping[str, Any] | None) -> None:
        if batch == -(-self._pictures[split] // self._size) - 2:
            if keras.backend.backend() == "tensorflow":
                logs = self.model.get_metrics_result()  # logs are a mean of the replicas' means
            self._before |= {split + name: float(value) for name, value in (logs or {}).items()}

    def _mean(self, before: float, after: float, pictures: int) -> float:
        batches = -(-pictures // self._size) - 1
        last = pictures - batches * self._size
        filled, filled_last = batches * padded(self._size), padded(last)
        of_last = (after * (filled + filled_last) - before * filled) / filled_last
        return (before * batches * self._size + of_last * last) / pictures
