"""Models on several devices: what Keras leaves to be done, replica by replica on TensorFlow.

JAX computes for the whole batch, wherever its parts are; on TensorFlow each replica knows its own
part alone, and draws the random numbers that any other draws.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.training import parallel
from bench.zoo.freezing import leaves

Predictor = Callable[[NDArray[Any]], Mapping[str, Any]]
"""A batch -> what a model gives for it, by name."""


@contextmanager
def fitting(model: Any) -> Iterator[None]:
    """While Keras traces and fits a model: dropout's masks are those of the whole batch."""
    if parallel.distribution() is None or keras.backend.backend() != "tensorflow":
        yield  # JAX computes for the whole batch anyway, wherever its parts are
        return
    layers = [x for x in _within(model) if parallel.drops(x)]
    for layer in layers:
        layer.__dict__["call"] = _part_of_mask(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["call"]


def _within(model: Any) -> list[Any]:
    """Every layer of a model, and of models that its layers hold."""
    found = []
    for layer in leaves(model):
        inner = getattr(layer, "backbone", None)
        found += [layer] if inner is None else _within(inner)
    return list({id(x): x for x in found}.values())


def _part_of_mask(layer: Any) -> Callable[..., Any]:
    """A Dropout layer's call with a replica's part of the mask that one device would draw."""
    import tensorflow as tf

    def call(inputs: Any, training: bool = False) -> Any:
        replica = tf.distribute.get_replica_context()
        if not training or layer.rate == 0 or replica is None:
            return keras.layers.Dropout.call(layer, inputs, training=training)
        shape = list(layer.noise_shape or [None] * len(inputs.shape))
        own = [tf.shape(inputs)[i] if n is None else n for i, n in enumerate(shape)]
        if shape[0] is not None:
            return keras.layers.Dropout.call(layer, inputs, training=training)
        whole = tf.ones([own[0] * replica.num_replicas_in_sync, *own[1:]], inputs.dtype)
        mask = keras.random.dropout(whole, layer.rate, seed=layer.seed_generator)
        first = replica.replica_id_in_sync_group * own[0]
        return inputs * mask[first : first + own[0]]

    return call


def predictor(model: Any) -> Predictor:
    """A compiled model's outputs for a batch that the devices divide, in its order.

    Keras' own ``predict_on_batch`` gives the whole batch to every replica on TensorFlow, and on JAX
    fails once other weights train than when it was first asked.

    Args:
        model: gives lists of tensors by name.
    """
    if parallel.distribution() is None:
        predict: Predictor = model.predict_on_batch
        return predict
    return _by_tensorflow(model) if keras.backend.backend() == "tensorflow" else _by_jax(model)


def _by_tensorflow(model: Any) -> Predictor:
    import tensorflow as tf

    strategy = parallel.distribution()

    def outputs(parts: Any) -> Any:
        return strategy.run(lambda part: model(part, training=False), args=(parts,))

    run = tf.function(outputs)

    def predict(batch: NDArray[Any]) -> Mapping[str, Any]:
        parts = np.split(batch, strategy.num_replicas_in_sync)
        given = strategy.experimental_distribute_values_from_function(
            lambda context: tf.convert_to_tensor(parts[context.replica_id_in_sync_group])
        )
        return {
            name: [np.concatenate(strategy.experimental_local_results(v)) for v in values]
            for name, values in run(given).items()
        }

    return predict


def _by_jax(model: Any) -> Predictor:
    import jax

    distribution = parallel.distribution()

    def outputs(values: Any, batch: Any) -> Any:
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return model(batch, training=False)

    run = jax.jit(outputs)

    def predict(batch: NDArray[Any]) -> Mapping[str, Any]:
        layout = distribution.get_data_layout(batch.shape)
        given = jax.device_put(batch, layout.backend_layout)
        found: Mapping[str, Any] = run([v.value for v in model.variables], given)
        return found

    return predict
