"""Claims as data: which trials they are about, and everything that can be wrong with one."""

from pathlib import Path
from typing import Any

import pytest
from conftest import make_spec

from bench.claims import AS_MEANT, Claim, Selection, first_wrong, wrong
from bench.errors import FileError
from bench.records import Freeze, TrialSpec
from bench.suite import load

HEAD_ONLY, BLOCKS = Freeze(strategy="head_only"), Freeze(strategy="top_blocks", amount=2)


def trial(train_examples: int | None = None, **changes: Any) -> TrialSpec:
    spec = make_spec().model_copy(update=changes)
    data = spec.data.model_copy(update={"train_examples": train_examples})
    return spec.model_copy(update={"data": data})


def make_claim(**changes: Any) -> Claim:
    fields: dict[str, Any] = {
        "text": "97%",
        "quantity": "accuracy",
        "low": 0.97,
        "high": 0.97,
        "source": "a tutorial",
    }
    return Claim.model_validate(fields | changes)


# ------------------------------------------------------------------------------------ selections


def test_a_selection_that_says_nothing_admits_everything() -> None:
    assert Selection().admits(trial())
    assert Selection().admits(trial(250, trap="unpinned"))


@pytest.mark.parametrize(
    ("said", "admitted"),
    [
        ({"backbone": "MobileNetV2"}, True),
        ({"backbone": "ResNet50"}, False),
        ({"dataset": "digits"}, True),
        ({"dataset": "tf_flowers"}, False),
        ({"head": "linear"}, True),
        ({"head": "mlp"}, False),
        ({"freeze": BLOCKS}, True),
        ({"freeze": HEAD_ONLY}, False),
        ({"freeze": Freeze(strategy="top_blocks", amount=3)}, False),
        ({"trap": AS_MEANT}, True),
        ({"trap": "unpinned"}, False),
        ({"train_examples": 250}, True),
        ({"train_examples": 1000}, False),
        ({"backbone": "MobileNetV2", "dataset": "tf_flowers"}, False),
    ],
    ids=str,
)
def test_what_a_selection_says_must_be_so(said: dict[str, Any], admitted: bool) -> None:
    assert Selection(**said).admits(trial(250)) is admitted


@pytest.mark.parametrize(
    ("asked", "pictures", "admitted"),
    [
        (4999, None, True),
        (5000, None, False),
        (None, None, True),
        (None, 4999, True),
        (None, 5000, False),
        (4000, 6000, False),
    ],
)
def test_train_pictures_are_those_seen_or_else_those_asked_for(
    asked: int | None, pictures: int | None, admitted: bool
) -> None:
    assert Selection(train_below=5000).admits(trial(asked), pictures) is admitted


def test_a_range_of_train_pictures_has_its_lower_end_in_it() -> None:
    some = Selection(train_from=5000, train_below=20000)
    assert [some.admits(trial(n)) for n in (4999, 5000, 19999, 20000)] == [
        False, True, True, False,
    ]  # fmt: skip


# ------------------------------------------------------------------------------- what is wrong

TRIALS = [
    make_spec(HEAD_ONLY).model_copy(update={"phase2": None}),
    make_spec(BLOCKS),
    make_spec(BLOCKS).model_copy(update={"trap": "unpinned"}),
]
GAIN = {"quantity": "accuracy_gain", "low": 0.01, "high": 0.03, "over": {"freeze": HEAD_ONLY}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"of": {"freeze": BLOCKS, "trap": "unpinned"}},
        GAIN,
        {"quantity": "trainable_parameters", "low": 1, "high": 9, "of": {"phase": 2}},
        {
            "quantity": "throughput_ratio", "low": 10, "high": 10, "margin": 3,
            "of": {"phase": 1}, "over": {"phase": 2, "freeze": BLOCKS},
        },
    ],
    ids=str,
)  # fmt: skip
def test_a_good_claim(changes: dict[str, Any]) -> None:
    assert wrong(make_claim(**changes), TRIALS) is None


@pytest.mark.parametrize(
    ("changes", "key", "value", "words"),
    [
        ({"low": 0.98}, "low", 0.98, "at most high, which is 0.97"),
        ({"low": 97, "high": 98}, "low", 97, "accuracy from 0 to 1"),
        ({"high": 1.5}, "high", 1.5, "accuracy from 0 to 1"),
        (GAIN | {"over": None}, "over", None, "a table, since accuracy_gain is over"),
        ({"over": {"freeze": HEAD_ONLY}}, "over", {"freeze": "head_only"}, "only"),
        ({"of": {"backbone": "MobileNet"}}, "of.backbone", "MobileNet", "did you mean MobileNetV2"),
        ({"of": {"freeze": {"strategy": "all"}}}, "of.freeze", "all", "known: head_only, top_bl"),
        ({"of": {"trap": "no_phase1"}}, "of.trap", "no_phase1", "a trap of this suite's trials"),
        (GAIN | {"over": {"dataset": "digit"}}, "over.dataset", "digit", "did you mean digits"),
        (
            {"of": {"freeze": HEAD_ONLY, "trap": "unpinned"}},
            "of", {"freeze": "head_only", "trap": "unpinned"}, "what fits a trial",
        ),
        ({"quantity": "trainable_parameters"}, "of.phase", None, "1 or 2"),
        (
            {"quantity": "trainable_parameters", "of": {"freeze": HEAD_ONLY, "phase": 2}},
            "of", {"freeze": "head_only", "phase": 2}, "what fits a trial",
        ),
        (
            {"quantity": "throughput_ratio", "of": {"phase": 1}, "over": {}},
            "over.phase", None, "1 or 2",
        ),
        ({"margin": -0.1}, "margin", -0.1, "from 0 to 1"),
        ({"margin": float("inf")}, "margin", float("inf"), "from 0 to 1"),
        (GAIN | {"high": 0.01}, "margin", None, "above 0, since no interval lies in a single"),
        (
            GAIN | {"over": {"freeze": BLOCKS}, "of": {"freeze": BLOCKS}},
            "over", {"freeze": "top_blocks=2"}, "to name something otherwise than of does",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_claim(changes: dict[str, Any], key: str, value: object, words: str) -> None:
    found = wrong(make_claim(**changes), TRIALS)
    assert found is not None
    assert (found.key, found.value) == (key, value)
    assert words in found.expected


def test_a_gain_of_one_dataset_over_another_is_none() -> None:
    trials = [*TRIALS, make_spec(HEAD_ONLY, dataset="tf_flowers")]
    sides = {"of": {"dataset": "digits"}, "over": {"dataset": "tf_flowers"}}
    found = wrong(make_claim(**GAIN | sides), trials)
    assert found is not None
    assert (found.key, found.value) == ("over.dataset", "tf_flowers")
    assert "digits, as in of: a gain is paired by test picture" in found.expected


@pytest.mark.parametrize(
    ("changes", "margin"),
    [
        ({}, 0.02),
        ({"margin": 0.0}, 0.0),
        (GAIN, 0.0),
        (GAIN | {"margin": 0.05}, 0.05),
        ({"quantity": "trainable_parameters"}, 0.0),
    ],
    ids=str,
)
def test_a_claim_without_a_margin_has_that_of_its_quantity(
    changes: dict[str, Any], margin: float
) -> None:
    assert make_claim(**changes).near_enough == margin


@pytest.mark.parametrize(
    ("of", "over", "varied"),
    [
        ({"freeze": BLOCKS}, {"freeze": HEAD_ONLY}, {"freeze"}),
        ({"freeze": BLOCKS, "head": "mlp"}, {"freeze": BLOCKS}, set()),
        ({"train_from": 500}, {"train_below": 500}, {"train_examples"}),
        ({"train_below": 500}, {"train_below": 500, "trap": "none"}, {"trap"}),
        ({"phase": 1}, {"phase": 2, "backbone": "VGG16"}, {"phase", "backbone"}),
    ],
    ids=["freeze", "head", "sizes", "trap", "phase and backbone"],
)
def test_what_the_sides_of_a_claim_name_otherwise(
    of: dict[str, Any], over: dict[str, Any], varied: set[str]
) -> None:
    assert make_claim(**GAIN | {"of": of, "over": over}).varied == varied
    assert make_claim(of=of).varied == set()


def test_the_first_wrong_claim_is_named_by_its_number() -> None:
    claims = [make_claim(), make_claim(low=0.98), make_claim(high=2)]
    found = first_wrong(claims, TRIALS)
    assert found is not None
    assert (found[0], found[1].key) == (1, "low")
    assert first_wrong(claims[:1], TRIALS) is None


# ------------------------------------------------------------------------------- in a suite file

SUITE = """\
description = "a recipe"

[phase1]
epochs = 2
learning_rate = 1e-3

[phase2]
epochs = 2
learning_rate = 1e-5

[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only", { top_blocks = 2 }]

[[claims]]
text = "97% after fine-tuning"
quantity = "accuracy"
of = { freeze = { top_blocks = 2 } }
low = 0.97
high = 0.98
on = "val"
train_pictures = 1000
source = "a tutorial"
"""


def suite_of(folder: Path, text: str, *changes: str) -> Any:
    path = folder / "recipe.toml"
    path.write_text(text)
    return load(path, changes=changes)


def test_a_suite_holds_its_claims_as_records(tmp_path: Path) -> None:
    (claim,) = suite_of(tmp_path, SUITE).claims
    assert type(claim) is Claim, "a record, not the schema's own subclass of it"
    assert type(claim.of) is Selection
    assert claim.of.freeze == BLOCKS
    assert (claim.low, claim.high, claim.on, claim.train_pictures) == (0.97, 0.98, "val", 1000)
    assert claim.weights == "imagenet"
    assert Claim.model_validate_json(claim.model_dump_json()) == claim


def test_claims_are_no_part_of_a_trial(tmp_path: Path) -> None:
    without = suite_of(tmp_path, SUITE[: SUITE.index("[[claims]]")])
    assert without.claims == ()
    assert suite_of(tmp_path, SUITE).trials == without.trials


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("top_blocks = 2 } }\nlow", "top_blocks = 3 } }\nlow", "claims[0].of.freeze", "of this su"),
        ("low = 0.97", "low = 0.99", "claims[0].low", "at most high, which is 0.98"),
        ('"accuracy"', '"acuracy"', "claims[0].quantity", "did you mean accuracy"),
        ("of = { freeze", "of = { frieze", "claims[0].of.frieze", "did you mean freeze?"),
        ("{ top_blocks = 2 } }\nlow", '"hed_only" }\nlow', "claims[0].of.freeze", "head_only"),
        ("of = {", "off = {", "claims[0].off", "did you mean"),
        ('source = "a tutorial"\n', "", "claims[0].source", "a text in quotes"),
        ('on = "val"', 'on = "train"', "claims[0].on", "one of val, test"),
    ],
)
def test_a_wrong_claim_of_a_suite(tmp_path: Path, old: str, new: str, key: str, words: str) -> None:
    assert SUITE.count(old) == 1
    with pytest.raises(FileError) as caught:
        suite_of(tmp_path, SUITE.replace(old, new))
    assert caught.value.key == key
    assert words in caught.value.expected


def test_claims_stay_though_their_trials_are_changed_away(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, SUITE, 'matrix.freezes=["head_only"]')
    assert len(suite.trials) == len(suite.claims) == 1


RECIPES = sorted((Path(__file__).parents[1] / "suites" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_has_claims_with_a_source_and_both_runs_where_batchnorm_matters(
    path: Path,
) -> None:
    suite = load(path)
    assert suite.claims
    assert all(claim.source and claim.text for claim in suite.claims)
    tuned = [t for t in suite.trials if t.freeze.strategy not in ("head_only", "scratch")]
    traps = {t.trap for t in tuned}
    once = path.stem in ("catsdogs-vgg16", "freeze-by-size")
    assert traps == ({None} if once else {None, "unpinned"})
    assert any(t.freeze.strategy == "head_only" for t in suite.trials)
    assert {t.seed for t in suite.trials} == {0, 1, 2}


def test_round_figures_of_recipes_say_what_is_near_enough() -> None:
    own = {(p.stem, c.margin) for p in RECIPES for c in load(p).claims if c.margin is not None}
    assert own == {("dogs-resnet50v2", 0.05), ("freeze-by-size", 3.0)}


def test_the_published_numbers_are_all_there() -> None:
    numbers = {p.stem: {(c.low, c.high) for c in load(p).claims} for p in RECIPES}
    flowers = {(0.85, 0.90), (0.10, 0.30)}
    assert numbers == {
        "catsdogs-2000": {(0.975, 0.975), (0.984, 0.984), (1281, 1281), (1862721, 1862721)},
        "catsdogs-mobilenetv2": {(0.93, 0.96), (0.01, 0.03)},
        "catsdogs-vgg16": {(0.95, 0.95), (0.97, 0.97)},
        "dogs-resnet50v2": {(0.75, 0.85), (0.85, 0.92), (0.20, 0.20)},
        "flowers-efficientnetb0": flowers,
        "flowers-efficientnetlite0": flowers,
        "flowers-efficientnetv2b0": {(0.88, 0.91), (0.94, 0.96)},
        "freeze-by-size": {(-1, 0.01), (0, 1), (0.05, 0.15), (0.01, 0.03), (10, 10)},
    }
