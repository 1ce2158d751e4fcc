"""What a model computes, its weights apart, as a digest: part of what names activations."""

import keras
import pytest

from bench.zoo.weights import architecture


def model(
    epsilon: float = 1e-3, strides: int = 1, skip: bool = False, nested: bool = False
) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, strides=strides, padding="same")(inputs)
    y = keras.layers.BatchNormalization(epsilon=epsilon)(x)
    if nested:
        y = keras.Sequential([keras.layers.ReLU(6.0)])(y)
    return keras.Model(inputs, keras.layers.Add()([x, y]) if skip else y)


def test_names_and_weights_play_no_part() -> None:
    first, second = model(), model()
    assert first.layers[1].name != second.layers[1].name
    assert architecture(first) == architecture(second)
    assert architecture(model(nested=True)) == architecture(model(nested=True))


@pytest.mark.parametrize(
    "change", [{"epsilon": 1e-5}, {"strides": 2}, {"skip": True}, {"nested": True}]
)
def test_what_computes_something_else_has_another_digest(change: dict[str, object]) -> None:
    assert architecture(model(**change)) != architecture(model())
