"""Copies of a picture among others: the same bytes, and what looks the same.

What looks the same is found by a difference hash (which of two neighbouring patches is brighter,
64 times), and believed only where the pixels agree, too: a false alarm costs a reader more than a
copy that was missed. Copies that are cropped or mirrored are not found.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]

ROWS, COLUMNS = 16, 18
"""Of a thumbnail. Its hash has 8 x 8 bits: each compares two patches of 2 x 2."""

BITS = 8
"""Of 64 that may differ between hashes."""

NEAR = 3.5
"""Mean difference of two thumbnails' values, of 255, up to which they show the same picture.
Copies of photographs of flowers that were saved as JPEG at quality 30, or had been as small as 56
pixels, were 1 to 3 apart. Of 8,000 photographs of flowers, cats and dogs, those less than 6 apart
were five copies; of the digits no two were closer than 3.8."""

PLAIN = 12.0
"""Standard deviation of a thumbnail's values, of 255, below which too little is in it to tell it
from another one: a white page, a night sky."""

_PARTS, _PART_BITS = 16, 16
_COMPARED = 100  # pictures with a part of the hash in common that each is compared with


def exact(hashes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Groups of two and more pictures whose encoded bytes are the same.

    Args:
        hashes: of each picture's bytes.

    Returns:
        Indices, ascending in each group; groups by their first.
    """
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(hashes):
        groups.setdefault(digest, []).append(i)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def near(pixels: Pixels, hashes: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of pictures that look the same and are not, byte for byte.

    Takes time in proportion to their number.

    Args:
        pixels: uint8, shape (n, height, width, 3).
        hashes: of each picture's encoded bytes.

    Returns:
        Pairs of indices, the smaller first, the most alike pair first. Of several equal files the
        first one stands for all.
    """
    _, first = np.unique(np.asarray(hashes, np.str_), return_index=True)
    kept = np.sort(first)
    small = thumbnails(pixels, kept)
    told = np.flatnonzero(small.std(axis=(1, 2, 3)) >= PLAIN)
    small, kept = small[told], kept[told]
    pairs = _alike(difference_hashes(small))
    apart = np.array([_difference(small[a], small[b]) for a, b in pairs])
    order = np.argsort(apart, kind="stable")
    return tuple(
        (int(kept[pairs[i, 0]]), int(kept[pairs[i, 1]])) for i in order if apart[i] <= NEAR
    )


def thumbnails(pixels: Pixels, which: Indices) -> NDArray[np.float32]:
    """Mean colours of patches.

    Args:
        pixels: as in `near`.
        which: indices into it.

    Returns:
        Shape (len(which), `ROWS`, `COLUMNS`, 3), values 0 to 255.
    """
    from PIL import Image

    out = np.empty((len(which), ROWS, COLUMNS, 3), np.float32)
    for at, i in enumerate(which):
        picture = Image.fromarray(np.asarray(pixels[i]))
        out[at] = np.asarray(picture.resize((COLUMNS, ROWS), Image.Resampling.BOX))
    return out


def difference_hashes(small: NDArray[np.float32]) -> NDArray[np.uint64]:
    """64 bits for each thumbnail: whether each patch is brighter than the one to its right."""
    grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
    coarse = grey.reshape(len(grey), ROWS // 2, 2, COLUMNS // 2, 2).mean(axis=(2, 4))
    bits = (coarse[:, :, :-1] > coarse[:, :, 1:]).reshape(len(grey), 64)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def _alike(hashes: NDArray[np.uint64]) -> Indices:
    """Pairs whose hashes differ in few bits, shape (pairs, 2).

    Only those that have one of several parts of the hash in common are compared. Of pairs that
    differ in 4 bits the parts bring 99 of 100 together, of those with 6 bits 94.
    """
    found = [np.empty(0, np.int64)]
    for part in _parts():
        for a, b in _neighbours(hashes & part):
            few = np.bitwise_count(hashes[a] ^ hashes[b]) <= BITS
            found.append((np.minimum(a, b) * len(hashes) + np.maximum(a, b))[few])
    pairs = np.unique(np.concatenate(found))
    return np.stack(np.divmod(pairs, max(len(hashes), 1)), axis=1)


def _parts() -> Iterator[np.uint64]:
    """Masks of bits drawn at random, the same every time."""
    drawn = np.random.default_rng(0)
    for _ in range(_PARTS):
        bits = drawn.choice(64, _PART_BITS, replace=False)
        yield np.uint64(sum(1 << int(bit) for bit in bits))


def _neighbours(values: NDArray[np.uint64]) -> Iterator[tuple[Indices, Indices]]:
    """Indices of equal values: each with the next one, the next but one, and so on."""
    order = np.argsort(values, kind="stable").astype(np.int64)
    for step in range(1, min(_COMPARED, len(order))):
        a, b = order[:-step], order[step:]
        same = values[a] == values[b]
        if not same.any():
            return
        yield a[same], b[same]


def _difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).mean())
