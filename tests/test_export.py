"""``bench export``: tables that other programs read, whole or not at all."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, STACK, Bench, make_cost, make_result, make_spec, refused

from bench.analysis import frames
from bench.errors import BenchError
from bench.records import TrialResult
from bench.reporting import exports
from bench.reporting.forms import inert, printed
from bench.running import store

REAL = ROOT / "results" / "reference" / "real_small"
MEASURED = ROOT / "results" / "reference" / "measure"
ARMED = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\nx", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20a")


def armed(text: str) -> TrialResult:
    return make_result(make_spec(dataset=text), reason=text)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    file = tmp_path / "results" / STACK.id / store.TRIALS
    file.parent.mkdir(parents=True)
    rows = [make_result(make_spec(seed=s)) for s in range(2)] + [armed("=cmd|' /C calc'!A0")]
    file.write_bytes(b"".join(map(store.line, rows)))
    return tmp_path / "results"


# ------------------------------------------------------------------------------ formulas


@pytest.mark.parametrize("text", ARMED)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("text", ["\rx", "\r\nx"])
def test_a_carriage_return_is_a_line_break_like_any_other(text: str) -> None:
    assert inert(text) == "'\nx"


@pytest.mark.parametrize("start", ["\x00", "\x1b", "\x9b", "\u202e", "\ufeff", "\ud800"])
def test_what_does_not_print_hides_no_formula(start: str) -> None:
    assert inert(f"{start}=1+1") == "\N{REPLACEMENT CHARACTER}=1+1"
    assert inert(f"\u00a0{start}x") == " \N{REPLACEMENT CHARACTER}x"
    assert inert("\u00a0=1") == "' =1"


@pytest.mark.parametrize("text", ["", "a=1", "MobileNetV2", "'=1", "1-2", "–"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


def test_csv_for_people_is_inert_and_numbers_in_it_are_numbers() -> None:
    text = printed(("=title", "number"), [("=1+1", -1.5), (None, -2)], "csv")
    assert list(csv.reader(io.StringIO(text))) == [
        ["'=title", "number"],
        ["'=1+1", "-1.5"],
        ["", "-2"],
    ]


def test_a_csv_file_is_inert_and_numbers_in_it_are_numbers(tmp_path: Path) -> None:
    rows = [armed(text).model_copy(update={"test_loss": -0.5}) for text in ARMED]
    exports.write(frames.trials(rows), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["dataset"] for line in lines] == [f"'{text}" for text in ARMED]
    assert [line["reason"] for line in lines] == [f"'{text}" for text in ARMED]
    assert {line["test_loss"] for line in lines} == {"-0.5"}


def test_no_cell_begins_a_line_of_its_own(tmp_path: Path) -> None:
    text = "boom\r=1+1\r\n=2\n=3"
    exports.write(frames.trials([armed(text)]), tmp_path / "t.csv")
    content = (tmp_path / "t.csv").read_bytes().decode()
    assert "\r" not in content + printed(("title",), [(text,)], "csv")
    (line,) = csv.DictReader(io.StringIO(content))
    assert line["reason"] == "boom\n=1+1\n=2\n=3"


# ------------------------------------------------------------------------------ files


def test_parquet_gives_back_the_very_frame(tmp_path: Path) -> None:
    frame = frames.trials([armed("=1"), make_result()])
    exports.write(frame, tmp_path / "t.parquet")
    again = pd.read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)
    text = ("string", "str")  # pandas has had two kinds of it
    assert all(
        a == b or (str(a) in text and str(b) in text)
        for a, b in zip(again.dtypes, frame.dtypes, strict=True)
    )
    assert again["dataset"][0] == "=1"
    assert again.attrs["units"] == frame.attrs["units"]


def test_csv_gives_back_the_numbers_to_the_last_digit(tmp_path: Path) -> None:
    frame = frames.trials(store.read(REAL).rows)
    exports.write(frame, tmp_path / "t.csv")
    again = pd.read_csv(tmp_path / "t.csv", float_precision="round_trip")
    assert list(again.columns) == list(frame.columns)
    for name in frame.select_dtypes(["float64", "Int64"]):
        assert again[name].astype("float64").equals(frame[name].astype("float64")), name


def test_other_letters_are_utf_8(tmp_path: Path) -> None:
    exports.write(frames.trials([armed("Blüten 花")]), tmp_path / "t.csv")
    assert "Blüten 花" in (tmp_path / "t.csv").read_bytes().decode("utf-8")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_file_that_could_not_be_finished_leaves_the_old_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    exports.write(frames.trials([make_result()]), file)
    before = file.read_bytes()

    def full(_: object, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "ENDINGS", {file.suffix: full})
    with pytest.raises(BenchError, match=f"{name}: cannot be written: No space left"):
        exports.write(frames.trials([]), file)
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("x" * 100_000)
    exports.write(frames.costs([make_cost()]), file)
    assert len(pd.read_csv(file)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


# ------------------------------------------------------------------------------ the command


def test_export_writes_trials(bench: Bench, results: Path, tmp_path: Path) -> None:
    answer = bench("export", results, "-o", tmp_path / "new" / "t.csv")
    assert (answer.code, answer.out) == (0, "")
    assert "3 lines" in answer.err
    frame = pd.read_csv(tmp_path / "new" / "t.csv")
    assert list(frame["seed"]) == [0, 1, 0]
    assert frame["dataset"][2] == "'=cmd|' /C calc'!A0"


def test_export_writes_epochs_and_costs(bench: Bench, results: Path, tmp_path: Path) -> None:
    assert bench("export", results, "-o", tmp_path / "e.parquet", "--what", "epochs").code == 0
    assert len(pd.read_parquet(tmp_path / "e.parquet")) == 6
    assert bench("export", MEASURED, "-o", tmp_path / "c.CSV", "--what", "costs").code == 0
    assert (pd.read_csv(tmp_path / "c.CSV")["device_images_per_second"].dropna() > 0).all()


def test_export_takes_several_folders(bench: Bench, results: Path, tmp_path: Path) -> None:
    bench("export", results, REAL, "-o", tmp_path / "t.csv")
    sizes = pd.read_csv(tmp_path / "t.csv").groupby("results").size()
    assert dict(sizes) == {results.as_posix(): 3, REAL.as_posix(): 48}


def test_a_store_without_measurements_gives_a_table_without_lines(
    bench: Bench, results: Path, tmp_path: Path
) -> None:
    assert bench("export", results, "-o", tmp_path / "c.csv", "--what", "costs").code == 0
    frame = pd.read_csv(tmp_path / "c.csv")
    assert len(frame) == 0
    assert "latency_ms" in frame


def test_export_says_which_endings_there_are(bench: Bench, tmp_path: Path) -> None:
    line = refused(bench("export", "nowhere", "-o", tmp_path / "t.xlsx"))
    assert "t.xlsx: expected a name that ends in .csv or .parquet" in line


def test_export_wants_to_know_where_to(bench: Bench, results: Path) -> None:
    assert "--tensorboard DIR" in refused(bench("export", results))


def test_a_file_in_place_of_a_folder_is_one_clear_line(
    bench: Bench, results: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(bench("export", results, "-o", tmp_path / "file/t.csv"))
    (tmp_path / "folder.csv").mkdir()
    assert "cannot be written" in refused(bench("export", results, "-o", tmp_path / "folder.csv"))


def test_lines_that_cannot_be_read_are_named(bench: Bench, results: Path, tmp_path: Path) -> None:
    with (results / STACK.id / store.TRIALS).open("ab") as stream:
        stream.write(b"[]\n")
    answer = bench("export", results, "-o", tmp_path / "t.csv")
    assert "trials.jsonl:4: left out" in answer.err
    assert answer.code == 0
