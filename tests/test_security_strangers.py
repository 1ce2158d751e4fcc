"""A results folder of a stranger is data: reading it runs nothing, prints nothing that a terminal,
a browser or a spreadsheet obeys, and reads and writes nothing outside.
"""

import csv
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import COLOURS, Bench, make_cost, make_dataset, make_probe, make_result, refused

from bench import choices
from bench.analysis import choosing, claimed
from bench.costs import CostSpec
from bench.errors import BenchError
from bench.records import (
    Backbone,
    Data,
    Dataset,
    Environment,
    Execution,
    Freeze,
    Guard,
    Head,
    Phase,
    Stack,
    TrialResult,
    TrialSpec,
    WeightsUsed,
)
from bench.running import baselines, lines, stacks, store
from bench.strangers import LINK_OUT, inside
from bench.tasks import Row

EVIL = (
    "=cmd|' /C calc'!A0 <script>alert(1)</script><img src=x onerror=alert(1)> "
    "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\x00 ../../../evil/..\\..\\evil \r\n# heading\r=1+1\n"
    "[a](javascript:alert(1)) | `c` **b** @all $(touch evil) \\input{/etc/passwd}"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SUITE = f"""
[phase1]
epochs = 1
learning_rate = 1e-3

[phase2]
epochs = 1
learning_rate = 1e-5

[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only"]
seeds = [0]

[[claims]]
text = {json.dumps(EVIL)}
quantity = "trainable_parameters"
of = {{ phase = 1 }}
low = 1
high = 1e12
source = {json.dumps(EVIL)}

[[claims]]
text = {json.dumps(EVIL)}
quantity = "accuracy"
of = {{ freeze = "head_only" }}
low = 0.5
high = 0.6
source = {json.dumps(EVIL)}
"""


def evil_row(seed: int = 0, **changes: object) -> TrialResult:
    """Hostile in every text that a row has."""
    spec = TrialSpec(
        backbone=Backbone(name=EVIL, file=f"../{EVIL}.keras", preprocessing="raw"),
        data=Data(dataset=Dataset(name=EVIL, folder=f"/{EVIL}"), image_size=96),
        head=Head(name=EVIL),
        freeze=Freeze(strategy=EVIL, amount=EVIL),
        phase1=Phase(epochs=1, learning_rate=1e-3, optimizer=EVIL),
        phase2=Phase(epochs=1, learning_rate=1e-5, optimizer=EVIL),
        execution=Execution(batch_size=8),
        seed=seed,
    )
    version = "1\x1b[2J\u202e<b>|"  # a folder's name holds no more than one long text
    stack = Stack(
        backend="tensorflow",
        backend_version=version,
        keras_version=version,
        device=EVIL,
        precision=version,
    )
    fields: dict[str, Any] = {
        "stack": stack,
        "reason": EVIL,
        "dataset": make_dataset(class_names=(EVIL, EVIL + "2"), caveats=(EVIL,), notes=(EVIL,)),
        "weights": WeightsUsed(source=EVIL, sha256="a" * 64),
        "guards": (Guard(name=EVIL, passed=False, evidence=EVIL),),
        "execution_mode": EVIL,
        "rewrites": EVIL,
        "environment": Environment(
            bench_version=EVIL,
            python_version=EVIL,
            platform=EVIL,
            processor=EVIL,
            cores=2,
            memory_gib=8,
            packages={EVIL: EVIL},
        ),
        "predictions": "../../x.npz",
    }
    return make_result(spec, **(fields | changes))


def make_stranger(folder: Path) -> Path:
    """Results that mean harm."""
    (folder / "stack").mkdir(parents=True)
    bad = CostSpec(backbone=Backbone(name=EVIL, weights="random"), workload="inference")
    cost: dict[str, Any] = {"stack": evil_row().stack, "execution": EVIL, "batch_reason": EVIL}
    rows: dict[str, tuple[Row, ...]] = {
        store.TRIALS: (
            *(evil_row(seed) for seed in range(2)),
            evil_row(2, status="failed", test_accuracy=None),
        ),
        store.COSTS: (
            make_cost(bad, **cost),
            make_cost(bad, **cost | {"status": "failed", "reason": EVIL}),
        ),
        store.PROBES: (make_probe(stack=evil_row().stack, reason=EVIL),),
    }
    for name, found in rows.items():
        (folder / "stack" / name).write_bytes(b"".join(map(lines.line, found)))
    (folder / store.SUITE).write_text(f"description = {json.dumps(EVIL)}\n{SUITE}")
    return folder


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    return make_stranger(tmp_path / "got" / "results")


@dataclass(frozen=True)
class Reported:
    """One report, which takes seconds, and what was said while it was made."""

    folder: Path
    said: str
    new: set[str]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Of two folders that mean harm; every file that a folder can have is a link to a secret."""
    place = tmp_path_factory.mktemp("strangers")
    (place / "private").mkdir()
    secret, outside = place / "private" / "key", place / "private" / "x.npz"
    secret.write_text("SECRET-1\nSECRET-2\n")
    np.savez(outside, probabilities=np.eye(2), labels=[0, 1], pictures=["SECRET", "b"])
    one, two = (make_stranger(place / "got" / name) for name in ("one", "two"))
    for name in (store.TRIALS, store.COSTS, store.PROBES, store.NUMERICS):
        (one / "linked").mkdir(exist_ok=True)
        (one / "linked" / name).symlink_to(secret)
    (two / store.SUITE).unlink()
    for name in (store.SUITE, stacks.FILE, "choice.json", f"stack/{stacks.FILE}"):
        (two / name).symlink_to(secret)
    (one / "stack" / store.PREDICTIONS).mkdir()
    (one / "stack" / store.PREDICTIONS / "x.npz").symlink_to(outside)
    (two / "stack" / store.PREDICTIONS).symlink_to(place / "private")
    before = tree(place)
    words = ["report", one, two, "-o", place / "out", "--pictures", "all"]
    environ = os.environ | {"BENCH_CACHE_DIR": str(place / "cache"), "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, words)],
        capture_output=True,
        text=True,
        env=environ,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Reported(place / "out", done.stdout + done.stderr, tree(place) - before)


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def cells(text: str) -> list[str]:
    return [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]


def is_inert(cell: str) -> bool:
    """Whether a spreadsheet shows it; a number is one."""
    return not cell.startswith(FORMULA) or re.fullmatch(r"[-+]?[0-9.e+-]+", cell) is not None


SHOWING = [
    ("show", "RESULTS"),
    *(("show", "RESULTS", "--format", form) for form in ("markdown", "latex", "csv")),
    ("compare", "RESULTS", "RESULTS", "--all"),
    *(
        ("compare", "RESULTS", "RESULTS", "--all", "--format", form)
        for form in ("markdown", "json", "junit")
    ),
    ("claims", "RESULTS"),
    *(("claims", "RESULTS", "--format", form) for form in ("markdown", "latex", "csv", "json")),
    ("run", "RESULTS", "--dry-run"),
]
WRITING = [
    ("plot", "accuracy-parameters", "RESULTS", "-o", "OUT"),
    ("export", "RESULTS", "-o", "OUT/t.csv"),
    ("export", "RESULTS", "--tensorboard", "OUT"),
    ("baseline", "save", "mine", "RESULTS", "--results", "OUT"),
]


@pytest.mark.parametrize("words", [*SHOWING, *WRITING], ids=" ".join)
def test_nothing_a_terminal_obeys_is_printed_and_nothing_is_written_elsewhere(
    bench: Bench, stranger: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    before = tree(tmp_path)
    given = [w.replace("RESULTS", str(stranger)).replace("OUT", f"{tmp_path}/out") for w in words]
    answer = bench(*given)
    assert answer.code in (0, 1), answer.err
    assert "Traceback" not in answer.err
    assert "calc" in answer.out or words not in SHOWING
    assert not CONTROLS.search(answer.out), repr(CONTROLS.search(answer.out))
    assert not CONTROLS.search(answer.err), repr(CONTROLS.search(answer.err))
    new = tree(tmp_path) - before
    assert all(name == "out" or name.startswith(("out/", "cache")) for name in new), new
    assert not [name for name in new if CONTROLS.search(name) or ".." in name.split("/")]


@pytest.mark.parametrize("words", [("show",), ("claims",)], ids=" ".join)
def test_no_cell_of_csv_is_a_formula(bench: Bench, stranger: Path, words: tuple[str, ...]) -> None:
    answer = bench(*words, stranger, "--format", "csv")
    assert "calc" in answer.out
    assert all(map(is_inert, cells(answer.out)))


def test_a_report_writes_into_its_folder_alone_and_prints_nothing_a_terminal_obeys(
    reported: Reported,
) -> None:
    assert not CONTROLS.search(COLOURS.sub("", reported.said))
    assert all(name == "out" or name.startswith(("out/", "cache")) for name in reported.new)
    assert not [name for name in reported.new if CONTROLS.search(name)]


def test_a_report_shows_nothing_of_what_links_lead_to(reported: Reported) -> None:
    assert "SECRET" not in reported.said
    files = [f for f in reported.folder.rglob("*") if f.is_file()]
    assert len(files) > 10
    for file in files:
        assert b"SECRET" not in file.read_bytes(), file
    page = (reported.folder / "index.html").read_text(encoding="utf-8")
    assert "are not stored" in page


def test_no_cell_of_a_reports_csv_is_a_formula(reported: Reported) -> None:
    files = sorted(reported.folder.rglob("*.csv"))
    assert len(files) >= 2
    for file in files:
        bad = [cell for cell in cells(file.read_text(encoding="utf-8")) if not is_inert(cell)]
        assert not bad, (file.name, bad[0])


@pytest.mark.parametrize("what", ["trials", "epochs", "costs"])
def test_no_cell_of_an_export_is_a_formula(
    bench: Bench, stranger: Path, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "exported.csv"
    assert bench("export", stranger, "-o", file, "--what", what).code == 0
    text = file.read_text(encoding="utf-8")
    assert "calc" in text
    assert not CONTROLS.search(text)
    assert all(map(is_inert, cells(text)))


class Tags(HTMLParser):
    """Every element, and every address in one."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attributes if k in ("href", "src", "action")]
        self.handlers += [k for k, _ in attributes if k.startswith("on")]


def test_no_text_of_a_page_is_an_element(reported: Reported) -> None:
    out = reported.folder
    page = (out / "index.html").read_text(encoding="utf-8")
    found = Tags()
    found.feed(page)
    assert found.tags.count("script") == 1
    assert not found.handlers
    assert not [a for a in found.addresses if not a.startswith(("#", "data:image/"))]
    assert "default-src 'none'" in html.unescape(page)
    document = (out / "report.md").read_text(encoding="utf-8")
    lines_of = document.splitlines()  # code, which is indented, is shown as it is
    outside = "\n".join(line for line in lines_of if not line.startswith("    "))
    assert "<script" not in outside
    assert "](javascript" not in outside
    assert not CONTROLS.search(page + document)
    for plot in out.rglob("*.svg"):
        image = plot.read_text(encoding="utf-8")
        assert not re.search(r"<script|\son\w+=|javascript:", re.sub(r"&lt;.*?&gt;", "", image))


@pytest.mark.parametrize("command", ["show", "claims", "compare"])
def test_markdown_is_text(bench: Bench, stranger: Path, command: str) -> None:
    given = (command, stranger, *([stranger, "--all"] if command == "compare" else []))
    text = bench(*given, "--format", "markdown").out
    assert "calc" in text
    assert not re.search(r"<[a-z/!]|\]\(|@(?!&#8203;)", re.sub("</?(details|summary)>", "", text))
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert tables
    bars = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in tables]
    rulers = [n for n, line in zip(bars, tables, strict=True) if set(line) <= set("|-: ")]
    assert set(bars) == set(rulers)


def test_latex_is_text(bench: Bench, stranger: Path) -> None:
    lines_of = bench("show", stranger, "--format", "latex").out.splitlines()
    text = "\n".join(line for line in lines_of if not line.startswith("%"))  # a comment's end
    assert "\\input{" not in text
    assert "\\textbackslash" in text


def test_junit_is_xml_whatever_things_are_called(bench: Bench, stranger: Path) -> None:
    answer = bench("compare", stranger, stranger, "--all", "--format", "junit")
    assert ET.fromstring(answer.out).tag == "testsuites"


# -------------------------------------------------------------------------------------- links


def test_rows_of_another_folder_are_not_shown_by_a_link(tmp_path: Path) -> None:
    mine = make_stranger(tmp_path / "mine")
    (tmp_path / "got" / "stack").mkdir(parents=True)
    link = tmp_path / "got" / "stack" / store.TRIALS
    link.symlink_to(mine / "stack" / store.TRIALS)
    contents = store.read(tmp_path / "got")
    assert not contents.rows
    assert contents.problems == (f"{link}: {LINK_OUT}",)
    (tmp_path / "same").symlink_to(mine)
    assert store.read(tmp_path / "same").rows, "the folder that is named may be a link"


@pytest.mark.parametrize("folder", [False, True])
def test_predictions_of_another_folder_are_not_read_by_a_link(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "private").mkdir()
    private = tmp_path / "private" / "x.npz"
    np.savez(private, probabilities=np.eye(2, dtype=np.float32), labels=[0, 1])
    place = tmp_path / "got" / "stack"
    place.mkdir(parents=True)
    row = evil_row(test_correct=None, predictions="predictions/x.npz")
    (place / store.TRIALS).write_bytes(lines.line(row))
    predictions = place / store.PREDICTIONS
    if folder:
        predictions.symlink_to(tmp_path / "private")
    else:
        predictions.mkdir()
        (predictions / "x.npz").symlink_to(private)
    contents = store.read(tmp_path / "got")
    assert contents.rows[0].test_correct is None
    assert contents.problems == (f"{predictions / 'x.npz'}: {LINK_OUT}",)
    predictions.unlink() if folder else shutil.rmtree(predictions)
    shutil.copytree(tmp_path / "private", predictions)
    assert store.read(tmp_path / "got").rows[0].test_correct


def test_of_a_suite_or_a_question_that_is_a_link_nothing_is_told(
    bench: Bench, stranger: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "credentials.toml"
    secret.write_text('description = "x"\ntoken = "SECRET"\n')
    (stranger / store.SUITE).unlink()
    for name in (store.SUITE, choices.FILE):
        (stranger / name).symlink_to(secret)
    said = refused(bench("claims", stranger))
    assert LINK_OUT in said
    assert "SECRET" not in said
    suite, problem = claimed.kept_suite(stranger)
    assert suite is None
    assert problem is not None
    assert "SECRET" not in problem
    with pytest.raises(BenchError, match="a link out of the folder"):
        choosing.read(stranger)


def test_links_in_a_circle_lead_out(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "file").touch()
    (tmp_path / "c").symlink_to(tmp_path / "file")
    assert not inside(tmp_path / "a" / "x", tmp_path / "d")
    assert inside(tmp_path / "c", tmp_path)
    assert inside(tmp_path / "absent", tmp_path)
    assert not inside(tmp_path / ".." / "absent", tmp_path)


# -------------------------------------------------------------------------------------- pipes


def test_a_pipe_is_not_waited_for(stranger: Path) -> None:
    place = stranger / "piped" / store.TRIALS
    place.parent.mkdir()
    os.mkfifo(place)
    reading = threading.Thread(target=store.read, args=(stranger,), daemon=True)
    reading.start()
    reading.join(timeout=10)
    waits = reading.is_alive()
    if waits:
        os.close(os.open(place, os.O_WRONLY))  # lets it go
    assert not waits


# ------------------------------------------------------------------------- names that people give

NAMES = [
    *("../evil", "..", "/etc/evil", "a/b", "a\\b", "a\0b", "a\nb", "a\x1b[2Jb", ".hidden", ""),
    *("x" * 300, "a b", "\u202egnp", "caf\u00e9", "\uff0e\uff0e/x", "-o", "a:b"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_baseline_has_a_plain_name(stranger: Path, tmp_path: Path, name: str) -> None:
    before = tree(tmp_path)
    with pytest.raises(BenchError):
        baselines.save(tmp_path / "baselines", name, stranger, evil_row().stack.id)
    with pytest.raises(BenchError):
        baselines.load(tmp_path / "baselines", name)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", [n for n in NAMES if " " not in n and n], ids=ascii)
def test_a_stack_has_a_plain_name(name: str) -> None:
    try:
        found = stacks.parse([f"{name}: current", "other: current"])
    except BenchError:
        return
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", stack.name) for stack in found)


@pytest.mark.parametrize("part", [*NAMES, EVIL], ids=ascii)
def test_the_folder_of_a_stack_is_one_plain_name(part: str) -> None:
    named = Stack(
        backend=part, backend_version=part, keras_version=part, device=part, precision=part
    ).id
    assert re.fullmatch(r"[A-Za-z0-9._-]+", named)
    assert named not in (".", "..")


def test_a_stack_with_a_very_long_name_is_one_clear_error(tmp_path: Path) -> None:
    stack = evil_row().stack.model_copy(update={"device": "x" * 300})
    refusal = pytest.raises(BenchError, match="could not be written")
    with store.writing(tmp_path) as held, refusal:
        held.append(evil_row(stack=stack), None)


@pytest.mark.parametrize("name", [n for n in NAMES if n], ids=ascii)
def test_a_plot_is_one_of_those_listed(
    bench: Bench, stranger: Path, tmp_path: Path, name: str
) -> None:
    before = tree(tmp_path)
    answer = bench("plot", "--", name, stranger)
    assert answer.code == 2
    assert not CONTROLS.search(answer.err)
    assert tree(tmp_path) - before <= {"cache"}


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "a\x1b[2J"], ids=ascii)
@pytest.mark.parametrize("command", ["show", "report", "plot", "export", "compare", "run"])
def test_an_odd_path_is_one_clear_line(
    bench: Bench, tmp_path: Path, name: str, command: str
) -> None:
    words = {
        "show": ["show", name],
        "report": ["report", name, "-o", tmp_path / "out"],
        "plot": ["plot", "all", name, "-o", tmp_path / "out"],
        "export": ["export", name, "-o", tmp_path / "out.csv"],
        "compare": ["compare", name, name],
        "run": ["run", name],
    }
    before = tree(tmp_path)
    assert not CONTROLS.search(refused(bench(*words[command])))
    assert tree(tmp_path) - before <= {"cache"}
