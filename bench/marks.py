"""Right or wrong, picture by picture: what comparing two trials takes of their predictions."""

import base64
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Correct = NDArray[np.bool_]
"""(pictures,), in the order of the test split: equal fingerprints, equal order."""


def packed(correct: Correct) -> str:
    """For a row: a bit for each picture, in base64."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpacked(text: str, pictures: int) -> Correct:
    """What `packed` was given.

    Raises:
        ValueError: this is not so many pictures.
    """
    content = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if len(content) != -(-pictures // 8):
        raise ValueError(f"{len(content)} bytes for {pictures} pictures")
    return np.unpackbits(content, count=pictures).astype(bool)


def of_row(text: str | None, pictures: int) -> Correct | None:
    """The same for a row's field; None where it is empty or damaged."""
    with suppress(ValueError):
        return unpacked(text, pictures) if text else None
    return None


def of_predictions(file: Path) -> Correct:
    """The same from a trial's stored predictions (``predictions/<key>.npz``).

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: it is not there, or damaged.
    """
    with np.load(file, allow_pickle=False) as content:
        return np.asarray(content["probabilities"].argmax(axis=1) == content["labels"])
