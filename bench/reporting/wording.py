"""A comparison in words: the answer in one line, and the cells of a finding."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench.analysis.comparison import Comparison, Finding, SideOf
from bench.analysis.judging import WORDS
from bench.analysis.margins import QUANTITIES, Quantity
from bench.analysis.stats import Effect, Verdict, needed
from bench.reporting.forms import Cell

VERDICTS: tuple[Verdict, ...] = ("worse", "unclear", "better", "same")
"""From the one to read first."""

UNITS: Mapping[Quantity, str] = {
    "accuracy": "share",
    "throughput": "images/s",
    "end_to_end": "images/s",
    "latency": "ms",
    "memory": "bytes",
}
"""Of what was measured; the other quantities have none."""

NAMED = 3
"""Findings that a line names before it only counts."""

ASKED = 50
"""Unclear findings up to which the answer says what would settle them."""


NOTHING = "nothing was compared that decides the exit code"


def answer(comparison: Comparison) -> str:
    """One line that says what the comparison came to, of what decides its exit code."""
    gating = comparison.gating
    found = {v: [f for f in gating if f.verdict == v] for v in VERDICTS}
    names = subjects(comparison.findings)
    verdict = comparison.verdict
    of = f"{len(found[verdict]):,} of {counted(len(gating), 'finding')}"
    if not gating:
        text = f"unclear: {NOTHING}"
    elif verdict == "worse":
        text = f"worse: {of} {_are(found['worse'], 'a regression', 'regressions')}"
        text += f" ({named(found['worse'], names)})"
        text += f"; {len(found['unclear']):,} could not be settled" if found["unclear"] else ""
    elif verdict == "unclear":
        text = f"unclear: {of} could not be settled{_settling(found['unclear'])}"
    elif verdict == "better":
        text = f"better: {of} {_are(found['better'], 'an improvement', 'improvements')}"
        text += f" ({named(found['better'], names)}), and nothing is worse"
    else:
        text = "same: no change beyond the margins in anything that was weighed"
    return text + _told_only(comparison)


def counted(count: int, word: str) -> str:
    """``1 finding``, ``31 findings``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _are(found: Sequence[Finding], one: str, several: str) -> str:
    return f"is {one}" if len(found) == 1 else f"are {several}"


def _told_only(comparison: Comparison) -> str:
    """What is worse and decides nothing must not be overlooked."""
    gate = comparison.rules.gate
    worse = sum(f.verdict == "worse" for f in comparison.findings if f.quantity not in gate)
    return f"; {worse:,} worse among what decides nothing" if worse else ""


def _settling(unclear: Sequence[Finding]) -> str:
    """``; about 4 more rounds would settle them``."""
    if len(unclear) > ASKED:
        return ""
    most: Counter[str] = Counter()
    settled = 0
    for finding in unclear:
        more = _missing(finding)
        if more:
            settled += 1
            word = WORDS[finding.kind]
            most[word] = max(most[word], more)
    if not settled:
        return ""
    needs = " and ".join(counted(n, f"more {word}") for word, n in most.items())
    whom = f"{settled} of them" if settled < len(unclear) else "it" if settled == 1 else "them"
    return f"; about {needs} on each side would settle {whom}"


def _missing(finding: Finding) -> int:
    """Repeats that there are too few of; 0 where none would do, or enough are there."""
    if finding.effect is None or finding.margin is None:
        return 0
    count = needed(finding.effect, finding.margin)
    return max(0, count - finding.effect.repeats) if count else 0


def named(found: Sequence[Finding], names: Mapping[int, str]) -> str:
    """``accuracy of A; throughput of B; and 5 more``."""
    said = [f"{quantity(f)} of {names[id(f)]}" for f in found[:NAMED]]
    more = len(found) - NAMED
    return "; ".join([*said, f"and {more:,} more"] if more > 0 else said)


def subjects(findings: Iterable[Finding]) -> dict[int, str]:
    """A name for each finding's subject, by the finding's `id`.

    Labels leave out what a suite usually has but once; where two subjects share one, each says how
    its key begins.
    """
    found = list(findings)
    keys: dict[tuple[str, str], set[str]] = {}
    for f in found:
        keys.setdefault((f.kind, f.subject), set()).add(f.key)
    return {
        id(f): f"{f.subject} [{f.key[:8]}]" if len(keys[f.kind, f.subject]) > 1 else f.subject
        for f in found
    }


def worst_first(comparison: Comparison) -> list[Finding]:
    """Findings in the order to read them: what decides first, then by quantity, then by size."""

    def place(finding: Finding) -> tuple[int, bool, int, float]:
        return (
            VERDICTS.index(finding.verdict),
            finding.quantity not in comparison.rules.gate,
            QUANTITIES.index(finding.quantity),
            -_margins_away(finding),
        )

    return sorted(comparison.findings, key=place)


def _margins_away(finding: Finding) -> float:
    effect = finding.effect
    if effect is None or not finding.margin or not math.isfinite(effect.estimate):
        return 0.0
    if effect.no_change == 0:
        return abs(effect.estimate) / finding.margin
    ratio = effect.estimate
    return abs(math.log(ratio)) / math.log1p(finding.margin) if ratio > 0 else math.inf


# --------------------------------------------------------------------------------------- cells


def quantity(finding: Finding) -> str:
    """Its name, for people."""
    return finding.quantity.replace("_", " ")


def amount(finding: Finding, value: float | str | None) -> Cell:
    """One side as measured, with its unit."""
    if value is None or isinstance(value, str):
        return value
    if not math.isfinite(value):
        return None
    unit = UNITS.get(finding.quantity)
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "bytes":
        return f"{value / 2**20:,.0f} MiB"
    if unit == "images/s":
        return f"{_three_digits(value)} img/s"
    return f"{_three_digits(value)} ms" if unit == "ms" else f"{value:,g}"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def change(effect: Effect | None) -> Cell:
    """``-1.2 points (-2.3 to -0.1)``, ``-8.1% (-11.0 to -5.0)``: the estimate and its interval."""
    if effect is None or not math.isfinite(effect.estimate):
        return None
    middle, low, high = (
        _moved(effect, v) for v in (effect.estimate, effect.interval.low, effect.interval.high)
    )
    return f"{middle}{_unit(effect)} ({low} to {high})"


def _moved(effect: Effect, value: float) -> str:
    text = f"{100 * (value - effect.no_change):+,.1f}" if math.isfinite(value) else "unknown"
    return "+0.0" if text == "-0.0" else text


def _unit(effect: Effect) -> str:
    return "%" if effect.no_change else " points"


def p_value(effect: Effect | None) -> Cell:
    """Adjusted; None where nothing was tested."""
    if effect is None or math.isnan(effect.p_value):
        return None
    return "<0.001" if effect.p_value < 0.001 else f"{effect.p_value:.3f}"


def could_see(effect: Effect | None) -> Cell:
    """The smallest change that would have been noticed: ``1.4 points``, ``6.0%``."""
    if effect is None or not math.isfinite(effect.detectable):
        return None
    return f"{100 * (effect.detectable - effect.no_change):,.1f}{_unit(effect)}"


def margin(finding: Finding) -> Cell:
    """What does not matter: ``1 point``, ``5%``."""
    if finding.margin is None:
        return None
    number = f"{100 * finding.margin:g}"
    if finding.quantity != "accuracy":
        return f"{number}%"
    return f"{number} point{'' if number == '1' else 's'}"


# --------------------------------------------------------------------------------------- sides


def sides(comparison: Comparison) -> Iterator[str]:
    """Who is A and who B, and what differs between them."""
    machines = comparison.a.machine != comparison.b.machine
    yield _side("A", comparison.a, machines)
    yield _side("B", comparison.b, machines)
    packages = differing(comparison.a.packages, comparison.b.packages)
    said = ", ".join(f"{name} {a} -> {b}" for name, (a, b) in packages.items())
    yield f"packages that differ: {said or 'none'}"


def _side(letter: str, side: SideOf, with_machine: bool) -> str:
    name = side.name if side.name == side.stack.id else f"{side.name}: {side.stack.id}"
    rows = f"{counted(side.trials, 'trial')}, {counted(side.measurements, 'measurement')}"
    machine = f"; {side.machine}" if with_machine else ""
    return f"{letter} is {name} ({rows}{machine})"


def differing(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Packages with another version on either side, ``none`` where one is not installed."""
    names = sorted(n for n in a.keys() | b.keys() if a.get(n) != b.get(n))
    return {name: (a.get(name, "none"), b.get(name, "none")) for name in names}
