"""Where decoded pictures lie: one folder for each (source, size), in the cache.

    CACHE/images/<name>-<size>-<key>/   pixels.npy     uint8, (pictures, size, size, 3)
                                        examples.npz   labels, official splits, hashes, ids
                                        manifest.json  what it is; written last

How entries come and go is in ``bench/cache/folders.py``.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from bench.cache import checksums, folders, shared
from bench.cache.checksums import MANIFEST
from bench.cache.folders import (
    DamagedEntryError,
    explaining,
    opened,
    root,
    slug,
    writing,
)
from bench.cache.listing import described
from bench.data.decoding import DECODING_VERSION
from bench.data.examples import Example, Source
from bench.records import Record, SplitName
from bench.settings import Settings

_SPLITS: tuple[SplitName | None, ...] = (None, "train", "val", "test")
_PIXELS, _EXAMPLES = "pixels.npy", "examples.npz"


class Manifest(Record):
    """What an entry is. ``identity`` and ``signature`` are the source's, see ``Source``."""

    format: Literal[2] = 2
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


def entry_path(settings: Settings, source: Source, signature: str, size: int) -> Path:
    """Where these pictures at this size lie, or will lie.

    The key holds all that the content depends on: source, signature, size, decoding version.
    """
    return _path(settings, source.name, source.identity, signature, size)


def _path(settings: Settings, name: str, identity: str, signature: str, size: int) -> Path:
    key = _key(identity, signature, size, DECODING_VERSION)
    return root(settings, "images") / f"{slug(name) or 'pictures'}-{size}-{key}"


def _key(identity: str, signature: str, size: int, decoding: int) -> str:
    content = json.dumps([identity, signature, size, decoding])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def read(path: Path, sure: bool = True) -> Entry | None:
    """Open an entry; None where there is none.

    Args:
        path: its folder.
        sure: read every pixel for its checksum, once in a process; without, whoever only counts
            or lists pictures waits for no gigabytes.

    Raises:
        DamagedEntryError: it is there, but incomplete or not as it was written.
    """
    return opened(path, partial(_read, sure=sure))


def fetched(settings: Settings, path: Path) -> Entry | None:
    """Fetch an entry from the cache that machines share, and open it; None where it has none.

    Args:
        settings: name that cache.
        path: where the entry will lie.
    """
    if folders.fetched(settings, path, _read_placed):
        with suppress(DamagedEntryError):
            return read(path)
    return None


def newest(settings: Settings, identity: str, size: int, sure: bool = True) -> Entry | None:
    """The entry of a source at a size that was written last, whatever its signature.

    Args:
        settings: where the cache lies.
        identity: of the source.
        size: pixels of each side.
        sure: as in `read`. What this machine does not have is then fetched from the cache that
            machines share; whoever only looks waits for no gigabytes from there either.

    Raises:
        DamagedEntryError: there are some, and every one is damaged.
    """
    wanted = (identity, size, DECODING_VERSION)
    current = [
        (path, manifest)
        for path, manifest in described(settings, "images", Manifest)
        if (manifest.identity, manifest.size, manifest.decoding) == wanted
    ]
    damage: DamagedEntryError | None = None
    for path, _ in sorted(current, key=lambda pm: pm[1].created, reverse=True):
        try:
            if entry := read(path, sure):
                return entry
        except DamagedEntryError as error:
            damage = damage or error
    if sure and (entry := _newest_elsewhere(settings, wanted)):
        return entry
    if damage:
        raise damage
    return None


def _newest_elsewhere(settings: Settings, wanted: tuple[str, int, int]) -> Entry | None:
    """Of the cache that machines share, fetched."""
    current = []
    for copy in shared.copies(settings, "images"):
        with suppress(ValueError):
            manifest = Manifest.model_validate(copy.entry)
            if (manifest.identity, manifest.size, manifest.decoding) == wanted:
                current.append(manifest)
    for m in sorted(current, key=lambda m: m.created, reverse=True):
        path = _path(settings, m.name, m.identity, m.signature, m.size)
        if entry := fetched(settings, path):
            return entry
    return None


@contextmanager
def building(settings: Settings, path: Path) -> Iterator["EntryWriter | None"]:
    """Hold the right to build an entry. Gives None where another process has just built it.

    A damaged entry at ``path`` is replaced. Whatever ends the block before ``finish`` leaves no
    entry behind.

    Raises:
        CacheError: the cache cannot be written.
    """
    with writing(settings, path, _read_placed) as folder:
        if folder is None:
            yield None
            return
        with explaining(path):
            pixels = (folder / _PIXELS).open("wb")
        try:
            yield EntryWriter(path, folder, pixels)
        finally:
            with suppress(OSError):  # of a full disk: ``add`` has raised it already
                pixels.close()


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
        with explaining(self._path):
            if not self._shape:
                self._shape = pixels.shape
                self._write_header()
            self._file.write(np.ascontiguousarray(pixels).data)
        self._labels.append(example.label)
        self._official.append(_SPLITS.index(example.official))
        self._hashes.append(digest)
        self._ids.append(example.id)

    def finish(self, manifest: Manifest) -> None:
        """Complete the entry: it appears under its name when the block ends."""
        with explaining(self._path):
            self._file.seek(0)
            self._write_header()
            self._file.flush()
            np.savez(
                self._folder / _EXAMPLES,
                labels=np.array(self._labels, np.int64),
                official=np.array(self._official, np.int8),
                hashes=np.array(self._hashes, "S64"),
                ids=np.array(self._ids, np.str_),
            )
            (self._folder / MANIFEST).write_bytes(manifest.model_dump_json(indent=1).encode())

    def _write_header(self) -> None:
        # NumPy pads this header so that the first dimension can grow: rewritten in place.
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.pictures, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _read_placed(path: Path) -> Entry:
    """As `_read`, and these are the key's pictures: a folder of a store may have been moved."""
    entry = _read(path)
    m = entry.manifest
    if shared.key_of(path) != _key(m.identity, m.signature, m.size, m.decoding):
        raise ValueError("it lies under the key of other pictures")
    return entry


def _read(path: Path, sure: bool = True) -> Entry:
    manifest = Manifest.model_validate(checksums.verified(path, () if sure else (_PIXELS,)))
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
