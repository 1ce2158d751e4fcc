"""What a trial's seeds predicted for each test picture, as far as the store kept it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import marks
from bench.errors import StoreError
from bench.records import TrialResult
from bench.running.store import BASELINES, PREDICTIONS


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of one seed.

    Attributes:
        probabilities: float32 (pictures, classes).
        labels: int32 (pictures,), the truth.
        pictures: the first 16 hex digits of the SHA-256 of each picture's content.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int32]
    pictures: tuple[str, ...]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(pictures,), the class of the highest probability."""
        return np.asarray(self.probabilities.argmax(axis=1))


def found(
    folder: Path, rows: Sequence[TrialResult]
) -> tuple[tuple[Predictions, ...], tuple[str, ...]]:
    """What is stored of these rows, and why it is not more.

    Args:
        folder: of results; nothing outside it is read, whatever a row says.
        rows: seeds of one trial on the same pictures.

    Returns:
        Predictions, all of the same pictures in the same order, and notes.
    """
    if not rows:
        return (), ("nothing was predicted: no seed finished",)
    places = tuple(_places(folder))
    known: list[Predictions] = []
    reasons: dict[str, list[str]] = {}
    for row in rows:
        read = _of(row, places, known[0] if known else None)
        if isinstance(read, str):
            reasons.setdefault(read, []).append(str(row.spec.seed))
        else:
            known.append(read)
    notes = (f"predictions of seed {', '.join(s)} {why}" for why, s in reasons.items())
    return tuple(known), tuple(notes)


def _places(folder: Path) -> Iterator[Path]:
    """Folders of predictions inside a results folder; links that lead out of it are none."""
    for path, names, _ in os.walk(folder):
        names.sort()
        if PREDICTIONS in names and not (place := Path(path) / PREDICTIONS).is_symlink():
            yield place
        names[:] = [n for n in names if n not in (PREDICTIONS, BASELINES)]


def _of(row: TrialResult, places: Sequence[Path], like: Predictions | None) -> Predictions | str:
    """A row's predictions, or why there are none. Two folders may hold a key: answers tell."""
    name = Path(row.predictions or "").name
    files = [f for place in places if name and (f := place / name).is_file() and not f.is_symlink()]
    if not files:
        return "are not stored"
    for file in reversed(files):
        try:
            read = _read(file, row)
        except (StoreError, ValueError, KeyError):
            continue
        if like is None or read.pictures == like.pictures:
            return read
    return "cannot be read, or do not fit its row"


def _read(file: Path, row: TrialResult) -> Predictions:
    """Of a row.

    Raises:
        StoreError, ValueError, KeyError: it is damaged, or not this row's.
    """
    content = marks.stored(file)
    probabilities = np.nan_to_num(np.asarray(content["probabilities"], np.float32))
    labels = np.asarray(content["labels"], np.int32)
    pictures = tuple(np.asarray(content["pictures"]).astype(np.str_).tolist())
    classes = len(row.dataset.class_names) if row.dataset else -1
    if probabilities.shape != (len(pictures), classes) or labels.shape != (len(pictures),):
        raise ValueError("not the shape of its row")
    if not len(labels) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError("labels that are no class")
    read = Predictions(probabilities, labels, pictures)
    if row.test_correct and marks.packed(read.predicted == labels) != row.test_correct:
        raise ValueError("other answers than its row has")
    return read
