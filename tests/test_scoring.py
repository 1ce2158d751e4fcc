import numpy as np
import pytest

from bench.records import Head
from bench.training.scoring import score

LABELS = np.array([0, 1, 1])


def test_logits_become_probabilities_and_known_scores() -> None:
    logits = np.log(np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]], np.float32))
    scores = score(logits, LABELS, Head(name="h"))
    assert scores.probabilities[:, 1] == pytest.approx([0.2, 0.6, 0.3], abs=1e-6)
    assert scores.correct.tolist() == [True, True, False]
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.loss == pytest.approx(-np.log([0.8, 0.6, 0.3]).mean(), abs=1e-6)


def test_a_binary_head_gives_two_columns_from_one() -> None:
    logits = score(np.array([[-2.0], [3.0], [0.0]]), LABELS, Head(name="b", loss="binary"))
    positive = 1 / (1 + np.exp([2.0, -3.0, 0.0]))
    assert logits.probabilities[:, 1] == pytest.approx(positive)
    head = Head(name="b", loss="binary", output="probabilities")
    assert score(positive[:, None], LABELS, head).loss == pytest.approx(logits.loss)


def test_huge_logits_neither_overflow_nor_give_an_infinite_loss() -> None:
    scores = score(np.array([[1e4, -1e4], [1e4, -1e4], [0, 0]]), LABELS, Head(name="h"))
    assert np.isfinite(scores.probabilities).all()
    assert scores.loss == pytest.approx((0 - np.log(1e-7) + np.log(2)) / 3)
