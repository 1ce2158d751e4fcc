"""How much worse matters: the margins of a comparison, as a TOML file says them.

level = 0.95                      # of confidence, for all quantities together
gate = ["status", "accuracy"]     # what decides the exit code; the others are only told

[margins]
accuracy = 0.01                   # a difference: one point
throughput = 0.05                 # a share: from 1 / 1.05 to 1.05
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bench import toml_file
from bench.errors import suggestion
from bench.records import Record

Quantity = Literal[
    "status",
    "guards",
    "parameters",
    "numerics",
    "accuracy",
    "throughput",
    "end_to_end",
    "latency",
    "memory",
]
"""What is compared, and in the order in which it is told. ``parameters``: those that train.
``end_to_end``: throughput from pictures in a file."""

QUANTITIES: tuple[Quantity, ...] = Quantity.__args__  # type: ignore[attr-defined]


def _quantities(value: Any) -> Any:
    if value == []:
        raise ValueError("at least one quantity")
    for name in value if isinstance(value, list) else ():
        if name not in QUANTITIES:
            raise ValueError(f"quantities that exist; {suggestion(str(name), QUANTITIES)}")
    return tuple(value) if isinstance(value, list) else value


def _share(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < 1:
        raise ValueError("a share above 0 and below 1: 0.05 is 5%")
    return value


Share = Annotated[float, BeforeValidator(_share)]


class Margins(Record):
    """What does not matter.

    Attributes:
        accuracy: difference, 0.01 is one point.
        throughput, end_to_end, latency, memory: share, 0.05 is from 1 / 1.05 to 1.05.
    """

    accuracy: Share = 0.01
    throughput: Share = 0.05
    end_to_end: Share = 0.05
    latency: Share = 0.10
    memory: Share = 0.05


class Rules(Record):
    """How a comparison judges.

    Attributes:
        level: of confidence: the chance of one or more false alarms is at most 1 - level.
        gate: the quantities that decide the exit code.
        margins: see there.
    """

    level: float = Field(0.95, ge=0.5, lt=1)
    gate: Annotated[tuple[Quantity, ...], BeforeValidator(_quantities)] = QUANTITIES
    margins: Margins = Margins()


def load(path: Path | None) -> Rules:
    """Read a file of margins; the defaults without one.

    Raises:
        FileError: it cannot be read, or something in it is wrong.
    """
    if path is None:
        return Rules()
    return toml_file.parse(str(path), toml_file.read(path), Rules)
