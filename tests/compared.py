"""Comparisons made by hand, for the tests of their reports."""

from dataclasses import replace
from typing import Any

from conftest import STACK

from bench.analysis.comparison import Comparison, Finding, SideOf
from bench.analysis.margins import Rules
from bench.analysis.stats import Effect, Interval

NEWER = STACK.model_copy(update={"backend_version": "2.22.0"})
A = SideOf("old", STACK, {"keras": "3.15.1", "tensorflow": "2.21.0"}, "one core", 10, 4)
B = SideOf("new", NEWER, {"keras": "3.15.1", "tensorflow": "2.22.0"}, "one core", 10, 4)

DIFFERENCE = Effect(-0.0123, Interval(-0.0234, -0.0011, 0.95), 0.012, 0.0142, 0, 5, False)
RATIO = Effect(0.919, Interval(0.89, 0.95, 0.95), 0.0004, 1.06, 1, 5, False)

ACCURACY = Finding(
    "trial",
    "MobileNetV2 · digits · head_only · linear",
    "a" * 32,
    "accuracy",
    "worse",
    0.942,
    0.93,
    effect=DIFFERENCE,
    margin=0.01,
)
THROUGHPUT = Finding(
    "workload",
    "MobileNetV2 · 96 px · inference",
    "b" * 32,
    "throughput",
    "worse",
    312.4,
    287.0,
    effect=RATIO,
    margin=0.05,
)
MEMORY = Finding("workload", "M", "b" * 32, "memory", "same", 3 * 2.0**20, 3 * 2.0**20)


def unsettled(repeats: int = 3, **changes: Any) -> Finding:
    """A latency that more rounds would settle."""
    effect = Effect(1.08, Interval(0.99, 1.18, 0.95), 0.2, 1.2, 1, repeats, False, freedom=2.0)
    fields = {"quantity": "latency", "verdict": "unclear", "effect": effect, "margin": 0.05}
    return replace(THROUGHPUT, **(fields | {"a": 8.0, "b": 8.64} | changes))


def make_comparison(*findings: Finding, **changes: Any) -> Comparison:
    """Of these findings, with any field replaced."""
    return replace(Comparison(A, B, Rules(), findings), **changes)
