"""The generated store, its report, and that four times the rows are four times the work."""

import cProfile
import pstats
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import NOWHERE

from bench import suite
from bench.analysis import answer, evidence, results
from bench.analysis.compare import compare
from bench.analysis.margins import Rules
from bench.errors import BenchError
from bench.reporting import tables
from bench.running import runner, store
from benchmarks import large_store
from benchmarks.large_store import Report, Taken

ROWS, PART = 2_000, 4
AT_MOST = 1.2 * PART
"""Calls for so many times as many rows, over calls for as many; a square would be 4 times that."""


@dataclass(frozen=True)
class Stores:
    """A suite, and two folders of rows for it, the second better in some."""

    suite: Path
    folders: tuple[Path, Path]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stores, Stores]:
    """The first quarter of the rows, and all."""
    folder = tmp_path_factory.mktemp("many")
    file = folder / "many.toml"
    file.write_text(large_store.suite_text(ROWS))
    for i, name in enumerate("AB"):
        lines = large_store.generate(file, folder / "all" / name, ROWS, 0.05 * i)
        part = folder / "part" / lines.relative_to(folder / "all")
        part.parent.mkdir(parents=True)
        part.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[: ROWS // PART]))
    few, every = (
        Stores(file, (folder / name / "A" / "many", folder / name / "B" / "many"))
        for name in ("part", "all")
    )
    return few, every


def test_every_trial_of_the_suite_has_its_row(stores: tuple[Stores, Stores]) -> None:
    whole = stores[1]
    rows = store.read(whole.folders[0]).rows
    trials = suite.load(whole.suite).trials[:ROWS]
    assert len({row.key for row in rows}) == ROWS
    assert [row.key for row in rows] == [trial.key for trial in trials]
    assert all(row.key == row.spec.key for row in rows[::97])
    assert {bool(row.phase2) == bool(row.spec.phase2) for row in rows} == {True}


def show(made: Stores) -> None:
    assert tables.document(store.read(made.folders[0]).rows, "console", ())


def compared(made: Stores) -> None:
    a, b = (next(iter(results.read(folder).values())) for folder in made.folders)
    assert compare(a, b, Rules(), ("A", "B")).findings


def answered(made: Stores) -> None:
    """As for a report."""
    assert len(answer.of(evidence.read([made.folders[0]]))) == 5


def resumed(made: Stores) -> None:
    """A run that finds every trial settled."""
    rows = store.read(made.folders[0]).rows
    engine, listener = Mock(stack=rows[0].stack), Mock()
    with store.writing(made.folders[0]) as held:
        assert runner.run([row.spec for row in rows], held, engine, listener).measured == ()
    engine.execute.assert_not_called()


@pytest.mark.parametrize("work", [show, compared, answered, resumed], ids=lambda f: f.__name__)
def test_four_times_the_rows_are_four_times_the_work(
    stores: tuple[Stores, Stores], work: Callable[[Stores], None]
) -> None:
    """Counted are calls, not seconds: the machine may be busy."""
    work(stores[0])  # what is imported late is no work
    few, every = (calls(work, made) for made in stores)
    assert few > ROWS  # else nothing was counted
    assert every <= AT_MOST * few


def calls(work: Callable[[Stores], None], made: Stores) -> int:
    """How many function calls it makes, those of built-in functions included."""
    profile = cProfile.Profile()
    profile.runcall(work, made)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_a_report_names_what_took_too_long_or_too_much(tmp_path: Path) -> None:
    taken = Taken(seconds=30, first_word=3, peak_bytes=10**9, read_bytes=5 * 10**8, pass_seconds=5)
    report = Report(
        command="python -m benchmarks.large_store",
        measured_at="2026-01-01T00:00:00+00:00",
        rows=100_000,
        taken={"show": taken},
        environment=NOWHERE,
    )
    assert report.beyond == []
    assert "30 s" in large_store.document(report, "github")
    assert "6.0" in large_store.document(report, "github")
    limit = large_store.LIMITS["show"]
    slow = taken.model_copy(update={"seconds": 5 * limit.passes + 1})
    large = taken.model_copy(update={"peak_bytes": 10**5 * (int(limit.row_bytes) + 1)})
    assert len(report.model_copy(update={"taken": {"show": slow}}).beyond) == 1
    assert "bytes a row" in report.model_copy(update={"taken": {"show": large}}).beyond[0]
    file = tmp_path / "r.json"
    file.write_text(report.model_dump_json())
    assert large_store.read(file) == report
    with pytest.raises(BenchError, match=r"expected a file of benchmarks\.large_store"):
        large_store.read(tmp_path / "none.json")
