"""Rows of one trial under several seeds, taken together."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench import marks
from bench.records import PhaseResult, Stack, TrialResult, TrialSpec


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds (None from a single one)."""

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Group:
    """The seeds of one trial under one stack.

    Attributes:
        spec: of the lowest seed.
        stack: what ran them.
        rows: every seed's row, whatever its status, by seed.
        apart: where other seeds of this trial saw other pictures, other weights or another
            protocol, what these saw; they are not averaged with those.
    """

    spec: TrialSpec
    stack: Stack
    rows: tuple[TrialResult, ...]
    apart: str | None = None

    @property
    def random(self) -> bool:
        """Whether it freezes a backbone of random weights: its accuracy means nothing."""
        return self.spec.meaningless

    @property
    def finished(self) -> tuple[TrialResult, ...]:
        """The rows that ended ``ok``; only these enter a mean."""
        return tuple(r for r in self.rows if r.status == "ok")

    def spread(self, value: Callable[[TrialResult], float | None]) -> Spread | None:
        """Mean and deviation of a value over the finished rows that have one."""
        values = [v for v in map(value, self.finished) if v is not None]
        if not values:
            return None
        mean = math.fsum(values) / len(values)
        squares = math.fsum((v - mean) ** 2 for v in values)
        deviation = math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None
        return Spread(mean, deviation, len(values))

    def phase(self, number: int, value: Callable[[PhaseResult], float | None]) -> Spread | None:
        """The same for a value of phase 1 or 2; None where that phase never ran."""

        def of(row: TrialResult) -> float | None:
            phase = row.phase1 if number == 1 else row.phase2
            return value(phase) if phase else None

        return self.spread(of)

    @cached_property
    def correct(self) -> NDArray[np.bool_] | None:
        """(seeds, pictures), right or wrong; None where a finished row does not tell."""
        known = [marks.of_row(r.test_correct, r.dataset.test) for r in self.finished if r.dataset]
        whole = [k for k in known if k is not None]
        return np.stack(whole) if whole and len(whole) == len(self.finished) else None

    @property
    def status(self) -> str:
        """``ok``, or how many of the seeds ended how."""
        bad = [r for r in self.rows if r.status != "ok"]
        if not bad:
            return "ok"
        names = sorted({r.status for r in bad})
        counts = ", ".join(f"{sum(r.status == n for r in bad)} {n}" for n in names)
        return counts if len(bad) == len(self.rows) else f"{len(self.finished)} ok, {counts}"

    @property
    def reasons(self) -> str:
        """Why seeds have no result, each reason once; empty where all have one."""
        return "; ".join(dict.fromkeys(r.reason for r in self.rows if r.status != "ok"))

    @property
    def guards(self) -> str:
        """``all pass``, or the names of those that failed on any seed; empty where none ran."""
        failed = sorted({name for r in self.rows for name in r.failed_guards})
        if failed:
            return "FAIL: " + ", ".join(failed)
        return "all pass" if any(r.guards for r in self.rows) else ""


def summarise(rows: Iterable[TrialResult]) -> list[Group]:
    """Group rows by everything but their seed, in the order first met."""
    trials: dict[tuple[str, str], list[TrialResult]] = {}
    for row in rows:
        trials.setdefault((row.stack.id, row.spec.seedless.key), []).append(row)
    return [group for same in trials.values() for group in _groups(same)]


def _groups(same: list[TrialResult]) -> list[Group]:
    """One group, or several where the seeds of a trial did not measure the same thing."""
    ordered = sorted(same, key=lambda r: r.spec.seed)
    kinds: dict[str, list[TrialResult]] = {}
    for row in ordered:
        if row.status == "ok":
            kinds.setdefault(_measured_on(row), []).append(row)
    if len(kinds) < 2:
        return [Group(ordered[0].spec, ordered[0].stack, tuple(ordered))]
    next(iter(kinds.values())).extend(r for r in ordered if r.status != "ok")
    return [Group(r[0].spec, r[0].stack, tuple(r), kind) for kind, r in kinds.items()]


def _measured_on(row: TrialResult) -> str:
    """Pictures, weights and protocol of a row, short; random weights differ by seed anyway."""
    pictures = row.dataset.fingerprint[:8] if row.dataset else "?"
    loaded = row.weights and row.spec.backbone.weights != "random"
    weights = row.weights.sha256[:8] if row.weights and loaded else "random"
    return f"pictures {pictures}, weights {weights}, protocol {row.protocol}"
