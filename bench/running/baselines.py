"""Named references: one stack's results, kept to hold later ones against.

    results/baselines/<name>/baseline.json                 what it is
    results/baselines/<name>/<stack>/trials.jsonl ...      its rows, as the store lays them out

A baseline is complete or absent: it is written under another name and renamed. It holds no
predictions, for its rows say themselves which test pictures were right (`store.every`), so it is
small enough to be committed.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import Field

from bench import __version__
from bench.costs import CostResult
from bench.errors import BenchError, StoreError, UnknownNameError
from bench.records import Record, TrialResult
from bench.running import stacks, store
from bench.tasks import Row

FOLDER = store.BASELINES
FILE = "baseline.json"
FORMAT = 1
LOCK = ".saving.lock"
NEW, OLD = ".new-", ".old-"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Baseline(Record):
    """``baseline.json``.

    Attributes:
        format: of this file.
        name: of the baseline.
        saved_at: UTC.
        stack: id of the stack whose results these are.
        suite: whose results, where their folder told.
        trials: with any result, each seed for itself.
        measurements: of cost, each run for itself.
        fingerprints: of numerics.
        bench_version: that saved it.
    """

    format: int = Field(FORMAT, ge=1, le=FORMAT)
    name: str
    saved_at: str
    stack: str
    suite: str | None = None
    trials: int
    measurements: int
    fingerprints: int
    bench_version: str


def check_name(name: str) -> None:
    """Raise `BenchError` unless a folder can be called this anywhere."""
    if not _NAME.fullmatch(name) or name.endswith((".", ".lock")):
        raise BenchError(
            f"baseline name {name!r}: expected up to 100 letters, digits, '.', '_' and '-', a "
            "letter or digit first, and no '.' or '.lock' at the end"
        )


def check_apart(place: Path, folder: Path) -> None:
    """Raise `BenchError` if a results folder holds the baselines, whose rows would be read, too.

    Args:
        place: that holds the baselines.
        folder: of the results.
    """
    if place.resolve().is_relative_to(folder.resolve()):
        raise BenchError(
            f"{folder}: baselines lie in it: expected the results of one suite, such as "
            f"{folder / 'regression'}"
        )


def save(place: Path, name: str, folder: Path, stack: str, replace: bool = False) -> Baseline:
    """Keep one stack's rows of a results folder under a name.

    Args:
        place: that holds the baselines.
        name: of this one.
        folder: of the results.
        stack: id of the stack.
        replace: whether a baseline of this name may be overwritten.

    Raises:
        BenchError: the name is no name, or taken; or several stacks have this id.
        StoreError: the results cannot be read, or the baseline not be written.
    """
    check_name(name)
    check_apart(place, folder)
    with _saving(place):
        target, new = place / name, place / (NEW + name)
        if target.exists() and not replace:
            raise BenchError(f"{target}: expected a new name, or --replace; it is there already")
        try:
            baseline = _copied(new, name, folder, stack)
            (new / FILE).write_text(baseline.model_dump_json(indent=2) + "\n", encoding="utf-8")
            _put(new, target)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return baseline


def load(place: Path, name: str) -> Baseline:
    """What a baseline is.

    Raises:
        BenchError: there is none of this name, or it cannot be read.
    """
    check_name(name)
    file = place / name / FILE
    if not file.is_file():
        known = [path.name for path in _folders(place)]
        if not known:
            raise BenchError(
                f"baseline {name!r}: {place} holds none; expected one that was made by "
                "bench baseline save NAME RESULTS"
            )
        raise UnknownNameError("baseline", name, known)
    return _parsed(file)


def every(place: Path) -> dict[str, Baseline | str]:
    """All baselines by name; of one that cannot be read, why."""
    found: dict[str, Baseline | str] = {}
    for folder in _folders(place):
        try:
            found[folder.name] = _parsed(folder / FILE)
        except BenchError as error:
            found[folder.name] = str(error)
    return found


def _folders(place: Path) -> list[Path]:
    return sorted(f.parent for f in place.glob(f"*/{FILE}") if not f.parent.name.startswith("."))


def _parsed(file: Path) -> Baseline:
    try:
        return Baseline.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{file}: cannot be read: expected what this version of Bench, or an older one, saved; "
            "save it anew"
        ) from error


@contextmanager
def _saving(place: Path) -> Iterator[None]:
    """One at a time; what a kill left half done is undone."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / LOCK, timeout=0):
            for old in place.glob(f"{OLD}*"):
                target = place / old.name.removeprefix(OLD)
                if target.exists():
                    shutil.rmtree(old)
                else:
                    old.rename(target)
            for new in place.glob(f"{NEW}*"):
                shutil.rmtree(new)
            yield
    except Timeout as error:
        raise StoreError(f"{place}: another baseline is being saved; wait for it") from error
    except OSError as error:
        raise StoreError(f"{place}: cannot be written: {error}") from error


def _put(new: Path, target: Path) -> None:
    old = target.with_name(OLD + target.name)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _copied(new: Path, name: str, folder: Path, stack: str) -> Baseline:
    """Write the rows of a stack; what they come to."""
    counts = dict.fromkeys(store.KINDS, 0)
    once: set[str] = set()
    suites: set[str] = set()
    sources: dict[Path, Path] = {}
    with store.writing(new) as held:
        for file, row in store.every(folder, []):
            if row.stack.id != stack:
                continue
            if file.parent not in sources:
                sources[file.parent] = _source(file, folder)
                _check_one(folder, stack, sources)
            held.append(_without_predictions(row), None)
            counts[file.name] += row.key not in once
            if not isinstance(row, CostResult):
                once.add(row.key)
            suites.add(_suite(file))
    if not suites:
        raise StoreError(f"{folder}: no results of {stack}; nothing was saved")
    (new / store.LOCK).unlink(missing_ok=True)
    return Baseline(
        name=name,
        saved_at=datetime.now(UTC).isoformat(timespec="seconds"),
        stack=stack,
        suite=suites.pop() if len(suites) == 1 else None,
        trials=counts[store.TRIALS],
        measurements=counts[store.COSTS],
        fingerprints=counts[store.NUMERICS],
        bench_version=__version__,
    )


def _source(file: Path, folder: Path) -> Path:
    """What to give as results, to have this file's and no other stack's."""
    return stacks.holder(file) or folder.absolute()


def _check_one(folder: Path, stack: str, sources: Mapping[Path, Path]) -> None:
    found = sorted({str(source) for source in sources.values()})
    if len(found) > 1:
        raise BenchError(
            f"{folder}: {len(found)} stacks are {stack}: expected the results of one: give "
            f"{' or '.join(found)} instead"
        )


def _without_predictions(row: Row) -> Row:
    if not isinstance(row, TrialResult):
        return row
    return row.model_copy(update={"predictions": None})


def _suite(file: Path) -> str:
    """``results/<suite>/<stack id>/trials.jsonl``; `bench stacks` has a stack's name between."""
    folder = file.resolve().parent.parent
    return folder.parent.name if (folder / stacks.FILE).is_file() else folder.name
