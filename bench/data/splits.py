"""Which picture is for training, which for choosing (val), which for reporting (test).

A picture's place follows from a hash of its encoded bytes, class by class: not from reading order,
file names or chance. So a split survives a new version of TFDS, and exact copies of a picture stay
on one side. A dataset's own test split is kept.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.images import Images
from bench.errors import DatasetError
from bench.records import Data, DatasetUsed, SplitName

Indices = NDArray[np.int64]

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
_NAMED = 5  # pictures or classes that a message names at most
_LINES_KEPT = 20  # problems that a result row carries at most


@dataclass(frozen=True)
class Split:
    """The pictures of one trial.

    Attributes:
        train, val, test: int64 indices into the dataset's pictures, no two the same. Sorted by
            content hash, then label: the same order on every machine, whatever the reading order.
        fingerprint: SHA-256 over content hash, class and split of these pictures, 64 hex digits.
        notes: copies, contradictory labels, pictures kept out of training.
    """

    train: Indices
    val: Indices
    test: Indices
    fingerprint: str
    notes: tuple[str, ...] = ()


def split(images: Images, data: Data) -> Split:
    """Split a dataset as a trial asks. Pure: equal pictures give an equal split.

    Within each class the distinct pictures are ordered by hash; the first fraction trains, the
    next is val, the last test. Each split gets at least one picture of each class that has enough
    of them. An official test (or val) split is kept whole, and the other fractions share the rest.
    Subsets are proportional by class and nested: 1,000 contain the 500.

    Args:
        images: labels, content hashes, ids and official splits count; pixels are not read.
        data: fractions and subsets.

    Raises:
        DatasetError: fewer than two classes, a class without pictures, too few pictures for the
            splits, or a subset larger than its split.
    """
    pictures = _Pictures.of(images)
    name = data.dataset.name
    _check_classes(name, pictures, images.empty)
    places, notes = _assign(name, pictures, data)
    chosen = {s: np.flatnonzero(places == i) for i, s in enumerate(_SPLITS)}
    _check_sizes(name, chosen, len(pictures.labels))
    chosen = _subsets(name, pictures, chosen, data)
    notes += _missing_classes(pictures, chosen)
    indices = {s: pictures.index[at] for s, at in chosen.items()}
    return Split(
        train=indices["train"],
        val=indices["val"],
        test=indices["test"],
        fingerprint=_fingerprint(pictures, chosen),
        notes=tuple(notes),
    )


def describe(images: Images, split: Split) -> DatasetUsed:
    """The part of a result row about its dataset; long lists of problems are cut short."""
    problems = tuple(f"left out: {p}" for p in images.problems[:_LINES_KEPT])
    more = len(images.problems) - len(problems)
    cut = (f"and {more} more that were left out",) if more else ()
    return DatasetUsed(
        fingerprint=split.fingerprint,
        class_names=images.class_names,
        train=len(split.train),
        val=len(split.val),
        test=len(split.test),
        caveats=images.caveats,
        notes=(*images.notes, *split.notes, *problems, *cut),
    )


@dataclass(frozen=True)
class _Pictures:
    """All pictures in the one order that everything here uses: by hash, then label.

    ``group`` numbers the distinct pictures, in hash order.
    """

    index: Indices
    labels: NDArray[np.int64]
    hashes: NDArray[np.str_]
    group: NDArray[np.int64]
    official: NDArray[np.str_]
    ids: tuple[str, ...]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, images: Images) -> "_Pictures":
        labels = np.asarray(images.labels, np.int64)
        hashes = np.asarray(images.hashes, np.str_)
        official = np.array([o or "" for o in images.official], np.str_)
        order = np.lexsort((official, labels, hashes)).astype(np.int64)
        _, group = np.unique(hashes[order], return_inverse=True)
        return cls(
            index=order,
            labels=labels[order],
            hashes=hashes[order],
            group=group.astype(np.int64),
            official=official[order],
            ids=tuple(images.ids[i] for i in order),
            class_names=tuple(images.class_names),
        )

    def named(self, at: Indices) -> str:
        """A few of these pictures, for a message."""
        some = ", ".join(f"{self.ids[i]} ({self.class_names[self.labels[i]]})" for i in at[:_NAMED])
        return some + (f" and {len(at) - _NAMED} more" if len(at) > _NAMED else "")


# ---------------------------------------------------------------------------- assigning splits


def _assign(name: str, pictures: _Pictures, data: Data) -> tuple[NDArray[np.int64], list[str]]:
    """Number of the split of each picture (-1: in none), and what there is to say about it."""
    group, notes = pictures.group, _copies(pictures)
    places = np.full(len(group), -1, np.int64)
    free = np.ones(len(group), bool)
    for split_name in ("test", "val"):
        kept = free & (pictures.official == split_name)
        places[kept] = _SPLITS.index(split_name)
        elsewhere = free & ~kept & np.isin(group, group[kept])
        if elsewhere.any():
            notes.append(
                f"also in the official {split_name} split, so left out of the others: "
                f"{pictures.named(np.flatnonzero(elsewhere))}"
            )
        free &= ~kept & ~elsewhere
    _check_pool(name, pictures, free)
    fractions = data.splits.model_dump()
    wanted = [s for s in _SPLITS if s == "train" or not (places == _SPLITS.index(s)).any()]
    shares = np.array([fractions[s] for s in wanted]) / sum(fractions[s] for s in wanted)
    # A picture under two labels counts for one class only: the first.
    first = free & (np.diff(group, prepend=-1) > 0)
    of_group = np.full(group.max() + 1, -1, np.int64)
    for label in range(len(pictures.class_names)):
        mine = group[first & (pictures.labels == label)]
        sizes = _sizes(len(mine), wanted, shares)
        of_group[mine] = np.repeat([_SPLITS.index(s) for s in wanted], sizes)
    places[free] = of_group[group[free]]
    return places, notes


def _sizes(pictures: int, wanted: list[SplitName], shares: NDArray[np.float64]) -> list[int]:
    """Share out one class: rounded by largest remainder, then one each where there are enough.

    A class with fewer pictures than splits goes to train first, then test, then val.
    """
    if pictures < len(wanted):
        priority = [s for s in ("train", "test", "val") if s in wanted][:pictures]
        return [int(s in priority) for s in wanted]
    # Rounded, so that 0.1 + 0.2 and 0.3 mean the same picture.
    exact = np.round(shares * pictures, 9)
    sizes = np.floor(exact).astype(int)
    by_remainder = np.argsort(-(exact - sizes), kind="stable")
    sizes[by_remainder[: pictures - sizes.sum()]] += 1
    while sizes.min() == 0:
        sizes[sizes.argmax()] -= 1
        sizes[sizes.argmin()] += 1
    return [int(size) for size in sizes]


def _copies(pictures: _Pictures) -> list[str]:
    counts = np.bincount(pictures.group)
    copied = int((counts > 1).sum())
    if not copied:
        return []
    extra = int(counts.sum()) - len(counts)
    notes = [
        f"pictures that occur more than once: {copied} ({extra} of all are copies); "
        "all copies of a picture are in one split"
    ]
    same = np.diff(pictures.group) == 0
    torn = np.unique(pictures.group[1:][same & (np.diff(pictures.labels) != 0)])
    if len(torn):
        at = np.flatnonzero(np.isin(pictures.group, torn))
        notes.append(
            f"pictures whose copies carry contradictory labels, kept as they are: {len(torn)}: "
            f"{pictures.named(at)}"
        )
    return notes


# --------------------------------------------------------------------------------------- subsets


def _subsets(
    name: str, pictures: _Pictures, chosen: dict[SplitName, Indices], data: Data
) -> dict[SplitName, Indices]:
    if data.train_examples is not None and data.train_per_class is not None:
        raise DatasetError(
            f"dataset {name!r}: train_examples = {data.train_examples} and train_per_class = "
            f"{data.train_per_class}: expected one of the two"
        )
    subsets = dict(chosen)
    asked: dict[SplitName, int | None] = {
        "train": data.train_examples,
        "val": data.val_examples,
        "test": data.test_examples,
    }
    for split_name, wanted in asked.items():
        if wanted is not None:
            at = chosen[split_name]
            _check_subset(name, f"{split_name}_examples", wanted, len(at))
            subsets[split_name] = np.sort(_proportional(pictures.labels[at], at)[:wanted])
    classes = len(pictures.class_names)
    if data.train_examples is not None and data.train_examples < classes:
        raise DatasetError(
            f"dataset {name!r}: train_examples = {data.train_examples}: expected at least "
            f"{classes}, one for each class"
        )
    if data.train_per_class is not None:
        subsets["train"] = _per_class(name, pictures, chosen["train"], data.train_per_class)
    return subsets


def _proportional(labels: NDArray[np.int64], at: Indices) -> Indices:
    """Order pictures so that every beginning holds the classes in proportion, none left out.

    The j-th of a class's n pictures stands at j / n; ties are broken by hash.
    """
    position = np.empty(len(at))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        position[mine] = np.arange(len(mine)) / len(mine)
    return at[np.lexsort((at, position))]


def _per_class(name: str, pictures: _Pictures, at: Indices, wanted: int) -> Indices:
    labels = pictures.labels[at]
    for label, class_name in enumerate(pictures.class_names):
        there = int((labels == label).sum())
        _check_subset(name, "train_per_class", wanted, there, f" of class {class_name!r}")
    firsts = [at[labels == label][:wanted] for label in range(len(pictures.class_names))]
    return np.sort(np.concatenate(firsts))


def _fingerprint(pictures: _Pictures, chosen: dict[SplitName, Indices]) -> str:
    lines = sorted(
        json.dumps([str(pictures.hashes[i]), pictures.class_names[pictures.labels[i]], split_name])
        for split_name, at in chosen.items()
        for i in at
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


# ---------------------------------------------------------------------------------------- checks


def _check_classes(name: str, pictures: _Pictures, empty: tuple[str, ...]) -> None:
    names = pictures.class_names
    if len(names) < 2:
        without = f", beside {', '.join(map(repr, empty[:_NAMED]))} without a readable picture"
        raise DatasetError(
            f"dataset {name!r} has {len(names)} class(es) ({', '.join(names)}"
            f"{without if empty else ''}): expected at least two, each with readable pictures"
        )
    _name_empty(name, pictures, np.ones(len(pictures.labels), bool), "no pictures")


def _check_pool(name: str, pictures: _Pictures, free: NDArray[np.bool_]) -> None:
    what = "no pictures outside the official val and test splits"
    _name_empty(name, pictures, free, what)


def _name_empty(name: str, pictures: _Pictures, among: NDArray[np.bool_], what: str) -> None:
    counts = np.bincount(pictures.labels[among], minlength=len(pictures.class_names))
    empty = [pictures.class_names[label] for label in np.flatnonzero(counts == 0)]
    if empty:
        more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
        raise DatasetError(
            f"dataset {name!r}: {what} of class {', '.join(map(repr, empty[:_NAMED]))}{more}: "
            "expected at least one of each class"
        )


def _check_sizes(name: str, chosen: dict[SplitName, Indices], pictures: int) -> None:
    empty = [s for s, at in chosen.items() if not len(at)]
    if empty:
        raise DatasetError(
            f"dataset {name!r}: {pictures} pictures are too few to split: nothing is left for "
            f"{' and '.join(empty)}: expected at least three different pictures of a class"
        )


def _check_subset(name: str, key: str, wanted: int, there: int, what: str = "") -> None:
    if wanted > there:
        raise DatasetError(
            f"dataset {name!r}: {key} = {wanted}: expected at most {there}, "
            f"the pictures{what} in that split"
        )


def _missing_classes(pictures: _Pictures, chosen: dict[SplitName, Indices]) -> list[str]:
    notes = []
    for split_name, at in chosen.items():
        counts = np.bincount(pictures.labels[at], minlength=len(pictures.class_names))
        missing = [pictures.class_names[label] for label in np.flatnonzero(counts == 0)]
        if missing:
            more = ", ..." if len(missing) > _NAMED else ""
            notes.append(f"{split_name} has no picture of {', '.join(missing[:_NAMED])}{more}")
    return notes
