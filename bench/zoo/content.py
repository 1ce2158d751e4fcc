"""Whether a file of weights is whole, of the kind its name says, and safe to hand to Keras.

All of it without Keras, so that a suite's files are looked into before anything runs.
"""

from functools import lru_cache
from pathlib import Path

from bench.errors import WeightsError
from bench.zoo import backbones, hdf5_files, keras_files

COUNTED_APART = 0.01
"""Share of its numbers by which a file may differ from the table: some layers keep counts."""
_OTHERS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl", ".pickle", ".npz", ".npy")


def how(stated: str) -> str:
    """What to do about a file of another framework; empty for any other name."""
    if not stated.lower().endswith(_OTHERS):
        return ""
    return (
        "; weights of other frameworks are not read: set them in Keras once, and write the file "
        "with model.save_weights('NAME.weights.h5') or model.save('NAME.keras')"
    )


def check(path: Path, name: str) -> None:
    """Look into a file; again only where it has changed since, for many trials share one.

    Args:
        path: ends in ``.keras``, or else is a file of weights alone.
        name: the backbone's, which the table must hold unless the path ends in ``.keras``.

    Raises:
        WeightsError: it must not be loaded; says why, and what would be valid.
    """
    try:
        found = path.stat()
        problem = _problem(path, name, (found.st_ino, found.st_size, found.st_mtime_ns))
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror or error}"
    if problem:
        raise WeightsError(problem)


@lru_cache(maxsize=256)
def _problem(path: Path, name: str, _stamp: tuple[int, int, int]) -> str:
    try:
        _look(path, name)
    except WeightsError as error:
        return str(error)
    return ""


def check_start(path: Path) -> None:
    """See that a file is not what a failed download leaves behind.

    Raises:
        WeightsError: it is empty, a web page, or a pointer to a file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if not start:
        raise WeightsError(f"{path} is empty: expected weights; download it again")
    if start.startswith(b"<"):
        raise WeightsError(f"{path} is a web page, not weights: download it again")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer: fetch the file with git lfs pull")


def _look(path: Path, name: str) -> None:
    check_start(path)
    if path.suffix == ".keras":
        keras_files.check(path, backbone=True)
        return
    try:
        numbers = hdf5_files.check(path, path.stat().st_size)
    except WeightsError as error:
        raise WeightsError(f"{path} {error}") from error
    row = backbones.row(name)
    if abs(numbers - row.parameters) > row.parameters * COUNTED_APART:
        raise WeightsError(
            f"{path} does not fit {row.name} ({row.parameters:,} parameters): it holds "
            f"{numbers:,} numbers; expected weights of {row.name} without its top"
        )
