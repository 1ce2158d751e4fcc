"""A sweep for one dataset as a suite, and the question whose candidates are its trials."""

from pathlib import Path

import pytest

from bench import suite as suites
from bench import sweep
from bench.choices import Limits, Question
from bench.errors import BenchError
from bench.records import Dataset, Freeze
from bench.suite import Suite

FLOWERS = Dataset(name="tf_flowers")


def loaded(tmp_path: Path, **changes: object) -> Suite:
    fields = {"dataset": FLOWERS, "train": 2000, "backbones": ("MobileNetV2",)} | changes
    asked = sweep.Asked(**fields)  # type: ignore[arg-type]
    file = tmp_path / "flowers.toml"
    file.write_text(sweep.suite_text(asked), encoding="utf-8")
    return suites.load(file)


def question(suite: Suite, pictures: sweep.Pictures, **changes: object) -> Question:
    fields: dict[str, object] = {
        "name": "x",
        "limits": Limits(),
        "objective": "accuracy",
        "give_up": 0.01,
        "margin": 0.005,
        "sure": 0.95,
        "budget_seconds": None,
    }
    return sweep.question(suite, pictures, **fields | changes)  # type: ignore[arg-type]


def test_a_sweep_is_a_suite_without_warnings(tmp_path: Path) -> None:
    suite = loaded(tmp_path, backbones=("MobileNetV2", "ResNet50"), seeds=2)
    assert len(suite.trials) == 2 * 3 * 2
    assert suite.warnings == ()
    assert suite.trials[0].data.splits == sweep.SPLITS
    assert {t.freeze.label for t in suite.trials} == {
        "head_only",
        "top_fraction=0.2",
        "top_fraction=0.5",
    }


@pytest.mark.parametrize(
    ("train", "strategies", "epochs"),
    [(50, 3, (40, 15)), (1_000, 3, (20, 8)), (4_999, 3, (10, 4)), (5_000, 4, (10, 4))],
)
def test_pictures_say_how_long_to_train_and_how_much_of_it(
    tmp_path: Path, train: int, strategies: int, epochs: tuple[int, int]
) -> None:
    trials = loaded(tmp_path, train=train).trials
    assert len({t.freeze for t in trials}) == strategies
    two = next(t for t in trials if t.phase1 and t.phase2)
    assert two.phase1
    assert two.phase2
    assert (two.phase1.epochs, two.phase2.epochs) == epochs


def test_files_and_folders_with_odd_names_stay_what_they_are(tmp_path: Path) -> None:
    folder = 'my "pictures"\\of\tpets'
    suite = loaded(
        tmp_path,
        dataset=Dataset(name="pets", folder=folder),
        backbones=("models/Lite0.keras",),
        freezes=(Freeze(strategy="from_layer", amount="block5_conv"),),
    )
    (first, *_) = suite.trials
    assert first.data.dataset.folder == folder
    assert (first.backbone.name, first.backbone.file) == ("Lite0", "models/Lite0.keras")
    assert first.backbone.preprocessing == "raw"
    assert first.freeze.amount == "block5_conv"


def test_a_tfds_name_is_a_dataset_of_the_suites_own(tmp_path: Path) -> None:
    suite = loaded(tmp_path, dataset=Dataset(name="beans", tfds="beans"))
    assert suite.trials[0].data.dataset.tfds == "beans"


def test_a_probe_sees_few_pictures_where_that_saves_something(tmp_path: Path) -> None:
    suite = loaded(tmp_path)
    large = question(suite, sweep.Pictures(train=20_000, val=5_000, classes=5)).probes[0]
    assert (large.data.train_examples, large.data.val_examples) == (500, 500)
    many = question(suite, sweep.Pictures(train=20_000, val=5_000, classes=120)).probes[0]
    assert many.data.train_examples == 1200
    small = question(suite, sweep.Pictures(train=700, val=200, classes=5)).probes[0]
    assert small.data == suite.trials[0].data


def test_there_is_a_probe_for_each_backbone_with_the_trials_own_head(tmp_path: Path) -> None:
    suite = loaded(tmp_path, backbones=("MobileNetV2", "ResNet50"), seeds=5)
    asked = question(suite, sweep.Pictures(700, 200, 5))
    assert [p.backbone.name for p in asked.probes] == ["MobileNetV2", "ResNet50"]
    assert asked.probes[0].seeds == (0, 1, 2)
    heads = [t for t in suite.trials if t.freeze.strategy == "head_only"][:3]
    assert list(asked.probes[0].trials) == heads


def test_several_datasets_are_refused_with_the_way_out() -> None:
    suite = suites.load(Path("suites/small_zoo.toml"))
    with pytest.raises(BenchError, match=r"3 datasets.*--set 'matrix.datasets="):
        question(suite, sweep.Pictures(700, 200, 5))


def test_trials_on_different_pictures_are_refused() -> None:
    changes = ['matrix.datasets=["tf_flowers"]', "matrix.train_examples=[100,200]"]
    suite = suites.load(Path("suites/small_zoo.toml"), changes=changes)
    with pytest.raises(BenchError, match="see different pictures of tf_flowers"):
        question(suite, sweep.Pictures(700, 200, 5))


def test_traps_are_no_candidates(tmp_path: Path) -> None:
    file = tmp_path / "traps.toml"
    file.write_text(
        'description = "x"\n'
        "[phase1]\nepochs = 1\nlearning_rate = 1e-3\n[phase2]\nepochs = 1\nlearning_rate = 1e-4\n"
        '[[matrix]]\nbackbones = ["MobileNetV2"]\ndatasets = ["digits"]\nfreezes = ["all"]\n'
        'heads = ["linear"]\nseeds = [0]\ntraps = ["none", "no_phase1"]\n'
    )
    suite = suites.load(file)
    asked = question(suite, sweep.Pictures(700, 200, 10))
    assert len(suite.trials) == 2
    assert [t.trap for t in asked.trials] == [None]
    only = suite.model_copy(update={"trials": tuple(t for t in suite.trials if t.trap)})
    with pytest.raises(BenchError, match="without a trap"):
        question(only, sweep.Pictures(700, 200, 10))
