"""Results folders that are to be merged: what lies in them, and their rows in outline."""

import hashlib
import json
import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple, TypeVar

from bench.costs import CostResult
from bench.errors import BenchError, StoreError
from bench.probes import ProbeResult
from bench.records import TrialResult
from bench.running import agreeing, lines, slimming, stacks, store
from bench.strangers import LINK_OUT, inside
from bench.tasks import Row

T = TypeVar("T", bound=Hashable)
BESIDE = (store.SUITE, stacks.FILE)
"""What lies beside rows, and without which a command would not know what they are."""
_ENDS = b"\r\n"
_LINKED = "a link to a folder, which is not followed: put the folder itself in its place"
_MISPLACED = (
    "its key is not that of what it says was measured, and it has no checksum that vouches for it"
)
_HEAD = 64
"""Bytes in which a line as Bench writes it says its checksum."""
_STACK, _SUITE = 1, 2
"""Parts of the path of a file of rows, in the folder of a stack and in that of a suite."""


@dataclass(frozen=True)
class Source:
    """One folder that is to be merged; paths are relative to it.

    Attributes:
        folder: as it was given.
        files: of rows.
        beside: those of `BESIDE`.
        others: what is no row and does not come along, each by a name.
        problems: files of rows that are not read, and why.
    """

    folder: Path
    files: tuple[PurePath, ...]
    beside: tuple[PurePath, ...]
    others: tuple[str, ...]
    problems: tuple[str, ...]


class Identity(NamedTuple):
    """Rows of one file and one identity are of one thing, of which one stands.

    Attributes:
        stack: its id.
        key: of the spec.
        measured: which measurement of cost, by its content, for all of these stand.
    """

    stack: str
    key: str
    measured: bytes = b""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a row lies, and what it says, in brief.

    Attributes:
        source: of which folder, by number.
        start, length: in the file, in bytes; the line's end is not counted.
        digest: of the line.
        checked: whether it is under a checksum.
        brief: see `agreeing.brief`.
        settled: whether a rerun would keep it.
        predictions: name of their file; None where it has none.
        ground: what of its suite rests on what: the same in most rows, and held once.
        processor: that measured a cost.
    """

    source: int
    start: int
    length: int
    digest: bytes
    checked: bool
    brief: bytes
    settled: bool
    predictions: str | None
    ground: tuple[tuple[str, Hashable, str], ...]
    processor: str


def sources(folders: Sequence[Path]) -> tuple[Source, ...]:
    """What lies in each folder.

    Raises:
        BenchError: they cannot be merged: too few, one twice or in another, of mixed depth.
        StoreError: one holds no rows, or cannot be read.
    """
    if len(folders) < 2:
        named = f"{folders[0]}: one folder" if folders else "no folder"
        raise BenchError(f"merge {named}: expected two results folders or more")
    for folder in folders:
        _check_rows(folder)
    _check_apart(folders)
    found = tuple(map(_source, folders))
    _check_depth(found)
    return found


def _check_rows(folder: Path) -> None:
    try:
        found = next(store.every(folder, []), None)
    except OSError as error:
        raise unreadable(folder, error) from error
    if found is None:
        raise StoreError(
            f"{folder}: expected results to merge, but no whole row lies in it; leave it out"
        )


def _check_apart(folders: Sequence[Path]) -> None:
    places: dict[Path, Path] = {}
    for folder in folders:
        real = folder.resolve()
        if real in places:
            also = "" if folder == places[real] else f", also as {places[real]}"
            raise BenchError(f"{folder}: named twice{also}: expected each results folder once")
        places[real] = folder
    for real, folder in places.items():
        if outer := next((places[p] for p in real.parents if p in places), None):
            raise BenchError(
                f"{folder}: lies in {outer}, which is merged, too: expected folders apart from "
                "each other"
            )


def _check_depth(found: Sequence[Source]) -> None:
    depths = {s.folder: min(len(file.parts) for file in s.files) for s in found}
    for folder, depth in depths.items():
        if depth == _STACK:
            raise BenchError(
                f"{folder}: holds the rows of one stack: expected the results of a suite, which "
                f"hold those of every stack: give {folder.parent}"
            )
    suites = [folder for folder, depth in depths.items() if depth == _SUITE]
    roots = [folder for folder, depth in depths.items() if depth > _SUITE]
    if suites and roots:
        raise BenchError(
            f"{suites[0]} holds the results of one suite, {roots[0]} those of several: expected "
            f"folders of the same kind, such as {_example(roots[0], found)} in place of {roots[0]}"
        )


def _example(root: Path, found: Sequence[Source]) -> Path:
    file = next(s.files[0] for s in found if s.folder == root)
    return root / file.parent.parent


def _source(folder: Path) -> Source:
    files: list[PurePath] = []
    beside: list[PurePath] = []
    others: list[PurePath] = []
    problems: list[str] = []
    try:
        for path in _paths(folder):
            name = path.relative_to(folder)
            if store.BASELINES in name.parts:
                others.append(PurePath(*name.parts[: name.parts.index(store.BASELINES) + 1]))
            elif store.holds_rows(name) and not inside(path, folder):
                problems.append(f"{path}: {LINK_OUT}")
            elif store.holds_rows(name):
                if not path.is_file():
                    raise StoreError(f"{path}: expected a file of rows, not a folder or a pipe")
                files.append(name)
            elif path.is_symlink() and path.is_dir():
                problems.append(f"{path}: {_LINKED}")
            elif path.name in BESIDE and path.is_file() and inside(path, folder):
                beside.append(name)
            elif not _is_ours(name):
                others.append(name)
    except OSError as error:
        raise unreadable(Path(error.filename or folder), error) from error
    tops = {file.parts[0] for file in files}
    named = (o.as_posix() if o.parts[0] in tops else o.parts[0] for o in others)
    unique = tuple(dict.fromkeys(named))
    return Source(folder, tuple(files), tuple(beside), unique, tuple(problems))


def _paths(folder: Path) -> Iterator[Path]:
    """Everything below but plain folders."""
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            yield Path(place, name)
        for name in folders:
            if name in store.KINDS or Path(place, name).is_symlink():
                yield Path(place, name)


def _raise(error: OSError) -> None:
    raise error  # what cannot be listed would be lost in silence


def _is_ours(name: PurePath) -> bool:
    """Whether it comes along with its row, or is of no use to anybody once the run has ended."""
    if name.name == store.LOCK or any(part.startswith(store.SCRATCH) for part in name.parts):
        return True
    return name.parent.name == store.PREDICTIONS and name.suffix == ".npz"


def outlines(
    source: Source, number: int, file: PurePath, common: slimming.Common, problems: list[str]
) -> Iterator[tuple[Identity, Line]]:
    """Whole rows of a file, one after another, in outline.

    Args:
        source: of which folder.
        number: that stands for it.
        file: relative to it.
        common: what rows have said so far.
        problems: lines that are no row, are damaged, or have no checksum and the key of another
            spec, are added to it.

    Raises:
        StoreError: a newer Bench wrote the file, or it cannot be read.
    """
    path, start = source.folder / file, 0
    for counted, text in enumerate(_texts(path), start=1):
        begins, start = start, start + len(text)
        if not text.strip():
            continue
        try:
            row, checked = lines.parse(text, store.KINDS[file.name]), _is_checked(text)
        except StoreError as error:
            raise StoreError(f"{path}:{counted}: {error}") from error
        except ValueError as error:
            problems.append(f"{path}:{counted}: left out, {lines.problem(text, error)}")
            continue
        if not checked and row.key != row.spec.key:
            problems.append(f"{path}:{counted}: left out, {_MISPLACED}")
            continue
        outline = _outline(row, number, begins, text.rstrip(_ENDS), checked, common)
        yield _identity(row), outline


def _is_checked(text: bytes) -> bool:
    """Whether a row, which has been read and is whole, lies under a checksum.

    Raises:
        ValueError: it cannot be told.
    """
    return b'"check": "' in text[:_HEAD] or "check" in json.loads(text)


def row(source: Source, file: PurePath, line: Line) -> Row:
    """A row again, whole.

    Raises:
        StoreError: as `again`.
    """
    path = source.folder / file
    with opened(path) as stream:
        return lines.parse(again(stream, path, line), store.KINDS[file.name])


def opened(path: Path) -> BinaryIO:
    """A file of rows.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error


def again(stream: BinaryIO, path: Path, line: Line) -> bytes:
    """A line again, without its end.

    Raises:
        StoreError: it cannot be read, or is no longer what it was.
    """
    try:
        stream.seek(line.start)
        text = stream.read(line.length)
    except OSError as error:
        raise unreadable(path, error) from error
    if digest(text) != line.digest:
        raise StoreError(
            f"{path}: changed while it was merged: expected a folder that nobody writes to; merge "
            "again when its run has ended"
        )
    return text


def _texts(path: Path) -> Iterator[bytes]:
    with opened(path) as stream:
        try:
            yield from stream
        except OSError as error:
            raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> StoreError:
    """What to raise for a file or folder that the system does not let be read."""
    return StoreError(f"{path}: cannot be read: {error.strerror}")


def _identity(row: Row) -> Identity:
    if not isinstance(row, CostResult):
        return Identity(row.stack.id, row.key)
    return Identity(row.stack.id, row.key, digest(store.line(row)))  # however it was laid out


def _outline(
    row: Row, number: int, start: int, text: bytes, checked: bool, common: slimming.Common
) -> Line:
    said = row.predictions if isinstance(row, TrialResult) else None
    processor = ""
    if isinstance(row, CostResult) and row.environment is not None:
        processor = row.environment.processor
    return Line(
        source=number,
        start=start,
        length=len(text),
        digest=digest(text),
        checked=checked,
        brief=agreeing.brief(row),
        settled=row.status in store.SETTLED,
        predictions=PurePath(said).name if said else None,
        ground=_shared(tuple(_ground(row, common)), common),
        processor=_shared(processor, common),
    )


def _ground(row: Row, common: slimming.Common) -> Iterator[tuple[str, Hashable, str]]:
    if not isinstance(row, TrialResult | ProbeResult):
        return
    if pictures := agreeing.pictures(row):
        data = _shared(row.spec.data, common)
        yield _shared(("pictures", (row.stack.id, data), pictures), common)
    if weights := agreeing.weights(row):
        backbone = _shared(row.spec.backbone, common)
        yield _shared(("weights", (row.stack.id, backbone), weights), common)


def _shared(value: T, common: slimming.Common) -> T:
    found: T = common.setdefault(value, value)
    return found


def digest(text: bytes) -> bytes:
    """16 bytes that stand for a line."""
    return hashlib.blake2b(text, digest_size=16).digest()
