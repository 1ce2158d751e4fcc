"""Tiny trials on some number of devices: ``python spread.py DEVICES FILE NAME...``.

How many virtual devices there are is settled when a process begins, so that each number of them
has a process of its own. It writes what the trials left, for another process to compare.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import (
    Augmentation,
    EarlyStopping,
    Execution,
    Freeze,
    Head,
    HeadLayer,
    Phase,
    ReduceLearningRate,
    TrialSpec,
)

DROPS = Head(name="drops", layers=(HeadLayer(dense=7), HeadLayer(dropout=0.3)))
UNEVEN, EVEN = Execution(batch_size=13), Execution(batch_size=12)
"""Of 48 pictures: batches of 13 and a last one of 9; of 12, which two and three devices divide."""


def spec(strategy: str, amount: Any = None, **changes: Any) -> TrialSpec:
    """Two epochs of each phase; a head that drops half of what it sees."""
    import tiny

    optimizer = changes.pop("optimizer", "adam")
    phases = {
        "phase1": Phase(epochs=2, learning_rate=0.02, optimizer=optimizer),
        "phase2": Phase(epochs=2, learning_rate=3e-3, optimizer=optimizer),
    }
    fields = {"head": DROPS, "execution": UNEVEN} | phases | changes
    return tiny.spec(Freeze(strategy=strategy, amount=amount), **fields)


def trials() -> dict[str, TrialSpec]:
    """By name; a name's last word says which way it is computed."""
    short = Phase(epochs=1, learning_rate=0.02)
    stops = {
        "phase1": Phase(epochs=5, learning_rate=0.3, early_stopping=EarlyStopping(patience=1)),
        "phase2": Phase(
            epochs=6,
            learning_rate=0.1,
            early_stopping=EarlyStopping(patience=1),
            reduce_learning_rate=ReduceLearningRate(patience=1),
        ),
    }
    flips = {"augmentation": (Augmentation(kind="flip", amount="horizontal"),), "views": 2}
    training = {"batch_norm": "train", "optimizer": "sgd", "execution": EVEN}
    several = {
        "adam": spec("top_blocks", 2),
        "sgd": spec("top_blocks", 1, optimizer="sgd", seed=1),
        "everything": spec("all"),
        "flipped": spec("top_blocks", 1, **flips),
        "stopped": spec("top_blocks", 1, **stops),
        "training mode": spec("all", **training),
    }
    found = {f"{name} {way}": t for name, t in several.items() for way in ("literal", "shared")}
    return found | {"quick shared": spec("top_blocks", 1, phase1=short, phase2=short)}


def ran(name: str) -> dict[str, np.ndarray]:
    """What a trial left: start and end of every weight, random numbers, epochs, test."""
    import keras
    import tiny

    from bench.settings import Settings
    from bench.training import parallel

    trial = trials()[name]
    keras.backend.clear_session()
    parallel.resume()
    given = dataclasses.replace(tiny.ingredients(trial), jit=keras.backend.backend() == "jax")
    if name.endswith("literal"):
        left = tiny.literally(trial, given)
    else:
        with tempfile.TemporaryDirectory() as folder:
            bench = tiny.bench_for([trial], Settings(cache=Path(folder)), given)
            left = tiny.by_sharing(trial, bench)
    epochs = [e for p in left.phases for e in p.epochs]
    return {
        **{f"start {path}": value for path, value in left.start.items()},
        **{f"weight {path}": value for path, value in left.weights.items()},
        **{f"state {i}": value for i, value in enumerate(left.states)},
        "epochs": np.array([(e.loss, e.accuracy, e.val_loss, e.val_accuracy) for e in epochs]),
        "rates": np.array([e.learning_rate for e in epochs]),
        "test": left.outcome.test.probabilities,
        "failing": np.array(sorted(left.failing)),
        "execution": np.array([p.execution for p in left.phases]),
    }


def main(devices: int, file: str, names: Sequence[str]) -> None:
    """Run the trials, and write what they left."""
    from bench.training import execution

    stack = execution.configure(Execution(), devices)
    found = {f"{name}|{key}": value for name in names for key, value in ran(name).items()}
    np.savez(file, stack=np.array(stack.device), **found)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
