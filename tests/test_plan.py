"""What a run would do, and what stops it before it starts."""

import itertools
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import crafted
import pytest
from conftest import STACK, make_result, make_spec
from leftovers import PICTURES, Earlier

from bench import steps
from bench.errors import BenchError
from bench.records import (
    Augmentation,
    Backbone,
    Data,
    Dataset,
    EarlyStopping,
    Freeze,
    Head,
    Phase,
    TrialSpec,
)
from bench.running import known, plan
from bench.running.plan import Cost, Plan
from bench.running.store import writing
from bench.settings import Settings
from bench.suite import Suite
from bench.zoo import freezing

TRIALS = (
    make_spec(seed=0),
    make_spec(seed=1),
    make_spec(Freeze(strategy="all"), dataset="beans"),
)


def _suite(folder: Path, *trials: TrialSpec) -> Suite:
    return Suite(name="s", description="d", folder=folder, trials=trials)


def _with_backbone(**fields: object) -> TrialSpec:
    backbone = Backbone.model_validate({"name": "ResNet50"} | fields)
    return make_spec().model_copy(update={"backbone": backbone})


def _with_folder(folder: str) -> TrialSpec:
    data = Data(dataset=Dataset(name="holiday", folder=folder))
    return make_spec().model_copy(update={"data": data})


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["MobileNetV2"], [0, 1, 2]),
        (["mobilenetv2", "SEED 1"], [1]),
        (["beans"], [2]),
        (["top_blocks=2"], [0, 1]),
        (["digits", "seed 0"], [0]),
    ],
)
def test_only_keeps_what_holds_every_word(words: list[str], chosen: list[int]) -> None:
    assert plan.select(TRIALS, words) == tuple(TRIALS[i] for i in chosen)


def test_only_takes_the_beginning_of_a_trials_own_key() -> None:
    first, second, other = TRIALS
    assert plan.select(TRIALS, [first.key[:12]]) == (first,)
    assert plan.select(TRIALS, [second.key]) == (second,)
    assert plan.select(TRIALS, [second.key[:8], other.key[:8].upper()]) == (second, other)
    assert plan.select(TRIALS, [first.key, second.key, "seed 1"]) == (second,)
    with pytest.raises(BenchError, match=f"with key {first.key}"):
        plan.select(TRIALS, ["0123456789ab"])


def test_only_that_matches_nothing_shows_what_a_label_looks_like() -> None:
    with pytest.raises(
        BenchError, match=r"--only 'seed 7'.*nothing of this suite.*MobileNetV2 · digits"
    ):
        plan.select(TRIALS, ["beans", "seed 7"])


def test_weights_that_keras_downloads_are_no_problem(tmp_path: Path, settings: Settings) -> None:
    trials = (_with_backbone(), _with_backbone(weights="random"))
    assert plan.problems(_suite(tmp_path, *trials), settings) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": "mine.weights.h5"}, ["mine.weights.h5", "BENCH_WEIGHTS_DIR"]),
        ({"weights": "imagnet"}, ["imagnet", ".h5"]),
        ({"name": "Mine", "file": "mine.keras", "preprocessing": "raw"}, ["mine.keras"]),
        ({"name": "Mine", "file": "mine.keras"}, ["needs preprocessing"]),
        ({"name": "ResNet5O"}, ["unknown backbone", "ResNet50"]),
    ],
)
def test_missing_weights_are_a_problem_that_names_the_way_out(
    tmp_path: Path, settings: Settings, fields: dict[str, object], words: list[str]
) -> None:
    (problem,) = plan.problems(_suite(tmp_path, _with_backbone(**fields)), settings)
    for word in words:
        assert word in problem


def test_a_problem_of_many_trials_is_told_once(tmp_path: Path, settings: Settings) -> None:
    trial = _with_backbone(weights="mine.weights.h5")
    trials = [trial.model_copy(update={"seed": seed}) for seed in range(5)]
    assert len(plan.problems(_suite(tmp_path, *trials), settings)) == 1


def test_every_different_problem_is_told(tmp_path: Path, settings: Settings) -> None:
    trials = (_with_backbone(weights="a.h5"), _with_backbone(weights="b.h5"), _with_folder("c"))
    assert len(plan.problems(_suite(tmp_path, *trials), settings)) == 3


def test_files_are_found_beside_the_suite(tmp_path: Path, settings: Settings) -> None:
    crafted.keras_file(tmp_path / "mine.keras")
    (tmp_path / "pictures").mkdir()
    mine = _with_backbone(name="Mine", file="mine.keras", preprocessing="raw")
    assert plan.problems(_suite(tmp_path, mine, _with_folder("pictures")), settings) == []


def test_a_missing_folder_of_pictures_is_a_problem(tmp_path: Path, settings: Settings) -> None:
    (problem,) = plan.problems(_suite(tmp_path, _with_folder("pictures")), settings)
    assert problem == "dataset 'holiday': folder 'pictures' is not there"


def test_a_file_is_no_folder_of_pictures(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "pictures").write_text("x")
    assert plan.problems(_suite(tmp_path, _with_folder("pictures")), settings)


# --------------------------------------------------------------------------- steps, worked by hand

FLIP = (Augmentation(kind="flip", amount="horizontal"),)
HEAD_ONLY, BLOCKS = Freeze(strategy="head_only"), Freeze(strategy="top_blocks", amount=2)
FRACTION, ALL = Freeze(strategy="top_fraction", amount=0.3), Freeze(strategy="all")
SCRATCH = Freeze(strategy="scratch")
FOUR = (HEAD_ONLY, BLOCKS, FRACTION, ALL)
PHASE1, PHASE2 = Phase(epochs=4, learning_rate=1e-3), Phase(epochs=3, learning_rate=1e-5)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions of the rows and entries of these tests are the installed ones."""
    monkeypatch.setattr(known, "frameworks", lambda *_: STACK.id.removesuffix("cpu_float32"))


def trial(freeze: Freeze, seed: int = 0, **changes: object) -> TrialSpec:
    """Four epochs of phase 1, then three of phase 2, as far as the strategy has them."""
    spec = make_spec(freeze, seed)
    update: dict[str, object] = {"phase1": PHASE1, "phase2": PHASE2}
    if freeze.strategy == "head_only":
        update["phase2"] = None
    if freeze.strategy == "scratch":
        random = Backbone(name="MobileNetV2", weights="random")
        update |= {"phase1": None, "backbone": random, "batch_norm": "train"}
    return spec.model_copy(update=update | changes)


def matrix(freezes: Iterable[Freeze], seeds: int, **changes: object) -> list[TrialSpec]:
    return [trial(f, s, **changes) for f, s in itertools.product(freezes, range(seeds))]


def planned(
    settings: Settings,
    trials: Iterable[TrialSpec],
    literal: bool = False,
    results: Path | None = None,
    gib: float = 8.0,
) -> Plan:
    suite = _suite(settings.cache.parent, *trials).model_copy(update={"activations_gib": gib})
    return plan.of(suite, settings, literal, results)


def distinct(made: Plan) -> dict[str, int]:
    return {kind: len(made.of_kind(kind)) for kind in plan.KINDS}


def counts(images: int, activations: int, heads: int, tuning: int, looks: int) -> dict[str, int]:
    return dict(zip(plan.KINDS, (images, activations, heads, tuning, looks), strict=True))


def test_five_heads_alone(settings: Settings) -> None:
    made = planned(settings, matrix([HEAD_ONLY], seeds=5))
    # One pass of train, val and test each.
    assert distinct(made) == counts(images=1, activations=3, heads=5, tuning=0, looks=5)
    assert made.stacks == 1
    assert plan.total(made.steps) == Cost(forward=1, evaluation=2)
    # Literally val after each of 4 epochs and at the end, test once.
    assert plan.total(made.literally) == Cost(forward=5 * 4, evaluation=5 * 6)
    assert all(len(s.trials) == 5 for s in made.of_kind("activations"))
    assert all(len(s.trials) == 1 for s in made.of_kind("heads"))


def test_four_strategies_and_three_seeds(settings: Settings) -> None:
    made = planned(settings, matrix(FOUR, seeds=3))
    assert distinct(made) == counts(images=1, activations=3, heads=3, tuning=9, looks=12)
    assert made.stacks == 1
    # "all" has no frontier: 3 epochs, val after each and at the end, and test, for 3 seeds.
    whole = Cost(tuning=3 * 3, evaluation=3 * 5)
    assert plan.total(made.steps) == Cost(forward=1, top=6 * 3, evaluation=2) + whole
    literally = Cost(forward=12 * 4, tuning=9 * 3, evaluation=3 * 6 + 9 * 10)
    assert plan.total(made.literally) == literally
    assert all(len(s.trials) == 4 for s in made.of_kind("heads"))
    (test,) = [s for s in made.of_kind("activations") if len(s.trials) == 9]
    assert test.cost == Cost(evaluation=1)  # "all" looks at test through the whole model
    assert {(f.freeze, f.state) for f in made.frontiers} == {
        ("top_blocks=2", "unknown"),
        ("top_fraction=0.3", "unknown"),
    }


@pytest.mark.parametrize(
    ("views", "passes", "heads", "stacks"),
    [
        ("per-epoch", 7, 3, 1),  # phase 1 sees views 0 to 3, phase 2 views 4 to 6
        (2, 2, 3, 1),
        (5, 5, 3, 1),
        ("per-seed", 21, 3, 3),
    ],
)
def test_with_augmentation_there_is_a_pass_for_each_view(
    settings: Settings, views: object, passes: int, heads: int, stacks: int
) -> None:
    made = planned(settings, matrix(FOUR, seeds=3, augmentation=FLIP, views=views))
    assert plan.total(made.steps).forward == passes
    assert distinct(made)["activations"] == passes + 2
    assert (distinct(made)["heads"], made.stacks) == (heads, stacks)
    assert plan.total(made.steps).top == 18
    assert plan.total(made.literally).forward == 48


def test_phase_2_of_everything_asks_for_no_views(settings: Settings) -> None:
    made = planned(settings, [trial(ALL, augmentation=FLIP, views="per-epoch")])
    assert plan.total(made.steps) == Cost(forward=4, tuning=3, evaluation=1 + 5)


def test_from_scratch_shares_pictures_only(settings: Settings) -> None:
    made = planned(settings, matrix([SCRATCH], seeds=2))
    assert distinct(made) == counts(images=1, activations=0, heads=0, tuning=2, looks=2)
    assert set(made.steps) == set(made.literally)
    assert plan.total(made.steps) == Cost(tuning=2 * 3, evaluation=2 * 5)
    assert (made.stacks, made.frontiers) == (0, ())


def test_batch_norm_in_training_mode_has_no_frontier(settings: Settings) -> None:
    made = planned(settings, [trial(BLOCKS, batch_norm="train")])
    assert plan.total(made.steps) == Cost(forward=1, tuning=3, evaluation=1 + 5)
    assert made.frontiers == ()


def test_two_backbones_share_pictures_only(settings: Settings) -> None:
    one = matrix([HEAD_ONLY, BLOCKS], seeds=2)
    other = [t.model_copy(update={"backbone": Backbone(name="ResNet50")}) for t in one]
    made = planned(settings, [*one, *other])
    assert distinct(made) == counts(images=1, activations=6, heads=4, tuning=4, looks=8)
    assert made.stacks == 2
    assert len(made.of_kind("images")[0].trials) == 8


def test_two_datasets_share_nothing(settings: Settings) -> None:
    one = matrix([HEAD_ONLY, BLOCKS], seeds=2)
    other = [t.model_copy(update={"data": make_spec(dataset="beans").data}) for t in one]
    made = planned(settings, [*one, *other])
    assert distinct(made) == counts(images=2, activations=6, heads=4, tuning=4, looks=8)


def test_random_weights_are_shared_within_a_seed(settings: Settings) -> None:
    random = Backbone(name="MobileNetV2", weights="random")
    made = planned(settings, matrix([HEAD_ONLY, BLOCKS], seeds=2, backbone=random))
    assert distinct(made) == counts(images=1, activations=6, heads=2, tuning=2, looks=4)


def test_heads_with_other_pooling_share_the_pass(settings: Settings) -> None:
    heads = [Head(name="a"), Head(name="m", pooling="max")]
    made = planned(settings, [trial(HEAD_ONLY, head=h) for h in heads])
    assert distinct(made) == counts(images=1, activations=3, heads=2, tuning=0, looks=2)
    assert made.stacks == 2


def test_literally_every_trial_is_for_itself(settings: Settings) -> None:
    made = planned(settings, matrix(FOUR, seeds=3), literal=True)
    assert distinct(made) == counts(images=1, activations=0, heads=12, tuning=9, looks=12)
    assert plan.total(made.steps) == plan.total(made.literally)
    assert (made.literal, made.stacks, made.frontiers) == (True, 0, ())


def test_steps_have_keys_of_their_own_and_the_same_ones_tomorrow(settings: Settings) -> None:
    trials = matrix((*FOUR, SCRATCH), seeds=3, augmentation=FLIP, views=2)
    made, again = planned(settings, trials), planned(settings, reversed(trials))
    keys = [s.key for s in made.steps]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {s.key for s in again.steps}
    assert [s.kind for s in made.steps] == sorted(
        (s.kind for s in made.steps), key=plan.KINDS.index
    )


def test_auto_is_resolved_once_the_pictures_are_counted(settings: Settings) -> None:
    auto = Freeze(strategy="auto")
    made = planned(settings, [trial(auto)])
    assert made.unresolved == 1
    assert distinct(made)["fine-tuning"] == 1
    few = make_spec().data.model_copy(update={"train_examples": 100})
    assert freezing.resolve(auto, 100) == HEAD_ONLY
    made = planned(settings, [trial(auto, data=few), trial(HEAD_ONLY, data=few)])
    assert made.unresolved == 0
    assert distinct(made) == counts(images=1, activations=3, heads=1, tuning=0, looks=2)


# ------------------------------------------------------------------------- what is there already


def earlier(settings: Settings, spec: TrialSpec, **fields: object) -> Earlier:
    return Earlier(spec, settings, **({"stack": STACK.id} | fields))  # type: ignore[arg-type]


def cached(made: Plan) -> dict[str, int]:
    return {kind: sum(s.cached for s in made.of_kind(kind)) for kind in plan.KINDS}


def test_nothing_is_cached_on_a_new_machine(settings: Settings) -> None:
    assert not any(cached(planned(settings, matrix(FOUR, seeds=3))).values())


def test_activations_and_heads_of_an_earlier_suite_are_recognised(settings: Settings) -> None:
    trials = matrix([HEAD_ONLY], seeds=3)
    run = earlier(settings, trials[0])
    run.activations("pooled avg", "train")
    run.activations("pooled avg", "val")
    run.head(trials[1])
    made = planned(settings, trials)
    assert cached(made) == counts(images=0, activations=2, heads=1, tuning=0, looks=0)
    assert all(s.pictures == PICTURES["train"] for s in made.of_kind("activations"))


def test_features_are_not_needed_where_every_head_is_there(settings: Settings) -> None:
    trials = matrix([HEAD_ONLY], seeds=2, augmentation=FLIP, views=3)
    run = earlier(settings, trials[0])
    for spec in trials:
        run.head(spec)
    made = planned(settings, trials)
    assert cached(made) == counts(images=0, activations=3, heads=2, tuning=0, looks=0)
    left = [s for s in made.of_kind("activations") if not s.cached]
    assert [s.cost for s in left] == [Cost(evaluation=1)] * 2  # val and test


def test_a_pass_is_left_to_do_until_all_its_cuts_are_there(settings: Settings) -> None:
    spec = trial(BLOCKS)
    run = earlier(settings, spec, frontiers={"top_blocks=2": ["frontier 90", 10]})
    run.activations("pooled avg", "train")
    assert cached(planned(settings, [spec]))["activations"] == 0
    run.activations("frontier 90", "train")
    assert cached(planned(settings, [spec]))["activations"] == 1
    for cut, split in itertools.product(("pooled avg", "frontier 90"), ("val", "test")):
        run.activations(cut, split)
    made = planned(settings, [spec])
    assert cached(made)["activations"] == 3
    assert [f.state for f in made.frontiers] == ["kept"]


def test_each_view_is_recognised(settings: Settings) -> None:
    spec = trial(HEAD_ONLY, augmentation=FLIP, views="per-epoch")
    earlier(settings, spec).activations("pooled avg", "train", steps.views_of(spec, 1, 2))
    assert cached(planned(settings, [spec]))["activations"] == 2
    other = trial(HEAD_ONLY, augmentation=FLIP, views="per-seed")
    assert cached(planned(settings, [other]))["activations"] == 0


def test_measured_trials_need_no_steps(settings: Settings, tmp_path: Path) -> None:
    trials = matrix([HEAD_ONLY], seeds=3)
    with writing(tmp_path / "r") as held:
        held.append(make_result(trials[0]), None)
        held.append(make_result(trials[1], status="failed"), None)
    made = planned(settings, trials, results=tmp_path / "r")
    assert made.measured == {trials[0].key: STACK.id}
    assert made.pending == tuple(trials[1:])
    assert distinct(made) == counts(images=1, activations=3, heads=2, tuning=0, looks=2)
    assert plan.total(made.literally).forward == 8


def test_all_measured(settings: Settings, tmp_path: Path) -> None:
    with writing(tmp_path / "r") as held:
        held.append(make_result(trial(BLOCKS)), None)
    made = planned(settings, [trial(BLOCKS)], results=tmp_path / "r")
    assert (made.pending, made.steps, made.frontiers) == ((), (), ())


# ----------------------------------------------------------------------------------- frontiers

NUMBERS = 2**21
WEIGHT = NUMBERS * 4 / 2**30  # GiB a picture
EVERY = sum(PICTURES.values())


def frontier_run(settings: Settings, **boundaries: object) -> None:
    names = {"blocks": BLOCKS.label, "fraction": FRACTION.label}
    found = {names[k]: v for k, v in boundaries.items()}
    earlier(settings, trial(BLOCKS), frontiers=found).head(trial(BLOCKS, seed=99))


def states(made: Plan) -> dict[str, str]:
    return {f.freeze: f.state for f in made.frontiers}


def test_a_frontier_too_large_is_recomputed(settings: Settings) -> None:
    frontier_run(settings, blocks=["frontier 90", NUMBERS])
    made = planned(settings, [trial(BLOCKS)], gib=WEIGHT * EVERY - 0.001)
    (found,) = made.frontiers
    assert (found.state, found.cut, found.bytes) == ("too large", "frontier 90", NUMBERS * 4 * 150)
    assert plan.total(made.steps) == Cost(forward=1, tuning=3, evaluation=1 + 5)
    made = planned(settings, [trial(BLOCKS)], gib=WEIGHT * EVERY)
    assert states(made) == {"top_blocks=2": "kept"}
    assert plan.total(made.steps) == Cost(forward=1, top=3, evaluation=2)


def test_every_view_takes_room(settings: Settings) -> None:
    frontier_run(settings, blocks=["frontier 90", NUMBERS])
    three_views = trial(BLOCKS, augmentation=FLIP, views="per-epoch")
    (found,) = planned(settings, [three_views]).frontiers
    assert found.bytes == NUMBERS * 4 * (3 * 100 + 50)


@pytest.mark.parametrize(("views", "possible"), [("per-epoch", 6), (2, 2), (None, 1)])
def test_room_is_for_every_view_that_phase_2_may_begin_with(
    settings: Settings, views: object, possible: int
) -> None:
    frontier_run(settings, blocks=["frontier 90", NUMBERS])
    stopping = PHASE1.model_copy(update={"early_stopping": EarlyStopping()})
    augmentation = FLIP if views else ()
    spec = trial(BLOCKS, phase1=stopping, augmentation=augmentation, views=views)
    made = planned(settings, [spec])
    # Phase 1 ends after 1 to 4 epochs, phase 2 sees three more: views 1 to 6.
    assert made.frontiers[0].bytes == NUMBERS * 4 * (possible * 100 + 50)
    assert plan.total(made.steps).top == 3


def features_run(settings: Settings, numbers: int, pooling: str = "avg", **fields: object) -> None:
    run = earlier(settings, trial(BLOCKS), numbers=numbers, **fields)
    run.activations(f"pooled {pooling}", "val")


def test_features_take_room_before_a_larger_frontier(settings: Settings) -> None:
    features_run(settings, 1000, frontiers={BLOCKS.label: ["frontier 90", NUMBERS]})
    features = 1000 * 4 * EVERY / 2**30
    made = planned(settings, [trial(BLOCKS)], gib=WEIGHT * EVERY + features)
    assert states(made) == {"top_blocks=2": "kept"}
    (found,) = made.features
    assert (found.cut, found.fit, found.bytes) == ("pooled avg", True, 1000 * 4 * EVERY)
    made = planned(settings, [trial(BLOCKS)], gib=WEIGHT * EVERY)
    assert states(made) == {"top_blocks=2": "too large"}
    assert made.features[0].fit


def test_features_are_needed_in_every_view_of_phase_1(settings: Settings) -> None:
    features_run(settings, 1000)
    made = planned(settings, [trial(HEAD_ONLY, augmentation=FLIP, views="per-epoch")])
    assert made.features[0].bytes == 1000 * 4 * (4 * 100 + 50)


def test_features_too_large_leave_phase_1_whole(settings: Settings) -> None:
    features_run(settings, 2 * NUMBERS, frontiers={BLOCKS.label: ["frontier 90", NUMBERS]})
    made = planned(settings, matrix([HEAD_ONLY, BLOCKS], seeds=2), gib=1.5 * WEIGHT * EVERY)
    assert (made.features[0].fit, states(made)) == (False, {"top_blocks=2": "kept"})
    assert distinct(made) == counts(images=1, activations=3, heads=4, tuning=2, looks=4)
    # Val after each of 4 epochs and at the end; test whole for a head alone.
    looks = 4 * 5 + 2
    passes = Cost(forward=1, evaluation=2)
    assert plan.total(made.steps) == Cost(forward=4 * 4, top=2 * 3, evaluation=looks) + passes
    assert made.stacks == 0


def test_without_any_room_the_passes_are_the_literal_ones(settings: Settings) -> None:
    features_run(settings, 10, frontiers={BLOCKS.label: ["frontier 90", NUMBERS]})
    made = planned(settings, matrix([HEAD_ONLY, BLOCKS, ALL], seeds=2), gib=0)
    assert distinct(made)["activations"] == 0
    assert plan.total(made.steps) == plan.total(made.literally)


def test_other_features_keep_their_room(settings: Settings) -> None:
    features_run(settings, NUMBERS, pooling="flatten")
    heads = [Head(name="a"), Head(name="f", pooling="flatten")]
    made = planned(settings, [trial(HEAD_ONLY, head=h) for h in heads], gib=0.1)
    assert {f.cut: f.fit for f in made.features} == {"pooled avg": True, "pooled flatten": False}
    assert distinct(made) == counts(images=1, activations=3, heads=2, tuning=0, looks=2)
    assert all(len(s.trials) == 1 for s in made.of_kind("activations"))
    assert made.stacks == 1


def test_the_cap_of_the_cache_is_room_as_well(settings: Settings) -> None:
    frontier_run(settings, blocks=["frontier 90", NUMBERS])
    small = settings.model_copy(update={"cache_bytes": 2**29})
    made = planned(small, [trial(BLOCKS)], gib=8)
    assert (made.activations_gib, states(made)) == (0.5, {"top_blocks=2": "too large"})


def test_the_smallest_go_first_into_the_room(settings: Settings) -> None:
    frontier_run(settings, blocks=["frontier 90", NUMBERS], fraction=["frontier 70", 2 * NUMBERS])
    trials = [trial(FRACTION), trial(BLOCKS)]
    small, both = WEIGHT * EVERY, 3 * WEIGHT * EVERY
    assert set(states(planned(settings, trials, gib=both)).values()) == {"kept"}
    assert states(planned(settings, trials, gib=both - 0.01)) == {
        "top_blocks=2": "kept",
        "top_fraction=0.3": "too large",
    }
    assert set(states(planned(settings, trials, gib=small / 2)).values()) == {"too large"}


def test_strategies_with_one_boundary_take_room_once(settings: Settings) -> None:
    frontier_run(settings, blocks=["frontier 90", NUMBERS], fraction=["frontier 90", NUMBERS])
    made = planned(settings, [trial(FRACTION), trial(BLOCKS)], gib=WEIGHT * EVERY)
    assert set(states(made).values()) == {"kept"}


def test_a_boundary_without_a_frontier(settings: Settings) -> None:
    frontier_run(settings, blocks=None)
    made = planned(settings, [trial(BLOCKS)])
    assert states(made) == {"top_blocks=2": "none"}
    assert plan.total(made.steps).tuning == 3


def test_a_known_frontier_of_uncounted_pictures_has_no_size(settings: Settings) -> None:
    frontier_run(settings, blocks=["frontier 90", NUMBERS])
    made = planned(settings, [trial(BLOCKS, data=make_spec(dataset="beans").data)])
    (found,) = made.frontiers
    assert (found.state, found.cut, found.bytes) == ("unknown", "frontier 90", None)
    assert plan.total(made.steps).top == 3


def test_measured_trials_take_their_room_all_the_same(settings: Settings, tmp_path: Path) -> None:
    # A workbench keeps what any trial of the suite trains from, whether or not it is run again.
    frontier_run(settings, blocks=["frontier 90", NUMBERS], fraction=["frontier 70", 2 * NUMBERS])
    with writing(tmp_path / "r") as held:
        held.append(make_result(trial(BLOCKS)), None)
    trials, room = [trial(FRACTION), trial(BLOCKS)], 2.5 * WEIGHT * EVERY
    made = planned(settings, trials, results=tmp_path / "r", gib=room)
    assert states(made)["top_fraction=0.3"] == "too large"
    assert states(planned(settings, trials[:1], gib=room)) == {"top_fraction=0.3": "kept"}


# -------------------------------------------------------------------------------------- imports


def test_planning_needs_no_framework(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from bench import suite
from bench.reporting import plans
from bench.running import plan
from bench.settings import Settings
loaded = suite.load(Path("suites/matrix.toml"))
made = plan.of(loaded, Settings(cache=Path({str(tmp_path)!r})), False, Path({str(tmp_path)!r}))
assert plans.listing(made)
heavy = {{"keras", "tensorflow", "jax", "torch", "tensorflow_datasets", "sklearn"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
