"""Mixed precision: what stays float32, and what becomes of a loss scale when gradients overflow."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tiny
from conftest import STACK

from bench.records import Freeze, Guard, Head, HeadLayer, Phase, TrialSpec, WeightsUsed
from bench.settings import Settings
from bench.training import execution, fitting, grounds, guards, protocol, stacking, trial
from bench.training.grounds import Workplace
from bench.training.recording import LossScaling
from bench.training.trial import run_trial
from bench.zoo import weights

MLP = Head(name="mlp", layers=(HeadLayer(dense=8),))
"""Its hidden layer computes in half precision; a linear head is float32 altogether."""
OUTPUT = "head_output/kernel"
STEPS = 3
"""In an epoch of the tiny pictures."""


@pytest.fixture
def half() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def head_only(epochs: int = 1, head: Head = MLP, **changes: object) -> TrialSpec:
    phase = Phase(epochs=epochs, learning_rate=1e-3)
    changes = {"head": head, "phase1": phase, "phase2": None} | changes
    return tiny.spec(Freeze(strategy="head_only"), **changes)


def by_name(found: protocol.Outcome) -> dict[str, Guard]:
    return {g.name: g for g in found.guards}


def failing(found: protocol.Outcome) -> set[str]:
    return {g.name for g in found.guards if g.passed is False}


Compile = Callable[[Any, Phase, Head, bool], None]


def breaking(change: Callable[[np.ndarray], np.ndarray], weight: str = OUTPUT) -> Compile:
    """A compile step after which a weight of the model is another."""

    def compile_step(model: Any, phase: Phase, head: Head, jit: bool) -> None:
        fitting.compile_model(model, phase, head, jit)
        broken = next(w for w in model.weights if w.path == weight)
        broken.assign(change(np.array(keras.ops.convert_to_numpy(broken))))

    return compile_step


def with_a_nan(values: np.ndarray) -> np.ndarray:
    values[0, 0] = np.nan
    return values


def huge(values: np.ndarray) -> np.ndarray:
    """A loss of thousands; its gradients are finite in float32 and not in float16."""
    return values * np.float32(2e4)


# ----------------------------------------------------------------------- what remains in float32


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_outputs_and_the_loss_are_float32(
    half: None, monkeypatch: pytest.MonkeyPatch, precision: str, output: str
) -> None:
    """What enters the loss while Keras fits, and what comes of it."""
    keras.config.set_dtype_policy(precision)
    seen: list[tuple[str, str]] = []
    kind = keras.losses.SparseCategoricalCrossentropy
    call = kind.call

    def spying(self: Any, y_true: Any, y_pred: Any) -> Any:
        losses = call(self, y_true, y_pred)
        seen.append(tuple(keras.backend.standardize_dtype(t.dtype) for t in (y_pred, losses)))
        return losses

    monkeypatch.setattr(kind, "call", spying)
    spec = head_only(head=MLP.model_copy(update={"output": output}))
    found = tiny.run(spec)
    assert seen
    assert set(seen) == {("float32", "float32")}
    assert found.model.output.dtype == "float32"
    assert found.model.get_layer("head_dense_0").compute_dtype == precision.removeprefix("mixed_")
    assert {w.dtype for w in found.model.trainable_weights} == {"float32"}
    pixels = tiny.ingredients(spec).probe
    assert found.model.predict(pixels, verbose=0).dtype == np.float32


def test_a_loss_beyond_float16_is_finite(half: None) -> None:
    outputs = np.float32([[9e4, 0.0], [0.0, 9e4]])
    loss = fitting.loss_of(MLP)(np.float32([1, 1]), outputs)
    assert float(loss) == pytest.approx(4.5e4)


# ----------------------------------------------------------------------------- the loss scale


def test_a_right_trial_tells_its_loss_scale(half: None) -> None:
    found = tiny.run(tiny.spec(head=MLP, phase2=Phase(epochs=1, learning_rate=1e-3)))
    assert failing(found) == set()
    assert by_name(found)["loss_scale"] == Guard(
        name="loss_scale",
        passed=True,
        evidence=(
            f"phase 1: loss scale 32,768 at the end, 0 of {2 * STEPS} steps skipped; "
            f"phase 2: loss scale 32,768 at the end, 0 of {STEPS} steps skipped"
        ),
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_other_precisions_need_no_loss_scale(half: None, precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    found = tiny.run(head_only())
    assert failing(found) == set()
    assert "loss_scale" not in by_name(found)


def test_overflow_with_a_finite_loss_is_caught_by_its_guard_alone(half: None) -> None:
    """Every step that is skipped halves the scale, until gradients fit and training goes on."""
    spec = head_only(epochs=12)
    found = tiny.run(spec, steps=protocol.Steps(compile=breaking(huge)))
    assert failing(found) == {"loss_scale"}
    evidence = by_name(found)["loss_scale"].evidence
    skipped = int(evidence.split(" at the end, ")[1].split(" of ")[0])
    assert 8 < skipped <= 15
    scale = f"{2 ** (15 - skipped):,}"
    steps = f"{skipped} of {12 * STEPS} steps skipped, 8 allowed"
    assert evidence == f"phase 1: loss scale {scale} at the end, {steps}"


def test_the_same_weights_train_in_float32() -> None:
    found = tiny.run(head_only(epochs=12), steps=protocol.Steps(compile=breaking(huge)))
    assert failing(found) == set()


def test_phase_2_is_counted_by_itself(half: None) -> None:
    """Gradients enter the backbone, which computes in float16, by way of a linear head, too."""
    spec = tiny.spec(phase2=Phase(epochs=4, learning_rate=1e-5))
    found = tiny.run(spec, steps=protocol.Steps(recompile=breaking(huge)))
    assert "loss_scale" in failing(found)
    first, second = by_name(found)["loss_scale"].evidence.split("; ")
    assert first == f"phase 1: loss scale 32,768 at the end, 0 of {2 * STEPS} steps skipped"
    assert second.endswith(f"of {4 * STEPS} steps skipped, 6 allowed")


def test_mixed_float16_without_a_loss_scale_fails_its_guard_alone(half: None) -> None:
    def unscaled(model: Any, phase: Phase, head: Head, jit: bool) -> None:
        optimizer = fitting.OPTIMIZERS[phase.optimizer](phase.learning_rate)
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        loss = fitting.loss_of(head)
        model.compile(optimizer, loss, metrics=metrics, jit_compile=jit, auto_scale_loss=False)

    found = tiny.run(head_only(), steps=protocol.Steps(compile=unscaled))
    assert failing(found) == {"loss_scale"}
    evidence = by_name(found)["loss_scale"].evidence
    assert evidence == "phase 1: mixed float16, but no loss scale on record"


@pytest.mark.parametrize(
    ("scale", "steps", "skipped", "passed"),
    [
        (2.0**15, 120, 2, True),
        (1.0, 1000, 15, True),
        (0.5, 1000, 16, False),  # collapsed, however few were skipped
        (128.0, 40, 8, True),  # more than a tenth, but the scale had to settle
        (64.0, 40, 9, False),
        (512.0, 120, 12, True),
        (512.0, 120, 13, False),
        (2.0**14, 2, 1, True),
        (2.0**12, 4, 3, False),  # a phase too short to settle in
    ],
)
def test_how_many_steps_may_be_skipped(
    half: None, scale: float, steps: int, skipped: int, passed: bool
) -> None:
    plan = guards.PhasePlan("phase 1", frozenset(), 0, 1e-3, "frozen", 0)
    model = keras.Sequential()
    (guard,) = guards.loss_scale(model, plan, LossScaling(scale, steps, skipped))
    assert guard.passed is passed
    assert f"{skipped} of {steps} steps skipped" in guard.evidence
    assert ("(collapsed)" in guard.evidence) is (scale < 1)


# --------------------------------------------------------------------------------- shared work


def test_shared_work_tells_its_loss_scale_seed_by_seed(half: None, settings: Settings) -> None:
    """Heads kept by an earlier process tell it, too, and each phase 2 begins with a new scale."""
    phase = Phase(epochs=2, learning_rate=1e-3)
    trials = [tiny.spec(head=MLP, seed=seed, phase1=phase, phase2=phase) for seed in (0, 1)]
    for _ in range(2):
        bench = tiny.bench_for(trials, settings)
        for spec in trials:
            found = tiny.by_sharing(spec, bench)
            assert found.failing == set()
            said = f"loss scale 32,768 at the end, 0 of {2 * STEPS} steps skipped"
            assert found.guards["loss_scale"].evidence == f"phase 1: {said}; phase 2: {said}"


def test_overflow_is_counted_in_both_phases_of_shared_work(
    half: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that begins with huge weights; the literal path skips as many steps in phase 1."""
    phase = Phase(epochs=12, learning_rate=1e-3)
    spec = tiny.spec(head=MLP, phase1=phase, phase2=phase)
    initial = stacking.initial

    def begins_huge(*asked: Any) -> Any:
        model = initial(*asked)
        kernel = model.get_layer("head_output").kernel
        kernel.assign(huge(np.array(keras.ops.convert_to_numpy(kernel))))
        return model

    monkeypatch.setattr(stacking, "initial", begins_huge)
    found = tiny.by_sharing(spec, tiny.bench_for([spec], settings))
    assert found.failing == {"loss_scale"}
    given = tiny.ingredients(spec)
    keras.utils.set_random_seed(spec.seed)
    literal = tiny.run(spec, given, steps=protocol.Steps(compile=breaking(huge)))
    first, second = found.guards["loss_scale"].evidence.split("; ")
    assert first == by_name(literal)["loss_scale"].evidence.split("; ")[0]
    assert first.endswith(f"of {12 * STEPS} steps skipped, 8 allowed")
    assert second.endswith(f"of {12 * STEPS} steps skipped, 8 allowed")


# ---------------------------------------------------------------------------------- not a number


@pytest.fixture
def place(half: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """Under mixed float16, with the tiny backbone in place of every other."""
    pytest.importorskip("sklearn", reason="digits need the extra 'offline'")
    used = WeightsUsed(source="random", sha256="0" * 64)

    def load(*_: object) -> weights.LoadedBackbone:
        return weights.LoadedBackbone(tiny.backbone(), "minus_one_to_one", used, r"block(\d)_")

    monkeypatch.setattr(grounds.weights, "load", load)
    stack = STACK.model_copy(update={"precision": "mixed_float16"})
    return Workplace(settings, settings.cache, stack, execution.environment(), literal=True)


def digits(spec: TrialSpec) -> TrialSpec:
    subset = {"train_examples": 48, "val_examples": 20, "test_examples": 30}
    return spec.model_copy(update={"data": spec.data.model_copy(update=subset)})


@pytest.mark.parametrize("phase", ["phase 1", "phase 2"])
def test_a_nan_makes_a_row_that_says_so(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    step = "compile" if phase == "phase 1" else "recompile"
    steps = protocol.Steps(**{step: breaking(with_a_nan)})
    broken = functools.partial(protocol.Literal, steps=steps)
    monkeypatch.setattr(trial.protocol, "Literal", broken)
    spec = digits(tiny.spec(phase2=Phase(epochs=2, learning_rate=1e-5)))
    row, predictions = run_trial(spec, place, lambda _: None)
    epoch = 1 if phase == "phase 1" else 3
    assert (row.status, predictions) == ("diverged", None)
    assert f"{phase}: loss not finite in epoch {epoch} (train nan, val nan)" in row.reason
    assert row.last_phase == (row.phase1 if phase == "phase 1" else row.phase2)
    assert {"loss_finite", "loss_scale"} <= set(row.failed_guards)
    evidence = {g.name: g.evidence for g in row.guards}["loss_scale"]
    said = f"{phase}: loss scale 4,096 at the end, {STEPS} of {STEPS} steps skipped, 1 allowed"
    assert evidence.endswith(said)
    again = type(row).model_validate_json(row.model_dump_json())
    assert (again.status, again.guards) == (row.status, row.guards)
