"""Merging: what one store of several holds, what contradicts itself, and that it is whole."""

import errno
import json
import re
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from conftest import (
    NOWHERE,
    STACK,
    make_cost,
    make_dataset,
    make_numerics,
    make_phase,
    make_probe,
    make_result,
    make_spec,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError, StoreError, StoreLockedError
from bench.records import Backbone, Freeze, Guard, TrialResult, WeightsUsed
from bench.running import agreeing, appending, merge_output, merging, store
from bench.tasks import Row

OTHER = STACK.model_copy(update={"backend_version": "2.22.0"})
LATER: dict[str, Any] = {"started_at": "2026-02-02T00:00:00+00:00", "seconds": 7.0}


def put(folder: Path, *rows: Row) -> Path:
    """A results folder of these rows, without the store's flushes."""
    for row in rows:
        name = next(n for n, kind in store.KINDS.items() if isinstance(row, kind))
        append(folder / row.stack.id / name, store.line(row))
    return folder


def append(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as stream:
        stream.write(content)


def trial(seed: int = 0, **changes: Any) -> TrialResult:
    return make_result(make_spec(seed=seed), **({"dataset": make_dataset()} | changes))


def failed(seed: int = 0, **changes: Any) -> TrialResult:
    return trial(seed, **({"status": "failed", "test_accuracy": None, "phase2": None} | changes))


def held(folder: Path) -> set[tuple[str, bytes]]:
    """Every line of a store, with its place."""
    return {
        (file.relative_to(folder).as_posix(), line)
        for file in folder.rglob("*.jsonl")
        for line in file.read_bytes().splitlines()
    }


def counted(merged: merging.Merged) -> list[tuple[int, ...]]:
    return [(c.rows, c.taken, c.same, c.yielded, c.earlier) for c in merged.counts]


def refusal(*folders: Path, prefer: Path | None = None) -> str:
    """What is said of folders that contradict each other; nothing is written then."""
    output = folders[0].parent / "merged"
    with pytest.raises(BenchError) as raised:
        merging.merge(folders, output, prefer)
    assert {p.name for p in output.parent.iterdir()} == {f.name for f in folders}
    said = str(raised.value)
    assert "\n" not in said
    return said


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return tmp_path / "a"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return tmp_path / "b"


@pytest.fixture
def c(tmp_path: Path) -> Path:
    return tmp_path / "c"


# ------------------------------------------------------------------------------ what it holds


def test_two_halves_read_as_one_run(tmp_path: Path, a: Path, b: Path, c: Path) -> None:
    rows = [trial(seed) for seed in range(4)]
    costs = [make_cost(started_at=f"2026-01-0{n}T00:00:00+00:00") for n in (1, 2)]
    one: list[Row] = [*rows[:2], costs[0], make_numerics(), make_probe()]
    two: list[Row] = [*rows[2:], costs[1], trial(0, stack=OTHER)]
    put(a, *one)
    put(b, *two)
    merged = merging.merge([a, b], c)
    assert store.read(c) == store.read(put(tmp_path / "whole", *one, *two))
    assert held(c) == held(a) | held(b)
    assert counted(merged) == [(5, 5, 0, 0, 0), (3, 3, 0, 0, 0), (1, 1, 0, 0, 0)]
    assert [(n.folder, n.place.as_posix()) for n in merged.counts] == [
        (a, STACK.id),
        (b, STACK.id),
        (b, OTHER.id),
    ]
    assert merged.notes == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c", "whole"]
    assert sorted(p.name for p in c.iterdir()) == sorted([STACK.id, OTHER.id])


def test_a_merged_store_is_written_on(a: Path, b: Path, c: Path) -> None:
    merging.merge([put(a, trial(0)), put(b, trial(1))], c)
    with store.writing(c) as writer:
        assert writer.notes == []
        assert len(writer.settled(STACK)) == 2
        writer.append(trial(2), None)
    assert len(store.read(c).rows) == 3


POOL = (
    *(trial(seed) for seed in range(3)),
    *(failed(seed, reason="no room") for seed in range(3)),
    *(make_cost(elsewhere=share) for share in (0.0, 0.01, 0.02)),
    make_numerics(),
    make_numerics(status="timeout", passes=(), probes=(), sizes=()),
    make_probe(),
    trial(0, stack=OTHER),
)
PARTS = st.lists(st.sampled_from(POOL), min_size=1, max_size=6)


def of(folders: Sequence[Path], output: Path) -> Path:
    merging.merge(folders, output)
    return output


@settings(max_examples=20)
@given(PARTS, PARTS, PARTS)
def test_neither_order_nor_grouping_matters(one: Any, two: Any, three: Any) -> None:
    with tempfile.TemporaryDirectory() as place, mock.patch("os.fsync"):
        here = Path(place)
        x, y, z = (put(here / n, *rows) for n, rows in zip("xyz", (one, two, three), strict=True))
        whole = held(of([x, y, z], here / "xyz"))
        assert held(of([z, x, y], here / "zxy")) == whole
        assert held(of([of([x, y], here / "xy"), z], here / "xy-z")) == whole
        assert held(of([x, of([z, y], here / "zy")], here / "x-zy")) == whole
        assert held(of([here / "xyz", z], here / "again")) == whole
        last = [{(r.stack.id, r.key): r for r in part} for part in (one, two, three)]
        for (stack, key), row in {k: r for part in last for k, r in part.items()}.items():
            theirs = [part[stack, key] for part in last if (stack, key) in part]
            if not isinstance(row, type(POOL[6])):
                stands = next((r for r in theirs if r.status in store.SETTLED), theirs[0])
                assert any(line == store.line(stands).rstrip() for _, line in whole)
        costs = {store.line(r).rstrip() for r in (*one, *two, *three) if r in POOL[6:9]}
        assert {line for file, line in whole if file.endswith(store.COSTS)} == costs


def test_the_same_result_measured_twice_is_kept_of_the_first(a: Path, b: Path, c: Path) -> None:
    machine = NOWHERE.model_copy(update={"processor": "another"})
    mine = trial(environment=NOWHERE)
    put(a, mine)
    put(b, trial(environment=machine, way="shared", test_loss=0.2000001, **LATER))
    assert counted(merging.merge([a, b], c)) == [(1, 1, 0, 0, 0), (1, 0, 1, 0, 0)]
    assert store.read(c).rows == (mine,)


@pytest.mark.parametrize("status", ["failed", "timeout", "out_of_memory"])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_settled_yields(a: Path, b: Path, c: Path, status: str, turned: bool) -> None:
    # It may have seen other pictures: it claims nothing of them.
    put(a, failed(status=status, dataset=make_dataset("0" * 64)), failed(1, status=status))
    put(b, trial(), failed(1, status=status, reason="of b"))
    folders = [b, a] if turned else [a, b]
    merged = merging.merge(folders, c)
    first, second = store.read(c).rows
    assert first == trial()
    assert second.reason == ("of b" if turned else "")
    assert sum(n.yielded for n in merged.counts) == 1
    assert sum(n.same for n in merged.counts) == 1


def test_of_several_rows_in_a_folder_the_last_counts(a: Path, b: Path, c: Path) -> None:
    put(a, trial(test_accuracy=0.5), trial())
    put(b, trial(1), failed(1, reason="later"))
    merged = merging.merge([a, b], c)
    assert counted(merged) == [(2, 1, 0, 0, 1), (2, 1, 0, 0, 1)]
    assert store.read(c).rows == (trial(), failed(1, reason="later"))


def test_rows_stay_in_the_order_first_measured(a: Path, b: Path, c: Path) -> None:
    put(a, failed(), trial(1), trial())
    put(b, trial(2))
    merging.merge([a, b], c)
    keys = [row.key for row in store.read(a).rows]
    assert [row.key for row in store.read(c).rows] == [*keys, trial(2).key]


def test_costs_are_all_kept_and_each_once(a: Path, b: Path, c: Path) -> None:
    first, second, third = (make_cost(started_at=f"2026-01-0{n}") for n in (1, 2, 3))
    put(a, first, second, second)
    put(b, second, third)
    laid_out = json.dumps(json.loads(store.line(first)), separators=(",", ":")).encode() + b"\n"
    append(b / STACK.id / store.COSTS, laid_out)
    merged = merging.merge([a, b], c)
    assert (c / STACK.id / store.COSTS).read_bytes() == b"".join(
        map(store.line, (first, second, third))
    )
    (cost,) = store.read(c).costs
    assert cost.runs == 3
    assert counted(merged) == [(3, 2, 0, 0, 1), (3, 1, 2, 0, 0)]
    assert merged.notes == ()


def test_costs_of_several_processors_are_told(a: Path, b: Path, c: Path) -> None:
    for folder, processor in ((a, "one"), (b, "another")):
        machine = NOWHERE.model_copy(update={"processor": processor})
        put(folder, make_cost(environment=machine))
    (note,) = merging.merge([a, b], c).notes
    assert "costs of 1 workload were measured on different processors (another, one)" in note


def test_roots_keep_what_lies_where(tmp_path: Path, a: Path, b: Path, c: Path) -> None:
    put(a / "small", trial())
    put(a / "large", trial(test_accuracy=0.5))
    put(b / "large", trial(1))
    put(b / "stacks" / "small" / "new", trial(2))
    for folder in ("small", "large"):
        (a / folder / store.SUITE).write_text(folder)
    (b / "stacks" / "small" / "new" / "stack.json").write_text("{}")
    merged = merging.merge([a, b], c)
    assert held(c) == held(a) | held(b)
    assert (c / "large" / store.SUITE).read_text() == "large"
    assert (c / "stacks" / "small" / "new" / "stack.json").read_text() == "{}"
    assert {n.place.parent.as_posix() for n in merged.counts} == {
        "small",
        "large",
        "stacks/small/new",
    }
    assert merged.notes == ()


def test_an_empty_folder_and_one_deep_down_will_do(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    c.mkdir()
    merging.merge([a, b], c)
    merging.merge([a, b], c.parent / "new" / "deep")
    assert held(c) == held(c.parent / "new" / "deep") == held(a) | held(b)


def test_rows_are_held_in_outline(
    a: Path, b: Path, c: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_output, "_BLOCK", 1 << 16)
    for start, folder in ((0, a), (100, b)):
        put(folder, *(trial(seed, reason="x" * 30_000) for seed in range(start, start + 150)))
    size = sum(f.stat().st_size for folder in (a, b) for f in folder.rglob("*.jsonl"))
    tracemalloc.start()
    merged = merging.merge([a, b], c)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counted(merged) == [(150, 150, 0, 0, 0), (150, 100, 50, 0, 0)]
    assert peak < size / 8


# ------------------------------------------------------------------------------ contradictions

WEIGHTS = WeightsUsed(source="imagenet", sha256="1" * 64)
OTHERS = WeightsUsed(source="imagenet", sha256="2" * 64)
GROUND: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "other pictures": ({}, {"dataset": make_dataset("0" * 64)}, ("ffffffffffff", "000000000000")),
    "other weights": ({"weights": WEIGHTS}, {"weights": OTHERS}, ("111111111111", "222222222222")),
    "another protocol version": ({}, {"protocol": 2}, ("1", "2")),
}


@pytest.mark.parametrize("kind", GROUND)
@pytest.mark.parametrize("make", [trial, make_probe])
def test_rows_that_rest_on_other_ground_are_refused(a: Path, b: Path, kind: str, make: Any) -> None:
    one, two, values = GROUND[kind]
    row, other = make(**one), make(**(two | LATER))
    put(a, row)
    put(b, other)
    for prefer in (None, b):  # which goes for results alone
        said = refusal(a, b, prefer=prefer)
        assert said.startswith("nothing was merged: 1 row contradicts that of another folder: ")
        assert f"{kind} (1): {row.spec.label} (key {row.key}, {STACK.id}): " in said
        assert f" {values[0]} in {a}, {values[1]} in {b}; expected equal pictures" in said
        assert "leave one of the folders out" in said
        assert "--prefer" not in said


def test_random_weights_of_a_trial_are_no_ground(a: Path, b: Path, c: Path) -> None:
    spec = make_spec().model_copy(update={"backbone": Backbone(name="X", weights="random")})
    put(a, make_result(spec, weights=WEIGHTS))
    put(b, make_result(spec, weights=OTHERS))
    assert counted(merging.merge([a, b], c))[1] == (1, 0, 1, 0, 0)


SMALLER = make_phase(0.9, parameters=5)
RESULTS: dict[str, tuple[dict[str, Any], str]] = {
    "status": ({"status": "diverged"}, "status ok in A, diverged in B"),
    "accuracy": ({"test_accuracy": 0.93}, "test_accuracy 0.94 in A, 0.93 in B"),
    "marks": ({"test_correct": "//8="}, "test_correct //4= in A, //8= in B"),
    "parameters": ({"total_parameters": 7}, "total_parameters 2270794 in A, 7 in B"),
    "val": ({"phase2": make_phase(0.5, 1_200_000)}, "phase2.val_accuracy 0.95 in A, 0.5 in B"),
    "trainable": ({"phase1": SMALLER}, "phase1.trainable_parameters 12810 in A, 5 in B"),
    "freeze": (
        {"freeze_resolved": Freeze(strategy="from_layer", amount=3)},
        "freeze_resolved from_layer=2 in A, from_layer=3 in B",
    ),
    "guards": (
        {"guards": (Guard(name="loss_finite", passed=False, evidence="inf"),)},
        "guard loss_finite held in A, failed in B",
    ),
}


@pytest.mark.parametrize("what", RESULTS)
def test_other_results_are_refused_unless_one_is_preferred(
    a: Path, b: Path, c: Path, what: str
) -> None:
    changes, words = RESULTS[what]
    resolved = Freeze(strategy="from_layer", amount=2)
    fields: dict[str, Any] = {"test_correct": "//4=", "freeze_resolved": resolved}
    mine, yours = trial(**fields), trial(**(fields | changes))
    put(a, mine, trial(1))
    put(b, yours, trial(1, **LATER))
    said = refusal(a, b)
    assert words.replace(" A,", f" {a},").replace(" B", f" {b}") in said
    assert said.startswith("nothing was merged: 1 row contradicts")
    assert "name by --prefer FOLDER the one whose rows are to stand" in said
    merged = merging.merge([a, b], c, prefer=b)
    assert store.read(c).rows == (yours, trial(1))
    assert counted(merged) == [(2, 1, 0, 1, 0), (2, 1, 1, 0, 0)]
    other = c.with_name("d")
    merging.merge([a, b], other, prefer=other.parent / "." / "a")
    assert store.read(other).rows == (mine, trial(1))


def test_what_a_row_does_not_say_is_no_difference(a: Path, b: Path, c: Path) -> None:
    less, more = trial(test_correct=None, dataset=None, phase1=None), trial(weights=WEIGHTS)
    put(a, less)
    put(b, more)
    assert counted(merging.merge([a, b], c)) == [(1, 0, 1, 0, 0), (1, 1, 0, 0, 0)]
    assert store.read(c).rows == (more,), "what one of them says is not lost"


@pytest.mark.parametrize("passed", [True, False, None])
def test_guards_that_one_row_has_are_no_difference(
    a: Path, b: Path, c: Path, passed: bool | None
) -> None:
    of_both = trial().guards
    more = trial(guards=(Guard(name="newer", passed=False, evidence="fell"), *of_both))
    put(a, trial(guards=(*of_both, Guard(name="older", passed=passed, evidence="x"))))
    put(a, trial(1, guards=()), trial(2, guards=(Guard(name="g", passed=None, evidence="x"),)))
    put(b, more, trial(1), trial(2, guards=(Guard(name="g", passed=False, evidence="x"),)))
    merging.merge([a, b], c)
    first, *others = store.read(c).rows
    assert (first == more) == (passed is None), "it says more"
    assert [row.guards for row in others] == [row.guards for row in store.read(b).rows[1:]]


def unchecked(row: Row, **said: Any) -> bytes:
    """A line as older versions wrote it."""
    content = json.loads(store.line(row))
    del content["check"]
    return json.dumps(content | said).encode() + b"\n"


def test_of_rows_that_say_the_same_one_under_a_checksum_stands(a: Path, b: Path, c: Path) -> None:
    file = a / STACK.id / store.TRIALS
    append(file, unchecked(trial(), seconds=3.0) + unchecked(trial(1), test_correct="//4="))
    put(b, trial(seconds=5.0), trial(1))
    merging.merge([a, b], c)
    first, second = store.read(c).rows
    assert first.seconds == 5.0
    assert second.test_correct == "//4=", "what says more goes first"
    content = json.loads(store.line(trial(seconds=3.0)))
    file.write_text(json.dumps(content, separators=(",", ":")))
    merging.merge([a, b], c.with_name("d"))
    assert store.read(c.with_name("d")).rows[0].seconds == 3.0, "a line laid out anew has one, too"


def test_a_row_under_another_key_is_left_out_and_told(a: Path, b: Path, c: Path) -> None:
    file = a / STACK.id / store.TRIALS
    append(file, unchecked(trial(3)) + unchecked(trial(), key=trial(1).key))
    put(a, trial(2).model_copy(update={"key": trial(4).key}))  # whoever wrote this meant it
    put(b, trial(), trial(1, test_accuracy=0.1))
    merged = merging.merge([a, b], c)
    (note,) = merged.notes
    assert note.startswith(f"{file}:2: left out, its key is not that of what it says was measured")
    assert counted(merged) == [(2, 2, 0, 0, 0), (2, 2, 0, 0, 0)]
    assert store.read(c).rows[2:] == store.read(b).rows


def test_the_first_few_of_each_kind_are_named_and_all_counted(a: Path, b: Path) -> None:
    put(a, *(trial(seed) for seed in range(12)))
    put(b, *(trial(seed, dataset=make_dataset("0" * 64)) for seed in range(2)))
    put(b, *(trial(seed, test_accuracy=0.1) for seed in range(2, 10)), trial(10), trial(99))
    said = refusal(a, b)
    assert "10 rows contradict" in said
    assert "other pictures (2): " in said
    assert "other results (8): " in said
    assert said.count("(key ") == 5
    assert "; 5 more; expected equal pictures" in said
    assert "other results" not in refusal(a, b, prefer=a)


def test_a_difference_says_what_may_be_behind_it(a: Path, b: Path) -> None:
    reason = "for the same suite, stack and processor, with 2 threads"
    put(a, trial(reruns="equal", reruns_reason=reason, environment=NOWHERE))
    put(b, trial(reruns="not promised", reruns_reason="it is so", test_accuracy=0.1))
    said = refusal(a, b)
    assert f"({a}: reruns equal, {reason}, a processor; {b}: reruns not promised, it is so)" in said


def test_a_preferred_folder_without_the_row_settles_nothing(a: Path, b: Path, c: Path) -> None:
    put(a, trial(1), failed())
    put(b, trial())
    put(c, trial(test_accuracy=0.1))
    assert f"test_accuracy 0.94 in {b}, 0.1 in {c}" in refusal(a, b, c, prefer=a)
    merging.merge([a, b, c], c.parent / "d", prefer=c)
    assert store.read(c.parent / "d").rows[1].test_accuracy == 0.1


def test_ground_is_looked_at_between_all_and_before_results(a: Path, b: Path, c: Path) -> None:
    put(a, trial(dataset=None, test_accuracy=0.1))
    put(b, trial())
    put(c, trial(dataset=make_dataset("0" * 64)))
    said = refusal(a, b, c, prefer=a)
    assert f"pictures ffffffffffff in {b}, 000000000000 in {c}" in said


def numerics(shift: float) -> Row:
    row = make_numerics()
    moved = row.passes[0].model_copy(update={"norms": (1.0, 2.0, 3.0, 4.0 + shift), "seconds": 9.0})
    return row.model_copy(update={"passes": (moved, *row.passes[1:]), "seconds": 1.0})


def test_fingerprints_are_equal_to_the_last_digit_or_refused(a: Path, b: Path, c: Path) -> None:
    put(a, make_numerics())
    put(b, numerics(0.0))
    put(c, numerics(1e-12))
    merging.merge([a, b], c.parent / "d")
    assert store.read(c.parent / "d").numerics == (make_numerics(),)
    assert re.search(r"graph norms \(.*\) in \S+, digest [0-9a-f]{12} in", refusal(*_moved(a, c)))


def _moved(a: Path, c: Path) -> tuple[Path, Path]:
    place = a.parent / "apart"
    place.mkdir()
    return a.rename(place / "a"), c.rename(place / "c")


@pytest.mark.parametrize("changes", [{"linear": (0.8, 0.82, 0.9)}, {"knn": 0.0}, {"width": 7}])
def test_probes_are_held_against_each_other(a: Path, b: Path, changes: Any) -> None:
    put(a, make_probe())
    put(b, make_probe(**changes))
    assert f"other results (1): {make_probe().spec.label}" in refusal(a, b)


def test_costs_do_not_contradict_each_other() -> None:
    one, two = make_cost(), make_cost(status="failed", device=None, protocol=2)
    assert agreeing.difference(one, two) is None
    assert agreeing.brief(one) == agreeing.brief(two)


def test_the_same_name_for_other_pictures_is_told(a: Path, b: Path, c: Path) -> None:
    put(a, trial(weights=WEIGHTS))
    put(b, trial(1, dataset=make_dataset("0" * 64), weights=OTHERS))
    put(b, trial(2, dataset=make_dataset("0" * 64), weights=OTHERS, stack=OTHER))
    pictures, weights = merging.merge([a, b], c).notes
    assert pictures.startswith("once the same name stands for other pictures in another folder")
    assert f"ffffffffffff in {a}, 000000000000 in {b}" in pictures
    assert "stands for other weights" in weights


# -------------------------------------------------------------------------- what is left out


def test_damaged_lines_are_left_out_and_told(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    file = a / STACK.id / store.TRIALS
    append(file, store.line(trial(1)).replace(b"0.94", b"0.99"))
    append(file, b"\r\n\n" + store.line(trial(2)).replace(b"\n", b"\r\n"))
    append(file, store.line(trial(3)).rstrip(b"\n"))  # whole, though nothing ends it
    put(b, trial(4))
    append(b / STACK.id / store.TRIALS, store.line(trial(5))[:200])
    merged = merging.merge([a, b], c)
    expected = b"".join(store.line(trial(seed)) for seed in (0, 2, 3, 4))
    assert (c / STACK.id / store.TRIALS).read_bytes() == expected
    one, two = merged.notes
    assert f"{file}:2: left out, damaged, or edited by hand" in one
    assert "trials.jsonl:2: left out, not a whole row" in two
    assert counted(merged) == [(3, 3, 0, 0, 0), (1, 1, 0, 0, 0)]


def test_of_many_damaged_lines_some_are_told(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    append(a / STACK.id / store.TRIALS, b"garbage\n" * 12)
    *first, last = merging.merge([a, put(b, trial(1))], c).notes
    assert len(first) == 5
    assert last == f"7 more lines of {a} are left out; bench show tells of damaged ones"


def test_a_row_of_a_newer_bench_is_refused(a: Path, b: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    append(b / STACK.id / store.TRIALS, b'{"format": 2, "key": 1}\n')
    assert f"{b / STACK.id / store.TRIALS}:2: written by a newer version" in refusal(a, b)


def predicted(folder: Path, row: TrialResult) -> Path:
    """A row with its predictions, whose file is given."""
    put(folder, row.model_copy(update={"predictions": f"predictions/{row.key}.npz"}))
    file = folder / STACK.id / store.PREDICTIONS / f"{row.key}.npz"
    file.parent.mkdir(exist_ok=True)
    np.savez(file, probabilities=np.eye(3), labels=np.arange(3))
    return file


def test_predictions_come_along_with_their_row(a: Path, b: Path, c: Path) -> None:
    kept = [predicted(a, trial()), predicted(b, trial(1))]
    predicted(b, trial(**LATER))  # the row of which does not stand
    (b / STACK.id / store.PREDICTIONS / "orphan.npz").write_bytes(b"x")
    assert merging.merge([a, b], c).notes == ()
    found = {p.name: p.read_bytes() for p in (c / STACK.id / store.PREDICTIONS).iterdir()}
    assert found == {p.name: p.read_bytes() for p in kept}
    assert all((c / STACK.id / str(r.predictions)).is_file() for r in store.read(c).rows)


def test_missing_and_damaged_predictions_are_told(a: Path, b: Path, c: Path) -> None:
    predicted(a, trial()).unlink()
    predicted(a, trial(1)).unlink()
    predicted(b, trial(2)).write_bytes(b"PK\x03\x04")
    damaged, missing = sorted(merging.merge([a, b], c).notes, reverse=True)
    assert f"{trial(2).key}.npz: stored predictions that cannot be read" in damaged
    assert damaged.startswith("left out: ")
    assert "2 rows lack their stored predictions, the first " in missing
    assert missing.endswith("; rows and their numbers stand without")
    assert len(store.read(c).rows) == 3
    assert not list(c.rglob("*.npz"))


def test_predictions_are_taken_from_whoever_has_them(a: Path, b: Path, c: Path) -> None:
    predicted(a, trial()).write_bytes(b"rotten")
    predicted(b, trial())
    assert merging.merge([a, b], c).notes == ()
    assert len(list(c.rglob("*.npz"))) == 1


def test_of_rows_that_say_the_same_one_with_predictions_stands(a: Path, b: Path, c: Path) -> None:
    put(a, trial(seconds=3.0))
    predicted(a, trial(1)).unlink()
    kept = [predicted(b, trial(seed, **LATER)) for seed in (0, 1)]
    assert merging.merge([a, b], c).notes == ()
    assert [row.seconds for row in store.read(c).rows] == [7.0, 7.0]
    assert sorted(p.name for p in c.rglob("*.npz")) == sorted(p.name for p in kept)


def test_the_same_row_is_taken_from_the_first_whoever_has_predictions(
    a: Path, b: Path, c: Path
) -> None:
    predicted(a, trial()).unlink()
    predicted(b, trial())
    assert counted(merging.merge([a, b], c)) == [(1, 1, 0, 0, 0), (1, 0, 1, 0, 0)]
    assert len(list(c.rglob("*.npz"))) == 1


def test_predictions_of_several_stacks_under_one_name_are_left_out(
    a: Path, b: Path, c: Path
) -> None:
    file = predicted(a, trial())
    row = trial(stack=OTHER, predictions=f"{store.PREDICTIONS}/{file.name}")
    append(a / STACK.id / store.TRIALS, store.line(row))
    kept = predicted(b, trial(1))
    (note,) = merging.merge([a, b], c).notes
    assert note.endswith(
        f"{file.name}: left out, for rows of several stacks name them, and whose "
        "they are cannot be told"
    )
    assert [p.name for p in c.rglob("*.npz")] == [kept.name]
    assert len(store.read(c).rows) == 3


def test_suite_files_that_differ_are_told(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    (b / store.SUITE).write_text("# of b")
    assert merging.merge([a, b], c).notes == ()
    assert (c / store.SUITE).read_text() == "# of b"
    (a / store.SUITE).write_text("# of a")
    (note,) = merging.merge([a, b], c.with_name("d")).notes
    assert note.startswith(f"suite.toml: that of {a} is kept, and differs from that of {b}")
    assert (c.with_name("d") / store.SUITE).read_text() == "# of a"


def test_what_is_no_row_is_told_and_left(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    put(a / "baselines" / "v1", trial(2))
    for name in ("choice.json", "model.keras", store.LOCK):
        (a / name).write_text("{}")
    (a / "tmp-killed").mkdir()
    (a / "tmp-killed" / "x.npz").write_text("")
    (a / "reports").mkdir()
    (a / "reports" / "x.html").write_text("")
    (a / "reports" / "y.html").write_text("")
    (a / STACK.id / "mine.txt").write_text("")
    (note,) = merging.merge([a, b], c).notes
    assert note == (
        f"{a}: not merged, because these are no rows: choice.json, model.keras, baselines, "
        f"reports, {STACK.id}/mine.txt"
    )
    assert sorted(p.name for p in c.rglob("*")) == [STACK.id, store.TRIALS]


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path, a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    put(tmp_path / "secret", trial(2))
    (a / "stack").mkdir()
    (a / "stack" / store.TRIALS).symlink_to(tmp_path / "secret" / STACK.id / store.TRIALS)
    npz = predicted(b, trial(3))
    npz.unlink()
    npz.symlink_to(predicted(tmp_path / "secret", trial(4)))
    link, missing = merging.merge([a, b], c).notes
    assert "a link out of the folder" in link
    assert "1 row lacks its stored predictions" in missing
    assert {row.key for row in store.read(c).rows} == {trial(s).key for s in (0, 1, 3)}


def test_a_link_to_a_folder_is_told(tmp_path: Path, a: Path, b: Path, c: Path) -> None:
    put(a / "small", trial())
    put(b / "small", trial(1))
    (a / "large").symlink_to(put(tmp_path / "large", trial(2)))
    (said,) = merging.merge([a, b], c).notes
    assert said.startswith(f"{a / 'large'}: a link to a folder, which is not followed: put the")


# ---------------------------------------------------------------------------- what is no input


def test_folders_that_cannot_be_merged(tmp_path: Path, a: Path, b: Path) -> None:
    put(a, trial())
    put(b / "small", trial(1))
    out = tmp_path / "merged"
    for folders, said in (
        ([a], f"merge {a}: one folder: expected two results folders or more"),
        ([], "merge no folder: expected two"),
        ([a, tmp_path / "x" / ".." / "a"], "named twice, also as"),
        ([a, tmp_path / "gone"], "gone: expected a results folder; nothing is there"),
        ([a / STACK.id, b], f"holds the rows of one stack: .* give {a}"),
        ([a, b], f"{a} holds the results of one suite, {b} those of several: .* {b / 'small'} in"),
        ([b, a], f"{a} holds the results of one suite, {b} those of several"),
        ([b, b / "small"], f"{b / 'small'}: lies in {b}, which is merged, too"),
        ([b / "small", b], f"{b / 'small'}: lies in {b}, which is merged, too"),
    ):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(BenchError, match=said):
            merging.merge(folders, out)
        assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"garbage\n"])
def test_a_folder_without_a_row_is_refused(a: Path, b: Path, content: bytes) -> None:
    put(a, trial())
    append(b / STACK.id / store.TRIALS, content)
    assert f"{b}: expected results to merge, but no whole row lies in it" in refusal(a, b)


def test_places_that_cannot_be_made(tmp_path: Path, a: Path, b: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    (tmp_path / "link").symlink_to(a)
    (tmp_path / "circle").symlink_to("circle")
    before = sorted(map(str, tmp_path.rglob("*")))
    for output, said in (
        (a, f"--output {a}: is {a}, which is merged"),
        (b / "c" / "d", f"lies in {b}, which is merged"),
        (tmp_path / "link" / "x", f"lies in {a}, which is merged"),
        (tmp_path, "expected a new folder, but something lies in it"),
        (tmp_path / "full", "expected a new folder, but something lies in it"),
        (tmp_path / "file", "expected a new folder, but it is a file"),
        (tmp_path / "file" / "x", "file is a file: expected a place below a folder"),
        (tmp_path / "circle", "expected a new folder"),
        (tmp_path / "nul\0", "expected a new folder: embedded null byte"),
    ):
        with pytest.raises(BenchError, match=re.escape(said)):
            merging.merge([a, b], output)
        assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_only_one_of_them_can_be_preferred(a: Path, b: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    said = refusal(a, b, prefer=a.parent)
    assert f"--prefer {a.parent}: expected one of the folders to merge, {a} or {b}" in said


# --------------------------------------------------------------------------- whole or not at all


def test_a_merge_that_is_stopped_leaves_nothing_or_all(tmp_path: Path) -> None:
    script = Path(__file__).with_name("crashing_merge.py")
    command = [sys.executable, str(script), "kill,cut,fail,interrupt", str(tmp_path), "24"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert len(counts) == 4
    assert min(counts) >= 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_takes_no_more_is_told(
    a: Path, b: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    put(a, trial())
    put(b, trial(1), make_cost())
    full = OSError(number, "the disk says so")

    def fails(file: Path, content: bytes) -> None:
        if file.name == store.TRIALS:
            raise full
        store_append(file, content)

    store_append = appending.append
    monkeypatch.setattr(appending, "append", fails)
    said = refusal(a, b)
    assert "merged: cannot be written: " in said
    assert ("make room" if number == errno.ENOSPC else "give another --output") in said


def test_two_merges_do_not_write_one_store(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    busy = pytest.raises(StoreLockedError, match="c: another merge is writing it")
    with appending.held(c.with_name(".new-c")), busy:
        merging.merge([a, b], c)
    assert not c.exists()
    merging.merge([a, b], c)
    assert {p.name for p in c.parent.iterdir()} == {"a", "b", "c"}


def test_what_a_killed_merge_left_is_nobodys_result(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    put(c.with_name(".new-c") / store.BASELINES, trial(99))
    assert {row.key for row in store.read(c.parent).rows} == {trial().key, trial(1).key}
    merging.merge([a, b], c)
    assert held(c) == held(a) | held(b)


def test_what_is_somebody_elses_beside_the_output_stays(a: Path, b: Path, c: Path) -> None:
    put(a, trial())
    put(b, trial(1))
    theirs = c.with_name(".new-c") / "mine.txt"
    append(theirs, b"mine")
    merging.merge([a, b], c)
    assert [p.name for p in theirs.parent.iterdir()] == ["mine.txt"]


def test_a_folder_that_changes_meanwhile_is_refused(
    a: Path, b: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(a, trial())
    put(b, trial(1))
    write = merge_output.write

    def later(*given: Any) -> Any:
        file = b / STACK.id / store.TRIALS
        file.write_bytes(store.line(trial(7)))
        return write(*given)

    monkeypatch.setattr(merge_output, "write", later)
    said = refusal(a, b)
    assert "trials.jsonl: changed while it was merged: expected a folder that nobody" in said


def test_a_folder_that_cannot_be_listed_is_refused(
    a: Path, b: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(a, trial())
    put(b, trial(1))

    def walk(folder: Path, onerror: Any) -> Any:
        onerror(OSError(errno.EIO, "the disk is gone", str(b)))
        return iter(())

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(StoreError, match="b: cannot be read: the disk is gone"):
        merging.merge([a, b], a.parent / "merged")
