"""What a worker can be asked to do, and what comes of it: every kind of spec, every kind of row."""

from collections.abc import Mapping

from bench.costs import CostResult, CostSpec
from bench.numerics import NumericsResult, NumericsSpec
from bench.probes import ProbeResult, ProbeSpec
from bench.records import TrialResult, TrialSpec

Spec = TrialSpec | CostSpec | NumericsSpec | ProbeSpec
"""What a worker can be asked to do."""

Row = TrialResult | CostResult | NumericsResult | ProbeResult
"""What comes of it."""

ROWS: Mapping[type[Spec], type[Row]] = {
    TrialSpec: TrialResult,
    CostSpec: CostResult,
    NumericsSpec: NumericsResult,
    ProbeSpec: ProbeResult,
}
"""What kind of row comes of what kind of spec."""
