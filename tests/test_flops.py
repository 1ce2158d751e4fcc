"""Multiply-accumulates against hand-worked models, and against published numbers."""

from collections.abc import Callable
from typing import Any

import keras
import pytest

from bench.errors import BenchError
from bench.measuring import flops
from bench.measuring.flops import PUBLISHED, forward_macs, step_macs
from bench.records import Head
from bench.training import model as trial_models
from bench.training.model import PinnedBackbone
from bench.zoo import freezing, rewriting

WITHIN = 0.02
"""Of published numbers, which are rounded to two digits."""

layers = keras.layers


def on(shape: tuple[int, ...], *steps: Callable[[Any], Any]) -> Any:
    """A functional model of layers in a row."""
    inputs = x = keras.Input(shape)
    for step in steps:
        x = step(x)
    return keras.Model(inputs, x)


# ----------------------------------------------------------------------------------- one layer


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (lambda: layers.Conv2D(4, 3), 6 * 6 * 4 * (3 * 3 * 6)),
        (lambda: layers.Conv2D(4, 3, padding="same"), 8 * 8 * 4 * (3 * 3 * 6)),
        (lambda: layers.Conv2D(4, 3, strides=2, padding="same"), 4 * 4 * 4 * (3 * 3 * 6)),
        (lambda: layers.Conv2D(4, 3, dilation_rate=2), 4 * 4 * 4 * (3 * 3 * 6)),
        (lambda: layers.Conv2D(4, 3, groups=2), 6 * 6 * 4 * (3 * 3 * 3)),
        (lambda: layers.Conv2D(12, 3, groups=6), 6 * 6 * 12 * (3 * 3 * 1)),
        (lambda: layers.DepthwiseConv2D(3), 6 * 6 * 6 * (3 * 3)),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), 6 * 6 * 12 * (3 * 3)),
        (lambda: layers.SeparableConv2D(4, 3), 6 * 6 * (6 * 3 * 3 + 6 * 4)),
        (
            lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2),
            6 * 6 * (12 * 3 * 3 + 12 * 4),
        ),
        (lambda: layers.Conv2DTranspose(4, 2, strides=2), 8 * 8 * 6 * (2 * 2 * 4)),
        (lambda: layers.Dense(5), 8 * 8 * 5 * 6),
        (lambda: layers.EinsumDense("...c,cd->...d", 5), 8 * 8 * 5 * 6),
        (lambda: layers.EinsumDense("abcd,bde->ace", (8, 5)), 8 * 5 * (8 * 6)),
        (lambda: layers.BatchNormalization(), 0),
        (lambda: layers.LayerNormalization(axis=(1, 2, 3)), 0),
        (lambda: layers.PReLU(), 0),
        (lambda: layers.MaxPooling2D(), 0),
        (lambda: layers.Rescaling(1 / 255), 0),
    ],
)
def test_one_layer(layer: Callable[[], Any], macs: int) -> None:
    assert forward_macs(on((8, 8, 6), layer())) == flops.Macs(macs)


def test_a_sequence() -> None:
    assert forward_macs(on((10, 3), layers.Conv1D(4, 3))).total == 8 * 4 * (3 * 3)


def test_attention_is_projections_and_two_products() -> None:
    inputs = keras.Input((10, 16))
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=8)
    model = keras.Model(inputs, attention(inputs, inputs))
    projection, product = 10 * 16 * 16, 2 * 10 * 10 * 8
    assert forward_macs(model) == flops.Macs(4 * projection + 2 * product)
    # Below the first three projections nothing trains; both operands of the products vary.
    step = 3 * 2 * projection + 2 * 3 * product + 3 * projection
    assert step_macs(model) == flops.Macs(step)


# ------------------------------------------------------------------------------------- graphs


def residual() -> Any:
    """(8, 8, 3) -> stem -> conv_a, conv_b beside it -> x + y, an operation -> Dense."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = layers.Conv2D(4, 3, padding="same", name="conv_a")(x)
    y = layers.BatchNormalization(name="bn_a")(y)
    y = layers.Conv2D(4, 1, name="conv_b")(y)
    x = layers.GlobalAveragePooling2D(name="pool")(x + y)
    return keras.Model(inputs, layers.Dense(10, name="head")(x))


STEM, A, B, HEAD = 64 * 4 * 27, 64 * 4 * 36, 64 * 4 * 4, 10 * 4
FORWARD = STEM + A + B + HEAD


def test_a_residual_block() -> None:
    assert forward_macs(residual()) == flops.Macs(FORWARD)


@pytest.mark.parametrize(
    ("trains", "gradients"),
    [
        ((), 0),
        (("head",), HEAD),
        (("conv_b", "head"), B + 2 * HEAD),
        # Nothing above bn_a trains a kernel: the gradient passes through conv_b and the head.
        (("bn_a",), B + HEAD),
        # The gradient reaches the stem by both ways, and is nobody's below it.
        (("stem",), STEM + A + B + HEAD),
        (("conv_a", "head"), A + B + 2 * HEAD),
        (("stem", "conv_a", "bn_a", "conv_b", "head"), STEM + 2 * (A + B + HEAD)),
    ],
)
def test_gradients_follow_the_graph(trains: tuple[str, ...], gradients: int) -> None:
    model = residual()
    for layer in model.layers:
        layer.trainable = layer.name in trains
    assert step_macs(model) == flops.Macs(FORWARD + gradients)
    assert forward_macs(model).total == FORWARD


def test_beside_a_layer_that_trains_no_gradient_flows() -> None:
    inputs = keras.Input((6,))
    left = layers.Dense(4, name="left")(inputs)
    right = layers.Dense(4, name="right")(layers.Dense(5, name="below")(inputs))
    model = keras.Model(inputs, layers.Add()([left, right]))
    model.get_layer("below").trainable = model.get_layer("right").trainable = False
    assert step_macs(model).total == (24 + 30 + 20) + 24


def test_nothing_flows_through_a_stopped_gradient() -> None:
    model = on((6,), layers.Dense(4), keras.ops.stop_gradient, layers.Dense(3))
    assert step_macs(model).total == 2 * 24 + 2 * 12


def test_the_first_of_a_separable_convolution_s_kernels_lies_below_the_second() -> None:
    depthwise, pointwise = 6 * 6 * 6 * 9, 6 * 6 * 6 * 4
    model = on((8, 8, 6), layers.SeparableConv2D(4, 3))
    assert step_macs(model).total == 2 * depthwise + 3 * pointwise


def test_a_model_nested_twice_at_another_size_too() -> None:
    inner = on((None, None, 3), layers.Conv2D(3, 3, padding="same"))
    middle = keras.Sequential([inner, layers.MaxPooling2D()])
    model = on((8, 8, 3), middle, inner, inner)
    each = 3 * 27
    assert forward_macs(model) == flops.Macs((64 + 16 + 16) * each)
    # The kernel's gradient at each call, the input's at all but the first.
    assert step_macs(model).total == 3 * 96 * each - 64 * each
    inner.trainable = False
    assert step_macs(model) == forward_macs(model)


def test_a_shared_layer_counts_at_each_call() -> None:
    inputs, dense = keras.Input((6,)), layers.Dense(6)
    model = keras.Model(inputs, dense(dense(inputs)))
    assert forward_macs(model).total == 2 * 36
    assert step_macs(model).total == 5 * 36


def test_windows_moved_into_the_batch_are_one_picture_s() -> None:
    def windows(x: Any) -> Any:
        return keras.ops.reshape(x, (-1, 4, 6))

    assert forward_macs(on((16, 6), windows, layers.Dense(5))).total == 16 * 6 * 5


def test_operations_that_are_no_layers() -> None:
    inputs = keras.Input((4, 6))
    weights = layers.Dense(6, name="train")(inputs)
    x = keras.ops.matmul(weights, keras.ops.transpose(inputs, (0, 2, 1)))
    x = keras.ops.einsum("bij,bjk->bik", x, inputs)
    model = keras.Model(inputs, x)
    dense, matmul, einsum = 4 * 6 * 6, 4 * 4 * 6, 4 * 6 * 4
    assert forward_macs(model) == flops.Macs(dense + matmul + einsum)
    # One operand of each product is the picture itself.
    assert step_macs(model).total == 2 * (dense + matmul + einsum)


# ---------------------------------------------------------------------------- layers of others


class Twice(layers.Layer):
    """Its own kernel by `keras.ops`, turned over first, and a layer called twice."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = layers.Dense(6)

    def build(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(shape=(5, 6), name="kernel")
        self.inner.build(shape)
        self.built = True

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(self.inner(self.inner(x)), keras.ops.transpose(self.kernel))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*shape[:-1], 5)


def test_a_layer_of_others_is_looked_into() -> None:
    model = on((6,), Twice(), layers.Dense(2))
    assert forward_macs(model) == flops.Macs(36 + 36 + 30 + 10)
    assert step_macs(model).total == 2 * 36 + 3 * (36 + 30 + 10)
    model.layers[1].trainable = False
    assert step_macs(model).total == (36 + 36 + 30) + 2 * 10


def test_a_wrapper_that_calls_operations_of_the_layer_inside() -> None:
    model = on((2, 8, 8, 3), layers.TimeDistributed(layers.Conv2D(4, 3)))
    assert forward_macs(model) == flops.Macs(2 * 6 * 6 * 4 * 27)
    assert step_macs(model).total == 2 * forward_macs(model).total


def test_looking_into_a_layer_leaves_no_trace() -> None:
    inner = on((6,), layers.Dense(6))
    model = on((6,), PinnedBackbone(inner), Twice())
    dense = model.layers[-1].inner
    calls = len(inner._inbound_nodes), len(dense._inbound_nodes)
    assert forward_macs(model) == forward_macs(model)
    assert (len(inner._inbound_nodes), len(dense._inbound_nodes)) == calls


class Closed(layers.Layer):
    """A layer that cannot be looked into."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(shape=self.size, name="kernel")

    size: tuple[int, ...] = (6, 6)

    def call(self, x: Any) -> Any:
        raise NotImplementedError("symbolic tensors")

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class ClosedScale(Closed):
    size = (1, 6)


def test_what_cannot_be_counted_is_named_once() -> None:
    closed = Closed(name="closed")
    model = on((6,), closed, closed, ClosedScale(name="scale"), layers.Dense(2))
    assert forward_macs(model) == flops.Macs(12, ("closed",))
    # What it trains flows on all the same.
    assert step_macs(model) == flops.Macs(36, ("closed",))


def test_recurrence_is_named() -> None:
    assert forward_macs(on((10, 4), layers.LSTM(3, name="lstm"))) == flops.Macs(0, ("lstm",))


def test_an_operation_that_multiplies_and_has_no_rule_is_named() -> None:
    model = on((6,), lambda x: keras.ops.tensordot(x, x, axes=[[1], [1]]))
    found = forward_macs(model)
    assert found.total == 0
    assert found.uncounted == (model.operations[-1].name,)


def test_a_size_that_is_not_known() -> None:
    with pytest.raises(BenchError, match=r"layer 'conv'.*None.*built for one image size"):
        forward_macs(on((None, None, 3), layers.Conv2D(4, 3, name="conv")))


def test_a_model_without_a_graph() -> None:
    with pytest.raises(BenchError, match=r"a Dense: expected a functional or sequential"):
        step_macs(layers.Dense(3))


# -------------------------------------------------------------------------------------- trials


def trial() -> Any:
    """A trial's whole model on the residual block without its head: 3 classes."""
    whole = residual()
    backbone = keras.Model(whole.input, whole.get_layer("pool").input)
    return trial_models.build(
        backbone,
        "caffe",
        Head(name="linear"),
        image_size=8,
        classes=3,
        pin=PinnedBackbone,
    )


def test_a_trial_s_phases() -> None:
    built, head = trial(), 3 * 4
    forward = STEM + A + B + head
    assert forward_macs(built.model) == flops.Macs(forward)
    freezing.set_trainable(built.backbone, False)
    assert step_macs(built.model) == flops.Macs(forward + head)
    start = [layer.name for layer in built.backbone.layers].index("bn_a")
    freezing.apply(built.backbone, start, "frozen")
    assert step_macs(built.model).total == forward + B + 2 * head
    freezing.apply(built.backbone, start, "affine")
    assert step_macs(built.model).total == forward + 2 * B + 2 * head
    freezing.apply(built.backbone, 0, "train")
    assert step_macs(built.model).total == forward + STEM + 2 * (A + B + head)


def test_the_depthwise_rewrite_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "FASTER", 0.0)
    model = on((8, 8, 6), layers.Conv2D(6, 3, groups=6), layers.Conv2D(4, 1))
    before = forward_macs(model), step_macs(model)
    assert rewriting.depthwise(model).layers == 1
    assert (forward_macs(model), step_macs(model)) == before
    assert before[0].total == 6 * 6 * 6 * 9 + 6 * 6 * 4 * 6


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    keras.backend.clear_session()
    found = forward_macs(getattr(keras.applications, name)(weights=None))
    assert found.uncounted == ()
    assert found.total == pytest.approx(PUBLISHED[name].macs, rel=WITHIN)
