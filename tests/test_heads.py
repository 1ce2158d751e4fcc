"""Heads: every row's arithmetic, held against published numbers and against Keras."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.errors import UnknownNameError
from bench.records import Head, HeadLayer
from bench.zoo import heads
from bench.zoo.heads import ACTIVATIONS, HEADS, attach, describe, outputs, parameters

DOGS = Head(
    name="dogs",
    layers=(HeadLayer(dense=512), HeadLayer(dropout=0.2)),
    output="probabilities",
)
VGG = Head(name="vgg", pooling="flatten", layers=(HeadLayer(dense=256),), loss="binary")
ONE_HOT = Head(name="one_hot", pooling="max", output="probabilities", loss="one_hot")
SIGMOID = Head(name="sigmoid", output="probabilities", loss="binary")
OWN = (DOGS, VGG, ONE_HOT, SIGMOID)


@pytest.mark.parametrize(
    ("head", "feature_map", "classes", "expected"),
    [
        # 160 px cats and dogs, MobileNetV2: keras.io and tensorflow.org count 1,281.
        (HEADS["binary"], (5, 5, 1280), 2, 1_281),
        # ResNet50V2 -> Dense 512 -> 120 breeds.
        (DOGS, (7, 7, 2048), 120, 2048 * 512 + 512 + 512 * 120 + 120),
        # VGG16 at 150 px, flattened: Chollet's book counts 2,097,408 + 257.
        (VGG, (4, 4, 512), 2, 2_097_665),
        (HEADS["linear"], (7, 7, 1280), 5, 6_405),
        (HEADS["dropout"], (7, 7, 1280), 5, 6_405),
        (HEADS["mlp"], (3, 3, 1280), 10, 1280 * 256 + 256 + 256 * 10 + 10),
    ],
)
def test_parameters_match_published_numbers(
    head: Head, feature_map: tuple[int, int, int], classes: int, expected: int
) -> None:
    assert parameters(head, feature_map, classes) == expected


@pytest.mark.parametrize("name", HEADS)
def test_every_row_contract(name: str) -> None:
    head = heads.row(name)
    assert head.name == name
    assert outputs(head, 2) == (1 if head.loss == "binary" else 2)
    assert describe(head).startswith(head.pooling)
    assert head.loss in describe(head)
    assert all(layer.activation in ACTIVATIONS for layer in head.layers)


def test_a_description_shows_every_layer() -> None:
    assert describe(DOGS) == "avg -> Dense 512 relu -> Dropout 0.2 -> softmax, sparse loss"
    assert describe(SIGMOID) == "avg -> sigmoid, binary loss"
    assert describe(HEADS["binary"]) == "avg -> Dropout 0.2 -> logits, binary loss"


def test_an_unknown_head_is_told_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown head 'lineer': did you mean linear\?"):
        heads.row("lineer")


# -------------------------------------------------------------------------------- with Keras

ALL = [*HEADS.values(), *OWN]
NAMES = [head.name for head in ALL]


def _model(head: Head, classes: int) -> Any:
    import keras

    features = keras.Input((2, 3, 8))
    return keras.Model(features, attach(head, features, classes))


@pytest.mark.parametrize("head", ALL, ids=NAMES)
def test_keras_builds_what_the_arithmetic_says(head: Head) -> None:
    classes = 2 if head.loss == "binary" else 7
    model = _model(head, classes)
    counted = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert counted == parameters(head, (2, 3, 8), classes)
    assert model.output.shape == (None, outputs(head, classes))


@pytest.mark.parametrize("head", ALL, ids=NAMES)
def test_probabilities_are_probabilities_and_logits_are_not(head: Head) -> None:
    pixels = 9 * np.random.default_rng(0).normal(size=(4, 2, 3, 8)).astype("float32")
    model = _model(head, 2 if head.loss == "binary" else 7)
    answer = np.asarray(model(pixels, training=False))
    inside = bool(((answer >= 0) & (answer <= 1)).all())
    assert inside == (head.output == "probabilities")
    if head.output == "probabilities" and head.loss != "binary":
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed_precision")
def test_the_output_is_float32_under_mixed_precision() -> None:
    model = _model(DOGS, 7)
    assert model.output.dtype == "float32"
    assert model.get_layer("head_dense_0").compute_dtype == "bfloat16"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_keras_knows_every_activation(activation: str) -> None:
    head = Head(name="own", layers=(HeadLayer(dense=4, activation=activation),))
    assert _model(head, 3).get_layer("head_dense_0").activation is not None
