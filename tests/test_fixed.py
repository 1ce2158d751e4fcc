"""Numbers that must be the same on every stack, and sketches of tensors."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from bench.data import decoding
from bench.measuring import fixed


def test_random_words_stay_what_they_are() -> None:
    # Fingerprints of other versions were taken with these.
    assert [int(w) for w in fixed.words("pictures", 2)] == [
        2385887319262266086,
        17498131060381007742,
    ]
    shown = fixed.pictures(96)
    assert (shown.shape, shown.dtype) == ((fixed.PICTURES, 96, 96, 3), np.uint8)
    assert (
        hashlib.sha256(shown.tobytes()).hexdigest()
        == "4cb35f77b337a0bcc24a34be589c89b0dc01974942f4d856638e85e7c0a2a2ae"
    )


def test_pictures_are_smooth_and_fill_their_range() -> None:
    shown = fixed.pictures(96).astype(int)
    assert max(np.abs(np.diff(shown, axis=axis)).max() for axis in (1, 2)) <= 12
    assert shown.min() < 20
    assert shown.max() > 235
    assert np.abs(shown[0] - shown[1]).mean() > 20


def test_uniform_numbers_are_spread_as_they_should() -> None:
    numbers = fixed.uniform("some", (100, 1000))
    assert numbers.min() >= -1
    assert numbers.max() < 1
    assert abs(numbers.mean()) < 0.01
    assert numbers.var() == pytest.approx(1 / 3, rel=0.02)
    assert not np.array_equal(numbers, fixed.uniform("other", (100, 1000)))


def test_encoded_pictures_can_be_read_and_are_not_square() -> None:
    found = {n: Image.open(io.BytesIO(content)) for n, content in fixed.encoded().items()}
    assert {n: (p.format, p.size, p.mode) for n, p in found.items()} == {
        "png": ("PNG", (61, 47), "RGBA"),
        "jpeg": ("JPEG", (36, 24), "RGB"),
    }
    for content in fixed.encoded().values():
        assert decoding.decode(content, 32).std() > 20


def test_a_sketch_tells_how_far_tensors_are_apart() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        a = rng.normal(size=(7, 9, 5))
        b = a + 1e-6 * rng.normal(size=a.shape)
        apart = np.linalg.norm(fixed.sketch(a) - fixed.sketch(b)) / np.linalg.norm(a - b)
        found.append(apart)
    squares = np.square(found)
    assert squares.mean() == pytest.approx(1, abs=0.1)
    assert squares.std() == pytest.approx(np.sqrt(2 / fixed.SKETCH), abs=0.1)
    assert np.mean(np.array(found) < 0.5) == pytest.approx(0.09, abs=0.03)
    assert np.mean(np.array(found) > 2) < 0.01
    assert min(found) > 0.05


def test_a_sketch_sees_a_single_number_and_a_single_channel() -> None:
    values = np.ones((4, 8, 8, 6))
    one = values.copy()
    one[2, 3, 4, 5] += 0.25
    assert np.linalg.norm(fixed.sketch(one) - fixed.sketch(values)) == pytest.approx(0.25)
    channel = values.copy()
    channel[..., 2] += 0.01
    apart = np.linalg.norm(fixed.sketch(channel) - fixed.sketch(values))
    assert apart == pytest.approx(0.16, rel=0.8)


def test_a_sketch_has_its_numbers_whatever_the_size() -> None:
    assert fixed.sketch(np.float32(3.0)).shape == (fixed.SKETCH,)
    assert np.linalg.norm(fixed.sketch(np.float32(3.0))) == 3.0
    assert np.isnan(fixed.sketch(np.array([1.0, np.nan]))).any()
