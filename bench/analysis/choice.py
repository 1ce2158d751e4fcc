"""The answer of ``bench choose``: which candidate, how sure, what else, what to run next.

    Question, rows -> Choice   (`bench.reporting.choices` words it)

It reads rows and nothing else, so that every number can be traced to one, at any time: after a
budget ran out, after Ctrl-C, on another machine.
"""

from dataclasses import dataclass
from typing import Literal

from bench.analysis.evidence import Figure
from bench.analysis.stats import Estimate
from bench.choices import Question
from bench.costs import CostResult
from bench.probes import ProbeResult
from bench.records import Backbone, Freeze, TrialResult, TrialSpec

State = Literal["tried", "probed", "unknown", "excluded"]
"""``tried``: has a finished trial; ``probed``: its backbone has a probe only; ``excluded``: it
breaks a limit, or none of its trials can run."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A backbone with a freeze strategy, and everything known of it.

    Attributes:
        specs: its trials, by seed.
        rows: those that finished, by seed.
        probe: of its backbone; None where there is none yet.
        cost: what inference takes; None where it was not measured.
        state: how far it got.
        reason: why it is excluded, or what is doubtful about a limit.
        expected: mean of what is believed of its accuracy, 0 to 1; from val alone.
        low, high: what it lies between with 95% probability.
        best: probability that it is the pick of them all: the best under limits and objective.
        close: probability that it is within the question's margin of the best.
        test: accuracy on test, which had no say in the choice; None where no trial finished.
        front: whether nothing eligible beats it in both accuracy and the cost compared.
    """

    specs: tuple[TrialSpec, ...]
    rows: tuple[TrialResult, ...]
    probe: ProbeResult | None
    cost: CostResult | None
    state: State
    reason: str
    expected: float | None
    low: float | None
    high: float | None
    best: float
    close: float
    test: Estimate | None
    front: bool = False

    @property
    def backbone(self) -> Backbone:
        """Which."""
        return self.specs[0].backbone

    @property
    def freeze(self) -> Freeze:
        """How much of it is unfrozen."""
        return self.specs[0].freeze

    @property
    def label(self) -> str:
        """For people: ``MobileNetV2 · top_fraction=0.2``."""
        return f"{self.backbone.name} · {self.freeze.label}"

    @property
    def latency(self) -> Figure | None:
        """Milliseconds, one picture."""
        found = self.cost and self.cost.latency
        return Figure(found.median, high=found.p90, apart=True) if found else None

    @property
    def throughput(self) -> Figure | None:
        """Images/s, inference."""
        rate = self.cost and self.cost.device
        if not rate or not self.cost:
            return None
        return Figure(rate.median, rate.low, rate.high, self.cost.doubtful, apart=True)

    @property
    def memory(self) -> Figure | None:
        """Bytes, inference."""
        held = self.cost and self.cost.memory
        return Figure(held.peak, apart=True) if held else None

    @property
    def parameters(self) -> Figure | None:
        """Numbers in backbone and head."""
        known = [r.total_parameters for r in self.rows if r.total_parameters]
        if not known and self.probe and self.probe.total_parameters:
            known = [self.probe.total_parameters]
        return Figure(float(known[0])) if known else None

    @property
    def seconds(self) -> float:
        """Wall time of its trials; shared work counts in the trial that did it."""
        return sum(r.seconds + r.pictures_seconds for r in self.rows)


@dataclass(frozen=True)
class Step:
    """Something to run to be surer.

    Attributes:
        specs: the trials.
        seconds: that they should take on this machine; None where that cannot be told.
    """

    specs: tuple[TrialSpec, ...]
    seconds: float | None


@dataclass(frozen=True, eq=False)
class Choice:
    """The answer.

    Attributes:
        question: what was asked.
        candidates: all of them: the most probable first, excluded ones last.
        pick: the most probable one that was tried; None where nothing finished.
        ties: others that were tried and cannot be told from it.
        clear: whether the leader is clear by the question's own standard.
        next: what to run to be surer; empty where nothing is left to run, or no need.
        seconds: wall time of every row, probes, trials and costs.
        doubts: what a reader must know, a sentence each.
    """

    question: Question
    candidates: tuple[Candidate, ...]
    pick: Candidate | None
    ties: tuple[Candidate, ...]
    clear: bool
    next: tuple[Step, ...]
    seconds: float
    doubts: tuple[str, ...] = ()
