"""A tiny backbone with everything that can go wrong in a big one, and pictures it can learn.

Shapes and mechanics only: random weights, so no accuracy here means anything.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from conftest import make_spec

from bench.records import Execution, Freeze, Head, TrialSpec
from bench.settings import Settings
from bench.training import protocol, sharing, workbench
from bench.training.batches import Pictures
from bench.training.recording import Report

SIZE, CLASSES = 16, 3
BLOCK_STARTS = (1, 5, 9)


def backbone() -> keras.Model:
    """Three blocks of convolution, BatchNorm, ReLU and Dropout: 13 layers with the input."""
    keras.utils.set_random_seed(7)
    inputs = x = keras.Input((SIZE, SIZE, 3))
    for i, channels in enumerate((4, 6, 8)):
        x = keras.layers.Conv2D(channels, 3, strides=2, name=f"block{i}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{i}_bn")(x)
        x = keras.layers.ReLU(name=f"block{i}_relu")(x)
        x = keras.layers.Dropout(0.2, name=f"block{i}_drop")(x)
    return keras.Model(inputs, x)


def pictures(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose brightest channel is their class: uint8 (n, 16, 16, 3) and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pixels = rng.integers(0, 120, (count, SIZE, SIZE, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, labels] += 100
    return pixels, labels.astype(np.int64)


def spec(freeze: Freeze | None = None, **changes: object) -> TrialSpec:
    """A trial on the tiny pictures."""
    made = make_spec(freeze or Freeze(strategy="top_blocks", amount=2))
    data = made.data.model_copy(update={"image_size": SIZE})
    head = Head(name="linear")
    update = {"data": data, "head": head, "execution": Execution(batch_size=16)} | changes
    return made.model_copy(update=update)


def ingredients(trial: TrialSpec, model: keras.Model | None = None) -> protocol.Ingredients:
    """What the protocol needs besides the spec: 48 train, 20 val and 20 test pictures."""
    pixels, labels = pictures(88)

    def split(first: int, last: int) -> Pictures:
        indices = np.arange(first, last)
        return Pictures(pixels, indices, labels[indices], tuple(f"{i:064x}" for i in indices))

    return protocol.Ingredients(
        backbone=model or backbone(),
        contract="minus_one_to_one",
        block_starts=BLOCK_STARTS,
        classes=CLASSES,
        train=split(0, 48),
        val=split(48, 68),
        test=split(68, 88),
        jit=False,
        scratch=Path(tempfile.gettempdir()),
    )


def run(
    trial: TrialSpec,
    given: protocol.Ingredients | None = None,
    report: Report = lambda _: None,
    steps: protocol.Steps = protocol.Steps(),
) -> protocol.Outcome:
    """The protocol, literally."""
    given = given or ingredients(trial)
    return protocol.run(trial, given, protocol.Literal(trial, given, report, steps))


def bench_for(
    trials: Sequence[TrialSpec],
    settings: Settings,
    given: protocol.Ingredients | None = None,
    frontier_bytes: float = 2**30,
) -> workbench.Workbench:
    """A workbench for trials on one ground."""
    terms = workbench.Terms(
        identity={"weights": "a" * 64},
        about={"ground": "tiny"},
        label="tiny pictures",
        frontier_bytes=frontier_bytes,
        settings=settings,
        machine={"stack": "tiny"},
    )
    return workbench.Workbench(given or ingredients(trials[0]), terms, trials)


def run_shared(
    trial: TrialSpec, bench: workbench.Workbench, report: Report = lambda _: None
) -> protocol.Outcome:
    """The protocol, with what trials share."""
    keras.utils.set_random_seed(trial.seed)
    return protocol.run(trial, bench.given, sharing.Shared(trial, bench, report))
