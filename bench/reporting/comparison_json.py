"""A comparison as JSON, for programs.

    format       1; raised when a field changes its meaning or goes, not when one is added
    verdict      of all that decides: worse, unclear, better or same
    answer       the same in a sentence
    strict       whether unclear counts
    exit_code    of the comparison: 0, 1 or 3
    a, b         name, stack {id, backend, backend_version, keras_version, device, precision},
                 packages {name: version}, machine, trials, measurements
    packages_that_differ   {name: [in A, in B]}, "none" where one is not installed
    rules        level, gate [quantity, ...], margins {quantity: number}
    counts       {quantity: {verdict: count}}
    findings     in the order they were found, each:
      kind       trial, workload, backbone or overall
      subject    its label; key: of its spec, empty for "overall"
      quantity, verdict
      decides    whether it counts for the exit code
      a, b       as measured: a number in `unit`, words, or null
      unit       share (accuracy, 0 to 1), images/s, ms, bytes; null where there is none
      effect     null where nothing was weighed, or: estimate, low, high (B - A where no_change is
                 0, B / A where it is 1), level, p_value (adjusted for all tests), detectable (a
                 difference above 0, or a ratio above 1), no_change, repeats, assumed
      margin     a difference, or a share for a ratio; null where nothing was weighed
      text       what to say besides; doubts: [text, ...]
    notes        [text, ...]

Strict JSON, and ASCII: a number that is not finite is null.
"""

import json
import math
from typing import Any

from bench.analysis.comparison import Comparison, Finding, SideOf
from bench.analysis.stats import Effect
from bench.reporting import wording

FORMAT = 1


def document(comparison: Comparison, strict: bool) -> str:
    """All of it, indented."""
    content = {
        "format": FORMAT,
        "verdict": comparison.verdict,
        "answer": wording.answer(comparison),
        "strict": strict,
        "exit_code": comparison.exit_code(strict),
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "packages_that_differ": wording.differing(comparison.a.packages, comparison.b.packages),
        "rules": comparison.rules.model_dump(mode="json"),
        "counts": {
            quantity: {verdict: counted[verdict] for verdict in wording.VERDICTS}
            for quantity, counted in comparison.counts().items()
        },
        "findings": [_finding(comparison, finding) for finding in comparison.findings],
        "notes": list(comparison.notes),
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _side(side: SideOf) -> dict[str, Any]:
    return {
        "name": side.name,
        "stack": {"id": side.stack.id} | side.stack.model_dump(mode="json"),
        "packages": side.packages,
        "machine": side.machine,
        "trials": side.trials,
        "measurements": side.measurements,
    }


def _finding(comparison: Comparison, finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "key": finding.key,
        "quantity": finding.quantity,
        "verdict": finding.verdict,
        "decides": finding.quantity in comparison.rules.gate,
        "a": _plain(finding.a),
        "b": _plain(finding.b),
        "unit": wording.UNITS.get(finding.quantity),
        "effect": _effect(finding.effect) if finding.effect else None,
        "margin": finding.margin,
        "text": finding.text,
        "doubts": list(finding.doubts),
    }


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "estimate": _plain(effect.estimate),
        "low": _plain(effect.interval.low),
        "high": _plain(effect.interval.high),
        "level": effect.interval.level,
        "p_value": _plain(effect.p_value),
        "detectable": _plain(effect.detectable),
        "no_change": effect.no_change,
        "repeats": effect.repeats,
        "assumed": effect.assumed,
    }


def _plain(value: float | str | None) -> float | str | None:
    """A NumPy scalar is no JSON; a number that is not finite is none either."""
    if value is None or isinstance(value, str):
        return value
    return float(value) if math.isfinite(value) else None
