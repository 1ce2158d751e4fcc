"""What a look at a dataset finds, as frozen values."""

from dataclasses import dataclass

from bench.data.files import Files
from bench.records import SplitName

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class ClassCount:
    """A class.

    Attributes:
        name: its folder, or what the source calls it.
        train, val, test: its pictures in each split.
    """

    name: str
    train: int
    val: int
    test: int

    @property
    def total(self) -> int:
        """In all splits."""
        return self.train + self.val + self.test


@dataclass(frozen=True)
class Picture:
    """A picture by name.

    Attributes:
        name: path below the folder, or the source's own name for it.
        class_name: that it is filed under.
        split: that it is in; None for one that no split has.
    """

    name: str
    class_name: str
    split: SplitName | None


Twins = tuple[Picture, ...]
"""Two or more that are copies of each other."""


@dataclass(frozen=True)
class Look:
    """What there is to see in a dataset.

    Attributes:
        dataset: its name.
        image_size: pixels of each side that its pictures were brought to.
        pictures: that can be read.
        classes: by label.
        official: splits that the source makes itself; the others are Bench's.
        empty: classes of which no picture can be read; they are left out.
        unreadable: pictures that are left out, each with the reason.
        passed_over: what in the folder is not read: other files, links, folders.
        copies: pictures that are in the dataset again, byte for byte, under the same class and in
            the same split: harmless.
        two_classes: groups with the same bytes under several classes.
        two_splits: groups of a class with the same bytes in several official splits.
        alike_classes: pairs that look the same under two classes.
        alike_splits: pairs of a class that look the same, one in train, the other in val or test;
            or one in val, the other in test.
        files: what the files are; None where the source is no folder on this machine.
        caveats: what a reader must know about numbers on this dataset.
        warnings: what is wrong and what to do about it, a sentence each, the worst first.
    """

    dataset: str
    image_size: int
    pictures: int
    classes: tuple[ClassCount, ...]
    official: tuple[SplitName, ...] = ()
    empty: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    copies: int = 0
    two_classes: tuple[Twins, ...] = ()
    two_splits: tuple[Twins, ...] = ()
    alike_classes: tuple[Twins, ...] = ()
    alike_splits: tuple[Twins, ...] = ()
    files: Files | None = None
    caveats: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def balance(self) -> float:
        """The largest class by the smallest; 1 is balanced."""
        sizes = [c.total for c in self.classes]
        return max(sizes) / max(min(sizes), 1)

    @property
    def largest(self) -> ClassCount:
        """The class with the most pictures."""
        return max(self.classes, key=lambda c: c.total)

    @property
    def chance(self) -> float:
        """Accuracy on test, 0 to 1, of always answering the class most frequent in train."""
        most = max(self.classes, key=lambda c: c.train)
        return most.test / max(self.size("test"), 1)

    def size(self, split: SplitName) -> int:
        """Pictures in a split."""
        return sum(getattr(c, split) for c in self.classes)
