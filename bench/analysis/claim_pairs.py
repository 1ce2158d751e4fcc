"""Which trials a claimed gain is taken between: alike in all that the claim does not name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.analysis import predictions
from bench.analysis.claim_settings import apart
from bench.analysis.summary import Group
from bench.claims import AS_MEANT, Claim, Selection

ONCE = ("head_only", "scratch")
"""Strategies that may be the same in both runs of a recipe, and so have run once for both."""


@dataclass(frozen=True)
class Pair:
    """A trial and what it is compared with.

    Attributes:
        group: of the claim's ``of``.
        over: of its ``over``; None where nothing fits.
        lacking: why the two cannot be compared; empty where they can.
    """

    group: Group
    over: Group | None
    lacking: str = ""


@dataclass(frozen=True)
class Tested:
    """The test pictures of trials, by what is stored of their predictions.

    Attributes:
        folder: of the results; None where it is not at hand.
    """

    folder: Path | None = None
    _known: dict[int, tuple[str, ...] | None] = field(default_factory=dict)

    def of(self, group: Group) -> tuple[str, ...] | None:
        """Hashes in the order of the answers; None where no prediction is stored."""
        if id(group) not in self._known:
            # Its seeds saw the same pictures: that is what makes them one group.
            rows = [row for row in group.finished if row.predictions][:1]
            read = predictions.found(self.folder, rows)[0] if self.folder and rows else ()
            self._known[id(group)] = read[0].pictures if read else None
        return self._known[id(group)]


def place(claim: Claim, group: Group) -> tuple[str, ...]:
    """What both sides of a gain always have in common, so that few need be looked at."""
    own = () if "backbone" in claim.varied else (group.spec.backbone.name,)
    return (group.stack.id, group.spec.data.dataset.name, *own)


def pairs(claim: Claim, group: Group, others: Sequence[Group], tested: Tested) -> list[Pair]:
    """A trial with everything that its gain can be taken over; a pair without, where nothing fits.

    A recipe's head alone may have run once for both runs (a backbone that is frozen as a whole may
    be the same either way), and so may a baseline from scratch: where the run itself has none, one
    without a trap stands in.

    Args:
        claim: of a gain.
        group: of its ``of``.
        others: those of its ``over``, in the same `place`.
        tested: the test pictures, where the claim's sides differ in train pictures.
    """
    here = list(others)
    if "trap" not in claim.varied:
        here = [o for o in here if _same_run(group, o)]
    fitting = [other for other in here if not apart(claim, group.spec, other.spec)]
    if "trap" not in claim.varied:
        own = [other for other in fitting if other.spec.trap == group.spec.trap]
        fitting = own or fitting
    if not fitting:
        return [Pair(group, None, _nothing_fits(claim, group, here))]
    found = [Pair(group, other, _unpaired(claim, group, other, tested)) for other in fitting]
    good = {_trial(pair.over) for pair in found if not pair.lacking}
    # The same trial on other pictures is no news where it was run on these, too.
    return [pair for pair in found if not pair.lacking or _trial(pair.over) not in good]


def _same_run(group: Group, other: Group) -> bool:
    stands_in = other.spec.trap is None and other.spec.freeze.strategy in ONCE
    return other.spec.trap == group.spec.trap or stands_in


def _trial(group: Group | None) -> str:
    return group.spec.seedless.key if group else ""


def _nothing_fits(claim: Claim, group: Group, here: Sequence[Group]) -> str:
    wanted = words(claim.over) if claim.over else ""
    reason = f"nothing to compare it with: no {wanted} in these results is alike otherwise"
    unlike = [apart(claim, group.spec, other.spec) for other in here]
    near = min(unlike, key=lambda texts: (len(texts), texts), default=())
    return f"{reason}; the nearest has {', '.join(near)}" if near else reason


def words(side: Selection) -> str:
    """A selection in words."""
    said = [side.backbone, side.dataset, side.freeze.label if side.freeze else None, side.head]
    if side.trap not in (None, AS_MEANT):
        said.append(f"trap {side.trap}")
    if side.train_examples:
        said.append(f"{side.train_examples:,} train")
    if side.train_from:
        said.append(f"{side.train_from:,} train or more")
    if side.train_below:
        said.append(f"below {side.train_below:,} train")
    if side.phase:
        said.append(f"phase {side.phase}")
    return " · ".join(word for word in said if word) or "any trial"


def _unpaired(claim: Claim, group: Group, other: Group, tested: Tested) -> str:
    """Why two trials that are alike in their settings cannot be compared; empty if they can."""
    for side in (group, other):
        if not side.finished:
            return f"{side.spec.freeze.label}: {side.status}: {side.reasons}"
    label = other.spec.freeze.label
    if {row.protocol for row in group.finished} != {row.protocol for row in other.finished}:
        return f"{label} ran under another protocol"
    loaded = [_weights(side) for side in (group, other)]
    if "backbone" not in claim.varied and None not in loaded and loaded[0] != loaded[1]:
        return f"{label} began from other weights"
    prints = [_fingerprint(side) for side in (group, other)]
    if prints[0] == prints[1]:
        return ""
    if "train_examples" in claim.varied:
        # A fingerprint is of all pictures, and theirs to train on are not the same.
        first, second = tested.of(group), tested.of(other)
        if first is None or second is None:
            return f"nothing stored tells whether {label} was tested on the same pictures"
        if first == second:
            return ""
    return f"{label} was tested on other pictures"


def _weights(group: Group) -> str | None:
    """SHA-256 of what was loaded; None where nothing was."""
    if group.spec.backbone.weights == "random":
        return None
    return next((row.weights.sha256 for row in group.finished if row.weights), None)


def _fingerprint(group: Group) -> str | None:
    return next((row.dataset.fingerprint for row in group.finished if row.dataset), None)
