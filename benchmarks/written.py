"""Reading what a benchmark wrote."""

from pathlib import Path
from typing import TypeVar

from bench.errors import BenchError
from bench.records import Record

R = TypeVar("R", bound=Record)


def read(kind: type[R], file: Path, expected: str) -> R:
    """The record in a JSON file.

    Args:
        kind: of which record.
        file: where.
        expected: what the file should be, for the message.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    try:
        return kind.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BenchError(f"{file}: expected {expected}: {reason}") from error
