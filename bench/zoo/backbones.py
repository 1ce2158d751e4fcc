"""The backbone table: every keras.applications model that has ImageNet weights.

To add a backbone, add one row to ``_TABLE`` below. Everything else (``BACKBONES``, ``construct``,
the contract tests) reads the row. A model that keras.applications does not have needs no row at
all: a suite gives it as a ``.keras`` file (``records.Backbone.file``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from bench.errors import BenchError, UnknownNameError
from bench.records import Preprocessing

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class BlockEnds:
    """How to find blocks where only their last layers have names of their own.

    Attributes:
        stem: regular expression; the last layer that it matches before the first block's end is
            the stem's last layer.
        ends: regular expression matching the layer that ends each block, the last block included.
    """

    stem: str
    ends: str


BlockRule = str | BlockEnds
"""How block boundaries are found among layer names: a regular expression whose first group is the
id of the block that a layer is in, or the names that blocks end with (see ``block_starts``)."""


@dataclass(frozen=True)
class BackboneRow:
    """What Bench knows of one backbone, without building it.

    Attributes:
        name: the row's name, also the constructor's in keras.applications.
        family: the models that share its architecture, preprocessing and block rule.
        features: channels of the last feature map (the model without its top).
        default_size: side of the square pictures it was trained on, in pixels.
        min_size: the smallest side that the constructor accepts without a top, in pixels.
        preprocessing: what the model without its top expects of pixels in [0, 255].
        parameters: numbers in the model without its top; Keras counts the mean and variance of an
            EfficientNet's Normalization layer among them.
        imagenet_top1: accuracy of the published weights on the ImageNet validation set, in
            percent, as keras.io/api/applications states it; None where it does not.
        blocks: how block boundaries are found.
    """

    name: str
    family: str
    features: int
    default_size: int
    min_size: int
    preprocessing: Preprocessing
    parameters: int
    imagenet_top1: float | None
    blocks: BlockRule


_Member = tuple[str, int, int, int, float | None]
"""Of one backbone: name, features, default size, parameters, ImageNet top-1."""


def _family(
    name: str, preprocessing: Preprocessing, min_size: int, blocks: BlockRule, *members: _Member
) -> Iterator[BackboneRow]:
    """Rows of the backbones that differ in nothing but size."""
    for member, features, default_size, parameters, top1 in members:
        yield BackboneRow(
            name=member,
            family=name,
            features=features,
            default_size=default_size,
            min_size=min_size,
            preprocessing=preprocessing,
            parameters=parameters,
            imagenet_top1=top1,
            blocks=blocks,
        )


# Blocks are what a practitioner would name, cut where as few tensors as possible cross. All cuts
# are one tensor, except in NASNet, where a cell reads the outputs of the two cells before it.
#
# DenseNet: a block is a whole dense block with the transition before it (four of them). One dense
# layer (58 in DenseNet121) would cut as cleanly, but it adds 32 channels that all later layers of
# its dense block read, and nobody counts in them.
# ConvNeXt: a downsampling layer belongs to the block after it, as the first thing of its stage.
# Xception: 14 modules as in the paper, so the first one is the pair of plain convolutions.
# NASNet: the two reduction cells that the ImageNet stem holds are stem, as in the paper's figure.
_TABLE: tuple[BackboneRow, ...] = (
    *_family(
        "MobileNet", "minus_one_to_one", 32, r"conv_(?:pad|dw|pw)_(\d+)",
        ("MobileNet", 1024, 224, 3_228_864, 70.4),
    ),
    *_family(
        "MobileNetV2", "minus_one_to_one", 32, r"(expanded_conv|block_\d+)_",
        ("MobileNetV2", 1280, 224, 2_257_984, 71.3),
    ),
    *_family(
        "MobileNetV3", "raw", 32, r"(expanded_conv(?:_\d+)?)_",
        ("MobileNetV3Small", 576, 224, 939_120, None),
        ("MobileNetV3Large", 960, 224, 2_996_352, None),
    ),
    *_family(
        "EfficientNet", "raw", 32, r"block(\d+[a-z])_",
        ("EfficientNetB0", 1280, 224, 4_049_571, 77.1),
        ("EfficientNetB1", 1280, 240, 6_575_239, 79.1),
        ("EfficientNetB2", 1408, 260, 7_768_569, 80.1),
        ("EfficientNetB3", 1536, 300, 10_783_535, 81.6),
        ("EfficientNetB4", 1792, 380, 17_673_823, 82.9),
        ("EfficientNetB5", 2048, 456, 28_513_527, 83.6),
        ("EfficientNetB6", 2304, 528, 40_960_143, 84.0),
        ("EfficientNetB7", 2560, 600, 64_097_687, 84.3),
    ),
    *_family(
        "EfficientNetV2", "raw", 32, r"block(\d+[a-z])_",
        ("EfficientNetV2B0", 1280, 224, 5_919_312, 78.7),
        ("EfficientNetV2B1", 1280, 240, 6_931_124, 79.8),
        ("EfficientNetV2B2", 1408, 260, 8_769_374, 80.5),
        ("EfficientNetV2B3", 1536, 300, 12_930_622, 82.0),
        ("EfficientNetV2S", 1280, 384, 20_331_360, 83.9),
        ("EfficientNetV2M", 1280, 480, 53_150_388, 85.3),
        ("EfficientNetV2L", 1280, 480, 117_746_848, 85.7),
    ),
    *_family(
        "ResNet", "caffe", 32, r"(conv\d_block\d+)_",
        ("ResNet50", 2048, 224, 23_587_712, 74.9),
        ("ResNet101", 2048, 224, 42_658_176, 76.4),
        ("ResNet152", 2048, 224, 58_370_944, 76.6),
    ),
    *_family(
        "ResNetV2", "minus_one_to_one", 32, r"(conv\d_block\d+)_",
        ("ResNet50V2", 2048, 224, 23_564_800, 76.0),
        ("ResNet101V2", 2048, 224, 42_626_560, 77.2),
        ("ResNet152V2", 2048, 224, 58_331_648, 78.0),
    ),
    *_family(
        "ConvNeXt", "raw", 32,
        r"convnext_[a-z]+_(downsampling_block_\d|stage_0_block_\d+|stage_\d_block_[1-9]\d*)",
        ("ConvNeXtTiny", 768, 224, 27_820_128, 81.3),
        ("ConvNeXtSmall", 768, 224, 49_454_688, 82.3),
        ("ConvNeXtBase", 1024, 224, 87_566_464, 85.3),
        ("ConvNeXtLarge", 1536, 224, 196_230_336, 86.3),
        ("ConvNeXtXLarge", 2048, 224, 348_147_968, 86.7),
    ),
    *_family(
        "VGG", "caffe", 32, r"block(\d+)_",
        ("VGG16", 512, 224, 14_714_688, 71.3),
        ("VGG19", 512, 224, 20_024_384, 71.3),
    ),
    *_family(
        "DenseNet", "torch", 32, r"(conv2_block|pool\d_)",
        ("DenseNet121", 1024, 224, 7_037_504, 75.0),
        ("DenseNet169", 1664, 224, 12_642_880, 76.2),
        ("DenseNet201", 1920, 224, 18_321_984, 77.3),
    ),
    *_family(
        "NASNet", "minus_one_to_one", 32,
        BlockEnds(
            stem=r"reduction_concat_stem_2$", ends=r"(?:normal_concat|reduction_concat_reduce)_\d+$"
        ),
        ("NASNetMobile", 1056, 224, 4_269_716, 74.4),
        ("NASNetLarge", 4032, 331, 84_916_818, 82.5),
    ),
    *_family(
        "InceptionV3", "minus_one_to_one", 75, BlockEnds(stem=r"max_pooling2d", ends=r"mixed\d+$"),
        ("InceptionV3", 2048, 299, 21_802_784, 77.9),
    ),
    *_family(
        "InceptionResNetV2", "minus_one_to_one", 75,
        BlockEnds(
            stem=r"max_pooling2d", ends=r"mixed_\d[ab]$|block\d+_\d+_ac$|block8_10_conv$"
        ),
        ("InceptionResNetV2", 1536, 299, 54_336_736, 80.3),
    ),
    *_family(
        "Xception", "minus_one_to_one", 71, r"block(\d+)_",
        ("Xception", 2048, 299, 20_861_480, 79.0),
    ),
)  # fmt: skip


def _by_name(rows: Iterable[BackboneRow]) -> Mapping[str, BackboneRow]:
    """Index rows by name, and refuse two of one name."""
    table: dict[str, BackboneRow] = {}
    for each in rows:
        if each.name in table:
            raise ValueError(f"two rows of the backbone table are named {each.name!r}")
        table[each.name] = each
    return MappingProxyType(table)


BACKBONES: Mapping[str, BackboneRow] = _by_name(_TABLE)
"""Every row by its name, in the table's order."""


def row(name: str) -> BackboneRow:
    """The row of that name.

    Raises:
        UnknownNameError: no row has it; the message names the nearest ones.
    """
    try:
        return BACKBONES[name]
    except KeyError:
        raise UnknownNameError("backbone", name, BACKBONES) from None


def construct(row: BackboneRow, image_size: int, weights: str | None) -> "keras.Model":
    """Build a backbone without its top.

    Args:
        row: which one.
        image_size: side of the square input, in pixels.
        weights: None for random ones, ``imagenet`` (Keras downloads them), or the path of a file.

    Returns:
        A model from (batch, image_size, image_size, 3) pixels, treated as ``row.preprocessing``
        says, to a feature map of ``row.features`` channels.

    Raises:
        BenchError: ``image_size`` is below ``row.min_size``.
        Exception: whatever Keras raises for weights that are absent or do not fit.
    """
    import keras

    if image_size < row.min_size:
        raise BenchError(
            f"backbone {row.name}: image_size = {image_size}: "
            f"expected at least {row.min_size} pixels"
        )
    build = getattr(keras.applications, row.name)
    model = build(include_top=False, weights=weights, input_shape=(image_size, image_size, 3))
    if weights not in (None, "imagenet"):
        complete_preprocessing(row, model)
    return model


def complete_preprocessing(row: BackboneRow, model: "keras.Model") -> None:
    """Make a backbone whose weights came from a file treat pixels as ``weights="imagenet"`` does.

    Concerns EfficientNet B0 to B7 only, and is harmless to call twice. Their published files hold
    ImageNet's standard deviation where Normalization keeps a variance. Keras makes up for it with
    one more Rescaling layer, but adds that for "imagenet" only: the same weights from a path would
    see pixels at half their contrast (https://github.com/tensorflow/tensorflow/issues/49930). A
    file that holds anything else there is left as it is.

    Args:
        row: which backbone it is.
        model: what ``construct`` returned; changed in place.
    """
    if row.family != "EfficientNet":
        return
    import keras
    import numpy as np

    layer = next(x for x in model.layers if isinstance(x, keras.layers.Normalization))
    mean, variance, count = layer.get_weights()
    if np.allclose(variance, (0.229, 0.224, 0.225), atol=1e-4):
        layer.set_weights([mean, np.square(variance), count])
        layer.finalize_state()


def block_starts(rule: BlockRule, layer_names: Sequence[str]) -> tuple[int, ...]:
    """Where each block begins, for strategies that train the top N blocks.

    Keras orders a model's layers by their depth in the graph, so a block whose boundaries are
    single tensors is a run of neighbouring layers. The stem before the first block is no block;
    what follows the last block (a top convolution, a last normalisation) belongs to it.

    Args:
        rule: a regular expression, matched from the start of each name, whose first group is the
            block's id: a block begins at the first layer with an id not seen before, and layers
            that do not match belong to the block they stand in. Or a ``BlockEnds``: a block begins
            after the stem and after each end but the last.
        layer_names: names in the order of ``model.layers``. Only names that the model's author
            gave are worth matching: Keras numbers the others (``conv2d_94``) by what else the
            process has built.

    Returns:
        Indices into ``layer_names``, ascending, one for each block: to train the top N blocks is to
        train from layer ``block_starts(...)[-N]`` on.

    Raises:
        BenchError: the regular expression is not valid, has no group, or matches no layer.
    """
    if isinstance(rule, BlockEnds):
        starts = _after_ends(rule, layer_names)
    else:
        starts = _at_new_ids(_compiled(rule), layer_names)
    if not starts:
        raise BenchError(
            f"blocks = {rule!r}: no block found; expected a regular expression that matches layer "
            f"names from their start, such as {', '.join(layer_names[-3:])}"
        )
    return starts


def _at_new_ids(pattern: re.Pattern[str], names: Sequence[str]) -> tuple[int, ...]:
    """Index of the first layer of every id."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        match = pattern.match(name)
        if match and match[1] is not None:
            first.setdefault(match[1], index)
    return tuple(first.values())


def _after_ends(rule: BlockEnds, names: Sequence[str]) -> tuple[int, ...]:
    """Index of the layer after the stem, and after every block's end but the last one's."""
    ends = [index for index, name in enumerate(names) if re.match(rule.ends, name)]
    below = names[: ends[0]] if ends else ()
    stem = [index for index, name in enumerate(below) if re.match(rule.stem, name)]
    return tuple(index + 1 for index in (*stem[-1:], *ends[:-1])) if stem else ()


def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a block pattern, which users write too."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise BenchError(
            f"blocks = {pattern!r}: expected a regular expression ({error})"
        ) from error
    if not compiled.groups:
        raise BenchError(
            f"blocks = {pattern!r}: expected a group around the block's id, as in 'block(\\d+)_'"
        )
    return compiled
