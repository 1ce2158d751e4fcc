"""Heads trained as one stack: one batched computation in place of one run for each seed.

Every head of a stack has its own initial weights, its own order of pictures and its own dropout
masks; the loss is the sum of the heads' means, so that no gradient crosses from one to another.
What comes out equals training each alone, to rounding.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.records import Epoch, Head
from bench.steps import HeadStep
from bench.training import fitting, parallel
from bench.training.ahead import Ahead
from bench.training.batches import Inputs, Rows, order, targets
from bench.training.recording import InputWait, LossScaling, ScaleWatch
from bench.zoo import heads

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Lessons:
    """What a stack learns from.

    Attributes:
        features: for each epoch, pooled features of the train pictures (pictures, features).
        labels: int (train pictures,).
        val_features, val_labels: of the val pictures.
        classes: classes of the dataset.
        jit: compile with XLA.
    """

    features: Inputs
    labels: NDArray[np.int64]
    val_features: NDArray[np.float32]
    val_labels: NDArray[np.int64]
    classes: int
    jit: bool


@dataclass(frozen=True)
class TrainedHead:
    """What phase 1 left of one head.

    Attributes:
        weights: kernel and bias of each Dense layer, in order.
        dropout_states: of each Dropout layer's generator, after the last step.
        epochs: one row each; seconds are the whole stack's.
        first_rate: learning rate in force at the first step.
        input_wait: share of the stack's training time that went into waiting for input.
        scaling: what loss scaling came to; None where the loss is not scaled.
    """

    weights: Arrays
    dropout_states: Arrays
    epochs: tuple[Epoch, ...]
    first_rate: float
    input_wait: float | None
    scaling: LossScaling | None = None


def train(
    steps: Sequence[HeadStep], lessons: Lessons, report: Callable[[Epoch], None]
) -> list[TrainedHead]:
    """Train heads of one shape at once, on one device: their steps are too small to spread.

    Args:
        steps: heads with one `HeadStep.stack`.
        lessons: what they learn from.
        report: told of each epoch of the first head that goes on.

    Returns:
        Each head as it ended: its last weights, or its best ones where early stopping is asked.

    Raises:
        ValueError: several heads, whose learning rate should follow each one's val loss.
    """
    if steps[0].phase.reduce_learning_rate and len(steps) > 1:
        raise ValueError("a learning rate that follows val loss is one head's own")
    with parallel.alone():
        return _train(steps, lessons, report)


def _train(
    steps: Sequence[HeadStep], lessons: Lessons, report: Callable[[Epoch], None]
) -> list[TrainedHead]:
    phase, head = steps[0].phase, steps[0].head
    width = lessons.val_features.shape[1]
    model = _stacked(steps, [initial(s, width, lessons.classes) for s in steps], width)
    rights = _RIGHTS[head.loss]
    model.compile(
        optimizer=fitting.OPTIMIZERS[phase.optimizer](phase.learning_rate),
        loss=_SumOfMeans(head),
        metrics=[
            _PerHead("losses", fitting.loss_of(head, None), len(steps)),
            _PerHead("rights", lambda y, p: rights(y, p, head.output == "logits"), len(steps)),
        ],
        jit_compile=lessons.jit,
    )
    pictures = _Batches(steps, lessons.features, lessons.labels, lessons.classes, shuffled=True)
    watch = _Watch(steps, pictures, report)
    model.fit(
        pictures,
        validation_data=_Batches(
            steps,
            lambda _: (lessons.val_features,),
            lessons.val_labels,
            lessons.classes,
            shuffled=False,
        ),
        epochs=phase.epochs,
        callbacks=[watch, *fitting.rate_callbacks(phase)],
        shuffle=False,
        verbose=0,
    )
    return [course.trained(watch) for course in watch.courses]


def initial(step: HeadStep, width: int, classes: int) -> Any:
    """The head of a trial alone as it begins: Keras model (batch, width) -> outputs."""
    keras.utils.set_random_seed(step.seed)
    pooled = keras.Input((width,))
    return keras.Model(pooled, heads.attach_to_pooled(step.head, pooled, classes))


def dropout_generators(model: Any) -> list[Any]:
    """The generator of random numbers of each Dropout layer of a model, in order."""
    layers = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    return [x.seed_generator for x in layers if x.rate > 0]


def state_of(generator: Any) -> NDArray[Any]:
    """What a generator's next numbers depend on."""
    return np.array(keras.ops.convert_to_numpy(generator.state.value))


# ------------------------------------------------------------------------------ the stacked model


class _StackedDense(keras.layers.Layer):
    """One Dense layer a head: (batch, heads, inputs) -> (batch, heads, units)."""

    def __init__(self, like: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._start = [np.stack([x.get_weights()[i] for x in like]) for i in (0, 1)]
        self.activation = like[0].activation

    def build(self, input_shape: Any) -> None:
        """Start from the weights of the layers that these stand for."""
        kernel, bias = self._start
        self.kernel = self.add_weight(kernel.shape, lambda *_, **__: kernel, name="kernel")
        self.bias = self.add_weight(bias.shape, lambda *_, **__: bias, name="bias")

    def call(self, x: Any) -> Any:
        """Each head's slice by each head's kernel."""
        return self.activation(keras.ops.einsum("bhi,hio->bho", x, self.kernel) + self.bias)


class _StackedDropout(keras.layers.Layer):
    """One Dropout layer a head, each with the masks that it would have alone."""

    def __init__(self, like: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rates = [x.rate for x in like]
        self.generators = [keras.random.SeedGenerator(0) for _ in like]
        for generator, layer in zip(self.generators, like, strict=True):
            if layer.rate > 0:
                generator.state.assign(layer.seed_generator.state)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Drop each head's slice by its own generator."""
        if not training:
            return x
        slices = [
            keras.random.dropout(x[:, i], rate, seed=generator) if rate > 0 else x[:, i]
            for i, (rate, generator) in enumerate(zip(self.rates, self.generators, strict=True))
        ]
        return keras.ops.stack(slices, axis=1)


def _stacked(steps: Sequence[HeadStep], alone: Sequence[Any], width: int) -> Any:
    """These heads side by side: Keras model (batch, heads, width) -> (batch, heads, outputs)."""
    inputs = x = keras.Input((len(steps), width))
    for same in zip(*(model.layers[1:] for model in alone), strict=True):
        if isinstance(same[0], keras.layers.Dropout):
            x = _StackedDropout(same, name=same[0].name)(x)
        else:
            x = _StackedDense(same, name=same[0].name, dtype=same[0].dtype_policy)(x)
    return keras.Model(inputs, x)


class _SumOfMeans(keras.losses.Loss):
    """Each head's mean loss, summed: every head gets the gradient that it would get alone."""

    def __init__(self, head: Head) -> None:
        super().__init__(reduction="sum")
        self._losses = fitting.loss_of(head, None)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch, heads, outputs) -> (heads,)."""
        return keras.ops.mean(self._losses(y_true, y_pred), axis=0)


_RIGHTS: Mapping[str, Callable[[Any, Any, bool], Any]] = {
    "sparse": lambda y, p, _: keras.ops.argmax(p, axis=-1) == keras.ops.cast(y, "int32"),
    "one_hot": lambda y, p, _: keras.ops.argmax(p, axis=-1) == keras.ops.argmax(y, axis=-1),
    "binary": lambda y, p, logits: keras.ops.all((p > (0.0 if logits else 0.5)) == (y > 0.5), -1),
}
"""For each loss: (targets, outputs, whether outputs are logits) -> right or not."""


class _PerHead(keras.metrics.Metric):
    """The mean of a value over the pictures of an epoch, head by head."""

    def __init__(self, name: str, values: Callable[[Any, Any], Any], count: int) -> None:
        super().__init__(name=name)
        self._values = values
        self.total = self.add_variable((count,), "zeros", name="total")
        self.pictures = self.add_variable((), "zeros", name="pictures")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: targets and outputs (batch, heads, ...)."""
        values = keras.ops.cast(self._values(y_true, y_pred), self.dtype)
        self.total.assign_add(keras.ops.sum(values, axis=0))
        count = keras.ops.cast(keras.ops.shape(values)[0], self.dtype)
        self.pictures.assign_add(count)

    def result(self) -> Any:
        """(heads,)."""
        return self.total / self.pictures


# ------------------------------------------------------------------------- pictures and progress


class _Batches(keras.utils.PyDataset):
    """Features (batch, heads, width) and targets, each head in its own order."""

    def __init__(
        self,
        steps: Sequence[HeadStep],
        inputs: Inputs,
        labels: NDArray[np.int64],
        classes: int,
        *,
        shuffled: bool,
    ) -> None:
        super().__init__()
        self._seeds = [s.seed if shuffled else None for s in steps]
        self._size, self._count = steps[0].batch_size, len(labels)
        self._targets = targets(labels, steps[0].head, classes)
        self._inputs = inputs
        self._orders = np.zeros((0, 0), np.int64)
        self._ahead = Ahead(self._made, len(self))
        self._features: Rows | None = None

    def __len__(self) -> int:
        return -(-self._count // self._size)

    def __getitem__(self, batch: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        if self._features is None:  # Keras looks ahead before the first epoch
            self.start_epoch(0)
        return self._ahead.get(batch)

    def _made(self, batch: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        assert self._features is not None
        chosen = self._orders[batch * self._size : (batch + 1) * self._size]
        return self._features[chosen], self._targets[chosen]

    @property
    def ready(self) -> Mapping[int, float]:
        """When each batch of the epoch was there, as `time.perf_counter` has it."""
        return self._ahead.ready

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch, head by head."""
        self._ahead.forget()
        with parallel.together():  # it may take a pass through the backbone
            self._features = self._inputs(epoch)[0]
        self._orders = np.stack([order(s, epoch, self._count) for s in self._seeds], axis=1)


class _Course:
    """How one head of the stack goes: its epochs, its best weights, and whether it has stopped."""

    def __init__(self, step: HeadStep) -> None:
        stopping = step.phase.early_stopping
        self._patience = stopping.patience if stopping else None
        self._best, self._wait = math.inf, 0
        self._kept: tuple[Arrays, Arrays] = ([], [])
        self.epochs: list[Epoch] = []
        self.done = False

    def goes_on(self, epoch: Epoch, weights: Arrays, states: Arrays) -> None:
        """Take an epoch in, as Keras' EarlyStopping does where there is one."""
        self.epochs.append(epoch)
        better = epoch.val_loss < self._best
        if self._patience is None or better or not self._kept[0]:
            self._kept = weights, states
        self._kept = self._kept[0], states  # masks go on from the last step, not the best epoch's
        self._wait = 0 if better else self._wait + 1
        self._best = min(self._best, epoch.val_loss)
        patient = self._patience is None or self._wait < self._patience or epoch.index == 0
        self.done = not patient or not math.isfinite(epoch.loss + epoch.val_loss)

    def trained(self, watch: "_Watch") -> TrainedHead:
        """The head as its course ended."""
        weights, states = self._kept
        return TrainedHead(
            *(weights, states, tuple(self.epochs)),
            first_rate=watch.first_rate,
            input_wait=watch.wait.share,
            scaling=watch.scale.found,
        )


class _Watch(keras.callbacks.Callback):
    """Shuffles, records each head's epochs, and stops when every head has."""

    def __init__(
        self, steps: Sequence[HeadStep], pictures: _Batches, report: Callable[[Epoch], None]
    ) -> None:
        super().__init__()
        self.courses = [_Course(s) for s in steps]
        self.wait, self.scale, self.first_rate = InputWait(), ScaleWatch(), math.nan
        self._pictures, self._report = pictures, report
        self._rate = self._began = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Note the learning rate in force at the first step."""
        self.first_rate = self._current_rate()
        self.scale.begins(self.model.optimizer)

    def on_train_end(self, logs: Any = None) -> None:
        """Note what loss scaling came to."""
        self.scale.ends(self.model.optimizer)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Shuffle, and start the clocks."""
        self._pictures.start_epoch(epoch)
        self.wait.epoch_begins(0.0)  # features are the device's own work, not input it waits for
        self._rate, self._began = self._current_rate(), time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note whether the step waited for its batch."""
        self.wait.step_ends(self._pictures.ready.get(batch, 0.0))
        self.scale.step_ends()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record the epoch of every head that still goes on."""
        seconds = time.perf_counter() - self._began
        values = {name: np.reshape(value, -1) for name, value in (logs or {}).items()}
        weights, states = self._weights(), self._states()
        going = next(i for i, course in enumerate(self.courses) if not course.done)
        self._report(self._row(epoch, going, values, seconds))
        for position, course in enumerate(self.courses):
            if not course.done:
                own = [np.array(w[position]) for w in weights], states[position]
                course.goes_on(self._row(epoch, position, values, seconds), *own)
        if all(course.done for course in self.courses):
            self.model.stop_training = True

    def _row(
        self, epoch: int, position: int, values: Mapping[str, NDArray[Any]], seconds: float
    ) -> Epoch:
        return Epoch(
            index=epoch,
            loss=float(values["losses"][position]),
            accuracy=float(values["rights"][position]),
            val_loss=float(values["val_losses"][position]),
            val_accuracy=float(values["val_rights"][position]),
            learning_rate=self._rate,
            seconds=seconds,
        )

    def _weights(self) -> Arrays:
        """Of the whole stack, heads first."""
        weights = [w for w in self.model.weights if "seed_generator" not in w.path]
        return [np.asarray(keras.ops.convert_to_numpy(w)) for w in weights]

    def _states(self) -> list[Arrays]:
        """Of each head's Dropout layers."""
        layers = [x for x in self.model.layers if isinstance(x, _StackedDropout)]
        return [
            [state_of(x.generators[i]) for x in layers if x.rates[i] > 0]
            for i in range(len(self.courses))
        ]

    def _current_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
