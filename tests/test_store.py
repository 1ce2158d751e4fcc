import errno
import json
import math
import os
import re
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import (
    STACK,
    make_cost,
    make_dataset,
    make_phase,
    make_probe,
    make_result,
    make_spec,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import marks
from bench.costs import CostResult
from bench.errors import StoreError, StoreLockedError
from bench.records import Freeze, TrialResult
from bench.running import appending, slimming, store
from bench.settings import Settings

OTHER = STACK.model_copy(update={"keras_version": "3.16.0"})


def rows(count: int) -> list[TrialResult]:
    return [make_result(make_spec(seed=seed)) for seed in range(count)]


def filled(folder: Path, count: int) -> tuple[Path, list[TrialResult]]:
    """A store of so many rows: its file and the rows."""
    with store.writing(folder) as held:
        written = [held.append(row, None) for row in rows(count)]
    return trials_file(folder), written


def trials_file(folder: Path) -> Path:
    return folder / STACK.id / store.TRIALS


def stored_line(row: TrialResult) -> bytes:
    """A line as the store writes it, without its newline."""
    return json.dumps({"format": store.FORMAT} | row.model_dump(mode="json")).encode()


# ------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"status": "skipped", "phase1": None, "phase2": None}, id="skipped"),
        pytest.param(
            {"reason": "line\u2028para\u2029next\x85feed\r\nform\x0cv\x0b\x1c"}, id="breaks"
        ),
        pytest.param({"reason": 'quote " back \\ tab \t nul \x00 emoji 🦆'}, id="escapes"),
        pytest.param({"test_loss": math.inf}, id="infinity"),
        pytest.param({"test_loss": 0.1 + 0.2, "seconds": 5e-324}, id="floats"),
        pytest.param({"spec": make_spec(Freeze(strategy="fraction", amount=0.3))}, id="fraction"),
        pytest.param({"spec": make_spec(Freeze(strategy="from_layer", amount="a"))}, id="name"),
    ],
)
def test_a_row_comes_back_as_it_was(tmp_path: Path, changes: dict[str, Any]) -> None:
    row = make_result(**changes)
    with store.writing(tmp_path) as held:
        assert held.append(row, None) == row
    assert store.read(tmp_path) == store.Contents((row,))
    content = trials_file(tmp_path).read_bytes()
    assert content.count(b"\n") == 1
    assert content.endswith(b"\n")


def test_probes_lie_beside_trials(tmp_path: Path) -> None:
    trial, probe = make_result(), make_probe()
    again = make_probe(knn=0.5)
    with store.writing(tmp_path) as held:
        held.append(trial, None)
        for row in (probe, again):
            assert held.append(row, None) == row
        assert held.settled(STACK) == {trial.key: trial, probe.key: again}
    assert (tmp_path / STACK.id / store.PROBES).read_bytes().count(b"\n") == 2
    assert store.read(tmp_path) == store.Contents((trial,), probes=(again,))


def test_probes_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    dataset = make_dataset(notes=("left out: /secret/a.jpg",))
    with store.writing(tmp_path, {"/secret": "<FOLDER>"}) as held:
        row = held.append(make_probe(status="failed", reason="/secret", dataset=dataset), None)
    assert "/secret" not in row.model_dump_json()


def test_a_loss_that_is_not_a_number_is_strict_json(tmp_path: Path) -> None:
    phase = make_phase(0.5).model_copy(update={"val_loss": math.nan})
    with store.writing(tmp_path) as held:
        held.append(make_result(status="diverged", phase1=phase, test_loss=math.nan), None)

    def refuse(constant: str) -> None:
        raise AssertionError(f"bare {constant} in the store")

    json.loads(trials_file(tmp_path).read_bytes(), parse_constant=refuse)
    (row,) = store.read(tmp_path).rows
    assert row.test_loss is not None
    assert math.isnan(row.test_loss)
    assert row.phase1 is not None
    assert math.isnan(row.phase1.val_loss)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False))
def test_any_text_and_number_come_back(
    tmp_path_factory: pytest.TempPathFactory, text: str, number: float
) -> None:
    folder = tmp_path_factory.mktemp("store")
    row = make_result(reason=text, test_loss=number)
    with store.writing(folder) as held:
        held.append(row, None)
        held.append(make_result(make_spec(seed=1)), None)
    assert store.read(folder).rows[0] == row


def test_rows_stay_in_the_order_measured(tmp_path: Path) -> None:
    _, written = filled(tmp_path, 5)
    assert list(store.read(tmp_path).rows) == written


def test_a_row_is_synced_to_disk_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        fsync(descriptor)
        if trials_file(tmp_path).exists():
            synced.append(trials_file(tmp_path).read_bytes())

    monkeypatch.setattr(os, "fsync", spy)
    with store.writing(tmp_path) as held:
        for count, row in enumerate(rows(3), start=1):
            held.append(row, None)
            assert synced[-1].count(b"\n") == count
            assert synced[-1].endswith(b"\n")


def test_the_last_row_of_a_key_counts(tmp_path: Path) -> None:
    first, second = rows(2)
    again = first.model_copy(update={"status": "failed", "reason": "again", "seconds": 9.0})
    with store.writing(tmp_path) as held:
        for row in (first, second, again):
            held.append(row, None)
    assert store.read(tmp_path).rows == (again, second)


def test_rows_under_two_stacks_are_both_kept(tmp_path: Path) -> None:
    row = make_result()
    other = row.model_copy(update={"stack": OTHER})
    with store.writing(tmp_path) as held:
        held.append(row, None)
        held.append(other, None)
        assert held.settled(STACK) == {row.key: row}
        assert held.settled(OTHER) == {row.key: other}
    assert set(store.read(tmp_path).rows) == {row, other}
    assert store.read(tmp_path / OTHER.id).rows == (other,)


def test_a_row_in_another_stacks_folder_does_not_count_as_done(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    (tmp_path / STACK.id).rename(tmp_path / OTHER.id)
    with store.writing(tmp_path) as held:
        assert held.settled(OTHER) == {}


@pytest.mark.parametrize(
    ("status", "is_settled"),
    [
        ("ok", True),
        ("diverged", True),
        ("skipped", True),
        ("failed", False),
        ("timeout", False),
        ("out_of_memory", False),
    ],
)
def test_what_a_rerun_keeps(tmp_path: Path, status: str, is_settled: bool) -> None:
    row = make_result(status=status, reason="so")
    with store.writing(tmp_path) as held:
        held.append(row, None)
        assert held.settled(STACK) == ({row.key: row} if is_settled else {})


def test_a_failure_after_a_success_is_tried_again(tmp_path: Path) -> None:
    with store.writing(tmp_path) as held:
        held.append(make_result(), None)
        held.append(make_result(status="failed"), None)
        assert held.settled(STACK) == {}


# -------------------------------------------------------------------------------- torn and mended


def test_a_row_torn_anywhere_is_left_out_and_removed(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 3)
    content = file.read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    for cut in (*range(last + 1, last + 60), *range(last + 60, len(content) - 1, 17)):
        file.write_bytes(content[:cut])
        seen = store.read(tmp_path)
        assert list(seen.rows) == written[:2]
        assert len(seen.problems) == 1
        assert f"{file}:3" in seen.problems[0]
        (note,) = appending.mended([file])
        assert "torn" in note
        assert str(file) in note
        assert file.read_bytes() == content[:last]


@pytest.mark.parametrize("cut", [1, 40, 700])
def test_after_a_torn_row_writing_goes_on(tmp_path: Path, cut: int) -> None:
    file, written = filled(tmp_path, 3)
    content = file.read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    file.write_bytes(content[: last + cut])
    with store.writing(tmp_path) as held:
        assert len(held.notes) == 1
        assert set(held.settled(STACK)) == {r.key for r in written[:2]}
        held.append(written[2], None)
    assert file.read_bytes() == content
    assert store.read(tmp_path) == store.Contents(tuple(written))


def test_a_first_row_torn_leaves_an_empty_store(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 1)
    file.write_bytes(file.read_bytes()[:100])
    with store.writing(tmp_path) as held:
        assert file.read_bytes() == b""
        held.append(written[0], None)
    assert store.read(tmp_path) == store.Contents(tuple(written))


def test_zeros_after_a_power_cut_are_a_torn_row(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 2)
    content = file.read_bytes()
    file.write_bytes(content + b"\x00" * 900)
    assert list(store.read(tmp_path).rows) == written
    with store.writing(tmp_path) as held:
        assert len(held.notes) == 1
    assert file.read_bytes() == content


def test_a_whole_last_line_without_newline_is_kept(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 2)
    file.write_bytes(file.read_bytes().rstrip(b"\n"))
    assert store.read(tmp_path) == store.Contents(tuple(written))
    extra = make_result(make_spec(seed=7))
    with store.writing(tmp_path) as held:
        assert held.notes == []
        held.append(extra, None)
    assert store.read(tmp_path) == store.Contents((*written, extra))


def test_a_last_line_of_a_newer_format_is_never_removed(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 1)
    newer = json.dumps({"format": store.FORMAT + 1, "what": "ever"}).encode()
    file.write_bytes(file.read_bytes() + newer)
    with pytest.raises(StoreError, match=r"trials\.jsonl:2: .*update Bench"):
        store.writing(tmp_path).__enter__()
    assert file.read_bytes() == stored_file(written) + newer


def stored_file(written: list[TrialResult]) -> bytes:
    return b"".join(store.line(row) for row in written)


def test_every_stack_is_mended(tmp_path: Path) -> None:
    with store.writing(tmp_path) as held:
        held.append(make_result(), None)
        held.append(make_result(stack=OTHER), None)
    for stack in (STACK, OTHER):
        with (tmp_path / stack.id / store.TRIALS).open("ab") as file:
            file.write(b'{"format": 1, "k')
    with store.writing(tmp_path) as held:
        assert len(held.notes) == 2
    assert store.read(tmp_path).problems == ()


# ------------------------------------------------------------------------------------ strange files


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        pytest.param(b"hello", "not a whole row", id="text"),
        pytest.param(bytes(range(256)).replace(b"\n", b""), "not a whole row", id="binary"),
        pytest.param(b"\xff\xfe\x00", "not a whole row", id="utf-16"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep"),
        pytest.param(b"9" * 5_000, "not a whole row", id="long number"),
        pytest.param(b"null", "no format number", id="null"),
        pytest.param(b"{}", "no format number", id="no format"),
        pytest.param(b'{"format": true}', "no format number", id="format true"),
        pytest.param(b'{"format": "1"}', "no format number", id="format text"),
        pytest.param(b'{"format": 1}', "key: Field required", id="no fields"),
        pytest.param(b'{"format": 1, "key": "\\ud800"}', "not a whole row", id="surrogate"),
    ],
)
def test_garbage_in_the_middle_is_reported_and_the_rest_read(
    tmp_path: Path, garbage: bytes, said: str
) -> None:
    file, written = filled(tmp_path, 3)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], garbage, *lines[1:]]) + b"\n")
    seen = store.read(tmp_path)
    assert list(seen.rows) == written
    (problem,) = seen.problems
    assert problem.startswith(f"{file}:2: left out")
    assert said in problem


def test_an_unknown_field_is_reported(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 1)
    row = json.loads(stored_line(make_result(make_spec(seed=5)))) | {"colour": "blue"}
    file.write_bytes(file.read_bytes() + json.dumps(row).encode() + b"\n")
    seen = store.read(tmp_path)
    assert list(seen.rows) == written
    assert "colour: Extra inputs are not permitted" in seen.problems[0]


def test_a_row_of_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    file, _ = filled(tmp_path, 1)
    newer = json.loads(stored_line(make_result())) | {"format": store.FORMAT + 1}
    file.write_bytes(file.read_bytes() + json.dumps(newer).encode() + b"\n")
    with pytest.raises(StoreError, match=r"trials\.jsonl:2: .*newer.*update Bench"):
        store.read(tmp_path)


def test_blank_lines_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 2)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n\r\n\n"))
    assert store.read(tmp_path) == store.Contents(tuple(written))


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    file = trials_file(tmp_path)
    file.parent.mkdir()
    file.touch()
    assert store.read(tmp_path) == store.Contents(())
    with store.writing(tmp_path) as held:
        assert held.settled(STACK) == {}
        assert held.notes == []


@pytest.mark.parametrize("name", ["absent", "a file", "an empty folder"])
def test_a_place_without_results_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "an empty folder").mkdir()
    with pytest.raises(StoreError, match="expected a results folder"):
        store.read(tmp_path / name)


def test_a_folder_in_the_place_of_the_file_is_a_store_error(tmp_path: Path) -> None:
    trials_file(tmp_path).mkdir(parents=True)
    with pytest.raises(StoreError, match="a file of rows, not a folder"):
        store.read(tmp_path)
    with pytest.raises(StoreError, match="a file of rows, not a folder"), store.writing(tmp_path):
        pass
    trials_file(tmp_path).rmdir()
    with store.writing(tmp_path) as held:  # the failure did not keep the lock
        held.append(make_result(), None)


LINE = stored_line(make_result())
PIECES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [LINE, LINE[:200], b"\n", b"\r", b"\x00", b"\xe2\x80\xa8", b"{", b'{"format": 9}']
    ),
    st.builds(
        lambda at, byte: LINE[:at] + byte + LINE[at + 1 :],
        st.integers(0, len(LINE) - 1),
        st.binary(min_size=1, max_size=1),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=8).map(b"".join))
def test_no_bytes_at_all_break_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    file = trials_file(folder)
    file.parent.mkdir()
    file.write_bytes(content)
    row = make_result(make_spec(seed=99))
    try:
        with store.writing(folder) as held:
            held.append(row, None)
    except StoreError as error:
        assert "newer" in str(error)  # noqa: PT017 - either outcome is right
        assert file.read_bytes() == content
        return
    kept = content[: content.rfind(b"\n") + 1]
    assert file.read_bytes().startswith(kept)
    assert store.read(folder).rows[-1] == row


# ----------------------------------------------------------------------------------- checksums


def test_no_flipped_bit_of_a_row_is_believed(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 3)
    content = file.read_bytes()
    start, end = (i + 1 for i in range(len(content)) if content[i] == 10 and i < len(content) - 1)
    for at in (*range(start, start + 60), *range(start + 60, end - 1, 11)):
        flipped = bytes([content[at] ^ (1 << at % 8)])
        file.write_bytes(content[:at] + flipped + content[at + 1 :])
        seen = store.read(tmp_path)
        assert list(seen.rows) == [written[0], written[2]], (at, flipped)
        assert len(seen.problems) in (1, 2)  # a line break makes two of one
        assert f"{file}:2: left out" in seen.problems[0]


def test_a_row_edited_by_hand_is_told_and_measured_again(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 3)
    lines = file.read_bytes().splitlines(keepends=True)
    better = b'"test_accuracy": 0.99'
    lines[1] = re.sub(rb'"test_accuracy": [0-9.]+', better, lines[1])
    assert better in lines[1]
    file.write_bytes(b"".join(lines))
    with store.writing(tmp_path) as held:
        (note,) = held.notes
        assert f"{file}:2: left out, damaged, or edited by hand" in note
        assert "measures it again" in note
        assert set(held.settled(STACK)) == {written[0].key, written[2].key}
        held.append(written[1], None)
    assert set(store.read(tmp_path).rows) == set(written)


@pytest.mark.parametrize("change", [lambda line: line.replace(b": ", b":"), lambda line: line[::1]])
def test_a_row_without_its_check_is_as_older_versions_wrote_it(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    file, written = filled(tmp_path, 1)
    file.write_bytes(change(stored_line(written[0])) + b"\n")
    assert store.read(tmp_path) == store.Contents(tuple(written))
    with store.writing(tmp_path) as held:
        assert held.notes == []


@pytest.mark.parametrize("changed", [False, True])
def test_a_row_that_a_json_tool_laid_out_anew_is_believed_if_unchanged(
    tmp_path: Path, changed: bool
) -> None:
    file, written = filled(tmp_path, 1)
    content = json.loads(file.read_bytes())
    if changed:
        content["test_loss"] += 1e-9
    file.write_bytes(json.dumps(content, separators=(",", ":")).encode() + b"\n")
    seen = store.read(tmp_path)
    assert seen.rows == (() if changed else tuple(written))
    assert ["edited by hand" in problem for problem in seen.problems] == [True] * changed
    with store.writing(tmp_path) as held:
        assert len(held.notes) == changed


def test_a_newer_format_is_told_from_a_damaged_number(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 1)
    damaged = file.read_bytes().replace(b'{"format": 1', b'{"format": 3')
    file.write_bytes(damaged + file.read_bytes())
    seen = store.read(tmp_path)
    assert seen.rows == tuple(written)
    assert "edited by hand" in seen.problems[0]
    begins = b'{"format": 3, '
    rest = damaged[damaged.index(b'"key"') : -1]
    check = b'"check": "%08x", ' % zlib.crc32(begins + rest)
    file.write_bytes(begins + check + rest + b"\n")
    with pytest.raises(StoreError, match="update Bench"):
        store.read(tmp_path)


def test_a_newer_store_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 2)
    other = tmp_path / "another-stack" / store.COSTS
    other.parent.mkdir()
    newer = json.dumps({"format": store.FORMAT + 1, "what": "ever"}).encode() + b"\n"
    other.write_bytes(stored_line(written[0])[:50] + b"\n" + newer)
    file.write_bytes(file.read_bytes() + b'{"format": 1, "torn')
    (tmp_path / f"{store.SCRATCH}left").mkdir()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=r"costs\.jsonl:2: .*newer.*update Bench"):
        store.writing(tmp_path).__enter__()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert (tmp_path / f"{store.SCRATCH}left").is_dir()


def test_bad_lines_are_told_when_a_run_begins(tmp_path: Path) -> None:
    file, written = filled(tmp_path, 2)
    file.write_bytes(b"garbage\n" * 20 + file.read_bytes() + b'{"torn')
    with store.writing(tmp_path) as held:
        assert held.notes[0].startswith(f"{file}:1: left out, not a whole row")
        assert "15 more lines are left out" in held.notes[5]
        assert "torn by a kill" in held.notes[6]
        assert len(held.notes) == 7
        assert set(held.settled(STACK)) == {row.key for row in written}


def test_a_long_line_is_mended_like_any_other(tmp_path: Path) -> None:
    file, _ = filled(tmp_path, 1)
    before = file.read_bytes()
    for length in (1, 65_535, 65_536, 65_537, 200_000):
        file.write_bytes(before + b"x" * length)
        (_,) = appending.mended([file])
        assert file.read_bytes() == before
    file.write_bytes(b"x" * 200_000)
    (_,) = appending.mended([file])
    assert file.read_bytes() == b""


def test_an_outline_says_how_a_trial_ended(tmp_path: Path) -> None:
    _, (row, _) = filled(tmp_path, 2)
    with store.writing(tmp_path) as held:
        found = held.outlines(STACK, {row.key: row.spec})
        assert found.keys() == {row.key}
        assert held.outlines(STACK, {"other": row.spec}) == {}
    brief = found[row.key]
    assert isinstance(brief, TrialResult)
    kept = ("key", "spec", "status", "reason", "failed_guards", "way", "test_accuracy")
    assert all(getattr(brief, name) == getattr(row, name) for name in kept)
    assert brief.phase1 is not None
    assert brief.phase1.epochs == ()
    assert slimming.outlined(make_probe()) == make_probe()


# -------------------------------------------------------------------------------- one writer only


def test_a_held_folder_is_refused_in_the_same_process(tmp_path: Path) -> None:
    with (
        store.writing(tmp_path),
        pytest.raises(StoreLockedError, match="another run is writing here"),
        store.writing(tmp_path),
    ):
        pass
    with store.writing(tmp_path) as held:  # and free again
        held.append(make_result(), None)


def test_a_held_folder_is_refused_in_another_process(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from bench.errors import StoreLockedError\n"
        "from bench.running import store\n"
        "try:\n"
        "    with store.writing(pathlib.Path(sys.argv[1])): print('got it')\n"
        "except StoreLockedError as error: print('refused:', error)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with store.writing(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert refused.startswith(f"refused: {tmp_path}: another run is writing here")
    assert after == "got it\n"


def test_reading_needs_no_lock(tmp_path: Path) -> None:
    with store.writing(tmp_path) as held:
        held.append(make_result(), None)
        assert len(store.read(tmp_path).rows) == 1


# ----------------------------------------------------------------------- predictions and scratch


def save_predictions(path: Path) -> Path:
    np.savez_compressed(path, probabilities=np.eye(3, dtype=np.float32), labels=np.arange(3))
    return path


def test_predictions_lie_beside_the_row(tmp_path: Path) -> None:
    with store.writing(tmp_path) as held, held.scratch() as scratch:
        source = save_predictions(scratch / "x.npz")
        row = held.append(make_result(), source)
        assert not source.exists()
    assert row.predictions == f"predictions/{row.key}.npz"
    (found,) = store.read(tmp_path).rows
    assert found.model_copy(update={"test_correct": None}) == row
    with np.load(tmp_path / STACK.id / row.predictions, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["probabilities"], np.eye(3))


def test_rows_that_do_not_say_which_pictures_were_right_are_asked_by_their_predictions(
    tmp_path: Path,
) -> None:
    source = tmp_path / "x.npz"
    np.savez(source, probabilities=np.eye(3)[[0, 1, 1]], labels=np.array([0, 1, 2]))
    with store.writing(tmp_path / "results") as held:
        held.append(make_result(), source)
    (row,) = store.read(tmp_path).rows
    assert row.test_correct == marks.packed(np.array([True, True, False]))
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(b"damaged")
    seen = store.read(tmp_path)
    assert seen.rows[0].test_correct is None
    (problem,) = seen.problems
    assert problem.startswith(f"{file}: stored predictions that cannot be read")
    assert "delete the file" in problem


def test_predictions_are_in_place_before_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, seen = appending.append, []

    def spy(file: Path, content: bytes) -> None:
        path = json.loads(content)["predictions"]
        seen.append((file.parent / path).read_bytes())
        append(file, content)

    monkeypatch.setattr(appending, "append", spy)
    with store.writing(tmp_path) as held, held.scratch() as scratch:
        source = save_predictions(scratch / "x.npz")
        expected = source.read_bytes()
        held.append(make_result(), source)
    assert seen == [expected]


def test_measured_again_the_new_predictions_count(tmp_path: Path) -> None:
    with store.writing(tmp_path) as held, held.scratch() as scratch:
        for number in (1, 2):
            np.savez(scratch / "x.npz", number=number)
            row = held.append(make_result(), scratch / "x.npz")
    assert row.predictions is not None
    with np.load(tmp_path / STACK.id / row.predictions, allow_pickle=False) as arrays:
        assert arrays["number"] == 2


def test_a_suite_is_kept_and_written_only_when_it_changed(tmp_path: Path) -> None:
    place = tmp_path / store.SUITE
    with store.writing(tmp_path) as held:
        held.keep_suite(b"one")
        written = place.stat().st_mtime_ns, place.stat().st_ino
        held.keep_suite(b"one")
        assert (place.stat().st_mtime_ns, place.stat().st_ino) == written
        held.keep_suite(b"two")
    assert place.read_bytes() == b"two"
    assert sorted(p.name for p in tmp_path.iterdir()) == [store.LOCK, store.SUITE]


def test_a_suite_that_cannot_be_kept_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with store.writing(tmp_path) as held:
        held.keep_suite(b"one")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"suite\.toml: cannot be written.*No space"):
            held.keep_suite(b"two")
    assert (tmp_path / store.SUITE).read_bytes() == b"one"


def test_scratch_is_gone_afterwards(tmp_path: Path) -> None:
    with store.writing(tmp_path) as held:
        scratch = left_by_an_interrupt(held)
        assert scratch.parent == tmp_path
        assert not scratch.exists()


def left_by_an_interrupt(held: store.Store) -> Path:
    with suppress(KeyboardInterrupt), held.scratch() as scratch:
        (scratch / "left.npz").touch()
        raise KeyboardInterrupt
    return scratch


def test_scratch_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    _, written = filled(tmp_path, 1)
    left = tmp_path / (store.SCRATCH + "abc123")
    left.mkdir()
    (left / "left.npz").touch()
    with store.writing(tmp_path):
        assert not left.exists()
    assert list(store.read(tmp_path).rows) == written


# ------------------------------------------------------------------------------------- bad disks


NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _FullDisk:
    """A file that takes so many bytes, then none."""

    def __init__(self, stream: Any, room: int, ending: BaseException) -> None:
        self._stream, self._room, self._ending = stream, room, ending

    def __enter__(self) -> "_FullDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, content: bytes) -> int:
        self._stream.write(content[: self._room])
        raise self._ending

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def full_disk(
    monkeypatch: pytest.MonkeyPatch, room: int, ending: BaseException = NO_ROOM
) -> Iterator[None]:
    opened = Path.open

    def open_(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        stream = opened(path, mode, *rest, **named)
        return _FullDisk(stream, room, ending) if mode == "ab" else stream

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        yield


@pytest.mark.parametrize("room", [0, 1, 500])
def test_a_full_disk_costs_no_earlier_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    first, second, third = rows(3)
    with store.writing(tmp_path) as held:
        held.append(first, None)
        before = trials_file(tmp_path).read_bytes()
        with full_disk(monkeypatch, room), pytest.raises(StoreError, match="No space left"):
            held.append(second, None)
        assert trials_file(tmp_path).read_bytes() == before
        held.append(third, None)  # room was made
    assert store.read(tmp_path) == store.Contents((first, third))


@pytest.mark.parametrize("room", [0, 500, 10**6])
def test_a_row_whose_writing_was_interrupted_tears_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    first, second, third = rows(3)
    interrupt = KeyboardInterrupt()
    with store.writing(tmp_path) as held:
        held.append(first, None)
        with full_disk(monkeypatch, room, interrupt), pytest.raises(KeyboardInterrupt):
            held.append(second, None)
        held.append(third, None)  # what another worker had finished
    kept = (first, second, third) if room == 10**6 else (first, third)
    assert store.read(tmp_path) == store.Contents(kept)


def fails(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(
    ("target", "name"),
    [(os, "fsync"), (Path, "mkdir"), (Path, "replace")],
    ids=["fsync", "mkdir", "replace"],
)
def test_a_disk_error_is_a_store_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Any, name: str
) -> None:
    with store.writing(tmp_path) as held, held.scratch() as scratch:
        first = held.append(make_result(), None)
        source = save_predictions(scratch / "x.npz")
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fails)
            with pytest.raises(StoreError, match=r"could not be written: .*Input/output error"):
                held.append(make_result(make_spec(seed=1)), source)
    assert store.read(tmp_path) == store.Contents((first,))


def test_a_real_disk_that_takes_half_a_row(tmp_path: Path) -> None:
    first, second = rows(2)
    with store.writing(tmp_path) as held:
        held.append(first, None)
        before = trials_file(tmp_path).read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
        try:
            with pytest.raises(StoreError, match=r"could not be written: .*File too large"):
                held.append(second, None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert trials_file(tmp_path).read_bytes() == before
        held.append(second, None)
    assert store.read(tmp_path) == store.Contents((first, second))


def test_predictions_of_a_row_that_cannot_be_written_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.writing(tmp_path) as held, held.scratch() as scratch:
        held.append(make_result(make_spec(seed=1)), None)
        source = save_predictions(scratch / "x.npz")
        with full_disk(monkeypatch, 0), pytest.raises(StoreError):
            held.append(make_result(), source)
        assert list((tmp_path / STACK.id / store.PREDICTIONS).iterdir()) == []
        held.append(make_result(), source)
    assert len(store.read(tmp_path).rows) == 2


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "make room, then run the same again"),
        (errno.EROFS, "make the folder writable or give another --results"),
        (errno.EIO, "once it is mended"),
    ],
)
def test_what_to_do_about_a_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with store.writing(tmp_path) as held:
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreError, match=f"could not be written.*{said}.*safe"):
            held.append(make_result(), None)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_disk_that_knows_no_flush_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def unknown(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", unknown)
    _, written = filled(tmp_path, 2)
    assert store.read(tmp_path) == store.Contents(tuple(written))


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks"), NotImplementedError("none")])
def test_a_disk_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(appending.FileLock, "acquire", refuse)
    with (
        pytest.raises(StoreError, match=r"cannot be written: .*on a disk that has file locks"),
        store.writing(tmp_path),
    ):
        pass


def in_a_file(folder: Path) -> None:
    folder.touch()


def in_a_file_above(folder: Path) -> None:
    folder.parent.joinpath("file").touch()


@pytest.mark.parametrize(
    ("prepare", "place"),
    [(in_a_file, "results"), (in_a_file_above, "file/results")],
    ids=["a file", "below a file"],
)
def test_a_folder_that_cannot_be_made(
    tmp_path: Path, prepare: Callable[[Path], None], place: str
) -> None:
    prepare(tmp_path / "results")
    with pytest.raises(StoreError, match="cannot be written"), store.writing(tmp_path / place):
        pass


def test_scratch_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.writing(tmp_path) as held:
        monkeypatch.setattr(store.tempfile, "mkdtemp", fails)
        with pytest.raises(StoreError, match="cannot be written"), held.scratch():
            pass


def test_a_torn_row_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, written = filled(tmp_path, 1)
    file.write_bytes(file.read_bytes() + b'{"for')
    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", fails)
        with pytest.raises(StoreError, match="Input/output error"), store.writing(tmp_path):
            pass
    with store.writing(tmp_path):
        assert list(store.read(tmp_path).rows) == written


def test_no_folder_of_this_machine_gets_into_a_row(tmp_path: Path) -> None:
    machine = Settings(
        cache=Path("/data/cache"), weights=(Path("/data/weights"),), tfds=Path("/data/tfds")
    )
    names = machine.names(Path("/home/somebody/suites"))
    dataset = make_dataset(notes=("/data/tfds/x: read from the cache",))
    row = make_result(
        status="failed",
        reason="looked in /data/weights and /home/somebody/suites/a.h5 and /data/cache/images",
        dataset=dataset,
    )
    with store.writing(tmp_path / "r", names) as held:
        held.append(row, None)
    (stored,) = store.read(tmp_path / "r").rows
    assert stored.reason == (
        "looked in <BENCH_WEIGHTS_DIR> and <suite folder>/a.h5 and <BENCH_CACHE_DIR>/images"
    )
    assert stored.dataset.notes == ("<TFDS_DATA_DIR>/x: read from the cache",)


def test_repeating_a_measurement_loses_nothing_that_was_known(tmp_path: Path) -> None:
    def counts(*rows: CostResult) -> CostResult:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        with store.writing(folder) as held:
            for row in rows:
                held.append(row, None)
            assert len(held.settled(STACK)) == any(row.status == "ok" for row in rows)
        (found,) = store.read(folder).costs
        return found

    good, busy = make_cost(seconds=1.0), make_cost(seconds=2.0, elsewhere=0.5)
    failed = make_cost(seconds=3.0, status="failed", device=None)
    assert counts(busy, good) == counts(good, busy) == counts(good, failed) == good
    assert counts(failed, busy) == busy
    assert counts(good, good).runs == 2


def test_baselines_are_no_results_of_the_folder_they_lie_in(tmp_path: Path) -> None:
    with store.writing(tmp_path / "suite") as held:
        held.append(make_result(), None)
    with store.writing(tmp_path / "baselines" / "old") as held:
        held.append(make_result(make_spec(seed=7)), None)
    assert [row.spec.seed for row in store.read(tmp_path).rows] == [0]
    assert [row.spec.seed for row in store.read(tmp_path / "baselines" / "old").rows] == [7]
