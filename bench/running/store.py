"""The store: every trial and every measurement a row, written once, never changed.

    results/<suite>/suite.toml                     the suite file
    results/<suite>/<stack>/trials.jsonl           one JSON object a line, in the order measured
    results/<suite>/<stack>/predictions/<key>.npz  what the trial predicted for each test picture
    results/<suite>/<stack>/costs.jsonl            the same for measurements of cost
    results/<suite>/<stack>/numerics.jsonl         and for fingerprints of numerics
    results/<suite>/<stack>/probes.jsonl           and for probes

A row is flushed to disk before the next trial starts. A line torn by a power cut or a kill is left
out and reported. Of several rows with one key and stack the last trial counts, and measurements of
cost are taken together (`bench.costs.pooled`).
"""

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from bench import marks
from bench.costs import CostResult, pooled
from bench.errors import StoreError, StoreLockedError
from bench.numerics import NumericsResult
from bench.probes import ProbeResult
from bench.records import Record, Stack, TrialResult
from bench.tasks import Row

FORMAT = 1
BEGINNING = b'{"format": %d, ' % FORMAT
TRIALS, COSTS, NUMERICS = "trials.jsonl", "costs.jsonl", "numerics.jsonl"
PROBES = "probes.jsonl"
KINDS: Mapping[str, type[Row]] = {
    TRIALS: TrialResult,
    COSTS: CostResult,
    NUMERICS: NumericsResult,
    PROBES: ProbeResult,
}
SUITE = "suite.toml"
"""The suite file as it was when last run, without what ``--smoke`` and ``--set`` made of it."""
PREDICTIONS = "predictions"
BASELINES = "baselines"
"""A folder of copies (`bench.running.baselines`): no results of what it lies in."""
LOCK = ".running.lock"
SCRATCH = "tmp-"
SETTLED = ("ok", "diverged", "skipped")
"""A rerun keeps rows of these statuses, and tries the others again."""


@dataclass(frozen=True)
class Contents:
    """What a results folder holds.

    Attributes:
        rows: the last row of each trial's (stack, key), in the order first measured.
        costs: measurements of each (stack, key), taken together.
        numerics: the last fingerprint of each (stack, key).
        probes: the last probe of each (stack, key).
        problems: lines that could not be read, each by file and number.
    """

    rows: tuple[TrialResult, ...]
    costs: tuple[CostResult, ...] = ()
    numerics: tuple[NumericsResult, ...] = ()
    probes: tuple[ProbeResult, ...] = ()
    problems: tuple[str, ...] = ()


def read(folder: Path) -> Contents:
    """Read everything at or below a folder.

    Raises:
        StoreError: there is none, or one was written by a newer Bench.
    """
    problems: list[str] = []
    rows = _counting(row for _, row in every(folder, problems))
    return Contents(
        rows=tuple(r for r in rows if isinstance(r, TrialResult)),
        costs=tuple(r for r in rows if isinstance(r, CostResult)),
        numerics=tuple(r for r in rows if isinstance(r, NumericsResult)),
        probes=tuple(r for r in rows if isinstance(r, ProbeResult)),
        problems=tuple(problems),
    )


def every(folder: Path, problems: list[str]) -> Iterator[tuple[Path, Row]]:
    """Every whole line at or below a folder, one after another, with the file that it is from.

    Holds no more than a file in memory; which of several rows of one key counts is the caller's to
    say.

    Args:
        folder: of results.
        problems: what could not be read is added to it.

    Raises:
        StoreError: there is no such file, or one was written by a newer Bench.
    """
    if not folder.is_dir():
        raise StoreError(f"{folder}: expected a results folder; nothing is there")
    found = (f for name in KINDS for f in folder.rglob(name))
    files = sorted(f for f in found if BASELINES not in f.relative_to(folder).parts)
    if not files:
        names = " or ".join(KINDS)
        raise StoreError(f"{folder}: expected a results folder, but no {names} lies in it")
    common: dict[Record, Record] = {}
    for file in files:
        for row in _rows(file, problems):
            yield file, _lean(_answered(row, file.parent), common)


def _lean(row: Row, common: dict[Record, Record]) -> Row:
    """Rows with what many of them say alike held once: thousands then fit into memory."""
    said = {name: getattr(row, name, None) for name in ("dataset", "stack", "weights")}
    changes = {k: common.setdefault(v, v) for k, v in said.items() if v is not None}
    guards = tuple(common.setdefault(g, g) for g in getattr(row, "guards", ()))
    return row.model_copy(update=changes | ({"guards": guards} if guards else {}))


def _answered(row: Row, folder: Path) -> Row:
    """Rows that do not say which pictures were right, as their predictions say it."""
    if not isinstance(row, TrialResult) or row.test_correct or not row.predictions:
        return row
    file = folder / PREDICTIONS / Path(row.predictions).name
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        right = marks.packed(marks.of_predictions(file))
        return row.model_copy(update={"test_correct": right})
    return row


def _counting(rows: Iterable[Row]) -> list[Row]:
    """Of several rows of one key and stack: the last, but measurements of cost taken together."""
    known: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        known.setdefault((row.stack.id, row.key), []).append(row)
    found: list[Row] = []
    for same in known.values():
        costs = [r for r in same if isinstance(r, CostResult)]
        found.append(pooled(costs) if costs else same[-1])
    return found


def _rows(file: Path, problems: list[str]) -> Iterator[Row]:
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        try:
            yield parse_line(line, KINDS[file.name])
        except StoreError as error:
            raise StoreError(f"{file}:{number}: {error}") from error
        except ValueError as error:
            problems.append(f"{file}:{number}: left out, not a whole row ({_short(error)})")


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            yield from stream
    except OSError as error:
        raise StoreError(f"{file}: cannot be read: {error}") from error


def parse_line(line: bytes, kind: type[Row] = TrialResult) -> Row:
    """One line of the store.

    Raises:
        StoreError: a newer Bench wrote it.
        ValueError: it is not a row.
    """
    if line.startswith(BEGINNING):  # as we write it; three times as fast as by way of a dictionary
        return kind.model_validate_json(b"{" + line[len(BEGINNING) :])
    try:
        content = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise ValueError("no format number")
    if content.pop("format") > FORMAT:
        raise StoreError("written by a newer version of Bench; update Bench to read it")
    return kind.model_validate(content)


def _short(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


class Store:
    """A suite's results folder, held for writing. Use `writing` to get one."""

    def __init__(self, folder: Path, notes: list[str], names: Mapping[str, str]) -> None:
        self.folder = folder
        self.notes = notes
        self._names = names

    def settled(self, stack: Stack) -> dict[str, Row]:
        """Rows under this stack that a rerun need not measure again, by key."""
        files = [f for name in KINDS if (f := self.folder / stack.id / name).exists()]
        rows = _counting(row for file in files for row in _rows(file, []))
        here = (row for row in rows if row.stack.id == stack.id)
        return {row.key: row for row in here if row.status in SETTLED}

    def keep_suite(self, content: bytes) -> None:
        """Keep the suite file beside its results, for whoever has them alone.

        Raises:
            StoreError: it cannot be written.
        """
        self.keep(SUITE, content)

    def keep(self, name: str, content: bytes) -> None:
        """Keep a file beside the results, whole or not at all; a file of that name is replaced.

        Raises:
            StoreError: it cannot be written.
        """
        place = self.folder / name
        try:
            if place.is_file() and place.read_bytes() == content:
                return
            with self.scratch() as folder:
                (folder / name).write_bytes(content)
                _to_disk(folder / name)
                (folder / name).replace(place)
        except OSError as error:
            raise StoreError(f"{place}: cannot be written: {error}") from error

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for workers' files on the store's own file system, gone afterwards.

        Raises:
            StoreError: it cannot be made.
        """
        try:
            folder = Path(tempfile.mkdtemp(dir=self.folder, prefix=SCRATCH))
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot be written: {error}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # what stays goes with the next `writing`

    def append(self, row: Row, predictions: Path | None) -> Row:
        """Write a row to disk for good, its predictions first.

        Args:
            row: what was measured.
            predictions: a file on the same file system, which is moved into the store.

        Returns:
            The row as written.

        Raises:
            StoreError: it could not be written.
        """
        folder = self.folder / row.stack.id
        row = self._without_folders(row)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if predictions is not None:
                place = folder / PREDICTIONS / f"{row.key}.npz"
                place.parent.mkdir(exist_ok=True)
                _to_disk(predictions)
                predictions.replace(place)
                _to_disk(place.parent)
                row = row.model_copy(update={"predictions": f"{PREDICTIONS}/{place.name}"})
            _append(folder / _file_of(row), line(row))
        except OSError as error:
            raise StoreError(f"{folder}: a result could not be written: {error}") from error
        return row

    def _without_folders(self, row: Row) -> Row:
        """Rows are passed on and published: messages in them name no folder of this machine."""

        def named(text: str) -> str:
            for path, name in self._names.items():
                text = text.replace(path, name)
            return text

        changes: dict[str, object] = {"reason": named(row.reason)}
        if isinstance(row, TrialResult | ProbeResult) and row.dataset:
            notes = tuple(map(named, row.dataset.notes))
            changes["dataset"] = row.dataset.model_copy(update={"notes": notes})
        return row.model_copy(update=changes)


@contextmanager
def writing(folder: Path, names: Mapping[str, str] | None = None) -> Iterator[Store]:
    """Hold a suite's results folder for writing; mends what a kill may have left.

    Args:
        folder: of the suite's results.
        names: what to write in rows in place of folders of this machine (`Settings.names`).

    Raises:
        StoreLockedError: another run holds it.
        StoreError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreLockedError(
            f"{folder}: another run is writing here; wait for it, or give another --results"
        ) from error
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error}") from error
    try:
        for left_over in folder.glob(SCRATCH + "*"):
            shutil.rmtree(left_over, ignore_errors=True)
        notes = list(_mended(sorted(f for name in KINDS for f in folder.glob(f"*/{name}"))))
        yield Store(folder, notes, names or {})
    finally:
        lock.release()


def _mended(files: Iterable[Path]) -> Iterator[str]:
    """Make every file end with a whole line again, so that the next row starts a line."""
    for file in files:
        try:
            content = file.read_bytes()
            if not content or content.endswith(b"\n"):
                continue
            start = content.rfind(b"\n") + 1
            if _is_whole(content[start:]):
                _append(file, b"\n")
            else:
                os.truncate(file, start)
                yield f"{file}: the last row was torn by a kill and is measured again"
        except OSError as error:
            raise StoreError(f"{file}: a torn row could not be removed: {error}") from error


def _is_whole(line: bytes) -> bool:
    """Whether a line is JSON to its end. No torn row is, so whoever wrote this one meant it."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _file_of(row: Row) -> str:
    return next(name for name, kind in KINDS.items() if isinstance(row, kind))


def line(row: Row) -> bytes:
    """The row as a line of strict JSON: pydantic writes NaN as a string, `json.dumps` bare."""
    content = {"format": FORMAT} | json.loads(row.model_dump_json())
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _append(file: Path, content: bytes) -> None:
    """Append all of it and see it on disk, or nothing.

    Raises:
        OSError: it could not be written.
    """
    before = file.stat().st_size if file.exists() else None
    try:
        with file.open("ab") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if before is None:
            _to_disk(file.parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(file, before or 0)
        raise


def _to_disk(path: Path) -> None:
    """Have the content of a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
