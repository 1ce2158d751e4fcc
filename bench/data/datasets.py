"""The table of datasets. Adding one is one row; a TFDS name or a folder needs none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import DatasetError, UnknownNameError
from bench.records import Dataset

Reader = Literal["tfds", "folder", "digits"]
"""What reads the pictures: TensorFlow Datasets, a folder of images, or scikit-learn's digits."""


@dataclass(frozen=True)
class DatasetRow:
    """One dataset that a suite can name.

    Attributes:
        name: as written in a suite.
        reader: what reads its pictures; a row never has ``folder``.
        source: the reader's own name for it; for TFDS ``name``, ``name/config``, ``name:1.*.*``.
        classes: how many; None where that depends on the data.
        description: one line for lists.
        caveats: what a reader must know about numbers on this dataset.
        shareable: whether its licence lets anybody pass single pictures on without naming who
            took each. The photographers of ``tf_flowers`` must be named one by one; those of
            ``cats_vs_dogs`` and ``stanford_dogs`` were never asked.
    """

    name: str
    reader: Reader
    source: str
    classes: int | None
    description: str
    caveats: tuple[str, ...] = ()
    shareable: bool = False


@dataclass(frozen=True)
class ResolvedDataset:
    """What a reader needs to know of a ``records.Dataset``.

    Attributes:
        name: the dataset's name in the suite, for messages.
        reader: what reads it.
        source: a TFDS name, a folder as the suite gives it, or ``digits``.
        caveats: of its row, found by name or by TFDS name; empty when no row fits.
    """

    name: str
    reader: Reader
    source: str
    caveats: tuple[str, ...] = ()


_ROWS = (
    DatasetRow(
        name="cats_vs_dogs",
        reader="tfds",
        source="cats_vs_dogs",
        classes=2,
        description="Cats and dogs from the Asirra captcha: about 23,000 photographs",
        caveats=(
            "More than a hundred of ImageNet's classes are breeds of dogs and cats: "
            "an easy task for ImageNet-pretrained backbones.",
        ),
    ),
    DatasetRow(
        name="stanford_dogs",
        reader="tfds",
        source="stanford_dogs",
        classes=120,
        description="120 breeds of dogs: 12,000 train and 8,580 test photographs",
        caveats=(
            "Its pictures are ImageNet pictures: the accuracy of ImageNet-pretrained backbones "
            "is optimistic.",
        ),
    ),
    DatasetRow(
        name="tf_flowers",
        reader="tfds",
        source="tf_flowers",
        classes=5,
        description="Five kinds of flowers: about 3,670 photographs",
    ),
    DatasetRow(
        name="digits",
        reader="digits",
        source="digits",
        classes=10,
        description="scikit-learn's handwritten digits: 1,797 pictures of 8x8, needs no download",
        caveats=(
            "Tiny grey pictures, scaled up: a check that everything works, "
            "not a benchmark of photographs.",
        ),
        shareable=True,
    ),
)


DATASETS: Mapping[str, DatasetRow] = {r.name: r for r in _ROWS}
if len(DATASETS) != len(_ROWS):
    raise ValueError("two datasets of the table share a name")


def row(name: str) -> DatasetRow:
    """The row of that name.

    Raises:
        UnknownNameError: no row has it.
    """
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS)
    return DATASETS[name]


def resolve(dataset: Dataset) -> ResolvedDataset:
    """Say how a dataset is read: its own ``tfds`` or ``folder``, else its row of the table.

    Raises:
        DatasetError: it gives both, or an empty one.
        UnknownNameError: it gives neither, and no row has its name.
    """
    if dataset.tfds is not None and dataset.folder is not None:
        raise DatasetError(
            f"dataset {dataset.name!r}: tfds = {dataset.tfds!r} and folder = {dataset.folder!r}: "
            "expected one of the two"
        )
    if dataset.folder is not None:
        if not dataset.folder.strip():
            raise DatasetError(f"dataset {dataset.name!r}: folder is empty: expected a path")
        return ResolvedDataset(dataset.name, "folder", dataset.folder)
    if dataset.tfds is not None:
        caveats = _caveats_of_tfds(dataset.tfds)
        return ResolvedDataset(dataset.name, "tfds", dataset.tfds, caveats)
    found = row(dataset.name)
    return ResolvedDataset(found.name, found.reader, found.source, found.caveats)


def _caveats_of_tfds(tfds_name: str) -> tuple[str, ...]:
    """A caveat belongs to the pictures, so it holds however they are asked for."""
    base = tfds_name.partition(":")[0]
    return next((r.caveats for r in _ROWS if r.reader == "tfds" and r.source == base), ())


def located(dataset: Dataset, base: Path) -> Dataset:
    """The dataset with its folder, where it has one, counted from the suite file's folder."""
    if dataset.folder is None:
        return dataset
    folder = base / Path(dataset.folder).expanduser()
    return dataset.model_copy(update={"folder": str(folder)})
