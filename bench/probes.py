"""The vocabulary of probing as frozen values: what a frozen backbone makes of a dataset, before
anything is fine-tuned.

What goes in:   ProbeSpec
What comes out: Suspect -> ProbeResult

One pass of the pictures through the frozen backbone gives features; what simple classifiers make
of them is a cheap guess at what trials of that backbone come to. As in `bench.records`, a default
never changes, because a key leaves defaults out.
"""

import hashlib
import json

from pydantic import Field

from bench.records import (
    Backbone,
    Data,
    DatasetUsed,
    Environment,
    Execution,
    Freeze,
    Head,
    Phase,
    Record,
    SplitName,
    Stack,
    Status,
    TrialSpec,
    WeightsUsed,
)

PROBE_VERSION = 1
"""Part of every probe's key. Raised when what a probe measures changes."""


class ProbeSpec(Record):
    """Everything that decides what one probe measures; its key is a hash of this.

    Attributes:
        backbone: which.
        data: pictures; usually a subset of what trials see.
        head: the linear probe, trained as a trial's head is.
        phase1: how it trains.
        seeds: of the heads, which train side by side.
        neighbours: how many vote in the nearest-neighbour classifier.
        execution: as in a trial.
    """

    backbone: Backbone
    data: Data
    head: Head
    phase1: Phase
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    neighbours: int = Field(10, ge=1)
    execution: Execution = Execution()

    @property
    def key(self) -> str:
        """32 hex digits: SHA-256 of the canonical JSON of this spec and the version."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(["probe", PROBE_VERSION, content], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def label(self) -> str:
        """One line for people."""
        size = (f"{self.data.train_examples} train",) if self.data.train_examples else ()
        return " · ".join((self.backbone.name, self.data.dataset.name, "probe", *size))

    @property
    def trials(self) -> tuple[TrialSpec, ...]:
        """The trials of a head alone that the linear probe is, one for each seed."""
        return tuple(
            TrialSpec(
                backbone=self.backbone,
                data=self.data,
                head=self.head,
                freeze=Freeze(strategy="head_only"),
                phase1=self.phase1,
                phase2=None,
                execution=self.execution,
                seed=seed,
            )
            for seed in self.seeds
        )


class Suspect(Record):
    """A picture whose neighbours are of another class: its label may be wrong.

    Attributes:
        picture: its content hash, 16 hex digits.
        name: where it comes from: a path below the folder, or the source's own name for it.
        split: that it is in.
        label: the class that it is filed under, an index into ``class_names``.
        neighbours_say: the class that most of its neighbours have.
        share: of its neighbours, by weight, those that have that class; 0 to 1.
    """

    picture: str
    name: str
    split: SplitName
    label: int
    neighbours_say: int
    share: float


class ProbeResult(Record):
    """One row of the store. A probe that did not end ``ok`` keeps what it had, and a reason.

    Attributes:
        key: of the spec.
        spec: what was asked.
        stack: frameworks, device and precision.
        status: as for a trial.
        reason: why it is not ``ok``.
        started_at: UTC, ISO 8601.
        seconds: wall time in all, without ``pictures_seconds``.
        pictures_seconds: for reading and decoding.
        protocol: version of what the spec measures.
        environment: machine and packages.
        weights: what the backbone was loaded with.
        dataset: the pictures that it saw.
        total_parameters: numbers in backbone and head.
        width: numbers in a picture's features.
        linear: val accuracy of the linear probe, one for each seed.
        linear_correct: `bench.marks.packed` of the same, in the val split's order.
        knn: val accuracy of the nearest neighbours' vote.
        logme: log of the maximum evidence of the train features, per picture (You et al. 2021);
            higher is better.
        features_seconds: of computing features, for each picture; None where they were known.
        suspects: pictures that may be mislabelled, the most striking first.
    """

    key: str
    spec: ProbeSpec
    stack: Stack
    status: Status
    reason: str = ""
    started_at: str
    seconds: float
    pictures_seconds: float = 0.0
    protocol: int = 1
    environment: Environment | None = None
    weights: WeightsUsed | None = None
    dataset: DatasetUsed | None = None
    total_parameters: int | None = None
    width: int | None = None
    linear: tuple[float, ...] = ()
    linear_correct: tuple[str, ...] = ()
    knn: float | None = None
    logme: float | None = None
    features_seconds: float | None = None
    suspects: tuple[Suspect, ...] = ()

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """None: a probe makes no checks of its own."""
        return ()
