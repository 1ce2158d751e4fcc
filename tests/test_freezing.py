"""Freeze strategies: every row on a small stack of layers, and the plan that the guards hold."""

from typing import Any

import pytest

from bench.errors import ImpossibleTrialError, UnknownNameError
from bench.records import BatchNorm, Freeze
from bench.zoo import freezing
from bench.zoo.freezing import FREEZES, BackboneLayers, BackboneWeight, first_trainable, planned

NAMES = ("input", "stem", "a1", "a2", "a_add", "b1", "b2", "b_add", "c1", "top")
LAYERS = BackboneLayers(NAMES, block_starts=(2, 5, 8))
END = len(NAMES)

# For every strategy: amounts that are valid, each with the first layer that trains.
STARTS: dict[str, list[tuple[Any, int]]] = {
    "head_only": [(None, END)],
    "last_layers": [(1, 9), (3, 7), (10, 0)],
    "from_layer": [(1, 1), (9, 9), ("input", 0), ("b1", 5), ("top", 9)],
    "top_fraction": [(0.001, 9), (0.3, 7), (0.5, 5), (1.0, 0), (1, 0)],
    "top_blocks": [(1, 8), (2, 5), (3, 2)],
    "all": [(None, 0)],
    "scratch": [(None, 0)],
    "auto": [],  # resolved before
}
TOO_MUCH: dict[str, tuple[Any, str]] = {
    "last_layers": (11, "last_layers = 11: expected at most 10"),
    "from_layer": (10, "from_layer = 10: expected below 10"),
    "top_blocks": (4, "top_blocks = 4: expected at most 3"),
}
REFUSED: dict[str, list[Any]] = {
    "none": [1, 0, "x", True, 0.5],
    "last_layers": [None, 0, -1, 1.5, "3", True, [3]],
    "from_layer": [None, 0, -1, 1.5, "", True],
    "top_fraction": [None, 0, 0.0, -0.1, 1.01, "half", True, float("nan")],
    "top_blocks": [None, 0, -2, 2.0, "2", False],
}


@pytest.mark.parametrize("name", FREEZES)
def test_every_row_is_tested_here(name: str) -> None:
    assert name in STARTS
    assert FREEZES[name].name == name
    assert FREEZES[name].description
    assert FREEZES[name].amount == "none" or name in REFUSED


@pytest.mark.parametrize(
    ("name", "amount", "start"),
    [(name, amount, start) for name, cases in STARTS.items() for amount, start in cases],
)
def test_where_training_starts(name: str, amount: Any, start: int) -> None:
    assert FREEZES[name].valid(amount)
    assert first_trainable(Freeze(strategy=name, amount=amount), LAYERS) == start


@pytest.mark.parametrize(
    ("name", "amount"),
    [(n, a) for n, row in FREEZES.items() for a in REFUSED["none" if row.amount == "none" else n]],
)
def test_amounts_that_a_suite_may_not_give(name: str, amount: Any) -> None:
    assert not FREEZES[name].valid(amount)


@pytest.mark.parametrize("name", TOO_MUCH)
def test_more_than_the_backbone_has_is_an_impossible_trial(name: str) -> None:
    amount, message = TOO_MUCH[name]
    with pytest.raises(ImpossibleTrialError, match=message):
        first_trainable(Freeze(strategy=name, amount=amount), LAYERS)


def test_a_layer_of_no_such_name_is_an_impossible_trial() -> None:
    with pytest.raises(ImpossibleTrialError, match=r"unknown layer 'a_ad': did you mean a_add"):
        first_trainable(Freeze(strategy="from_layer", amount="a_ad"), LAYERS)


def test_blocks_that_nobody_knows_are_an_impossible_trial() -> None:
    with pytest.raises(ImpossibleTrialError, match="at most 0"):
        first_trainable(Freeze(strategy="top_blocks", amount=1), BackboneLayers(NAMES))


def test_an_unknown_strategy_is_told_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean head_only\?"):
        freezing.row("headonly")


# --------------------------------------------------------------------------------------- auto


@pytest.mark.parametrize(
    ("pictures", "resolved"),
    [
        (2, Freeze(strategy="head_only")),
        (4_999, Freeze(strategy="head_only")),
        (5_000, Freeze(strategy="top_fraction", amount=0.2)),
        (19_999, Freeze(strategy="top_fraction", amount=0.2)),
        (20_000, Freeze(strategy="top_fraction", amount=0.5)),
        (1_000_000, Freeze(strategy="top_fraction", amount=0.5)),
    ],
)
def test_auto_goes_by_train_pictures(pictures: int, resolved: Freeze) -> None:
    assert freezing.resolve(Freeze(strategy="auto"), pictures) == resolved
    assert 0 <= first_trainable(resolved, LAYERS) <= END


@pytest.mark.parametrize("name", [name for name in FREEZES if name != "auto"])
def test_other_strategies_pass_unchanged(name: str) -> None:
    freeze = Freeze(strategy=name)
    assert freezing.resolve(freeze, 10_000) is freeze


def test_auto_left_unresolved_is_refused() -> None:
    with pytest.raises(ImpossibleTrialError, match="resolve it first"):
        first_trainable(Freeze(strategy="auto"), LAYERS)


# ----------------------------------------------------------------------------------- the plan

WEIGHTS = (
    BackboneWeight("stem/kernel", 1, batch_norm=False, size=100),
    BackboneWeight("stem_bn/gamma", 1, batch_norm=True, size=4),
    BackboneWeight("b1/kernel", 5, batch_norm=False, size=200),
    BackboneWeight("b1_bn/gamma", 5, batch_norm=True, size=8),
    BackboneWeight("b1_bn/beta", 5, batch_norm=True, size=8),
)


@pytest.mark.parametrize(
    ("start", "batch_norm", "size"),
    [
        (0, "frozen", 300),
        (0, "affine", 320),
        (0, "train", 320),
        (5, "frozen", 200),
        (5, "affine", 216),
        (6, "frozen", 0),
        (6, "train", 0),
    ],
)
def test_what_should_train_by_start_and_batch_norm_mode(
    start: int, batch_norm: BatchNorm, size: int
) -> None:
    assert sum(w.size for w in planned(WEIGHTS, start, batch_norm)) == size


# ---------------------------------------------------------------------------------- with Keras


def _backbone() -> Any:
    import keras
    from keras import layers

    inner_in = keras.Input((8, 8, 4))
    inner = keras.Model(inner_in, layers.BatchNormalization(name="n")(inner_in), name="nested")
    x = inputs = keras.Input((8, 8, 3), name="input")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="c0")(x)
    x = layers.BatchNormalization(momentum=0.999, name="n0")(x)
    x = layers.Conv2D(4, 1, name="c1")(x)
    return keras.Model(inputs, inner(x), name="backbone")


@pytest.mark.parametrize("batch_norm", ["frozen", "affine", "train"])
@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 5])
def test_keras_flags_follow_the_plan(start: int, batch_norm: BatchNorm) -> None:
    backbone = _backbone()
    inventory = freezing.inventory(backbone)
    freezing.apply(backbone, start, batch_norm)
    expected = {w.path for w in planned(inventory, start, batch_norm)}
    assert {w.path for w in backbone.trainable_weights} == expected


def test_the_inventory_looks_into_nested_models_and_counts_numbers() -> None:
    inventory = freezing.inventory(_backbone())
    assert [(w.layer, w.batch_norm, w.size) for w in inventory] == [
        (1, False, 3 * 3 * 3 * 4),
        (2, True, 4),
        (2, True, 4),
        (3, False, 4 * 4),
        (3, False, 4),
        (4, True, 4),
        (4, True, 4),
    ]


def test_a_short_memory_shortens_long_ones_only() -> None:
    backbone = _backbone()
    backbone.get_layer("nested").get_layer("n").momentum = 0.5
    freezing.shorten_memory(backbone)
    assert backbone.get_layer("n0").momentum == freezing.SCRATCH_MOMENTUM
    assert backbone.get_layer("nested").get_layer("n").momentum == 0.5
