"""What a user names on the command line -> the dataset: a folder, a row of the table, TFDS."""

import importlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bench.data.datasets import DATASETS
from bench.data.folders import SPLIT_FOLDERS
from bench.data.tfds_reader import prepared_folder
from bench.errors import DatasetError, suggestion
from bench.records import Dataset
from bench.settings import Settings

PREFIX = "tfds:"
"""Before a name that is TFDS' own, whatever folder or row has the same one."""

_BARE = re.compile(r"\w+(:[\d*.]+)?", re.ASCII)


def dataset(text: str, settings: Settings | None = None) -> Dataset:
    """The dataset that a text names.

    A row of the table goes before a folder of the same name (``./digits`` is the folder), a folder
    before a TFDS name. A relative folder stays relative, as in a suite file: it is counted from
    where the command was started.

    Args:
        text: a folder, a row of the dataset table, ``tfds:NAME`` or a TFDS name.
        settings: say where prepared TFDS datasets lie; None for the environment's.

    Raises:
        DatasetError: it is none of these, or a folder that only holds the folder that is meant.
    """
    settings = settings or Settings.from_environment()
    if not text.strip():
        raise DatasetError(f"dataset {text!r}: expected {_expected()}")
    if text.startswith(PREFIX):
        name = text.removeprefix(PREFIX)
        return _of_tfds(text, name, settings)
    if text in DATASETS:
        return Dataset(name=text)
    try:
        path = Path(text).expanduser()
        path.stat()
    except (RuntimeError, OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            reason = getattr(error, "strerror", None) or error
            raise DatasetError(f"{text[:100]!r}: {reason}: expected {_expected()}") from error
    if path.is_dir():
        return _of_folder(text, path)
    if path.exists():
        raise DatasetError(f"{text!r} is a file: expected {_expected()}")
    if not _BARE.fullmatch(text):
        raise DatasetError(f"folder {text!r} does not exist: expected {_expected()}")
    return _of_tfds(text, text, settings)


def _of_folder(text: str, path: Path) -> Dataset:
    """A zip file often unpacks to a folder in a folder."""
    inside = list(_folders(path))
    if len(inside) == 1 and inside[0].name.lower() not in SPLIT_FOLDERS:
        deeper = list(_folders(inside[0]))
        if len(deeper) > 1:
            raise DatasetError(
                f"folder {text!r} holds a single folder, {inside[0].name!r}, which would be the "
                f"only class: expected a folder for each class; {str(inside[0])!r} holds "
                f"{len(deeper)}: give that one?"
            )
    name = Path(os.path.normpath(path.absolute())).name or "pictures"
    return Dataset(name=os.fsencode(name).decode("utf-8", "backslashreplace"), folder=str(text))


def _folders(path: Path) -> Iterator[Path]:
    try:
        yield from (f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))
    except OSError as error:
        raise DatasetError(
            f"folder {str(path)!r} cannot be read: {error.strerror}: expected a folder that you "
            "may read"
        ) from error


def _of_tfds(text: str, name: str, settings: Settings) -> Dataset:
    base = re.split("[/:]", name)[0]
    data_dir = settings.tfds or Path("~/tensorflow_datasets").expanduser()
    # What is prepared here is found by its folder; only other names need TFDS to judge them.
    if prepared_folder(name, data_dir) is None:
        known = _known_to_tfds()
        if known is None or base not in known:
            raise DatasetError(_unknown(text, base, known))
    return Dataset(name=base, tfds=name)


def _unknown(text: str, base: str, known: Collection[str] | None) -> str:
    names = sorted({*DATASETS, *(known or ())})
    near = suggestion(base, names)
    hint = f"; {near}" if near.startswith("did you mean") else ""
    asked = "" if known is not None else " (and it is not installed, to know others)"
    return (
        f"{text!r} is no folder, no row of the dataset table, and nothing that TensorFlow "
        f"Datasets holds{asked}{hint}: expected {_expected()}"
    )


def _known_to_tfds() -> Collection[str] | None:
    """Every name of TFDS; None where it is not installed."""
    try:
        tfds: Any = importlib.import_module("tensorflow_datasets")
        return frozenset(tfds.list_builders(with_community_datasets=False))
    except ImportError:
        return None


def _expected() -> str:
    return (
        f"a folder of class folders, a dataset of the table ({', '.join(sorted(DATASETS))}) "
        f"or the name of a TensorFlow dataset ({PREFIX}NAME)"
    )
