"""Preprocessing contracts: the table's numbers, the NumPy reference, and the Keras layers."""

from typing import Any, get_args

import numpy as np
import pytest

from bench.records import Preprocessing
from bench.zoo.preprocessing import CONTRACTS, apply, reference

PIXEL = np.array([[[[255.0, 0.0, 127.5]]]])

# Worked out by hand from the definition of each contract: red 255, green 0, blue 127.5.
EXPECTED: dict[Preprocessing, tuple[float, float, float]] = {
    "raw": (255.0, 0.0, 127.5),
    "minus_one_to_one": (1.0, -1.0, 0.0),
    "zero_to_one": (1.0, 0.0, 0.5),
    "caffe": (127.5 - 103.939, -116.779, 255 - 123.68),
    "torch": ((1 - 0.485) / 0.229, -0.456 / 0.224, (0.5 - 0.406) / 0.225),
}


def test_every_contract_of_the_vocabulary_has_a_row() -> None:
    assert set(CONTRACTS) == set(get_args(Preprocessing)) == set(EXPECTED)


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_reference_does_what_the_contract_says(name: Preprocessing) -> None:
    np.testing.assert_allclose(reference(name, PIXEL)[0, 0, 0], EXPECTED[name], rtol=1e-12)


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_reference_leaves_its_input_alone_and_takes_integers(name: Preprocessing) -> None:
    pixels = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(1, 2, 2, 3)
    before = pixels.copy()
    answer = reference(name, pixels)
    assert answer.dtype == np.float64
    assert answer.shape == pixels.shape
    np.testing.assert_array_equal(pixels, before)


# ---------------------------------------------------------------------------------- with Keras


@pytest.fixture(scope="module")
def pictures() -> Any:
    return np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype("float32")


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_model_computes_the_reference(name: Preprocessing, pictures: Any) -> None:
    import keras

    pixels = keras.Input((5, 4, 3))
    model = keras.Model(pixels, apply(name, pixels))
    np.testing.assert_allclose(
        np.asarray(model(pictures)), reference(name, pictures), rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "mode"), [("minus_one_to_one", "tf"), ("caffe", "caffe"), ("torch", "torch")]
)
def test_the_reference_is_what_keras_applications_do(
    name: Preprocessing, mode: str, pictures: Any
) -> None:
    from keras.applications import imagenet_utils

    theirs = imagenet_utils.preprocess_input(pictures.copy(), mode=mode)
    np.testing.assert_allclose(np.asarray(theirs), reference(name, pictures), atol=1e-4)


def test_raw_pixels_pass_through_without_a_layer() -> None:
    import keras

    pixels = keras.Input((5, 4, 3))
    assert apply("raw", pixels) is pixels
