"""The vocabulary of measurement as frozen values: what a backbone costs, whatever its accuracy.

What goes in:   CostSpec
What comes out: Rate, Latency, Memory, Size -> CostResult

Costs are measured apart from training to accuracy, on the stock model: nothing is shared, cached or
left out. As in `bench.records`, a default never changes, because a key leaves defaults out.
"""

import hashlib
import json
import math
import statistics
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field

from bench.records import (
    Backbone,
    BatchNorm,
    Environment,
    Freeze,
    Head,
    Precision,
    Record,
    Stack,
    Status,
)

COST_VERSION = 1
"""Part of every cost's key. Raised when what a spec measures changes."""

Workload = Literal["inference", "phase 1", "phase 2"]
"""What a step does: a forward pass, or training as in one of the protocol's phases."""

CostMode = Literal["default", "best"]
"""``default``: what Keras gives out of the box (operations as keras.applications has them,
``jit_compile="auto"`` as the backend resolves it). ``best``: the fastest of what this device can
do to the same effect, measured on the spot: graph or XLA, grouped convolutions rewritten or not."""


class CostSpec(Record):
    """Everything that decides what one measurement measures; its key is a hash of this.

    Attributes:
        backbone: which; its weights are random unless it is a file, for speed does not depend on
            them.
        image_size: side of the square pictures, in pixels.
        head: what is on top.
        classes: outputs of a head with one per class.
        workload: what a step does.
        freeze: how much of the backbone trains; in phase 2 only.
        batch_norm: its mode; in phase 2 only.
        optimizer: of a training step.
        batch_size: pictures in a step; None for the largest that fits.
        precision: as in a trial.
        mode: out of the box, or the fastest way.
    """

    backbone: Backbone
    image_size: int = Field(224, ge=16, le=2048)
    head: Head = Head(name="linear")
    classes: int = Field(10, ge=2)
    workload: Workload
    freeze: Freeze | None = None
    batch_norm: BatchNorm = "frozen"
    optimizer: str = "adam"
    batch_size: int | None = Field(32, ge=1)
    precision: Precision = "auto"
    mode: CostMode = "default"

    @property
    def key(self) -> str:
        """32 hex digits: SHA-256 of the canonical JSON of this spec and the version."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(["cost", COST_VERSION, content], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def work(self) -> str:
        """``inference``, ``phase 1``, ``phase 2 top_blocks=2``."""
        return f"{self.workload} {self.freeze.label}" if self.freeze else self.workload

    @property
    def label(self) -> str:
        """One line for people: what is unusual is named, too."""
        batch = f"batch {self.batch_size}" if self.batch_size else "largest batch"
        parts = [self.backbone.name, f"{self.image_size} px", self.work, batch, self.mode]
        named = {"head": self.head.name, "optimizer": self.optimizer, "precision": self.precision}
        usual = {"head": "linear", "optimizer": "adam", "precision": "auto"}
        parts += [value for key, value in named.items() if value != usual[key]]
        return " · ".join(parts)


class Rate(Record):
    """Throughput in images/s, from bursts of steps with the device synchronised around each.

    Attributes:
        samples: of every burst, in the order they ran.
        steps: in each burst.
        median: over bursts.
        low, high: what 95% of the bursts lay between.
    """

    samples: tuple[float, ...] = Field(min_length=1)
    steps: int = Field(ge=1)
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float], steps: int = 1) -> Self:
        """The rate that these bursts, of so many steps each, come to."""
        low, high = np.quantile(samples, INTERVAL)
        return cls(
            samples=tuple(float(f"{s:.6g}") for s in samples),
            steps=steps,
            median=statistics.median(samples),
            low=float(low),
            high=float(high),
        )

    @property
    def spread(self) -> float:
        """What the middle half of the bursts spans, as a share of their median."""
        low, high = np.quantile(self.samples, (0.25, 0.75))
        return float((high - low) / self.median)

    @property
    def drift(self) -> float | None:
        """By how much the last bursts were faster than the first, where it is no chance; else 0.

        Medians of the first and the last third, or of four bursts each at least, as a share of the
        first; by a rank test of the two (Mann and Whitney's, two-sided, at 5%). None for fewer
        than eight bursts. They must be of one process, in the order they ran.
        """
        part = max(len(self.samples) // 3, FEWEST_TO_TELL)
        if 2 * part > len(self.samples):
            return None
        first, last = self.samples[:part], self.samples[-part:]
        if _by_chance(first, last) >= CHANCE:
            return 0.0
        return statistics.median(last) / statistics.median(first) - 1


class Latency(Record):
    """Milliseconds from a picture in the host's memory to its result on the device.

    Attributes:
        median, p90: over so many single calls.
        p99: None where there were too few of them.
        count: of the calls.
    """

    median: float
    p90: float
    p99: float | None
    count: int


class Memory(Record):
    """The most memory that a workload held, in bytes.

    Attributes:
        peak: at its most, everything included.
        before: held before its first step: framework, model and whatever the process kept.
        kind: ``device`` for an accelerator's own memory, ``resident`` for the process' on a CPU.
    """

    peak: int
    before: int
    kind: Literal["device", "resident"]


class Size(Record):
    """What a model is made of.

    Attributes:
        parameters: numbers in backbone and head.
        trainable: of which train in this workload; 0 in inference.
        disk_bytes: of the model saved as a ``.keras`` file, without an optimizer's state.
        forward_macs: multiply-accumulates of a forward pass of one picture. Papers often call
            these FLOPs; one is two floating-point operations.
        step_macs: of one picture in a step of this workload, gradients included.
        uncounted: layers whose multiply-accumulates are not known, and not in there.
    """

    parameters: int
    trainable: int
    disk_bytes: int
    forward_macs: int
    step_macs: int
    uncounted: tuple[str, ...] = ()


class CostResult(Record):
    """One row of the store: what one workload of one backbone costs on one stack.

    Attributes:
        batch_size: pictures in a step, as run.
        batch_reason: how the batch size was found, where it was not given.
        execution: ``graph``, ``xla`` or ``eager``, and how that was decided.
        rewrites: what was done to the backbone's operations, to the same effect.
        compile_seconds: of the first step, over what a later one takes: compilation, where the
            backend compiles.
        device: throughput with the batch on the device already.
        end_to_end: throughput from pictures in a memory-mapped file, batch by batch, as trials read
            them.
        latency: of inference on a single picture.
        memory, size: see there.
        flops_per_second: achieved on the device, two for each multiply-accumulate.
        peak_flops_per_second: of a large matrix product in the same precision on this device.
        joules_per_image: what the accelerator drew, from its own counter; None without one.
        timed_seconds: asked for, to time each kind of step; of several runs the longest.
        runs: processes that measured it, taken together here (`pooled`).
        elsewhere: share of the cores' time, 0 to 1, that other work used while steps were timed;
            the most that it was.
        drift: by how much its last bursts were faster than its first, as a share (negative where
            they were slower), if by more than chance; 0 if not, None where too few could tell
            (`Rate.drift`); of several runs the largest.
        together: which joint measurement it is from, where several stacks were measured in turns
            (`bench.running.lockstep`): rows of one key and one id are of the same minutes.
        gpu_processes: others on the same GPU, before or after; None without NVML.
        seconds: wall time of the whole measurement.
    """

    key: str
    spec: CostSpec
    stack: Stack
    status: Status
    reason: str = ""
    started_at: str
    seconds: float
    protocol: int = 1
    batch_size: int | None = None
    batch_reason: str = ""
    execution: str = ""
    rewrites: str = ""
    compile_seconds: float | None = None
    device: Rate | None = None
    end_to_end: Rate | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    size: Size | None = None
    flops_per_second: float | None = None
    peak_flops_per_second: float | None = None
    joules_per_image: float | None = None
    timed_seconds: float | None = None
    runs: int = 1
    elsewhere: float | None = None
    drift: float | None = None
    together: str | None = None
    gpu_processes: int | None = None
    environment: Environment | None = None

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """None: what guards hold is training."""
        return ()

    @property
    def utilisation(self) -> float | None:
        """Model FLOPs utilisation (MFU): achieved over the measured peak, 0 to 1."""
        if self.flops_per_second is None or not self.peak_flops_per_second:
            return None
        return self.flops_per_second / self.peak_flops_per_second

    @property
    def input_bound(self) -> bool:
        """Whether steps wait for pictures: end to end slower than the device by more than noise."""
        if self.device is None or self.end_to_end is None:
            return False
        slower = self.end_to_end.median < (1 - INPUT_BOUND) * self.device.median
        return slower and self.end_to_end.high < self.device.low

    @property
    def disturbed(self) -> bool:
        """Whether other work on the machine may have slowed this down."""
        return (self.elsewhere or 0.0) >= BUSY or bool(self.gpu_processes)

    @property
    def unsteady(self) -> bool:
        """Whether the bursts differ so much that their median says little."""
        return self.device is not None and self.device.spread > WIDE

    @property
    def drifted(self) -> bool:
        """Whether the same work took another time at its end than at its beginning."""
        return abs(self.drift or 0.0) >= DRIFT

    @property
    def doubtful(self) -> bool:
        """Whether its throughput is better measured again, on a quiet machine."""
        return self.disturbed or self.unsteady or self.drifted


INTERVAL = (0.025, 0.975)
"""Quantiles of the bursts: the middle 95% of them."""

INPUT_BOUND = 0.1
"""Share of its speed that a workload must lose to its input before it is called input-bound."""

BUSY = 0.1
"""Share of the cores that other work must use before a measurement is in doubt."""

WIDE = 0.1
"""A wider spread of the bursts puts a measurement in doubt."""

DRIFT, CHANCE, FEWEST_TO_TELL = 0.05, 0.05, 4
"""First and last bursts that differ by this share, and with a smaller probability by chance, put a
measurement in doubt; of so many bursts each at least."""


def _by_chance(first: Sequence[float], last: Sequence[float]) -> float:
    """How probable ranks so far apart are among equals: Mann and Whitney's U, by the normal."""
    a, b = len(first), len(last)
    wins = sum((x < y) + 0.5 * (x == y) for x in first for y in last)
    spread = math.sqrt(a * b * (a + b + 1) / 12)
    away = max(0.0, abs(wins - a * b / 2) - 0.5) / spread
    return 2 * (1 - statistics.NormalDist().cdf(away))


def pooled(rows: Sequence[CostResult]) -> CostResult:
    """One row of several that measured the same, each in a process of its own.

    What failed, or is in doubt, is left out where another is neither: repeating loses nothing that
    was known. Bursts are taken together, so that the interval holds what processes differ in, which
    no process sees of itself; latency is the median of each figure, memory the most of any.
    """
    best = max((r.status == "ok", not r.doubtful) for r in rows)
    chosen = [r for r in rows if (r.status == "ok", not r.doubtful) == best]
    last = chosen[-1]
    if len(chosen) == 1 or last.device is None:
        return last
    return last.model_copy(
        update={
            "runs": len(chosen),
            "timed_seconds": max(r.timed_seconds or 0.0 for r in chosen),
            "device": _together([r.device for r in chosen]),
            "end_to_end": _together([r.end_to_end for r in chosen]),
            "latency": _typical([r.latency for r in chosen if r.latency]),
            "memory": max((r.memory for r in chosen if r.memory), key=_peak, default=None),
            **{name: _median([getattr(r, name) for r in chosen]) for name in _MEDIANS},
            "elsewhere": max((r.elsewhere or 0.0 for r in chosen), default=None),
            "drift": max((r.drift for r in chosen if r.drift is not None), key=abs, default=None),
            "together": None,  # they are of several
        }
    )


_MEDIANS = ("compile_seconds", "flops_per_second", "peak_flops_per_second", "joules_per_image")


def _together(rates: Sequence[Rate | None]) -> Rate | None:
    known = [r for r in rates if r is not None]
    return Rate.of([s for r in known for s in r.samples], known[-1].steps) if known else None


def _typical(found: Sequence[Latency]) -> Latency | None:
    if not found:
        return None
    return Latency(
        median=statistics.median(f.median for f in found),
        p90=statistics.median(f.p90 for f in found),
        p99=_median([f.p99 for f in found]),
        count=sum(f.count for f in found),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def _peak(memory: Memory) -> int:
    return memory.peak
