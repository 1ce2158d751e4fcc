"""Right or wrong, as rows keep it."""

from pathlib import Path

import numpy as np
import pytest

from bench import marks
from bench.training.scoring import Predictions, Scores


@pytest.mark.parametrize("pictures", [1, 7, 8, 9, 370])
def test_what_is_packed_comes_back(pictures: int) -> None:
    correct = np.random.default_rng(pictures).random(pictures) < 0.8
    assert np.array_equal(marks.unpacked(marks.packed(correct), pictures), correct)


def test_another_number_of_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes for 17 pictures"):
        marks.unpacked(marks.packed(np.ones(16, bool)), 17)


def test_stored_predictions_say_the_same(tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    scores = Scores(probabilities, np.array([0, 0, 0]))
    Predictions(scores, ["a" * 32] * 3).save(tmp_path / "x.npz")
    found = marks.of_predictions(tmp_path / "x.npz")
    assert found.tolist() == scores.correct.tolist() == [True, False, True]
