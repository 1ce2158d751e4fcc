"""Every case of bad input: one message that names thing and remedy, exit 2, nothing written."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, refused

from . import table
from .cases import Accepted, Case
from .running import Outcome, run, run_apart
from .table import name

CASES = [c for c in table.every() if isinstance(c, Case)]
ACCEPTED = [c for c in table.every() if isinstance(c, Accepted)]


@pytest.fixture(scope="session")
def page() -> list[str]:
    return table.PAGE.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="session")
def apart() -> dict[str, Outcome]:
    """What became of the cases that need Keras, all run in one process."""
    return run_apart(table.MODULES, [name(c) for c in table.every() if c.slow])


@pytest.fixture
def outcome(request: pytest.FixtureRequest, tmp_path: Path) -> Outcome:
    case: Case | Accepted = request.param
    if not case.slow:
        return run(case, tmp_path)
    found: dict[str, Outcome] = request.getfixturevalue("apart")
    return found[name(case)]


def with_outcomes(cases: list[Any]) -> pytest.MarkDecorator:
    """Each case beside what became of it."""
    pairs = [
        pytest.param(c, c, id=name(c), marks=[pytest.mark.slow] if c.slow else []) for c in cases
    ]
    return pytest.mark.parametrize(("case", "outcome"), pairs, indirect=["outcome"])


@with_outcomes(CASES)
def test_bad_input_is_refused_in_one_message(case: Case, outcome: Outcome, page: list[str]) -> None:
    said = outcome.err
    assert outcome.code == 2, (outcome.out, said)
    assert outcome.out == ""
    assert "Traceback" not in said
    assert said.startswith("bench: ")
    assert len(said.splitlines()) == 1, said
    for text in (*case.names, *case.remedy):
        assert text in said
    left = [p for p in outcome.changed if not (case.caches and p.startswith("cache/"))]
    assert left == []
    assert table.line(case, outcome) in page, "run python -m tests.bad_input.table"


@with_outcomes(ACCEPTED)
def test_odd_input_works_or_is_left_out_with_a_note(
    case: Accepted, outcome: Outcome, page: list[str]
) -> None:
    assert outcome.code == case.code, (outcome.out, outcome.err)
    said = outcome.out + outcome.err
    assert "Traceback" not in said
    for text in case.says:
        assert text in said
    assert table.line(case, outcome) in page, "run python -m tests.bad_input.table"


def test_there_are_many_cases_and_each_has_a_name_of_its_own() -> None:
    names = [name(case) for case in (*CASES, *ACCEPTED)]
    assert len(set(names)) == len(names)
    assert len(CASES) >= 130
    assert all(case.names and case.remedy for case in CASES)
    assert all(case.says for case in ACCEPTED)


def test_the_page_holds_no_case_that_is_gone(page: list[str]) -> None:
    rows = [row for row in page if row.startswith("| ") and not row.startswith("| case |")]
    assert len(rows) == len(CASES) + len(ACCEPTED)
    assert f"{len(CASES)} cases are refused." in page


@pytest.mark.parametrize("words", [["--debug", "run", "x.toml"], ["run", "x.toml", "--debug"]])
def test_debug_shows_where_the_error_was_found(bench: Bench, words: list[str]) -> None:
    answer = bench(*words)
    assert answer.code == 2
    *trace, last = answer.err.splitlines()
    assert trace[0].startswith("Traceback")
    assert any("bench/toml_file.py" in where for where in trace)
    assert last.startswith("bench: x.toml: expected a file that exists")
    assert refused(bench("run", "x.toml")) == last
