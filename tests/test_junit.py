"""A comparison as JUnit XML: what fails there is what the exit code says."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from compared import ACCURACY, MEMORY, THROUGHPUT, make_comparison, unsettled

from bench.analysis.comparison import Comparison
from bench.analysis.margins import Rules
from bench.reporting.junit import document

ODD = replace(THROUGHPUT, subject="a\x9bb\u202ec\rd\x85")
MIXED = make_comparison(
    ACCURACY,
    THROUGHPUT,
    replace(unsettled(), doubts=("take more", "or wait")),
    MEMORY,
    replace(THROUGHPUT, subject="faster", verdict="better"),
)


def parsed(comparison: Comparison, strict: bool = False) -> ET.Element:
    root = ET.fromstring(document(comparison, strict).encode())
    (suite,) = root
    for element in (root, suite):  # what it counts is what it holds
        assert int(element.attrib["tests"]) == len(list(suite.iter("testcase")))
        assert int(element.attrib["failures"]) == len(list(suite.iter("failure")))
        assert int(element.attrib["skipped"]) == len(list(suite.iter("skipped")))
        assert element.attrib["errors"] == "0"
    return suite


def outcomes(suite: ET.Element) -> list[str]:
    return [case[0].tag for case in suite.iter("testcase")]


def test_a_case_for_each_finding() -> None:
    suite = parsed(MIXED)
    assert outcomes(suite) == ["failure", "failure", "skipped", "system-out", "system-out"]
    case = next(suite.iter("testcase"))
    assert case.attrib == {"classname": "accuracy", "name": ACCURACY.subject}
    assert case[0].attrib["message"] == "worse: 94.2% -> 93.0%; -1.2 points (-2.3 to -0.1)"
    skipped = next(suite.iter("skipped"))
    assert skipped.attrib["message"].startswith("unclear: 8.00 ms -> 8.64 ms; +8.0%")
    assert skipped.text == "take more\nor wait"
    assert next(suite.iter("system-out")).text == "same: 3 MiB -> 3 MiB"


def test_strict_makes_failures_of_what_is_unclear() -> None:
    assert outcomes(parsed(MIXED, strict=True))[2] == "failure"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("gate", [("status", "accuracy"), ("memory",), ("latency",)])
@pytest.mark.parametrize("only_unclear", [False, True])
def test_a_failure_is_there_exactly_where_the_exit_code_is_not_0(
    strict: bool, gate: tuple[str, ...], only_unclear: bool
) -> None:
    findings = [unsettled()] if only_unclear else MIXED.findings
    comparison = make_comparison(*findings, rules=Rules.model_validate({"gate": gate}))
    failed = parsed(comparison, strict).find(".//failure") is not None
    assert failed == (comparison.exit_code(strict) != 0)


def test_what_decides_nothing_is_told_and_does_not_fail() -> None:
    suite = parsed(replace(MIXED, rules=Rules(gate=("latency",))), strict=True)
    assert outcomes(suite)[:2] == ["skipped", "skipped"]
    assert next(suite.iter("skipped")).attrib["message"].startswith("worse, told only: 94.2%")


def test_who_was_compared_is_told() -> None:
    told = {p.attrib["name"]: p.attrib["value"] for p in parsed(MIXED).iter("property")}
    assert told["answer"].startswith("worse: 2 of 5 findings are regressions")
    assert told["packages"] == "packages that differ: tensorflow 2.21.0 -> 2.22.0"


def test_nothing_found_is_no_answer() -> None:
    assert outcomes(parsed(make_comparison())) == ["skipped"]
    assert outcomes(parsed(make_comparison(), strict=True)) == ["failure"]


def test_any_name_and_reason_is_well_formed() -> None:
    odd = "\x00 \x1b[1m \ud800 \ufffe <b> & \" ' ]]> é 🦆"
    finding = replace(ACCURACY, subject=odd, text=odd, a=odd, doubts=(odd,))
    (case,) = parsed(make_comparison(finding)).iter("testcase")
    plain = "� �[1m � � <b> & \" ' ]]> é 🦆"
    assert case.attrib["name"] == plain
    assert plain in case[0].attrib["message"]
    assert case[0].text == plain


def test_no_control_character_is_written() -> None:
    text = document(make_comparison(ODD), strict=False)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "a\ufffdb\ufffdc\ufffdd\ufffd" in text
