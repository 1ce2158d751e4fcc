"""A comparison as JUnit XML: a test case for each finding, for services that show those.

A finding that is ``worse`` is a failure; one that is ``unclear`` is skipped, or a failure where it
is to count. What decides nothing never fails: it is skipped with what there is to say. So a service
sees a failure exactly where the exit code is not 0.
"""

from xml.etree import ElementTree as ET

from bench.analysis.comparison import Comparison, Finding
from bench.reporting import wording
from bench.strangers import plain

SUITE = "bench compare"


def document(comparison: Comparison, strict: bool) -> str:
    """All findings, in one suite.

    Args:
        comparison: what was found.
        strict: whether what is unclear counts as a failure.
    """
    suite = ET.Element("testsuite", name=SUITE)
    properties = ET.SubElement(suite, "properties")
    told = {"answer": wording.answer(comparison)}
    told |= dict(zip(("A", "B", "packages"), wording.sides(comparison), strict=True))
    for name, value in told.items():
        ET.SubElement(properties, "property", name=name, value=_written(value))
    names = wording.subjects(comparison.findings)
    for finding in comparison.findings:
        suite.append(_case(comparison, finding, names[id(finding)], strict))
    if not comparison.gating:
        case = ET.SubElement(suite, "testcase", classname="gate", name=SUITE)
        ET.SubElement(case, "failure" if strict else "skipped", message=wording.NOTHING)
    counts = {
        "tests": sum(1 for _ in suite.iter("testcase")),
        "failures": sum(1 for _ in suite.iter("failure")),
        "errors": 0,
        "skipped": sum(1 for _ in suite.iter("skipped")),
    }
    root = ET.Element("testsuites")
    root.append(suite)
    for element in (root, suite):
        for name, count in counts.items():
            element.set(name, str(count))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _case(comparison: Comparison, finding: Finding, name: str, strict: bool) -> ET.Element:
    case = ET.Element("testcase", classname=finding.quantity, name=_written(name))
    decides = finding.quantity in comparison.rules.gate
    message = _written(_message(finding, decides))
    details = _written("\n".join(finding.doubts))
    if finding.verdict in ("worse", "unclear"):
        counts = finding.verdict == "worse" or strict
        outcome = "failure" if decides and counts else "skipped"
        ET.SubElement(case, outcome, message=message).text = details
    else:
        ET.SubElement(case, "system-out").text = "\n".join(filter(None, (message, details)))
    return case


def _message(finding: Finding, decides: bool) -> str:
    """``worse: 94.2% -> 93.0%, -1.2 points (-2.3 to -0.1)``."""
    before, after = (wording.amount(finding, v) for v in (finding.a, finding.b))
    parts = [f"{before} -> {after}" if before is not None and after is not None else None]
    parts += [_text(wording.change(finding.effect)), finding.text or None]
    verdict = finding.verdict if decides else f"{finding.verdict}, told only"
    return ": ".join([verdict, *(["; ".join(p for p in parts if p)] if any(parts) else [])])


def _text(cell: object) -> str | None:
    return None if cell is None else str(cell)


def _written(text: str) -> str:
    """Without what a terminal would obey, and so without what XML 1.0 has no way to write."""
    return plain(text.replace("\r\n", "\n"))
