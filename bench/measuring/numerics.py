"""One fingerprint from end to end: NumericsSpec -> NumericsResult. What goes wrong is a status.

Rounding is measured, not guessed: the same computation is repeated with every weight and what
enters the backbone moved by at most a unit roundoff, as another order of summation would move them.
How far each tensor moves then is what comparing two stacks has to allow for (`bench.analysis`).
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from bench.data import decoding
from bench.measuring import fixed, probing
from bench.measuring.probing import EXACT, Array, Probed, Tensors
from bench.numerics import NUMERICS_VERSION, ExecutionMode, NumericsResult, NumericsSpec, Pass
from bench.progress import Progress
from bench.records import WeightsUsed
from bench.training.grounds import Workplace
from bench.training.recording import Report
from bench.training.trial import explained
from bench.zoo import preprocessing, weights

TURNS = 2
"""Times that weights and input are moved; the larger effect counts."""

_REASON = 200
"""Characters of why a mode does not work; compilers write pages."""

_DIGITS = {"norms": 6, "roundings": 3, "sketches": 8}


@dataclass(frozen=True)
class Given:
    """What a fingerprint starts from.

    Attributes:
        probed: the backbone with its head.
        prepared: float32 (pictures, side, side, 3), what enters the backbone.
        before: probes of what lies before the backbone.
    """

    probed: Probed
    prepared: Array
    before: Tensors


def measure(spec: NumericsSpec, place: Workplace, report: Report) -> NumericsResult:
    """Take one fingerprint; never raises for what is its own fault.

    The process' precision is what it was, afterwards; every tensor inside the backbone is held in
    the host's memory for the while.

    Args:
        spec: of what.
        place: the process it is taken in.
        report: told of its progress.
    """
    began = time.perf_counter()
    row = place.row_of(spec, NUMERICS_VERSION)
    try:
        _measure(spec, place, report, row)
        row |= {"status": "ok"}
    except Exception as error:
        status, reason = explained(error)
        row |= {"status": status, "reason": reason}
    finally:
        keras.config.set_dtype_policy(place.stack.precision)
    return NumericsResult(**row, seconds=time.perf_counter() - began)


def _measure(spec: NumericsSpec, place: Workplace, report: Report, row: dict[str, Any]) -> None:
    """Fill the row as far as it goes."""
    report(Progress(stage="weights"))
    given, row["weights"] = _given(spec, place)
    row["inputs"] = hashlib.sha256(fixed.pictures(spec.image_size).tobytes()).hexdigest()
    passes: list[Pass] = []
    skipped: list[str] = []
    for mode in probing.modes():
        report(Progress(stage=mode))
        try:
            found, names = _pass(spec, given, mode)
        except Exception as error:
            if not passes:
                raise
            skipped.append(f"{mode}: {explained(error)[1][:_REASON]}")
            continue
        passes.append(found)
        row |= {"probes": tuple(names), "sizes": tuple(names.values())}
    row |= {"passes": tuple(passes), "skipped": tuple(skipped)}


def _given(spec: NumericsSpec, place: Workplace) -> tuple[Given, WeightsUsed]:
    """Build the backbone; whatever was built before is let go."""
    keras.backend.clear_session()
    keras.config.set_dtype_policy(spec.precision)
    keras.utils.set_random_seed(0)
    loaded = weights.load(spec.backbone, spec.image_size, place.settings, place.folder)
    used = loaded.used
    if spec.backbone.weights == "random":
        fixed.fill(loaded.model)
        sha256 = weights.fingerprint(loaded.model)
        used = WeightsUsed(source="random, the same on every stack", sha256=sha256)
    shown = fixed.pictures(spec.image_size)
    pixels = keras.Input(shown.shape[1:], dtype="uint8")
    floats = keras.ops.cast(pixels, "float32")
    prepare = keras.Model(pixels, preprocessing.apply(loaded.preprocessing, floats))
    prepared = np.asarray(keras.ops.convert_to_numpy(prepare(shown)), np.float32)
    before: Tensors = {
        f"decoding {name}": decoding.decode(content, spec.image_size)
        for name, content in fixed.encoded().items()
    }
    before["preprocessing"] = prepared
    return Given(Probed.of(loaded.model), prepared, before), used


def _pass(spec: NumericsSpec, given: Given, mode: ExecutionMode) -> tuple[Pass, dict[str, int]]:
    """One way of running; and the size of every probe, by name."""
    began = time.perf_counter()
    run = given.probed.compiled(mode)
    unit = probing.unit(spec.precision)
    base = given.before | _turn(spec, given, run, unit, 0)
    roundings = dict.fromkeys(base, EXACT)
    for turn in range(1, TURNS + 1):
        for name, values in _turn(spec, given, run, unit, turn).items():
            roundings[name] = max(roundings[name], distance(base[name], values))
    columns: dict[str, Sequence[float]] = {
        "norms": [float(np.linalg.norm(_flat(values))) for values in base.values()],
        "roundings": list(roundings.values()),
        "sketches": [float(s) for values in base.values() for s in fixed.sketch(values)],
    }
    short = {
        name: tuple(float(f"{value:.{_DIGITS[name]}g}") for value in column)
        for name, column in columns.items()
    }
    seconds = round(time.perf_counter() - began, 3)
    sizes = {name: values.size for name, values in base.items()}
    return Pass(mode=mode, unit=unit, seconds=seconds, **short), sizes


def _turn(
    spec: NumericsSpec, given: Given, run: probing.Compiled, unit: float, turn: int
) -> Tensors:
    """Every tensor with weights and input moved; not moved in turn 0."""
    probed = given.probed
    labels = np.arange(fixed.PICTURES, dtype="int32")
    kept = probed.weights()
    paths = [weight.path for weight in probed.whole.weights]
    try:
        probed.assign(
            [probing.moved(v, path, unit, turn) for v, path in zip(kept, paths, strict=True)]
        )
        prepared = probing.moved(given.prepared, "prepared", unit, turn)
        found = probed.tensors(run, prepared, labels)
        statistics = probed.moved_statistics(found, turn)
    finally:
        probed.assign(kept)
    for name in spec.optimizers:
        found[f"optimizer {name}"] = probing.optimizer(name, EXACT, turn)
    return found | statistics


def distance(a: Array, b: Array) -> float:
    """L2 distance as a share of the larger norm; infinite where only one is finite."""
    one, other = _flat(a), _flat(b)
    apart, larger = np.linalg.norm(one - other), max(map(np.linalg.norm, (one, other)))
    if not np.isfinite(apart):
        return float("inf")
    return float(apart / larger) if larger else 0.0


def _flat(values: Array) -> Array:
    return np.asarray(values, np.float64).ravel()
