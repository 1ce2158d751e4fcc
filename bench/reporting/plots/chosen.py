"""Which lines of a field a plot of accuracy is drawn from, and what is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.analysis import fields
from bench.analysis.evidence import Evidence, Line
from bench.analysis.fields import Field


@dataclass(frozen=True)
class Accuracy:
    """A line's test accuracy, in percent; `low` and `high` are `value` where nothing tells them."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Sound:
    """The lines of a field whose accuracy means something.

    Attributes:
        field: what they are of.
        lines: in the order measured.
        random, failed, trapped: lines left out: random weights, no accuracy, a mistake made on
            purpose.
    """

    field: Field
    lines: tuple[Line, ...]
    random: int = 0
    failed: int = 0
    trapped: int = 0

    @property
    def name(self) -> str:
        """The field's."""
        return self.field.name

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
        return f"A guard failed in {failed:,} of these trials." if failed else ""


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


def sound(evidence: Evidence) -> list[Sound]:
    """Of every field, in the order first met; some may have no lines."""
    return of_fields(fields.of(evidence.lines))


def of_fields(found: Sequence[Field]) -> list[Sound]:
    """The same of these fields."""
    return [_sound(field) for field in found]


def _sound(field: Field) -> Sound:
    right = [line for line in field.lines if not line.group.spec.trap]
    meant = [line for line in right if not line.random]
    known = [line for line in meant if line.test_accuracy is not None]
    return Sound(
        field,
        tuple(known),
        random=len(right) - len(meant),
        failed=len(meant) - len(known),
        trapped=len(field.lines) - len(right),
    )
