"""What every source of pictures offers, before anything is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.records import SplitName


@dataclass(frozen=True)
class Example:
    """One encoded picture.

    Attributes:
        id: for messages: a file name, or the place in a TFDS file.
        encoded: the bytes of the file, or the file.
        label: index of its class; negative where the source has no label for it.
        official: the source's own split; None where it has none.
    """

    id: str
    encoded: bytes | Path
    label: int
    official: SplitName | None = None


@dataclass(frozen=True)
class Contents:
    """An opened source.

    Attributes:
        class_names: in label order.
        count: pictures that ``examples`` will yield, for progress.
        signature: changes when the pictures do; for TFDS data equal for equal copies.
        examples: readable once, in an order that never changes.
        problems: what was left out already, and why.
    """

    class_names: tuple[str, ...]
    count: int
    signature: str
    examples: Iterable[Example]
    problems: tuple[str, ...] = ()


class Source(Protocol):
    """A place that holds encoded pictures."""

    @property
    def name(self) -> str:
        """For the names of cache entries."""
        ...

    @property
    def identity(self) -> str:
        """The same wherever a suite names these pictures, on any machine."""
        ...

    @property
    def where(self) -> str:
        """Where it is looked for, as the end of "not found in ..."."""
        ...

    def signature(self) -> str | None:
        """As in ``Contents``, without TensorFlow; None where it is not on this machine."""
        ...

    def open(self) -> Contents:
        """Read what there is, after a download where that is possible.

        Raises:
            DatasetError: it cannot be found or read.
        """
        ...
