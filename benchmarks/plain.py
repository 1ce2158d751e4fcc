"""Plain Keras: the transfer-learning script that a careful user writes, and nothing of Bench.

    python -m benchmarks.plain CONFIG.json

It follows the tutorials of TensorFlow and Keras: pictures by tensorflow-datasets, resized once and
cached in memory; augmentation and preprocessing inside the model; the backbone called with
``training=False``; the head first, then the top of the backbone at a lower learning rate. It loops
over strategies and seeds in one process and leaves every option of Keras at its default.

The last line of its output is JSON: seconds to import the frameworks, seconds to read and decode
the pictures, and for each trial its seconds (from building the model to its accuracy on test), the
seconds of either phase, the numbers that trained and the accuracy.
"""

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Config:
    """What to train.

    Attributes:
        dataset: a TensorFlow Datasets name.
        train, val, test: pictures of each split, one slice after the other.
        image_size: side of the square pictures, in pixels.
        backbone: a constructor in keras.applications.
        weights: path of a ``.weights.h5`` file; None for random weights.
        rescale: whether the backbone wants pixels in [-1, 1] rather than [0, 255].
        flip, rotation: of the augmentation layers; None without.
        phase1, phase2: epochs and learning rate.
        strategies: index of the first layer that trains in phase 2, by the strategy's name; None
            for the head alone.
    """

    dataset: str
    train: int
    val: int
    test: int
    image_size: int
    batch_size: int
    backbone: str
    weights: str | None
    rescale: bool
    flip: str | None
    rotation: float | None
    phase1: tuple[int, float]
    phase2: tuple[int, float]
    strategies: dict[str, int | None]
    seeds: list[int]


@dataclass(frozen=True)
class Pictures:
    """The three splits as cached datasets of single pictures, and the number of classes."""

    train: Any
    val: Any
    test: Any
    classes: int


@dataclass(frozen=True)
class Trial:
    """One trial as it went. Phase 2 is None where only the head trains."""

    strategy: str
    seed: int
    seconds: float
    phase1_seconds: float
    phase2_seconds: float | None
    trainable_parameters: int
    test_accuracy: float


def main() -> None:
    """Train what the configuration says."""
    config = Config(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    began = time.perf_counter()
    import keras  # noqa: F401
    import tensorflow  # noqa: F401
    import tensorflow_datasets  # noqa: F401

    imported = time.perf_counter()
    pictures = load(config)
    ready = time.perf_counter()
    trials = [
        train(config, pictures, strategy, seed)
        for strategy in config.strategies
        for seed in config.seeds
    ]
    result = {
        "import_seconds": imported - began,
        "data_seconds": ready - imported,
        "trials": [asdict(trial) for trial in trials],
    }
    print(json.dumps(result))


def load(config: Config) -> Pictures:
    """Read, decode and resize every picture once, into memory."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    first_val = config.train
    first_test = first_val + config.val
    end = first_test + config.test
    splits, info = tfds.load(
        config.dataset,
        split=[
            f"train[:{first_val}]",
            f"train[{first_val}:{first_test}]",
            f"train[{first_test}:{end}]",
        ],
        as_supervised=True,
        with_info=True,
    )

    def resize(image: Any, label: Any) -> Any:
        return tf.image.resize(image, (config.image_size, config.image_size)), label

    train, val, test = (
        split.map(resize, num_parallel_calls=tf.data.AUTOTUNE).cache() for split in splits
    )
    for split in (train, val, test):
        for _ in split:  # fills the cache
            pass
    return Pictures(train, val, test, info.features["label"].num_classes)


def build(config: Config, classes: int) -> tuple[Any, Any]:
    """The model on raw pixels, and the backbone inside it, which is frozen."""
    import keras

    shape = (config.image_size, config.image_size, 3)
    base = getattr(keras.applications, config.backbone)(
        input_shape=shape, include_top=False, weights=config.weights
    )
    base.trainable = False
    inputs = x = keras.Input(shape)
    if config.flip:
        x = keras.layers.RandomFlip(config.flip)(x)
    if config.rotation:
        x = keras.layers.RandomRotation(config.rotation)(x)
    if config.rescale:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = base(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x)), base


def compile_model(model: Any, learning_rate: float) -> None:
    """Compile for a phase."""
    import keras

    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


def train(config: Config, pictures: Pictures, strategy: str, seed: int) -> Trial:
    """One trial: both phases, then test."""
    import keras
    import tensorflow as tf

    began = time.perf_counter()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    batches = pictures.train.shuffle(config.train, seed=seed).batch(config.batch_size)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    val = pictures.val.batch(config.batch_size).prefetch(tf.data.AUTOTUNE)
    test = pictures.test.batch(config.batch_size).prefetch(tf.data.AUTOTUNE)
    model, base = build(config, pictures.classes)

    epochs, rate = config.phase1
    compile_model(model, rate)
    phase1_began = time.perf_counter()
    model.fit(batches, validation_data=val, epochs=epochs, verbose=0)
    phase1_seconds = time.perf_counter() - phase1_began

    phase2_seconds = None
    start = config.strategies[strategy]
    if start is not None:
        more, rate = config.phase2
        base.trainable = True
        for layer in base.layers[:start]:
            layer.trainable = False
        compile_model(model, rate)
        phase2_began = time.perf_counter()
        model.fit(
            batches, validation_data=val, initial_epoch=epochs, epochs=epochs + more, verbose=0
        )
        phase2_seconds = time.perf_counter() - phase2_began

    _, accuracy = model.evaluate(test, verbose=0)
    return Trial(
        strategy=strategy,
        seed=seed,
        seconds=time.perf_counter() - began,
        phase1_seconds=phase1_seconds,
        phase2_seconds=phase2_seconds,
        trainable_parameters=sum(math.prod(w.shape) for w in model.trainable_weights),
        test_accuracy=accuracy,
    )


if __name__ == "__main__":
    main()
