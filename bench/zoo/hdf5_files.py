"""Looks into an HDF5 file of weights before anything reads it for its weights.

HDF5 lets a file name other files to read from, and say that a few bytes are terabytes. Neither has
a place in weights: such a file is refused here, without Keras.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from bench.errors import WeightsError

MOST_OBJECTS = 200_000
"""Groups and arrays; the largest backbone of the table has some four thousand."""
ROOM = 64 * 2**20
"""Bytes that any file's arrays may have."""
EXPANSION = 50
"""How many times larger than their file arrays may be, beyond that."""

_OPTIMIZER = ("optimizer", "optimizer_weights")


def check(file: Path | BinaryIO, size: int) -> int:
    """See that a file holds arrays of its own and nothing else.

    Args:
        file: a path, or what reads like a file.
        size: of the file, in bytes.

    Returns:
        How many numbers its arrays hold, an optimizer's left out.

    Raises:
        WeightsError: it is damaged, reads from other files, holds a whole model rather than
            weights, or arrays that are far larger than itself. The message names no file.
    """
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            if "model_config" in opened.attrs or "model_weights" in opened:
                raise WeightsError(
                    "is a whole model in the old HDF5 format: expected weights alone, as "
                    "model.save_weights('NAME.weights.h5') writes them"
                )
            return _counted(opened, max(ROOM, EXPANSION * size))
    # What a damaged file raises depends on where the damage is.
    except (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError) as error:
        short = " ".join(str(error).split())[:300]
        raise WeightsError(f"is not a whole HDF5 file ({short}): {_EXPECTED}") from error


def _counted(opened: Any, room: int) -> int:
    numbers = size = 0
    for path, dataset in _datasets(opened):
        if dataset.is_virtual or dataset.external:
            raise WeightsError(f"has an array {path!r} that is read from other files: {_EXPECTED}")
        size += dataset.nbytes
        if size > room:
            raise WeightsError(
                f"has arrays that claim more than {room:,} bytes, far more than the file holds: "
                f"{_EXPECTED}"
            )
        if path.split("/")[0] not in _OPTIMIZER:
            numbers += dataset.size or 0
    return numbers


_EXPECTED = "expected what model.save_weights('NAME.weights.h5') of Keras writes"


def _datasets(opened: Any) -> Iterator[tuple[str, Any]]:
    """Every array with its path; each group once, for links may go in circles."""
    import h5py

    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, Any]] = [("", opened)]
    while waiting:
        path, group = waiting.pop()
        for name in group:
            below = f"{path}/{name}" if path else name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(f"has an entry {below!r} that is a link: {_EXPECTED}")
            found = group[name]
            info = h5py.h5o.get_info(found.id)
            at = (info.fileno, info.addr)
            if at in seen:
                raise WeightsError(f"has an entry {below!r} that has two names: {_EXPECTED}")
            seen.add(at)
            if len(seen) > MOST_OBJECTS:
                raise WeightsError(f"has more than {MOST_OBJECTS:,} entries: {_EXPECTED}")
            if isinstance(found, h5py.Dataset):
                yield below, found
            elif isinstance(found, h5py.Group):
                waiting.append((below, found))


class Part(io.RawIOBase):
    """A run of bytes within a file, to be read as a file of its own.

    Args:
        file: open for reading; it stays open.
        start: of the run, in bytes.
        size: of the run, in bytes.
    """

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`."""
        base: Mapping[int, int] = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}
        self._at = max(0, base[whence] + offset)
        return self._at

    def tell(self) -> int:
        """See `io.IOBase`."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._start + self._at)
        data = self._file.read(count)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
