"""``bench predict``: from files to classes, by our models and by others."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from conftest import Bench, make_card, refused
from PIL import Image

from bench import model_card
from bench.training import exporting

CARD = make_card(
    class_names=("red", "green", "blue"), image_size=8, backbone="tiny", dataset="colours"
)
COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


def classifier(shape: tuple[int, int, int] = (8, 8, 3)) -> Any:
    """Takes the brightest channel for the class."""
    pixels = keras.Input(shape)
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 50)(pixels))
    return keras.Model(pixels, keras.layers.Softmax()(means))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "colours.keras"
    exporting.write(classifier(), CARD, path)
    return path


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A red, a green and a blue picture of several kinds, and what is to be passed over."""
    folder = tmp_path / "album"
    (folder / "deeper" / ".hidden").mkdir(parents=True)
    for name, path in (
        ("red", "b.jpg"),
        ("green", "a.PNG"),
        ("blue", "deeper/c.webp"),
        ("blue", "deeper/.hidden/d.png"),
    ):
        Image.new("RGB", (30, 20), COLOURS[name]).save(folder / path)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_table_of_classes_with_their_probabilities(
    bench: Bench, model: Path, album: Path
) -> None:
    answer = bench("predict", model, album)
    assert answer.code == 0
    found = [line.split() for line in answer.out.splitlines()[2:]]
    assert [(Path(f[0]).name, f[1]) for f in found] == [
        ("a.PNG", "green"),
        ("b.jpg", "red"),
        ("c.webp", "blue"),
    ]
    assert all(float(f[2].rstrip("%")) > 95 for f in found)
    assert all(len(f) == 7 for f in found), "three classes each"
    assert answer.err == ""


def test_csv_has_a_line_for_each_class(bench: Bench, model: Path, album: Path) -> None:
    answer = bench("predict", model, album / "b.jpg", "--top", "2", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(answer.out)))
    assert [(line["rank"], line["file"]) for line in lines] == [
        ("1", str(album / "b.jpg")),
        ("2", str(album / "b.jpg")),
    ]
    assert lines[0]["class"] == "red"
    assert float(lines[0]["probability"]) > 0.95


def test_json_says_the_trial_and_what_could_not_be_read(
    bench: Bench, model: Path, album: Path
) -> None:
    (album / "a.PNG").write_bytes(b"torn")
    answer = bench("predict", model, album, "--format", "json", "--top", "9")
    said = json.loads(answer.out)
    assert answer.code == 1
    assert (said["model"], said["trial"]) == (str(model), CARD.trial)
    assert [p["classes"][0]["class"] for p in said["pictures"]] == ["red", "blue"]
    assert len(said["pictures"][0]["classes"]) == 3
    assert [u["file"] for u in said["unreadable"]] == [str(album / "a.PNG")]
    assert "not a picture" in said["unreadable"][0]["reason"]


def test_an_unreadable_picture_is_named_and_the_others_go_on(
    bench: Bench, model: Path, album: Path
) -> None:
    (album / "a.PNG").write_bytes(b"")
    answer = bench("predict", model, album)
    assert answer.code == 1
    assert answer.err == f"bench: {album / 'a.PNG'}: the file is empty\n"
    assert "unreadable" in answer.out
    assert "red" in answer.out
    alone = bench("predict", model, album / "a.PNG")
    assert alone.code == 1


def test_a_file_that_is_named_twice_is_predicted_once(
    bench: Bench, model: Path, album: Path
) -> None:
    answer = bench("predict", model, album / "b.jpg", album, album / "b.jpg", "--format", "json")
    assert len(json.loads(answer.out)["pictures"]) == 3


# --------------------------------------------------------------------------- models of all kinds


def test_without_a_card_classes_are_numbers_and_a_note_says_so(
    bench: Bench, tmp_path: Path, album: Path
) -> None:
    classifier().save(tmp_path / "other.keras")
    answer = bench("predict", tmp_path / "other.keras", album / "b.jpg", "--top", "1")
    assert answer.code == 0
    assert "class 0: 0.9" in answer.out
    assert "says nothing of its classes" in answer.err


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's format")
def test_a_saved_model_predicts_the_same(
    bench: Bench, model: Path, tmp_path: Path, album: Path
) -> None:
    exporting.write(classifier(), CARD, tmp_path / "folder")
    wanted = bench("predict", model, album).out
    assert bench("predict", tmp_path / "folder", album).out == wanted


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="as the extra has it")
def test_an_onnx_file_predicts_the_same(
    bench: Bench, model: Path, tmp_path: Path, album: Path
) -> None:
    if missing := model_card.problem("onnx", "tensorflow"):
        pytest.skip(missing)
    exporting.write(classifier(), CARD, tmp_path / "colours.onnx")
    wanted = bench("predict", model, album).out
    assert bench("predict", tmp_path / "colours.onnx", album).out == wanted


def test_a_lambda_layer_is_not_run(bench: Bench, tmp_path: Path, album: Path) -> None:
    inputs = keras.Input((8, 8, 3))
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = keras.layers.Lambda(lambda x: x, output_shape=(3,))(means)
    keras.Model(inputs, outputs).save(tmp_path / "m.keras")
    assert "m.keras cannot be loaded" in refused(bench("predict", tmp_path / "m.keras", album))


def test_a_model_of_something_else_is_refused(bench: Bench, tmp_path: Path, album: Path) -> None:
    classifier((8, 9, 3)).save(tmp_path / "oblong.keras")
    said = refused(bench("predict", tmp_path / "oblong.keras", album))
    assert "takes [None, 8, 9, 3]: expected square pictures" in said
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs)).save(tmp_path / "map.keras")
    said = refused(bench("predict", tmp_path / "map.keras", album))
    assert "gives [None, 6, 6, 2]: expected a number for each class" in said


def test_a_card_of_another_model_is_refused(bench: Bench, tmp_path: Path, album: Path) -> None:
    path = tmp_path / "mixed.keras"
    classifier().save(path)
    card = CARD.model_copy(update={"class_names": ("red", "green")})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(model_card.NAME, card.model_dump_json())
    assert "is of 2 classes at 8 px, but the model has 3" in refused(bench("predict", path, album))


@pytest.mark.parametrize("name", ["none.keras", "folder.h5"])
def test_no_model_is_one_clear_line(bench: Bench, tmp_path: Path, album: Path, name: str) -> None:
    (tmp_path / "folder.h5").touch()
    assert name in refused(bench("predict", tmp_path / name, album))


def test_no_pictures_are_one_clear_line(bench: Bench, tmp_path: Path, model: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no picture in it" in refused(bench("predict", model, tmp_path / "empty"))
    assert "no such file" in refused(bench("predict", model, tmp_path / "none.jpg"))


def test_pictures_are_predicted_in_pieces(bench: Bench, tmp_path: Path, model: Path) -> None:
    from bench.training import predicting

    files = [tmp_path / f"{i}.png" for i in range(predicting.BATCH + 3)]
    for i, file in enumerate(files):
        Image.new("RGB", (9, 9), list(COLOURS.values())[i % 3]).save(file)
    found = list(predicting.guesses(predicting.load(model), files, top=1))
    assert [g.file for g in found] == files
    assert [g.classes[0][0] for g in found if g.classes] == [
        list(COLOURS)[i % 3] for i in range(len(files))
    ]
    assert np.isfinite([g.classes[0][1] for g in found if g.classes]).all()
