"""Numbers with units, as people type them."""

from collections.abc import Mapping

import pytest

from bench.cli import amounts
from bench.cli.watching import memory_limit
from bench.errors import BenchError


@pytest.mark.parametrize(
    ("text", "units", "value"),
    [
        ("5ms", amounts.LATENCY, 5.0),
        ("0.2 s", amounts.LATENCY, 200.0),
        ("10M", amounts.COUNT, 1e7),
        ("2500000", amounts.COUNT, 2.5e6),
        ("500MB", amounts.MEMORY, 5e8),
        ("2GiB", amounts.MEMORY, 2**31),
        ("30min", amounts.TIME, 1800.0),
        ("1.5h", amounts.TIME, 5400.0),
        ("50", amounts.RATE, 50.0),
        ("50 images/s", amounts.RATE, 50.0),
    ],
)
def test_what_it_says(text: str, units: Mapping[str, float], value: float) -> None:
    assert amounts.amount("--x", text, units, "5") == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "0ms", "-3ms", "5", "5 parsecs", "1e400ms", "nan"])
def test_what_it_does_not_understand_it_names(text: str) -> None:
    with pytest.raises(
        BenchError, match=r"--max-latency .*: expected a number above 0 in ms, .*5ms"
    ):
        amounts.amount("--max-latency", text, amounts.LATENCY, "5ms")


@pytest.mark.parametrize("text", ["1e300GiB", "1e400GiB"])
def test_a_number_that_its_unit_makes_endless_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match=rf"--memory-limit '{text}': expected a number above 0"):
        memory_limit(text)


def test_where_a_bare_number_will_do_it_says_so() -> None:
    with pytest.raises(BenchError, match="expected a number above 0 alone or with k, K, M, B"):
        amounts.amount("--max-parameters", "10X", amounts.COUNT, "10M")


@pytest.mark.parametrize(("text", "count"), [("8GiB", 2**33), ("0.2B", 1), (None, None)])
def test_a_limit_of_memory_is_whole_bytes(text: str | None, count: int | None) -> None:
    assert memory_limit(text) == count


def test_nothing_is_nothing() -> None:
    assert amounts.amount("--x", None, amounts.TIME, "1h") is None
