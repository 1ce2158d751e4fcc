"""The depthwise rewrite: the same numbers and gradients from the same weights, or left alone."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from bench.zoo import rewriting
from bench.zoo.rewriting import Rewrite

Weights = list[tuple[str, tuple[int, ...], np.ndarray]]


@pytest.fixture
def pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which every rewrite is 3 times faster: convolutions this small tell nothing."""
    monkeypatch.setattr(
        rewriting,
        "_seconds",
        lambda operation, arguments: 1.0 if isinstance(operation, rewriting._Depthwise) else 3.0,
    )


def grouped(filters: int, groups: int, **options: Any) -> keras.layers.Layer:
    options = {"padding": "same", "bias_initializer": "random_normal"} | options
    return keras.layers.Conv2D(filters, 3, groups=groups, **options)


def model(*layers: keras.layers.Layer, channels: int = 4) -> keras.Model:
    """The layers, one after the other, on pictures of 8 by 8."""
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((8, 8, channels)), *layers])


def pictures(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype("float32")


def output(net: keras.Model, inputs: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(net(inputs, training=False))


def weights(net: keras.Model) -> Weights:
    return [(w.path, tuple(w.shape), keras.ops.convert_to_numpy(w)) for w in net.weights]


def gradients(net: keras.Model, inputs: np.ndarray) -> list[np.ndarray]:
    """Of the outputs against fixed random ones, for each weight that trains.

    A mean square would not do: behind ConvNeXt's last normalisation it is the same for any weights.
    """
    backend = keras.backend.backend()
    wanted = pictures((len(inputs), *net.output_shape[1:]))
    values = [w.value for w in net.trainable_weights]
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(net(inputs, training=False) * wanted)
        return [g.numpy() for g in tape.gradient(loss, values)]
    if backend == "jax":
        import jax

        fixed = [w.value for w in net.non_trainable_weights]

        def loss_of(trained: list[Any]) -> Any:
            return keras.ops.mean(net.stateless_call(trained, fixed, inputs)[0] * wanted)

        return [np.asarray(g) for g in jax.grad(loss_of)(values)]
    net.zero_grad()
    keras.ops.mean(net(inputs, training=False) * keras.ops.array(wanted)).backward()
    return [v.grad.cpu().numpy() for v in values]


def assert_close(given: np.ndarray, wanted: np.ndarray, within: float = 1e-5) -> None:
    assert np.max(np.abs(given - wanted)) <= within * np.max(np.abs(wanted))


def assert_same(before: Weights, after: Weights) -> None:
    assert [w[:2] for w in before] == [w[:2] for w in after]
    assert all(np.array_equal(a[2], b[2]) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [{}, {"strides": 2}, {"dilation_rate": 2}, {"padding": "valid"}, {"activation": "relu"}],
    ids=str,
)
@pytest.mark.usefixtures("pays")
def test_numbers_gradients_and_weights_stay(multiplier: int, options: dict[str, Any]) -> None:
    net = model(grouped(4 * multiplier, 4, **options))
    inputs, before = pictures((2, 8, 8, 4)), weights(net)
    wanted, wanted_gradients = output(net, inputs), gradients(net, inputs)
    done = rewriting.depthwise(net)
    assert (done.layers, done.candidates, done.speedup, done.refused) == (1, 1, 3.0, ())
    assert done.difference < 1e-5
    assert_same(before, weights(net))
    assert_close(output(net, inputs), wanted)
    for given, stock in zip(gradients(net, inputs), wanted_gradients, strict=True):
        assert_close(given, stock)


@pytest.mark.usefixtures("pays")
def test_undo_restores_the_stock_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    net = model(grouped(4, 4))
    inputs = pictures((1, 8, 8, 4))
    wanted = output(net, inputs)
    rewriting.depthwise(net)
    monkeypatch.setattr(rewriting._Depthwise, "__call__", lambda *_: pytest.fail("still called"))
    rewriting.undo(net)
    assert np.array_equal(output(net, inputs), wanted)
    rewriting.undo(net)  # nothing left to undo is no error


@pytest.mark.usefixtures("pays")
def test_done_twice_it_measures_the_stock_operation_again() -> None:
    net = model(grouped(4, 4))
    assert rewriting.depthwise(net) == rewriting.depthwise(net)


@pytest.mark.usefixtures("pays")
def test_other_convolutions_are_left_alone() -> None:
    others = [grouped(4, 2), keras.layers.Conv2D(4, 3), keras.layers.DepthwiseConv2D(3)]
    net = model(*others)
    done = rewriting.depthwise(net)
    assert done == Rewrite()
    assert done.text == ""
    assert not [layer for layer in net.layers if "convolution_op" in vars(layer)]


@pytest.mark.usefixtures("pays")
def test_nested_models_are_looked_through_and_shared_layers_count_once() -> None:
    shared = grouped(4, 4)
    inner = model(shared, grouped(8, 4, padding="valid"))
    net = keras.Sequential([keras.Input((8, 8, 4)), shared, inner])
    inputs = pictures((2, 8, 8, 4))
    wanted = output(net, inputs)
    done = rewriting.depthwise(net)
    assert (done.layers, done.candidates) == (2, 2)
    assert_close(output(net, inputs), wanted)


@pytest.mark.usefixtures("pays")
def test_each_shape_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    judge = rewriting._judge
    monkeypatch.setattr(rewriting, "_judge", lambda *a: judged.append(a[0]) or judge(*a))
    done = rewriting.depthwise(model(*(grouped(4, 4) for _ in range(3)), grouped(4, 4, strides=2)))
    assert (done.layers, len(judged)) == (4, 2)


@pytest.mark.usefixtures("pays")
def test_wrong_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = rewriting._Depthwise.__call__
    monkeypatch.setattr(
        rewriting._Depthwise, "__call__", lambda self, x, kernel: right(self, x, kernel) * 1.001
    )
    net = model(grouped(4, 4))
    done = rewriting.depthwise(net)
    assert done.layers == 0
    assert done.text == (
        "0 of 1 grouped convolutions as depthwise ones; "
        "left as they are: 3x3 on 8x8x4 (1 layer) differs by 1.0e-03, more than 1e-05"
    )
    assert "convolution_op" not in vars(net.layers[0])


@pytest.mark.usefixtures("pays")
def test_the_order_of_the_outputs_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    right = rewriting._Depthwise.__call__
    monkeypatch.setattr(
        rewriting._Depthwise, "__call__", lambda self, x, k: right(self, x, k)[..., ::-1]
    )
    assert rewriting.depthwise(model(grouped(8, 4))).layers == 0


@pytest.mark.parametrize(("rewritten", "layers"), [(0.99, 0), (0.84, 0), (0.83, 1)])
def test_what_is_not_faster_is_refused(
    monkeypatch: pytest.MonkeyPatch, rewritten: float, layers: int
) -> None:
    monkeypatch.setattr(
        rewriting,
        "_seconds",
        lambda operation, _: rewritten if isinstance(operation, rewriting._Depthwise) else 1.0,
    )
    done = rewriting.depthwise(model(grouped(4, 4)))
    assert done.layers == layers
    assert ("times faster, less than 1.2" in done.text) == (not layers)


@pytest.mark.usefixtures("pays")
def test_what_cannot_run_is_refused_with_the_backends_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> Any:
        raise ValueError("no such operation here\nand a long stack")

    monkeypatch.setattr(rewriting._Depthwise, "__call__", fails)
    (reason,) = rewriting.depthwise(model(grouped(4, 4))).refused
    assert reason.startswith("3x3 on 8x8x4 (1 layer) cannot run (")
    assert "no such operation here" in reason
    assert "stack" not in reason


@pytest.mark.usefixtures("pays")
def test_an_unknown_input_size_is_refused() -> None:
    net = keras.Sequential([keras.Input((None, None, 4)), grouped(4, 4)])
    (reason,) = rewriting.depthwise(net).refused
    assert reason == "3x3 on ?x?x4 (1 layer) input size not known, so not measured"


@pytest.mark.usefixtures("pays")
def test_half_precision_has_its_own_tolerance() -> None:
    net = model(grouped(4, 4, dtype="mixed_bfloat16"))
    assert rewriting.depthwise(net).layers == 1


@pytest.mark.parametrize(
    ("rewrite", "text"),
    [
        (
            Rewrite(18, 18, 2.4e-7, 92.3),
            "18 of 18 grouped convolutions as depthwise ones: "
            "largest relative difference 2.4e-07, 92 times faster",
        ),
        (
            Rewrite(2, 3, 0.0, 1.5, ("7x7 on 4x4x8 (1 layer) differs by nan, more than 1e-05",)),
            "2 of 3 grouped convolutions as depthwise ones: largest relative difference 0.0e+00, "
            "1.5 times faster; left as they are: "
            "7x7 on 4x4x8 (1 layer) differs by nan, more than 1e-05",
        ),
    ],
)
def test_the_text_says_what_was_done(rewrite: Rewrite, text: str) -> None:
    assert rewrite.text == text


def test_time_is_measured_on_the_compiled_operation() -> None:
    net = model(grouped(4, 4))
    arguments = rewriting._random(net.layers[0], (1, 8, 8, 4))
    seconds = rewriting._seconds(net.layers[0].convolution_op, arguments)
    assert 0 < seconds < 1  # TensorFlow, run eagerly, compiles at each call


@pytest.fixture(scope="module")
def convnext() -> Iterator[keras.Model]:
    keras.utils.set_random_seed(0)
    net = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(64, 64, 3))
    scales = [w for w in net.weights if "layer_scale" in w.path]
    assert len(scales) == 18
    for scale in scales:  # 1e-6 as it is, which would hide what any block computes
        scale.assign(keras.ops.full(scale.shape, 0.5))
    yield net
    keras.backend.clear_session()


@pytest.mark.slow
def test_convnext_computes_and_learns_the_same(
    convnext: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    if keras.backend.backend() != "tensorflow":  # where the two are the same operation underneath
        monkeypatch.setattr(rewriting, "FASTER", 0.0)
    inputs, before = pictures((2, 64, 64, 3)) * 50 + 128, weights(convnext)
    wanted, wanted_gradients = output(convnext, inputs), gradients(convnext, inputs)
    done = rewriting.depthwise(convnext)
    assert (done.layers, done.candidates, done.refused) == (18, 18, ())
    assert done.difference < 1e-5
    assert_same(before, weights(convnext))
    assert_close(output(convnext, inputs), wanted)
    for given, stock in zip(gradients(convnext, inputs), wanted_gradients, strict=True):
        assert_close(given, stock, within=1e-4)
    rewriting.undo(convnext)
    assert_close(output(convnext, inputs), wanted, within=1e-6)
    assert not [layer for layer in convnext.layers if "convolution_op" in vars(layer)]


@pytest.mark.slow
def test_convnext_is_much_faster_on_a_cpu_with_tensorflow(convnext: keras.Model) -> None:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow has two operations")
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU runs both alike")
    done = rewriting.depthwise(convnext)
    rewriting.undo(convnext)
    assert done.layers == 18
    assert done.speedup > 3
    assert math.isfinite(done.speedup)
