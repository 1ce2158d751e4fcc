"""Guards: the checks a trial makes on itself, each a pass or a fail with its evidence.

    preprocessing           the backbone is handed exactly what its contract says
    trainable_set           the weights Keras would train are the plan's, and so is their number
    learning_rate           the planned learning rate is in force at the phase's first step
    backbone_deterministic  two passes in training mode over the same pictures are equal
    head_trained            when phase 2 begins, the head's weights are no longer the random ones
                            that it was built with (only in a trial with both phases)
    frozen_weights          what Keras calls frozen is bit-identical after the phase
    batchnorm_statistics    BatchNorm's moving statistics are bit-identical after the phase (in mode
                            ``train``: those that should move did, the others did not)
    weights_moved           what Keras calls trainable did move
    loss_finite             no loss was NaN or infinite
    loss_scale              float16's loss scale did not collapse, and few steps were skipped (only
                            under mixed float16)
    no_cliff                phase 2 did not end below phase 1 on val
    shared_work             what was computed once for many trials equals the stock model (only
                            where work was shared)

The plan is worked out from layer names and weight sizes (`bench.zoo.freezing`), apart from Keras'
flags. So `trainable_set` compares the plan with the flags, and the others compare the flags with
what happened: one mistake fails one guard.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.records import BatchNorm, Epoch, Guard, Preprocessing
from bench.training.model import TrialModel
from bench.training.recording import LossScaling
from bench.training.scoring import Scores
from bench.zoo import preprocessing
from bench.zoo.freezing import leaves

PROBE_PICTURES = 8
INPUT_LAYERS = 4
"""How far into a backbone to look for its own rescaling."""
CLIFF_DEVIATIONS = 3.0
"""Fails about one right trial in a thousand; at 2 it would be one in fifty."""
SHARED_TOLERANCE, SHARED_TOLERANCE_MIXED = 1e-4, 5e-2
"""Relative to the largest output: other batch sizes and modes of execution round differently."""

LEAST_SCALE = 1.0
"""Below it the loss is scaled down: gradients overflow even as they are, and small ones vanish."""
SKIPPED_SHARE = 0.1
"""Of a phase's steps: who asked for ten epochs must not get eight."""
SETTLING_STEPS = 8
"""Keras begins at 32,768 and halves the scale with each overflow, so that a right trial skips a few
steps at first; eight bring the scale down to 128."""


@dataclass(frozen=True)
class PhasePlan:
    """What a phase should do, worked out before Keras is asked.

    Attributes:
        name: ``phase 1`` or ``phase 2``.
        trains: paths of the weights that should train, the head's included.
        parameters: how many numbers those hold.
        learning_rate: planned for the first step.
        batch_norm: BatchNorm's mode in this phase.
        start: index of the first backbone layer that trains.
    """

    name: str
    trains: frozenset[str]
    parameters: int
    learning_rate: float
    batch_norm: BatchNorm
    start: int


@dataclass(frozen=True)
class Snapshot:
    """A digest of every weight, by path, and the flags they had."""

    digests: Mapping[str, str]
    trainable: frozenset[str]


def snapshot(model: Any) -> Snapshot:
    """Digest every weight of a compiled Keras model (random-number states left out)."""
    trainable = frozenset(w.path for w in model.trainable_weights)
    weights = [w for w in model.weights if "seed_generator" not in w.path]
    return Snapshot({w.path: _digest(w) for w in weights}, trainable)


def after_phase(
    trial: TrialModel, plan: PhasePlan, before: Snapshot, rate: float, epochs: Sequence[Epoch]
) -> list[Guard]:
    """The guards that look back on a phase.

    Args:
        trial: the model as the phase left it.
        plan: what the phase should have done.
        before: the weights as the phase found them.
        rate: the learning rate at its first step.
        epochs: what it recorded.
    """
    after = snapshot(trial.model)
    statistics = _statistics(trial.backbone)
    return [
        learning_rate(plan, rate),
        frozen_weights(plan, before, after, statistics),
        batchnorm_statistics(plan, before, after, statistics),
        weights_moved(plan, before, after),
        loss_finite(plan, epochs),
    ]


def preprocessing_applied(
    trial: TrialModel, contract: Preprocessing, pictures: NDArray[np.uint8]
) -> Guard:
    """Hold what enters the backbone against the contract, computed apart from Keras.

    A backbone that rescales inside must be handed raw pixels, or they are treated twice; that
    shows in its first layers. Whether a backbone without such a layer wants raw pixels, only the
    one who trained it knows.
    """
    entering = keras.Model(trial.model.input, trial.prepared)(pictures, training=False)
    found = keras.ops.convert_to_numpy(entering).astype(np.float64)
    expected = preprocessing.reference(contract, pictures)
    largest = float(np.abs(found - expected).max())
    scale = float(np.abs(expected).max())
    evidence = (
        f"{contract}: entering pixels span [{found.min():.4g}, {found.max():.4g}], "
        f"largest difference from the contract {largest:.2g}"
    )
    rescales = [layer.name for layer in trial.backbone.layers[:INPUT_LAYERS] if _rescales(layer)]
    twice = bool(rescales) and contract != "raw"
    if twice:
        evidence += f"; and the backbone treats them again: {', '.join(rescales)}"
    passed = largest <= 1e-5 * scale and not twice
    return Guard(name="preprocessing", passed=passed, evidence=evidence)


def trainable_set(model: Any, plan: PhasePlan) -> Guard:
    """Hold Keras' trainable weights against the plan's, by path and by number."""
    flagged = {w.path: math.prod(w.shape) for w in model.trainable_weights}
    extra, missing = flagged.keys() - plan.trains, plan.trains - flagged.keys()
    count = sum(flagged.values())
    passed = not extra and not missing and count == plan.parameters
    evidence = f"{plan.name}: {count:,} numbers in {len(flagged)} weights, as planned"
    if not passed:
        evidence = (
            f"{plan.name}: {count:,} numbers train where the plan has {plan.parameters:,}"
            f"{_named('; not planned', extra)}{_named('; missing', missing)}"
        )
    return Guard(name="trainable_set", passed=passed, evidence=evidence)


def backbone_deterministic(
    trial: TrialModel, plan: PhasePlan, pictures: NDArray[np.uint8]
) -> Guard:
    """Pass the same pictures twice through the backbone as ``fit`` does, in training mode."""
    name = "backbone_deterministic"
    if plan.batch_norm == "train":
        return Guard(name=name, passed=None, evidence=f"{plan.name}: batch_norm = train")
    prepared = keras.Model(trial.model.input, trial.prepared)(pictures, training=False)
    statistics = [w for w in trial.backbone.non_trainable_weights if "seed" not in w.path]
    kept = [keras.ops.copy(w.value) for w in statistics]
    backbone = keras.Model(trial.prepared, trial.features)
    first, second = (
        keras.ops.convert_to_numpy(backbone(prepared, training=True)).astype(np.float64)
        for _ in range(2)
    )
    for weight, value in zip(statistics, kept, strict=True):
        weight.assign(
            value
        )  # a broken backbone moves its statistics here: not this guard's finding
    largest = float(np.abs(first - second).max())
    evidence = f"{plan.name}: largest difference between two passes {largest:.3g}"
    return Guard(name=name, passed=largest == 0.0, evidence=evidence)


def shared_work(plan: PhasePlan, what: str, found: Any, stock: Any) -> Guard:
    """Hold what was computed once for many trials against the stock model.

    Args:
        plan: of the phase that uses it.
        what: what was computed.
        found, stock: the two, for the same pictures.
    """
    ours, theirs = (keras.ops.convert_to_numpy(x).astype(np.float64) for x in (found, stock))
    scale = float(np.abs(theirs).max()) or 1.0
    relative = float(np.abs(ours - theirs).max()) / scale
    full = keras.config.dtype_policy().compute_dtype == "float32"
    allowed = SHARED_TOLERANCE if full else SHARED_TOLERANCE_MIXED
    evidence = (
        f"{plan.name}: {what}: largest relative difference from the stock model {relative:.2g}"
    )
    return Guard(name="shared_work", passed=relative <= allowed, evidence=evidence)


def as_loaded(plan: PhasePlan, equal: bool) -> Guard:
    """The backbone, used by other trials before, must hold the very weights it was loaded with."""
    evidence = f"{plan.name}: the backbone begins {'' if equal else 'not '}as it was loaded"
    return Guard(name="shared_work", passed=equal, evidence=evidence)


def learning_rate(plan: PhasePlan, rate: float) -> Guard:
    """Hold the optimizer's learning rate at the first step against the plan's."""
    passed = math.isclose(rate, plan.learning_rate, rel_tol=1e-5)
    evidence = f"{plan.name}: {rate:.3g} in force, {plan.learning_rate:.3g} planned"
    return Guard(name="learning_rate", passed=passed, evidence=evidence)


def frozen_weights(
    plan: PhasePlan, before: Snapshot, after: Snapshot, statistics: Mapping[str, int]
) -> Guard:
    """What Keras called frozen must be bit-identical (BatchNorm's statistics have their own)."""
    frozen = before.digests.keys() - before.trainable - statistics.keys()
    moved = {p for p in frozen if after.digests[p] != before.digests[p]}
    evidence = f"{plan.name}: {len(frozen)} frozen weights bit-identical"
    if moved:
        evidence = f"{plan.name}: {len(moved)} of {len(frozen)} moved{_named('', moved)}"
    return Guard(name="frozen_weights", passed=not moved, evidence=evidence)


def batchnorm_statistics(
    plan: PhasePlan, before: Snapshot, after: Snapshot, statistics: Mapping[str, int]
) -> Guard:
    """Moving means and variances stay; in mode ``train`` those above the freeze boundary move."""
    name = "batchnorm_statistics"
    if not statistics:
        return Guard(name=name, passed=None, evidence=f"{plan.name}: no BatchNorm")
    top = plan.start if plan.batch_norm == "train" else math.inf
    should_move = {path for path, layer in statistics.items() if layer >= top}
    moved = {p for p in statistics if after.digests[p] != before.digests[p]}
    astray, stuck = moved - should_move, should_move - moved
    evidence = (
        f"{plan.name}: {len(statistics) - len(should_move)} statistics should stay, "
        f"{len(astray)} moved{_named('', astray)}"
    )
    if should_move:
        evidence += f"; {len(should_move)} should move, {len(stuck)} stayed{_named('', stuck)}"
    return Guard(name=name, passed=not astray and not stuck, evidence=evidence)


def weights_moved(plan: PhasePlan, before: Snapshot, after: Snapshot) -> Guard:
    """Whatever Keras called trainable must differ after the phase."""
    still = {p for p in before.trainable if after.digests[p] == before.digests[p]}
    evidence = f"{plan.name}: all {len(before.trainable)} trainable weights moved"
    if still:
        evidence = f"{plan.name}: {len(still)} of {len(before.trainable)} never moved"
        evidence += _named("", still)
    return Guard(name="weights_moved", passed=not still, evidence=evidence)


def loss_finite(plan: PhasePlan, epochs: Sequence[Epoch]) -> Guard:
    """No epoch's train or val loss was NaN or infinite."""
    bad = [e for e in epochs if not math.isfinite(e.loss + e.val_loss)]
    evidence = f"{plan.name}: {len(epochs)} epochs, every loss finite"
    if bad:
        evidence = (
            f"{plan.name}: loss not finite in epoch {bad[0].index + 1} "
            f"(train {bad[0].loss:.4g}, val {bad[0].val_loss:.4g})"
        )
    return Guard(name="loss_finite", passed=not bad, evidence=evidence)


def loss_scale(model: Any, plan: PhasePlan, scaling: LossScaling | None) -> list[Guard]:
    """Under mixed float16, loss scaling must be in force and must have left the steps alone.

    A step whose gradients overflow is skipped and the scale halved, without a word in the history.
    Skipped may be a tenth of the steps, or what the scale needs to settle, if that is more; in a
    phase so short that it is most of the steps, half of them.

    Args:
        model: the trial's.
        plan: of the phase.
        scaling: what was recorded; None where the loss was not scaled.

    Returns:
        The guard; none where the precision needs no scale.
    """
    if scaling is None:
        if model.dtype_policy.name != "mixed_float16":
            return []
        evidence = f"{plan.name}: mixed float16, but no loss scale on record"
        return [Guard(name="loss_scale", passed=False, evidence=evidence)]
    steps, skipped, scale = scaling.steps, scaling.skipped, scaling.scale
    allowed = int(max(SKIPPED_SHARE * steps, min(SETTLING_STEPS, steps / 2)))
    shown = f"{scale:,.0f}" if scale >= LEAST_SCALE else f"{scale:.3g} (collapsed)"
    evidence = f"{plan.name}: loss scale {shown} at the end, {skipped} of {steps} steps skipped"
    if skipped > allowed:
        evidence += f", {allowed} allowed"
    passed = scale >= LEAST_SCALE and skipped <= allowed
    return [Guard(name="loss_scale", passed=passed, evidence=evidence)]


def head_weights(trial: TrialModel) -> list[Any]:
    """What the model holds beside the backbone, random-number states left out."""
    others = [layer for layer in trial.model.layers if layer not in (trial.wrapper, trial.backbone)]
    return [w for layer in others for w in layer.weights if "seed_generator" not in w.path]


def head_digests(trial: TrialModel) -> Mapping[str, str]:
    """A digest of every weight of the head, by path."""
    return {w.path: _digest(w) for w in head_weights(trial)}


def head_trained(untrained: Mapping[str, str], trial: TrialModel) -> Guard:
    """Phase 2 must begin with a trained head: the gradients of a random one wreck the backbone.

    Args:
        untrained: digests of the head as it was built.
        trial: the model as phase 2 finds it.
    """
    moved = {path for path, digest in head_digests(trial).items() if digest != untrained[path]}
    evidence = (
        f"phase 2 begins with {len(moved)} of {len(untrained)} head weights moved from their start"
    )
    return Guard(name="head_trained", passed=bool(moved), evidence=evidence)


def no_cliff(first: Scores, second: Scores) -> Guard:
    """Phase 2 must not lose on val what phase 1 had, beyond what chance explains.

    Paired on the same pictures: of those whose verdict changed, losses may outnumber gains by
    three standard deviations of a fair coin.
    """
    lost = int((first.correct & ~second.correct).sum())
    gained = int((~first.correct & second.correct).sum())
    allowed = CLIFF_DEVIATIONS * math.sqrt(lost + gained)
    evidence = (
        f"val {first.accuracy:.4f} -> {second.accuracy:.4f}: {gained} pictures gained, "
        f"{lost} lost, {allowed:.1f} net losses allowed"
    )
    return Guard(name="no_cliff", passed=lost - gained <= allowed, evidence=evidence)


def merged(guards: Iterable[Guard]) -> tuple[Guard, ...]:
    """One guard per name: failed if any failed, not applicable if none applied."""
    by_name: dict[str, list[Guard]] = {}
    for guard in guards:
        by_name.setdefault(guard.name, []).append(guard)
    return tuple(
        Guard(
            name=name,
            passed=_all([g.passed for g in same]),
            evidence="; ".join(g.evidence for g in same),
        )
        for name, same in by_name.items()
    )


def _rescales(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)


def _all(passed: Sequence[bool | None]) -> bool | None:
    known = [p for p in passed if p is not None]
    return all(known) if known else None


def _statistics(backbone: Any) -> dict[str, int]:
    """Paths of BatchNorm's moving statistics, each with the index of its backbone layer."""
    return {
        weight.path: index
        for index, layer in enumerate(backbone.layers)
        for leaf in leaves(layer)
        if isinstance(leaf, keras.layers.BatchNormalization)
        for weight in (leaf.moving_mean, leaf.moving_variance)
    }


def _digest(weight: Any) -> str:
    array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
    return hashlib.blake2b(array.view(np.uint8).data, digest_size=16).hexdigest()


def _named(prefix: str, paths: Iterable[str]) -> str:
    names = sorted(paths)
    if not names:
        return ""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{prefix}: {', '.join(names[:3])}{rest}"
