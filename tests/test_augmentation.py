"""Augmentation: every row accepts what it says, and works in training only."""

from typing import Any

import numpy as np
import pytest

from bench.errors import UnknownNameError
from bench.records import Augmentation
from bench.zoo import augmentation
from bench.zoo.augmentation import AUGMENTATIONS, FLIPS, layers_of

FACTORS = [name for name in AUGMENTATIONS if name != "flip"]


def _amount(name: str) -> float | str:
    return "horizontal" if name == "flip" else 0.4


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_row_contract(name: str) -> None:
    row = augmentation.row(name)
    assert row.name == name
    assert row.amount
    assert row.accepts(_amount(name))


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize(
    "amount", ["horizontal", 0, 0.0, -0.1, 1.01, True, None, {"by": 0.1}, [0.1], float("nan")]
)
def test_factors_lie_above_0_up_to_1(name: str, amount: Any) -> None:
    assert not AUGMENTATIONS[name].accepts(amount)
    assert AUGMENTATIONS[name].accepts(1)


@pytest.mark.parametrize("amount", ["sideways", "", 0.5, True, None, ["horizontal"]])
def test_flips_are_of_three_kinds(amount: Any) -> None:
    assert not AUGMENTATIONS["flip"].accepts(amount)
    assert all(AUGMENTATIONS["flip"].accepts(kind) for kind in FLIPS)


def test_an_unknown_augmentation_is_told_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean rotation\?"):
        augmentation.row("rotate")


# ---------------------------------------------------------------------------------- with Keras


@pytest.fixture(scope="module")
def pictures() -> Any:
    return np.random.default_rng(0).uniform(0, 255, (8, 12, 12, 3)).astype("float32")


def _layer(name: str, seed: int = 0, amount: float | str | None = None) -> Any:
    (layer,) = layers_of([Augmentation(kind=name, amount=amount or _amount(name))], seed)
    return layer


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_active_in_training_only(name: str, pictures: Any) -> None:
    layer = _layer(name)
    np.testing.assert_array_equal(np.asarray(layer(pictures, training=False)), pictures)
    seen = np.asarray(layer(pictures, training=True))
    assert seen.shape == pictures.shape
    assert seen.dtype == np.float32
    assert not np.allclose(seen, pictures)
    assert seen.min() >= 0
    assert seen.max() <= 255


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_seed_decides(name: str, pictures: Any) -> None:
    seen = [np.asarray(_layer(name, seed)(pictures, training=True)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize("name", FACTORS)
def test_keras_takes_the_largest_amount(name: str, pictures: Any) -> None:
    assert np.isfinite(np.asarray(_layer(name, amount=1.0)(pictures, training=True))).all()


@pytest.mark.parametrize("kind", FLIPS)
def test_keras_takes_every_flip(kind: str, pictures: Any) -> None:
    assert np.asarray(_layer("flip", amount=kind)(pictures, training=True)).shape == pictures.shape


def test_layers_come_in_order_each_with_its_own_seed(pictures: Any) -> None:
    twice = layers_of([Augmentation(kind="rotation", amount=0.4)] * 2, seed=3)
    first, second = (np.asarray(layer(pictures, training=True)) for layer in twice)
    assert not np.array_equal(first, second)
    kinds = [Augmentation(kind="zoom", amount=0.1), Augmentation(kind="flip", amount="vertical")]
    assert [type(layer).__name__ for layer in layers_of(kinds, 0)] == ["RandomZoom", "RandomFlip"]


def test_the_largest_seed_works(pictures: Any) -> None:
    layer = _layer("rotation", seed=2**32 - 1)
    assert np.asarray(layer(pictures, training=True)).shape == pictures.shape
