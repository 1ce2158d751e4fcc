"""Freeze strategies: which layers of the backbone train in phase 2.

Everything here is arithmetic on layer names and weight sizes, so that what *should* train is
worked out apart from Keras' own flags, and the guards can hold one against the other. Adding a
strategy is one function (layer names, amount -> index of the first layer that trains) and one row.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import ImpossibleTrialError, UnknownNameError
from bench.records import BatchNorm, Freeze

AMOUNT_FREE = "none"

SCRATCH_MOMENTUM = 0.9
"""BatchNorm's momentum when training from scratch. Keras gives MobileNetV2 0.999, whose moving
statistics need thousands of steps to forget their start: after a short run the model would score
at chance on val while it scores 95% on train, and no baseline could be read from it."""


@dataclass(frozen=True)
class BackboneLayers:
    """What a strategy may look at.

    Attributes:
        names: layer names in ``model.layers`` order, the input layer included, as tutorials count.
        block_starts: index of the first layer of each block; empty where blocks are not known.
    """

    names: tuple[str, ...]
    block_starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class FreezeRow:
    """A freeze strategy.

    Attributes:
        name: as written in a suite.
        amount: what its amount means, ``none`` where it takes none.
        valid: whether a suite may give this amount.
        start: (layers, amount) -> index of the first layer that trains in phase 2.
        description: one line for ``bench list freezes``.
    """

    name: str
    amount: str
    valid: Callable[[Any], bool]
    start: Callable[[BackboneLayers, Any], int]
    description: str


def _count(amount: Any) -> bool:
    return isinstance(amount, int) and not isinstance(amount, bool) and amount >= 1


def _layer(amount: Any) -> bool:
    return _count(amount) or (isinstance(amount, str) and bool(amount))


def _fraction(amount: Any) -> bool:
    return isinstance(amount, int | float) and not isinstance(amount, bool) and 0 < amount <= 1


def _nothing(amount: Any) -> bool:
    return amount is None


def _from_end(layers: BackboneLayers, amount: Any) -> int:
    return len(layers.names)


def _from_input(layers: BackboneLayers, amount: Any) -> int:
    return 0


def _last_layers(layers: BackboneLayers, amount: Any) -> int:
    if amount > len(layers.names):
        raise ImpossibleTrialError(
            f"last_layers = {amount}: expected at most {len(layers.names)}, the backbone's layers"
        )
    return len(layers.names) - int(amount)


def _from_layer(layers: BackboneLayers, amount: Any) -> int:
    if isinstance(amount, str):
        if amount not in layers.names:
            raise ImpossibleTrialError(str(UnknownNameError("layer", amount, layers.names)))
        return layers.names.index(amount)
    if amount >= len(layers.names):
        raise ImpossibleTrialError(
            f"from_layer = {amount}: expected below {len(layers.names)}, the backbone's layers"
        )
    return int(amount)


def _top_fraction(layers: BackboneLayers, amount: Any) -> int:
    layers_that_train: int = max(1, round(amount * len(layers.names)))
    return len(layers.names) - layers_that_train


def _top_blocks(layers: BackboneLayers, amount: Any) -> int:
    if amount > len(layers.block_starts):
        raise ImpossibleTrialError(
            f"top_blocks = {amount}: expected at most {len(layers.block_starts)}, "
            "the blocks known for this backbone"
        )
    return layers.block_starts[-int(amount)]


def _unresolved(layers: BackboneLayers, amount: Any) -> int:
    raise ImpossibleTrialError("freeze strategy 'auto': resolve it first, by the train pictures")


_ROWS = (
    FreezeRow("head_only", AMOUNT_FREE, _nothing, _from_end, "no phase 2: only the head trains"),
    FreezeRow("last_layers", "layers, 1 or more", _count, _last_layers, "the last N layers"),
    FreezeRow(
        "from_layer",
        "a layer's index (1 or more) or name",
        _layer,
        _from_layer,
        "layer N and everything after it (layers[:N] stay frozen)",
    ),
    FreezeRow(
        "top_fraction",
        "a fraction above 0 up to 1",
        _fraction,
        _top_fraction,
        "the top share of the layers, one at least",
    ),
    FreezeRow(
        "top_blocks",
        "blocks, 1 or more",
        _count,
        _top_blocks,
        "the top N whole blocks: never cuts through a residual connection",
    ),
    FreezeRow("all", AMOUNT_FREE, _nothing, _from_input, "the whole backbone"),
    FreezeRow(
        "scratch",
        AMOUNT_FREE,
        _nothing,
        _from_input,
        "the baseline: random weights, no phase 1, everything trains for the epochs of both phases",
    ),
    FreezeRow(
        "auto",
        AMOUNT_FREE,
        _nothing,
        _unresolved,
        "by train pictures: head_only below 5,000, top 20% below 20,000, top 50% above",
    ),
)

FREEZES: Mapping[str, FreezeRow] = {r.name: r for r in _ROWS}
if len(FREEZES) != len(_ROWS):
    raise ValueError("two freeze strategies of the table share a name")


def row(name: str) -> FreezeRow:
    """The freeze strategy of this name.

    Raises:
        UnknownNameError: the table has no such strategy.
    """
    if name not in FREEZES:
        raise UnknownNameError("freeze strategy", name, FREEZES)
    return FREEZES[name]


def stated(name: str, amount: Any) -> Freeze:
    """A strategy with its amount, as a user states them.

    Raises:
        UnknownNameError: the table has no such strategy.
        ValueError: the amount does not fit it; the text says what would.
    """
    known = row(name)
    if not known.valid(amount):
        raise ValueError(f"{name} to have as its amount: {known.amount}")
    # 1 and 1.0 are one fraction, and must be one trial.
    return Freeze(strategy=name, amount=float(amount) if name == "top_fraction" else amount)


def resolve(freeze: Freeze, train_examples: int) -> Freeze:
    """Turn ``auto`` into the strategy for this many train pictures; others pass unchanged.

    The rule is common advice among practitioners, and Bench tests it rather than vouches for it:
    head only below 5,000 pictures, the top 20% up to 20,000, the top 50% above.
    """
    if freeze.strategy != "auto":
        return freeze
    if train_examples < 5_000:
        return Freeze(strategy="head_only")
    return Freeze(strategy="top_fraction", amount=0.2 if train_examples < 20_000 else 0.5)


def first_trainable(freeze: Freeze, layers: BackboneLayers) -> int:
    """Index into ``layers.names`` of the first layer that trains; their number if none does.

    Raises:
        ImpossibleTrialError: the amount does not fit this backbone.
    """
    return row(freeze.strategy).start(layers, freeze.amount)


@dataclass(frozen=True)
class BackboneWeight:
    """One weight that could train: where it sits, and how many numbers it holds."""

    path: str
    layer: int
    batch_norm: bool
    size: int


def inventory(backbone: Any) -> tuple[BackboneWeight, ...]:
    """Every weight of a Keras backbone that could train. Sets all its flags to trainable first."""
    import keras

    set_trainable(backbone, True)
    return tuple(
        BackboneWeight(
            path=weight.path,
            layer=index,
            batch_norm=isinstance(leaf, keras.layers.BatchNormalization),
            size=math.prod(weight.shape),
        )
        for index, layer in enumerate(backbone.layers)
        for leaf in leaves(layer)
        for weight in leaf.trainable_weights
    )


def planned(
    weights: Sequence[BackboneWeight], start: int, batch_norm: BatchNorm
) -> tuple[BackboneWeight, ...]:
    """The weights that should train: at or above the start, BatchNorm's by its mode."""
    return tuple(
        w for w in weights if w.layer >= start and (batch_norm != "frozen" or not w.batch_norm)
    )


def apply(backbone: Any, start: int, batch_norm: BatchNorm) -> None:
    """Set the ``trainable`` flags of a Keras backbone. The model must be compiled afterwards."""
    import keras

    set_trainable(backbone, True)
    for index, layer in enumerate(backbone.layers):
        set_trainable(layer, index >= start)
        for leaf in leaves(layer):
            if isinstance(leaf, keras.layers.BatchNormalization) and batch_norm == "frozen":
                leaf.trainable = False


def set_trainable(layer: Any, trainable: bool) -> None:
    """Set the flag of a Keras layer or model and of everything inside it.

    On the TensorFlow backend an assignment that does not change the outermost flag is dropped
    before Keras sees it, and so never reaches the layers inside: flags left by an earlier
    strategy would stay.
    """
    layer.trainable = not trainable
    layer.trainable = trainable


def shorten_memory(backbone: Any) -> None:
    """Let BatchNorm's statistics follow a short run from scratch (see `SCRATCH_MOMENTUM`)."""
    import keras

    for layer in backbone.layers:
        for leaf in leaves(layer):
            if isinstance(leaf, keras.layers.BatchNormalization):
                leaf.momentum = min(leaf.momentum, SCRATCH_MOMENTUM)


def leaves(layer: Any) -> list[Any]:
    """A Keras layer itself, or every layer inside a nested model."""
    children = getattr(layer, "layers", None)
    if not children:
        return [layer]
    return [leaf for child in children for leaf in leaves(child)]
