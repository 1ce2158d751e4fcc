"""Right or wrong, picture by picture: what comparing two trials takes of their predictions."""

import base64
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Correct = NDArray[np.bool_]
"""(pictures,), in the order of the test split: equal fingerprints, equal order."""


NAMES = ("probabilities", "labels", "pictures")
"""Arrays of stored predictions; no others are read."""
MOST_PACKED, ALWAYS = 50, 2**26
"""Arrays may take so many times their archive's bytes, and so many bytes in any case."""


class DamagedError(ValueError):
    """Stored predictions that cannot be read; names the file and says what to do."""


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
        DamagedError: it is not there, or damaged.
        KeyError, ValueError: it is whole, but holds something else.
    """
    found = stored(file)
    probabilities, labels = found["probabilities"], found["labels"]
    if probabilities.dtype.kind not in "fiu" or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"{file}: not a number for each picture and class")
    return np.asarray(probabilities.argmax(axis=1) == labels)


def stored(file: Path) -> Mapping[str, NDArray[Any]]:
    """Arrays of a trial's stored predictions, those of `NAMES`; every byte of them is checked.

    Raises:
        DamagedError: it is not there, or damaged.
    """
    try:
        _check_size(file)
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in NAMES if name in content.files}
    # Of a damaged archive NumPy, zipfile and zlib raise a dozen kinds, RuntimeError among them.
    except Exception as error:
        raise DamagedError(
            f"{file}: stored predictions that cannot be read ({type(error).__name__}: {error}): "
            "put back a copy, or delete the file; the trial's row and its numbers stand without it"
        ) from error


def _check_size(file: Path) -> None:
    """A few bytes may claim to be many, and NumPy would believe them.

    Raises:
        ValueError: the arrays would take far more than is stored of them.
        OSError, zipfile.BadZipFile: it cannot be read, or is no archive.
    """
    with zipfile.ZipFile(file) as archive:
        claimed = sum(m.file_size for m in archive.infolist() if _name(m) in NAMES)
    if claimed > MOST_PACKED * file.stat().st_size + ALWAYS:
        raise ValueError(f"its arrays claim {claimed:,} bytes, far more than is stored of them")


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")
