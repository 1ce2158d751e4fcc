"""Files that grow by whole lines: appended to, flushed, mended after a kill; one process at a time.

Whatever ends a process between two calls of the system, what a later one finds is every line that
was reported as written, and at most a torn end, which `mended` cuts off.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.cache.disk import synced, to_disk
from bench.errors import StoreError, StoreLockedError
from bench.running import lines

LOCK = ".running.lock"
_BLOCK = 1 << 16


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder's lock, which ends with the process that holds it."""
    try:
        made(folder)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreLockedError(
            f"{folder}: another run is writing here; wait for it, or give another --results"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(f"{folder}: cannot be written: {error}{remedy(error)}") from error
    try:
        yield
    finally:
        lock.release()


def made(folder: Path) -> None:
    """A folder and those above it, by names that survive a power cut.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        made(folder.parent)
        folder.mkdir(exist_ok=True)
        to_disk(folder.parent)


def append(file: Path, content: bytes) -> None:
    """Append all of it and see it on disk, or nothing.

    Args:
        file: made if need be, in a folder that is there.
        content: whole lines.

    Raises:
        OSError: it could not be written.
    """
    before = file.stat().st_size if file.exists() else None
    try:
        with file.open("ab") as stream:
            stream.write(content)
            stream.flush()
            synced(stream.fileno())
        if before is None:
            to_disk(file.parent)
    except BaseException as error:  # after an interrupt, too, others are written
        with contextlib.suppress(OSError):
            if isinstance(error, OSError) or _last_line(file)[1]:
                os.truncate(file, before or 0)
        raise


@contextmanager
def moved(source: Path, place: Path) -> Iterator[None]:
    """Predictions in their place, for as long as their row is written.

    If it cannot be, they go back, unless they replaced others. A kill may leave some without a row:
    nobody reads them, and the rerun, which measures the trial again, replaces them.

    Raises:
        OSError: they cannot be moved.
    """
    new = not place.exists()
    made(place.parent)
    to_disk(source)
    source.replace(place)
    try:
        to_disk(place.parent)
        yield
    except OSError:
        if new:
            with contextlib.suppress(OSError):
                place.replace(source)
        raise


def mended(files: Iterable[Path]) -> Iterator[str]:
    """Make every file end with a whole line again, so that the next row starts a line."""
    for file in files:
        try:
            start, last = _last_line(file)
            if not last:
                continue
            if lines.is_whole(last):
                append(file, b"\n")
            else:
                os.truncate(file, start)
                yield f"{file}: the last row was torn by a kill and is measured again"
        except OSError as error:
            raise StoreError(f"{file}: a torn row could not be removed: {error}") from error


def _last_line(file: Path) -> tuple[int, bytes]:
    """What follows a file's last line break, and where it starts; the rest is not read."""
    with file.open("rb") as stream:
        end = start = stream.seek(0, os.SEEK_END)
        begins = 0
        while start and not begins:
            stop, start = start, max(0, start - _BLOCK)
            stream.seek(start)
            begins = stream.read(stop - start).rfind(b"\n") + 1
        stream.seek(start + begins)
        return start + begins, stream.read(end - start - begins)


def remedy(error: BaseException) -> str:
    """What to do about a folder that cannot be written, as the end of a message."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return ": make room, then run the same again"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ": make the folder writable or give another --results, then run the same again"
    if number in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP) or number is None:
        return ": give --results on a disk that has file locks"
    return ": run the same again once it is mended"
