"""Every picture of a dataset, decoded and resized once, read from a uint8 memory map ever after."""

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cache.folders import DamagedEntryError, now
from bench.data import picture_cache
from bench.data.datasets import ResolvedDataset, resolve
from bench.data.decoding import DECODING_VERSION, LARGEST_FILE, UnreadablePictureError, decode
from bench.data.examples import Contents, Example, Source
from bench.data.picture_cache import Entry
from bench.data.sources import find_source
from bench.errors import CacheError, DatasetError
from bench.records import Dataset, SplitName
from bench.settings import Settings

Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""

_WORKERS = min(16, os.cpu_count() or 1)
_AHEAD = 4 * _WORKERS  # encoded pictures in memory at a time


@dataclass(frozen=True)
class Images:
    """A dataset at one size. Pictures that could not be read are not among them.

    Nor are classes of which no picture could be read: nobody can learn them, or be asked for them.

    Attributes:
        dataset: its name in the suite.
        pixels: uint8, shape (n, size, size, 3), RGB, memory-mapped, read-only.
        labels: int64, shape (n,): indices into ``class_names``.
        hashes: SHA-256 of each picture's encoded bytes, 64 hex digits.
        ids: where each picture comes from, for messages.
        official: the source's own split of each picture; None where it has none.
        class_names: in label order.
        problems: what was left out, and why.
        caveats: what a reader must know about numbers on this dataset.
        notes: how the pictures were come by, where that is worth saying.
        empty: names of the source's classes of which no picture could be read.
    """

    dataset: str
    pixels: np.memmap
    labels: NDArray[np.int64]
    hashes: tuple[str, ...]
    ids: tuple[str, ...]
    official: tuple[SplitName | None, ...]
    class_names: tuple[str, ...]
    problems: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()


def open_images(
    dataset: Dataset, image_size: int, settings: Settings, progress: Progress | None = None
) -> Images:
    """Open a dataset's pictures at a size; decode them first where the cache has them not.

    Where the source is not on this machine, the newest cache entry of it is used: a machine
    without TensorFlow, network or the data runs from a cache that was carried there.

    Args:
        dataset: which pictures.
        image_size: pixels of each side; pictures are stretched to it.
        settings: where cache and TFDS folder lie.
        progress: told of each picture while decoding.

    Raises:
        UnknownNameError: no row of the table has the dataset's name.
        DatasetError: the source cannot be found or read, or no picture of it can.
        CacheError: the cache cannot be written, or is damaged while the source is absent.
    """
    resolved = resolve(dataset)
    source = find_source(resolved, settings)
    signature = source.signature()
    if signature is None:
        return _from_elsewhere(resolved, source, image_size, settings, progress)
    path = picture_cache.entry_path(settings, source, signature, image_size)
    entry = _read_or_none(path) or picture_cache.fetched(settings, path)
    if entry is None:
        contents = source.open()
        entry = _build_once(resolved, source, contents, image_size, settings, progress)
    return of_entry(resolved, entry)


def _from_elsewhere(
    resolved: ResolvedDataset,
    source: Source,
    size: int,
    settings: Settings,
    progress: Progress | None,
) -> Images:
    """The source is not on this machine: a carried cache, else a download."""
    damage: DamagedEntryError | None = None
    try:
        entry = picture_cache.newest(settings, source.identity, size)
    except DamagedEntryError as error:
        entry, damage = None, error
    if entry is not None:
        note = "read from the image cache alone: the dataset itself is not on this machine"
        return of_entry(resolved, entry, (note,))
    try:
        contents = source.open()
    except DatasetError as error:
        if damage is None:
            raise
        raise CacheError(
            f"the cached pictures of dataset {resolved.name!r} are damaged ({damage}) and cannot "
            f"be rebuilt here: {error}"
        ) from error
    return of_entry(resolved, _build_once(resolved, source, contents, size, settings, progress))


def of_entry(resolved: ResolvedDataset, entry: Entry, notes: tuple[str, ...] = ()) -> Images:
    """The pictures of a cache entry."""
    names = np.array(entry.manifest.class_names, object)
    there, labels = np.unique(entry.labels, return_inverse=True)
    empty = tuple(np.delete(names, there))
    gone = tuple(f"class {name!r}, which has no readable picture" for name in empty)
    return Images(
        dataset=resolved.name,
        pixels=entry.pixels,
        labels=labels.astype(np.int64),
        hashes=entry.hashes,
        ids=entry.ids,
        official=entry.official,
        class_names=tuple(names[there]),
        problems=(*gone, *entry.manifest.problems),
        caveats=resolved.caveats,
        notes=notes,
        empty=empty,
    )


def _read_or_none(path: Path) -> Entry | None:
    try:
        return picture_cache.read(path)
    except DamagedEntryError:
        return None


def _build_once(
    resolved: ResolvedDataset,
    source: Source,
    contents: Contents,
    size: int,
    settings: Settings,
    progress: Progress | None,
) -> Entry:
    path = picture_cache.entry_path(settings, source, contents.signature, size)
    with picture_cache.building(settings, path) as writer:
        if writer is not None:
            problems = _write_all(writer, contents, size, progress)
            if not writer.pictures:
                reasons = "; ".join(problems[:3]) or "the source is empty"
                raise DatasetError(
                    f"dataset {resolved.name!r}: none of its pictures can be read: {reasons}"
                )
            writer.finish(
                picture_cache.Manifest(
                    decoding=DECODING_VERSION,
                    name=source.name,
                    identity=source.identity,
                    signature=contents.signature,
                    size=size,
                    pictures=writer.pictures,
                    class_names=contents.class_names,
                    problems=problems,
                    created=now(),
                )
            )
    entry = _read_or_none(path)
    if entry is None:
        raise CacheError(f"the image cache entry {path} vanished while it was opened: run again")
    return entry


def _write_all(
    writer: picture_cache.EntryWriter, contents: Contents, size: int, progress: Progress | None
) -> tuple[str, ...]:
    """Decode and write every picture; gives what was left out, and why."""
    problems = list(contents.problems)
    unlabelled: Counter[str] = Counter()
    for done, (example, decoded) in enumerate(_decoded(contents, size), start=1):
        if decoded is None:
            unlabelled[example.official or "no split"] += 1
        elif isinstance(decoded.pixels, str):
            problems.append(f"{example.id}: {decoded.pixels}")
        else:
            writer.add(example, decoded.digest, decoded.pixels)
        if progress is not None:
            progress(done, contents.count)
    problems += [f"{split}: {n} pictures without a label" for split, n in unlabelled.items()]
    return tuple(problems)


@dataclass(frozen=True)
class _Decoded:
    digest: str
    pixels: NDArray[np.uint8] | str  # or the reason why there are none


def _decoded(contents: Contents, size: int) -> Iterator[tuple[Example, _Decoded | None]]:
    """Decode on several threads, in order; None stands for a picture without a label."""
    waiting: deque[tuple[Example, Future[_Decoded] | None]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for example in contents.examples:
            known = 0 <= example.label < len(contents.class_names)
            waiting.append((example, pool.submit(_decode, example, size) if known else None))
            if len(waiting) >= _AHEAD:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())


def _result(example: Example, future: Future[_Decoded] | None) -> tuple[Example, _Decoded | None]:
    return example, None if future is None else future.result()


def _decode(example: Example, size: int) -> _Decoded:
    try:
        encoded = example.encoded
        content = encoded if isinstance(encoded, bytes) else _content(encoded)
        return _Decoded(hashlib.sha256(content).hexdigest(), decode(content, size))
    except UnreadablePictureError as error:
        return _Decoded("", str(error))
    except OSError as error:
        return _Decoded("", f"cannot be read: {error.strerror}")


def _content(file: Path) -> bytes:
    """A film called x.jpg, read on several threads, would fill the memory."""
    if (size := file.stat().st_size) > LARGEST_FILE:
        raise UnreadablePictureError(f"{size:,} bytes, more than {LARGEST_FILE:,}")
    return file.read_bytes()
