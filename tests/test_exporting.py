"""A trial's model taken away: the file predicts what the trial predicted, and needs no Bench."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny
from conftest import STACK, make_dataset

from bench import model_card
from bench.errors import BenchError, ImpossibleTrialError
from bench.model_card import ModelCard
from bench.records import Freeze, Head, HeadLayer, Preprocessing, TrialSpec, WeightsUsed
from bench.settings import Settings
from bench.training import exporting, protocol
from bench.training.exporting import Trained
from bench.training.model import PinnedBackbone, TrialModel, build
from bench.training.scoring import Predictions, Scores, score
from bench.zoo import rewriting
from bench.zoo.preprocessing import CONTRACTS

PIXELS, LABELS = tiny.pictures(12)
CLOSE = 1e-6

HEADS = (
    Head(name="logits"),
    Head(
        name="mlp",
        pooling="max",
        layers=(HeadLayer(dense=5), HeadLayer(dropout=0.5)),
        output="probabilities",
        loss="one_hot",
    ),
    Head(name="binary", loss="binary"),
    Head(name="sigmoid", pooling="flatten", loss="binary", output="probabilities"),
)


def made(contract: Preprocessing, head: Head, backbone: Any = None) -> tuple[TrialModel, int]:
    classes = 2 if head.loss == "binary" else 3
    trial = build(
        backbone or tiny.backbone(),
        contract,
        head,
        image_size=tiny.SIZE,
        classes=classes,
        pin=PinnedBackbone,
    )
    return trial, classes


def scored(trial: TrialModel, head: Head) -> np.ndarray:
    outputs = keras.ops.convert_to_numpy(trial.model(PIXELS, training=False))
    return score(outputs, LABELS, head).probabilities


def plain(trial: TrialModel, contract: Preprocessing, head: Head, classes: int) -> Any:
    return exporting.plain(trial, contract, head, tiny.SIZE, classes)


def predicted(model: Any, pixels: np.ndarray = PIXELS) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(pixels.astype("float32"), training=False))


# ------------------------------------------------------------------------------- the plain model


EVERY_CONTRACT = [(contract, HEADS[0]) for contract in CONTRACTS]
EVERY_HEAD = [("caffe", head) for head in HEADS[1:]]


@pytest.mark.parametrize(("contract", "head"), EVERY_CONTRACT + EVERY_HEAD)
def test_it_gives_the_probabilities_that_the_trial_is_scored_by(
    contract: Preprocessing, head: Head
) -> None:
    trial, classes = made(contract, head)
    wanted = scored(trial, head)
    found = predicted(plain(trial, contract, head, classes))
    assert wanted.std(axis=0).max() > 1e-4, "pictures that all look alike would prove nothing"
    np.testing.assert_allclose(found, wanted, atol=CLOSE)


def normalising() -> Any:
    """As EfficientNet does it: with numbers that are worked out from weights."""
    inputs = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    learned = keras.layers.Normalization(axis=-1)
    outputs = keras.layers.Conv2D(4, 3)(learned(inputs))
    learned.set_weights([np.array(v) for v in ([120, 110, 100], [3000, 2500, 2000], 0)])
    learned.finalize_state()
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_normalisation_is_taken_along(precision: str) -> None:
    keras.config.set_dtype_policy(precision)
    try:
        trial, classes = made("raw", HEADS[0], normalising())
        wanted = scored(trial, HEADS[0])
        found = predicted(plain(trial, "raw", HEADS[0], classes))
    finally:
        keras.config.set_dtype_policy("float32")
    assert wanted.std(axis=0).max() > 0.02, "pictures that all look alike would prove nothing"
    np.testing.assert_allclose(found, wanted, atol=CLOSE if precision == "float32" else 0.01)


def test_another_contract_would_be_noticed() -> None:
    trial, classes = made("caffe", HEADS[0])
    wrong = predicted(plain(trial, "raw", HEADS[0], classes))
    assert np.abs(wrong - scored(trial, HEADS[0])).max() > 1e-3


def test_uint8_goes_in_as_well() -> None:
    trial, classes = made("torch", HEADS[0])
    model = plain(trial, "torch", HEADS[0], classes)
    np.testing.assert_array_equal(model.predict(PIXELS, verbose=0), predicted(model))


def test_batchnorm_stays_as_it_is_even_if_called_for_training() -> None:
    trial, classes = made("raw", HEADS[0])
    model = plain(trial, "raw", HEADS[0], classes)
    before = [w.numpy().copy() for w in model.weights]
    model(PIXELS.astype("float32"), training=True)
    assert all(
        np.array_equal(a, keras.ops.convert_to_numpy(b))
        for a, b in zip(before, model.weights, strict=True)
    )
    assert not model.trainable_weights


def test_of_a_mixed_trial_it_is_float32_throughout() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trial, classes = made("torch", HEADS[1])
        wanted = scored(trial, HEADS[1])
        model = plain(trial, "torch", HEADS[1], classes)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in model._flatten_layers()} == {"float32"}
    np.testing.assert_allclose(predicted(model), wanted, atol=0.02)


def grouped() -> Any:
    inputs = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, groups=4)(x))


def test_a_rewritten_convolution_is_keras_own_again() -> None:
    backbone = grouped()
    layer = backbone.layers[-1]
    layer.convolution_op = rewriting._rewritten(layer)
    trial, classes = made("raw", HEADS[0], backbone)
    model = plain(trial, "raw", HEADS[0], classes)
    (copy,) = [la for la in model._flatten_layers() if getattr(la, "groups", 1) == 4]
    assert "convolution_op" not in vars(copy)
    assert "convolution_op" in vars(layer), "the trial's own is left alone"


# ------------------------------------------------------------------------- what a trial trained


def trained(trial: TrialSpec, model: Any, given: protocol.Ingredients, scores: Scores) -> Trained:
    return Trained(
        spec=trial,
        key=trial.key,
        model=model,
        contract=given.contract,
        dataset=make_dataset(class_names=("red", "green", "blue")),
        weights=WeightsUsed(source="random", sha256="a" * 64),
        stack=STACK,
        test=given.test,
        scores=scores,
    )


def taken_away(trial: TrialSpec, path: protocol.Path, given: protocol.Ingredients) -> Trained:
    outcome = protocol.run(trial, given, path)
    assert outcome.test is not None
    return trained(trial, path.trial, given, outcome.test)


@pytest.mark.parametrize("way", ["literal", "shared"])
@pytest.mark.parametrize("strategy", ["head_only", "top_blocks"])
def test_it_predicts_what_the_trial_stores(
    way: str, strategy: str, settings: Settings, tmp_path: Path
) -> None:
    freeze = Freeze(strategy=strategy, amount=2 if strategy == "top_blocks" else None)
    trial = tiny.spec(freeze, **({"phase2": None} if strategy == "head_only" else {}))
    keras.utils.set_random_seed(0)
    if way == "literal":
        given = tiny.ingredients(trial)
        found = taken_away(trial, protocol.Literal(trial, given, lambda _: None), given)
    else:
        bench = tiny.bench_for([trial, trial.model_copy(update={"seed": 1})], settings)
        given = bench.given
        path = tiny.sharing.Shared(trial, bench, lambda _: None)
        found = taken_away(trial, path, given)
    Predictions(found.scores, given.test.hashes).save(tmp_path / "stored.npz")
    with np.load(tmp_path / "stored.npz") as stored:
        wanted = stored["probabilities"]
    got = predicted(found.plain(), given.test[np.arange(len(given.test))])
    np.testing.assert_allclose(got, wanted, atol=1e-5)


# ----------------------------------------------------------------------------------------- files


@pytest.fixture
def ready() -> Trained:
    trial = tiny.spec()
    given = tiny.ingredients(trial)
    model = build(
        given.backbone,
        given.contract,
        trial.head,
        image_size=tiny.SIZE,
        classes=tiny.CLASSES,
        pin=PinnedBackbone,
    )
    pixels = given.test[np.arange(len(given.test))]
    outputs = keras.ops.convert_to_numpy(model.model(pixels, training=False))
    return trained(trial, model, given, score(outputs, given.test.labels, trial.head))


def test_a_keras_file_loads_in_safe_mode_and_has_the_card(ready: Trained, tmp_path: Path) -> None:
    path, sample = tmp_path / "model.keras", tmp_path / "sample.npz"
    written = exporting.save(ready, path, sample)
    card = written.card
    assert written.rounding is None
    assert model_card.found(path) == card == ready.card
    assert card.class_names == ("red", "green", "blue")
    assert (card.image_size, card.trial, card.test_pictures) == (16, ready.key, 20)
    assert card.test_accuracy == ready.scores.accuracy
    model = keras.models.load_model(path, safe_mode=True)
    with np.load(sample) as stored:
        assert stored["pixels"].dtype == np.uint8
        np.testing.assert_allclose(
            predicted(model, stored["pixels"]), stored["probabilities"], atol=CLOSE
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.keras", "sample.npz"]


def test_of_a_trial_that_rounded_coarsely_the_float32_model_is_the_measure(
    ready: Trained, tmp_path: Path
) -> None:
    mixed = STACK.model_copy(update={"precision": "mixed_bfloat16"})
    exact = ready.scores.probabilities

    def off(by: float) -> Trained:
        moved = np.clip(exact + by * np.array([1, -1, 0]), 0, 1)
        scores = Scores(moved, ready.scores.labels)
        return exporting.Trained(**{**vars(ready), "stack": mixed, "scores": scores})

    written = exporting.save(off(0.03), tmp_path / "near.keras", tmp_path / "sample.npz")
    assert written.rounding == pytest.approx(0.03, abs=1e-4)
    with np.load(tmp_path / "sample.npz") as stored:
        np.testing.assert_allclose(stored["probabilities"], exact, atol=CLOSE)
    with pytest.raises(BenchError, match="does not predict what the trial did"):
        exporting.save(off(0.2), tmp_path / "far.keras", tmp_path / "sample.npz")
    assert not (tmp_path / "far.keras").exists()


def test_a_keras_file_names_no_class_of_bench(ready: Trained, tmp_path: Path) -> None:
    exporting.save(ready, tmp_path / "model.keras", tmp_path / "sample.npz")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = archive.read("config.json").decode()
    assert "PinnedBackbone" not in config
    assert "bench" not in config
    assert "Lambda" not in config


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's format")
def test_a_saved_model_is_a_folder_with_the_card(ready: Trained, tmp_path: Path) -> None:
    exporting.save(ready, tmp_path / "model", tmp_path / "sample.npz")
    assert model_card.found(tmp_path / "model") == ready.card


def test_a_trial_with_a_trap_is_not_taken_away(ready: Trained, tmp_path: Path) -> None:
    spec = ready.spec.model_copy(update={"trap": "unpinned"})
    wrong = exporting.Trained(**{**vars(ready), "spec": spec})
    with pytest.raises(ImpossibleTrialError, match="unpinned"):
        exporting.save(wrong, tmp_path / "model.keras", tmp_path / "sample.npz")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_clear_error(ready: Trained, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"none/model\.keras: the model cannot be written"):
        exporting.write(ready.plain(), ready.card, tmp_path / "none" / "model.keras")


# ------------------------------------------------------------------------------------- the card


@pytest.mark.parametrize(
    ("name", "kind"), [("a.keras", "keras"), ("a.onnx", "onnx"), ("a", "saved_model")]
)
def test_the_ending_tells_the_format(name: str, kind: str) -> None:
    assert model_card.format_of(Path(name)) == kind


def test_another_ending_is_refused() -> None:
    with pytest.raises(BenchError, match=r"m\.h5: .*expected \.keras, \.onnx"):
        model_card.format_of(Path("m.h5"))


def test_what_a_format_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_card.problem("keras", "torch") is None
    assert "torch" in str(model_card.problem("saved_model", "torch"))
    monkeypatch.setattr(model_card, "find_spec", lambda name: None if name == "onnx" else object())
    assert str(model_card.problem("onnx", "tensorflow")).endswith("pip install onnx")


def test_a_card_of_somebody_else_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(model_card.NAME, json.dumps({"class_names": ["a"], "image_size": "big"}))
    with pytest.raises(BenchError, match=r"m\.keras: its bench\.json .*image_size"):
        model_card.found(path)


def test_no_card_is_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert model_card.found(tmp_path / "m.keras") is None
    assert model_card.found(tmp_path) is None


def test_a_card_survives_its_file(ready: Trained) -> None:
    assert ModelCard.model_validate_json(ready.card.model_dump_json()) == ready.card
