"""Which lines a plot of accuracy is drawn from, and how they are called beside each other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.analysis.evidence import Evidence, Line
from bench.records import Stack

Namer = Callable[[Line], str]
Side = tuple[str, str]
"""A source's name and a stack's id."""

DIFFERENCES_NAMED = 3


@dataclass(frozen=True)
class Accuracy:
    """A line's test accuracy, in percent; `low` and `high` are `value` where nothing tells them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Field:
    """The lines of one dataset that can be held against each other.

    Attributes:
        dataset: its name.
        lines: with an accuracy that means something.
        random, failed, trapped: lines left out: random weights, no accuracy, a mistake made on
            purpose.
    """

    dataset: str
    lines: tuple[Line, ...]
    random: int = 0
    failed: int = 0
    trapped: int = 0

    @cached_property
    def accuracies(self) -> Mapping[int, Accuracy]:
        """By the line's number."""
        return {line.number: a for line in self.lines if (a := accuracy(line))}

    @property
    def left_out(self) -> str:
        """A sentence, or nothing."""
        counts = (
            (self.random, "with random weights, whose accuracy means nothing"),
            (self.failed, "without a result"),
            (self.trapped, "with a mistake made on purpose"),
        )
        said = [f"{number:,} {trials(number)} {why}" for number, why in counts if number]
        return f"Left out: {'; '.join(said)}." if said else ""

    @property
    def doubts(self) -> str:
        """What casts doubt on the lines themselves; a sentence, or nothing."""
        failed = sum(line.group.guards.startswith("FAIL") for line in self.lines)
        seen = {r.dataset.fingerprint for x in self.lines for r in x.group.finished if r.dataset}
        found = []
        if failed:
            found.append(f"A guard failed in {failed:,} of these trials.")
        if len(seen) > 1:
            found.append("Not all of these trials saw the same pictures.")
        return " ".join(found)


def trials(number: int) -> str:
    """``trial`` or ``trials``."""
    return "trial" if number == 1 else "trials"


def joined(*sentences: str) -> str:
    """One text out of sentences, some of them empty."""
    return " ".join(sentence for sentence in sentences if sentence)


def accuracy(line: Line) -> Accuracy | None:
    """Of one line; None where it has none."""
    known = line.accuracy
    if known is not None:
        return Accuracy(100 * known.value, 100 * known.interval.low, 100 * known.interval.high)
    mean = line.test_accuracy
    return Accuracy(*(3 * (100 * mean.mean,))) if mean else None


def fields(evidence: Evidence) -> list[Field]:
    """The datasets, in the order first met."""
    of: dict[str, list[Line]] = {}
    for line in evidence.lines:
        of.setdefault(line.dataset, []).append(line)
    return [_field(name, lines) for name, lines in of.items()]


def _field(name: str, lines: Sequence[Line]) -> Field:
    right = [line for line in lines if not line.group.spec.trap]
    sound = [line for line in right if not line.random]
    known = [line for line in sound if line.test_accuracy is not None]
    return Field(
        name,
        tuple(known),
        random=len(right) - len(sound),
        failed=len(sound) - len(known),
        trapped=len(lines) - len(right),
    )


# ---------------------------------------------------------------------------------------- names


def side(line: Line) -> Side:
    """Where a line is from."""
    return line.source, line.stack


def side_names(of: Iterable[tuple[str, Stack]]) -> dict[Side, str]:
    """What to call sources and stacks: only what differs between them, nothing for a single one."""
    stacks: dict[Side, Stack] = {(source, stack.id): stack for source, stack in of}
    several = len({source for source, _ in stacks}) > 1
    parts = _telling({s.id: s for s in stacks.values()})
    return {
        (source, id_): " · ".join(filter(None, (source if several else "", parts[id_])))
        for source, id_ in stacks
    }


def _telling(stacks: Mapping[str, Stack]) -> dict[str, str]:
    if len(stacks) < 2:
        return dict.fromkeys(stacks, "")

    def differ(name: str, among: Iterable[Stack]) -> bool:
        return len({getattr(s, name) for s in among}) > 1

    def name(stack: Stack) -> str:
        same = [s for s in stacks.values() if s.backend == stack.backend]
        version = f" {stack.backend_version}" if differ("backend_version", same) else ""
        keras = f"Keras {stack.keras_version}" if differ("keras_version", stacks.values()) else ""
        others = [
            getattr(stack, part)
            for part in ("device", "precision")
            if differ(part, stacks.values())
        ]
        return ", ".join(filter(None, (f"{stack.backend}{version}", keras, *others)))

    return {id_: name(stack) for id_, stack in stacks.items()}


def line_sides(lines: Iterable[Line]) -> dict[Side, str]:
    """The same for lines."""
    return side_names((line.source, line.group.stack) for line in lines)


def by_side(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Lines of each side under its name, in the order first met."""
    names = line_sides(lines)
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(names[side(line)], []).append(line)
    return found


def differing(lines: Iterable[Line]) -> dict[str, dict[int, str]]:
    """Settings that differ between lines of one backbone, freeze strategy and side.

    Returns:
        The setting's name -> its value by the number of each line that has to be told apart.
    """
    alike: dict[object, list[Line]] = {}
    for line in lines:
        same = (line.backbone, line.dataset, line.group.spec.freeze.label, side(line))
        alike.setdefault(same, []).append(line)
    found: dict[str, dict[int, str]] = {}
    for same_kind in alike.values():
        if len(same_kind) > 1:
            for name, table in _differing(same_kind).items():
                found.setdefault(name, {}).update(table)
    return found


def _differing(lines: Sequence[Line]) -> dict[str, dict[int, str]]:
    leaves = {line.number: dict(_leaves(line)) for line in lines}
    names = dict.fromkeys(name for found in leaves.values() for name in found)
    tables = {name: {n: found.get(name, "none") for n, found in leaves.items()} for name in names}
    return {name: table for name, table in tables.items() if len(set(table.values())) > 1}


def namer(lines: Sequence[Line], short: bool = False) -> Namer:
    """Calls each of these lines by its backbone, its freeze strategy, and what else differs.

    Args:
        lines: that names must tell apart.
        short: leave the backbone out where there is only one.
    """
    others = list(differing(lines).items())
    one = short and len({line.backbone for line in lines}) == 1

    def name(line: Line) -> str:
        known = [(key, table[line.number]) for key, table in others if line.number in table]
        more = [f"{key} {value}" for key, value in known[:DIFFERENCES_NAMED]]
        freeze = line.group.spec.freeze.label
        return ", ".join([freeze if one else f"{line.backbone} {freeze}", *more])

    return name


_SAME = ("backbone.name", "data.dataset", "freeze", "seed", "trap")


def _leaves(line: Line) -> Iterable[tuple[str, str]]:
    for path, value in _flat("", line.group.spec.model_dump(mode="json")):
        if not path.startswith(_SAME):
            name = path.replace(".name", "").replace("_", " ").replace(".", " ")
            yield name, f"{value:.3g}" if isinstance(value, float) else str(value)


def _flat(path: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}" if path else key, inner)
    elif value is not None and value != []:
        yield path, value
