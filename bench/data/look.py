"""A look at a dataset before anything is trained: what is in it, and what is wrong with it."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import advice, twins
from bench.data.files import Files, inspect
from bench.data.folders import FolderSource
from bench.data.images import Images
from bench.data.overview import SPLITS, ClassCount, Look, Picture, Twins
from bench.data.splits import Split
from bench.errors import DatasetError
from bench.records import Dataset


def look(images: Images, split: Split, dataset: Dataset | None = None) -> Look:
    """Look at an opened dataset. Takes seconds for 25,000 pictures.

    Args:
        images: its pictures.
        split: how they are shared out.
        dataset: where they come from, its folder counted from the working directory; where that
            is a folder which is still there, its files are looked at, too.
    """
    source = _folder(dataset)
    unreadable, passed_over = _problems(images, source)
    found = Look(
        dataset=images.dataset,
        image_size=images.pixels.shape[1],
        pictures=len(images.labels),
        classes=_counts(images, split),
        official=tuple(s for s in SPLITS if s in images.official),
        empty=images.empty,
        unreadable=unreadable,
        passed_over=passed_over,
        files=_files(images, source),
        caveats=images.caveats,
    )
    places = _places(images, split)
    found = _with_alike(_with_copies(found, images, places), images, places)
    return replace(found, warnings=tuple(advice.sentences(found)))


def _folder(dataset: Dataset | None) -> FolderSource | None:
    if dataset is None or dataset.folder is None:
        return None
    source = FolderSource(dataset.name, dataset.folder)
    return source if Path(source.where).is_dir() else None


def _places(images: Images, split: Split) -> NDArray[np.int64]:
    """Number of the split of each picture, -1 for none."""
    places = np.full(len(images.labels), -1, np.int64)
    for number, name in enumerate(SPLITS):
        places[getattr(split, name)] = number
    return places


def _counts(images: Images, split: Split) -> tuple[ClassCount, ...]:
    classes = len(images.class_names)
    of_split = [
        np.bincount(images.labels[getattr(split, name)], minlength=classes) for name in SPLITS
    ]
    return tuple(
        ClassCount(name, *(int(counts[label]) for counts in of_split))
        for label, name in enumerate(images.class_names)
    )


# ------------------------------------------------------------------------------------- files


def _problems(
    images: Images, source: FolderSource | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What could not be read, and what was never tried."""
    never: set[str] = set()
    if source is not None:
        with suppress(DatasetError):  # it has changed since it was decoded
            never = set(source.open().problems)
    found = images.problems[len(images.empty) :]  # which are said apart
    return tuple(p for p in found if p not in never), tuple(p for p in found if p in never)


def _files(images: Images, source: FolderSource | None) -> Files | None:
    if source is None:
        return None
    return inspect(Path(source.where), images.ids, images.pixels.shape[1])


# ------------------------------------------------------------------------------------ copies


def _with_copies(look: Look, images: Images, places: NDArray[np.int64]) -> Look:
    """Pictures with the same bytes: under two classes, in two official splits, or harmless."""
    copies = 0
    two_classes, two_splits = [], []
    for group in twins.exact(images.hashes):
        if len({int(images.labels[i]) for i in group}) > 1:
            two_classes.append(_named(images, places, group))
        elif len({images.official[i] for i in group}) > 1:
            two_splits.append(_named(images, places, group))
        else:
            copies += len(group) - 1
    return replace(
        look, copies=copies, two_classes=tuple(two_classes), two_splits=tuple(two_splits)
    )


def _with_alike(look: Look, images: Images, places: NDArray[np.int64]) -> Look:
    """Pictures that look the same, where that does harm."""
    classes, splits = [], []
    for pair in twins.near(images.pixels, images.hashes):
        labels, parts = ({int(values[i]) for i in pair} for values in (images.labels, places))
        if len(labels) > 1:
            classes.append(_named(images, places, pair))
        elif len(parts - {-1}) > 1:
            splits.append(_named(images, places, pair))
    return replace(look, alike_classes=tuple(classes), alike_splits=tuple(splits))


def _named(images: Images, places: NDArray[np.int64], which: Iterable[int]) -> Twins:
    """Pictures by name: those of train first, then val, test and what is in no split."""
    order = sorted(which, key=lambda i: (places[i] % (len(SPLITS) + 1), i))
    return tuple(
        Picture(
            name=images.ids[i],
            class_name=images.class_names[images.labels[i]],
            split=SPLITS[places[i]] if places[i] >= 0 else None,
        )
        for i in order
    )
