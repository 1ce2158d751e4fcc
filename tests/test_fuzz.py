"""Anything at all in a file that Bench reads: a BenchError at the worst, and soon.

The cases are the same at every run, in about ten seconds. ``BENCH_FUZZ=100`` looks at so many times
as many, other ones each time.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import SUITE, make_cost, make_numerics, make_probe, make_result, make_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import suite
from bench.analysis import margins
from bench.analysis.margins import Rules
from bench.errors import BenchError, StoreError
from bench.records import Freeze, TrialResult
from bench.running import store
from bench.tasks import Row

ROOT = Path(__file__).parents[1]
TIMES = int(os.environ.get("BENCH_FUZZ") or 0)


def fuzzed(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples * max(1, TIMES),
        derandomize=not TIMES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# ------------------------------------------------------------------- anything that TOML can say

KEYS = st.sampled_from(
    [*re.findall(r"^(\w+) =", SUITE, re.M), "train", "over", "of", "layers", "all", "é", ""]
) | st.text(max_size=6)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**63 - 1, -(2**63), 2**64, 10**300, 1e308, -1e308, 0, -0.0, 1, 2])
)
TEXTS = st.sampled_from(["digits", "linear", "all", "scratch", "none", "imagenet", "x.h5", "(a"])
LEAVES = st.one_of(NUMBERS, st.booleans(), st.text(max_size=12), TEXTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
REAL = {
    path.stem: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "suites").rglob("*.toml"))
    if path.stat().st_size < 20_000
}
REAL_RULES: dict[str, Any] = {
    "level": 0.95,
    "gate": ["accuracy"],
    "margins": {"accuracy": 0.01, "latency": 0.1},
}


def toml(value: Any) -> str:
    """A value as TOML says it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return re.sub(r"\\ud[89a-f]..", "?", json.dumps(value)).replace("\x7f", "")


def document(content: Mapping[str, Any]) -> bytes:
    """A file: each key at the top on a line of its own."""
    return "\n".join(f"{json.dumps(k)} = {toml(v)}" for k, v in content.items()).encode(
        "utf-8", "replace"
    )


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a document."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [here, *(p for k, v in inside for p in places(v, (*here, k)))]


def put(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy with the value there."""
    if not place:
        return value
    first, *rest = place
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[first] = put(content[first], tuple(rest), value)
    return copy


@st.composite
def mutated(draw: st.DrawFn, real: list[dict[str, Any]]) -> bytes:
    """A real document in which up to three values are others, are gone, or stand elsewhere."""
    content: Any = draw(st.sampled_from(real))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(content)[1:] or [()]))
        kind = draw(st.sampled_from(["put", "put", "drop", "add", "swap"]))
        if kind == "put" or not place:
            content = put(content, place, draw(VALUES)) if place else content
        elif kind == "swap":
            other = content
            for step in draw(st.sampled_from(places(content))):
                other = other[step]
            content = put(content, place, other)
        else:
            holder = content
            for step in place[:-1]:
                holder = holder[step]
            if isinstance(holder, dict):
                changed = {k: v for k, v in holder.items() if kind == "add" or k != place[-1]}
                changed |= {draw(KEYS): draw(VALUES)} if kind == "add" else {}
                content = put(content, place[:-1], changed)
    return document(content)


@st.composite
def torn(draw: st.DrawFn, texts: list[bytes]) -> bytes:
    """A real file in which bytes came, went, changed or stand elsewhere."""
    content = bytearray(draw(st.sampled_from(texts)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["cut", "insert", "repeat", "flip", "end"]))
        if kind == "cut":
            del content[start:end]
        elif kind == "insert":
            content[start:start] = draw(st.binary(max_size=20) | st.sampled_from(JUNK))
        elif kind == "repeat":
            content[start:start] = content[start:end]
        elif kind == "flip" and start < len(content):
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "end":
            del content[start:]
    return bytes(content)


JUNK = [
    b"[" * 200,
    b"{a=" * 100,
    b"\xff\xfe",
    b"\0",
    b"'''",
    b"\n[[x]]\n",
    b"9" * 5000,
    b"=",
    b"\n",
]


def done(what: Callable[[], Any]) -> tuple[Any, str]:
    """What came of it, or the message that it was refused with; every other error is a fault."""
    try:
        return what(), ""
    except BenchError as error:
        return None, str(error)


def loaded(place: Path, content: bytes) -> suite.Suite | None:
    path = place / "my.toml"
    path.write_bytes(content)
    found: suite.Suite | None
    found, message = done(lambda: suite.load(path))
    if found is None:
        assert str(path) in message
        assert len(message) < 5000
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@fuzzed(150)
@given(content=mutated(list(REAL.values())))
def test_a_suite_with_other_values_is_a_suite_or_an_error_of_ours(
    place: Path, content: bytes
) -> None:
    found = loaded(place, content)
    if found is not None:
        assert 1 <= len(found.trials) <= 4 * suite.MOST_TRIALS
        keys = [trial.key for trial in found.trials]
        assert len(set(keys)) == len(keys)


@fuzzed(150)
@given(content=torn([document(c) for c in REAL.values()] + [SUITE.encode()]) | st.binary())
def test_a_suite_of_other_bytes_is_a_suite_or_an_error_of_ours(place: Path, content: bytes) -> None:
    loaded(place, content)


@fuzzed(60)
@given(key=st.text(max_size=8) | st.sampled_from(["phase1.epochs", "matrix.seeds"]), value=VALUES)
def test_a_change_on_the_command_line_is_taken_or_an_error_of_ours(
    place: Path, key: str, value: Any
) -> None:
    path = place / "changed.toml"
    path.write_text(SUITE)
    change = f"{key}={toml(value)}"
    found, message = done(lambda: suite.load(path, changes=[change]))
    assert found or "--set" in message


@fuzzed(120)
@given(content=mutated([REAL_RULES]) | torn([document(REAL_RULES)]))
def test_margins_of_any_kind_are_rules_or_an_error_of_ours(place: Path, content: bytes) -> None:
    path = place / "margins.toml"
    path.write_bytes(content)
    rules, message = done(lambda: margins.load(path))
    if rules is None:
        assert str(path) in message
        return
    assert isinstance(rules, Rules)
    assert 0.5 <= rules.level < 1
    assert all(0 < share < 1 for share in rules.margins.model_dump().values())


CLAIMS = {
    "text": "t", "source": "s", "quantity": "accuracy", "low": 0.9, "high": 0.95,
    "of": {"freeze": "head_only"}, "margin": 0.01, "train_pictures": 100,
}  # fmt: skip


@fuzzed(120)
@given(content=mutated([tomllib.loads(SUITE) | {"claims": [CLAIMS]}]))
def test_claims_of_any_kind_are_claims_or_an_error_of_ours(place: Path, content: bytes) -> None:
    found = loaded(place, content)
    for claim in found.claims if found else ():
        assert claim.low <= claim.high
        assert claim.near_enough >= 0


# -------------------------------------------------------------------------------------- the store

TRIALS = tuple(
    make_result(make_spec(Freeze(strategy=strategy), seed), seconds=float(seed + 1))
    for strategy in ("head_only", "all")
    for seed in range(3)
)
LINES = [store.line(row) for row in TRIALS]
OTHERS: dict[str, Row] = {
    store.COSTS: make_cost(),
    store.NUMERICS: make_numerics(),
    store.PROBES: make_probe(),
}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, set[bytes]]:
    """Lines of a store, some of them torn, spliced or flipped; and those that are whole."""
    order = draw(st.permutations(range(len(LINES))))
    parts: list[bytes] = []
    whole: set[bytes] = set()
    for i in order:
        kind = draw(st.sampled_from(["whole", "whole", "torn", "bytes", "twice", "blank", "junk"]))
        text = LINES[i]
        if kind in ("whole", "twice"):
            whole.add(text)
            parts += [text] * (1 + (kind == "twice"))
        elif kind == "torn":
            parts.append(text[: draw(st.integers(0, len(text) - 2))] + b"\n")
        elif kind == "bytes":
            parts.append(draw(torn([text])).replace(b"\n", b"") + b"\n")
        elif kind == "junk":
            parts.append(draw(st.binary(max_size=60) | st.sampled_from(JUNK)) + b"\n")
        else:
            parts.append(b"\n")
    if draw(st.booleans()):
        parts.append(LINES[0][: draw(st.integers(1, len(LINES[0]) - 2))])
    return b"".join(parts), whole


def kept(folder: Path, content: bytes, name: str = store.TRIALS) -> Path:
    file = folder / TRIALS[0].stack.id / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@fuzzed(150)
@given(given_=damaged())
def test_whole_lines_of_a_damaged_store_survive(
    place: Path, given_: tuple[bytes, set[bytes]]
) -> None:
    content, whole = given_
    kept(place / "read", content)
    contents, message = done(lambda: store.read(place / "read"))
    if contents is None:
        assert "newer version" in message
        return
    found = {row.key: row for row in contents.rows}
    for text in whole:
        row = store.parse_line(text)
        assert found[row.key] == row
    assert {row.key for row in contents.rows} <= {row.key for row in TRIALS}
    # A line that is not one of ours to the bit is never taken for a result.
    assert all(row in TRIALS for row in contents.rows)


@fuzzed(60)
@given(given_=damaged())
def test_a_damaged_store_can_be_written_on_and_loses_no_line(
    place: Path, given_: tuple[bytes, set[bytes]]
) -> None:
    content, whole = given_
    file = kept(place / "written", content)
    new = make_result(make_spec(seed=99))

    def write() -> bool:
        with store.writing(file.parents[1]) as held:
            held.append(new, None)
        return True

    written, message = done(write)
    if not written:
        assert "newer version" in message
        assert file.read_bytes() == content
        return
    lines = set(file.read_bytes().splitlines(keepends=True))
    assert whole <= lines
    assert store.line(new) in lines
    assert new in store.read(file.parents[1]).rows


@fuzzed(60)
@given(
    name=st.sampled_from(sorted(store.KINDS)), other=st.sampled_from(sorted(OTHERS)), data=st.data()
)
def test_a_line_of_any_kind_is_a_row_or_no_row(name: str, other: str, data: st.DataObject) -> None:
    text = data.draw(torn([store.line(OTHERS[other]), *LINES[:1]]) | st.binary())
    try:
        row = store.parse_line(text, store.KINDS[name])
    except (ValueError, StoreError):
        return
    assert row in (*TRIALS, *OTHERS.values())
    assert isinstance(row, store.KINDS[name])


@fuzzed(40)
@given(value=VALUES, field=st.sampled_from(sorted(TrialResult.model_fields)))
def test_a_row_of_an_older_version_with_other_values_is_a_row_or_reported(
    place: Path, value: Any, field: str
) -> None:
    """Without a checksum: the values themselves are judged."""
    content = {"format": 1} | json.loads(TRIALS[0].model_dump_json()) | {field: value}
    kept(place / "old", json.dumps(content).encode() + b"\n" + LINES[1])
    contents = store.read(place / "old")
    assert TRIALS[1] in contents.rows
    assert len(contents.rows) + len(contents.problems) >= 1
