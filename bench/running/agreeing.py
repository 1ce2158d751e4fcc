"""Whether two rows of one key and stack say the same, and what it is where they do not.

They contradict each other where they rest on other ground (pictures, weights, protocol), and where
their results differ. The result of a trial is what a table, or a comparison of two stacks, takes
from it: how it ended, which pictures it had right, what trained, for how many epochs, and whether
each guard held. Losses are no part of it, for they move in their last digits with the processor's
vector width while every picture is answered alike; nor are times, the machine, and the way it was
computed. The result of a probe is that of its classifiers, and of a fingerprint every number, for
last digits are what it is about. Measurements of cost never contradict each other: they are
samples.

What one of the two does not say (a row of an older version, or one that ended early) is no
difference; nor is a guard that only one of them has, or that does not apply to one.
"""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.costs import CostResult
from bench.numerics import NumericsResult
from bench.probes import ProbeResult
from bench.records import TrialResult
from bench.tasks import Row

Kind = Literal["pictures", "weights", "protocol", "results"]
TITLES: Mapping[Kind, str] = {
    "pictures": "other pictures",
    "weights": "other weights",
    "protocol": "another protocol version",
    "results": "other results",
}
"""What the second of two rows rests on, or came to."""
_HELD: Mapping[bool | None, str] = {True: "held", False: "failed"}
_LONGEST = 24
"""Characters of a value that a message shows; of longer ones it shows a digest."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that two rows say otherwise.

    Attributes:
        kind: of contradiction.
        what: it is, as rows name it.
        values: of the first and the second row, short.
    """

    kind: Kind
    what: str
    values: tuple[str, str]


def brief(row: Row) -> bytes:
    """16 bytes; rows that agree in them say the same."""
    said = repr(list(_said(row))).encode(errors="replace")
    return hashlib.blake2b(said, digest_size=16).digest()


def amount(row: Row) -> int:
    """How much a row says, of what it may say."""
    return sum(value is not None for _, _, value in _said(row))


def difference(a: Row, b: Row) -> Difference | None:
    """What two rows of one key and stack contradict each other in; None where they agree.

    Ground goes before results: what rests on other ground is bound to come out otherwise.
    """
    other = {(kind, what): value for kind, what, value in _said(b)}
    for kind, what, value in _said(a):
        against = other.get((kind, what))
        if value is not None and against is not None and value != against:
            return Difference(kind, what, (_shown(value), _shown(against)))
    return None


def contradiction(rows: Sequence[Row]) -> tuple[int, int, Difference] | None:
    """Two of several rows of one key and stack that contradict each other, by their places.

    Two that rest on other ground go before two whose results differ.
    """
    found = [
        (i, j, unlike)
        for (i, a), (j, b) in itertools.combinations(enumerate(rows), 2)
        if (unlike := difference(a, b))
    ]
    return min(found, key=lambda each: each[2].kind == "results", default=None)


def pictures(row: Row) -> str | None:
    """SHA-256 that stands for what a row's pictures were; None where it says nothing of them."""
    if isinstance(row, NumericsResult):
        return row.inputs or None
    if isinstance(row, CostResult):
        return None
    return row.dataset.fingerprint if row.dataset else None


def weights(row: Row) -> str | None:
    """SHA-256 of the weights that a row's backbone began with; None where that says nothing.

    Random weights of a trial count as equal, as they do in tables: its seed tells them apart.
    """
    if isinstance(row, CostResult) or row.weights is None:
        return None
    drawn = row.spec.backbone.weights == "random" and not isinstance(row, NumericsResult)
    return None if drawn else row.weights.sha256


def _said(row: Row) -> Iterator[tuple[Kind, str, object]]:
    if isinstance(row, CostResult):
        return
    yield "pictures", "pictures", pictures(row)
    yield "weights", "weights", weights(row)
    yield "protocol", "protocol version", row.protocol
    yield "results", "status", row.status
    if isinstance(row, TrialResult):
        yield from (("results", what, value) for what, value in _of_trial(row))
    elif isinstance(row, ProbeResult):
        for what in ("linear", "linear_correct", "knn", "width", "total_parameters"):
            value = getattr(row, what)
            yield "results", what, None if value == () else value
    else:
        yield from (("results", what, value) for what, value in _of_fingerprint(row))


def _of_trial(row: TrialResult) -> Iterator[tuple[str, object]]:
    for what in ("test_accuracy", "test_correct", "total_parameters"):
        yield what, getattr(row, what)
    yield "freeze_resolved", row.freeze_resolved and row.freeze_resolved.label
    for name, phase in (("phase1", row.phase1), ("phase2", row.phase2)):
        if phase is not None:
            yield f"{name}.epochs", len(phase.epochs)
            for what in ("val_accuracy", "val_correct", "trainable_parameters"):
                yield f"{name}.{what}", getattr(phase, what)
    for guard in sorted(row.guards, key=lambda guard: guard.name):
        yield f"guard {guard.name}", _HELD.get(guard.passed)


def _of_fingerprint(row: NumericsResult) -> Iterator[tuple[str, object]]:
    yield "probes", row.probes or None
    yield "sizes", row.sizes or None
    for done in row.passes:
        yield f"{done.mode} norms", repr(done.norms)  # as text a NaN equals itself
        yield f"{done.mode} sketches", repr(done.sketches)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= _LONGEST:
        return text
    if re.fullmatch(r"[0-9a-f]{64}", text):  # which is a digest itself
        return text[:12]
    return f"digest {hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}"
