"""Throughput of a trial's phases, as it was measured apart from the trial."""

from collections.abc import Iterable

from bench.costs import CostResult
from bench.records import Stack, TrialSpec
from bench.running.cases import of_trial


class Speeds:
    """Looks up what the steps of a trial cost, out of the box.

    Args:
        costs: of any stacks, backbones and modes.
    """

    def __init__(self, costs: Iterable[CostResult]) -> None:
        self._rates = {(c.stack.id, c.key): c.device.median for c in costs if c.device}

    def of(self, spec: TrialSpec, stack: Stack, phase: int) -> float | None:
        """Images/s of the stock model in phase 1 or 2; None where it was not measured."""
        cases = (c for c in of_trial(spec) if c.workload == f"phase {phase}")
        found = (self._rates.get((stack.id, case.key)) for case in cases)
        return next((rate for rate in found if rate is not None), None)
