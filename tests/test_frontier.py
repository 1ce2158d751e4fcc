"""The freeze boundary: what crosses it, and that below and above it make the whole backbone."""

from typing import Any

import keras
import numpy as np
import pytest

from bench.training import frontier
from bench.zoo import backbones, rewriting
from bench.zoo.backbones import BACKBONES
from bench.zoo.freezing import leaves

TOLERANCE = 1e-5
"""Relative to the largest output: one computation or two, the operations are the same."""

WHOLE = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0"),
    *("ResNet50", "ResNet50V2", "ConvNeXtTiny", "VGG16", "DenseNet121", "NASNetMobile"),
    *("InceptionV3", "InceptionResNetV2", "Xception"),
)
"""The smallest of each family."""
CUT_ANYWHERE = ("MobileNetV2", "EfficientNetV2B0", "ResNet50", "ConvNeXtTiny")


def residual() -> Any:
    """Two residual blocks, the second one's addition an operation that is no layer."""
    keras.utils.set_random_seed(11)
    inputs = keras.Input((8, 8, 3))
    layers = keras.layers
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = layers.ReLU(name="stem_relu")(x)
    y = layers.Conv2D(4, 3, padding="same", name="block1_conv")(x)
    y = layers.BatchNormalization(name="block1_bn")(y)
    x = layers.Add(name="block1_add")([x, y])
    y = layers.Conv2D(4, 3, padding="same", name="block2_conv")(x)
    y = layers.Dropout(0.5, name="block2_drop")(y)
    y = layers.BatchNormalization(name="block2_bn")(y)
    x = layers.ReLU(name="top_relu")(x + y)
    return keras.Model(inputs, layers.MaxPooling2D(name="top_pool")(x))


def index(model: Any, name: str) -> int:
    return [layer.name for layer in model.layers].index(name)


def producers(tensors: list[Any]) -> list[str]:
    return sorted(t._keras_history.operation.name for t in tensors)


@pytest.mark.parametrize(
    ("start", "crossing"),
    [
        ("stem_relu", ["stem_relu"]),  # it trains nothing: the boundary is where weights begin
        ("block1_conv", ["stem_relu"]),
        ("block1_bn", ["block1_conv", "stem_relu"]),
        ("block1_add", ["block1_add"]),
        ("block2_conv", ["block1_add"]),
        ("block2_drop", ["block1_add", "block2_drop"]),
        ("block2_bn", ["block1_add", "block2_drop"]),
        ("top_relu", []),
        ("top_pool", []),
        ("stem", []),
    ],
)
def test_what_crosses_a_boundary(start: str, crossing: list[str]) -> None:
    model = residual()
    assert producers(frontier.crossing(model, index(model, start))) == crossing


@pytest.mark.parametrize("start", [0, 1])
def test_nothing_is_shared_where_the_pictures_themselves_cross(start: int) -> None:
    assert frontier.crossing(residual(), start) == []


def test_a_boundary_behind_the_last_layer_has_no_frontier() -> None:
    model = residual()
    assert frontier.crossing(model, len(model.layers)) == []


@pytest.mark.parametrize("start", ["block1_conv", "block1_bn", "block2_conv", "block2_bn"])
def test_below_and_above_make_the_whole(start: str) -> None:
    model = residual()
    holds(model, index(model, start))


def test_the_part_above_shares_its_layers_and_moves_with_them() -> None:
    model = residual()
    tensors = frontier.crossing(model, index(model, "block2_conv"))
    above = frontier.above(model, tensors)
    known = pixels(model)
    before = numbers(above(below(model, tensors, known)))
    kernel = model.get_layer("block2_conv").kernel
    kernel.assign(kernel * 2.0)
    after = numbers(above(below(model, tensors, known)))
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_array_equal(after, numbers(model(known, training=False)))


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_every_family_can_be_cut_at_its_middle_block(name: str) -> None:
    model, starts = built(name)
    holds(model, starts[len(starts) // 2])


@pytest.mark.slow
@pytest.mark.parametrize("name", CUT_ANYWHERE)
def test_real_backbones_can_be_cut_anywhere(name: str) -> None:
    model, starts = built(name)
    last = max(i for i, layer in enumerate(model.layers) if layer.weights)
    cuts = {starts[1], starts[-1], starts[-1] + 1, starts[-1] + 3, starts[-2] + 2, last}
    for start in sorted(cuts):
        holds(model, start)
    assert frontier.crossing(model, last + 1) == []
    assert len(frontier.crossing(model, starts[-1])) == 1


def test_every_family_is_cut() -> None:
    assert {BACKBONES[name].family for name in WHOLE} == {r.family for r in BACKBONES.values()}


# ------------------------------------------------------------------------------------- helpers


def built(name: str) -> tuple[Any, tuple[int, ...]]:
    """A backbone with random weights on small pictures, no block of it invisible; its blocks."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    row = backbones.row(name)
    model = backbones.construct(row, max(row.min_size, 64), None)
    rewriting.depthwise(model)  # or ConvNeXt takes minutes
    show_every_block(model)
    return model, backbones.block_starts(row.blocks, [layer.name for layer in model.layers])


def show_every_block(model: Any) -> None:
    """Raise ConvNeXt's layer scale, which begins at 1e-6 and hides what a block does."""
    for layer in model.layers:
        for weight in layer.weights:
            if "layer_scale" in weight.path:
                weight.assign(keras.ops.full_like(weight, 0.5))


def holds(model: Any, start: int) -> None:
    """The contract: nothing above is in the frontier, all of it is above, both make the whole."""
    tensors = frontier.crossing(model, start)
    name = model.layers[start].name
    assert tensors, name
    trains = {id(w) for layer in model.layers[start:] for w in weights(layer)}
    assert trains, name
    assert not trains & {id(w) for w in keras.Model(model.inputs, tensors).weights}, name
    above = frontier.above(model, tensors)
    assert trains <= {id(w) for w in above.weights}, name
    known = pixels(model)
    whole = numbers(model(known, training=False))
    parts = numbers(above(below(model, tensors, known), training=False))
    assert whole.std() > 0, name
    np.testing.assert_allclose(parts, whole, atol=TOLERANCE * np.abs(whole).max(), err_msg=name)


def weights(layer: Any) -> list[Any]:
    return [w for leaf in leaves(layer) for w in leaf.weights]


def below(model: Any, tensors: list[Any], known: np.ndarray) -> Any:
    crossing = tensors if len(tensors) > 1 else tensors[0]
    return keras.Model(model.input, crossing)(known, training=False)


def pixels(model: Any) -> np.ndarray:
    """Two pictures in [-1, 1]."""
    shape = (2, *model.input_shape[1:])
    return np.random.default_rng(5).uniform(-1, 1, shape).astype("float32")


def numbers(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)
