"""What is recognised of earlier work, and what is not."""

import json
from importlib import metadata
from pathlib import Path

import pytest
from conftest import STACK, make_dataset, make_result, make_spec
from leftovers import PICTURES, Earlier, digits, folder_of_pictures

from bench import cache, steps
from bench.data import images
from bench.errors import StoreError
from bench.records import (
    Augmentation,
    Backbone,
    Data,
    Dataset,
    Execution,
    Freeze,
    Stack,
    TrialResult,
    TrialSpec,
)
from bench.running import known as known_module
from bench.running.known import Boundary, Counts, Known, frameworks
from bench.running.store import writing
from bench.settings import Settings
from bench.steps import View

SPEC = make_spec()
GROUND = steps.ground_of(SPEC)
VIEW = View(augmentation=(Augmentation(kind="flip", amount="horizontal"),), number=1)
HERE = Stack(
    backend="tensorflow",
    backend_version=metadata.version("tensorflow"),
    keras_version=metadata.version("keras"),
    device="cpu",
    precision="float32",
)


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever backend the tests run on."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def read(settings: Settings, results: Path | None = None) -> Known:
    return Known(settings, settings.cache.parent, results)


def earlier(settings: Settings, spec: TrialSpec = SPEC, **fields: object) -> Earlier:
    return Earlier(spec, settings, **({"stack": HERE.id} | fields))  # type: ignore[arg-type]


def changed(**changes: object) -> TrialSpec:
    return SPEC.model_copy(update=changes)


# ---------------------------------------------------------------------------------- frameworks


def test_frameworks_begin_the_id_of_every_stack_here() -> None:
    assert HERE.id.startswith(frameworks() or "none")
    assert (frameworks() or "none").endswith("_")


def test_the_backend_is_keras_own_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_module.metadata, "version", lambda name: f"of.{name}")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert frameworks() == "jax-of.jax_keras-of.keras_"
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert frameworks() == "tensorflow-of.tensorflow_keras-of.keras_"
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))
    assert frameworks() == "torch-of.torch_keras-of.keras_"
    (tmp_path / "keras.json").write_text("{torn")
    assert frameworks() == "tensorflow-of.tensorflow_keras-of.keras_"


def test_without_frameworks_nothing_is_recognised(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(settings).activations("pooled avg", "train")
    monkeypatch.setenv("KERAS_BACKEND", "no-such-backend")
    assert frameworks() is None
    assert not read(settings).activations(GROUND, "train", None, "pooled avg")


# ----------------------------------------------------------------------------- activations, heads


def test_activations_are_known_by_split_view_and_cut(settings: Settings) -> None:
    run = earlier(settings)
    run.activations("pooled avg", "train", [None, VIEW])
    run.activations("frontier 90", "val")
    known = read(settings)
    assert known.activations(GROUND, "train", None, "pooled avg")
    assert known.activations(GROUND, "train", VIEW, "pooled avg")
    assert known.activations(GROUND, "val", None, "frontier 90")
    assert not known.activations(GROUND, "val", None, "pooled avg")
    assert not known.activations(GROUND, "test", None, "frontier 90")
    another = VIEW.model_copy(update={"number": 0})
    assert not known.activations(GROUND, "train", another, "pooled avg")


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"seed": 5}, True),
        ({"execution": Execution(batch_size=8)}, True),
        ({"execution": Execution(deterministic=False)}, False),
        ({"execution": Execution(precision="mixed_float16")}, False),
        ({"backbone": Backbone(name="ResNet50")}, False),
        ({"backbone": Backbone(name="MobileNetV2", weights="random")}, False),
        ({"data": make_spec(dataset="beans").data}, False),
        ({"data": SPEC.data.model_copy(update={"train_examples": 50})}, False),
    ],
    ids=str,
)
def test_what_activations_hang_on(
    settings: Settings, changes: dict[str, object], same: bool
) -> None:
    earlier(settings).activations("pooled avg", "train")
    ground = steps.ground_of(changed(**changes))
    assert read(settings).activations(ground, "train", None, "pooled avg") is same


@pytest.mark.parametrize("deterministic", [True, False])
def test_how_it_was_executed_is_told_by_the_entry(settings: Settings, deterministic: bool) -> None:
    spec = changed(execution=Execution(deterministic=deterministic))
    run = earlier(settings, spec)
    run.activations("pooled avg", "train")
    run.head()
    known, ground = read(settings), steps.ground_of(spec)
    assert known.activations(ground, "train", None, "pooled avg")
    assert known.head(ground, steps.head_step(spec))
    assert known.head(GROUND, steps.head_step(SPEC)) is deterministic


@pytest.mark.parametrize("deterministic", [True, False])
def test_entries_that_do_not_say_how_they_were_executed_match_nothing(
    settings: Settings, deterministic: bool
) -> None:
    spec = changed(execution=Execution(deterministic=deterministic))
    run = earlier(settings, spec, says_deterministic=False)
    run.activations("pooled avg", "train")
    run.head()
    known, ground = read(settings), steps.ground_of(spec)
    assert not known.activations(ground, "train", None, "pooled avg")
    assert not known.head(ground, steps.head_step(spec))
    assert known.counts(SPEC.data) == Counts(**PICTURES)  # so much they do tell


@pytest.mark.parametrize(
    "stack",
    [
        STACK.model_copy(update={"keras_version": "2.0.0"}).id,
        STACK.model_copy(update={"backend": "jax"}).id,
        STACK.model_copy(update={"backend_version": f"{STACK.backend_version}1"}).id,
    ],
)
def test_other_framework_versions_are_other_work(settings: Settings, stack: str) -> None:
    run = earlier(settings, stack=stack)
    run.activations("pooled avg", "train")
    run.head()
    known = read(settings)
    assert not known.activations(GROUND, "train", None, "pooled avg")
    assert not known.head(GROUND, steps.head_step(SPEC))
    assert known.boundaries(GROUND) == {}


def test_heads_are_known_by_their_step(settings: Settings) -> None:
    earlier(settings).head()
    known = read(settings)
    assert known.head(GROUND, steps.head_step(SPEC))
    assert known.head(GROUND, steps.head_step(changed(freeze=Freeze(strategy="all"))))
    assert not known.head(GROUND, steps.head_step(changed(seed=1)))
    other = changed(data=make_spec(dataset="beans").data)
    assert not known.head(steps.ground_of(other), steps.head_step(other))


def test_an_entry_that_says_nothing_of_itself_is_passed_over(settings: Settings) -> None:
    with cache.building(settings, "activations", {"stack": HERE.id}, "odd") as writer:
        assert writer is not None
    with cache.building(settings, "heads", {"features": None}, "odd") as writer:
        assert writer is not None
    earlier(settings).activations("pooled avg", "test")
    assert read(settings).activations(GROUND, "test", None, "pooled avg")


# ---------------------------------------------------------------------------------- frontiers


def test_frontiers_are_known_on_other_pictures_of_the_same_size(settings: Settings) -> None:
    found = {"top_blocks=2": ["frontier 90", 5000], "from_layer=1": None}
    earlier(settings, frontiers=found).head()
    expected = {"top_blocks=2": Boundary("frontier 90", 5000), "from_layer=1": Boundary()}
    assert read(settings).boundaries(GROUND) == expected
    beans = steps.ground_of(make_spec(dataset="beans"))
    assert read(settings).boundaries(beans) == expected
    larger = SPEC.data.model_copy(update={"image_size": 128})
    assert read(settings).boundaries(steps.ground_of(changed(data=larger))) == {}


def test_frontiers_of_several_runs_are_taken_together(settings: Settings) -> None:
    earlier(settings, frontiers={"all but one": ["frontier 1", 1]}).head()
    earlier(settings, frontiers={"top_blocks=1": ["frontier 9", 2]}).activations("p", "val")
    assert set(read(settings).boundaries(GROUND)) == {"all but one", "top_blocks=1"}


def test_the_numbers_of_a_cut_are_known_from_its_entries_and_from_frontiers(
    settings: Settings,
) -> None:
    run = earlier(settings, frontiers={"top_blocks=2": ["frontier 90", 5000], "all": None})
    run.head()
    assert read(settings).numbers(GROUND) == {"frontier 90": 5000}
    run.numbers = 1280
    run.activations("pooled avg", "val")
    expected = {"frontier 90": 5000, "pooled avg": 1280}
    assert read(settings).numbers(GROUND) == expected
    assert read(settings).numbers(steps.ground_of(make_spec(dataset="beans"))) == expected
    larger = SPEC.data.model_copy(update={"image_size": 128})
    assert read(settings).numbers(steps.ground_of(changed(data=larger))) == {}


# -------------------------------------------------------------------------------------- counts


def test_counts_come_from_what_a_suite_asks_for(settings: Settings) -> None:
    assert read(settings).counts(SPEC.data) == Counts()
    data = Data(dataset=Dataset(name="digits"), train_examples=50, test_examples=9)
    assert read(settings).counts(data) == Counts(50, None, 9)


def test_counts_come_from_earlier_work(settings: Settings) -> None:
    earlier(settings).head()
    assert read(settings).counts(SPEC.data) == Counts(**PICTURES)


def test_counts_come_from_decoded_pictures(settings: Settings) -> None:
    pytest.importorskip("sklearn")
    digits(settings, SPEC.data.image_size)
    known = read(settings)
    counts = known.counts(SPEC.data.model_copy(update={"train_examples": 500}))
    assert known.images(SPEC.data)
    assert counts.train == 500
    assert counts.val is not None
    assert 150 < counts.val < 200
    smaller = SPEC.data.model_copy(update={"image_size": 32})
    assert not known.images(smaller)
    assert known.counts(smaller) == Counts()


def test_a_folder_is_looked_for_beside_the_suite(settings: Settings, tmp_path: Path) -> None:
    folder = folder_of_pictures(tmp_path / "mine", {"a": 10, "b": 10})
    images.open_images(Dataset(name="mine", folder=str(folder)), 16, settings)
    data = Data(dataset=Dataset(name="mine", folder="mine"), image_size=16)
    assert Known(settings, tmp_path).counts(data) == Counts(16, 2, 2)
    assert not Known(settings, tmp_path / "elsewhere").images(data)


def test_pictures_that_cannot_be_split_as_asked_have_no_counts(
    settings: Settings, tmp_path: Path
) -> None:
    folder = folder_of_pictures(tmp_path / "mine", {"a": 10, "b": 10})
    images.open_images(Dataset(name="mine", folder=str(folder)), 16, settings)
    data = Data(dataset=Dataset(name="mine", folder="mine"), image_size=16, val_examples=900)
    assert Known(settings, tmp_path).counts(data) == Counts(None, 900, None)


def test_an_unknown_dataset_is_no_error_here(settings: Settings) -> None:
    assert not read(settings).images(Data(dataset=Dataset(name="no such")))


# ------------------------------------------------------------------------------ measured before


def left(folder: Path, *rows: TrialResult) -> Path:
    with writing(folder) as held:
        for row in rows:
            held.append(row, None)
    return folder


def test_settled_rows_are_measured_before(settings: Settings, tmp_path: Path) -> None:
    rows = {
        status: make_result(make_spec(seed=i), status=status, stack=HERE)
        for i, status in enumerate(("ok", "diverged", "skipped", "failed", "timeout"))
    }
    known = read(settings, left(tmp_path / "r", *rows.values()))
    assert set(known.measured) == {rows[s].key for s in ("ok", "diverged", "skipped")}


def test_rows_under_another_version_are_not(settings: Settings, tmp_path: Path) -> None:
    old = HERE.model_copy(update={"keras_version": "3.0.0"})
    gpu = HERE.model_copy(update={"device": "H200", "precision": "mixed_bfloat16"})
    rows = [make_result(stack=old), make_result(make_spec(seed=1), stack=gpu)]
    known = read(settings, left(tmp_path / "r", *rows))
    assert set(known.measured) == {rows[1].key}  # another device: which one is here is not known


def test_rows_tell_counts(settings: Settings, tmp_path: Path) -> None:
    row = make_result(stack=HERE, dataset=make_dataset())
    assert read(settings, left(tmp_path / "r", row)).counts(SPEC.data) == Counts(600, 180, 179)


def test_no_results_yet(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (None, tmp_path / "nowhere", tmp_path / "empty"):
        assert read(settings, folder).measured == {}


def test_rows_of_a_newer_bench(settings: Settings, tmp_path: Path) -> None:
    folder = left(tmp_path / "r", make_result(stack=HERE))
    with (folder / HERE.id / "trials.jsonl").open("a") as file:
        file.write('{"format": 99}\n')
    with pytest.raises(StoreError, match="newer version"):
        read(settings, folder)


def test_looking_notes_no_use_of_activations(settings: Settings) -> None:
    earlier(settings).activations("pooled avg", "train")
    (entry,) = cache.entries(settings, ["activations"])
    read(settings).activations(GROUND, "train", None, "pooled avg")
    assert cache.entries(settings, ["activations"]) == [entry]


def test_what_trials_really_leave_is_recognised(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    import tiny

    from bench.records import WeightsUsed
    from bench.training import execution, grounds, trial
    from bench.zoo import weights

    used = WeightsUsed(source="random", sha256="0" * 64)
    loaded = weights.LoadedBackbone(tiny.backbone(), "minus_one_to_one", used, r"block(\d)_")
    monkeypatch.setattr(grounds.weights, "load", lambda *_: loaded)
    monkeypatch.setenv("KERAS_BACKEND", tiny.keras.backend.backend())
    data = Data(
        dataset=Dataset(name="digits"),
        image_size=tiny.SIZE,
        train_examples=40,
        val_examples=20,
        test_examples=20,
    )
    few, flip = {"data": data, "views": 2}, VIEW.augmentation
    spec = tiny.spec(Freeze(strategy="top_blocks", amount=1), augmentation=flip, **few)
    place = grounds.Workplace(
        settings,
        tmp_path,
        execution.detect(spec.execution),
        execution.environment(),
        trials=(spec,),
    )
    row, _ = trial.run_trial(spec, place, lambda _: None)
    assert (row.status, row.way) == ("ok", "shared"), row.reason

    known, ground = read(settings), steps.ground_of(spec)
    boundary = known.boundaries(ground)["top_blocks=1"]
    assert boundary.cut is not None
    assert boundary.numbers > 0
    assert known.head(ground, steps.head_step(spec))
    needs = steps.needs(spec, frontier=True)
    assert len(needs) == 6
    for split, view, cut in needs:
        name = "pooled avg" if cut == "pooled" else boundary.cut
        assert known.activations(ground, split, view, name), (split, view, name)
    assert known.images(data)
    assert known.counts(data) == Counts(40, 20, 20)


def test_a_suites_backend_goes_before_what_the_environment_says(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    monkeypatch.setattr(known_module, "frameworks", asked.append)
    Known(settings, tmp_path, None, "jax")
    assert asked == ["jax"]
    monkeypatch.undo()
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(known_module.metadata, "version", lambda name: f"of.{name}")
    assert frameworks("jax") == "jax-of.jax_keras-of.keras_"


@pytest.mark.parametrize(
    ("device", "precision", "devices"),
    [
        ("cpu", "float32", 1),
        ("cpu x2", "float32", 2),
        ("NVIDIA H200 x16", "mixed_bfloat16", 16),
    ],
)
def test_a_stacks_id_tells_its_devices(device: str, precision: str, devices: int) -> None:
    stack = STACK.model_copy(update={"device": device, "precision": precision})
    assert known_module._devices_of(stack.id) == devices
