"""Folders of the cache: written, fetched and opened as a whole, cleared, kept under the cap."""

import errno
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from bench.cache import checksums, shared
from bench.cache.disk import to_disk
from bench.cache.shared import Copy
from bench.errors import CacheError, UnknownNameError
from bench.settings import Settings

KINDS = ("images", "activations", "heads", "modes")
"""Folders of the cache that are kept under its cap."""

BUILT: Counter[str] = Counter()
"""Entries that this process has built, by kind: what it found, or fetched, does not count."""

STACKS = "stacks"
"""The folder of isolated environments: they are never removed to make room."""

EVERY = (*KINDS, STACKS)
"""Nothing else under ``BENCH_CACHE_DIR`` is ever listed or removed."""

MANIFEST = checksums.MANIFEST
ENTRY = re.compile(r"[\w-]+-[0-9a-f]{16,32}", re.ASCII)
_TEMPORARY = re.compile(rf"\.({ENTRY.pattern})\.\w+", re.ASCII)
_LOCK = re.compile(rf"\.({ENTRY.pattern})\.lock", re.ASCII)

T = TypeVar("T")


class DamagedEntryError(Exception):
    """An entry is not what its manifest says. Callers rebuild it, or raise a CacheError."""


# ---------------------------------------------------------------------------- entries of any kind


def root(settings: Settings, kind: str) -> Path:
    """The folder of a kind.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind not in EVERY:
        raise UnknownNameError("kind of cache entry", kind, EVERY)
    return settings.cache / kind


def keyed(settings: Settings, kind: str, key: str) -> list[Path]:
    """Folders of a kind with this key, whatever the label before it.

    Raises:
        CacheError: the cache cannot be read.
        UnknownNameError: there is no such kind.
    """
    return sorted(folders_of(settings, kind, re.compile(rf"[^.].*-{re.escape(key)}")))


def slug(text: str) -> str:
    """What may stand in a folder's name; empty where nothing may."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:60]


def opened(path: Path, read: Callable[[Path], T]) -> T | None:
    """Open an entry and note the use; None where there is none.

    Args:
        path: its folder.
        read: gives its content, and raises what NumPy, pydantic and the system raise.

    Raises:
        DamagedEntryError: it is there, but incomplete or not as its manifest says.
    """
    if not path.is_dir():
        return None
    try:
        content = read(path)
    # What a damaged file raises depends on where the damage is.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if not path.is_dir():  # removed meanwhile
            return None
        raise DamagedEntryError(f"{path}: {error}") from error
    with suppress(OSError):  # a read-only cache is fine
        os.utime(path / MANIFEST)
    return content


@contextmanager
def writing(settings: Settings, path: Path, read: Callable[[Path], Any]) -> Iterator[Path | None]:
    """Hold the right to build an entry: gives a folder to fill, the manifest last.

    Gives None where another process has just built it. A damaged entry at ``path`` is replaced.
    Whatever ends the block without a manifest in the folder leaves no entry behind.

    Args:
        settings: says how large the cache may grow.
        path: where the entry will lie.
        read: as in ``opened``.

    Raises:
        CacheError: the cache cannot be written.
    """
    fetched = finished = False
    with ExitStack() as held:
        with explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(lock(path)))
            _remove_leftovers(path)
            complete = _complete(path, read)
            if not complete and (copy := _shared(settings, path)):
                complete = fetched = _fetch(copy, path, read)
            folder = None if complete else _temporary(path)
        if folder is None:
            yield None
        else:
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            yield folder
            if finished := (folder / MANIFEST).is_file():
                with explaining(path):
                    checksums.seal(folder)
                    _appear(folder, path)
                BUILT[path.parent.name] += 1
    if finished:
        shared.publish(settings, path)
    if finished or fetched:
        trim(settings, path)


def fetched(
    settings: Settings, path: Path, read: Callable[[Path], Any], copy: Copy | None = None
) -> bool:
    """Fetch an entry from the store that machines share, unless another process just has.

    Args:
        settings: name the store, and say how large the cache may grow.
        path: where the entry will lie.
        read: as in ``opened``.
        copy: of the store; None to look for it.

    Returns:
        Whether the entry is there now. A cache that cannot be written is told of by who builds.
    """
    if (copy := copy or _shared(settings, path)) is None:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock(path)):
            _remove_leftovers(path)
            if not (_complete(path, read) or _fetch(copy, path, read)):
                return False
    except (OSError, NotImplementedError):
        return False
    trim(settings, path)
    return True


def _shared(settings: Settings, path: Path) -> Copy | None:
    return shared.find(settings, path.parent.name, shared.key_of(path))


def _fetch(copy: Copy, path: Path, read: Callable[[Path], Any]) -> bool:
    """Under the lock, put a copy in its place if it is what is expected there; whether it was."""
    desk = _temporary(path)
    folder = desk / path.name  # whose key says what is expected
    try:
        folder.mkdir()
        if not copy.download(folder):
            return False
        if not _complete(folder, read):
            copy.refuse()
            return False
        _appear(folder, path)
    finally:
        shutil.rmtree(desk, ignore_errors=True)
    return True


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what the system says while an entry is written into a CacheError."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter of locks that a disk has not
        raise CacheError(
            f"cannot write the cache {path.parent}: {error}: make room or set "
            "BENCH_CACHE_DIR to a folder that can be written"
        ) from error


def now() -> str:
    """UTC, ISO 8601 with microseconds: sorts by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


# ----------------------------------------------------------------------------- removal and the cap


def clear(settings: Settings, kinds: Sequence[str] | None = None) -> int:
    """Remove all entries, damaged and abandoned ones too, save those being built right now.

    Args:
        settings: where the cache lies.
        kinds: None for those under the cap.

    Returns:
        Bytes freed.

    Raises:
        CacheError: something could not be removed.
        UnknownNameError: there is no such kind.
    """
    freed = 0
    try:
        for kind in kinds or KINDS:
            for pattern in (_TEMPORARY, ENTRY):
                for folder in folders_of(settings, kind, pattern):
                    freed += _remove_unless_held(folder)
    except OSError as error:
        raise CacheError(f"cannot clear the cache {settings.cache}: {error}") from error
    return freed


def trim(settings: Settings, keep: Path) -> None:
    """Remove entries until all of them fit ``settings.cache_bytes``, least recently used first.

    What killed builders left behind goes too, as by `sweep`. Removed arrays stay readable where
    they are mapped. An entry larger than the cap stays until another one has been
    written, and is then the first to go: the others are not lost for its sake.

    Args:
        settings: where the cache lies and how large it may be.
        keep: the entry just written: it stays.
    """
    cap, kept = settings.cache_bytes, bytes_of(keep)
    with explaining(keep), FileLock(settings.cache / ".trim.lock"):
        sweep(settings)
        others = {
            path: (size := bytes_of(path), size <= cap, last_used(path))
            for kind in KINDS
            for path in folders_of(settings, kind, ENTRY)
            if path != keep
        }
        excess = sum(size for size, _, _ in others.values()) + (kept if kept <= cap else 0) - cap
        for path in sorted(others, key=lambda p: others[p][1:]):
            if excess <= 0:
                return
            with suppress(OSError):
                excess -= _remove_unless_held(path)


def sweep(settings: Settings) -> None:
    """Remove what killed builders left behind, and locks of what is no longer there.

    What is being built stays. What cannot be removed (of another user, say) stays too.

    Raises:
        CacheError: the cache cannot be read.
    """
    for kind in EVERY:
        for folder in folders_of(settings, kind, _TEMPORARY):
            with suppress(OSError):
                _remove_unless_held(folder)
        for file in _names(settings, kind, _LOCK):
            entry = file.with_name(file.name[1:].removesuffix(".lock"))
            if entry.exists():
                continue  # nor is it locked for a look: somebody may just want to build it
            with suppress(OSError, Timeout), FileLock(file, timeout=0):
                _forget_lock(file, entry)


def folders_of(settings: Settings, kind: str, pattern: re.Pattern[str]) -> list[Path]:
    """Folders of a kind whose names match.

    Raises:
        CacheError: the cache cannot be read.
    """
    return [p for p in _names(settings, kind, pattern) if p.is_dir()]


def _names(settings: Settings, kind: str, pattern: re.Pattern[str]) -> list[Path]:
    """What lies in the folder of a kind; other names than Bench's own are not its business."""
    try:
        return [p for p in root(settings, kind).iterdir() if pattern.fullmatch(p.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CacheError(f"cannot read the cache {settings.cache}: {error}") from error


def lock(path: Path) -> Path:
    """The file to lock while an entry is built."""
    return path.parent / f".{path.name}.lock"


def _temporary(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))


def _complete(path: Path, read: Callable[[Path], Any]) -> bool:
    try:
        return opened(path, read) is not None
    except DamagedEntryError:
        return False


def _appear(folder: Path, path: Path) -> None:
    """All of it reaches the disk before the name does: a power cut leaves it whole or absent."""
    for file in folder.iterdir():
        to_disk(file)
    to_disk(folder)
    folder.chmod(0o755)  # mkdtemp's 0700 would hide it from who shares the cache
    _remove(path)
    try:
        folder.rename(path)
    except OSError as error:
        # A network file system may show late what another machine has put there: it is as good.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _remove_leftovers(path: Path) -> None:
    """Temporary folders of builders that were killed: whoever holds the lock is the only one."""
    for folder in path.parent.glob(f".{path.name}.*"):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _remove_unless_held(folder: Path) -> int:
    """Remove an entry, or a temporary folder of one, unless it is being built; bytes freed."""
    temporary = _TEMPORARY.fullmatch(folder.name)
    entry = folder.with_name(temporary[1]) if temporary else folder
    try:
        with FileLock(lock(entry), timeout=0):
            size = bytes_of(folder)
            _remove(folder)
            _forget_lock(lock(entry), entry)
            return size
    except Timeout:
        return 0


def _forget_lock(held: Path, entry: Path) -> None:
    """Locks of entries that are gone would pile up; who waits for one notices, and takes another.

    Args:
        held: by this process.
        entry: that it is the lock of.
    """
    if not entry.exists():
        held.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Rename first: a reader finds all of it, or nothing."""
    if not folder.exists():
        return
    if folder.name.startswith("."):
        shutil.rmtree(folder)
        return
    doomed = _temporary(folder)
    folder.rename(doomed / "entry")
    # NFS keeps a file that is mapped under another name in its folder: a later sweep removes both.
    shutil.rmtree(doomed, ignore_errors=True)


def bytes_of(folder: Path) -> int:
    """Bytes of all files in it."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process may be removing it
                total += Path(place, name).stat().st_size
    return total


def last_used(path: Path) -> float:
    """Seconds since 1970; 0 for what has no manifest."""
    try:
        return (path / MANIFEST).stat().st_mtime
    except OSError:
        return 0.0
