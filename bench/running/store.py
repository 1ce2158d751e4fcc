"""The store: every trial and every measurement a row, written once, never changed.

    results/<suite>/suite.toml                     the suite file
    results/<suite>/<stack>/trials.jsonl           one JSON object a line, in the order measured
    results/<suite>/<stack>/predictions/<key>.npz  what the trial predicted for each test picture
    results/<suite>/<stack>/costs.jsonl            the same for measurements of cost
    results/<suite>/<stack>/numerics.jsonl         and for fingerprints of numerics
    results/<suite>/<stack>/probes.jsonl           and for probes

A row is flushed to disk before the next trial starts. A line torn by a power cut or a kill, or
changed since it was written (`bench.running.lines`), is left out and reported. Of several rows with
one key and stack the last trial counts, and measurements of cost are taken together
(`bench.costs.pooled`).
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from bench.cache.disk import to_disk
from bench.costs import CostResult, pooled
from bench.errors import StoreError
from bench.numerics import NumericsResult
from bench.probes import ProbeResult
from bench.records import Stack, TrialResult
from bench.running import appending, lines, slimming
from bench.running.answered import PREDICTIONS, answered
from bench.running.appending import LOCK
from bench.running.lines import COSTS, FORMAT, KINDS, NUMERICS, PROBES, TRIALS, line
from bench.strangers import LINK_OUT, inside
from bench.tasks import Row, Spec

__all__ = [
    "BASELINES",
    "COSTS",
    "FORMAT",
    "KINDS",
    "LOCK",
    "NUMERICS",
    "PREDICTIONS",
    "PROBES",
    "SCRATCH",
    "SETTLED",
    "SUITE",
    "TRIALS",
    "Contents",
    "Store",
    "every",
    "holds_rows",
    "line",
    "parse_line",
    "read",
    "writing",
]

parse_line = lines.parse
SUITE = "suite.toml"
"""The suite file as it was when last run, without what ``--smoke`` and ``--set`` made of it."""
BASELINES = "baselines"
"""A folder of copies (`bench.running.baselines`): no results of what it lies in."""
SCRATCH = "tmp-"
SETTLED = ("ok", "diverged", "skipped")
"""A rerun keeps rows of these statuses, and tries the others again."""
_TOLD = 5
"""Of so many bad lines a run tells one by one; `bench show` tells of all."""


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
    with slimming.uncollected():
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
    if (wrong := _not_a_folder(folder)) is not None:
        raise StoreError(f"{folder}: expected a results folder; {wrong}")
    found = (f for name in KINDS for f in folder.rglob(name))
    files = sorted(file for file in found if holds_rows(file.relative_to(folder)))
    if not files:
        raise StoreError(
            f"{folder}: expected a results folder, but nothing that bench run or measure wrote "
            f"({', '.join(KINDS)}) lies in it"
        )
    common: slimming.Common = {}
    problems += [f"{file}: {LINK_OUT}" for file in files if not inside(file, folder)]
    for file in (file for file in files if inside(file, folder)):
        for row in _rows(file, problems):
            yield file, slimming.shared(answered(row, file.parent, problems), common)


def holds_rows(name: PurePath) -> bool:
    """Whether a file below a results folder is one of its rows, by its path from there."""
    return name.name in KINDS and BASELINES not in name.parts


def trials(folder: Path) -> Iterator[TrialResult]:
    """Trials of a suite's results as their lines say, one after another, whatever their stack.

    Raises:
        StoreError: one was written by a newer Bench.
    """
    for file in sorted(folder.glob(f"*/{TRIALS}")):
        for row in _rows(file, []):
            assert isinstance(row, TrialResult)
            yield row


def _counting(rows: Iterable[Row]) -> list[Row]:
    """Of several rows of one key and stack: the last, but measurements of cost taken together."""
    known: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        same = known.setdefault((row.stack.id, row.key), [])
        if not isinstance(row, CostResult):
            same.clear()
        same.append(row)
    found: list[Row] = []
    for same in known.values():
        costs = [r for r in same if isinstance(r, CostResult)]
        found.append(pooled(costs) if costs else same[-1])
    return found


def _rows(file: Path, problems: list[str]) -> Iterator[Row]:
    for number, text in enumerate(_lines(file), start=1):
        if not text.strip():
            continue
        try:
            yield lines.parse(text, KINDS[file.name])
        except StoreError as error:
            raise StoreError(f"{file}:{number}: {error}") from error
        except ValueError as error:
            problems.append(f"{file}:{number}: left out, {lines.problem(text, error)}")


def _examined(file: Path) -> list[str]:
    """Lines of a file that will not be believed; one that a kill tore is not among them.

    Raises:
        StoreError: a newer Bench wrote the file, or it cannot be read.
    """
    found: list[str] = []
    more = 0
    for number, text in enumerate(_lines(file), start=1):
        if not text.strip() or not (text.endswith(b"\n") or lines.is_whole(text)):
            continue
        try:
            lines.examine(text, KINDS[file.name])
        except StoreError as error:
            raise StoreError(f"{file}:{number}: {error}") from error
        except ValueError as error:
            if len(found) < _TOLD:
                found.append(f"{file}:{number}: left out, {lines.problem(text, error)}")
            else:
                more += 1
    return found + ([f"{file}: {more:,} more lines are left out"] if more else [])


def _not_a_folder(place: Path) -> str | None:
    """What a path is instead; None where it is a folder."""
    try:
        if place.is_dir():
            return None
        return "it is a file" if place.exists() else "nothing is there"
    except (OSError, ValueError) as error:  # a name too long, or with a null byte
        return str(getattr(error, "strerror", None) or error)


def _lines(file: Path) -> Iterator[bytes]:
    if file.exists() and not file.is_file():  # a pipe would be waited for without end
        raise StoreError(f"{file}: expected a file of rows, not a folder or a pipe")
    try:
        with file.open("rb") as stream:
            yield from stream
    except OSError as error:
        raise StoreError(f"{file}: cannot be read: {error.strerror}") from error


class Store:
    """A suite's results folder, held for writing. Use `writing` to get one."""

    def __init__(self, folder: Path, notes: list[str], names: Mapping[str, str]) -> None:
        self.folder = folder
        self.notes = notes
        self._names = names

    def settled(self, stack: Stack) -> dict[str, Row]:
        """Rows under this stack that a rerun need not measure again, by key.

        Raises:
            StoreError: a file cannot be read, or a newer Bench wrote it.
        """
        return _settled(self._rows(stack))

    def outlines(self, stack: Stack, wanted: Mapping[str, Spec]) -> dict[str, Row]:
        """The same in outline (`slimming.outlined`): 100,000 rows need not fit into memory.

        Args:
            stack: as in `settled`.
            wanted: specs by key, to be the rows' own; other rows are left out.

        Raises:
            StoreError: as `settled`.
        """
        rows = (row for row in self._rows(stack) if row.key in wanted)
        return _settled(
            slimming.outlined(row).model_copy(update={"spec": wanted[row.key]}) for row in rows
        )

    def _rows(self, stack: Stack) -> Iterator[Row]:
        common: slimming.Common = {}
        for file in (self.folder / stack.id / name for name in KINDS):
            for row in _rows(file, []) if file.exists() else ():
                lean = slimming.shared(row, common)
                if lean.stack.id == stack.id:
                    yield lean

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
                to_disk(folder / name)
                (folder / name).replace(place)
                to_disk(self.folder)
        except OSError as error:
            raise StoreError(
                f"{place}: cannot be written: {error}{appending.remedy(error)}"
            ) from error

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for workers' files on the store's own file system, gone afterwards.

        Raises:
            StoreError: it cannot be made.
        """
        try:
            folder = Path(tempfile.mkdtemp(dir=self.folder, prefix=SCRATCH))
        except OSError as error:
            raise StoreError(
                f"{self.folder}: cannot be written: {error}{appending.remedy(error)}"
            ) from error
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
            appending.made(folder)
            with contextlib.ExitStack() as undone:
                if predictions is not None:
                    place = folder / PREDICTIONS / f"{row.key}.npz"
                    undone.enter_context(appending.moved(predictions, place))
                    row = row.model_copy(update={"predictions": f"{PREDICTIONS}/{place.name}"})
                appending.append(folder / _file_of(row), line(row))
        except OSError as error:
            remedy = appending.remedy(error)
            raise StoreError(
                f"{folder}: a result could not be written: {error}{remedy}; what was written "
                "before is safe"
            ) from error
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
    with appending.held(folder):
        yield Store(folder, _tidied(folder), names or {})


def _tidied(folder: Path) -> list[str]:
    """Mend what a kill may have left, unless a newer Bench wrote here; gives what to tell of it."""
    try:
        files = sorted(f for name in KINDS for f in folder.glob(f"*/{name}"))
        problems = [problem for file in files for problem in _examined(file)]
        for left_over in folder.glob(SCRATCH + "*"):
            shutil.rmtree(left_over, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read: {error}") from error
    return [*problems, *appending.mended(files)]


def _settled(rows: Iterable[Row]) -> dict[str, Row]:
    with slimming.uncollected():
        return {row.key: row for row in _counting(rows) if row.status in SETTLED}


def _file_of(row: Row) -> str:
    return next(name for name, kind in KINDS.items() if isinstance(row, kind))
