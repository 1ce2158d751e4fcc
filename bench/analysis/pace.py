"""How long probes, trials and measurements should take on this machine, by those that ran.

A trial is: a process' start, one pass of its pictures through the backbone (shared by all trials on
its ground), heads, and the steps of phase 2. What steps of a strategy take, as against forward
passes, is learned from trials of any backbone; until one ran, it is assumed.
"""

import statistics
from collections.abc import Iterable

from bench import steps
from bench.analysis.candidates import Known
from bench.records import TrialSpec
from bench.running.expected import TRAINING, trained_share

PROCESS_SECONDS = 12.0
"""Assumed: a worker's start, import of its framework included, and loading a backbone."""
OVERHEAD = 3.0
"""Assumed: guards and compilation of a phase 2."""
COST_SECONDS = 25.0
"""Assumed: a measurement of inference, until one was made."""


class Pace:
    """What tasks should take.

    Args:
        found: every candidate with its rows.
        sizes: pictures in train, val and test of a trial, where that is known beforehand.
    """

    def __init__(self, found: Iterable[Known], sizes: tuple[int, int, int] | None = None) -> None:
        known = list(found)
        self._known_sizes = sizes
        self._rows = [row for k in known for row in k.rows]
        probes = {k.probe.key: k.probe for k in known if k.probe}
        self._probes = [p for p in probes.values() if p.status == "ok"]
        self._costs = {k.cost.key: k.cost.seconds for k in known if k.cost}
        self._grounds = {steps.ground_of(row.spec) for row in self._rows}
        self._per_step = self._factors()

    def cost(self) -> float:
        """Seconds of a measurement of inference."""
        return PROCESS_SECONDS + max(self._costs.values()) if self._costs else COST_SECONDS

    def trial(self, spec: TrialSpec) -> float | None:
        """Seconds of a trial; None where its backbone's speed is not known."""
        own = self._own(spec)
        if own is not None:
            return own + self._pass(spec)
        pace, sizes = self._forward(spec), self._sizes(spec)
        if pace is None or sizes is None:
            return None
        return self._pass(spec) + self._tuning(spec, pace, sizes)

    # ---------------------------------------------------------------------------------- parts

    def _own(self, spec: TrialSpec) -> float | None:
        """What other seeds of the same candidate took, the shared pass apart."""
        alike = spec.seedless
        same = [r for r in self._rows if r.spec.seedless == alike]
        if not same:
            return None
        return statistics.mean((r.phase2.seconds if r.phase2 else 0.0) + OVERHEAD for r in same)

    def _pass(self, spec: TrialSpec) -> float:
        """The shared part, where nobody has done it."""
        if steps.ground_of(spec) in self._grounds:
            return 0.0 if self._latest(spec) else PROCESS_SECONDS
        pace, sizes = self._forward(spec), self._sizes(spec)
        if pace is None or sizes is None:
            return PROCESS_SECONDS
        return PROCESS_SECONDS + pace * sum(sizes)

    def _latest(self, spec: TrialSpec) -> bool:
        """Whether the worker that is there holds this backbone."""
        last = max(self._rows, key=lambda r: r.started_at, default=None)
        return last is not None and last.spec.backbone == spec.backbone

    def _forward(self, spec: TrialSpec) -> float | None:
        """Seconds of a picture's pass through the backbone; where its features were known
        already, what the whole probe took a picture."""
        own = next((p for p in self._probes if p.spec.backbone == spec.backbone), None)
        if own is None or own.dataset is None:
            return None
        return own.features_seconds or own.seconds / (own.dataset.train + own.dataset.val)

    def _sizes(self, spec: TrialSpec) -> tuple[int, int, int] | None:
        """Pictures of the three splits."""
        seen = next((r.dataset for r in self._rows if r.dataset), None)
        return (seen.train, seen.val, seen.test) if seen else self._known_sizes

    def _tuning(self, spec: TrialSpec, pace: float, sizes: tuple[int, int, int]) -> float:
        if spec.phase2 is None:
            return OVERHEAD
        factor = self._per_step.get(spec.freeze.label, TRAINING * trained_share(spec.freeze))
        return OVERHEAD + factor * pace * spec.phase2.epochs * sizes[0]

    def _factors(self) -> dict[str, float]:
        """Seconds of phase 2 for each train picture and epoch, in forward passes, by strategy."""
        found: dict[str, list[float]] = {}
        for row in self._rows:
            pace, spec = self._forward(row.spec), row.spec
            if row.phase2 and row.dataset and pace and spec.phase2:
                passes = len(row.phase2.epochs) * row.dataset.train * pace
                found.setdefault(spec.freeze.label, []).append(row.phase2.seconds / passes)
        return {label: statistics.mean(factors) for label, factors in found.items()}
