"""Throughput of a trial's phases, as it was measured apart from the trial."""

from collections.abc import Iterable

from bench.costs import CostResult, Workload
from bench.records import Stack, TrialSpec
from bench.running.cases import of_trial


class Speeds:
    """Looks up what the steps of a trial cost, out of the box.

    Args:
        costs: of any stacks, backbones and modes.
    """

    def __init__(self, costs: Iterable[CostResult]) -> None:
        self._rows = {(c.stack.id, c.key): c for c in costs if c.device}

    def row(self, spec: TrialSpec, stack: Stack, phase: int) -> CostResult | None:
        """The measurement of the stock model in phase 1 or 2; None where there is none."""
        return self.workload(spec, stack, "phase 1" if phase == 1 else "phase 2")

    def workload(self, spec: TrialSpec, stack: Stack, name: Workload) -> CostResult | None:
        """The measurement of the stock model in inference, or a phase; None where there is none."""
        cases = (c for c in of_trial(spec) if c.workload == name)
        found = (self._rows.get((stack.id, case.key)) for case in cases)
        return next((row for row in found if row is not None), None)

    def of(self, spec: TrialSpec, stack: Stack, phase: int) -> float | None:
        """Its images/s."""
        row = self.row(spec, stack, phase)
        return row.device.median if row and row.device else None
