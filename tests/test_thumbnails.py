"""Small pictures out of the cache, and which of them may be passed on."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cache.folders import now
from bench.data import picture_cache, thumbnails
from bench.data.datasets import DATASETS, resolve
from bench.data.decoding import DECODING_VERSION
from bench.data.examples import Example
from bench.data.sources import find_source
from bench.records import Dataset
from bench.settings import Settings

DIGITS = Dataset(name="digits")
HASHES = ["ab" * 32, "cd" * 32]


def cached(settings: Settings, dataset: Dataset = DIGITS, size: int = 32) -> Path:
    """A cache entry of a red and a blue picture."""
    source = find_source(resolve(dataset), settings)
    path = picture_cache.entry_path(settings, source, "signature", size)
    with picture_cache.building(settings, path) as writer:
        assert writer is not None
        colours = ((255, 0, 0), (0, 0, 255))
        for number, (digest, colour) in enumerate(zip(HASHES, colours, strict=True)):
            pixels = np.full((size, size, 3), colour, np.uint8)
            writer.add(Example(str(number), b"", 0), digest, pixels)
        writer.finish(
            picture_cache.Manifest(
                decoding=DECODING_VERSION,
                name=source.name,
                identity=source.identity,
                signature="signature",
                size=size,
                pictures=2,
                class_names=("a",),
                problems=(),
                created=now(),
            )
        )
    return path


def test_pictures_are_found_by_the_first_digits_of_their_hash(settings: Settings) -> None:
    cached(settings)
    wanted = [HASHES[1][:16], "0" * 16]
    found = thumbnails.find(DIGITS, 32, wanted, settings)
    assert list(found) == [HASHES[1][:16]]
    picture = Image.open(io.BytesIO(found[HASHES[1][:16]]))
    assert picture.size == (thumbnails.SIDE, thumbnails.SIDE)
    red, _, blue = picture.getpixel((30, 30))
    assert blue > 240
    assert red < 20


@pytest.mark.parametrize("size", [31, 64])
def test_another_size_is_not_in_the_cache(settings: Settings, size: int) -> None:
    cached(settings)
    assert thumbnails.find(DIGITS, size, [HASHES[0]], settings) == {}


def test_no_cache_no_dataset_and_no_hash_give_no_picture(settings: Settings) -> None:
    assert thumbnails.find(DIGITS, 32, [HASHES[0]], settings) == {}
    hostile = Dataset(name="<script>alert(1)</script>")
    assert thumbnails.find(hostile, 32, [HASHES[0]], settings) == {}
    cached(settings)
    assert thumbnails.find(DIGITS, 32, [], settings) == {}


def test_a_damaged_cache_gives_no_picture(settings: Settings) -> None:
    path = cached(settings)
    (path / "pixels.npy").write_bytes(b"")
    assert thumbnails.find(DIGITS, 32, [HASHES[0]], settings) == {}


def test_only_pictures_that_need_no_names_are_shareable() -> None:
    shareable = {name for name in DATASETS if thumbnails.shareable(Dataset(name=name))}
    assert shareable == {"digits"}
    assert not thumbnails.shareable(Dataset(name="digits", folder="/my/pictures"))
    assert not thumbnails.shareable(Dataset(name="digits", tfds="beans"))
    assert not thumbnails.shareable(Dataset(name="unknown"))
