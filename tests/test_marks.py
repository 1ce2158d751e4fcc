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


def test_no_flipped_byte_of_stored_predictions_is_believed(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    probabilities = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    Predictions(Scores(probabilities, np.arange(20) % 3), ["ab" * 16] * 20).save(file)
    content, there = file.read_bytes(), marks.stored(file)
    for at in range(0, len(content), 2):
        flipped = bytes([content[at] ^ (1 << at // 2 % 8)])
        file.write_bytes(content[:at] + flipped + content[at + 1 :])
        try:
            found = marks.stored(file)
        except marks.DamagedError as error:
            assert str(file) in str(error)  # noqa: PT017 - either outcome is right
            assert "delete the file" in str(error)  # noqa: PT017
        else:  # in what says when it was packed, say; or one in the list of names, which is shorter
            assert all(np.array_equal(found[name], there[name]) for name in found)


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>404</html>"])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes(content)
    with pytest.raises(marks.DamagedError, match=r"x\.npz: stored predictions that cannot be read"):
        marks.of_predictions(file)
    with pytest.raises(marks.DamagedError, match="absent"):
        marks.of_predictions(tmp_path / "absent.npz")


def test_arrays_that_nobody_asked_for_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    bomb = np.zeros(2**27, np.uint8)
    np.savez_compressed(file, probabilities=np.eye(2), labels=[0, 1], bomb=bomb)
    assert set(marks.stored(file)) == {"probabilities", "labels"}
    assert marks.of_predictions(file).all()


def test_arrays_that_claim_far_more_than_is_stored_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    np.savez_compressed(file, probabilities=np.zeros(2**27, np.uint8), labels=[0])
    with pytest.raises(marks.DamagedError, match="far more than is stored"):
        marks.stored(file)


@pytest.mark.parametrize("labels", [np.zeros((3, 1), int), np.zeros(1, int), np.array(0)])
def test_labels_of_other_pictures_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    file = tmp_path / "x.npz"
    np.savez(file, probabilities=np.eye(3), labels=labels)
    with pytest.raises(ValueError, match="not a number for each picture"):
        marks.of_predictions(file)
    np.savez(file, probabilities=np.zeros(3, [("a", "f4")]), labels=[0, 0, 0])
    with pytest.raises(ValueError, match="not a number for each picture"):
        marks.of_predictions(file)
