"""Contract of every row of the backbone table, and of the rules that find blocks."""

import dataclasses
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest

from bench import records
from bench.errors import BenchError, UnknownNameError
from bench.zoo import backbones
from bench.zoo.backbones import BACKBONES, BackboneRow, BlockEnds, block_starts

QUICK = ("MobileNetV2", "EfficientNetV2B0")

# Counted from the architectures as published, stage by stage, so that a rule that loses or invents
# a block is found. Inception modules include the reductions; NASNet-A (N @ F) is 3N + 2 cells.
BLOCKS = {
    "MobileNet": 13,
    "MobileNetV2": 17,
    "MobileNetV3Small": 11,
    "MobileNetV3Large": 15,
    "EfficientNetB0": 1 + 2 + 2 + 3 + 3 + 4 + 1,
    "EfficientNetB1": 2 + 3 + 3 + 4 + 4 + 5 + 2,
    "EfficientNetB2": 2 + 3 + 3 + 4 + 4 + 5 + 2,
    "EfficientNetB3": 2 + 3 + 3 + 5 + 5 + 6 + 2,
    "EfficientNetB4": 2 + 4 + 4 + 6 + 6 + 8 + 2,
    "EfficientNetB5": 3 + 5 + 5 + 7 + 7 + 9 + 3,
    "EfficientNetB6": 3 + 6 + 6 + 8 + 8 + 11 + 3,
    "EfficientNetB7": 4 + 7 + 7 + 10 + 10 + 13 + 4,
    "EfficientNetV2B0": 1 + 2 + 2 + 3 + 5 + 8,
    "EfficientNetV2B1": 2 + 3 + 3 + 4 + 6 + 9,
    "EfficientNetV2B2": 2 + 3 + 3 + 4 + 6 + 10,
    "EfficientNetV2B3": 2 + 3 + 3 + 5 + 7 + 12,
    "EfficientNetV2S": 2 + 4 + 4 + 6 + 9 + 15,
    "EfficientNetV2M": 3 + 5 + 5 + 7 + 14 + 18 + 5,
    "EfficientNetV2L": 4 + 7 + 7 + 10 + 19 + 25 + 7,
    "ResNet50": 3 + 4 + 6 + 3,
    "ResNet101": 3 + 4 + 23 + 3,
    "ResNet152": 3 + 8 + 36 + 3,
    "ResNet50V2": 3 + 4 + 6 + 3,
    "ResNet101V2": 3 + 4 + 23 + 3,
    "ResNet152V2": 3 + 8 + 36 + 3,
    "ConvNeXtTiny": 3 + 3 + 9 + 3,
    "ConvNeXtSmall": 3 + 3 + 27 + 3,
    "ConvNeXtBase": 3 + 3 + 27 + 3,
    "ConvNeXtLarge": 3 + 3 + 27 + 3,
    "ConvNeXtXLarge": 3 + 3 + 27 + 3,
    "VGG16": 5,
    "VGG19": 5,
    "DenseNet121": 4,
    "DenseNet169": 4,
    "DenseNet201": 4,
    "NASNetMobile": 3 * 4 + 2,
    "NASNetLarge": 3 * 6 + 2,
    "InceptionV3": 11,
    "InceptionResNetV2": 1 + 10 + 1 + 20 + 1 + 10,
    "Xception": 14,
}


# ------------------------------------------------------------------------- rows, without Keras


@pytest.mark.parametrize("row", BACKBONES.values(), ids=BACKBONES)
def test_row_values_are_sane(row: BackboneRow) -> None:
    assert row.preprocessing in get_args(records.Preprocessing)
    assert 16 <= row.min_size <= row.default_size <= 600
    assert row.features > 0
    assert row.parameters > 500_000
    assert row.imagenet_top1 is None or 70 < row.imagenet_top1 < 87
    assert row.family
    assert row.name in BLOCKS


def test_table_is_indexed_by_name_and_cannot_change() -> None:
    assert all(name == row.name for name, row in BACKBONES.items())
    with pytest.raises(TypeError):
        BACKBONES["another"] = next(iter(BACKBONES.values()))  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        backbones.row("VGG16").features = 1  # type: ignore[misc]


def test_two_rows_of_one_name_are_refused() -> None:
    row = backbones.row("VGG16")
    with pytest.raises(ValueError, match=r"two rows .* 'VGG16'"):
        backbones._by_name([row, row])


def test_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown backbone 'resnet5O'.*ResNet50"):
        backbones.row("resnet5O")


def test_table_can_be_listed_without_keras() -> None:
    code = (
        "import sys, bench.zoo.backbones as b; assert b.BACKBONES; "
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------ finding blocks


def test_block_begins_at_a_new_id_and_keeps_unnamed_layers() -> None:
    names = [
        "stem",
        "block0__depthwise_conv",
        "add",
        "block0__bn2",
        "block1__conv",
        "conv2d_94",
        "block15__bn",
        "top_conv",
    ]
    assert block_starts(r"block(\d+)_+", names) == (1, 4, 6)


def test_block_that_shows_up_again_does_not_begin_again() -> None:
    assert block_starts(r"b(\d)_", ["b1_x", "b2_x", "b1_y", "b3_x"]) == (0, 1, 3)


def test_pattern_is_matched_from_the_start_of_a_name() -> None:
    assert block_starts(r"block(\d)", ["myblock1", "block2"]) == (1,)


def test_optional_group_that_takes_no_part_is_no_id() -> None:
    assert block_starts(r"conv(\d)?", ["conv", "conv1", "conv2"]) == (1, 2)


def test_blocks_with_named_ends_begin_after_stem_and_ends() -> None:
    names = ["input", "pool", "pool_1", "conv", "mixed0", "pool_2", "mixed1", "relu"]
    assert block_starts(BlockEnds(stem="pool", ends=r"mixed\d"), names) == (3, 5)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (r"block(\d", "expected a regular expression"),
        (r"block\d", "expected a group"),
        (r"stage(\d)", "no block found.*block1_conv"),
        (BlockEnds(stem="pool", ends="mixed"), "no block found"),
        (BlockEnds(stem="absent", ends="block"), "no block found"),
    ],
)
def test_rule_that_finds_no_block_is_an_error(rule: Any, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        block_starts(rule, ["input", "pool", "block1_conv"])


# ---------------------------------------------------------------------------- rows, with Keras


def _params(rows: list[BackboneRow]) -> list[Any]:
    """Rows as parameters, all but the quick ones marked slow."""
    return [
        pytest.param(r, id=r.name, marks=() if r.name in QUICK else pytest.mark.slow) for r in rows
    ]


@pytest.fixture(scope="module", params=_params(list(BACKBONES.values())))
def built(request: pytest.FixtureRequest) -> Iterator[tuple[BackboneRow, Any]]:
    """A row and its model without numbers in its weights, at the smallest size it accepts.

    Names, shapes and graph are Keras' own; numbers go through each family in `test_frontier`. To
    draw them would take most of the time, and a gigabyte for the largest.
    """
    import keras

    row: BackboneRow = request.param
    with keras.StatelessScope(initialize_variables=False):
        model = backbones.construct(row, row.min_size, None)
    yield row, model
    keras.backend.clear_session()
    gc.collect()


def test_table_holds_every_model_of_keras_applications() -> None:
    import keras

    models = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(BACKBONES) == models


def test_model_is_as_the_row_says(built: tuple[BackboneRow, Any]) -> None:
    row, model = built
    size = row.min_size
    assert model.count_params() == row.parameters
    assert model.input_shape == (None, size, size, 3)
    _, height, width, channels = model.output_shape
    assert height == width >= 1
    assert channels == row.features


def test_smaller_pictures_are_refused(built: tuple[BackboneRow, Any]) -> None:
    import keras

    row, _ = built
    too_small = row.min_size - 1
    with pytest.raises(BenchError, match=f"{row.name}.*{too_small}.*at least {row.min_size}"):
        backbones.construct(row, too_small, None)
    with pytest.raises(ValueError, match="Input size must be at least"):
        getattr(keras.applications, row.name)(
            include_top=False, weights=None, input_shape=(too_small, too_small, 3)
        )


def test_preprocessing_is_keras_own(built: tuple[BackboneRow, Any]) -> None:
    import keras

    row, model = built
    module = sys.modules[getattr(keras.applications, row.name).__module__]
    pixels = _pixels(2, 8)
    theirs = np.asarray(module.preprocess_input(pixels.copy()))
    np.testing.assert_allclose(theirs, EXPECTED[row.preprocessing](pixels), atol=2e-5)
    rescales = any(
        isinstance(x, keras.layers.Rescaling | keras.layers.Normalization) for x in model.layers
    )
    assert rescales == (row.preprocessing == "raw")


def test_blocks_are_counted_as_published(built: tuple[BackboneRow, Any]) -> None:
    row, model = built
    names = [layer.name for layer in model.layers]
    starts = block_starts(row.blocks, names)
    assert len(starts) == BLOCKS[row.name]
    assert starts[0] > 0
    assert list(starts) == sorted(set(starts))
    last = {id(v) for layer in model.layers[starts[-1] :] for v in layer.weights}
    assert last, "training the top block would train nothing"


def test_blocks_are_cut_cleanly(built: tuple[BackboneRow, Any]) -> None:
    row, model = built
    starts = block_starts(row.blocks, [layer.name for layer in model.layers])
    # A NASNet cell reads the outputs of the two cells before it, so no cut can be one tensor.
    most, tensors = (2, _sources) if row.family == "NASNet" else (1, _crossing)
    cuts = {model.layers[start].name: len(tensors(model, start)) for start in starts}
    unclean = {name: count for name, count in cuts.items() if count > most}
    assert unclean == {}


@pytest.mark.parametrize("row", BACKBONES.values(), ids=BACKBONES)
def test_default_size_is_the_constructors(
    row: BackboneRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The constructor is stopped at its first layer, which knows the size already."""
    import keras

    def stop(shape: tuple[int | None, ...]) -> None:
        raise InterruptedError(shape)

    monkeypatch.setattr("keras.src.layers.Input", stop)
    with pytest.raises(InterruptedError) as stopped:
        getattr(keras.applications, row.name)(weights=None)
    (shape,) = stopped.value.args
    if shape[0] is None:
        assert row.family == "MobileNetV3"  # its constructor has no default; documented as 224
        assert row.default_size == 224
    else:
        assert shape == (row.default_size, row.default_size, 3)


@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV2",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("InceptionV3", "Xception")),
    ],
)
def test_blocks_do_not_depend_on_what_was_built_before(name: str) -> None:
    row = backbones.row(name)
    first, second = (backbones.construct(row, row.min_size, None) for _ in range(2))
    names = [[layer.name for layer in model.layers] for model in (first, second)]
    assert names[0] != names[1], "auto-numbered names were expected to differ"
    assert block_starts(row.blocks, names[0]) == block_starts(row.blocks, names[1])


def test_weights_are_read_from_a_path(tmp_path: Any) -> None:
    row = backbones.row("MobileNetV2")
    model = backbones.construct(row, 32, None)
    path = str(tmp_path / "MobileNetV2.weights.h5")
    model.save_weights(path)
    pixels = _pixels(1, 48)
    read = backbones.construct(row, 48, path)
    assert all(
        np.array_equal(a, b) for a, b in zip(model.get_weights(), read.get_weights(), strict=True)
    )
    assert np.asarray(read(pixels, training=False)).shape == (1, 2, 2, 1280)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["published", "own"])
def test_efficientnet_from_a_path_standardises_pixels(kind: str, tmp_path: Any) -> None:
    import keras

    mean = np.array([0.485, 0.456, 0.406], "float32")
    deviation = np.array([0.229, 0.224, 0.225], "float32")
    variance = deviation if kind == "published" else np.array([0.5, 0.6, 0.7], "float32")
    expected = deviation if kind == "published" else np.sqrt(variance)
    row = backbones.row("EfficientNetB0")
    model = backbones.construct(row, 32, None)
    model.get_layer(index=2).set_weights([mean, variance, np.asarray(0)])
    path = str(tmp_path / "EfficientNetB0.weights.h5")
    model.save_weights(path)

    read = backbones.construct(row, 32, path)
    below = keras.Model(read.input, read.get_layer("stem_conv_pad").input)
    pixels = _pixels(1, 32)
    np.testing.assert_allclose(
        np.asarray(below(pixels)), (pixels / 255 - mean) / expected, atol=1e-5
    )


# --------------------------------------------------------------------------------- references


def _pixels(pictures: int, size: int) -> np.ndarray[Any, Any]:
    """Random whole numbers in [0, 255] as float32: (pictures, size, size, 3)."""
    values = np.random.default_rng(0).integers(0, 256, (pictures, size, size, 3))
    return values.astype("float32")


EXPECTED: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "raw": lambda x: x,
    "minus_one_to_one": lambda x: x / 127.5 - 1,
    "zero_to_one": lambda x: x / 255,
    "caffe": lambda x: x[..., ::-1] - np.array([103.939, 116.779, 123.68], "float32"),
    "torch": lambda x: (
        (x / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    ),
}


def _crossing(model: Any, start: int) -> list[Any]:
    """Tensors that operations at or after layer ``start`` read from operations before it.

    Counted over ``model.operations``: bare operations (an addition written ``x + y``) are no
    layers, but stand between them in the same order.
    """
    place = {id(op): i for i, op in enumerate(model.operations)}
    cut = place[id(model.layers[start])]
    own = _nodes(model)
    tensors = {
        id(tensor): tensor
        for op in model.operations[cut:]
        for tensor in _inputs(own, op)
        if place[id(tensor._keras_history.operation)] < cut
    }
    return list(tensors.values())


def _nodes(model: Any) -> set[int]:
    """Its own ones: a layer may be used by other models too."""
    return {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}


def _inputs(own: set[int], operation: Any) -> list[Any]:
    """What an operation reads inside the model whose nodes are ``own``."""
    return [t for node in operation._inbound_nodes if id(node) in own for t in node.input_tensors]


def _sources(model: Any, start: int) -> list[Any]:
    """The tensors behind those that cross: before activation, padding and cropping.

    Such a layer has one input and nothing to train. In NASNet the ones that open a cell stand below
    its boundary, because Keras orders layers by depth: three tensors cross, made of two.
    """
    import keras

    passing = keras.layers.Activation | keras.layers.ZeroPadding2D | keras.layers.Cropping2D
    own = _nodes(model)
    found: dict[int, Any] = {}
    for tensor in _crossing(model, start):
        while isinstance(tensor._keras_history.operation, passing):
            (tensor,) = _inputs(own, tensor._keras_history.operation)
        found[id(tensor)] = tensor
    return list(found.values())
