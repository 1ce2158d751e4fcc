"""A trial's trained model as a file that needs no Bench: raw pixels in, probabilities out.

What is written is built anew from Keras' own layers, in float32: preprocessing -> backbone -> head
-> softmax. The trial's model is no such thing: its backbone sits in a layer of ours, may compute in
mixed precision and may run some convolutions in another way; its head may give logits.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import __version__, model_card
from bench.data.decoding import DECODING_VERSION
from bench.errors import BenchError, ImpossibleTrialError
from bench.model_card import Format, ModelCard
from bench.records import DatasetUsed, Head, Preprocessing, Stack, TrialSpec, WeightsUsed
from bench.training.batches import Pictures
from bench.training.model import TrialModel
from bench.training.scoring import Scores
from bench.zoo import freezing, heads
from bench.zoo.preprocessing import CONTRACTS

SAMPLE = 32
"""How many test pictures the written file is tried on."""
FAR = 0.1
"""How far the float32 model may be from a trial that rounded more coarsely: the probability that
changes hands, mean over pictures. Another preprocessing, or a wrong weight, makes it a half."""


@dataclass(frozen=True)
class Trained:
    """What a trial trained, and what it was like on test.

    Attributes:
        spec: the trial, its freeze strategy resolved.
        key: of the trial.
        model: holds the weights that test was predicted with.
        contract: what the backbone expects of pixels.
        dataset: what the splits hold.
        weights: what training began from.
        stack: that it ran on.
        test: pictures.
        scores: of them.
    """

    spec: TrialSpec
    key: str
    model: TrialModel
    contract: Preprocessing
    dataset: DatasetUsed
    weights: WeightsUsed
    stack: Stack
    test: Pictures
    scores: Scores

    @property
    def card(self) -> ModelCard:
        """What goes with the file."""
        return ModelCard(
            class_names=self.dataset.class_names,
            image_size=self.spec.data.image_size,
            decoding_version=DECODING_VERSION,
            backbone=self.spec.backbone.name,
            dataset=self.spec.data.dataset.name,
            strategy=self.spec.freeze.label,
            seed=self.spec.seed,
            trial=self.key,
            weights=self.weights,
            stack=self.stack,
            test_accuracy=self.scores.accuracy,
            test_pictures=len(self.test),
            bench_version=__version__,
        )

    def plain(self) -> Any:
        """The model of Keras' own layers."""
        size, classes = self.spec.data.image_size, len(self.dataset.class_names)
        return plain(self.model, self.contract, self.spec.head, size, classes)


@dataclass(frozen=True)
class Exported:
    """A model that was written.

    Attributes:
        card: that went with it.
        rounding: largest difference between a probability of the trial and of the float32 model;
            None where the trial computed as that does.
    """

    card: ModelCard
    rounding: float | None


def save(trained: Trained, path: Path, sample: Path) -> Exported:
    """Write a trial's model, and test pictures with their probabilities to try it on.

    Args:
        trained: what to write.
        path: tells the format (`bench.model_card.format_of`); must not exist.
        sample: a ``.npz`` to write: ``pixels`` uint8 (n, size, size, 3), ``probabilities`` float32
            (n, classes), as the trial had them; of a trial in mixed precision or on an
            accelerator, as the float32 model has them here.

    Raises:
        ImpossibleTrialError: the trial made a mistake on purpose.
        BenchError: this backend cannot write that format, a package is missing, or the file
            cannot be written.
    """
    if trained.spec.trap:
        raise ImpossibleTrialError(f"a trial with a trap ({trained.spec.trap}) is not to be used")
    model, few = trained.plain(), np.arange(min(SAMPLE, len(trained.test)))
    pixels, rounding = trained.test[few], None
    probabilities = trained.scores.probabilities[few].astype(np.float32)
    if (trained.stack.device, trained.stack.precision) != ("cpu", "float32"):
        wanted, probabilities = probabilities, model.predict(pixels, batch_size=8, verbose=0)
        rounding = _near(probabilities, wanted)
    np.savez(sample, pixels=pixels, probabilities=probabilities)
    write(model, trained.card, path)
    return Exported(trained.card, rounding)


def _near(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest difference, where the two are close on the whole.

    Raises:
        BenchError: they are not.
    """
    apart = np.abs(found - wanted)
    moved = float(apart.sum(axis=1).mean()) / 2
    if not moved <= FAR:
        raise BenchError(
            f"in float32 the model does not predict what the trial did: {moved:.2f} of the "
            f"probability goes to other classes, expected at most {FAR}"
        )
    return float(apart.max())


# --------------------------------------------------------------------------------- the plain model


def plain(
    trial: TrialModel, contract: Preprocessing, head: Head, image_size: int, classes: int
) -> Any:
    """What a trial trained, for inference: float32 pixels (batch, size, size, 3) -> probabilities.

    Args:
        trial: the trained model.
        contract: what its backbone expects of pixels.
        head: its head.
        image_size: side of the square pictures, in pixels.
        classes: classes of the dataset.
    """
    # One softmax for every head: without dropout, which trains, and a binary output as two.
    dense = tuple(layer for layer in head.layers if layer.dense)
    changes = {"layers": dense, "output": "probabilities", "loss": "sparse"}
    with _policy("float32"):
        pixels = keras.Input((image_size, image_size, 3), dtype="float32", name="pixels")
        features = _in_float32(trial.backbone)(_preprocessed(contract, pixels))
        outputs = _attached(head.model_copy(update=changes), features, classes)
        model = keras.Model(pixels, outputs, name="classifier")
        keras.Model(features, outputs).set_weights(_head_weights(trial, head))
    model.trainable = False  # so that its BatchNorm stays as it is, whoever calls it
    return model


def _preprocessed(contract: Preprocessing, pixels: Any) -> Any:
    """The contract in layers that any Keras loads; reversing channels is a 1 x 1 convolution."""
    rule = CONTRACTS[contract]
    if rule.reverse:
        reverse = keras.layers.Conv2D(
            *(3, 1),
            use_bias=False,
            data_format="channels_last",
            dtype="float32",
            name="rgb_to_bgr",
        )
        pixels = reverse(pixels)
        reverse.set_weights([np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)])
    if contract == "raw":
        return pixels
    scaling = keras.layers.Rescaling(
        list(rule.scale), list(rule.offset), dtype="float32", name="preprocessing"
    )
    return scaling(pixels)


def _in_float32(backbone: Any) -> Any:
    """The same layers with the same weights, each operation as Keras has it."""

    def fresh(operation: Any) -> Any:
        config, policy = operation.get_config(), getattr(operation, "dtype_policy", None)
        if policy is not None and "float" in str(policy.compute_dtype):
            config["dtype"] = "float32"
        return type(operation).from_config(config)

    made = keras.models.clone_model(backbone, clone_function=fresh, recursive=True)
    made.set_weights([_numbers(w) for w in backbone.weights])
    for layer in freezing.leaves(made):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # what it computes with, it works out from its weights
    return made


def _attached(head: Head, features: Any, classes: int) -> Any:
    return heads.attach_to_pooled(head, heads.pooling(head)(features), classes)


def _head_weights(trial: TrialModel, head: Head) -> list[NDArray[np.float32]]:
    own = keras.Model(trial.pooled, trial.model.output)
    *below, kernel, bias = (_numbers(w) for w in own.weights)
    if head.loss == "binary":  # softmax over (0, z) is what sigmoid makes of z
        kernel, bias = (np.concatenate([np.zeros_like(w), w], axis=-1) for w in (kernel, bias))
    return [*below, kernel, bias]


def _numbers(weight: Any) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32")))


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """What layers compute in that do not say so themselves."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# ----------------------------------------------------------------------------------------- writing


def write(model: Any, card: ModelCard, path: Path) -> None:
    """Write a plain model with its card. Should it fail, part of a file may be left.

    Args:
        model: as `plain` makes it.
        card: goes with it.
        path: tells the format; must not exist.

    Raises:
        BenchError: this backend cannot write that format, a package is missing, or the file
            cannot be written.
    """
    kind = model_card.format_of(path)
    if problem := model_card.problem(kind, keras.backend.backend()):
        raise BenchError(f"{path}: {problem}")
    try:
        _WRITERS[kind](model, card.model_dump_json(indent=2), path)
    except OSError as error:
        raise BenchError(f"{path}: the model cannot be written: {error}") from error


def _write_keras(model: Any, card: str, path: Path) -> None:
    model.save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(model_card.NAME, card)


def _write_saved_model(model: Any, card: str, path: Path) -> None:
    model.export(path, format="tf_saved_model", verbose=False)
    extra = path / model_card.FOLDER
    extra.mkdir(exist_ok=True)
    (extra / model_card.NAME).write_text(card, encoding="utf-8")


def _write_onnx(model: Any, card: str, path: Path) -> None:
    import onnx

    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras refuses one never called
    model.export(path, format="onnx", verbose=False)
    stored = onnx.load(path)
    entry = stored.metadata_props.add()
    entry.key, entry.value = model_card.ONNX_KEY, card
    onnx.save(stored, path)


_WRITERS: Mapping[Format, Callable[[Any, str, Path], None]] = {
    "keras": _write_keras,
    "saved_model": _write_saved_model,
    "onnx": _write_onnx,
}
