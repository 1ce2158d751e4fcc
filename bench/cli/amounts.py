"""Numbers with units, as people type them: ``5ms``, ``10M``, ``500MB``, ``30min``."""

import math
import re
from collections.abc import Mapping

from bench.errors import BenchError

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ/]*)\s*")

LATENCY: Mapping[str, float] = {"ms": 1.0, "s": 1000.0, "us": 1e-3, "µs": 1e-3}
COUNT: Mapping[str, float] = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}
MEMORY: Mapping[str, float] = {
    **{"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
    **{"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
}
RATE: Mapping[str, float] = {"": 1.0, "/s": 1.0, "images/s": 1.0, "img/s": 1.0}
TIME: Mapping[str, float] = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def amount(option: str, text: str | None, units: Mapping[str, float], example: str) -> float | None:
    """What a text says, in the base unit of a table; None for no text.

    Args:
        option: where it was given, for messages.
        text: as typed.
        units: factors by unit; "" where a bare number will do.
        example: of what is valid.

    Raises:
        BenchError: it is no positive number with one of the units.
    """
    if text is None:
        return None
    found = _NUMBER.fullmatch(text)
    value = float(found[1]) * units.get(found[2], math.nan) if found else math.nan
    if not 0 < value < math.inf:
        named = ", ".join(unit for unit in units if unit)
        how = f"alone or with {named}" if "" in units else f"in {named}"
        raise BenchError(f"{option} {text!r}: expected a number above 0 {how}, like {example}")
    return value
