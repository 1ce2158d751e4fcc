"""NumPy arrays under an identity: what training code computes once and reads ever after."""

import errno
import hashlib
import json
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.cache import checksums, shared
from bench.cache.checksums import MANIFEST
from bench.cache.folders import (
    DamagedEntryError,
    explaining,
    fetched,
    keyed,
    now,
    opened,
    root,
    slug,
    writing,
)
from bench.cache.listing import described
from bench.records import Record
from bench.settings import Settings

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


class _Array(Record):
    shape: tuple[int, ...]
    dtype: str


class _Manifest(Record):
    format: Literal[2] = 2
    kind: str
    label: str
    identity: dict[str, Any]
    content: dict[str, Any]
    arrays: dict[str, _Array]
    created: str


@dataclass(frozen=True)
class Arrays:
    """A complete entry, opened. It stays readable when the entry is removed.

    Attributes:
        arrays: by name, memory-mapped, read-only.
        content: what else its writer noted, as JSON gives it back.
        path: its folder.
    """

    arrays: Mapping[str, NDArray[Any]]
    content: Mapping[str, Any]
    path: Path


def key(identity: Mapping[str, object]) -> str:
    """32 hex digits: SHA-256 of the canonical JSON, in which the order of keys does not matter.

    Raises:
        TypeError, ValueError: the identity holds something that JSON cannot say.
    """
    return hashlib.sha256(_canonical(identity).encode()).hexdigest()[:32]


def read(settings: Settings, kind: str, identity: Mapping[str, object]) -> Arrays | None:
    """Open an entry and note the use; None where it is absent or damaged.

    What is not in the cache of this machine is fetched from the one that machines share.

    Args:
        settings: where the cache lies.
        kind: one of ``KINDS``, save ``images``, whose entries have another layout.
        identity: all that the content depends on, as JSON values.

    Raises:
        CacheError: the folder of entries cannot be read.
        UnknownNameError: there is no such kind.
    """
    for path in keyed(settings, kind, key(identity)):
        with suppress(DamagedEntryError):
            if found := opened(path, _read):
                return found
    if (copy := shared.find(settings, kind, key(identity))) is None:
        return None
    path = _place(settings, kind, identity, str(copy.entry.get("label", "")))
    if fetched(settings, path, _read, copy):
        with suppress(DamagedEntryError):
            return opened(path, _read)
    return None


def _place(settings: Settings, kind: str, identity: Mapping[str, object], label: str) -> Path:
    """Where an entry lies, whatever its label, or will lie."""
    there = keyed(settings, kind, key(identity))
    new = root(settings, kind) / f"{slug(label) or kind}-{key(identity)}"
    return there[0] if there else new


def manifests(
    settings: Settings, kind: str
) -> list[tuple[Mapping[str, Any], Mapping[str, Any], int]]:
    """Identity, content and bytes of arrays of every entry; no array is opened, no use noted.

    Raises:
        UnknownNameError: there is no such kind.
    """
    return [
        (manifest.identity, manifest.content, sum(map(_size, manifest.arrays.values())))
        for _, manifest in described(settings, kind, _Manifest)
    ]


@contextmanager
def building(
    settings: Settings, kind: str, identity: Mapping[str, object], label: str
) -> Iterator["ArraysWriter | None"]:
    """Hold the right to build an entry: it appears when the block ends, unless the block raises.

    Gives None where another process has just built it. Then ``read`` gives it; None from there,
    too, means that it was removed at once, and must be built after all.

    Args:
        settings: where the cache lies, and how large it may be.
        kind: as in ``read``.
        identity: as in ``read``.
        label: what it is, in a few words, for lists.

    Raises:
        CacheError: the cache cannot be written.
        UnknownNameError: there is no such kind.
    """
    path = _place(settings, kind, identity, label)
    with writing(settings, path, _read) as folder:
        if folder is None:
            yield None
            return
        writer = ArraysWriter(path, folder)
        yield writer
        writer._finish(kind, identity, label)


class ArraysWriter:
    """Writes one entry, in memory that does not grow with its arrays.

    Attributes:
        content: whatever else belongs to the entry, as JSON values; to be filled.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.content: dict[str, Any] = {}
        self._path, self._folder = path, folder
        self._arrays: dict[str, _Array] = {}
        self._maps: list[np.memmap] = []

    def create(self, name: str, shape: tuple[int, ...], dtype: str) -> np.memmap:
        """An array of zeros on disk, to be filled inside the block.

        Args:
            name: letters, digits, ``_``, ``-`` and ``.``; its file is called so.
            shape: of the whole array.
            dtype: of NumPy; not ``bfloat16``, which NumPy's files cannot name.

        Raises:
            CacheError: there is no room for it.
            ValueError: the name is taken or no file name, or the dtype cannot be written.
        """
        file = self._claim(name, shape, np.dtype(dtype))
        with explaining(self._path):
            created = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
            self._maps.append(created)
            with file.open("r+b") as opened_file:
                reserve(opened_file.fileno(), file.stat().st_size, self._path)
        return created

    def put(self, name: str, array: ArrayLike) -> None:
        """Write a small array at once; as ``create`` otherwise."""
        whole = np.asarray(array)
        file = self._claim(name, whole.shape, whole.dtype)
        with explaining(self._path):
            np.save(file, whole, allow_pickle=False)

    def _claim(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Path:
        if not _NAME.fullmatch(name) or name in self._arrays:
            raise ValueError(f"array name {name!r}: expected a new one of letters, digits, _, -, .")
        if dtype.kind in "OV":
            raise ValueError(
                f"array {name!r} is {dtype}: expected a dtype that .npy files can hold"
            )
        self._arrays[name] = _Array(shape=shape, dtype=dtype.str)
        return self._folder / f"{name}.npy"

    def _finish(self, kind: str, identity: Mapping[str, object], label: str) -> None:
        manifest = _Manifest(
            kind=kind,
            label=label,
            identity=json.loads(_canonical(identity)),
            content=self.content,
            arrays=self._arrays,
            created=now(),
        )
        # Not pydantic's JSON: it would turn NaN into text, and NumPy's scalars into errors later.
        text = json.dumps(manifest.model_dump(), indent=1)
        with explaining(self._path):
            for mapped in self._maps:
                mapped.flush()
            (self._folder / MANIFEST).write_text(text, encoding="utf-8")


def _canonical(identity: Mapping[str, object]) -> str:
    return json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _read(path: Path) -> Arrays:
    manifest = _Manifest.model_validate(checksums.verified(path))
    if path.name.rpartition("-")[2] != key(manifest.identity):
        raise ValueError("it lies under the key of another identity")
    return Arrays(
        arrays={name: _open(path / f"{name}.npy", a) for name, a in manifest.arrays.items()},
        content=manifest.content,
        path=path,
    )


def _open(file: Path, stated: _Array) -> NDArray[Any]:
    array = cast(np.memmap, np.load(file, mmap_mode="r", allow_pickle=False))
    if array.shape != stated.shape or array.dtype.str != stated.dtype:
        found = f"{array.dtype.str} {array.shape}"
        raise ValueError(f"{file.name} is {found}, expected {stated.dtype} {stated.shape}")
    if file.stat().st_size != array.offset + array.nbytes:
        raise ValueError(f"{file.name} has bytes beyond its array")
    return array


def _size(array: _Array) -> int:
    return int(np.prod(array.shape, dtype=np.int64)) * np.dtype(array.dtype).itemsize


def reserve(descriptor: int, size: int, place: Path) -> None:
    """Claim the blocks of a sparse file: a full disk met through a memory map kills the process.

    Args:
        descriptor: of the open file.
        size: its bytes, once written.
        place: of the file, for the message.

    Raises:
        CacheError: there is no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with explaining(place):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # no such call on this disk
                raise
            os.truncate(descriptor, size)


def let_go(array: NDArray[Any]) -> None:
    """Have the system take back the memory of a mapped array's pages, to be read again.

    Without it a pass over many pictures would hold all of them, by the system's count, until the
    memory is wanted elsewhere.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
