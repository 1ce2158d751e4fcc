"""Copies of pictures, on pictures drawn from random shapes."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench.data import twins

SIDE = 96


def drawn(seed: int) -> Image.Image:
    """A picture with as much in it as a photograph: soft blobs of any colour and place."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = image.resize((4 * SIDE, 4 * SIDE), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        x, y, r = rng.integers(0, 4 * SIDE, 3)
        pen.ellipse((x, y, x + r / 3, y + r / 3), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def square(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def saved_again(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def found(*images: np.ndarray) -> tuple[tuple[int, int], ...]:
    return twins.near(np.stack(images), [str(i) for i in range(len(images))])


def test_equal_bytes_are_grouped() -> None:
    assert twins.exact(["a", "b", "a", "c", "b", "a"]) == ((0, 2, 5), (1, 4))
    assert twins.exact(["a", "b"]) == ()


@pytest.mark.parametrize(
    "again",
    [
        lambda image: saved_again(image, 40),
        lambda image: image.resize((120, 120)),
        lambda image: image.point(lambda value: min(255, value + 2)),
    ],
    ids=["saved again", "smaller", "brighter by a trace"],
)
def test_a_picture_saved_again_is_found_among_others(again: object) -> None:
    others = [square(drawn(seed)) for seed in range(1, 30)]
    copy = square(again(drawn(0)))  # type: ignore[operator]
    assert found(square(drawn(0)), *others, copy) == ((0, 30),)


def test_different_pictures_are_not_taken_for_copies() -> None:
    assert found(*(square(drawn(seed)) for seed in range(300))) == ()


def test_neither_cropped_nor_mirrored_nor_repainted_ones_are_copies() -> None:
    image = drawn(0)
    cropped = image.crop((60, 60, 384, 384))
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    repainted = image.point(lambda value: value // 2)
    assert found(*map(square, (image, cropped, mirrored, repainted))) == ()


def test_equal_files_stand_as_one_and_are_not_told_again() -> None:
    picture, again = square(drawn(0)), square(saved_again(drawn(0), 60))
    pixels = np.stack([picture, picture, again])
    assert twins.near(pixels, ["same", "same", "other"]) == ((0, 2),)


def test_pages_with_nothing_on_them_are_not_told_apart_so_not_told() -> None:
    pages = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (250, 251, 252)]
    assert found(*pages) == ()


def test_the_most_alike_pair_comes_first() -> None:
    pictures = [drawn(0), saved_again(drawn(0), 15), drawn(1), saved_again(drawn(1), 95)]
    assert found(*map(square, pictures)) == ((2, 3), (0, 1))


def test_a_crowd_of_frames_ends_soon() -> None:
    # A film: every frame is like every other one, and each is compared with a few only.
    frame = drawn(0)
    frames = np.stack([square(frame)] * 400)
    frames[:, 0, 0, 0] = np.arange(400) % 256
    pairs = twins.near(frames, [str(i) for i in range(400)])
    assert 400 <= len(pairs) < 400 * 100
    assert {i for pair in pairs for i in pair} == set(range(400))


@pytest.mark.parametrize("number", [0, 1])
def test_no_pairs_among_fewer_than_two(number: int) -> None:
    pixels = np.zeros((number, SIDE, SIDE, 3), np.uint8)
    assert twins.near(pixels, ["a"] * number) == ()


@pytest.mark.parametrize("side", [16, 17, 300])
def test_any_size_will_do(side: int) -> None:
    pictures = [
        np.asarray(drawn(0).resize((side, side))),
        np.asarray(drawn(1).resize((side, side))),
    ]
    assert found(*pictures, pictures[0] + np.uint8(0)) == ((0, 2),)
