"""Writing a report's files into its folder, which may hold an earlier report, and others' files.

A report names its own files in `MANIFEST`. Whatever else lies in the folder is not ours: it stays,
and is never overwritten or deleted.
"""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from bench.errors import BenchError
from bench.records import Record
from bench.reporting.exports import hindrance
from bench.running import store

MANIFEST = ".bench-report.json"
PAGE, DOCUMENT, TABLES, PLOTS = "index.html", "report.md", "tables", "plots"

Files = Mapping[str, bytes]
"""Contents by path in the folder: `PAGE`, `DOCUMENT`, or a file in `TABLES` or `PLOTS`."""


class Manifest(Record):
    """Paths of a report's files, in order, `MANIFEST` left out."""

    files: tuple[str, ...]


def check(output: Path, names: Iterable[str] = (PAGE, DOCUMENT)) -> None:
    """Look whether files could be written without harm to anything that is not ours.

    Args:
        output: the folder of the report.
        names: of the files.

    Raises:
        BenchError: the folder is a file; or one of the files is there already and no earlier
            report's; or it, or the folder that it belongs into, is a link; or it cannot be told.
    """
    try:
        _check(output, names)
    except OSError as error:
        why = hindrance(output / PAGE, error)
        raise BenchError(f"{output}: the report cannot be written: {why}") from error


def _check(output: Path, names: Iterable[str]) -> None:
    if output.exists() and not output.is_dir():
        raise BenchError(f"{output}: is a file; expected a folder for the report")
    results = [f for name in (*store.KINDS, store.SUITE) for f in output.glob(f"*/{name}")]
    if results or (output / store.SUITE).exists():
        raise BenchError(f"{output}: holds results; expected another folder for the report")
    ours = _earlier(output)
    for folder in (TABLES, PLOTS):
        if (output / folder).is_symlink() or (output / folder).is_file():
            raise _refused(output, folder, "is no folder of its own")
    for name in (MANIFEST, *names):
        file = output / name
        if file.is_symlink() or file.is_dir():
            raise _refused(output, name, "is no file of its own")
        if file.exists() and name not in ours:
            raise _refused(output, name, "is no file of an earlier report")


def write(output: Path, files: Files) -> None:
    """Put a report into its folder, in place of an earlier one.

    A new folder appears whole. In one that is there already, files are moved into place one after
    another, the page last; then those go that only the earlier report had. A failure, or an
    interruption by Ctrl-C, puts the earlier report's files back. Where the process is killed
    meanwhile, files of both reports may be left, and a hidden folder ``.NAME.*`` beside this one;
    `MANIFEST` then names the files of both, so that the next report leaves none of them behind.

    Args:
        output: the folder; made if it is not there.
        files: of the report.

    Raises:
        BenchError: as `check`, or they cannot be written.
    """
    check(output, files)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
        try:
            new = scratch / "new"
            _put(new, files)
            if output.exists():
                _swap(new, output, scratch / "old", tuple(files))
            else:
                new.replace(output)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        why = hindrance(output / PAGE, error)
        raise BenchError(f"{output}: the report cannot be written: {why}") from error


def _put(folder: Path, files: Files) -> None:
    for name, data in (*files.items(), (MANIFEST, _manifest(files))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _swap(new: Path, output: Path, old: Path, names: tuple[str, ...]) -> None:
    """Move files from one folder into another; on any failure, back to what was there before."""
    before = _earlier(output)
    every = (*names, *sorted(before - {*names, MANIFEST}), MANIFEST)
    for name in filter(before.__contains__, every):
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # somebody deleted it, which is their right
            shutil.copy2(output / name, old / name)
    union = new.with_name("both")
    union.write_bytes(_manifest({*names, *before} - {MANIFEST}))
    try:
        union.replace(output / MANIFEST)
        for name in names:
            (output / name).parent.mkdir(exist_ok=True)
            (new / name).replace(output / name)
        for name in before.difference(names, {MANIFEST}):
            (output / name).unlink(missing_ok=True)
        (new / MANIFEST).replace(output / MANIFEST)
    except BaseException:
        _restore(old, output, every)
        raise
    finally:
        for folder in (TABLES, PLOTS):
            with suppress(OSError):  # not there, or not empty
                (output / folder).rmdir()


def _restore(old: Path, output: Path, names: Iterable[str]) -> None:
    """The manifest comes last, so that it never names too little."""
    for name in names:
        if (old / name).exists():
            (old / name).replace(output / name)
        else:
            (output / name).unlink(missing_ok=True)


def _manifest(names: Iterable[str]) -> bytes:
    return f"{Manifest(files=tuple(sorted(names))).model_dump_json(indent=1)}\n".encode()


def _earlier(output: Path) -> set[str]:
    """Files that a report in this folder names as its own, and the manifest that does."""
    file = output / MANIFEST
    if file.is_symlink():
        return set()
    try:
        found = Manifest.model_validate_json(file.read_bytes()).files
    except (OSError, ValidationError):
        return set()
    return {MANIFEST, *filter(_of_report, found)}


def _of_report(name: str) -> bool:
    """Whether a report may have a file of this name; a manifest can be anybody's."""
    path = PurePosixPath(name)
    inside = len(path.parts) == 2 and path.parts[0] in (TABLES, PLOTS) and path.parts[1] != ".."
    plain = path.as_posix() == name and name.isprintable() and "\\" not in name
    return name in (PAGE, DOCUMENT) or (inside and plain)


def _refused(output: Path, name: str, why: str) -> BenchError:
    return BenchError(
        f"{output}: {name} {why}, and would be overwritten; expected a new folder, or that of an "
        f"earlier report, whose {MANIFEST} names its files"
    )
