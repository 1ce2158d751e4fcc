"""Records: JSON both ways, and keys that mean the same trial for ever."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from conftest import STACK, make_phase, make_result, make_spec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.errors import FileError, UnknownNameError, suggestion
from bench.progress import Progress
from bench.records import (
    Augmentation,
    Backbone,
    Data,
    Dataset,
    DatasetUsed,
    EarlyStopping,
    Environment,
    Epoch,
    Execution,
    Freeze,
    Guard,
    Head,
    HeadLayer,
    Phase,
    PhaseResult,
    Record,
    ReduceLearningRate,
    Splits,
    Stack,
    TrialResult,
    TrialSpec,
    WeightsUsed,
)

# ------------------------------------------------------------------------------ any valid record

texts = st.text(max_size=12)
fractions = st.floats(0.01, 0.99)
positive = st.floats(1e-12, 1e3)
measured = st.floats()  # NaN and the infinities too: a diverged trial measures them
counts = st.integers(0, 10**9)
shares = st.tuples(fractions, fractions, fractions).map(
    lambda parts: Splits(**dict(zip(("train", "val", "test"), (p / sum(parts) for p in parts))))  # noqa: B905
)
layers = st.one_of(
    st.builds(HeadLayer, dense=st.integers(1, 4096), activation=texts),
    st.builds(HeadLayer, dropout=st.floats(0, 0.99)),
)
phases = st.builds(
    Phase,
    epochs=st.integers(1, 500),
    learning_rate=positive,
    optimizer=texts,
    early_stopping=st.none() | st.builds(EarlyStopping, patience=st.integers(1, 50)),
    reduce_learning_rate=st.none()
    | st.builds(
        ReduceLearningRate,
        factor=fractions,
        patience=st.integers(1, 50),
        min_learning_rate=st.floats(0, 1),
    ),
)
specs = st.builds(
    TrialSpec,
    backbone=st.builds(
        Backbone,
        name=texts,
        weights=texts,
        file=st.none() | texts,
        preprocessing=st.sampled_from([None, "raw", "minus_one_to_one", "caffe"]),
        blocks=st.none() | texts,
    ),
    data=st.builds(
        Data,
        dataset=st.builds(Dataset, name=texts, tfds=st.none() | texts, folder=st.none() | texts),
        image_size=st.integers(16, 2048),
        splits=shares,
        train_examples=st.none() | st.integers(2, 10**6),
        train_per_class=st.none() | st.integers(1, 10**4),
    ),
    head=st.builds(
        Head,
        name=texts,
        pooling=st.sampled_from(["avg", "max", "flatten"]),
        layers=st.lists(layers, max_size=3).map(tuple),
        output=st.sampled_from(["logits", "probabilities"]),
        loss=st.sampled_from(["sparse", "one_hot", "binary"]),
    ),
    freeze=st.builds(
        Freeze, strategy=texts, amount=st.none() | st.integers(1, 999) | fractions | texts
    ),
    phase1=st.none() | phases,
    phase2=st.none() | phases,
    augmentation=st.lists(
        st.builds(Augmentation, kind=texts, amount=fractions | texts), max_size=3
    ).map(tuple),
    batch_norm=st.sampled_from(["frozen", "affine", "train"]),
    execution=st.builds(
        Execution,
        batch_size=st.integers(1, 4096),
        precision=st.sampled_from(["auto", "float32", "mixed_bfloat16", "mixed_float16"]),
        deterministic=st.booleans(),
    ),
    seed=st.integers(0, 2**32 - 1),
)
epochs = st.builds(
    Epoch,
    index=counts,
    loss=measured,
    accuracy=measured,
    val_loss=measured,
    val_accuracy=measured,
    learning_rate=measured,
    seconds=measured,
    images_per_second=st.none() | measured,
)
phase_results = st.builds(
    PhaseResult,
    epochs=st.lists(epochs, max_size=2).map(tuple),
    trainable_parameters=counts,
    learning_rate=measured,
    val_accuracy=measured,
    val_loss=measured,
    images_per_second=st.none() | measured,
    seconds=measured,
)
guards = st.builds(Guard, name=texts, passed=st.none() | st.booleans(), evidence=texts)
results = st.builds(
    TrialResult,
    key=texts,
    spec=specs,
    stack=st.just(STACK),
    status=st.sampled_from(["ok", "failed", "out_of_memory", "timeout", "diverged", "skipped"]),
    reason=texts,
    started_at=texts,
    seconds=measured,
    phase1=st.none() | phase_results,
    phase2=st.none() | phase_results,
    test_accuracy=st.none() | measured,
    test_loss=st.none() | measured,
    guards=st.lists(guards, max_size=2).map(tuple),
    weights=st.none() | st.builds(WeightsUsed, source=texts, sha256=texts),
    dataset=st.none()
    | st.builds(
        DatasetUsed,
        fingerprint=texts,
        class_names=st.lists(texts, max_size=3).map(tuple),
        train=counts,
        val=counts,
        test=counts,
        caveats=st.lists(texts, max_size=2).map(tuple),
        notes=st.lists(texts, max_size=2).map(tuple),
    ),
    environment=st.none()
    | st.builds(
        Environment,
        bench_version=texts,
        python_version=texts,
        platform=texts,
        processor=texts,
        cores=counts,
        memory_gib=measured,
        packages=st.dictionaries(texts, texts, max_size=2),
    ),
)
progresses = st.builds(
    Progress,
    stage=texts,
    epoch=counts,
    epochs=counts,
    step=counts,
    steps=counts,
    epoch_done=st.none() | epochs,
)


def _same(a: Any, b: Any) -> bool:
    """Equal, and NaN counts as equal to NaN."""
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(type(a) is type(b) and a == b)


def _there_and_back(record: Record) -> Record:
    return type(record).model_validate_json(record.model_dump_json())


@given(results | progresses)
def test_every_record_survives_json(record: Record) -> None:
    assert _same(record.model_dump(), _there_and_back(record).model_dump())


@given(results)
def test_json_of_a_result_is_standard_json(result: TrialResult) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(result.model_dump_json(), parse_constant=refuse)


@given(specs)
def test_a_spec_read_back_is_equal_and_keeps_its_key(spec: TrialSpec) -> None:
    again = TrialSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.key == spec.key
    assert len(spec.key) == 32
    assert int(spec.key, 16) >= 0


def test_nan_and_infinite_losses_survive() -> None:
    epoch = (
        make_phase(0.5)
        .epochs[0]
        .model_copy(update={"loss": math.nan, "val_loss": math.inf, "images_per_second": -math.inf})
    )
    again = _there_and_back(make_phase(0.5).model_copy(update={"epochs": (epoch,)}))
    assert isinstance(again, PhaseResult)
    assert math.isnan(again.epochs[0].loss)
    assert again.epochs[0].val_loss == math.inf
    assert again.epochs[0].images_per_second == -math.inf


# ------------------------------------------------------------------------------------------ keys

FULL = TrialSpec(
    backbone=Backbone(name="ResNet50V2"),
    data=Data(dataset=Dataset(name="stanford_dogs"), image_size=160, train_examples=1000),
    head=Head(name="dogs", layers=(HeadLayer(dense=512), HeadLayer(dropout=0.2))),
    freeze=Freeze(strategy="last_layers", amount=30),
    phase1=Phase(epochs=10, learning_rate=1e-3, early_stopping=EarlyStopping(patience=5)),
    phase2=Phase(epochs=10, learning_rate=1e-6, reduce_learning_rate=ReduceLearningRate()),
    augmentation=(Augmentation(kind="flip", amount="horizontal"),),
    batch_norm="affine",
    execution=Execution(batch_size=64),
    seed=3,
)
PLAIN = TrialSpec(
    backbone=Backbone(name="MobileNetV2"),
    data=Data(dataset=Dataset(name="digits"), image_size=96),
    head=Head(name="linear"),
    freeze=Freeze(strategy="head_only"),
    phase1=Phase(epochs=5, learning_rate=5e-3),
    phase2=None,
)


@pytest.mark.parametrize(
    ("spec", "key"),
    [(PLAIN, "7f059be55f8e96ba9453a1ce606b5e15"), (FULL, "d61a7a379df10869dc9f91ffe1af1900")],
    ids=["plain", "full"],
)
def test_keys_never_change(spec: TrialSpec, key: str) -> None:
    # Rows measured long ago are found by these. If this fails, a default, a field's name or the
    # canonical form changed: undo that, or raise PROTOCOL_VERSION on purpose.
    assert spec.key == key


def test_a_new_field_at_its_default_leaves_the_key() -> None:
    class LaterData(Data):
        colour_space: str = "rgb"

    class LaterSpec(TrialSpec):
        data: LaterData
        mixup: float = 0.0

    later = LaterSpec.model_validate(FULL.model_dump())
    assert later.key == FULL.key
    assert later.model_copy(update={"mixup": 0.2}).key != FULL.key


def test_spelling_out_a_default_leaves_the_key() -> None:
    assert FULL.phase1 is not None
    spelt_out = FULL.phase1.model_copy(update={"optimizer": "adam"})
    data = FULL.data.model_copy(update={"splits": Splits(train=0.8, val=0.1, test=0.1)})
    assert FULL.model_copy(update={"phase1": spelt_out, "data": data}).key == FULL.key


def _with(**changes: Any) -> Callable[[TrialSpec], TrialSpec]:
    return lambda spec: spec.model_copy(update=changes)


@pytest.mark.parametrize(
    "change",
    [
        _with(seed=4),
        _with(batch_norm="frozen"),
        _with(phase1=None),
        _with(phase2=None),
        _with(augmentation=()),
        _with(augmentation=(Augmentation(kind="flip", amount="vertical"),)),
        _with(backbone=Backbone(name="ResNet50V2", weights="random")),
        _with(backbone=Backbone(name="ResNet101V2")),
        _with(backbone=Backbone(name="ResNet50V2", file="a.keras", preprocessing="raw")),
        _with(data=Data(dataset=Dataset(name="stanford_dogs"), train_examples=1000)),
        _with(data=Data(dataset=Dataset(name="stanford_dogs"), image_size=160)),
        _with(data=FULL.data.model_copy(update={"splits": Splits(train=0.7, val=0.2, test=0.1)})),
        _with(head=FULL.head.model_copy(update={"output": "probabilities"})),
        _with(head=FULL.head.model_copy(update={"layers": FULL.head.layers[::-1]})),
        _with(freeze=Freeze(strategy="last_layers", amount=31)),
        _with(freeze=Freeze(strategy="all")),
        _with(execution=Execution(batch_size=32)),
        _with(execution=Execution(batch_size=64, deterministic=False)),
        _with(phase1=Phase(epochs=10, learning_rate=1e-3)),
        _with(
            phase1=Phase(epochs=11, learning_rate=1e-3, early_stopping=EarlyStopping(patience=5))
        ),
    ],
)
def test_whatever_changes_the_trial_changes_the_key(
    change: Callable[[TrialSpec], TrialSpec],
) -> None:
    assert change(FULL).key != FULL.key


def test_presence_of_an_option_at_its_default_counts() -> None:
    # ``early_stopping = {}`` is not the same as none, though all of its fields are defaults.
    with_stopping = Phase(epochs=5, learning_rate=5e-3, early_stopping=EarlyStopping())
    assert PLAIN.model_copy(update={"phase1": with_stopping}).key != PLAIN.key


def _field_names(record: type[Record]) -> set[str]:
    names = set(record.model_fields)
    for field in record.model_fields.values():
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, Record):
                names |= _field_names(inner)
    return names


def test_a_spec_holds_nothing_of_the_machine() -> None:
    machine = {"stack", "device", "environment", "settings", "cache", "host", "backend"}
    assert not _field_names(TrialSpec) & machine
    assert {"dataset", "patience", "batch_size"} <= _field_names(TrialSpec), "the walk reaches all"


# ----------------------------------------------------------------------------- what records refuse


@pytest.mark.parametrize(
    ("record", "fields"),
    [
        (Phase, {"epochs": 0, "learning_rate": 1e-3}),
        (Phase, {"epochs": 1, "learning_rate": -1e-3}),
        (Phase, {"epochs": 1, "learning_rate": math.nan}),
        (Phase, {"epochs": 1, "learning_rate": math.inf}),
        (ReduceLearningRate, {"min_learning_rate": math.inf}),
        (Splits, {"train": 0.5, "val": 0.1, "test": 0.1}),
        (Splits, {"train": 1.0, "val": 0.0, "test": 0.0}),
        (HeadLayer, {}),
        (HeadLayer, {"dense": 8, "dropout": 0.5}),
        (HeadLayer, {"dropout": 1.0}),
        (Execution, {"batch_size": 0}),
        (Execution, {"precision": "float64"}),
        (Backbone, {"name": "a", "wieghts": "imagenet"}),
    ],
)
def test_impossible_records_are_refused(record: type[Record], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        record(**fields)


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError):
        make_spec().seed = 5  # type: ignore[misc]


# ---------------------------------------------------------------------------------- small words


def test_labels_say_what_distinguishes_a_trial() -> None:
    assert FULL.label == "ResNet50V2 · stanford_dogs · last_layers=30 · dogs · 1000 train · seed 3"
    assert PLAIN.label == "MobileNetV2 · digits · head_only · linear · seed 0"


def test_a_stack_id_is_a_folder_name() -> None:
    stack = STACK.model_copy(update={"device": "NVIDIA H200 / cuda:0"})
    assert STACK.id == "tensorflow-2.21.0_keras-3.15.1_cpu_float32"
    assert stack.id == "tensorflow-2.21.0_keras-3.15.1_NVIDIA-H200-cuda-0_float32"


@pytest.mark.parametrize("field", Stack.model_fields)
def test_every_field_of_a_stack_is_in_its_id(field: str) -> None:
    assert STACK.model_copy(update={field: "other"}).id != STACK.id


def test_the_last_phase_and_the_failed_guards() -> None:
    result = make_result()
    assert result.last_phase == result.phase2
    assert make_result(phase2=None).last_phase == result.phase1
    assert make_result(phase1=None, phase2=None).last_phase is None
    held = [
        Guard(name=n, passed=p, evidence="") for n, p in [("a", True), ("b", None), ("c", False)]
    ]
    assert make_result(guards=tuple(held)).failed_guards == ("c",)


def test_errors_name_the_thing_and_what_is_valid() -> None:
    wrong = FileError("a.toml", "phase1.epochs", 0, "1 or more")
    assert str(wrong) == "a.toml: phase1.epochs = 0: expected 1 or more"
    unknown = UnknownNameError("head", "lineer", ["linear", "mlp"])
    assert str(unknown) == "unknown head 'lineer': did you mean linear?"
    assert suggestion("zzz", ["linear", "mlp"]) == "known: linear, mlp"
    assert suggestion("MOBILENETV2", ["MobileNetV2"]) == "did you mean MobileNetV2?"
