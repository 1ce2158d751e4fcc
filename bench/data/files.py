"""What the files of a folder are: format and size, from their headers alone."""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.data.decoding import FORMATS

EXTENSIONS_OF = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # several JPEG pictures in a file, as phones write them
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
"""What files of a format are called."""

LONG = 3.0
"""A picture with one side so many times the other is hard to recognise as a square."""

_WORKERS = min(16, 2 * (os.cpu_count() or 1))

_OF_FRAMES = ("GIF", "WEBP", "PNG", "TIFF")
"""Formats of several pictures; of those in a JPEG the others are previews."""


@dataclass(frozen=True)
class Files:
    """Files of pictures that can be read.

    Attributes:
        count: how many were looked at.
        formats: Pillow's name of each, and how many have it; the most frequent first.
        misnamed: names of files that are of another format than their extension says, each with
            the format that it is of.
        shorter: pixels of the shorter side: the least, the median, the most.
        small: pictures whose shorter side is below the size asked for.
        long: pictures with one side more than `LONG` times the other.
        animated: or of several pages: only the first counts.
    """

    count: int
    formats: tuple[tuple[str, int], ...]
    misnamed: tuple[tuple[str, str], ...]
    shorter: tuple[int, int, int]
    small: int
    long: int
    animated: int


@dataclass(frozen=True)
class _Header:
    name: str
    kind: str
    width: int
    height: int
    animated: bool


def inspect(folder: Path, names: Sequence[str], image_size: int) -> Files | None:
    """Read the headers of files.

    Args:
        folder: that they are in.
        names: paths below it.
        image_size: pixels of each side that the pictures are brought to.

    Returns:
        None where no header can be read. A file that is gone is left out.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        read = pool.map(lambda name: _header(folder / name, name), names)
        found = [header for header in read if header is not None]
    if not found:
        return None
    shorter = sorted(min(h.width, h.height) for h in found)
    kinds = Counter(h.kind for h in found)
    return Files(
        count=len(found),
        formats=tuple(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))),
        misnamed=tuple((h.name, h.kind) for h in found if not _fits(h)),
        shorter=(shorter[0], shorter[len(shorter) // 2], shorter[-1]),
        small=sum(side < image_size for side in shorter),
        long=sum(max(h.width, h.height) > LONG * min(h.width, h.height) for h in found),
        animated=sum(h.animated for h in found),
    )


def _header(path: Path, name: str) -> _Header | None:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, which decoding has judged
            with Image.open(path, formats=FORMATS) as picture:
                kind, (width, height) = str(picture.format), picture.size
                animated = kind in _OF_FRAMES and getattr(picture, "is_animated", False)
                return _Header(name, kind, width, height, bool(animated))
    # Pillow's plugins raise nearly anything; what cannot be read is reported by who decodes it.
    except Exception:
        return None


def _fits(header: _Header) -> bool:
    return Path(header.name).suffix.lower() in EXTENSIONS_OF.get(header.kind, ())
