"""Claims: numbers that somebody published about transfer learning, as data.

A suite that repeats a published recipe holds its claims as ``[[claims]]`` tables;
`bench.analysis.claimed` holds what was measured against them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from bench.errors import suggestion
from bench.records import Freeze, Record, TrialSpec

Quantity = Literal["accuracy", "accuracy_gain", "trainable_parameters", "throughput_ratio"]
"""``accuracy``: top-1, 0 to 1. ``accuracy_gain``: of some trials over others, 0.01 is one point.
``trainable_parameters``: numbers that train in a phase, the head's included.
``throughput_ratio``: training images/s of one phase over those of another."""

AS_MEANT = "none"
"""What ``trap`` says of trials without one."""

RANGES: dict[Quantity, tuple[float, float]] = {
    "accuracy": (0.0, 1.0),
    "accuracy_gain": (-1.0, 1.0),
    "trainable_parameters": (0.0, 1e12),
    "throughput_ratio": (0.0, 1e6),
}
"""Between which a claim of each quantity may lie."""
BETWEEN_TRIALS = ("accuracy_gain", "throughput_ratio")
OF_A_PHASE = ("trainable_parameters", "throughput_ratio")
MARGINS: dict[Quantity, float] = {"accuracy": 0.02}
"""How far beyond a claim the interval of what was measured may reach; 0 for what is not here."""


class Selection(Record):
    """Which trials a claim is about; what is None may be anything.

    Attributes:
        backbone, dataset, head: names, as in a matrix.
        freeze: a freeze strategy.
        trap: a trap's name; `AS_MEANT` for trials without; None for any that a claim can be about.
        train_examples: pictures that the suite asks to train on.
        train_from, train_below: at least, and fewer than, so many pictures trained on.
        phase: 1 or 2, where a claim is about a phase.
    """

    backbone: str | None = None
    dataset: str | None = None
    head: str | None = None
    freeze: Freeze | None = None
    trap: str | None = None
    train_examples: int | None = None
    train_from: int | None = None
    train_below: int | None = None
    phase: Literal[1, 2] | None = None

    def admits(self, spec: TrialSpec, pictures: int | None = None) -> bool:
        """Whether a trial is among them.

        Args:
            spec: of the trial.
            pictures: that it trained on; where None, what the spec asks for, and any number where
                it asks for all.
        """
        count = pictures if pictures is not None else spec.data.train_examples
        if count is not None and not (self.train_from or 0) <= count < (self.train_below or 2**63):
            return False
        wanted = {name: getattr(self, name) for name in NAMES}
        found = named(spec)
        return all(value is None or value == found[name] for name, value in wanted.items())


NAMES = ("backbone", "dataset", "head", "freeze", "trap", "train_examples")
"""What a selection compares for equality."""


def named(spec: TrialSpec) -> dict[str, Any]:
    """What a selection can name of a trial."""
    return {
        "backbone": spec.backbone.name,
        "dataset": spec.data.dataset.name,
        "head": spec.head.name,
        "freeze": spec.freeze,
        "trap": spec.trap or AS_MEANT,
        "train_examples": spec.data.train_examples,
    }


class Claim(Record):
    """A number that somebody published, and under which conditions.

    Attributes:
        text: as published, in a few words.
        quantity: of what; see `Quantity`.
        of: the trials that it is about.
        over: what a gain or a ratio is over; only there.
        low, high: between which it lies; equal for a single figure.
        margin: how far the 95% interval of what was measured may reach beyond ``low`` and ``high``
            for the claim to hold, in the quantity's unit; where None, 0.02 for an accuracy, else 0.
            So an interval of at most 2 points to either side can hold a single accuracy; a single
            gain or ratio must say what is near enough.
        source: who published it, in words.
        on: the pictures that an accuracy was claimed on; None where that is not said.
        backbone, dataset, weights: claimed for; None where the claim holds for any.
        train_pictures: so many were trained on.
    """

    text: str
    quantity: Quantity
    of: Selection = Selection()
    over: Selection | None = None
    low: float
    high: float
    margin: float | None = None
    source: str
    on: Literal["val", "test"] | None = None
    backbone: str | None = None
    dataset: str | None = None
    weights: str | None = "imagenet"
    train_pictures: int | None = None

    @property
    def near_enough(self) -> float:
        """The margin, in the quantity's unit."""
        return MARGINS.get(self.quantity, 0.0) if self.margin is None else self.margin

    @property
    def varied(self) -> frozenset[str]:
        """What ``over`` names otherwise than ``of``: keys of a selection; all else must be alike.

        Any key for the number of train pictures is ``train_examples`` here.
        """
        if self.over is None:
            return frozenset()
        other = {k for k, v in self.over if v is not None and v != getattr(self.of, k)}
        return frozenset("train_examples" if k.startswith("train_") else k for k in other)


class Wrong(NamedTuple):
    """What is wrong in a claim: the key inside it, the value there, and what would be valid."""

    key: str
    value: object
    expected: str


def wrong(claim: Claim, trials: Sequence[TrialSpec]) -> Wrong | None:
    """What is wrong with a claim in a suite of these trials; None if nothing is."""
    if claim.low > claim.high:
        return Wrong("low", claim.low, f"at most high, which is {claim.high:g}")
    least, most = RANGES[claim.quantity]
    for key in ("low", "high"):
        if not least <= getattr(claim, key) <= most:
            valid = f"{claim.quantity} from {least:g} to {most:g}"
            return Wrong(key, getattr(claim, key), valid)
    if not 0 <= claim.near_enough <= most:
        return Wrong("margin", claim.margin, f"from 0 to {most:g}")
    if (claim.over is None) == (claim.quantity in BETWEEN_TRIALS):
        return Wrong("over", claim.over and _said(claim.over), _of_over(claim))
    sides = [("of", claim.of), *([("over", claim.over)] if claim.over else [])]
    found = (_of_side(key, side, claim, trials) for key, side in sides)
    return next((what for what in found if what), None) or _of_both(claim)


def _of_over(claim: Claim) -> str:
    """What is valid where ``over`` is missing, or is there and should not be."""
    if claim.over is None:
        return f"a table, since {claim.quantity} is over other trials"
    return f"nothing here, since only {' and '.join(BETWEEN_TRIALS)} are over other trials"


def _of_both(claim: Claim) -> Wrong | None:
    """What could never be compared, or never hold."""
    if claim.over is None:
        return None
    if not claim.varied:
        return Wrong("over", _said(claim.over), "to name something otherwise than of does")
    if claim.quantity == "accuracy_gain" and "dataset" in claim.varied and claim.of.dataset:
        valid = f"{claim.of.dataset}, as in of: a gain is paired by test picture"
        return Wrong("over.dataset", claim.over.dataset, valid)
    if claim.low == claim.high and not claim.near_enough:
        valid = "above 0, since no interval lies in a single figure"
        return Wrong("margin", claim.margin, valid)
    return None


def _of_side(key: str, side: Selection, claim: Claim, trials: Sequence[TrialSpec]) -> Wrong | None:
    if claim.quantity in OF_A_PHASE and side.phase is None:
        return Wrong(f"{key}.phase", None, f"1 or 2, since {claim.quantity} is of a phase")
    for name in NAMES:
        value = getattr(side, name)
        found = list(dict.fromkeys(named(t)[name] for t in trials))
        if value is not None and value not in found:
            texts = [_text(x) for x in found if x is not None]
            valid = f"a {name} of this suite's trials; {suggestion(_text(value), texts)}"
            return Wrong(f"{key}.{name}", _text(value), valid)
    if not any(side.admits(trial) and _has(trial, side.phase) for trial in trials):
        return Wrong(key, _said(side), "what fits a trial of this suite")
    return None


def _has(trial: TrialSpec, phase: int | None) -> bool:
    return phase is None or bool(trial.phase1 if phase == 1 else trial.phase2)


def _said(side: Selection) -> dict[str, object]:
    """A selection as a suite says it."""
    said = side.model_dump(exclude_none=True)
    return said | ({"freeze": side.freeze.label} if side.freeze else {})


def _text(value: object) -> str:
    return value.label if isinstance(value, Freeze) else str(value)


def first_wrong(claims: Iterable[Claim], trials: Sequence[TrialSpec]) -> tuple[int, Wrong] | None:
    """The first claim that is wrong, by its number from 0, and what is wrong with it."""
    found = ((i, wrong(claim, trials)) for i, claim in enumerate(claims))
    return next(((i, what) for i, what in found if what), None)
