import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data import tfds_reader
from bench.data.datasets import resolve
from bench.data.decoding import decode
from bench.data.examples import Contents, Example
from bench.data.folders import EXTENSIONS, FolderSource
from bench.data.sources import DigitsSource, find_source
from bench.data.tfds_reader import TfdsSource, prepared_folder
from bench.errors import DatasetError
from bench.records import Dataset
from bench.settings import Settings


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)


def tree(root: Path, *paths: str) -> FolderSource:
    for path in paths:
        picture(root / path)
    return FolderSource("mine", str(root))


def found(contents: Contents) -> dict[str, tuple[str, str | None]]:
    return {e.id: (contents.class_names[e.label], e.official) for e in contents.examples}


# ------------------------------------------------------------------------------------- folders


def test_folders_are_classes(tmp_path: Path) -> None:
    contents = tree(tmp_path, "b/2.jpg", "a/1.jpg", "b/deep/er/3.png").open()
    assert contents.class_names == ("a", "b")
    assert contents.count == 3
    assert found(contents) == {
        "a/1.jpg": ("a", None),
        "b/2.jpg": ("b", None),
        "b/deep/er/3.png": ("b", None),
    }
    assert contents.problems == ()


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_folders_of_splits(tmp_path: Path, val: str) -> None:
    contents = tree(tmp_path, "train/a/1.jpg", "train/b/2.jpg", f"{val}/a/3.jpg", f"{val}/b/4.jpg")
    assert found(contents.open()) == {
        "train/a/1.jpg": ("a", "train"),
        "train/b/2.jpg": ("b", "train"),
        f"{val}/a/3.jpg": ("a", "val"),
        f"{val}/b/4.jpg": ("b", "val"),
    }


def test_train_alone_is_a_split(tmp_path: Path) -> None:
    contents = tree(tmp_path, "train/a/1.jpg", "train/b/2.jpg").open()
    assert contents.class_names == ("a", "b")


def test_train_among_other_vehicles_is_a_class(tmp_path: Path) -> None:
    contents = tree(tmp_path, "train/steam/1.jpg", "car/2.jpg", "plane/3.jpg").open()
    assert contents.class_names == ("car", "plane", "train")


def test_other_folders_beside_the_splits_are_passed_over_and_said(tmp_path: Path) -> None:
    paths = ("train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg", "test/b/2.jpg", "masks/a/3.jpg")
    contents = tree(tmp_path, *paths).open()
    assert contents.class_names == ("a", "b")
    assert contents.problems == ("masks: a folder beside train: not read",)


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_extensions_in_any_case(tmp_path: Path, extension: str) -> None:
    contents = tree(tmp_path, f"a/1{extension}", f"b/2{extension.upper()}").open()
    assert contents.count == 2


def test_hidden_files_are_ignored_and_other_files_counted(tmp_path: Path) -> None:
    source = tree(tmp_path, "a/1.jpg", "b/2.jpg", "a/.3.jpg", ".git/4.jpg", "a/.thumbs/5.jpg")
    (tmp_path / "a/notes.txt").write_text("hello")
    (tmp_path / "a/6.HEIC").write_text("hello")
    contents = source.open()
    assert set(found(contents)) == {"a/1.jpg", "b/2.jpg"}
    [problem] = contents.problems
    assert problem.endswith("not read: .heic (1), .txt (1)")


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    picture(tmp_path / "secret/class/x.jpg")
    source = tree(tmp_path / "data", "a/1.jpg", "b/2.jpg")
    (tmp_path / "data/a/out.jpg").symlink_to(tmp_path / "secret/class/x.jpg")
    (tmp_path / "data/a/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "data/a/in.jpg").symlink_to(tmp_path / "data/b/2.jpg")
    (tmp_path / "data/linked").symlink_to(tmp_path / "secret", target_is_directory=True)
    (tmp_path / "data/b/loop").symlink_to(tmp_path / "data", target_is_directory=True)
    contents = source.open()
    assert set(found(contents)) == {"a/1.jpg", "a/in.jpg", "b/2.jpg"}
    said = "\n".join(contents.problems)
    for name in ("out.jpg", "gone.jpg", "linked", "loop"):
        assert f"{name}: a link" in said


def test_a_class_folder_without_pictures_is_still_a_class(tmp_path: Path) -> None:
    source = tree(tmp_path, "a/1.jpg")
    (tmp_path / "empty").mkdir()
    assert source.open().class_names == ("a", "empty")


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "does not exist"),
        (["1.jpg"], "no pictures in"),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/c/1.jpg"],
            "differ: only in train: b; only in test: c",
        ),
        (
            ["train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"],
            "more than one folder for val: val, valid",
        ),
    ],
)
def test_impossible_folders(tmp_path: Path, paths: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        tree(tmp_path / "data", *paths).open()


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    picture(tmp_path / "x.jpg")
    with pytest.raises(DatasetError, match="is not a folder"):
        FolderSource("mine", str(tmp_path / "x.jpg")).open()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a/1.jpg").unlink(),
        lambda root: picture(root / "a/3.jpg"),
        lambda root: (root / "a/1.jpg").rename(root / "b/1.jpg"),
        lambda root: (root / "a/1.jpg").write_bytes(b"other"),
        lambda root: (root / "c").mkdir(),
    ],
)
def test_the_signature_follows_the_folder(tmp_path: Path, change: Callable[[Path], object]) -> None:
    before = tree(tmp_path, "a/1.jpg", "a/2.jpg", "b/3.jpg").signature()
    assert FolderSource("mine", str(tmp_path)).signature() == before
    change(tmp_path)
    assert FolderSource("mine", str(tmp_path)).signature() != before


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    odd = tmp_path / "a" / b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    tree(tmp_path, "a/1.jpg", "b/2.jpg")
    try:
        picture(odd)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes only Unicode names")
    contents = FolderSource("mine", str(tmp_path)).open()
    assert r"a/caf\xe9.jpg" in found(contents)
    assert json.dumps(sorted(found(contents))).encode()


# -------------------------------------------------------------------------------------- digits


def test_digits() -> None:
    pytest.importorskip("sklearn")
    source = DigitsSource()
    contents = source.open()
    examples = list(contents.examples)
    assert len(examples) == contents.count == 1797
    assert contents.class_names == tuple("0123456789")
    assert contents.signature == source.signature()
    assert isinstance(examples[0].encoded, bytes)
    pixels = decode(examples[0].encoded, 8)
    assert pixels.shape == (8, 8, 3)
    from sklearn.datasets import load_digits

    ink = np.round(load_digits().images[0] * 255 / 16)
    assert np.abs(pixels[..., 0] - ink).max() <= 1


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    assert DigitsSource().signature() is None
    with pytest.raises(DatasetError, match=r"pip install 'keras-zoo-bench\[offline\]'"):
        DigitsSource().open()


# ---------------------------------------------------------------------------------------- TFDS


def prepared(root: Path, *parts: str) -> Path:
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        (folder / name).write_text("{}")
    (folder / "x-train.tfrecord-00000-of-00001").write_bytes(b"1234")
    return folder


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("beans", "beans/0.10.0"),
        ("beans:0.2.0", "beans/0.2.0"),
        ("beans:0.*.*", "beans/0.10.0"),
        ("beans:1.*.*", None),
        ("bean", None),
        ("../beans", None),
        ("patches/wide", "patches/wide/1.0.0"),
        ("patches/wide:1.0.0", "patches/wide/1.0.0"),
        ("patches", "patches/narrow/1.0.0"),
        ("unsaid", None),
        ("patches/..", None),
    ],
)
def test_what_is_prepared_is_found_by_its_folders(
    tmp_path: Path, asked: str, expected: str | None
) -> None:
    for version in ("0.2.0", "0.10.0", "0.9.9.incomplete"):
        prepared(tmp_path, "beans", version)
    (tmp_path / "beans" / "0.11.0").mkdir()  # a preparation that was cut off
    for config in ("narrow", "wide"):
        prepared(tmp_path, "patches", config, "1.0.0")
        prepared(tmp_path, "unsaid", config, "1.0.0")
    note = tmp_path / "patches" / ".config" / "metadata.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"default_config_name": "narrow"}))
    result = prepared_folder(asked, tmp_path)
    assert result == (tmp_path / expected if expected else None)


def test_the_tfds_signature_ignores_times_and_sees_content(tmp_path: Path) -> None:
    for root in ("here", "there"):
        prepared(tmp_path / root, "beans", "1.0.0")
    here, there = (TfdsSource("b", "beans", tmp_path / r) for r in ("here", "there"))
    assert here.signature() == there.signature()
    assert here.signature() is not None
    (tmp_path / "there/beans/1.0.0/features.json").write_text("[]")
    assert here.signature() != there.signature()
    assert TfdsSource("b", "beans", tmp_path / "nowhere").signature() is None


@pytest.mark.parametrize(
    ("dataset", "kind"),
    [
        (Dataset(name="digits"), DigitsSource),
        (Dataset(name="tf_flowers"), TfdsSource),
        (Dataset(name="x", tfds="beans"), TfdsSource),
        (Dataset(name="x", folder="y"), FolderSource),
    ],
)
def test_every_reader_has_a_source(dataset: Dataset, kind: type, tmp_path: Path) -> None:
    assert isinstance(find_source(resolve(dataset), Settings(cache=tmp_path)), kind)


def test_two_names_of_one_folder_share_an_identity() -> None:
    assert FolderSource("a", "x/../pets/").identity == FolderSource("b", "pets").identity


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(tfds_reader.socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(tfds_reader.urllib.request, "getproxies", dict)


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
class TestWithTensorFlow:
    def test_neither_data_nor_network(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError) as caught:
            TfdsSource("my flowers", "tf_flowers", tmp_path).open()
        for part in ("my flowers", str(tmp_path), "TFDS_DATA_DIR", "network", "digits"):
            assert part in str(caught.value)

    def test_a_name_that_tfds_does_not_know(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="no 'tf_flower': did you mean tf_flowers"):
            TfdsSource("mine", "tf_flower", tmp_path).open()

    def test_its_splits(self, tmp_path: Path) -> None:
        source = made_tfds(tmp_path, "made_splits", {"image": "Image", "label": "ClassLabel"})
        contents = source.open()
        examples = list(contents.examples)
        assert contents.class_names == ("cat", "dog")
        assert contents.count == len(examples) == 16
        assert contents.signature == source.signature()
        assert [e.official for e in examples] == [None] * 4 + ["test"] * 4 + ["train"] * 4 + [
            "val"
        ] * 4
        assert {e.label for e in examples if e.official == "test"} == {-1}
        assert len({e.id for e in examples}) == 16
        assert all(pixels_of(e).shape == (16, 16, 3) for e in examples)
        again = [(e.id, e.encoded) for e in source.open().examples]
        assert again == [(e.id, e.encoded) for e in examples]

    def test_features_by_other_names(self, tmp_path: Path) -> None:
        source = made_tfds(tmp_path, "made_names", {"photo": "Image", "species": "ClassLabel"})
        assert len(list(source.open().examples)) == 16

    @pytest.mark.parametrize(
        ("name", "features"),
        [
            ("made_no_label", {"image": "Image", "x": "Image"}),
            ("made_no_image", {"label": "ClassLabel"}),
            ("made_two", {"a": "ClassLabel", "b": "ClassLabel", "image": "Image"}),
        ],
    )
    def test_not_for_image_classification(
        self, tmp_path: Path, name: str, features: dict[str, str]
    ) -> None:
        with pytest.raises(DatasetError, match="is not for image classification: expected one"):
            made_tfds(tmp_path, name, features).open()

    def test_damaged_files(self, tmp_path: Path) -> None:
        source = made_tfds(tmp_path, "made_damage", {"image": "Image", "label": "ClassLabel"})
        [file] = tmp_path.glob("made_damage/1.0.0/*-train.tfrecord*")
        file.write_bytes(file.read_bytes()[:-7])
        with pytest.raises(DatasetError, match="cannot read split 'train'"):
            list(source.open().examples)


def pixels_of(example: Example) -> np.ndarray:
    assert isinstance(example.encoded, bytes)
    return decode(example.encoded, 16)


def made_tfds(data_dir: Path, name: str, kinds: dict[str, str]) -> TfdsSource:
    """Prepare a small TFDS dataset with TFDS' own writer."""
    tfds = pytest.importorskip("tensorflow_datasets")

    def features(self: Any) -> Any:
        made = {
            key: tfds.features.ClassLabel(names=["cat", "dog"])
            if kind == "ClassLabel"
            else tfds.features.Image(shape=(None, None, 3))
            for key, kind in kinds.items()
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(made))

    def examples(split: str) -> Any:
        for number in range(4):
            image = np.full((9, 9, 3), number * 20 + len(split), np.uint8)
            label = -1 if split == "test" else number % 2
            values = {"ClassLabel": label, "Image": image}
            yield number, {key: values[kind] for key, kind in kinds.items()}

    camel = "".join(part.title() for part in name.split("_"))
    members = {
        "VERSION": tfds.core.Version("1.0.0"),
        "__module__": __name__,
        "_info": features,
        "_split_generators": lambda self, manager: {
            s: examples(s) for s in ("train", "test", "validation", "extra")
        },
        "_generate_examples": lambda self: iter(()),
    }
    builder = type(camel, (tfds.core.GeneratorBasedBuilder,), members)
    builder(data_dir=data_dir).download_and_prepare()
    return TfdsSource("made", name, data_dir)
