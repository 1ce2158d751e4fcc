"""The lines of a store: a row each, under a checksum.

    {"format": 1, "check": "1a2b3c4d", "key": ...}

``check`` is the CRC-32 of the line without it, so that a row in which a digit flipped, or was
changed by hand, is not believed. Rows that older versions wrote have none, and are taken as they
are. Every later format says its check in this place and way: then a damaged format number is told
from a newer one.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.costs import CostResult
from bench.errors import StoreError
from bench.numerics import NumericsResult
from bench.probes import ProbeResult
from bench.records import TrialResult
from bench.tasks import Row

FORMAT = 1
BEGINNING = b'{"format": %d, ' % FORMAT
TRIALS, COSTS, NUMERICS = "trials.jsonl", "costs.jsonl", "numerics.jsonl"
PROBES = "probes.jsonl"
KINDS: Mapping[str, type[Row]] = {
    TRIALS: TrialResult,
    COSTS: CostResult,
    NUMERICS: NumericsResult,
    PROBES: ProbeResult,
}
_CHECKED = re.compile(rb'(\{"format": (\d{1,9}), )"check": "([0-9a-f]{8})", ')
_ENDS = b"\r\n"


class ChangedError(ValueError):
    """A line is not as it was written."""


def line(row: Row) -> bytes:
    """The row as a line of strict JSON: pydantic writes NaN as a string, `json.dumps` bare."""
    rest = _written(json.loads(row.model_dump_json()))
    return BEGINNING + b'"check": "%08x", ' % _check(rest) + rest + b"\n"


def _written(content: Mapping[str, Any]) -> bytes:
    """A row as strict JSON, but for the opening brace."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()[1:]


def _check(rest: bytes) -> int:
    return zlib.crc32(rest, zlib.crc32(BEGINNING))


def parse(text: bytes, kind: type[Row] = TrialResult) -> Row:
    """One line of the store.

    Raises:
        StoreError: a newer Bench wrote it.
        ValueError: it is not a row.
        ChangedError: it was one.
    """
    try:
        rest = _checked(text)
    except ChangedError:
        rest = _respaced(text)
        if rest is None:
            raise
    if rest:
        return kind.model_validate_json(b"{" + rest)
    if text.startswith(BEGINNING):  # as older versions wrote it; faster than by a dictionary
        return kind.model_validate_json(b"{" + text[len(BEGINNING) :])
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:  # no UTF-8, or a number of 5,000 digits, too
        raise ValueError(_NO_JSON) from error
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise ValueError("no format number")
    if content.pop("format") > FORMAT:
        raise _newer()
    if "check" in content:
        rest = _respaced(text)
        if rest is None:
            raise ChangedError("its layout is not as written")
        return kind.model_validate_json(b"{" + rest)
    return kind.model_validate(content)


def examine(text: bytes, kind: type[Row]) -> None:
    """Raise what `parse` would; a line under a checksum that fits is not parsed for it."""
    try:
        if _checked(text) is not None:
            return
    except ChangedError:
        pass
    parse(text, kind)


def problem(text: bytes, error: ValueError) -> str:
    """What is wrong with a line, for people.

    Args:
        text: the line.
        error: what `parse` or `examine` raised.
    """
    if not isinstance(error, ChangedError):
        return f"not a whole row ({_short(error)})"
    if not text.endswith(b"\n"):
        return "not a whole row (torn by a kill or a full disk)"
    return (
        f"damaged, or edited by hand, since it was written ({error}): a rerun of its suite "
        "measures it again"
    )


def is_whole(text: bytes) -> bool:
    """Whether a line is JSON to its end. No torn row is, so whoever wrote this one meant it."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _checked(text: bytes) -> bytes | None:
    """What follows the checksum, where there is one and it fits; None where there is none.

    Raises:
        StoreError: a newer Bench wrote the line.
        ChangedError: the checksum does not fit.
    """
    found = _CHECKED.match(text)
    if found is None:
        return None
    rest = text[found.end() :].rstrip(_ENDS)
    if zlib.crc32(rest, zlib.crc32(found[1])) != int(found[3], 16):
        raise ChangedError("its checksum does not fit")
    if int(found[2]) > FORMAT:
        raise _newer()
    return rest


def _respaced(text: bytes) -> bytes | None:
    """What follows the checksum, as it was written, of a line that a JSON tool wrote anew.

    None where what it says has changed.
    """
    try:
        content = json.loads(text)
        stated, version = int(content.pop("check"), 16), content.pop("format")
        rest = _written(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return rest if version == FORMAT and _check(rest) == stated else None


def _newer() -> StoreError:
    return StoreError("written by a newer version of Bench; update Bench to read it")


def _short(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return _NO_JSON
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
    return str(error)


_NO_JSON = "not JSON"
