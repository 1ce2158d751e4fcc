"""Heads: what sits on the backbone's feature map and is trained in phase 1.

A head is data (`bench.records.Head`). Adding one is a row of `HEADS`, or a ``[[heads]]`` table in
a suite; `attach` is the one place that turns it into layers.
"""

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
    from keras import layers

    pooling = {
        "avg": layers.GlobalAveragePooling2D,
        "max": layers.GlobalMaxPooling2D,
        "flatten": layers.Flatten,
    }
    x = pooling[head.pooling](name="head_pooling")(features)
    for i, layer in enumerate(head.layers):
        if layer.dense:
            x = layers.Dense(layer.dense, activation=layer.activation, name=f"head_dense_{i}")(x)
        else:
            x = layers.Dropout(layer.dropout, name=f"head_dropout_{i}")(x)
    activation = None if head.output == "logits" else _activation(head)
    units = outputs(head, classes)
    return layers.Dense(units, activation=activation, dtype="float32", name="head_output")(x)


def _activation(head: Head) -> str:
    return "sigmoid" if head.loss == "binary" else "softmax"
