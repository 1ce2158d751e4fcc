"""A world to choose in: candidates whose true accuracy and cost are known, and an engine that
measures them, by chance as trials do."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from conftest import STACK, make_cost, make_dataset, make_phase, make_rate, make_result, make_spec

from bench import marks
from bench.analysis.candidates import cost_of
from bench.choices import Question
from bench.costs import CostResult, CostSpec, Latency
from bench.probes import ProbeResult, ProbeSpec
from bench.progress import Progress
from bench.records import Backbone, Data, DatasetUsed, Freeze, Stack, TrialResult, TrialSpec
from bench.running.messages import Finished
from bench.tasks import Row, Spec

HEAD = Freeze(strategy="head_only")
TOP = Freeze(strategy="top_fraction", amount=0.2)
PICTURES = 600


def specs(backbone: str, freeze: Freeze, seeds: int = 3) -> tuple[TrialSpec, ...]:
    """A candidate's trials."""
    found = [make_spec(freeze, seed, "flowers") for seed in range(seeds)]
    if freeze == HEAD:
        found = [s.model_copy(update={"phase2": None}) for s in found]
    return tuple(s.model_copy(update={"backbone": Backbone(name=backbone)}) for s in found)


def question(
    truth: "Mapping[tuple[str, Freeze], float]", seeds: int = 3, **changes: object
) -> Question:
    """Which of these, each with its true accuracy?"""
    trials = [spec for name, freeze in truth for spec in specs(name, freeze, seeds)]
    probes = {
        t.backbone: ProbeSpec(backbone=t.backbone, data=t.data, head=t.head, phase1=t.phase1)
        for t in trials
        if t.phase1
    }
    fields = {"name": "choose-flowers", "trials": trials, "probes": list(probes.values())}
    return Question.model_validate({**fields, **changes})


@dataclass
class World:
    """An engine that measures what is known.

    Attributes:
        truth: accuracy of each candidate.
        seconds: of a trial, by backbone; where nothing is said 10, and 3 for a head alone.
        statuses: of trials that do not end well, by label of backbone and strategy.
        latency: milliseconds, by backbone.
        clock: what tasks take is added to it.
        executed: labels, in order.
        interrupt: the label whose task somebody interrupts.
        fingerprint: of the pictures that a task sees.
    """

    truth: Mapping[tuple[str, Freeze], float]
    seconds: Mapping[str, float] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)
    interrupt: str | None = None
    fingerprint: Callable[[Data], str] = lambda _: "f" * 64
    stack: Stack = STACK
    now: float = 0.0
    executed: list[str] = field(default_factory=list)
    closed: int = 0

    def clock(self) -> float:
        return self.now

    def close(self) -> None:
        self.closed += 1

    def execute(
        self,
        spec: Spec,
        report: Callable[[Progress], None],
        turn: object = None,
        save: Path | None = None,
    ) -> Finished:
        name = label(spec)
        if name == self.interrupt:
            raise KeyboardInterrupt
        self.executed.append(name)
        row = self.row(spec)
        self.now += row.seconds
        return Finished(result=row)

    def row(self, spec: Spec) -> Row:
        """What comes of a task, the same each time."""
        if isinstance(spec, ProbeSpec):
            return self._probe(spec)
        if isinstance(spec, CostSpec):
            return self._cost(spec)
        assert isinstance(spec, TrialSpec)
        return self._trial(spec)

    def _right(self, share: float, *key: object) -> str:
        """Answers on val: the same pictures are hard for everybody."""
        hard = np.random.default_rng(0).uniform(size=PICTURES)
        own = np.random.default_rng(zlib.crc32(repr(key).encode())).uniform(-0.08, 0.08, PICTURES)
        return marks.packed(hard + own < share)

    def _dataset(self, data: Data, train: int) -> DatasetUsed:
        seen = self.fingerprint(data)
        return make_dataset(seen, val=PICTURES, test=PICTURES, train=train)

    def _trial(self, spec: TrialSpec) -> TrialResult:
        status = self.statuses.get(label(spec), "ok")
        seconds = self.seconds.get(spec.backbone.name, 10.0 if spec.phase2 else 3.0)
        if status != "ok":
            return make_result(
                spec, status=status, reason="no room", seconds=seconds, test_accuracy=None
            )
        share = self.truth[spec.backbone.name, spec.freeze]
        head = self.truth.get((spec.backbone.name, HEAD), share)

        def phase(accuracy: float, *key: object):  # type: ignore[no-untyped-def]
            packed = self._right(accuracy, spec.backbone.name, spec.seed, *key)
            return make_phase(accuracy).model_copy(
                update={"val_correct": packed, "seconds": seconds / 2}
            )

        two = spec.phase2 is not None
        return make_result(
            spec,
            seconds=seconds,
            dataset=self._dataset(spec.data, 1000),
            phase1=phase(head, "head"),
            phase2=phase(share, spec.freeze.label) if two else None,
            test_accuracy=share,
            test_correct=self._right(share, spec.backbone.name, spec.seed, "test", spec.freeze),
            total_parameters=1_000_000,
        )

    def _probe(self, spec: ProbeSpec) -> ProbeResult:
        status = self.statuses.get(label(spec), "ok")
        share = self.truth.get((spec.backbone.name, HEAD), 0.8) - 0.02
        fields: dict[str, object] = {
            "key": spec.key,
            "spec": spec,
            "stack": STACK,
            "status": status,
            "reason": "" if status == "ok" else "no weights",
            "started_at": "2026-01-01T00:00:00+00:00",
            "seconds": 5.0,
        }
        if status == "ok":
            fields |= {
                "dataset": self._dataset(spec.data, 500),
                "linear": [share] * 3,
                "linear_correct": [
                    self._right(share, spec.backbone.name, s, "probe") for s in spec.seeds
                ],
                "features_seconds": 0.002,
                "total_parameters": 1_000_000,
            }
        return ProbeResult.model_validate(fields)

    def _cost(self, spec: CostSpec) -> CostResult:
        ms = self.latency.get(spec.backbone.name, 10.0)
        return make_cost(
            spec,
            seconds=8.0,
            latency=Latency(median=ms, p90=1.1 * ms, p99=None, count=100),
            device=make_rate(1000 / ms, 990 / ms, 1010 / ms),
        )


def label(spec: Spec) -> str:
    """``A head_only 0``, ``probe A``, ``cost A``."""
    if isinstance(spec, ProbeSpec):
        return f"probe {spec.backbone.name}"
    if isinstance(spec, CostSpec):
        return f"cost {spec.backbone.name}"
    assert isinstance(spec, TrialSpec)
    return f"{spec.backbone.name} {spec.freeze.strategy} {spec.seed}"


def measured(world: World, asked: Question, *which: str) -> list[Row]:
    """Rows of a question's tasks, by their labels."""
    every = [*asked.probes, *asked.trials, *dict.fromkeys(map(cost_of, asked.trials))]
    return [world.row(spec) for name in which for spec in every if label(spec) == name]
