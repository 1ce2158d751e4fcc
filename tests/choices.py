"""Answers of ``bench choose`` made by hand: candidates with whatever numbers a test needs."""

from collections.abc import Sequence

from conftest import make_cost, make_dataset, make_probe, make_rate, make_result, make_spec

from bench.analysis.choice import Candidate, Choice, State, Step
from bench.analysis.stats import Estimate, Interval
from bench.choices import Limits, Objective, Question
from bench.costs import CostResult, CostSpec, Latency, Memory
from bench.probes import ProbeResult, ProbeSpec
from bench.records import Backbone, Freeze, Phase, TrialSpec

HEAD = Freeze(strategy="head_only")
TOP = Freeze(strategy="top_fraction", amount=0.2)
SEEDS = 5


def specs(backbone: str, freeze: Freeze = HEAD, dataset: str = "digits") -> tuple[TrialSpec, ...]:
    """A candidate's trials."""
    return tuple(
        make_spec(freeze, seed, dataset).model_copy(update={"backbone": Backbone(name=backbone)})
        for seed in range(SEEDS)
    )


def probe(backbone: str, linear: Sequence[float] = (0.8, 0.82), **changes: object) -> ProbeResult:
    """Of a backbone, as the store has it."""
    first = specs(backbone)[0]
    spec = ProbeSpec(
        backbone=first.backbone,
        data=first.data,
        head=first.head,
        phase1=Phase(epochs=5, learning_rate=1e-3),
    )
    given = {"linear": tuple(linear), "logme": 0.4321, "suspects": (), "features_seconds": None}
    return make_probe(spec, **(given | changes))


def cost(backbone: str, latency: float = 8.0, speed: float = 100.0, gib: float = 1) -> CostResult:
    """What inference takes."""
    return make_cost(
        CostSpec(backbone=Backbone(name=backbone), workload="inference"),
        latency=Latency(median=latency, p90=latency * 1.25, p99=None, count=500),
        device=make_rate(speed, 0.98 * speed, 1.02 * speed),
        memory=Memory(peak=int(gib * 2**30), before=0, kind="resident"),
    )


def candidate(
    backbone: str = "MobileNetV2",
    freeze: Freeze = HEAD,
    expected: float | None = 0.84,
    best: float = 0.5,
    close: float = 0.7,
    seeds: int = 3,
    state: State | None = None,
    dataset: str = "digits",
    **changes: object,
) -> Candidate:
    """A candidate with so many seeds tried, its test accuracy 0.2 points above what is believed."""
    trials = specs(backbone, freeze, dataset)
    middle = (expected or 0.0) + 0.002
    fields: dict[str, object] = {
        "specs": trials,
        "rows": tuple(make_result(spec, dataset=make_dataset()) for spec in trials[:seeds]),
        "probe": probe(backbone),
        "cost": None,
        "state": state or ("tried" if seeds else "probed"),
        "reason": "",
        "expected": expected,
        "low": None if expected is None else expected - 0.02,
        "high": None if expected is None else expected + 0.02,
        "best": best,
        "close": close,
        "test": Estimate(middle, Interval(middle - 0.023, middle + 0.021, 0.95), seeds),
    }
    if not seeds:
        fields["test"] = None
    return Candidate(**fields | changes)  # type: ignore[arg-type]


def untried(backbone: str, freeze: Freeze = HEAD, best: float = 0.01) -> Candidate:
    """One whose backbone was probed."""
    return candidate(backbone, freeze, 0.7, best, best, seeds=0)


def excluded(backbone: str, freeze: Freeze = HEAD, **changes: object) -> Candidate:
    """One that takes no part."""
    given: dict[str, object] = {"seeds": 0, "state": "excluded"}
    return candidate(backbone, freeze, 0.9, 0.0, 0.0, **given | changes)  # type: ignore[arg-type]


def chosen(
    *candidates: Candidate,
    ties: Sequence[Candidate] = (),
    clear: bool = True,
    then: Sequence[Step] = (),
    doubts: Sequence[str] = (),
    objective: Objective = "accuracy",
    limits: Limits | None = None,
    budget: float | None = None,
    name: str = "digits",
) -> Choice:
    """The answer of these; the first that was tried is the pick."""
    question = Question(
        name=name,
        trials=tuple(spec for c in candidates for spec in c.specs),
        limits=limits or Limits(),
        objective=objective,
        budget_seconds=budget,
    )
    pick = next((c for c in candidates if c.state == "tried"), None)
    return Choice(
        question=question,
        candidates=candidates,
        pick=pick,
        ties=tuple(ties),
        clear=clear,
        next=tuple(then),
        seconds=754.0,
        doubts=tuple(doubts),
    )


def clear() -> Choice:
    """A clear leader, one behind it, and one that was left untried."""
    first = candidate("EfficientNetLite1", TOP, 0.84, 0.97, 0.99, cost=cost("EfficientNetLite1"))
    return chosen(
        first,
        candidate("MobileNetV2", HEAD, 0.79, 0.02, 0.03, front=True, cost=cost("MobileNetV2", 3.0)),
        untried("ResNet50"),
        budget=1800.0,
    )


def tie() -> Choice:
    """Two that cannot be told apart, and what to run to tell them."""
    one = candidate("MobileNetV2", TOP, 0.84, 0.55, 0.91)
    other = candidate("EfficientNetLite1", HEAD, 0.838, 0.42, 0.85)
    more = Step((*one.specs[3:], *other.specs[3:]), 731.0)
    return chosen(one, other, ties=(other,), clear=False, then=(more,))
