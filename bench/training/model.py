"""The model of a trial: raw pixels -> preprocessing -> pinned backbone -> head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from bench.records import Head, Preprocessing
from bench.zoo import heads, preprocessing


@keras.saving.register_keras_serializable("bench")
class PinnedBackbone(keras.layers.Layer):
    """A backbone that stays in inference mode while its weights may train.

    Under Keras 3 ``backbone(x, training=False)`` inside a functional model does not do this: the
    outer call's ``training=True`` reaches the backbone all the same (keras-team/keras#20285), so
    BatchNorm statistics move and stochastic depth drops blocks. A layer whose own ``call`` makes
    the inner call decides for itself.

    Args:
        backbone: the Keras model to wrap.
        follow_training: hand ``training`` through after all, for BatchNorm mode ``train``.
    """

    def __init__(self, backbone: Any, follow_training: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.follow_training = follow_training

    def call(self, pixels: Any, training: bool | None = None) -> Any:
        """Preprocessed pixels (batch, height, width, 3) -> feature map."""
        return self.backbone(pixels, training=training if self.follow_training else False)

    def get_config(self) -> dict[str, Any]:
        """What Keras saves of it in a ``.keras`` file."""
        backbone = keras.saving.serialize_keras_object(self.backbone)
        own = {"backbone": backbone, "follow_training": self.follow_training}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PinnedBackbone":
        """The layer that `get_config` told of, its weights not yet loaded."""
        backbone = keras.saving.deserialize_keras_object(config.pop("backbone"))
        return cls(backbone, **config)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        """The backbone's own."""
        return self.backbone.compute_output_shape(input_shape)


@dataclass(frozen=True)
class TrialModel:
    """The whole model, and the places inside it that the guards look at.

    Attributes:
        model: uint8 pixels (batch, size, size, 3) -> the head's outputs.
        backbone: the Keras model whose layers the freeze strategy counts.
        wrapper: the layer around it.
        prepared: symbolic tensor entering the backbone.
        features: symbolic tensor leaving it.
        pooled: symbolic tensor (batch, features) that the head's layers begin with.
        head_parameters: numbers in the head, by arithmetic.
    """

    model: Any
    backbone: Any
    wrapper: Any
    prepared: Any
    features: Any
    pooled: Any
    head_parameters: int


def build(
    backbone: Any,
    contract: Preprocessing,
    head: Head,
    *,
    image_size: int,
    classes: int,
    pin: Callable[[Any], Any],
    preprocess: Callable[[Preprocessing, Any], Any] = preprocessing.apply,
) -> TrialModel:
    """Put a trial's model together; nothing is frozen or compiled yet.

    The head's initial weights take Keras' global seed.

    Args:
        backbone: Keras model without top, its weights loaded.
        contract: what the backbone expects of pixels.
        head: what to put on top.
        image_size: side of the square pictures, in pixels.
        classes: classes of the dataset.
        pin: wraps the backbone.
        preprocess: applies the contract.
    """
    pixels = keras.Input((image_size, image_size, 3), dtype="uint8", name="pixels")
    prepared = preprocess(contract, keras.ops.cast(pixels, "float32"))
    wrapper = pin(backbone)
    features = wrapper(prepared)
    pooled = heads.pooling(head)(features)
    outputs = heads.attach_to_pooled(head, pooled, classes)
    return TrialModel(
        model=keras.Model(pixels, outputs),
        backbone=backbone,
        wrapper=wrapper,
        prepared=prepared,
        features=features,
        pooled=pooled,
        head_parameters=heads.parameters(head, tuple(features.shape[1:]), classes),
    )
