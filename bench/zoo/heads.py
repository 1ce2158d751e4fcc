"""Heads: what sits on the backbone's feature map and is trained in phase 1.

A head is data (`bench.records.Head`). Adding one is a row of `HEADS`, or a ``[[heads]]`` table in
a suite; `attach` is the one place that turns it into layers.
"""

import random
from collections.abc import Mapping
from typing import Any

from bench.errors import UnknownNameError
from bench.records import Head, HeadLayer

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid")
"""Names of Keras' own that a Dense layer of a head may have."""

_ROWS = (
    Head(name="linear"),
    Head(name="dropout", layers=(HeadLayer(dropout=0.2),)),
    Head(name="mlp", layers=(HeadLayer(dense=256), HeadLayer(dropout=0.3))),
    Head(name="binary", layers=(HeadLayer(dropout=0.2),), loss="binary"),
)

HEADS: Mapping[str, Head] = {head.name: head for head in _ROWS}
if len(HEADS) != len(_ROWS):
    raise ValueError("two heads of the table share a name")


def row(name: str) -> Head:
    """The head of this name.

    Raises:
        UnknownNameError: the table has no such head.
    """
    if name not in HEADS:
        raise UnknownNameError("head", name, HEADS)
    return HEADS[name]


def describe(head: Head) -> str:
    """One line for people: ``avg -> Dense 512 relu -> Dropout 0.2 -> softmax, sparse``."""
    parts: list[str] = [head.pooling]
    for layer in head.layers:
        dense = f"Dense {layer.dense} {layer.activation}"
        parts.append(dense if layer.dense else f"Dropout {layer.dropout}")
    parts.append("logits" if head.output == "logits" else _activation(head))
    return " -> ".join(parts) + f", {head.loss} loss"


def outputs(head: Head, classes: int) -> int:
    """Units of the output layer: one for a binary loss, else one per class."""
    return 1 if head.loss == "binary" else classes


def parameters(head: Head, feature_map: tuple[int, int, int], classes: int) -> int:
    """Trainable numbers of a head, by arithmetic alone (the guards compare Keras with this).

    Args:
        head: the head.
        feature_map: height, width and channels that the backbone hands over.
        classes: classes of the dataset.
    """
    height, width, channels = feature_map
    inputs = channels * (height * width if head.pooling == "flatten" else 1)
    total = 0
    for units in [*(layer.dense for layer in head.layers if layer.dense), outputs(head, classes)]:
        total += inputs * units + units
        inputs = units
    return total


def attach(head: Head, features: Any, classes: int) -> Any:
    """Put the head on a feature map.

    Args:
        head: the head.
        features: symbolic Keras tensor (batch, height, width, channels).
        classes: classes of the dataset.

    Returns:
        Symbolic Keras tensor (batch, outputs), float32 under every precision.
    """
    return attach_to_pooled(head, pooling(head)(features), classes)


def pooling(head: Head) -> Any:
    """The Keras layer that makes a vector of a feature map."""
    from keras import layers

    kinds = {
        "avg": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
        "flatten": layers.Flatten,
    }
    return kinds[head.pooling](name="head_pooling")


def attach_to_pooled(head: Head, pooled: Any, classes: int) -> Any:
    """Put the layers above the pooling on a symbolic Keras tensor (batch, features)."""
    from keras import layers

    x = pooled
    for i, layer in enumerate(head.layers):
        if layer.dense:
            x = layers.Dense(layer.dense, activation=layer.activation, name=f"head_dense_{i}")(x)
        else:
            # Keras draws just such a seed itself, but on PyTorch ignores one that it drew.
            seed = random.randint(1, 10**9)
            x = layers.Dropout(layer.dropout, seed=seed, name=f"head_dropout_{i}")(x)
    units = outputs(head, classes)
    activation = output_activation(head)
    return layers.Dense(units, activation=activation, dtype="float32", name="head_output")(x)


def output_activation(head: Head) -> str | None:
    """Of the output layer; None where it gives logits."""
    return None if head.output == "logits" else _activation(head)


def _activation(head: Head) -> str:
    return "sigmoid" if head.loss == "binary" else "softmax"
