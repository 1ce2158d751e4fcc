"""The wrong steps of the trap table: what a script that makes the mistake does in place of ours."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras

from bench.errors import ImpossibleTrialError
from bench.records import Head, Phase, Preprocessing, TrialSpec
from bench.training.fitting import compile_model
from bench.training.protocol import Steps
from bench.zoo import preprocessing, traps


def steps_of(spec: TrialSpec) -> Steps:
    """The protocol's steps, with the one that a trial's trap has wrong.

    Args:
        spec: the trial, its freeze strategy resolved.

    Raises:
        UnknownNameError: the table has no such trap.
        ImpossibleTrialError: the trap is no mistake in this trial, or this backend refuses it.
    """
    if spec.trap is None:
        return Steps()
    reason = traps.impossible(spec)
    if reason:
        raise ImpossibleTrialError(f"trap {spec.trap} is no mistake here: {reason}")
    return _STEPS[spec.trap](spec)


def skip(contract: Preprocessing, pixels: Any) -> Any:
    """Pixels go into the backbone as they are."""
    return pixels


def preprocess_twice(contract: Preprocessing, pixels: Any) -> Any:
    """Apply the contract to what it was applied to; by hand, where the backbone does it inside."""
    if contract == "raw":
        return preprocessing.apply("minus_one_to_one", pixels)
    again = preprocessing.CONTRACTS[contract]
    once = preprocessing.apply(contract, pixels)
    ordered = keras.ops.flip(once, axis=-1) if again.reverse else once
    # The first of the two layers has the name.
    layer = keras.layers.Rescaling(
        list(again.scale), list(again.offset), dtype="float32", name="preprocessing_again"
    )
    return layer(ordered)


def textbook_call(backbone: Any) -> Callable[[Any], Any]:
    """What tutorials write: the call says inference mode, but under Keras 3 ``fit`` decides."""
    return functools.partial(backbone, training=False)


def stay_compiled(model: Any, phase: Phase, head: Head, jit: bool) -> None:
    """Leave the model as phase 1 compiled it: what it trains, and at which rate."""


def _phase1_rate(spec: TrialSpec) -> Steps:
    assert spec.phase1 is not None
    wrong = {"learning_rate": spec.phase1.learning_rate}

    def compile_unchanged(model: Any, phase: Phase, head: Head, jit: bool) -> None:
        compile_model(model, phase.model_copy(update=wrong), head, jit)

    return Steps(recompile=compile_unchanged)


def _no_recompile(spec: TrialSpec) -> Steps:
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ImpossibleTrialError(
            f"trap {spec.trap} cannot be made on {backend}: Keras refuses there to train weights "
            "that the optimizer was not compiled for"
        )
    return Steps(recompile=stay_compiled)


_STEPS: Mapping[str, Callable[[TrialSpec], Steps]] = {
    "preprocessing_skipped": lambda _: Steps(preprocess=skip),
    "preprocessing_twice": lambda _: Steps(preprocess=preprocess_twice),
    "unpinned": lambda _: Steps(pin=textbook_call),
    "phase2_rate": _phase1_rate,
    "no_phase1": lambda _: Steps(phases=lambda spec: (None, traps.together(spec))),
    "no_recompile": _no_recompile,
}
if _STEPS.keys() != traps.TRAPS.keys():
    raise ValueError("a trap without its wrong step, or a wrong step without its trap")
