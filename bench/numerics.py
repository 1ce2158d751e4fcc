"""The vocabulary of numerics as frozen values: what a backbone computes on a stack, number for
number, whatever it learns.

What goes in:   NumericsSpec
What comes out: Pass (one for each way the backend runs) -> NumericsResult

A result is a fingerprint: of every tensor on the way from encoded picture to gradients its size,
its norm, a few numbers that tell two such tensors apart (a sketch), and how far rounding alone
moves it. As in `bench.records`, a default never changes, because a key leaves defaults out.
"""

import hashlib
import json
from typing import Literal, Self

from pydantic import Field, model_validator

from bench.records import Backbone, Environment, Record, Stack, Status, WeightsUsed

NUMERICS_VERSION = 1
"""Part of every fingerprint's key. Raised when what is probed, or how, changes."""

Numbers = Literal["float32", "mixed_bfloat16", "mixed_float16"]
"""Precision of a fingerprint: stated, never the device's own choice."""

ExecutionMode = Literal["graph", "xla", "eager"]

SKETCH = 4
"""Numbers that stand for each tensor."""


class NumericsSpec(Record):
    """Everything that decides what one fingerprint computes; its key is a hash of this.

    Attributes:
        backbone: which; ``random`` weights are the same numbers on every stack.
        image_size: side of the square pictures, in pixels.
        precision: of the computation.
        optimizers: whose first steps are probed, by their names in a suite.
    """

    backbone: Backbone
    image_size: int = Field(96, ge=16, le=2048)
    precision: Numbers = "float32"
    optimizers: tuple[str, ...] = ("adam",)

    @property
    def key(self) -> str:
        """32 hex digits: SHA-256 of the canonical JSON of this spec and the version."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        parts = ["numerics", NUMERICS_VERSION, content]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def label(self) -> str:
        """One line for people."""
        return f"{self.backbone.name} · {self.image_size} px · numerics · {self.precision}"


class Pass(Record):
    """What came out in one way of running, a row of numbers for each probe of the result.

    Attributes:
        mode: ``graph``, ``xla`` or ``eager``.
        unit: unit roundoff that weights and input were moved by to see what rounding does.
        norms: L2 norm of each probe's tensor.
        roundings: how far rounding moves each probe, as a share of its norm (L2); at least one
            unit roundoff.
        sketches: `SKETCH` numbers for each probe, one after another: every number of the tensor
            with a fixed random sign added to one of so many sums. The squared L2 distance of
            two tensors is on average that of their sketches, with a standard deviation of 71%.
        seconds: that it took, compilation included.
    """

    mode: ExecutionMode
    unit: float
    norms: tuple[float, ...]
    roundings: tuple[float, ...]
    sketches: tuple[float, ...]
    seconds: float = 0.0

    def sketch(self, index: int) -> tuple[float, ...]:
        """Of one probe."""
        return self.sketches[SKETCH * index : SKETCH * (index + 1)]


class NumericsResult(Record):
    """One row of the store: the fingerprint of one backbone on one stack.

    Attributes:
        weights: that the backbone was given.
        inputs: SHA-256 of the pictures shown to it.
        probes: names of what was looked at, in the order it is computed, so that a change shows
            first where it happens: ``decoding``, ``preprocessing``, ``layer NAME``, ``features``,
            ``logits``, ``loss``, ``gradient PATH``, ``optimizer NAME``, ``statistics NAME``.
        sizes: numbers in each probe's tensor.
        passes: one for each way that the backend runs, its default first.
        skipped: what could not be probed, and why.
        seconds: wall time of the whole fingerprint.
    """

    key: str
    spec: NumericsSpec
    stack: Stack
    status: Status
    reason: str = ""
    started_at: str
    seconds: float
    protocol: int = 1
    weights: WeightsUsed | None = None
    inputs: str = ""
    probes: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    passes: tuple[Pass, ...] = ()
    skipped: tuple[str, ...] = ()
    environment: Environment | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        count = len(self.probes)
        for way in self.passes:
            columns = (len(way.norms), len(way.roundings), len(way.sketches) // SKETCH)
            if len(self.sizes) != count or set(columns) != {count}:
                raise ValueError(f"as many numbers as probes ({count}), in every column")
        return self

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """None: what guards hold is training."""
        return ()

    def passed(self, mode: ExecutionMode) -> Pass | None:
        """The pass in this mode; None where the backend has none."""
        return next((p for p in self.passes if p.mode == mode), None)
