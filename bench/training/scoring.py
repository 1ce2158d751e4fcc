"""From a model's raw outputs to probabilities, accuracy and loss, in NumPy and float64."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.records import Head


@dataclass(frozen=True)
class Scores:
    """How a model did on every picture of a split.

    Attributes:
        probabilities: float64 (pictures, classes).
        labels: int (pictures,).
    """

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the right one, picture by picture."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy, from 0 to 1."""
        return float(self.correct.mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats, probabilities clipped at 1e-7.

        Keras clips so where a head gives probabilities, not where it gives logits: there its own
        val loss is the larger, by what a few confident mistakes add.
        """
        right = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.clip(right, 1e-7, 1.0)).mean())


@dataclass(frozen=True)
class Predictions:
    """What a trial predicted on test, picture by picture, for the store.

    Attributes:
        scores: in the order of the test split.
        pictures: content hash of each picture (hex), so that two trials can be paired.
    """

    scores: Scores
    pictures: Sequence[str]

    def save(self, path: Path) -> None:
        """Write a compressed ``.npz``: probabilities (float32), labels (int32), pictures (S16)."""
        np.savez_compressed(
            path,
            probabilities=self.scores.probabilities.astype(np.float32),
            labels=self.scores.labels.astype(np.int32),
            pictures=np.array([p[:16].encode() for p in self.pictures]),
        )


def score(outputs: NDArray[np.float32], labels: NDArray[np.int64], head: Head) -> Scores:
    """Score a head's outputs.

    Args:
        outputs: (pictures, outputs) logits or probabilities, as the head gives them.
        labels: int (pictures,).
        head: says what the outputs are.
    """
    values = np.asarray(outputs, np.float64)
    if head.loss == "binary":
        positive = values[:, 0] if head.output == "probabilities" else _sigmoid(values[:, 0])
        return Scores(np.stack([1 - positive, positive], axis=1), labels)
    return Scores(values if head.output == "probabilities" else _softmax(values), labels)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
