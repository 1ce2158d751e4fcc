"""Results folders, margins, claims and baselines that are wrong."""

# ruff: noqa: E501 - one case a line

import json
import re
from pathlib import Path

from conftest import make_card, make_dataset, make_result

from bench.records import WeightsUsed
from bench.running import store

from .cases import Accepted, Case
from .making import STACK, Make, both, empty, linked, results, rows, suite, text

AREA, MARGINS, CLAIMS, BASELINES = "results folders", "margins", "claims", "baselines"
MERGING = "merging"
LINE = store.line(make_result())
ROW = re.sub(rb'"check": "[0-9a-f]{8}", ', b"", LINE)
"""As versions without checksums wrote it, so that it can be changed."""
CARD = make_card().model_dump_json()


def _show(
    id_: str, make: Make, names: str, remedy: str, what: str = "run", denied: tuple[str, ...] = ()
) -> Case:
    return Case(id_, AREA, ("show", what), tuple(names.split("|")), (remedy,), make, denied=denied)


def _row(**changes: object) -> bytes:
    """A row with some of what it says in another form."""
    return json.dumps(json.loads(ROW) | changes).encode() + b"\n"


def _damaged_predictions(folder: Path) -> None:
    row = make_result(predictions="predictions/x.npz")
    place = folder / "run" / row.stack.id
    rows(store.line(row))(folder)
    (folder / "run" / "some-stack").rename(place)
    text("predictions/x.npz", b"PK\x03\x04 nothing")(place)


RUNS = both(results("a"), results("b", STACK))
RUNS_OF_ROWS = both(rows(LINE, "a"), rows(LINE, "b"))
COMPARE = ("compare", "a", "b")
NOT_ONE = "expected a results folder"

_READING = (
    _show("not-there", empty(), "run", NOT_ONE),
    _show("a-file", text("run", "x"), "run", NOT_ONE),
    _show("empty", empty("run"), "run", NOT_ONE),
    _show("other-files", text("run/notes.txt", "x"), "run", "trials.jsonl"),
    _show("newer-version", rows(ROW.replace(b'"format": 1', b'"format": 99')), "trials.jsonl:1|a newer version of Bench", "update Bench"),
    _show("newer-among-older", rows(ROW + ROW.replace(b'"format": 1', b'"format": 2')), "trials.jsonl:2", "update Bench"),
    _show("no-permission", rows(ROW), "trials.jsonl|Permission denied", "cannot be read", denied=("run/some-stack/trials.jsonl",)),
    _show("folder-for-a-file", empty("run/some-stack/trials.jsonl"), "trials.jsonl", "expected a file of rows"),
    _show("link-to-itself", linked("run", "run"), "run", NOT_ONE),
    _show("json-of-no-benchmark", text("x.json", "{}"), "x.json", "expected JSON of pytest-benchmark", "x.json"),
    _show("json-cut-off", text("x.json", '{"benchmarks": ['), "x.json", "expected JSON of pytest-benchmark", "x.json"),
    _show("json-not-there", empty(), "x.json", "No such file or directory", "x.json"),
    Case("run-again-nothing", AREA, ("run", "run"), ("run",), (NOT_ONE,), empty("run")),
    Case("run-again-garbage", AREA, ("run", "run"), ("run",), ("expected results of trials",), rows(b"garbage\n")),
    Case("report-of-nothing", AREA, ("report", "run", "-o", "out"), ("run",), (NOT_ONE,), empty("run")),
    Case("report-of-one-and-nothing", AREA, ("report", "run", "gone", "-o", "out"), ("gone",), (NOT_ONE,), results()),
    Case("report-into-a-file", AREA, ("report", "run", "-o", "out"), ("out",), ("expected",), both(results(), text("out", "mine"))),
    Case("report-into-foreign-files", AREA, ("report", "run", "-o", "out"), ("out",), ("expected",), both(results(), text("out/index.html", "mine"))),
    Case("export-nothing", AREA, ("export", "run", "-o", "x.csv"), ("run",), (NOT_ONE,), empty("run")),
    Case("plot-nothing", AREA, ("plot", "all", "run", "-o", "x.png"), ("run",), (NOT_ONE,), empty("run")),
    Case("plot-only-garbage", AREA, ("plot", "costs", "run", "-o", "x.png"), ("run: nothing to draw", "trials.jsonl:1: left out"), ("bench measure",), rows(b"garbage\n")),
    Case("compare-one-stack", AREA, ("compare", "a"), ("a: 1 stack:",), ("--before",), results("a")),
    Case("compare-with-nothing", AREA, ("compare", "a", "b"), ("b",), (NOT_ONE,), both(results("a"), empty("b"))),
    Case("compare-unknown-stack", AREA, ("compare", "a", "b", "--before", "jax"), ("a: 1 stack, none with 'jax'",), ("choose by --before TEXT from",), RUNS),
    Case("compare-the-same", AREA, ("compare", "a", "--before", "tensor", "--after", "2.21"), ("a", "2.21.0"), ("the same stack",), results("a")),
    Case("compare-into-a-folder", AREA, (*COMPARE, "-o", "out"), ("--output out", "it is a folder"), ("expected a file name",), both(RUNS, empty("out"))),
    Case("compare-below-a-file", AREA, (*COMPARE, "-o", "out/x.md"), ("--output out/x.md", "out is a file"), ("expected a place below a folder",), both(RUNS, text("out", "x"))),
    Case("compare-unknown-format", AREA, (*COMPARE, "--format", "xml"), ("--format xml",), ("one of console, markdown, json, junit",), RUNS),
)  # fmt: skip


def _margins(id_: str, content: str, names: str, remedy: str) -> Case:
    make = both(RUNS, text("margins.toml", content))
    words = (*COMPARE, "--margins", "margins.toml")
    return Case(id_, MARGINS, words, ("margins.toml", *names.split("|")), (remedy,), make)


_RULES = (
    Case("not-there", MARGINS, (*COMPARE, "--margins", "m.toml"), ("m.toml",), ("a file that exists",), RUNS),
    Case("a-folder", MARGINS, (*COMPARE, "--margins", "a"), ("a:",), ("it is a folder",), RUNS),
    _margins("unknown-quantity", "[margins]\naccurracy = 0.01\n", "margins.accurracy", "did you mean accuracy?"),
    _margins("unknown-key", "levle = 0.9\n", "levle", "did you mean level?"),
    _margins("percent-for-share", "[margins]\naccuracy = 5\n", "margins.accuracy = 5", "0.05 is 5%"),
    _margins("negative", "[margins]\nlatency = -0.1\n", "margins.latency = -0.1", "a share above 0"),
    _margins("nan", "[margins]\nlatency = nan\n", "margins.latency = nan", "a share above 0"),
    _margins("infinite", "[margins]\nlatency = inf\n", "margins.latency = inf", "a share above 0"),
    _margins("text", '[margins]\naccuracy = "1%"\n', "margins.accuracy = '1%'", "a number"),
    _margins("level-too-high", "level = 1\n", "level = 1", "less than 1"),
    _margins("level-nan", "level = nan\n", "level = nan", "a finite number"),
    _margins("gate-unknown", 'gate = ["speed"]\n', "gate|speed", "quantities that exist"),
    _margins("gate-empty", "gate = []\n", "gate = []", "at least one quantity"),
    _margins("gate-of-lists", "gate = [[1]]\n", "gate", "quantities that exist"),
    _margins("not-toml", "accuracy: 1\n", "margins.toml", "valid TOML"),
)  # fmt: skip


def _claim(id_: str, claim: str, names: str, remedy: str) -> Case:
    more = f'[[claims]]\ntext = "t"\nsource = "s"\n{claim}\n'
    words = ("claims", "run", "--suite", "suite.toml")
    make = both(results(), suite(more=more))
    return Case(id_, CLAIMS, words, ("suite.toml", *names.split("|")), (remedy,), make)


ACCURACY = 'quantity = "accuracy"\nlow = 0.9\nhigh = 0.95\n'
GAIN = 'quantity = "accuracy_gain"\nlow = 0.0\nhigh = 0.1\n'
_CLAIMS = (
    Case("suite-without-claims", CLAIMS, ("claims", "run", "--suite", "suite.toml"), ("suite.toml",), ("expected [[claims]]",), both(results(), suite())),
    Case("no-suite-kept", CLAIMS, ("claims", "run"), ("run", "suite.toml"), ("--suite FILE",), results()),
    Case("no-results", CLAIMS, ("claims", "run", "--suite", "suite.toml"), ("run",), (NOT_ONE,), both(empty("run"), suite())),
    _claim("unknown-quantity", ACCURACY.replace("accuracy", "acuracy"), "claims[0].quantity = 'acuracy'", "did you mean accuracy"),
    _claim("percent-for-share", ACCURACY.replace("0.95", "95"), "claims[0].high = 95", "accuracy from 0 to 1"),
    _claim("low-above-high", ACCURACY.replace("0.9\n", "0.99\n"), "claims[0].low = 0.99", "at most high, which is 0.95"),
    _claim("nan", ACCURACY.replace("0.95", "nan"), "claims[0].high = nan", "accuracy from 0 to 1"),
    _claim("infinite", ACCURACY.replace("0.95", "inf"), "claims[0].high = inf", "accuracy from 0 to 1"),
    Case("no-source", CLAIMS, ("claims", "run", "--suite", "suite.toml"), ("suite.toml", "claims[0].source is missing"), ("expected a text",), both(results(), suite(more=f'[[claims]]\ntext = "t"\n{ACCURACY}'))),
    _claim("misspelt-key", ACCURACY.replace("low", "lo"), "claims[0].lo", "did you mean low"),
    _claim("gain-over-nothing", GAIN, "claims[0].over is missing", "a table, since accuracy_gain is over other trials"),
    _claim("gain-over-itself", GAIN + "over = {}\n", "claims[0].over", "to name something otherwise than of does"),
    _claim("of-no-trial", ACCURACY + 'of = {backbone = "ResNet50"}\n', "claims[0].of.backbone = 'ResNet50'", "MobileNetV2"),
    _claim("of-unknown-freeze", ACCURACY + 'of = {freeze = "head"}\n', "claims[0].of.freeze = 'head'", "did you mean head_only?"),
    _claim("phase-three", 'quantity = "trainable_parameters"\nlow = 1\nhigh = 2\nof = {phase = 3}\n', "claims[0].of.phase = 3", "1 or 2"),
    _claim("phase-not-said", 'quantity = "trainable_parameters"\nlow = 1\nhigh = 2\n', "claims[0].of.phase is missing", "1 or 2"),
    _claim("negative-margin", ACCURACY + "margin = -1\n", "claims[0].margin = -1", "from 0 to 1"),
)  # fmt: skip

CHECK = ("baseline", "check")
_BASELINES = (
    Case("none-saved", BASELINES, (*CHECK, "v1", "run"), ("'v1'", "results/baselines"), ("bench baseline save NAME RESULTS",), results()),
    Case("unknown", BASELINES, (*CHECK, "v2", "run"), ("unknown baseline 'v2'",), ("known: v1",), both(results(), text("results/baselines/v1/baseline.json", "{}"))),
    Case("damaged", BASELINES, (*CHECK, "v1", "run"), ("baseline.json",), ("save it anew",), both(results(), text("results/baselines/v1/baseline.json", "{"))),
    Case("name-a-path", BASELINES, ("baseline", "save", "../x", "run"), ("'../x'",), ("letters, digits",), results()),
    Case("name-empty", BASELINES, ("baseline", "save", "", "run"), ("''",), ("letters, digits",), results()),
    Case("name-too-long", BASELINES, ("baseline", "save", "a" * 101, "run"), ("aaa",), ("up to 100",), results()),
    Case("save-nothing", BASELINES, ("baseline", "save", "v1", "gone"), ("gone",), (NOT_ONE,)),
    Case("save-of-several-stacks", BASELINES, ("baseline", "save", "v1", "run"), ("2 stacks",), ("choose by --stack TEXT from",), both(results(), results(stack=STACK))),
    Case("save-unknown-stack", BASELINES, ("baseline", "save", "v1", "run", "--stack", "jax"), ("'jax'",), ("choose by --stack TEXT from",), results()),
    Case("inside-its-own-results", BASELINES, ("baseline", "save", "v1", "results"), ("results", "baselines lie in it"), ("expected the results of one suite",), results("results/run")),
)  # fmt: skip


def _merge(id_: str, names: str, remedy: str, make: Make, words: str = "a b -o new") -> Case:
    given = tuple(words.split(" "))
    return Case(id_, MERGING, ("merge", *given), tuple(names.split("|")), (remedy,), make)


def _beside(**changes: object) -> Make:
    """Folders ``a`` and ``b`` with one trial each, the same but for these changes."""
    return both(
        _of("a", dataset=make_dataset()), _of("b", **({"dataset": make_dataset()} | changes))
    )


def _of(name: str, **changes: object) -> Make:
    return rows(store.line(make_result(**changes)), name)


def _weights(sha256: str) -> dict[str, object]:
    return {"weights": WeightsUsed(source="imagenet", sha256=sha256 * 64)}


LABEL = make_result().spec.label
_MERGING = (
    _merge("one-folder", "merge a: one folder", "expected two results folders or more", results("a"), "a -o new"),
    _merge("the-same-twice", "a: named twice", "expected each results folder once", results("a"), "a ./a -o new"),
    _merge("one-in-another", "all/b: lies in all", "expected folders apart", results("all/b"), "all all/b -o new"),
    _merge("a-suite-and-a-root", "a holds the results of one suite|all those of several", "such as all/b in place of all", both(results("a"), results("all/b")), "a all -o new"),
    _merge("a-stack", "a/some-stack: holds the rows of one stack", "give a", RUNS_OF_ROWS, "a/some-stack b -o new"),
    _merge("not-there", "b: expected a results folder", "nothing is there", results("a")),
    _merge("a-file", "b: expected a results folder", "it is a file", both(results("a"), text("b", "x"))),
    _merge("no-row", "b: expected results to merge", "leave it out", both(results("a"), rows(b"garbage\n", "b"))),
    _merge("newer-version", "trials.jsonl:1|a newer version of Bench", "update Bench", both(results("a"), rows(ROW.replace(b'"format": 1', b'"format": 99'), "b"))),
    _merge("no-output", "--output", "bench merge --help", RUNS, "a b"),
    _merge("onto-itself", "--output a: is a", "expected a new folder apart from those", RUNS, "a b -o a"),
    _merge("into-one-of-them", "--output b/new: lies in b", "expected a new folder apart from those", RUNS, "a b -o b/new"),
    _merge("into-a-full-folder", "new: ", "expected a new folder, but something lies in it", both(RUNS, text("new/x", "mine"))),
    _merge("into-a-file", "new: ", "expected a new folder, but it is a file", both(RUNS, text("new", "mine"))),
    _merge("below-a-file", "file/new: |file is a file", "expected a place below a folder", both(RUNS, text("file", "x")), "a b -o file/new"),
    _merge("prefer-another", "--prefer c", "expected one of the folders to merge, a or b", RUNS, "a b -o new --prefer c"),
    _merge("other-pictures", f"other pictures (1): {LABEL}|ffffffffffff in a, 000000000000 in b", "leave one of the folders out", _beside(dataset=make_dataset("0" * 64))),
    _merge("other-pictures-preferred", "other pictures (1): ", "leave one of the folders out", _beside(dataset=make_dataset("0" * 64)), "a b -o new --prefer a"),
    _merge("other-weights", f"other weights (1): {LABEL}|111111111111 in a, 222222222222 in b", "leave one of the folders out", both(_of("a", **_weights("1")), _of("b", **_weights("2")))),
    _merge("other-protocol", f"another protocol version (1): {LABEL}|1 in a, 2 in b", "leave one of the folders out", _beside(protocol=2)),
    _merge("other-results", f"other results (1): {LABEL}|test_accuracy 0.94 in a, 0.5 in b", "--prefer FOLDER", _beside(test_accuracy=0.5)),
)  # fmt: skip

CASES = (*_READING, *_RULES, *_CLAIMS, *_BASELINES, *_MERGING)


def _kept(id_: str, content: bytes, *says: str) -> Accepted:
    """Lines beside a good row are reported by number, and the good row is shown."""
    return Accepted(id_, AREA, ("show", "run"), ("MobileNetV2", *says), rows(content))


ACCEPTED = (
    _kept("torn-last-line", ROW + ROW[:200], "trials.jsonl:2: left out, not a whole row (not JSON)"),
    _kept("garbage-between", ROW + b"\x00\xff garbage\n" + ROW, "trials.jsonl:2: left out, not a whole row (not JSON)"),
    _kept("nested-too-deeply", ROW + b"[" * 100_000 + b"\n", "trials.jsonl:2: left out"),
    _kept("blank-lines", b"\n\n" + ROW + b"\n", "94.0"),
    _kept("no-last-line-end", ROW.rstrip(b"\n"), "94.0"),
    _kept("row-of-another-kind", ROW + b'{"format": 1, "benchmarks": []}\n', "trials.jsonl:2: left out"),
    _kept("format-no-number", ROW + ROW.replace(b'"format": 1', b'"format": "1"'), "no format number"),
    _kept("number-of-5000-digits", ROW + b'{"format": ' + b"9" * 5000 + b"}\n", "trials.jsonl:2: left out, not a whole row (not JSON)"),
    _kept("accuracy-a-text", ROW + _row(test_accuracy="high"), "trials.jsonl:2: left out", "test_accuracy"),
    Accepted("changed-by-hand", AREA, ("show", "run"), ("trials.jsonl:2: left out", "measures it again"), rows(LINE + LINE.replace(b"0.94", b"0.99"))),
    _kept("unknown-field", ROW + _row(luck=1), "trials.jsonl:2: left out", "luck"),
    Accepted("damaged-predictions", AREA, ("show", "run"), ("94.0", "x.npz", "put back a copy, or delete the file"), _damaged_predictions),
    Accepted("damaged-baseline-in-a-list", BASELINES, ("baseline", "list"), ("v1", "save it anew"), text("results/baselines/v1/baseline.json", "{")),
    Accepted("damaged-line", MERGING, ("merge", "a", "b", "-o", "new"), ("b/some-stack/trials.jsonl:2: left out", "results: new"), both(rows(LINE, "a"), rows(LINE + LINE.replace(b"0.94", b"0.99"), "b"))),
    Accepted("suites-that-differ", MERGING, ("merge", "a", "b", "-o", "new"), ("suite.toml: that of a is kept", "results: new"), both(RUNS, text("a/suite.toml", "# one"), text("b/suite.toml", "# two"))),
    Accepted("no-rows-beside-rows", MERGING, ("merge", "a", "b", "-o", "new"), ("b: not merged, because these are no rows: choice.json", "results: new"), both(RUNS, text("b/choice.json", "{}"))),
    Accepted("preferred", MERGING, ("merge", "a", "b", "-o", "new", "--prefer", "b"), ("results: new",), _beside(test_accuracy=0.5)),
    Accepted("no-baselines-to-list", BASELINES, ("baseline", "list"), ("bench baseline save NAME RESULTS makes one",)),
)  # fmt: skip
