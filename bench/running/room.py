"""Which activations of a ground there is room for, as far as is known before a run.

The rule is `bench.steps.kept`, as it is for a workbench, which knows every size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from bench import steps
from bench.records import TrialSpec
from bench.running.known import Known
from bench.steps import Ground, View, pooled_name

State = Literal["kept", "too large", "none", "unknown"]


@dataclass(frozen=True)
class Frontier:
    """What crosses the freeze boundary of a strategy, on one ground.

    Attributes:
        ground: backbone and pictures.
        freeze: label of the strategy.
        state: ``kept`` within the room for it; ``too large``, so phase 2 runs through the whole
            backbone; ``none`` there is nothing constant below it, with the same effect; ``unknown``
            until a trial has run.
        cut: its name where known: strategies with one name share one frontier.
        bytes: of train (in every view that it may need), val and test; None where unknown.
    """

    ground: Ground
    freeze: str
    state: State
    cut: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Features:
    """The pooled features that heads learn from, on one ground.

    Attributes:
        ground: backbone and pictures.
        cut: their name.
        fit: whether there is room for them; without, phase 1 goes through the whole backbone.
        bytes: as a frontier's. Features of unknown size count as fitting.
    """

    ground: Ground
    cut: str
    fit: bool = True
    bytes: int | None = None


@dataclass(frozen=True)
class Room:
    """The activations of a ground.

    Attributes:
        frontiers: by strategy.
        features: by name.
    """

    frontiers: Mapping[str, Frontier]
    features: Mapping[str, Features]

    def holds_features(self, spec: TrialSpec) -> bool:
        """Whether phase 1 of a trial learns from features computed once, as far as is known."""
        return self.features[pooled_name(spec)].fit

    def holds_frontier(self, spec: TrialSpec) -> bool:
        """Whether phase 2 of a trial trains from its frontier, as far as is known."""
        if not steps.shares_phase2(spec):
            return False
        return self.frontiers[spec.freeze.label].state in ("kept", "unknown")


def room_on(ground: Ground, trials: Iterable[TrialSpec], known: Known, room: float) -> Room:
    """What trials of a suite need on a ground, and what of it is kept.

    Args:
        ground: whose.
        trials: of the suite; those on other grounds are passed over.
        known: tells sizes.
        room: for all of it, in bytes.
    """
    specs = [t for t in trials if steps.ground_of(t) == ground and steps.shares_phase1(t)]
    boundaries = known.boundaries(ground)
    labels = dict.fromkeys(s.freeze.label for s in specs if steps.shares_phase2(s))
    found = {label: boundaries.get(label) for label in labels}
    cuts = {label: boundary.cut if boundary else None for label, boundary in found.items()}
    sizes = _sizes(ground, specs, cuts, known)
    kept = steps.kept(sizes, room)

    def state(label: str) -> State:
        cut = cuts[label]
        if found[label] and cut is None:
            return "none"
        if cut is None or cut not in sizes:
            return "unknown"
        return "kept" if cut in kept else "too large"

    pooled = dict.fromkeys(map(pooled_name, specs))
    return Room(
        {n: Frontier(ground, n, state(n), c, sizes.get(c or "")) for n, c in cuts.items()},
        {c: Features(ground, c, c in kept or c not in sizes, sizes.get(c)) for c in pooled},
    )


def _sizes(
    ground: Ground, specs: Iterable[TrialSpec], cuts: Mapping[str, str | None], known: Known
) -> dict[str, int]:
    """Bytes of the cuts whose size is known, over every view that some trial may need there."""
    counts, numbers = known.counts(ground.data), known.numbers(ground)
    if counts.train is None or counts.val is None or counts.test is None:
        return {}
    views: dict[str, set[View | None]] = {}
    for spec in specs:
        if spec.phase1:
            seen = steps.views_of(spec, 0, spec.phase1.epochs)
            views.setdefault(pooled_name(spec), set()).update(seen)
        if steps.shares_phase2(spec) and (cut := cuts[spec.freeze.label]):
            views.setdefault(cut, set()).update(steps.possible_views2(spec))
    others = counts.val + counts.test
    return {
        cut: steps.cut_bytes(numbers[cut], len(seen), counts.train, others)
        for cut, seen in views.items()
        if cut in numbers
    }
