"""The store that several become: beside its place until it is whole, then there at once."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from bench import marks
from bench.cache.disk import to_disk
from bench.errors import BenchError, StoreError, StoreLockedError
from bench.running import appending, merge_inputs, store
from bench.running.merge_inputs import Line, Source
from bench.strangers import inside

NEW = ".new-"
"""Begins the name of the folder that a store is built in; a kill leaves it, the next merge goes on
over it."""
_WHOSE = "for rows of several stacks name them, and whose they are cannot be told"
_BLOCK = 1 << 23
"""Bytes of rows that are flushed together."""
_TOLD = 5
"""Of so many things of a kind one is told one by one."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of the merged store.

    Attributes:
        line: where it lies.
        alike: numbers of the folders that hold the very same line, its own included.
    """

    line: Line
    alike: tuple[int, ...]


def check(output: Path, folders: Sequence[Path]) -> None:
    """Raise `BenchError` unless a store can be made there, and is none of these or in one."""
    try:
        place = output.resolve()
        if place.exists() and not place.is_dir():
            raise BenchError(f"{output}: expected a new folder, but it is a file")
        for folder in folders:
            if place.is_relative_to(folder.resolve()):
                where = "is" if place == folder.resolve() else "lies in"
                raise BenchError(
                    f"--output {output}: {where} {folder}, which is merged: expected a new folder "
                    "apart from those"
                )
        if place.is_dir() and any(place.iterdir()):
            raise BenchError(f"{output}: expected a new folder, but something lies in it")
        above = next(p for p in place.parents if p.exists())
        if not above.is_dir():
            raise BenchError(
                f"{output}: cannot be made: {above.name} is a file: expected a place below a folder"
            )
    except (OSError, ValueError, RuntimeError) as error:  # no name of a file, or links in a circle
        reason = getattr(error, "strerror", None) or error
        raise BenchError(f"{output}: expected a new folder: {reason}") from error


def write(
    standing: Mapping[PurePath, Sequence[Standing]], sources: Sequence[Source], output: Path
) -> list[str]:
    """Copy rows, predictions and what lies beside them.

    Args:
        standing: rows by file, which is relative to the folder.
        sources: that they are from.
        output: see `check`.

    Returns:
        What is to be told.

    Raises:
        StoreError: it cannot be written, or a source not be read; nothing is there then.
        StoreLockedError: another merge is writing it.
    """
    place = output.resolve()
    desk = place.with_name(NEW + place.name)
    try:
        appending.made(desk)
        with appending.held(desk):
            try:
                return _written(standing, sources, desk, place)
            finally:
                _cleared(desk)
    except StoreLockedError as error:
        raise StoreLockedError(f"{output}: another merge is writing it; wait for it") from error
    except OSError as error:
        remedy = appending.remedy(error).replace("--results", "--output")
        raise StoreError(f"{output}: cannot be written: {error}{remedy}") from error


def _cleared(desk: Path) -> None:
    """Nothing of ours is left; what somebody else has in a folder of that name is."""
    shutil.rmtree(desk / store.BASELINES, ignore_errors=True)
    with contextlib.suppress(OSError):
        (desk / store.LOCK).unlink(missing_ok=True)
        desk.rmdir()


def _written(
    standing: Mapping[PurePath, Sequence[Standing]],
    sources: Sequence[Source],
    desk: Path,
    place: Path,
) -> list[str]:
    new = desk / store.BASELINES  # where nobody who reads a folder above takes rows for results
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(new)
    told: list[str] = []
    for file, rows in standing.items():
        if rows:
            _copy_rows(file, rows, sources, new)
            told += _copy_predictions(file.parent, rows, sources, new)
    told += _copy_beside(sources, new)
    new.rename(place)
    to_disk(place.parent)
    return told


def _copy_rows(
    file: PurePath, rows: Sequence[Standing], sources: Sequence[Source], new: Path
) -> None:
    appending.made((new / file).parent)
    with contextlib.ExitStack() as held:
        paths = {n: sources[n].folder / file for n in {row.line.source for row in rows}}
        streams = {n: held.enter_context(merge_inputs.opened(p)) for n, p in paths.items()}
        block = bytearray()
        for row in rows:
            number = row.line.source
            block += merge_inputs.again(streams[number], paths[number], row.line) + b"\n"
            if len(block) > _BLOCK:
                appending.append(new / file, bytes(block))
                block.clear()
        appending.append(new / file, bytes(block))


def _copy_predictions(
    stack: PurePath, rows: Sequence[Standing], sources: Sequence[Source], new: Path
) -> list[str]:
    """Predictions of rows, from whoever has the same row and has them whole."""
    damaged: list[str] = []
    missing: dict[int, list[str]] = {}
    folder = new / stack / store.PREDICTIONS
    named = Counter(row.line.predictions for row in rows)
    for row in rows:
        if (name := row.line.predictions) is None:
            continue
        if named[name] > 1:  # rows of several stacks in one folder, which somebody put together
            damaged.append(f"{stack / store.PREDICTIONS / name}: left out, {_WHOSE}")
            continue
        places = (sources[n].folder / stack / store.PREDICTIONS / name for n in row.alike)
        problems: list[str] = []
        content = next(_whole(places, problems), None)
        if content is not None and not (folder / name).exists():
            appending.made(folder)
            (folder / name).write_bytes(content)
            to_disk(folder / name)
        elif problems:
            damaged += problems
        else:
            missing.setdefault(row.line.source, []).append(name)
    if folder.is_dir():
        to_disk(folder)
    told = some(tuple(dict.fromkeys(damaged)), "more predictions are left out")
    return [*told, *(_absent(sources[n].folder / stack, m) for n, m in missing.items())]


def _whole(places: Iterator[Path], problems: list[str]) -> Iterator[bytes]:
    for place in places:
        if not present(place):
            continue
        try:
            marks.stored(place)
            yield place.read_bytes()
        except marks.DamagedError as error:
            problems.append(f"left out: {error}")
        except OSError as error:
            problems.append(f"{place}: left out, for it cannot be read: {error.strerror}")


def present(place: Path) -> bool:
    """Whether stored predictions are a file in the folder of their stack."""
    with contextlib.suppress(OSError, ValueError):  # a folder of somebody else's; no name of a file
        return inside(place, place.parent.parent) and place.is_file()
    return False


def _absent(folder: Path, names: Sequence[str]) -> str:
    rows = "1 row lacks its" if len(names) == 1 else f"{len(names):,} rows lack their"
    first = folder / store.PREDICTIONS / names[0]
    return f"{rows} stored predictions, the first {first}; rows and their numbers stand without"


def some(things: Sequence[str], more: str) -> list[str]:
    """The first few of several, and how many there are besides, followed by these words."""
    left = len(things) - _TOLD
    return [*things[:_TOLD], *([f"{left:,} {more}"] if left > 0 else [])]


def _copy_beside(sources: Sequence[Source], new: Path) -> list[str]:
    """The first of each, and what to tell where others differ."""
    told = []
    for name in dict.fromkeys(name for source in sources for name in source.beside):
        if not (new / name.parent).is_dir():  # no row lies there
            continue
        holders = [source.folder for source in sources if name in source.beside]
        contents = [_content(folder / name) for folder in holders]
        (new / name).write_bytes(contents[0])
        to_disk(new / name)
        to_disk((new / name).parent)
        unlike = [f for f, c in zip(holders, contents, strict=True) if c != contents[0]]
        if unlike:
            others = ", ".join(map(str, unlike))
            told.append(
                f"{name}: that of {holders[0]} is kept, and differs from that of {others}, whose "
                "rows are in the store all the same"
            )
    return told


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise merge_inputs.unreadable(path, error) from error
