"""How Keras is asked to fit: optimizers, losses, metrics and callbacks, the same in every phase."""

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from bench.records import Head, Phase
from bench.training import parallel, replicas
from bench.training.batches import Batches
from bench.training.recording import Recorder

OPTIMIZERS: dict[str, Callable[[float], Any]] = {
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "adamw": lambda rate: keras.optimizers.AdamW(rate),
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "rmsprop": lambda rate: keras.optimizers.RMSprop(rate),
}


def loss_of(head: Head, reduction: str | None = "sum_over_batch_size") -> Any:
    """The Keras loss of a head; without a reduction, one number a picture."""
    losses = {
        "sparse": keras.losses.SparseCategoricalCrossentropy,
        "one_hot": keras.losses.CategoricalCrossentropy,
        "binary": keras.losses.BinaryCrossentropy,
    }
    return losses[head.loss](from_logits=head.output == "logits", reduction=reduction)


def compile_model(model: Any, phase: Phase, head: Head, jit: bool | Literal["auto"]) -> None:
    """Compile for a phase. Without this call, a change of ``trainable`` has no effect."""
    logits = head.output == "logits"
    accuracies = {
        "sparse": keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        "one_hot": keras.metrics.CategoricalAccuracy(name="accuracy"),
        "binary": keras.metrics.BinaryAccuracy("accuracy", threshold=0.0 if logits else 0.5),
    }
    # Batches that several devices share have weights.
    metrics = "weighted_metrics" if parallel.count() > 1 else "metrics"
    model.compile(
        optimizer=OPTIMIZERS[phase.optimizer](phase.learning_rate),
        loss=loss_of(head),
        **{metrics: [accuracies[head.loss]]},
        jit_compile=jit,
    )


def fit(
    model: Any, train: Batches, val: Batches, phase: Phase, epochs_done: int, recorder: Recorder
) -> None:
    """Let Keras fit a compiled model for a phase's epochs, counted on from ``epochs_done``."""
    callbacks = [recorder, *rate_callbacks(phase), *_stopping(phase)]
    if parallel.count() > 1:
        means = parallel.Unpadded(len(train.labels), len(val.labels), train.batch_size)
        callbacks.insert(0, means)
    with replicas.fitting(model):
        model.fit(
            train,
            validation_data=val,
            initial_epoch=epochs_done,
            epochs=epochs_done + phase.epochs,
            callbacks=callbacks,
            shuffle=False,  # Batches shuffles by the seed
            verbose=0,
        )


def predict(model: Any, pictures: Batches) -> NDArray[np.float32]:
    """A compiled model's outputs (pictures, outputs), for every picture."""
    found: NDArray[np.float32] = model.predict(pictures, verbose=0)
    if parallel.count() == 1:
        return found
    return found[parallel.counting(len(pictures.labels), pictures.batch_size)]


def rate_callbacks(phase: Phase) -> list[Any]:
    """What lowers the learning rate within a phase, where the suite asks for it."""
    reduce = phase.reduce_learning_rate
    if reduce is None:
        return []
    return [
        keras.callbacks.ReduceLROnPlateau(
            monitor="val_loss",
            factor=reduce.factor,
            patience=reduce.patience,
            min_lr=reduce.min_learning_rate,
        )
    ]


def _stopping(phase: Phase) -> list[Any]:
    if phase.early_stopping is None:
        return []
    patience = phase.early_stopping.patience
    return [keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)]
