"""What a comparison of two stacks comes to: values that any report can be made from."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from bench.analysis.margins import Quantity, Rules
from bench.analysis.stats import Effect, Verdict
from bench.records import Stack

Kind = Literal["trial", "workload", "backbone", "overall"]

REGRESSED, UNCLEAR = 1, 3
"""Exit codes; 0 says that nothing is known to be worse, 2 is for wrong usage."""


@dataclass(frozen=True)
class Finding:
    """One quantity of one subject, in A and in B.

    Attributes:
        kind: what the subject is: a trial with all its seeds, a workload, a backbone's numerics, or
            all workloads together.
        subject: its label.
        key: of the trial without seed, of the cost, of the fingerprint; empty for all together.
        quantity: what was compared.
        verdict: see `bench.analysis.stats.verdict`. What cannot be weighed is ``same`` where it is
            equal, and ``worse`` where it changed for no stated reason: more parameters that train,
            other numbers from the same weights.
        a, b: as measured: accuracy 0 to 1, images/s, ms, bytes, a count; None where there is none.
        text: what to say besides the numbers.
        effect: B - A for accuracy, B / A for costs; None where nothing was weighed. Its p-value is
            adjusted for all that this comparison tested, and its ``detectable`` is of that level.
        margin: that the verdict went by.
        doubts: what makes it less sure, each with what to do.
    """

    kind: Kind
    subject: str
    key: str
    quantity: Quantity
    verdict: Verdict
    a: float | str | None = None
    b: float | str | None = None
    text: str = ""
    effect: Effect | None = None
    margin: float | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class SideOf:
    """Whose results were compared.

    Attributes:
        name: as the user gave the folder, or the stack's name.
        stack: see there.
        packages: versions of what was installed.
        machine: processor, cores and memory, in words.
        trials, measurements: rows that there were.
    """

    name: str
    stack: Stack
    packages: dict[str, str]
    machine: str
    trials: int
    measurements: int


@dataclass(frozen=True)
class Comparison:
    """Everything found.

    Attributes:
        a, b: the reference, and what is held against it.
        rules: margins and the gate.
        findings: by quantity as `bench.analysis.margins.QUANTITIES` orders them within a subject.
        notes: what a reader must know about all of it.
    """

    a: SideOf
    b: SideOf
    rules: Rules
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def gating(self) -> tuple[Finding, ...]:
        """Findings that decide the exit code."""
        return tuple(f for f in self.findings if f.quantity in self.rules.gate)

    @property
    def verdict(self) -> Verdict:
        """``worse`` if anything that gates is; else ``unclear`` if anything is, or nothing gates;
        else ``better`` or ``same``."""
        found = {f.verdict for f in self.gating} or {"unclear"}
        order: tuple[Verdict, ...] = ("worse", "unclear", "better")
        return next((v for v in order if v in found), "same")

    def exit_code(self, strict: bool = False) -> int:
        """0 no regression, 1 regression, 3 unclear if that is to count."""
        if self.verdict == "worse":
            return REGRESSED
        return UNCLEAR if strict and self.verdict == "unclear" else 0

    def counts(self) -> dict[Quantity, Counter[Verdict]]:
        """How many findings of each quantity had each verdict."""
        found: dict[Quantity, Counter[Verdict]] = {}
        for finding in self.findings:
            found.setdefault(finding.quantity, Counter())[finding.verdict] += 1
        return found
