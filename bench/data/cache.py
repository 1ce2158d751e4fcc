"""Where decoded pictures lie: one folder for each (source, size), complete or absent.

    CACHE/images/<name>-<size>-<key>/   pixels.npy     uint8, (pictures, size, size, 3)
                                        examples.npz   labels, official splits, hashes, ids
                                        manifest.json  what it is; written last

An entry is written under a temporary name beside its place, then renamed. Opening one checks that
its files have the sizes and shapes that the manifest states.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from bench.data.decoding import DECODING_VERSION
from bench.data.examples import Example, Source
from bench.errors import CacheError
from bench.records import Record, SplitName
from bench.settings import Settings

_SPLITS: tuple[SplitName | None, ...] = (None, "train", "val", "test")
_MANIFEST, _PIXELS, _EXAMPLES = "manifest.json", "pixels.npy", "examples.npz"


class Manifest(Record):
    """What an entry is. ``identity`` and ``signature`` are the source's, see ``Source``."""

    format: Literal[1] = 1
    decoding: int
    name: str
    identity: str
    signature: str
    size: int
    pictures: int
    class_names: tuple[str, ...]
    problems: tuple[str, ...]
    created: str


@dataclass(frozen=True)
class Entry:
    """A complete entry, opened.

    Attributes:
        manifest: what it is.
        pixels: uint8, shape (pictures, size, size, 3), memory-mapped, read-only.
        labels: int64, shape (pictures,).
        official, hashes, ids: one each per picture.
    """

    manifest: Manifest
    pixels: np.memmap
    labels: NDArray[np.int64]
    official: tuple[SplitName | None, ...]
    hashes: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class CacheEntry:
    """One entry, for lists.

    Attributes:
        path: its folder.
        name: of the source: a TFDS name, a folder's name, or ``digits``.
        size: pixels of each side.
        pictures: how many.
        bytes: on disk.
        last_used: in UTC.
    """

    path: Path
    name: str
    size: int
    pictures: int
    bytes: int
    last_used: datetime


class DamagedEntryError(Exception):
    """An entry is not what its manifest says. Callers rebuild it, or raise a CacheError."""


def entry_path(settings: Settings, source: Source, signature: str, size: int) -> Path:
    """Where these pictures at this size lie, or will lie.

    The key holds all that the content depends on: source, signature, size, decoding version.
    """
    content = json.dumps([source.identity, signature, size, DECODING_VERSION])
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", source.name).strip("-")[:60] or "pictures"
    return _root(settings) / f"{slug}-{size}-{key}"


def read(path: Path) -> Entry | None:
    """Open an entry; None where there is none.

    Raises:
        DamagedEntryError: it is there, but incomplete or not as its manifest says.
    """
    if not path.is_dir():
        return None
    try:
        entry = _read(path)
    # What a damaged file raises depends on where the damage is.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedEntryError(f"{path}: {error}") from error
    with suppress(OSError):  # a read-only cache is fine
        os.utime(path / _MANIFEST)
    return entry


def newest(settings: Settings, identity: str, size: int) -> Entry | None:
    """The entry of a source at a size that was written last, whatever its signature.

    Raises:
        DamagedEntryError: there are some, and every one is damaged.
    """
    manifests = [
        (p, m) for p, m in _manifests(settings) if (m.identity, m.size) == (identity, size)
    ]
    current = [(p, m) for p, m in manifests if m.decoding == DECODING_VERSION]
    damage: DamagedEntryError | None = None
    for path, _ in sorted(current, key=lambda pm: pm[1].created, reverse=True):
        try:
            return read(path)
        except DamagedEntryError as error:
            damage = damage or error
    if damage:
        raise damage
    return None


@contextmanager
def building(path: Path) -> Iterator["EntryWriter | None"]:
    """Hold the right to build an entry. Gives None where another process has just built it.

    A damaged entry at ``path`` is replaced. Whatever ends the block before ``finish`` leaves no
    entry behind.

    Raises:
        CacheError: the cache cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_lock(path)):
            _remove_leftovers(path)
            if _complete(path):
                yield None
                return
            folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            try:
                with (folder / _PIXELS).open("wb") as file:
                    yield EntryWriter(path, folder, file)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise CacheError(
            f"cannot write the image cache {path.parent}: {error}: make room or set "
            "BENCH_CACHE_DIR to a folder that can be written"
        ) from error


class EntryWriter:
    """Writes one entry picture by picture: memory does not grow with the pixels."""

    def __init__(self, path: Path, folder: Path, pixels: BinaryIO) -> None:
        self._path, self._folder, self._file = path, folder, pixels
        self._labels: list[int] = []
        self._official: list[int] = []
        self._hashes: list[str] = []
        self._ids: list[str] = []
        self._shape: tuple[int, ...] = ()

    @property
    def pictures(self) -> int:
        """How many were added."""
        return len(self._labels)

    def add(self, example: Example, digest: str, pixels: NDArray[np.uint8]) -> None:
        """Append one picture.

        Args:
            example: gives label, split and id.
            digest: SHA-256 of its encoded bytes, 64 hex digits.
            pixels: uint8, shape (size, size, 3), the same for every picture.
        """
        if not self._shape:
            self._shape = pixels.shape
            self._write_header()
        self._file.write(np.ascontiguousarray(pixels).data)
        self._labels.append(example.label)
        self._official.append(_SPLITS.index(example.official))
        self._hashes.append(digest)
        self._ids.append(example.id)

    def finish(self, manifest: Manifest) -> None:
        """Make the entry appear under its name."""
        self._file.seek(0)
        self._write_header()
        _to_disk(self._file)
        with (self._folder / _EXAMPLES).open("wb") as file:
            np.savez(
                file,
                labels=np.array(self._labels, np.int64),
                official=np.array(self._official, np.int8),
                hashes=np.array(self._hashes, "S64"),
                ids=np.array(self._ids, np.str_),
            )
            _to_disk(file)
        with (self._folder / _MANIFEST).open("wb") as file:
            file.write(manifest.model_dump_json(indent=1).encode())
            _to_disk(file)
        self._folder.chmod(0o755)  # mkdtemp's 0700 would hide it from who shares the cache
        _remove(self._path)
        self._folder.rename(self._path)

    def _write_header(self) -> None:
        # NumPy pads this header so that the first dimension can grow: rewritten in place.
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.pictures, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def cache_entries(settings: Settings) -> list[CacheEntry]:
    """Every entry whose manifest can be read, sorted by name and size."""
    entries = [
        CacheEntry(
            path=path,
            name=manifest.name,
            size=manifest.size,
            pictures=manifest.pictures,
            bytes=_bytes(path),
            last_used=datetime.fromtimestamp((path / _MANIFEST).stat().st_mtime, UTC),
        )
        for path, manifest in _manifests(settings)
    ]
    return sorted(entries, key=lambda e: (e.name, e.size, e.path))


def clear_cache(settings: Settings) -> int:
    """Remove all entries, damaged and abandoned ones too, save those being built right now.

    Returns:
        Bytes freed.

    Raises:
        CacheError: something could not be removed.
    """
    root, freed = _root(settings), 0
    try:
        for folder in [f for f in root.glob("*") if f.is_dir()] if root.is_dir() else []:
            name = folder.name
            entry = root / (name[1:].rpartition(".")[0] if name.startswith(".") else name)
            with suppress(Timeout), FileLock(_lock(entry), timeout=0):
                size = _bytes(folder)
                _remove(folder)
                freed += size
    except OSError as error:
        raise CacheError(f"cannot clear the image cache {root}: {error}") from error
    return freed


def _root(settings: Settings) -> Path:
    return settings.cache / "images"


def _lock(path: Path) -> Path:
    return path.parent / f".{path.name}.lock"


def _read(path: Path) -> Entry:
    manifest = Manifest.model_validate_json((path / _MANIFEST).read_bytes())
    pixels = np.load(path / _PIXELS, mmap_mode="r", allow_pickle=False)
    shape = (manifest.pictures, manifest.size, manifest.size, 3)
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ValueError(f"{_PIXELS} is {pixels.dtype} {pixels.shape}, expected uint8 {shape}")
    if (path / _PIXELS).stat().st_size != pixels.offset + pixels.nbytes:
        raise ValueError(f"{_PIXELS} has bytes beyond its pictures")
    with np.load(path / _EXAMPLES, allow_pickle=False) as arrays:
        labels, official = arrays["labels"], arrays["official"]
        hashes, ids = arrays["hashes"].astype(np.str_), arrays["ids"]
    if {len(a) for a in (labels, official, hashes, ids)} != {manifest.pictures}:
        raise ValueError(f"{_EXAMPLES} does not hold {manifest.pictures} pictures")
    return Entry(
        manifest=manifest,
        pixels=cast(np.memmap, pixels),
        labels=labels,
        official=tuple(_SPLITS[code] for code in official),
        hashes=tuple(hashes.tolist()),
        ids=tuple(ids.tolist()),
    )


def _complete(path: Path) -> bool:
    try:
        return read(path) is not None
    except DamagedEntryError:
        return False


def _manifests(settings: Settings) -> list[tuple[Path, Manifest]]:
    found = []
    for file in _root(settings).glob(f"[!.]*/{_MANIFEST}"):
        with suppress(OSError, ValueError):
            found.append((file.parent, Manifest.model_validate_json(file.read_bytes())))
    return found


def _remove_leftovers(path: Path) -> None:
    """Temporary folders of builders that were killed: whoever holds the lock is the only one."""
    for folder in path.parent.glob(f".{path.name}.*"):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Rename first: a reader finds all of it, or nothing."""
    if not folder.exists():
        return
    doomed = folder
    if not folder.name.startswith("."):
        doomed = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent)) / "entry"
        folder.rename(doomed)
        doomed = doomed.parent
    shutil.rmtree(doomed)


def _bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def now() -> str:
    """UTC, ISO 8601 with microseconds: sorts by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
