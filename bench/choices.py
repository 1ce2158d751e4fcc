"""The vocabulary of choosing as frozen values: what was asked. The answer is worked out from rows.

    Question -> trials and probes -> rows -> `bench.analysis.choice.Choice`

A results folder of ``bench choose`` holds its question as ``choice.json``.
"""

from typing import Literal

from pydantic import Field

from bench.probes import ProbeSpec
from bench.records import Record, TrialSpec

FILE = "choice.json"
"""In a results folder: the question."""

Objective = Literal["accuracy", "throughput", "latency", "memory", "parameters"]
"""What the pick is best at. Anything but accuracy: among candidates whose accuracy is at most
``Question.give_up`` below the best."""


class Limits(Record):
    """What a candidate must keep to, None for no limit.

    Attributes:
        latency: milliseconds, inference at batch 1.
        parameters: numbers in backbone and head.
        memory: bytes, at the most while it infers, as ``bench measure`` has it.
        throughput: images/s at least, inference.
    """

    latency: float | None = Field(None, gt=0)
    parameters: int | None = Field(None, gt=0)
    memory: float | None = Field(None, gt=0)
    throughput: float | None = Field(None, gt=0)

    @property
    def measured(self) -> bool:
        """Whether costs must be measured to tell."""
        return any(v is not None for v in (self.latency, self.memory, self.throughput))


class Question(Record):
    """What ``bench choose`` was asked.

    Attributes:
        name: of the task, and of the results folder.
        trials: every trial of every candidate: what a full sweep would run. A candidate is what
            its trials have in common but the seed.
        probes: one for each backbone.
        limits: what a pick must keep to.
        objective: what it is best at.
        give_up: accuracy, 0 to 1, that another objective than accuracy may cost.
        margin: accuracy, 0 to 1: candidates closer than this are as good as each other.
        sure: probability, 0 to 1, from which on the leader is clear.
        budget_seconds: wall time, None for as long as it takes.
        pictures: fingerprints of the splits that trials and probes are to see; rows that saw others
            do not count. Empty: those that most rows saw.
        sizes: pictures in train, val and test of a trial; None where that is not known.
    """

    name: str
    trials: tuple[TrialSpec, ...]
    probes: tuple[ProbeSpec, ...] = ()
    limits: Limits = Limits()
    objective: Objective = "accuracy"
    give_up: float = Field(0.01, ge=0, le=1)
    margin: float = Field(0.005, ge=0, le=1)
    sure: float = Field(0.95, gt=0.5, lt=1)
    budget_seconds: float | None = Field(None, gt=0)
    pictures: tuple[str, ...] = ()
    sizes: tuple[int, int, int] | None = None
