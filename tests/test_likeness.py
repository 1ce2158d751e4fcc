"""Which versions can be as they are elsewhere."""

import pytest

from bench.running import likeness
from bench.running.likeness import Package


def packages(**stated: str) -> dict[str, Package]:
    """``tf="2.20 board==2.20 dtypes>=1"``: a version, and requirements after it."""
    found = {}
    for name, text in stated.items():
        version, *requires = text.split()
        found[name] = Package(version, tuple(requires))
    return found


@pytest.mark.parametrize(
    ("there", "here", "fits"),
    [
        ({"a": "2"}, {"a": "1"}, {"a": "1"}),
        ({"a": "1"}, {"a": "1+cpu"}, {}),
        ({"a": "2+cpu"}, {"a": "1+cpu"}, {"a": "1"}),
        ({"a": "2"}, {"b": "1"}, {}),
        ({"tf": "2 a>=2", "a": "3"}, {"a": "1"}, {}),
        ({"tf": "2 a>=2", "a": "3"}, {"a": "2"}, {"a": "2"}),
        ({"a": "2", "b": "2"}, {"a": "1 b<2"}, {}),
        ({"a": "2", "b": "2"}, {"a": "1 b<2", "b": "1"}, {"a": "1", "b": "1"}),
        ({"a": "2"}, {"a": "1 gone"}, {}),
        # b must stay for tf's sake, so a must for b's; c is free.
        (
            {"tf": "2 b>=2", "a": "2", "b": "2", "c": "2"},
            {"a": "1 b<2", "b": "1", "c": "1"},
            {"c": "1"},
        ),
        ({"tf": "2 a[x]", "a": "2", "b": "2"}, {"b": "1"}, {"b": "1"}),
        ({"tf": "2 gone>1", "a": "2"}, {"a": "1"}, {"a": "1"}),
        ({"tf": "2 a", "a": "2"}, {"a": "1rc1"}, {"a": "1rc1"}),
    ],
)
def test_as_many_as_nothing_speaks_against(
    there: dict[str, str], here: dict[str, str], fits: dict[str, str]
) -> None:
    assert likeness.fitting(packages(**there), packages(**here)) == fits


def test_extras_that_are_asked_for_count() -> None:
    a = Package("2", ('b>=2; extra == "x"', 'c>=2; extra == "y"'))
    there = packages(tf="2 a[x]", b="2", c="2") | {"a": a}
    assert likeness.fitting(there, packages(b="1", c="1")) == {"c": "1"}
