"""Reports of a comparison: the answer first, nothing hidden, and nobody's names obeyed."""

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from compared import (
    ACCURACY,
    DIFFERENCE,
    MEMORY,
    RATIO,
    THROUGHPUT,
    A,
    B,
    make_comparison,
    unsettled,
)
from conftest import STACK
from markdown_it import MarkdownIt

from bench.analysis.comparison import Comparison, Finding
from bench.analysis.margins import Rules
from bench.analysis.stats import Interval
from bench.reporting import wording
from bench.reporting.comparisons import FORMS, LINES, document
from bench.reporting.forms import NOTES_KEPT, foreign

BETTER = replace(THROUGHPUT, verdict="better", effect=replace(RATIO, estimate=1.2))
ACCURACY_ONLY = Rules(gate=("accuracy",))
HOSTILE = "<script>x</script> | `a` **b** @all \x1b[31m\u202e\r\nnext \\| [l](http://x) _i_"


def lines(comparison: Comparison, **options: bool) -> list[list[str]]:
    """Cells of the first table on the console, without its headings."""
    table = document(comparison, "console", **options).split("\n\n")[1]
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[2:]]


def strictly(comparison: Comparison, strict: bool = False) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"bare {constant}")

    return json.loads(document(comparison, "json", strict=strict), parse_constant=refuse)


def rendered(comparison: Comparison, **options: bool) -> str:
    """Markdown as a service would show it, HTML in it obeyed."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    return str(parser.render(document(comparison, "markdown", **options)))


# ---------------------------------------------------------------------------------- the answer


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ((), "unclear: nothing was compared that decides the exit code"),
        ((MEMORY, MEMORY), "same: no change beyond the margins in anything that was weighed"),
        (
            (ACCURACY, MEMORY),
            "worse: 1 of 2 findings is a regression (accuracy of MobileNetV2 · digits · head_only "
            "· linear)",
        ),
        (
            (*[THROUGHPUT] * 5, unsettled()),
            "worse: 5 of 6 findings are regressions (throughput of MobileNetV2 · 96 px · "
            "inference; throughput of MobileNetV2 · 96 px · inference; throughput of MobileNetV2 "
            "· 96 px · inference; and 2 more); 1 could not be settled",
        ),
        (
            (BETTER, MEMORY),
            "better: 1 of 2 findings is an improvement (throughput of MobileNetV2 · 96 px · "
            "inference), and nothing is worse",
        ),
        (
            (unsettled(verdict="unclear", effect=None, margin=None),),
            "unclear: 1 of 1 finding could not be settled",
        ),
    ],
)
def test_the_answer_comes_first(findings: tuple[Finding, ...], said: str) -> None:
    comparison = make_comparison(*findings)
    assert document(comparison, "console").splitlines()[0] == said
    assert document(comparison, "markdown").splitlines()[0] == f"### {said}"
    assert strictly(comparison)["answer"] == said


def test_the_answer_says_what_would_settle_it() -> None:
    rounds = unsettled()
    seeds = replace(
        ACCURACY,
        verdict="unclear",
        effect=replace(DIFFERENCE, interval=Interval(-0.03, 0.01, 0.95), freedom=4.0),
    )
    hopeless = replace(rounds, effect=None)
    assert re.fullmatch(
        r"unclear: 2 of 2 findings could not be settled; about \d+ more rounds and \d+ more seeds? "
        r"on each side would settle them",
        wording.answer(make_comparison(rounds, seeds)),
    )
    assert re.search(
        r"; about \d+ more rounds? on each side would settle 1 of them$",
        wording.answer(make_comparison(rounds, hopeless)),
    )
    assert "would settle it" in wording.answer(make_comparison(rounds, MEMORY))


def test_what_decides_nothing_is_marked_and_not_overlooked() -> None:
    comparison = make_comparison(THROUGHPUT, rules=ACCURACY_ONLY)
    assert wording.answer(comparison) == (
        "unclear: nothing was compared that decides the exit code; "
        "1 worse among what decides nothing"
    )
    ((_, quantity, *_),) = lines(comparison)
    assert quantity == "throughput (told only)"
    assert strictly(comparison)["findings"][0]["decides"] is False
    assert lines(make_comparison(THROUGHPUT))[0][1] == "throughput"


def test_who_is_who_and_what_differs() -> None:
    _, a, b, packages = document(make_comparison(), "console").splitlines()
    assert a == f"A is old: {STACK.id} (10 trials, 4 measurements)"
    assert b == f"B is new: {B.stack.id} (10 trials, 4 measurements)"
    assert packages == "packages that differ: tensorflow 2.21.0 -> 2.22.0"


def test_equal_sides_and_other_machines() -> None:
    here = replace(A, name=A.stack.id, trials=1)
    there = replace(here, machine="two cores", packages={"tensorflow": "2.21.0", "jax": "0.5"})
    _, a, b, packages = document(make_comparison(a=here, b=there), "console").splitlines()
    assert a == f"A is {STACK.id} (1 trial, 4 measurements; one core)"
    assert b == f"B is {STACK.id} (1 trial, 4 measurements; two cores)"
    assert packages == "packages that differ: jax none -> 0.5, keras 3.15.1 -> none"
    assert document(make_comparison(b=A), "console").endswith("packages that differ: none")


# ----------------------------------------------------------------------------------- the table


def test_cells() -> None:
    accuracy, throughput, latency = lines(make_comparison(THROUGHPUT, unsettled(), ACCURACY))
    subject = "MobileNetV2 · digits · head_only · linear"
    change = "-1.2 points (-2.3 to -0.1)"
    assert accuracy == [
        *("worse", "accuracy", subject, "94.2%", "93.0%", change, "0.012", "1.4 points", "1 point")
    ]
    assert throughput[3:] == [
        *("312 img/s", "287 img/s", "-8.1% (-11.0 to -5.0)", "<0.001", "6.0%", "5%")
    ]
    assert latency[3:5] == ["8.00 ms", "8.64 ms"]


def test_memory_counts_and_words() -> None:
    guards = Finding("trial", "T", "k", "guards", "worse", "all pass", "fail: loss_finite")
    memory = replace(MEMORY, verdict="worse", b=5e9)
    found = lines(make_comparison(guards, memory))
    assert found[0][3:5] == ["all pass", "fail: loss_finite"]
    assert found[1][3:5] == ["3 MiB", "4,768 MiB"]


def test_what_is_missing_is_a_dash() -> None:
    nothing = replace(
        ACCURACY,
        a=None,
        b=math.nan,
        margin=None,
        effect=replace(DIFFERENCE, estimate=math.nan, p_value=math.nan, detectable=math.inf),
    )
    bare = replace(ACCURACY, a=None, b=None, effect=None, margin=None)
    for line in lines(make_comparison(nothing, bare)):
        assert line[3:] == ["–"] * 6


def test_an_interval_without_end_is_said_to_be_unknown() -> None:
    effect = replace(RATIO, interval=Interval(0.5, math.inf, 0.95))
    assert wording.change(effect) == "-8.1% (-50.0 to unknown)"
    assert wording.change(replace(RATIO, estimate=0.99999)) == "+0.0% (-11.0 to -5.0)"


def test_the_worst_comes_first_and_same_only_when_asked_for() -> None:
    small = replace(ACCURACY, subject="small", effect=replace(DIFFERENCE, estimate=-0.011))
    told = replace(THROUGHPUT, subject="told")
    rules = Rules(gate=("status", "accuracy", "latency"))
    comparison = make_comparison(BETTER, MEMORY, unsettled(), told, small, ACCURACY, rules=rules)
    found = lines(comparison)
    assert [line[0] for line in found] == ["worse", "worse", "worse", "unclear", "better"]
    assert [line[2] for line in found][1:3] == ["small", "told"]
    assert [line[0] for line in lines(comparison, everything=True)][-1] == "same"


def test_subjects_of_one_label_are_told_apart() -> None:
    other = replace(ACCURACY, key="c" * 32)
    names = {line[2] for line in lines(make_comparison(ACCURACY, other, THROUGHPUT))}
    label = ACCURACY.subject
    assert names == {f"{label} [aaaaaaaa]", f"{label} [cccccccc]", THROUGHPUT.subject}


@pytest.mark.parametrize("form", ["console", "markdown"])
def test_ten_thousand_findings_are_no_ten_thousand_lines(form: str) -> None:
    many = [
        replace(ACCURACY, subject=f"trial {i}", key=str(i), doubts=(f"doubt {i}",))
        for i in range(10_000)
    ]
    text = document(make_comparison(*many), form)
    assert len(text.splitlines()) < 3 * LINES + NOTES_KEPT
    assert len(text) < 65_536
    assert "\nand 9,950 more: --format json has all" in text
    assert len(strictly(make_comparison(*many))["findings"]) == 10_000


@pytest.mark.parametrize("form", ["console", "markdown"])
def test_everything_is_not_cut_short(form: str) -> None:
    many = [replace(ACCURACY, subject=f"trial {i}", key=str(i)) for i in range(2 * LINES)]
    assert f"trial {2 * LINES - 1} " not in document(make_comparison(*many), form)
    text = document(make_comparison(*many), form, everything=True)
    assert f"trial {2 * LINES - 1} " in text
    assert " more: --format json" not in text


def test_summary_counts_by_quantity() -> None:
    text = document(make_comparison(ACCURACY, MEMORY, MEMORY, rules=ACCURACY_ONLY), "console")
    summary = [re.split(r"\s{2,}", line) for line in text.split("\n\n")[-1].splitlines()]
    assert summary[0] == ["quantity", "worse", "unclear", "better", "same", "decides"]
    assert summary[2:] == [
        ["accuracy", "1", "0", "0", "0", "yes"],
        ["memory", "0", "0", "0", "2", "told only"],
    ]


# ----------------------------------------------------------------------------------- the notes


def notes(comparison: Comparison) -> list[str]:
    return [
        line.strip()
        for line in document(comparison, "console").split("\n\n")[2].splitlines()
        if line.startswith("  ")
    ]


def test_doubts_stand_beside_their_subjects_once() -> None:
    busy = "other work used the machine"
    first = replace(ACCURACY, subject="T", text="odd", doubts=(busy,))
    second = replace(THROUGHPUT, subject="W", doubts=(busy,))
    same = replace(MEMORY, doubts=("not worth saying",))
    assert notes(make_comparison(first, second, same, notes=("of all",))) == [
        "of all",
        "accuracy of T: odd",
        f"accuracy of T; throughput of W: {busy}",
    ]


def test_what_fails_on_both_sides_is_told() -> None:
    status = Finding("trial", "T", "k", "status", "same", "4 of 5 ok", "4 of 5 ok", "seed 1 failed")
    assert notes(make_comparison(ACCURACY, status)) == [
        "status of T: on both sides alike, seed 1 failed"
    ]


def test_notes_are_few_and_short() -> None:
    many = [replace(ACCURACY, subject=str(i), text=f"{i} " + "x" * 9_999) for i in range(40)]
    found = notes(make_comparison(*many))
    assert len(found) == NOTES_KEPT + 1
    assert found[-1] == "and 10 more notes"
    assert max(map(len, found)) <= 400


# ------------------------------------------------------------------------------- hostile names


def hostile() -> Comparison:
    finding = replace(ACCURACY, subject=HOSTILE, a=HOSTILE, text=HOSTILE, doubts=(HOSTILE * 2,))
    side = replace(A, name=HOSTILE, packages={HOSTILE: HOSTILE}, machine=HOSTILE)
    return make_comparison(finding, a=side, notes=(HOSTILE,))


def test_a_terminal_obeys_no_name() -> None:
    text = document(hostile(), "console")
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "<script>" in text
    assert len(lines(hostile())) == 1


def test_markdown_obeys_no_name() -> None:
    source, page = document(hostile(), "markdown"), rendered(hostile())
    assert "<script" not in page
    assert not re.findall(r"<(?:code|strong|em|a|s)\b", page)
    assert "&lt;script&gt;x&lt;/script&gt; | `a` **b**" in page
    assert not re.search(r"@\w", source)
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL):
        assert len(re.findall(r"<t[hd]\b", row)) in (9, 6)


def test_markdown_is_whole() -> None:
    page = rendered(make_comparison(ACCURACY, MEMORY, notes=("note",)))
    assert page.count("<table>") == 3
    assert "<h3>worse: 1 of 2 findings is a regression" in page
    assert "<details><summary>All 2 findings</summary>" in page
    assert page.rstrip().endswith("</details>")
    assert "<li>note</li>" in page
    assert rendered(make_comparison()).count("<table>") == 0


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("top_blocks=2", "top_blocks=2"),
        ("_a_", "&#95;a&#95;"),
        ("a|b", "a&#124;b"),
        ("a\n b\x00", "a b\N{REPLACEMENT CHARACTER}"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_foreign_text(text: str, markdown: str) -> None:
    assert foreign(text, "markdown") == markdown


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_be_written(form: str) -> None:
    broken = replace(hostile(), a=replace(A, name="\udcff"))
    assert document(broken, form).encode()


# ---------------------------------------------------------------------------------------- JSON


def test_json_is_strict_and_holds_everything() -> None:
    effect = replace(
        DIFFERENCE, p_value=math.nan, detectable=math.inf, interval=Interval(-math.inf, 0.1, 0.95)
    )
    odd = replace(ACCURACY, b=math.nan, effect=effect, doubts=("d",), text="t")
    found = strictly(make_comparison(odd, replace(MEMORY, effect=None), notes=("n",)))
    assert found["format"] == 1
    assert found["verdict"] == "worse"
    assert found["a"]["stack"]["id"] == STACK.id
    assert found["b"]["packages"] == B.packages
    assert found["packages_that_differ"] == {"tensorflow": ["2.21.0", "2.22.0"]}
    assert found["rules"]["margins"]["accuracy"] == 0.01
    assert found["counts"]["memory"] == {"worse": 0, "unclear": 0, "better": 0, "same": 1}
    assert found["notes"] == ["n"]
    first, second = found["findings"]
    assert first == {
        "kind": "trial",
        "subject": ACCURACY.subject,
        "key": ACCURACY.key,
        "quantity": "accuracy",
        "verdict": "worse",
        "decides": True,
        "a": 0.942,
        "b": None,
        "unit": "share",
        "effect": {
            "estimate": -0.0123,
            "low": None,
            "high": 0.1,
            "level": 0.95,
            "p_value": None,
            "detectable": None,
            "no_change": 0,
            "repeats": 5,
            "assumed": False,
        },
        "margin": 0.01,
        "text": "t",
        "doubts": ["d"],
    }
    assert second["unit"] == "bytes"
    assert second["effect"] is None


@pytest.mark.parametrize(
    ("findings", "strict", "code"),
    [
        ((), False, 0),
        ((), True, 3),
        ((unsettled(),), False, 0),
        ((unsettled(),), True, 3),
        ((ACCURACY,), False, 1),
    ],
)
def test_json_says_how_the_command_exits(
    findings: tuple[Finding, ...], strict: bool, code: int
) -> None:
    found = strictly(make_comparison(*findings), strict)
    assert (found["strict"], found["exit_code"]) == (strict, code)
