"""Augmentation: random layers on raw pixels, active in training only.

Adding one is a function that builds the Keras layer, and a row of `AUGMENTATIONS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import UnknownNameError
from bench.records import Augmentation

FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")


@dataclass(frozen=True)
class AugmentationRow:
    """A kind of augmentation.

    Attributes:
        name: as written in a suite.
        amount: what its amount means, with the values that are valid.
        build: (amount, seed) -> Keras layer on float pixels in [0, 255].
    """

    name: str
    amount: str
    build: Callable[[Any, int], Any]

    def accepts(self, amount: Any) -> bool:
        """Whether a suite may give this amount."""
        if self.name == "flip":
            return amount in FLIPS
        return isinstance(amount, int | float) and not isinstance(amount, bool) and 0 < amount <= 1


def _flip(amount: str, seed: int) -> Any:
    from keras import layers

    return layers.RandomFlip(amount, seed=seed, dtype="float32")


def _rotation(amount: float, seed: int) -> Any:
    from keras import layers

    return layers.RandomRotation(amount, seed=seed, dtype="float32")


def _zoom(amount: float, seed: int) -> Any:
    from keras import layers

    return layers.RandomZoom(amount, seed=seed, dtype="float32")


def _translation(amount: float, seed: int) -> Any:
    from keras import layers

    return layers.RandomTranslation(amount, amount, seed=seed, dtype="float32")


def _brightness(amount: float, seed: int) -> Any:
    from keras import layers

    return layers.RandomBrightness(amount, value_range=(0, 255), seed=seed, dtype="float32")


def _contrast(amount: float, seed: int) -> Any:
    from keras import layers

    return layers.RandomContrast(amount, value_range=(0, 255), seed=seed, dtype="float32")


_ROWS = (
    AugmentationRow("flip", "one of " + ", ".join(FLIPS), _flip),
    AugmentationRow("rotation", "turns either way, above 0 up to 1 (0.1 is 36 degrees)", _rotation),
    AugmentationRow("zoom", "fraction in or out, above 0 up to 1", _zoom),
    AugmentationRow("translation", "fraction of height and width, above 0 up to 1", _translation),
    AugmentationRow("brightness", "fraction of the range, above 0 up to 1", _brightness),
    AugmentationRow("contrast", "fraction around the mean, above 0 up to 1", _contrast),
)

AUGMENTATIONS: Mapping[str, AugmentationRow] = {r.name: r for r in _ROWS}
if len(AUGMENTATIONS) != len(_ROWS):
    raise ValueError("two augmentations of the table share a name")


def row(name: str) -> AugmentationRow:
    """The augmentation of this name.

    Raises:
        UnknownNameError: the table has no such augmentation.
    """
    if name not in AUGMENTATIONS:
        raise UnknownNameError("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


def layers_of(augmentation: Sequence[Augmentation], seed: int) -> list[Any]:
    """Keras layers, in order, each with a seed of its own derived from the trial's."""
    seeds = ((seed * 1000 + i) % 2**32 for i in range(len(augmentation)))  # Keras keeps 32 bits
    return [row(a.kind).build(a.amount, s) for a, s in zip(augmentation, seeds, strict=True)]
