"""Small pictures of a dataset by their content, from what this machine has decoded already.

Nothing is decoded or downloaded here: a machine without the picture cache gives no pictures.
"""

import io
from collections.abc import Collection, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from bench.cache.folders import DamagedEntryError
from bench.data import picture_cache
from bench.data.datasets import DATASETS, resolve
from bench.data.picture_cache import Entry
from bench.data.sources import find_source
from bench.errors import BenchError
from bench.records import Dataset
from bench.settings import Settings

SIDE = 64
"""Pixels of each side."""

QUALITY = 80


def find(
    dataset: Dataset, image_size: int, hashes: Collection[str], settings: Settings
) -> dict[str, bytes]:
    """JPEG files of pictures, `SIDE` pixels wide and high.

    Args:
        dataset: that they are of.
        image_size: at which it was decoded; the cache need hold no other.
        hashes: the first digits of each picture's SHA-256, or all of them.
        settings: where the cache lies.

    Returns:
        By hash as given. Whatever the cache does not hold is not among them.
    """
    found: dict[str, bytes] = {}
    if not hashes:
        return found
    with suppress(BenchError, DamagedEntryError):
        entry = _entry(dataset, image_size, settings)
        for name, pixels in _chosen(entry, set(hashes)) if entry else ():
            found[name] = _jpeg(pixels)
    return found


def shareable(dataset: Dataset) -> bool:
    """Whether its pictures may stand in a page that is passed on."""
    row = DATASETS.get(dataset.name)
    other = dataset.tfds is not None or dataset.folder is not None
    return bool(row and row.shareable and not other)


def _entry(dataset: Dataset, image_size: int, settings: Settings) -> Entry | None:
    source = find_source(resolve(dataset), settings)
    return picture_cache.newest(settings, source.identity, image_size, sure=False)


def _chosen(entry: Entry, hashes: set[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    lengths = {len(name) for name in hashes}
    for i, digest in enumerate(entry.hashes):
        for name in {digest[:length] for length in lengths} & hashes:
            yield name, np.asarray(entry.pixels[i])


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
