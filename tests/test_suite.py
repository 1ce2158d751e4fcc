"""Suite files: the shipped ones, what a good one means, and everything that can be wrong."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import FileError
from bench.records import Freeze, Head, TrialSpec
from bench.suite import Suite, load

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "suites").rglob("*.toml"))
IDS = [path.stem for path in SHIPPED]

GOOD = """\
description = "a small suite"

[data]
image_size = 96
augmentation = [{ flip = "horizontal" }]

[phase1]
epochs = 2
learning_rate = 1e-3

[phase2]
epochs = 3
learning_rate = 1e-5

[execution]
batch_size = 16

[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only", { top_blocks = 2 }, "scratch"]
seeds = [0, 1]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(old: str, new: str) -> str:
    """The good suite with one thing different."""
    assert GOOD.count(old) == 1, f"{old!r} is there {GOOD.count(old)} times"
    return GOOD.replace(old, new)


def loaded(folder: Path, text: str = GOOD, *, smoke: bool = False) -> Suite:
    return load(write(folder, text), smoke=smoke)


# ------------------------------------------------------------------------------ the shipped suites


def test_there_are_shipped_suites() -> None:
    assert {"quickstart", "matrix"} <= set(IDS)


@pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])
@pytest.mark.parametrize("path", SHIPPED, ids=IDS)
def test_every_shipped_suite_loads(path: Path, smoke: bool) -> None:
    suite = load(path, smoke=smoke)
    assert suite.trials
    assert suite.name == path.stem + ("-smoke" if smoke else "")
    assert suite.folder == path.parent
    assert len({t.key for t in suite.trials}) == len(suite.trials)
    assert "\n" not in suite.description


@pytest.mark.parametrize("path", SHIPPED, ids=IDS)
def test_every_shipped_suite_says_what_to_expect_what_it_costs_and_how_to_run_it(
    path: Path,
) -> None:
    text = path.read_text(encoding="utf-8")
    head = re.match(r"(?:#.*\n)+", text)
    assert head, "a head comment"
    words = head[0].lower()
    assert "expect" in words
    assert re.search(r"\b(costs?|minutes?|hours?|days?)\b", words)
    assert f"bench run {path.relative_to(ROOT).as_posix()}" in head[0]


@pytest.mark.parametrize("path", SHIPPED, ids=IDS)
def test_a_smoke_run_is_smaller(path: Path) -> None:
    full, smoke = load(path), load(path, smoke=True)
    assert len(smoke.trials) <= len(full.trials)
    assert max(map(_epochs, smoke.trials)) <= 2
    assert all(t.data.train_examples or t.data.train_per_class for t in smoke.trials)


def _epochs(spec: TrialSpec) -> int:
    return sum(phase.epochs for phase in (spec.phase1, spec.phase2) if phase)


def test_the_matrix_is_4_x_3_x_5_x_3() -> None:
    trials = load(SHIPPED[IDS.index("matrix")]).trials
    assert len(trials) == 180
    axes: list[Callable[[TrialSpec], Any]] = [
        lambda t: t.backbone.name,
        lambda t: t.data.dataset.name,
        lambda t: t.freeze,
        lambda t: t.seed,
    ]
    assert [len({axis(t) for t in trials}) for axis in axes] == [4, 3, 5, 3]


# ----------------------------------------------------------------------------- what a suite means


def test_trials_run_in_the_order_written_seeds_innermost(tmp_path: Path) -> None:
    text = changed('["MobileNetV2"]', '["ResNet50", "MobileNetV2"]')
    labels = [(t.backbone.name, t.freeze.label, t.seed) for t in loaded(tmp_path, text).trials]
    freezes = ("head_only", "top_blocks=2", "scratch")
    assert labels == [
        (backbone, freeze, seed)
        for backbone in ("ResNet50", "MobileNetV2")
        for freeze in freezes
        for seed in (0, 1)
    ]


def test_a_spec_holds_what_the_suite_says(tmp_path: Path) -> None:
    spec = next(t for t in loaded(tmp_path).trials if t.freeze.strategy == "top_blocks")
    assert spec.freeze == Freeze(strategy="top_blocks", amount=2)
    assert spec.phase1 is not None
    assert spec.phase2 is not None
    assert (spec.phase1.epochs, spec.phase1.learning_rate) == (2, 1e-3)
    assert (spec.phase2.epochs, spec.phase2.learning_rate) == (3, 1e-5)
    assert spec.data.image_size == 96
    assert [(a.kind, a.amount) for a in spec.augmentation] == [("flip", "horizontal")]
    assert spec.execution.batch_size == 16


def test_head_only_has_no_phase2(tmp_path: Path) -> None:
    text = changed("epochs = 3", 'epochs = 3\nbatch_norm = "affine"')
    head_only = [t for t in loaded(tmp_path, text).trials if t.freeze.strategy == "head_only"]
    assert len(head_only) == 2
    assert all(t.phase2 is None and t.batch_norm == "frozen" for t in head_only)


def test_head_only_keeps_its_key_whatever_phase2_says(tmp_path: Path) -> None:
    before = loaded(tmp_path).trials[0]
    after = loaded(tmp_path, changed("learning_rate = 1e-5", "learning_rate = 1e-4")).trials[0]
    assert before.freeze.strategy == "head_only"
    assert before.key == after.key


def test_scratch_is_one_long_phase_from_random_weights(tmp_path: Path) -> None:
    text = changed("epochs = 2", 'epochs = 2\noptimizer = "sgd"')
    scratch = [t for t in loaded(tmp_path, text).trials if t.freeze.strategy == "scratch"]
    assert len(scratch) == 2
    for trial in scratch:
        assert trial.backbone.weights == "random"
        assert trial.phase1 is None
        assert trial.phase2 is not None
        assert trial.phase2.epochs == 2 + 3
        assert trial.phase2.learning_rate == 1e-3
        assert trial.phase2.optimizer == "sgd", "a rate belongs to its optimizer"
        assert trial.phase2.early_stopping is None
        assert trial.batch_norm == "train"


def test_early_stopping_never_ends_scratch_early_but_keeps_its_best_weights(
    tmp_path: Path,
) -> None:
    text = changed("[execution]", "early_stopping = { patience = 1 }\n\n[execution]")
    for trial in loaded(tmp_path, text).trials:
        if trial.freeze.strategy == "scratch":
            assert trial.phase2.early_stopping.patience == trial.phase2.epochs


def test_defaults_are_the_linear_head_and_seed_0(tmp_path: Path) -> None:
    suite = loaded(tmp_path, changed("seeds = [0, 1]\n", ""))
    assert {(t.head.name, t.seed, t.backbone.weights) for t in suite.trials[:2]} == {
        ("linear", 0, "imagenet")
    }


def test_one_matrix_table_does_for_a_list_of_one(tmp_path: Path) -> None:
    single = loaded(tmp_path, changed("[[matrix]]", "[matrix]"))
    assert single.trials == loaded(tmp_path).trials


def test_trials_of_two_matrices_are_distinct(tmp_path: Path) -> None:
    matrix = GOOD[GOOD.index("[[matrix]]") :]
    twice = loaded(tmp_path, GOOD + matrix.replace("[0, 1]", "[1, 2]"))
    assert len(twice.trials) == 3 * 3
    assert [t.seed for t in twice.trials if t.freeze.strategy == "head_only"] == [0, 1, 2]


def test_a_suite_brings_backbones_datasets_and_heads_of_its_own(tmp_path: Path) -> None:
    text = changed('"MobileNetV2"', '"Mine"').replace('"digits"', '"beans", "holiday"')
    text += """\
heads = ["own", "mlp"]

[[backbones]]
name = "Mine"
file = "mine.keras"
preprocessing = "zero_to_one"
blocks = 'block(\\d+)_'

[[datasets]]
name = "beans"
tfds = "beans"

[[datasets]]
name = "holiday"
folder = "pictures"

[[heads]]
name = "own"
pooling = "flatten"
layers = [{ dense = 256 }, { dropout = 0.5 }]
output = "probabilities"
loss = "one_hot"
"""
    trials = loaded(tmp_path, text).trials
    assert len(trials) == 2 * 2 * 3 * 2
    first = trials[0]
    assert first.backbone.file == "mine.keras"
    assert first.backbone.preprocessing == "zero_to_one"
    assert first.data.dataset.tfds == "beans"
    assert trials[-1].data.dataset.folder == "pictures"
    assert first.head.layers[0].dense == 256
    assert type(first.head) is Head, "a record, not the schema's own subclass of it"
    again = TrialSpec.model_validate_json(first.model_dump_json())
    assert again == first
    assert again.key == first.key


def test_keys_do_not_depend_on_where_the_suite_lies(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert [t.key for t in loaded(here).trials] == [t.key for t in loaded(there).trials]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("learning_rate = 1e-5", "learning_rate = 5e-4", "divided by 2"),
        ("learning_rate = 1e-5", "learning_rate = 1e-6", "divided by 1e+03"),
        ("batch_size = 16", "batch_size = 4", "batch size 4"),
    ],
)
def test_what_is_unusual_is_a_warning(tmp_path: Path, old: str, new: str, word: str) -> None:
    assert loaded(tmp_path).warnings == ()
    (warning,) = loaded(tmp_path, changed(old, new)).warnings
    assert word in warning


# ------------------------------------------------------------------------------------------ smoke

SMOKE = """
[smoke]
data = { image_size = 32, train_examples = 64 }
phase1 = { epochs = 1 }
matrix = { seeds = [7] }
"""


def test_smoke_overrides_merge_into_every_matrix(tmp_path: Path) -> None:
    second = GOOD[GOOD.index("[[matrix]]") :].replace("MobileNetV2", "ResNet50")
    suite = loaded(tmp_path, GOOD + second + SMOKE, smoke=True)
    assert suite.name == "my-smoke"
    assert {t.seed for t in suite.trials} == {7}
    assert {t.backbone.name for t in suite.trials} == {"MobileNetV2", "ResNet50"}
    assert {(t.data.image_size, t.data.train_examples) for t in suite.trials} == {(32, 64)}
    assert suite.trials[0].augmentation, "what smoke leaves out stays"
    assert suite.trials[0].phase1 is not None
    assert (suite.trials[0].phase1.epochs, suite.trials[0].phase1.learning_rate) == (1, 1e-3)


def test_smoke_overrides_merge_into_a_single_matrix_table(tmp_path: Path) -> None:
    text = changed("[[matrix]]", "[matrix]") + SMOKE
    assert {t.seed for t in loaded(tmp_path, text, smoke=True).trials} == {7}


def test_without_smoke_the_overrides_do_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, GOOD + SMOKE).trials == loaded(tmp_path).trials


def test_smoke_may_replace_the_matrices(tmp_path: Path) -> None:
    own = """
[[smoke.matrix]]
backbones = ["ResNet50"]
datasets = ["digits"]
freezes = ["all"]
"""
    (trial,) = loaded(tmp_path, GOOD + own, smoke=True).trials
    assert (trial.backbone.name, trial.freeze.label) == ("ResNet50", "all")


# --------------------------------------------------------------------------- what can be wrong

OWN_BACKBONE = """
[[backbones]]
name = "Mine"
file = "mine.keras"
preprocessing = "raw"
"""
MINE = changed('["MobileNetV2"]', '["Mine"]')

Wrong = tuple[str, str, object, tuple[str, ...]]
"""Text of the file, key, value, and words of what would be valid."""

WRONG: dict[str, Wrong] = {
    # keys
    "unknown top-level key": (GOOD + "[phase3]\n", "phase3", {}, ("phase1", "phase2")),
    "unknown nested key": (
        changed("image_size", "imagesize"), "data.imagesize", 96, ("did you mean image_size?",)
    ),
    "misspelt key of a needed value": (
        changed("learning_rate = 1e-3", "learning_rte = 1e-3"),
        "phase1.learning_rte", 1e-3, ("did you mean learning_rate or",),
    ),
    "unknown key of a matrix": (
        GOOD + 'freezs = ["all"]\n', "matrix[0].freezs", ["all"], ("did you mean freezes?",)
    ),
    "unknown key deep inside": (
        changed("[execution]", "early_stopping = { patence = 3 }\n\n[execution]"),
        "phase2.early_stopping.patence", 3, ("did you mean patience?",),
    ),
    "missing phase1": (
        changed("[phase1]\nepochs = 2\nlearning_rate = 1e-3\n", ""),
        "phase1", None, ("[phase1] with epochs",),
    ),
    "missing matrix": (
        GOOD[: GOOD.index("[[matrix]]")], "matrix", None, ("[[matrix]] with backbones",)
    ),
    "missing description": (
        changed('description = "a small suite"', ""), "description", None, ("a text in quotes",)
    ),
    "missing file of a backbone": (
        MINE + OWN_BACKBONE.replace('file = "mine.keras"\n', ""),
        "backbones[0].file", None, ("a text in quotes",),
    ),
    # lists
    "empty list": (changed('["digits"]', "[]"), "matrix[0].datasets", [], ("at least one",)),
    "no matrix in the list": (
        "matrix = []\n" + GOOD[: GOOD.index("[[matrix]]")], "matrix", [], ("at least one",)
    ),
    "number instead of a list": (changed("[0, 1]", "3"), "matrix[0].seeds", 3, ("a list",)),
    "zero instead of a list": (changed("[0, 1]", "0"), "matrix[0].seeds", 0, ("a list",)),
    "text instead of a list": (
        changed('["MobileNetV2"]', '"MobileNetV2"'),
        "matrix[0].backbones", "MobileNetV2", ("a list",),
    ),
    "table instead of a list": (
        changed('["digits"]', "{ name = 1 }"), "matrix[0].datasets", {"name": 1}, ("a list",)
    ),
    "duplicate seed": (changed("[0, 1]", "[1, 1]"), "matrix[0].seeds", [1, 1], ("1 is there",)),
    "duplicate freeze": (
        changed('"scratch"', "{ top_blocks = 2 }"),
        "matrix[0].freezes",
        ["head_only", {"top_blocks": 2}, {"top_blocks": 2}],
        ("each once", "top_blocks"),
    ),
    # seeds
    "negative seed": (
        changed("[0, 1]", "[0, -1]"), "matrix[0].seeds[1]", -1, ("greater than or equal to 0",)
    ),
    "seed beyond 32 bits": (
        changed("[0, 1]", "[4294967296]"), "matrix[0].seeds[0]", 2**32, ("4294967295",)
    ),
    "seed with a fraction": (
        changed("[0, 1]", "[0.5]"), "matrix[0].seeds[0]", 0.5, ("a whole number",)
    ),
    "seed as true": (changed("[0, 1]", "[true]"), "matrix[0].seeds[0]", True, ("a whole number",)),
    # names
    "misspelt backbone": (
        changed('"MobileNetV2"', '"MobilNetV2"'),
        "matrix[0].backbones[0]", "MobilNetV2", ("a backbone that exists", "MobileNetV2"),
    ),
    "backbone in another case": (
        changed('"MobileNetV2"', '"mobilenetv2"'),
        "matrix[0].backbones[0]", "mobilenetv2", ("did you mean MobileNetV2",),
    ),
    "misspelt dataset": (
        changed('"digits"', '"digts"'),
        "matrix[0].datasets[0]", "digts", ("a dataset that exists", "did you mean digits?"),
    ),
    "unknown dataset": (
        changed('"digits"', '"qqqq"'),
        "matrix[0].datasets[0]", "qqqq", ("known:", "cats_vs_dogs", "tf_flowers"),
    ),
    "misspelt head": (
        GOOD + 'heads = ["lineer"]\n', "matrix[0].heads[0]", "lineer", ("did you mean linear?",)
    ),
    "misspelt freeze": (
        changed('"head_only"', '"head_onl"'),
        "matrix[0].freezes[0]", "head_onl", ("did you mean head_only?",),
    ),
    "misspelt optimizer": (
        changed("epochs = 2", 'epochs = 2\noptimizer = "adm"'),
        "phase1.optimizer", "adm", ("did you mean adam", "adamw"),
    ),
    "misspelt augmentation": (
        changed('flip = "horizontal"', "rotaton = 0.1"),
        "data.augmentation[0]", {"rotaton": 0.1}, ("did you mean rotation?",),
    ),
    "misspelt precision": (
        changed("batch_size = 16", 'precision = "float23"'),
        "execution.precision", "float23", ("one of auto, float32", "did you mean float32?"),
    ),
    "misspelt batch_norm": (
        changed("epochs = 3", 'epochs = 3\nbatch_norm = "forzen"'),
        "phase2.batch_norm", "forzen", ("did you mean frozen?",),
    ),
    "batch_norm of phase 1": (
        changed("epochs = 2", 'epochs = 2\nbatch_norm = "frozen"'),
        "phase1.batch_norm", "frozen", ("a key that exists",),
    ),
    "misspelt weights": (
        GOOD + 'weights = "imagnet"\n',
        "matrix[0].weights", "imagnet", ("imagenet, random", ".h5"),
    ),
    "misspelt activation": (
        GOOD + '[[heads]]\nname = "own"\nlayers = [{ dense = 8, activation = "rleu" }]\n',
        "heads[0].layers[0].activation", "rleu", ("did you mean relu",),
    ),
    "misspelt preprocessing": (
        MINE + OWN_BACKBONE.replace('"raw"', '"cafe"'),
        "backbones[0].preprocessing", "cafe", ("did you mean caffe?",),
    ),
    # amounts
    "freeze amount of the wrong type": (
        changed("top_blocks = 2", 'top_blocks = "two"'),
        "matrix[0].freezes[1]", {"top_blocks": "two"}, ("blocks, 1 or more",),
    ),
    "freeze amount as true": (
        changed("top_blocks = 2", "last_layers = true"),
        "matrix[0].freezes[1]", {"last_layers": True}, ("layers, 1 or more",),
    ),
    "freeze amount out of range": (
        changed("top_blocks = 2", "top_fraction = 1.5"),
        "matrix[0].freezes[1]", {"top_fraction": 1.5}, ("a fraction above 0 up to 1",),
    ),
    "freeze amount missing": (
        changed("{ top_blocks = 2 }", '"top_blocks"'),
        "matrix[0].freezes[1]", "top_blocks", ("blocks, 1 or more",),
    ),
    "freeze amount superfluous": (
        changed('"head_only"', "{ head_only = 1 }"),
        "matrix[0].freezes[0]", {"head_only": 1}, ("head_only to have as its amount: none",),
    ),
    "freeze table of two keys": (
        changed("{ top_blocks = 2 }", "{ top_blocks = 2, last_layers = 3 }"),
        "matrix[0].freezes[1]", {"top_blocks": 2, "last_layers": 3}, ("a table of one key",),
    ),
    "freeze as a number": (
        changed('"scratch"', "3"), "matrix[0].freezes[2]", 3, ("a name, or a table of one key",)
    ),
    "flip in no direction": (
        changed('flip = "horizontal"', 'flip = "sideways"'),
        "data.augmentation[0]", {"flip": "sideways"}, ("one of horizontal, vertical",),
    ),
    "augmentation without its amount": (
        changed('{ flip = "horizontal" }', '"rotation"'),
        "data.augmentation[0]", "rotation", ("turns either way",),
    ),
    "augmentation amount as a table": (
        changed('flip = "horizontal"', "zoom = { by = 0.1 }"),
        "data.augmentation[0]", {"zoom": {"by": 0.1}}, ("fraction in or out",),
    ),
    "augmentation amount out of range": (
        changed('flip = "horizontal"', "brightness = 3"),
        "data.augmentation[0]", {"brightness": 3}, ("above 0 up to 1",),
    ),
    # data
    "splits that do not add up": (
        changed("[data]", "[data]\nsplits = { train = 0.8, val = 0.3, test = 0.1 }"),
        "data.splits", {"train": 0.8, "val": 0.3, "test": 0.1}, ("add up to 1",),
    ),
    "split of nothing": (
        changed("[data]", "[data]\nsplits = { train = 0.9, val = 0.1, test = 0.0 }"),
        "data.splits.test", 0.0, ("greater than 0",),
    ),
    "image too small for a backbone": (
        changed('"MobileNetV2"', '"Xception"').replace("image_size = 96", "image_size = 64"),
        "data.image_size", 64, ("at least 71 for Xception",),
    ),
    "image too small for all": (
        changed("image_size = 96", "image_size = 8"), "data.image_size", 8, ("equal to 16",)
    ),
    "image too large": (
        changed("image_size = 96", "image_size = 4096"), "data.image_size", 4096, ("2048",)
    ),
    "both kinds of subset": (
        changed("[data]", "[data]\ntrain_examples = 100\ntrain_per_class = 10"),
        "data",
        {
            "train_examples": 100, "train_per_class": 10, "image_size": 96,
            "augmentation": [{"flip": "horizontal"}],
        },
        ("either train_examples or train_per_class, not both",),
    ),
    "number in quotes": (
        changed("image_size = 96", 'image_size = "96"'),
        "data.image_size", "96", ("a whole number",),
    ),
    # phases, execution, limits
    "negative learning rate": (
        changed("1e-3", "-1e-3"), "phase1.learning_rate", -1e-3, ("greater than 0",)
    ),
    "infinite learning rate": (
        changed("1e-3", "inf"), "phase1.learning_rate", math.inf, ("a finite number",)
    ),
    "learning rate that is no number": (
        changed("1e-5", "nan"), "phase2.learning_rate", math.nan, ("number",)
    ),
    "learning rate as true": (
        changed("1e-3", "true"), "phase1.learning_rate", True, ("a number",)
    ),
    "zero epochs": (changed("epochs = 2", "epochs = 0"), "phase1.epochs", 0, ("equal to 1",)),
    "epochs with a fraction": (
        changed("epochs = 2", "epochs = 2.5"), "phase1.epochs", 2.5, ("a whole number",)
    ),
    "early stopping as a number": (
        changed("epochs = 2", "epochs = 2\nearly_stopping = 3"),
        "phase1.early_stopping", 3, ("a table",),
    ),
    "phase as a number": (
        "phase1 = 3\n" + changed("[phase1]\nepochs = 2\nlearning_rate = 1e-3\n", ""),
        "phase1", 3, ("a table",),
    ),
    "batch size of nothing": (
        changed("batch_size = 16", "batch_size = 0"), "execution.batch_size", 0, ("equal to 1",)
    ),
    "deterministic as a number": (
        changed("batch_size = 16", "deterministic = 1"),
        "execution.deterministic", 1, ("true or false",),
    ),
    "endless limit": (
        GOOD + "[limits]\ntrial_minutes = inf\n",
        "limits.trial_minutes", math.inf, ("a finite number",),
    ),
    "description as a number": (
        changed('"a small suite"', "3"), "description", 3, ("a text in quotes",)
    ),
    "a date where a text belongs": (
        changed('"a small suite"', "2026-01-01"),
        "description", "2026-01-01 (a date or time)", ("a text in quotes",),
    ),
    # pairs
    "binary head on five classes": (
        changed('"digits"', '"tf_flowers"') + 'heads = ["binary"]\n',
        "matrix[0].heads[0]", "binary", ("tf_flowers has 5 classes",),
    ),
    "top_blocks without known blocks": (
        MINE + OWN_BACKBONE, "backbones.blocks", None, ("a 'blocks' expression for Mine",)
    ),
    # what a suite brings
    "blocks that is no expression": (
        MINE + OWN_BACKBONE + "blocks = 'block(\\d+_'\n",
        "backbones[0].blocks", "block(\\d+_", ("a regular expression",),
    ),
    "blocks without a group": (
        MINE + OWN_BACKBONE + "blocks = 'block_'\n",
        "backbones[0].blocks", "block_", ("a group around the block's name",),
    ),
    "backbone name already taken": (
        GOOD + OWN_BACKBONE.replace("Mine", "ResNet50"),
        "backbones[0].name", "ResNet50", ("a backbone name not yet taken",),
    ),
    "name given twice": (
        GOOD + OWN_BACKBONE + OWN_BACKBONE,
        "backbones[0].name", "Mine", ("a backbone name not yet taken",),
    ),
    "bad characters in a name": (
        GOOD + '[[datasets]]\nname = "../mine"\nfolder = "x"\n',
        "datasets[0].name", "../mine", ("letters, digits",),
    ),
    "empty name": (
        GOOD + '[[heads]]\nname = ""\n', "heads[0].name", "", ("letters, digits",)
    ),
    "dataset with two sources": (
        GOOD + '[[datasets]]\nname = "a"\ntfds = "b"\nfolder = "c"\n',
        "datasets[0]", {"name": "a", "tfds": "b", "folder": "c"}, ("either tfds", "or folder"),
    ),
    "dataset without a source": (
        GOOD + '[[datasets]]\nname = "a"\n', "datasets[0]", {"name": "a"}, ("either tfds",)
    ),
    "head layer of two kinds": (
        GOOD + '[[heads]]\nname = "a"\nlayers = [{ dense = 8, dropout = 0.1 }]\n',
        "heads[0].layers[0]", {"dense": 8, "dropout": 0.1}, ("either dense", "or dropout"),
    ),
    # smoke
    "smoke as a number": ("smoke = 3\n" + GOOD, "smoke", 3, ("a table of overrides",)),
    "wrong value inside smoke": (
        GOOD + "[smoke]\nphase1 = { epochs = 0 }\n", "smoke.phase1.epochs", 0, ("equal to 1",)
    ),
    "unknown key inside smoke": (
        GOOD + "[smoke]\nphase1 = { epoch = 1 }\n",
        "smoke.phase1.epoch", 1, ("did you mean epochs?",),
    ),
    "unknown name inside smoke": (
        GOOD + '[smoke]\nmatrix = { datasets = ["digts"] }\n',
        "smoke.matrix[0].datasets[0]", "digts", ("did you mean digits?",),
    ),
    "impossible pair inside smoke": (
        GOOD + "[smoke]\ndata = { image_size = 16 }\n",
        "smoke.data.image_size", 16, ("at least 32 for MobileNetV2",),
    ),
    "error that smoke would cover up": (
        changed("epochs = 2", "epochs = 0") + "[smoke]\nphase1 = { epochs = 1 }\n",
        "phase1.epochs", 0, ("equal to 1",),
    ),
}  # fmt: skip


def test_many_kinds_of_wrong_suite_are_held() -> None:
    assert len(WRONG) >= 70


@pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_suite_is_one_error_that_says_what_is_valid(
    tmp_path: Path, wrong: Wrong, smoke: bool
) -> None:
    text, key, value, words = wrong
    if smoke and "smoke" not in text:
        text += "[smoke]\nlimits = { trial_minutes = 1 }\n"
    path = write(tmp_path, text)
    with pytest.raises(FileError) as caught:
        load(path, smoke=smoke)
    error = caught.value
    assert type(error) is FileError
    assert (error.file, error.key, repr(error.value)) == (str(path), key, repr(value))
    message = str(error)
    found = "is missing" if value is None else f"= {value!r}"
    assert message.startswith(f"{path}: {key} {found}: expected ")
    for word in words:
        assert word in error.expected
    assert "\n" not in message
    assert not re.search(r"pydantic|Input should|Value error|json|dict", message)


def test_the_good_suite_is_good(tmp_path: Path) -> None:
    assert len(loaded(tmp_path).trials) == 6


def test_a_file_that_is_not_there_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(FileError, match=r"mi\.toml: expected .*did you mean my\.toml\?"):
        load(tmp_path / "mi.toml")


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no \.toml file lies in that folder"):
        load(tmp_path / "my.toml")
    with pytest.raises(FileError, match=r"its folder is not there either"):
        load(tmp_path / "nowhere" / "my.toml")


def test_a_folder_is_no_suite(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"expected a \.toml file, but it is a folder"):
        load(tmp_path)


def test_text_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"my\.toml.*expected valid TOML:.*line 1"):
        loaded(tmp_path, "description = \n")


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(GOOD.replace("small", "größere").encode("latin-1"))
    with pytest.raises(FileError, match="expected UTF-8 text"):
        load(path)


def test_smoke_asked_for_but_not_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"smoke.*expected a \[smoke\] table"):
        loaded(tmp_path, smoke=True)


# ------------------------------------------------------------------------ sizes of the train split


def test_train_examples_may_be_an_axis(tmp_path: Path) -> None:
    trials = loaded(tmp_path, GOOD + "train_examples = [250, 1000]\n").trials
    assert len(trials) == 2 * 3 * 2
    assert [t.data.train_examples for t in trials] == [250] * 6 + [1000] * 6
    assert trials[0].label == "MobileNetV2 · digits · head_only · linear · 250 train · seed 0"


def test_a_size_of_the_axis_is_the_same_trial_as_one_of_data(tmp_path: Path) -> None:
    axis = loaded(tmp_path, GOOD + "train_examples = [250]\n").trials
    data = loaded(tmp_path, changed("image_size = 96", "image_size = 96\ntrain_examples = 250"))
    assert [t.key for t in axis] == [t.key for t in data.trials]


def test_a_matrix_without_sizes_takes_all(tmp_path: Path) -> None:
    second = GOOD[GOOD.index("[[matrix]]") :].replace("MobileNetV2", "ResNet50")
    trials = loaded(tmp_path, GOOD + "train_examples = [250]\n" + second).trials
    assert {(t.backbone.name, t.data.train_examples) for t in trials} == {
        ("MobileNetV2", 250), ("ResNet50", None),
    }  # fmt: skip


@pytest.mark.parametrize("key", ["train_examples", "train_per_class"])
def test_sizes_are_said_in_one_place(tmp_path: Path, key: str) -> None:
    text = changed("image_size = 96", f"image_size = 96\n{key} = 100")
    with pytest.raises(FileError, match=rf"data\.{key} = 100: expected nothing here"):
        loaded(tmp_path, text + "train_examples = [250]\n")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ("[]", "at least one"),
        ("[250, 250]", "each once"),
        ("[1]", "or equal to 2"),
        ("9", "a list"),
    ],
)
def test_sizes_that_are_none(tmp_path: Path, sizes: str, said: str) -> None:
    with pytest.raises(FileError, match=rf"matrix\[0\]\.train_examples.*{said}"):
        loaded(tmp_path, GOOD + f"train_examples = {sizes}\n")


# ---------------------------------------------------------------------------------- the backend


def test_the_backend_is_part_of_the_suite_and_of_no_trial(tmp_path: Path) -> None:
    plain = loaded(tmp_path)
    with_backend = changed("batch_size = 16", 'batch_size = 16\nbackend = "jax"')
    on_jax = loaded(tmp_path, with_backend)
    assert (plain.backend, on_jax.backend) == (None, "jax")
    assert on_jax.trials == plain.trials
    assert [t.key for t in on_jax.trials] == [t.key for t in plain.trials]
    assert "backend" not in type(on_jax.trials[0].execution).model_fields


def test_a_smoke_run_may_have_a_backend_of_its_own(tmp_path: Path) -> None:
    text = GOOD + '[smoke]\nexecution = { backend = "torch" }\n'
    assert loaded(tmp_path, text).backend is None
    assert loaded(tmp_path, text, smoke=True).backend == "torch"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"theano"', "execution.backend = 'theano': expected one of tensorflow, jax, torch"),
        ('"tensorflw"', "did you mean tensorflow?"),
        ("3", "execution.backend = 3: expected one of tensorflow, jax, torch"),
    ],
)
def test_an_unknown_backend(tmp_path: Path, value: str, said: str) -> None:
    text = changed("batch_size = 16", f"batch_size = 16\nbackend = {value}")
    with pytest.raises(FileError, match=re.escape(said)):
        loaded(tmp_path, text)
