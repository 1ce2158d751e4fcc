"""A DataFrame as a file that other programs read: CSV or Parquet, there whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.reporting.forms import inert

if TYPE_CHECKING:
    import pandas as pd


def write(frame: "pd.DataFrame", file: Path) -> None:
    """Write a frame in the form that the file's ending names; what was there goes once it is whole.

    Args:
        frame: of `bench.analysis.frames`.
        file: ending in one of `ENDINGS`.

    Raises:
        BenchError: another ending, or the file cannot be written.
    """
    form = ENDINGS[ending(file)]
    with whole(file) as temporary:
        form(frame, temporary)


def ending(file: Path) -> str:
    """The file's ending, a key of `ENDINGS`.

    Raises:
        BenchError: it has another.
    """
    found = file.suffix.lower()
    if found not in ENDINGS:
        raise BenchError(f"--output {file}: expected a name that ends in {' or '.join(ENDINGS)}")
    return found


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Where to write a file meanwhile: beside its place, which it takes if all goes well.

    Raises:
        BenchError: it cannot be written.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(file)
    except OSError as error:
        raise BenchError(f"{file}: cannot be written: {hindrance(file, error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def hindrance(file: Path, error: OSError) -> str:
    """Why a file or folder cannot be written, and where it could be."""
    with contextlib.suppress(OSError):  # too long a name cannot be asked after
        for place in file.parents:
            if place.is_file():
                return f"{place} is a file: expected a place below a folder"
        if file.is_dir():
            return "it is a folder: expected a file name"
    return f"{error.strerror or error}: expected a place where you may write"


def _csv(frame: "pd.DataFrame", file: Path) -> None:
    texts: pd.DataFrame = frame.select_dtypes("string")
    cells = {name: texts[name].map(inert, na_action="ignore") for name in texts}
    frame.assign(**cells).to_csv(file, index=False, encoding="utf-8", lineterminator="\n")


def _parquet(frame: "pd.DataFrame", file: Path) -> None:
    try:
        frame.to_parquet(file, index=False, engine="pyarrow")
    except ImportError as error:
        raise BenchError(
            "a .parquet file needs the package pyarrow: pip install pyarrow"
        ) from error


ENDINGS: Mapping[str, Callable[["pd.DataFrame", Path], None]] = {".csv": _csv, ".parquet": _parquet}
"""What `write` can write."""
