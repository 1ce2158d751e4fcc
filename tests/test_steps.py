"""What is equal in two trials' work, and so is done once."""

import subprocess
import sys

import pytest
from conftest import make_spec

from bench import steps
from bench.records import (
    Augmentation,
    Backbone,
    EarlyStopping,
    Execution,
    Freeze,
    Head,
    HeadLayer,
    Phase,
    ReduceLearningRate,
    TrialSpec,
)
from bench.steps import Need, View

FLIP = (Augmentation(kind="flip", amount="horizontal"),)
HEAD_ONLY = Freeze(strategy="head_only")


def made(**changes: object) -> TrialSpec:
    """Two epochs of phase 1, then one of phase 2 with two blocks."""
    return make_spec().model_copy(update=changes)


def viewed(views: object, **changes: object) -> TrialSpec:
    return made(augmentation=FLIP, views=views, **changes)


def numbers(views: list[View | None]) -> list[int | None]:
    return [v.number if v else None for v in views]


# --------------------------------------------------------------------------------------- views


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ("per-epoch", [0, 1, 2, 3, 4]),
        ("per-seed", [0, 1, 2, 3, 4]),
        (1, [0, 0, 0, 0, 0]),
        (2, [0, 1, 0, 1, 0]),
        (3, [0, 1, 2, 0, 1]),
    ],
)
def test_which_view_an_epoch_sees(views: object, expected: list[int]) -> None:
    spec = viewed(views)
    assert numbers([steps.view_of(spec, epoch) for epoch in range(5)]) == expected


@pytest.mark.parametrize("views", ["per-epoch", "per-seed", 2])
def test_without_augmentation_there_is_no_view(views: object) -> None:
    spec = made(views=views)
    assert steps.view_of(spec, 3) is None
    assert steps.views_of(spec, 0, 7) == [None]


@pytest.mark.parametrize(
    ("views", "first", "epochs", "expected"),
    [
        ("per-epoch", 0, 3, [0, 1, 2]),
        ("per-epoch", 3, 2, [3, 4]),
        (2, 0, 5, [0, 1]),
        (2, 3, 1, [1]),
        (3, 2, 3, [2, 0, 1]),  # in the order in which the phase meets them
        (10, 0, 3, [0, 1, 2]),
    ],
)
def test_the_distinct_views_of_a_phase(
    views: object, first: int, epochs: int, expected: list[int]
) -> None:
    assert numbers(steps.views_of(viewed(views), first, epochs)) == expected


@pytest.mark.parametrize(("views", "shared"), [("per-epoch", True), (2, True), ("per-seed", False)])
def test_seeds_share_views_unless_each_has_its_own(views: object, shared: bool) -> None:
    one, two = (steps.view_of(viewed(views, seed=seed), 0) for seed in (0, 1))
    assert (one == two) is shared


def test_another_augmentation_is_another_view() -> None:
    rotation = (Augmentation(kind="rotation", amount=0.1),)
    one = steps.view_of(viewed(2), 0)
    two = steps.view_of(viewed(2, **{"freeze": HEAD_ONLY}), 0)
    other = steps.view_of(made(augmentation=rotation, views=2), 0)
    assert one == two
    assert one != other


# -------------------------------------------------------------------------------------- grounds


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"freeze": HEAD_ONLY, "phase2": None},
        {"head": Head(name="other", pooling="max")},
        {"phase1": Phase(epochs=9, learning_rate=1.0)},
        {"batch_norm": "affine"},
        {"augmentation": FLIP, "views": 2},
    ],
    ids=str,
)
def test_trials_on_one_ground(changes: dict[str, object]) -> None:
    assert steps.ground_of(made(**changes)) == steps.ground_of(made())


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": Backbone(name="ResNet50")},
        {"backbone": Backbone(name="MobileNetV2", weights="mine.weights.h5")},
        {"data": make_spec(dataset="beans").data},
        {"data": make_spec().data.model_copy(update={"image_size": 64})},
        {"data": make_spec().data.model_copy(update={"train_examples": 100})},
        {"execution": Execution(precision="mixed_float16")},
    ],
    ids=str,
)
def test_trials_on_different_grounds(changes: dict[str, object]) -> None:
    assert steps.ground_of(made(**changes)) != steps.ground_of(made())


def test_random_weights_are_a_ground_for_each_seed() -> None:
    random = Backbone(name="MobileNetV2", weights="random")
    grounds = [steps.ground_of(made(backbone=random, seed=seed)) for seed in (0, 1)]
    assert [g.seed for g in grounds] == [0, 1]
    assert steps.ground_of(made(seed=1)).seed is None


# ------------------------------------------------------------------------------- what is shared


def test_phase_1_is_shared_wherever_there_is_one() -> None:
    assert steps.shares_phase1(made())
    assert steps.shares_phase1(made(freeze=Freeze(strategy="all")))
    assert not steps.shares_phase1(made(freeze=Freeze(strategy="scratch"), phase1=None))


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({}, True),
        ({"freeze": Freeze(strategy="last_layers", amount=30)}, True),
        ({"freeze": Freeze(strategy="top_fraction", amount=0.3)}, True),
        ({"batch_norm": "affine"}, True),
        ({"batch_norm": "train"}, False),  # the frozen part is in training mode too
        ({"freeze": Freeze(strategy="all")}, False),
        ({"freeze": Freeze(strategy="scratch"), "phase1": None, "batch_norm": "train"}, False),
        ({"freeze": HEAD_ONLY, "phase2": None}, False),
    ],
    ids=str,
)
def test_phase_2_is_shared_above_a_constant_part(changes: dict[str, object], shared: bool) -> None:
    assert steps.shares_phase2(made(**changes)) is shared


# ---------------------------------------------------------------------------------------- needs


def test_a_head_alone_needs_features_of_every_split() -> None:
    assert steps.needs(made(freeze=HEAD_ONLY, phase2=None), frontier=False) == [
        Need("train", None, "pooled"),
        Need("val", None, "pooled"),
        Need("test", None, "pooled"),
    ]


def test_a_trial_from_the_frontier_is_tested_there() -> None:
    assert steps.needs(made(), frontier=True) == [
        Need("train", None, "pooled"),
        Need("val", None, "pooled"),
        Need("train", None, "frontier"),
        Need("val", None, "frontier"),
        Need("test", None, "frontier"),
    ]


def test_a_trial_without_a_frontier_is_tested_whole() -> None:
    found = steps.needs(made(freeze=Freeze(strategy="all")), frontier=False)
    assert found == [Need("train", None, "pooled"), Need("val", None, "pooled")]


def test_phase_2_needs_the_views_after_phase_1s() -> None:
    found = steps.needs(viewed("per-epoch"), frontier=True)
    trains = [(n.view.number if n.view else None, n.cut) for n in found if n.split == "train"]
    assert trains == [(0, "pooled"), (1, "pooled"), (2, "frontier")]
    assert all(n.view is None for n in found if n.split != "train")


@pytest.mark.parametrize(
    ("views", "stops", "expected"),
    [
        ("per-epoch", False, [4, 5, 6]),
        ("per-epoch", True, [1, 2, 3, 4, 5, 6]),
        ("per-seed", True, [1, 2, 3, 4, 5, 6]),
        (3, False, [1, 2, 0]),
        (2, True, [1, 0]),
    ],
)
def test_views_that_phase_2_may_see(views: object, stops: bool, expected: list[int]) -> None:
    stopping = EarlyStopping() if stops else None
    phase1 = Phase(epochs=4, learning_rate=1e-3, early_stopping=stopping)
    spec = viewed(views, phase1=phase1, phase2=Phase(epochs=3, learning_rate=1e-5))
    assert numbers(steps.possible_views2(spec)) == expected


def test_without_augmentation_phase_2_sees_the_pictures_as_they_are() -> None:
    stopping = Phase(epochs=4, learning_rate=1e-3, early_stopping=EarlyStopping())
    assert steps.possible_views2(made(phase1=stopping)) == [None]


@pytest.mark.parametrize("changes", [{"phase1": None}, {"phase2": None}], ids=str)
def test_without_two_phases_there_are_no_views_of_phase_2(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no two phases"):
        steps.possible_views2(made(**changes))


def test_from_scratch_needs_nothing_of_others() -> None:
    assert steps.needs(made(freeze=Freeze(strategy="scratch"), phase1=None), frontier=False) == []


# ----------------------------------------------------------------------------------------- room


def test_what_a_cut_takes() -> None:
    # Train in both views, val and test once; four bytes a number.
    assert steps.cut_bytes(numbers=10, views=2, train=100, others=50) == 10 * 4 * 250


@pytest.mark.parametrize(
    ("room", "names"),
    [
        (0, set()),
        (9, set()),
        (10, {"b"}),
        (39, {"b"}),
        (40, {"b", "a"}),
        (70, {"b", "a", "c"}),
        (1000, {"b", "a", "c", "d"}),
    ],
)
def test_the_smallest_cuts_are_kept(room: float, names: set[str]) -> None:
    assert steps.kept({"a": 30, "b": 10, "c": 30, "d": 500}, room) == names


# ---------------------------------------------------------------------------------------- heads


@pytest.mark.parametrize(
    "changes",
    [
        {"freeze": HEAD_ONLY, "phase2": None},
        {"freeze": Freeze(strategy="all"), "batch_norm": "train"},
        {"phase2": Phase(epochs=30, learning_rate=1e-4)},
        {"head": Head(name="the same under another name")},
        {"views": 3},  # says nothing without augmentation
    ],
    ids=str,
)
def test_what_a_head_does_not_depend_on(changes: dict[str, object]) -> None:
    assert steps.head_step(made(**changes)) == steps.head_step(made())


DIFFERENT_HEADS = [
    {"head": Head(name="linear", pooling="max")},
    {"head": Head(name="linear", layers=(HeadLayer(dense=8),))},
    {"head": Head(name="linear", output="probabilities")},
    {"head": Head(name="linear", loss="one_hot")},
    {"phase1": Phase(epochs=3, learning_rate=1e-3)},
    {"phase1": Phase(epochs=2, learning_rate=1e-2)},
    {"phase1": Phase(epochs=2, learning_rate=1e-3, optimizer="sgd")},
    {"phase1": Phase(epochs=2, learning_rate=1e-3, early_stopping=EarlyStopping())},
    {"execution": Execution(batch_size=8)},
    {"augmentation": FLIP, "views": 2},
]


@pytest.mark.parametrize("changes", DIFFERENT_HEADS, ids=str)
def test_what_makes_a_head_another_one(changes: dict[str, object]) -> None:
    one, other = steps.head_step(made()), steps.head_step(made(**changes))
    assert one != other
    assert one.stack != other.stack


def test_views_make_a_head_another_one() -> None:
    heads = {steps.head_step(viewed(views)) for views in (1, 2, "per-epoch", "per-seed")}
    assert len(heads) == 4


def test_seeds_and_dropout_rates_train_as_one_stack() -> None:
    heads = [
        Head(name="d", layers=(HeadLayer(dropout=rate), HeadLayer(dense=4))) for rate in (0.1, 0.4)
    ]
    members = [steps.head_step(made(head=h, seed=s)) for h in heads for s in (0, 1)]
    assert len(set(members)) == 4
    assert len({m.stack for m in members}) == 1


def test_with_dropout_or_without_is_another_stack() -> None:
    plain = steps.head_step(made(head=Head(name="d")))
    dropped = steps.head_step(made(head=Head(name="d", layers=(HeadLayer(dropout=0.2),))))
    assert plain.stack != dropped.stack


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation": FLIP, "views": "per-seed"},
        {"phase1": Phase(epochs=2, learning_rate=1, reduce_learning_rate=ReduceLearningRate())},
    ],
    ids=["views per seed", "a rate that follows val loss"],
)
def test_heads_that_train_alone(changes: dict[str, object]) -> None:
    stacks = {steps.head_step(made(seed=seed, **changes)).stack for seed in range(3)}
    assert len(stacks) == 3


def test_dropout_rates_matter_to_a_head_that_trains_alone() -> None:
    phase = Phase(epochs=2, learning_rate=1, reduce_learning_rate=ReduceLearningRate())
    heads = [Head(name="d", layers=(HeadLayer(dropout=rate),)) for rate in (0.1, 0.4)]
    stacks = {steps.head_step(made(head=h, phase1=phase)).stack for h in heads}
    assert len(stacks) == 2


def test_a_trial_without_phase_1_has_no_head_step() -> None:
    with pytest.raises(ValueError, match=r"scratch.*no phase 1"):
        steps.head_step(made(freeze=Freeze(strategy="scratch"), phase1=None))


# ---------------------------------------------------------------------------------- as contents


def test_what_a_manifest_holds_comes_back_equal() -> None:
    ground = steps.ground_of(viewed(2, head=Head(name="d", layers=(HeadLayer(dropout=0.1),))))
    assert steps.Ground.model_validate(ground.model_dump(mode="json")) == ground
    assert steps.Ground.model_validate(ground.model_dump(exclude_defaults=True)) == ground
    step = steps.head_step(viewed("per-seed", seed=4))
    assert steps.HeadStep.model_validate_json(step.model_dump_json()) == step
    view = steps.view_of(viewed("per-seed", seed=4), 1)
    assert view == View(augmentation=FLIP, number=1, seed=4)
    assert View.model_validate_json(view.model_dump_json()) == view


def test_it_needs_no_framework() -> None:
    code = "import sys, bench.steps; assert not {'keras', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
