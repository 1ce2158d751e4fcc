"""What a user may name: a folder, a row of the table, a TFDS name."""

from pathlib import Path

import pytest

from bench.data import tasks
from bench.errors import DatasetError
from bench.records import Dataset
from bench.settings import Settings

KNOWN = frozenset({"beans", "tf_flowers", "oxford_flowers102"})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No TFDS to import, and a folder of pictures to stand in."""
    monkeypatch.setattr(tasks, "_known_to_tfds", lambda: KNOWN)
    for name in ("photos/a", "photos/b", "digits/a", "digits/b", "zip/photos/a", "zip/photos/b"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits", Dataset(name="digits")),
        ("tf_flowers", Dataset(name="tf_flowers")),
        ("./digits", Dataset(name="digits", folder="./digits")),
        ("photos", Dataset(name="photos", folder="photos")),
        ("photos/", Dataset(name="photos", folder="photos/")),
        ("photos/../photos", Dataset(name="photos", folder="photos/../photos")),
        ("beans", Dataset(name="beans", tfds="beans")),
        ("beans:1.*.*", Dataset(name="beans", tfds="beans:1.*.*")),
        ("tfds:beans/small", Dataset(name="beans", tfds="beans/small")),
        ("tfds:tf_flowers", Dataset(name="tf_flowers", tfds="tf_flowers")),
    ],
)
def test_names(text: str, expected: Dataset, settings: Settings) -> None:
    assert tasks.dataset(text, settings) == expected


def test_a_folder_is_called_after_itself_wherever_one_stands(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path / "photos")
    assert tasks.dataset(".", settings) == Dataset(name="photos", folder=".")
    monkeypatch.chdir("a")
    (tmp_path / "photos/a/x").mkdir()
    assert tasks.dataset("..", settings).name == "photos"


def test_a_prepared_dataset_needs_no_tfds(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_known_to_tfds", lambda: None)
    folder = tmp_path / "tfds/mine/1.0.0"
    folder.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        (folder / name).write_text("{}")
    here = settings.model_copy(update={"tfds": tmp_path / "tfds"})
    assert tasks.dataset("mine", here) == Dataset(name="mine", tfds="mine")
    with pytest.raises(DatasetError, match=r"'yours' is no folder.*not installed"):
        tasks.dataset("yours", here)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "dataset '': expected a folder of class folders"),
        ("flower", "'flower' is no folder, no row"),
        ("tf_flower", "did you mean tf_flowers"),
        ("tfds:bean", "did you mean beans?: expected a folder"),
        ("photos/none", "folder 'photos/none' does not exist: expected"),
        ("~/surely/not/here", "does not exist"),
        ("file.jpg", "'file.jpg' is a file: expected"),
        ("zip", "'zip' holds a single folder, 'photos'"),
    ],
)
def test_what_is_none_of_them(text: str, said: str, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file.jpg").write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        tasks.dataset(text, settings)
    assert said in str(caught.value)


def test_a_folder_in_a_folder_is_pointed_at(settings: Settings) -> None:
    with pytest.raises(DatasetError, match=r"'zip/photos' holds 2: give that one\?"):
        tasks.dataset("zip", settings)


def test_a_lone_train_folder_is_a_split(settings: Settings, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "split/train" / name).mkdir(parents=True)
    assert tasks.dataset("split", settings).folder == "split"
