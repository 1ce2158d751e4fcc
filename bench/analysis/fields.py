"""Which lines may be held against each other: those of one folder, one stack, and equal pictures.

    lines -> a Field for each, with a name for people

Across folders and stacks nothing is compared here: machines differ in speed, and a trial would tie
with itself. That is `bench compare`'s part.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.analysis import naming
from bench.analysis.evidence import Line
from bench.analysis.ranking import pictures
from bench.records import DatasetUsed


@dataclass(frozen=True, eq=False)
class Field:
    """Lines of one folder, one stack and one set of pictures.

    Attributes:
        name: the dataset, and what tells the field from others on it: ``tf_flowers, 250 train``.
        lines: in the order measured; failed ones and mistakes on purpose too.
        pictures: that they saw; None where no line got so far.
    """

    name: str
    lines: tuple[Line, ...]
    pictures: DatasetUsed | None

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.lines[0].dataset

    @property
    def side(self) -> tuple[str, str]:
        """The folder's name and the stack's id."""
        return self.lines[0].source, self.lines[0].stack


def of(lines: Iterable[Line]) -> tuple[Field, ...]:
    """Group lines, in the order first met.

    A line that failed before it saw pictures is where lines of equal `bench.records.Data` are, else
    in a field with those alike.
    """
    found: dict[object, list[Line]] = {}
    homes: dict[object, object] = {}
    ordered = sorted(lines, key=lambda line: line.number)
    for line in ordered:
        if seen := pictures(line.group):
            key = (line.source, line.stack, seen.fingerprint)
            found.setdefault(key, []).append(line)
            homes.setdefault(_asked(line), key)
    for line in ordered:
        if pictures(line.group) is None:
            found.setdefault(homes.get(_asked(line), _asked(line)), []).append(line)
    fields = [sorted(field, key=lambda line: line.number) for field in found.values()]
    fields.sort(key=lambda field: field[0].number)
    return tuple(
        Field(name, tuple(field), _seen(field))
        for name, field in zip(_names(fields), fields, strict=True)
    )


def _asked(line: Line) -> object:
    return line.source, line.stack, line.group.spec.data


def _seen(lines: Sequence[Line]) -> DatasetUsed | None:
    return next((used for line in lines if (used := pictures(line.group))), None)


# ------------------------------------------------------------------------------------------- names


def _names(fields: Sequence[Sequence[Line]]) -> list[str]:
    """A name for each, unlike every other's."""
    datasets: dict[str, list[int]] = {}
    for i, lines in enumerate(fields):
        datasets.setdefault(lines[0].dataset, []).append(i)
    names = [""] * len(fields)
    for dataset, places in datasets.items():
        told = _telling([fields[i] for i in places])
        for i, parts in zip(places, told, strict=True):
            names[i] = ", ".join([dataset, *parts])
    return names


def _telling(fields: Sequence[Sequence[Line]]) -> list[list[str]]:
    """Of fields on one dataset whatever differs; what pictures, if that leaves two alike."""
    short = naming.stacks(lines[0].group.stack for lines in fields)
    columns = (
        [_train(lines) for lines in fields],
        [f"{used.test:,} test" if (used := _seen(lines)) else "" for lines in fields],
        [short[lines[0].stack] for lines in fields],
        [lines[0].source for lines in fields],
    )
    differ = [column for column in columns if len(set(column) - {""}) > 1]
    told = [[column[i] for column in differ if column[i]] for i in range(len(fields))]
    for more in (
        [_which(lines) for lines in fields],
        [f"no. {i}" for i in range(1, 1 + len(told))],
    ):
        counts = Counter(map(tuple, told))
        told = [
            [*parts, extra] if counts[tuple(parts)] > 1 else parts
            for parts, extra in zip(told, more, strict=True)
        ]
    return told


def _train(lines: Sequence[Line]) -> str:
    """``250 train``: as seen, else as asked for."""
    if used := _seen(lines):
        return f"{used.train:,} train"
    asked = naming.train_pictures(lines[0].group)
    return "pictures not seen" if asked == "all" else f"{asked} train"


def _which(lines: Sequence[Line]) -> str:
    used = _seen(lines)
    return f"pictures {used.fingerprint[:8]}" if used else "pictures not seen"
