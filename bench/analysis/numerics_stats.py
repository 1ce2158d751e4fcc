"""Two fingerprints of one backbone: identical, equal up to rounding, or different, and where.

A probe is `different` where two stacks are further apart in it than `FACTOR` times what rounding
does to it on either of them, which was measured there. Probes stand in the order they are computed,
so the first that differs is where a change happened; what follows from it differs, too.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.analysis.stats import Verdict
from bench.numerics import SKETCH, ExecutionMode, NumericsResult, Pass

FACTOR = 20.0
"""Times its rounding that a probe may move. Measured (`benchmarks/numerics.py`): TensorFlow as a
graph and by XLA, JAX and PyTorch stay below 5, on four backbones."""

Kind = Literal["identical", "rounding", "different"]
Overall = Kind | Literal["not comparable"]
_KINDS: tuple[Kind, ...] = ("identical", "rounding", "different")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Beyond:
    """A probe, and how far it has moved.

    Attributes:
        probe: its name.
        distance: between the two stacks, as a share of the tensor's norm (L2); estimated from
            sketches: in 9 of 10 cases between half and twice as much. Infinite where only one is
            finite, or only one has the probe.
        rounding: what rounding alone does to it, the larger of both.
    """

    probe: str
    distance: float
    rounding: float

    @property
    def tolerance(self) -> float:
        """The largest distance that still passes for rounding."""
        return FACTOR * self.rounding

    @property
    def ratio(self) -> float:
        """Distance over tolerance; above 1 it is different."""
        return self.distance / self.tolerance


@dataclass(frozen=True)
class PassChange:
    """One way of running against another.

    Attributes:
        modes: of the two.
        kind: ``identical`` to all digits kept, ``rounding``, or ``different``.
        first: the first probe beyond its tolerance; None where there is none.
        worst: the probe with the largest ratio.
        differing: probes beyond their tolerance.
        probes: that were compared, or are in one only.
        undefined: of which neither side is a finite number: nothing can be said of them.
    """

    modes: tuple[ExecutionMode, ExecutionMode]
    kind: Kind
    first: Beyond | None
    worst: Beyond
    differing: int
    probes: int
    undefined: int = 0

    @property
    def text(self) -> str:
        """One line, without the mode."""
        if self.undefined and self.first is None:
            return f"{self.undefined} of {self.probes} probes are no finite numbers on either side"
        if self.kind == "identical":
            return "identical"
        if self.first is None:
            return f"rounding: at most {self.worst.ratio:.2g} of the tolerance ({self.worst.probe})"
        if not np.isfinite(self.first.distance):
            return f"different from {self.first.probe} on: in one of both only, or not finite"
        return (
            f"different from {self.first.probe} on: {_percent(self.first.distance)} "
            f"where rounding is {_percent(self.first.rounding)}"
        )


@dataclass(frozen=True)
class NumericsChange:
    """One fingerprint against another.

    Attributes:
        passes: one for each mode that both have; across backends their defaults.
        reason: why they cannot be compared; empty where they can.
        lost: what the first could run and the second cannot, though its backend is the same.
    """

    passes: tuple[PassChange, ...] = ()
    reason: str = ""
    lost: str = ""

    @property
    def verdict(self) -> Verdict:
        """``same`` for rounding at most, ``worse`` for other numbers or none any more."""
        if self.lost or self.kind == "different":
            return "worse"
        if not self.comparable or any(p.undefined for p in self.passes):
            return "unclear"
        return "same"

    @property
    def comparable(self) -> bool:
        """Whether anything was compared."""
        return not self.reason

    @property
    def kind(self) -> Overall:
        """The worst of the passes."""
        if not self.passes:
            return "not comparable"
        return max((p.kind for p in self.passes), key=_KINDS.index)

    @property
    def telling(self) -> PassChange | None:
        """The pass that says most: the first that differs, else the one closest to it."""
        differing = [p for p in self.passes if p.kind == "different"]
        if differing:
            return differing[0]
        return max(self.passes, key=lambda p: p.worst.ratio, default=None)

    @property
    def text(self) -> str:
        """One line for tables; it names the mode where only some of several differ."""
        if self.lost:
            return self.lost
        if self.telling is None:
            return f"not comparable: {self.reason}"
        alike = len({p.kind == "different" for p in self.passes}) == 1
        where = "" if alike else f"{_modes(self.telling)}: "
        return where + self.telling.text


def compare(a: NumericsResult, b: NumericsResult) -> NumericsChange:
    """What changed from one fingerprint to the other."""
    if a.status == "ok" and b.status != "ok":
        return NumericsChange(lost=f"{b.status} now: {b.reason}")
    if reason := _incomparable(a, b):
        return NumericsChange(reason=reason)
    pairs = _pairs(a, b)
    if not pairs:
        return NumericsChange(reason="they share no execution mode")
    return NumericsChange(
        tuple(compared(a, b, one, other) for one, other in pairs), lost=_lost(a, b)
    )


def _lost(a: NumericsResult, b: NumericsResult) -> str:
    if a.stack.backend != b.stack.backend:
        return ""
    modes = [p.mode for p in a.passes if b.passed(p.mode) is None]
    why = f" ({'; '.join(b.skipped)})" if b.skipped else ""
    return f"does not run as {' or '.join(modes)} any more{why}" if modes else ""


def _incomparable(a: NumericsResult, b: NumericsResult) -> str:
    """Why the two say nothing of each other."""
    for row in (a, b):
        if row.status != "ok":
            return f"{row.status} on {row.stack.id}: {row.reason}"
    if a.protocol != b.protocol:
        return f"probed by different versions ({a.protocol} and {b.protocol}): take both again"
    changed = [n for n in type(a.spec).model_fields if getattr(a.spec, n) != getattr(b.spec, n)]
    if changed:
        return f"they differ in {', '.join(changed)}"
    if a.weights != b.weights and (not a.weights or not b.weights or _sha(a) != _sha(b)):
        return "the weights are not the same numbers"
    if a.inputs != b.inputs:
        return "the pictures are not the same"
    return ""


def _sha(row: NumericsResult) -> str:
    return row.weights.sha256 if row.weights else ""


def _pairs(a: NumericsResult, b: NumericsResult) -> list[tuple[Pass, Pass]]:
    if a.stack.backend != b.stack.backend:
        return list(zip(a.passes[:1], b.passes[:1], strict=True))
    both = ((one, b.passed(one.mode)) for one in a.passes)
    return [(one, other) for one, other in both if other is not None]


def compared(a: NumericsResult, b: NumericsResult, one: Pass, other: Pass) -> PassChange:
    """One pass of a fingerprint against one of another, or of the same; whatever their modes.

    Args:
        a: a fingerprint.
        b: one that can be compared with it.
        one: a pass of a.
        other: a pass of b.
    """
    rows, places, absent = _aligned(a, b)
    apart = _distances(one, other, rows, places)
    rounding = np.maximum(np.array(one.roundings)[rows], np.array(other.roundings)[places])
    found = {
        row: Beyond(a.probes[row], float(distance), float(allowed))
        for row, distance, allowed in zip(rows, apart, rounding, strict=True)
    }
    lone = [(place, Beyond(name, float("inf"), 2.0**-24)) for place, name in absent]
    # What only the second has stands where it would come in the first.
    every = [beyond for _, beyond in sorted([*found.items(), *lone], key=lambda item: item[0])]
    differing = [beyond for beyond in every if beyond.ratio > 1]
    same = not absent and bool(np.all(apart == 0)) and _norms_equal(one, other, rows, places)
    norms = np.array(one.norms)[rows], np.array(other.norms)[places]
    kind: Kind = "identical" if same else "rounding"
    return PassChange(
        modes=(one.mode, other.mode),
        kind="different" if differing else kind,
        first=next(iter(differing), None),
        worst=max(every, key=lambda beyond: beyond.ratio),
        differing=len(differing),
        probes=len(every),
        undefined=int(np.count_nonzero(~np.isfinite(norms[0]) & ~np.isfinite(norms[1]))),
    )


def _aligned(
    a: NumericsResult, b: NumericsResult
) -> tuple[list[int], list[int], list[tuple[float, str]]]:
    """Which probe belongs to which.

    Names are a framework's own, and may change where nothing else does: as long as the sizes are
    the same in the same order, the order counts.

    Returns:
        Indices into a's probes and into b's; and what only one has, with its place among a's.
    """
    if a.sizes == b.sizes and _groups(a) == _groups(b):
        return list(range(len(a.probes))), list(range(len(a.probes))), []
    known = {probe: i for i, probe in enumerate(zip(b.probes, b.sizes, strict=True))}
    own = list(zip(a.probes, a.sizes, strict=True))
    rows = [i for i, probe in enumerate(own) if probe in known]
    absent = [(float(i), name) for i, (name, size) in enumerate(own) if (name, size) not in known]
    before = -1
    for probe in known:
        if probe in own:
            before = own.index(probe)
        elif probe[0] not in a.probes:  # else it is there, in another size
            absent.append((before + 0.5, probe[0]))
    return rows, [known[own[i]] for i in rows], absent


def _groups(row: NumericsResult) -> list[str]:
    return [name.partition(" ")[0] for name in row.probes]


def _distances(one: Pass, other: Pass, rows: list[int], places: list[int]) -> Floats:
    """Of each pair of probes, as a share of the larger norm."""
    first = np.array(one.sketches).reshape(-1, SKETCH)[rows]
    second = np.array(other.sketches).reshape(-1, SKETCH)[places]
    larger = np.maximum(np.array(one.norms)[rows], np.array(other.norms)[places])
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.linalg.norm(first - second, axis=1) / np.where(larger > 0, larger, 1.0)
    finite = np.isfinite(first).all(axis=1), np.isfinite(second).all(axis=1)
    apart = np.where(finite[0] != finite[1], np.inf, apart)
    return np.asarray(np.where(~finite[0] & ~finite[1], 0.0, apart))


def _norms_equal(one: Pass, other: Pass, rows: list[int], places: list[int]) -> bool:
    first, second = np.array(one.norms)[rows], np.array(other.norms)[places]
    return bool(np.array_equal(first, second, equal_nan=True))


def _modes(change: PassChange) -> str:
    first, second = change.modes
    return first if first == second else f"{first} and {second}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"
