"""Settings of trials held against each other, as far as a claim depends on them.

`apart`: the two sides of a gain. `unlike`: a run and the recipe that it should be.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import NamedTuple

from bench.claims import Claim, Selection
from bench.records import TrialSpec
from bench.zoo import traps

Settings = Mapping[str, object]
"""What a trial's spec holds but its seed, by names for people."""

WITH_BACKBONE = frozenset({"preprocessing", "blocks", "file"})
"""Settings that a backbone brings along."""
VARIED: Mapping[str, frozenset[str]] = {
    "backbone": WITH_BACKBONE | {"backbone", "weights"},
    "head": frozenset({"head", "pooling", "layers", "output", "loss"}),
    "freeze": frozenset({"freeze"}),
    "trap": frozenset({"trap"}),
    "train_examples": frozenset({"train_examples", "train_per_class"}),
}
"""Settings that differ where a claim's sides differ in a key of a selection."""

SIZES = frozenset({"splits", "train_examples", "train_per_class", "val_examples", "test_examples"})
EXECUTION = frozenset({"batch_size", "precision", "deterministic"})
OF_THE_CLAIM = frozenset({"backbone", "file", "dataset", "source", "trap"})
"""Settings that a claim itself says, if it depends on them."""
LESSER = ("batch_size", "precision")
"""Settings that may change an accuracy, but that published numbers hardly ever say."""


class Unlike(NamedTuple):
    """Settings of a run other than its recipe's: those that a claim depends on, and lesser ones."""

    matters: tuple[str, ...]
    lesser: tuple[str, ...]


def settings(spec: TrialSpec) -> Settings:
    """Of a trial; a phase that it has not is ``none``, and has no settings."""
    found: dict[str, object] = {
        "freeze": spec.freeze.label,
        "batch_norm": spec.batch_norm,
        "augmentation": [f"{a.kind} {a.amount}" for a in spec.augmentation],
        "views": spec.views,
        "trap": spec.trap,
    }
    data, backbone = spec.data.model_dump(), spec.backbone.model_dump()
    dataset = data.pop("dataset")
    found |= {"dataset": dataset["name"], "source": dataset["tfds"] or dataset["folder"]} | data
    found |= {"backbone": backbone.pop("name")} | backbone
    head = spec.head.model_dump(exclude_none=True)
    found |= {"head": head.pop("name")} | head | spec.execution.model_dump()
    for number, phase in ((1, spec.phase1), (2, spec.phase2)):
        found[f"phase {number}"] = "trained" if phase else None
        for name, value in (phase.model_dump() if phase else {}).items():
            found[f"phase {number} {name}"] = value
    return found


def differences(here: Settings, there: Settings) -> dict[str, str]:
    """What two trials have otherwise, each as ``image_size 32 for 96``: here 32, there 96."""
    return {
        name: f"{name} {_short(name, here[name])} for {_short(name, there[name])}"
        for name in here
        if name in there and here[name] != there[name]
    }


# -------------------------------------------------------------------------- two sides of a claim


def apart(claim: Claim, one: TrialSpec, other: TrialSpec) -> tuple[str, ...]:
    """In what two trials differ, though the claim's selections name it on neither side.

    What follows from a strategy is no difference: that a head alone has no phase 2, that training
    from scratch starts from random weights and has the epochs of both phases in one. Traps are not
    looked at: which may stand beside which is for `bench.analysis.claim_pairs` to say.

    Args:
        claim: with ``over``.
        one, other: trials of ``of`` and ``over``.
    """
    passed = frozenset({"trap"}).union(*(VARIED.get(key, frozenset()) for key in claim.varied))
    strategies = (one.freeze.strategy, other.freeze.strategy)
    found = differences(settings(other), settings(one))
    random = {spec.backbone.weights == "random" for spec in (one, other)}
    if "freeze" in claim.varied and strategies[0] != strategies[1]:
        if "scratch" in strategies:
            passed |= {"weights", "batch_norm"}
            pair = (one, other) if strategies[0] == "scratch" else (other, one)
            found = {k: v for k, v in found.items() if not k.startswith("phase ")}
            found |= _from_scratch(*pair)
        elif "head_only" in strategies:
            passed |= {"batch_norm", "phase 2"}
    texts = [text for name, text in found.items() if name not in passed]
    if "backbone" in claim.varied and len(random) > 1 and "scratch" not in strategies:
        texts.append("random weights on one side")
    return tuple(texts)


def _from_scratch(scratch: TrialSpec, other: TrialSpec) -> dict[str, str]:
    """In what training from scratch is not that of the other's phases."""
    if scratch.phase2 is None or other.phase1 is None:
        return {}
    here = scratch.phase2.model_dump()
    there = (traps.together(other) if other.phase2 else other.phase1).model_dump()
    stops = "early_stopping"
    # From scratch every epoch runs: the patience is theirs.
    here[stops], there[stops] = bool(here[stops]), bool(there[stops])
    shared = set(here) if other.phase2 else {"learning_rate", "optimizer"}
    named = ({f"phase 2 {k}": side[k] for k in here if k in shared} for side in (here, there))
    return differences(*named)


# ------------------------------------------------------------------------- a run and its recipe


class Recipe:
    """A suite's trials as its file has them, found by what they are about."""

    def __init__(self, trials: Iterable[TrialSpec] = ()) -> None:
        """Seeds are not told apart."""
        self.trials = tuple({t.seedless: None for t in trials})
        self._kinds = [(_kind(trial), trial) for trial in self.trials]
        self._near: dict[tuple[object, ...], list[Settings]] = {}
        self._admitted: dict[Selection, list[TrialSpec]] = {}

    def near(self, spec: TrialSpec) -> list[Settings]:
        """Settings of the trials that are about the same as another, as far as any is."""
        kind = _kind(spec)
        if kind not in self._near:
            left = self._kinds
            for place, value in enumerate(kind):
                left = [one for one in left if one[0][place] == value] or left
            self._near[kind] = [settings(trial) for _, trial in left]
        return self._near[kind]

    def admitted(self, side: Selection) -> list[TrialSpec]:
        """Those among a selection's trials."""
        if side not in self._admitted:
            self._admitted[side] = [trial for trial in self.trials if side.admits(trial)]
        return self._admitted[side]


def _kind(spec: TrialSpec) -> tuple[object, ...]:
    """What a trial is about, most important first."""
    data = spec.data
    about = (spec.freeze.label, spec.trap, spec.backbone.name, data.dataset.name, spec.head.name)
    return (*about, data.train_examples)


def unlike(claim: Claim, spec: TrialSpec, recipe: Recipe) -> Unlike:
    """In what a trial differs from its recipe's nearest.

    Seeds and numbers of pictures are left out, and what the claim itself says: backbone, dataset,
    whether weights are random. An accuracy depends on all else but on how a trial runs; a count of
    parameters on head, strategy and BatchNorm, and on the picture's size if the head is flat.

    Args:
        claim: about the trial.
        spec: of the trial.
        recipe: where it has no trials, nothing is unlike.
    """
    if not recipe.trials:
        return Unlike((), ())
    here = settings(spec)
    near = min((differences(here, other) for other in recipe.near(spec)), key=len)
    counted = claim.quantity == "trainable_parameters"
    names = _of_a_count(claim, spec) if counted else _of_an_accuracy(near)
    lesser = [near[name] for name in LESSER if name in near and not counted]
    return Unlike(tuple(near[n] for n in near if n in names), tuple(lesser))


def _of_a_count(claim: Claim, spec: TrialSpec) -> frozenset[str]:
    names = VARIED["head"] | {"freeze"}
    if claim.of.phase == 2:
        names |= {"batch_norm"}
    return names | ({"image_size"} if spec.head.pooling == "flatten" else set())


def _of_an_accuracy(near: Mapping[str, str]) -> frozenset[str]:
    out = SIZES | EXECUTION | OF_THE_CLAIM
    if "backbone" in near:
        out |= WITH_BACKBONE | {"weights"}
    if "random" in near.get("weights", "").split():
        out |= {"weights"}
    return frozenset(near) - out


def _short(name: str, value: object) -> str:
    if value in (None, [], (), {}):
        return "none"
    if isinstance(value, dict):
        return " ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_short(name, item) for item in value)
    # Reports are passed on: where somebody keeps files is nobody's business.
    return PurePath(str(value)).name if name in ("weights", "file", "source") else str(value)
