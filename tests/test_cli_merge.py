"""``bench merge`` on the command line."""

from pathlib import Path

import pytest
from conftest import STACK, Bench, make_cost, make_dataset, make_result, make_spec, refused

from bench.records import TrialResult
from bench.running import store
from bench.tasks import Row


def trial(seed: int, **changes: object) -> TrialResult:
    return make_result(make_spec(seed=seed), **({"dataset": make_dataset()} | changes))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Seeds 0 to 2 and a cost of one machine, seeds 2 and 3 and a failure of another."""
    parts: dict[str, tuple[Row, ...]] = {
        "a": (trial(0), trial(1), trial(2), make_cost()),
        "b": (trial(2, seconds=9.0), trial(3), trial(0, status="failed", test_accuracy=None)),
    }
    for name, rows in parts.items():
        with store.writing(tmp_path / name) as held:
            for row in rows:
                held.append(row, None)
    return tmp_path / "a", tmp_path / "b"


def test_what_was_joined_is_listed(bench: Bench, folders: tuple[Path, Path]) -> None:
    (a, b), c = folders, folders[0].with_name("c")
    (a / store.SUITE).write_text("# one")
    (b / store.SUITE).write_text("# two")
    answer = bench("merge", a, b, "-o", c)
    assert answer.code == 0
    titles, _, one, two, _, last = answer.out.splitlines()
    assert titles.split() == ["folder", "stack", "rows", "taken", "same", "yielded", "earlier"]
    assert one.split() == [str(a), STACK.id, "4", "4", "0", "0", "0"]
    assert two.split() == [str(b), STACK.id, "3", "1", "1", "1", "0"]
    assert last == f"results: {c}"
    (note,) = answer.err.splitlines()
    assert note.startswith(f"bench: note: suite.toml: that of {a} is kept")


def test_a_merged_store_is_shown_as_that_of_one_run(
    bench: Bench, tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    assert bench("merge", *folders, "--output", tmp_path / "c").code == 0
    with store.writing(tmp_path / "whole") as held:
        for seed in range(4):
            held.append(trial(seed), None)
        held.append(make_cost(), None)
    shown, whole = bench("show", tmp_path / "c"), bench("show", tmp_path / "whole")
    assert shown.code == 0
    assert (shown.out, shown.err) == (whole.out, whole.err)
    assert "94.0" in shown.out


def test_contradictions_are_one_line_and_may_be_settled(
    bench: Bench, tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    a, b = folders
    with store.writing(b) as held:
        held.append(trial(1, test_accuracy=0.5), None)
    c = tmp_path / "c"
    said = refused(bench("merge", a, b, "-o", c))
    assert f"other results (1): {trial(1).spec.label} (key {trial(1).key}, {STACK.id})" in said
    assert f"test_accuracy 0.94 in {a}, 0.5 in {b}" in said
    assert "--prefer FOLDER" in said
    assert not c.exists()
    answer = bench("merge", a, b, "-o", c, "--prefer", b)
    assert answer.code == 0
    assert {r.test_accuracy for r in store.read(c).rows} == {0.94, 0.5}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("A", "-o", "NEW"), "expected two results folders or more"),
        (("A", "A", "-o", "NEW"), "named twice"),
        (("A", "B"), "--output"),
        (("A", "B", "-o", "A"), "which is merged: expected a new folder"),
        (("A", "B", "-o", "NEW", "--prefer", "NEW"), "expected one of the folders to merge"),
        (("A", "gone", "-o", "NEW"), "gone: expected a results folder"),
    ],
)
def test_wrong_usage_is_one_line(
    bench: Bench, folders: tuple[Path, Path], words: tuple[str, ...], said: str
) -> None:
    new = folders[0].with_name("new")
    places = {"A": folders[0], "B": folders[1], "NEW": new}
    assert said in refused(bench("merge", *(places.get(word, word) for word in words)))
    assert not new.exists()
