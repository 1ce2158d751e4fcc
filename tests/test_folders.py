"""Folders that are not as they should be: empty classes, and pictures beside the classes."""

import json
import os
from pathlib import Path

import pytest
from test_sources import tree

from bench.cache import checksums
from bench.data import images, picture_cache, splits
from bench.data.datasets import resolve
from bench.data.images import Images, open_images
from bench.errors import DatasetError
from bench.records import Data, Dataset
from bench.settings import Settings


def pets(root: Path, *more: str) -> Dataset:
    tree(root, *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(4)), *more)
    for i, file in enumerate(sorted(root.rglob("*.png"))):
        file.write_bytes(file.read_bytes() + str(i).encode())  # no two the same
    return Dataset(name="pets", folder=str(root))


def opened(dataset: Dataset, settings: Settings) -> Images:
    return open_images(dataset, 32, settings)


def test_a_class_without_pictures_is_left_out_and_said(tmp_path: Path, settings: Settings) -> None:
    dataset = pets(tmp_path / "p")
    (tmp_path / "p/bird").mkdir()
    (tmp_path / "p/dodo").mkdir()
    found = opened(dataset, settings)
    assert found.class_names == ("cat", "dog")
    assert found.empty == ("bird", "dodo")
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    used = splits.describe(found, splits.split(found, Data(dataset=dataset, image_size=32)))
    assert used.class_names == ("cat", "dog")
    assert "left out: class 'bird', which has no readable picture" in used.notes


def test_so_is_one_whose_pictures_cannot_be_read(tmp_path: Path, settings: Settings) -> None:
    dataset = pets(tmp_path / "p")
    (tmp_path / "p/bird").mkdir()
    (tmp_path / "p/bird/1.jpg").write_bytes(b"no picture")
    found = opened(dataset, settings)
    assert (found.class_names, found.empty) == (("cat", "dog"), ("bird",))
    assert [p.partition(":")[0] for p in found.problems] == [
        "class 'bird', which has no readable picture",
        "bird/1.jpg",
    ]


def test_an_entry_of_an_earlier_bench_is_read_the_same_way(
    tmp_path: Path, settings: Settings
) -> None:
    dataset = pets(tmp_path / "p")
    opened(dataset, settings)
    (manifest,) = (settings.cache / "images").glob("*/manifest.json")
    content = checksums.manifest(manifest.parent) | {"class_names": ["ant", "cat", "dog"]}
    manifest.write_text(json.dumps(content))
    checksums.seal(manifest.parent)
    entry = picture_cache.read(manifest.parent)
    assert entry is not None
    entry.labels[:] += 1
    found = images.of_entry(resolve(dataset), entry)
    assert (found.class_names, found.empty) == (("cat", "dog"), ("ant",))
    assert found.labels.tolist() == [0] * 4 + [1] * 4


def test_an_empty_class_changes_no_fingerprint(tmp_path: Path, settings: Settings) -> None:
    dataset = pets(tmp_path / "p")
    data = Data(dataset=dataset, image_size=32)
    before = splits.split(opened(dataset, settings), data).fingerprint
    (tmp_path / "p/bird").mkdir()
    assert splits.split(opened(dataset, settings), data).fingerprint == before


def test_one_class_beside_empty_ones_is_one_class(tmp_path: Path, settings: Settings) -> None:
    tree(tmp_path / "p", "cat/1.png", "cat/2.png")
    (tmp_path / "p/bird").mkdir()
    dataset = Dataset(name="pets", folder=str(tmp_path / "p"))
    with pytest.raises(DatasetError) as caught:
        splits.split(opened(dataset, settings), Data(dataset=dataset, image_size=32))
    assert str(caught.value) == (
        "dataset 'pets' has 1 class(es) (cat, beside 'bird' without a readable picture): "
        "expected at least two, each with readable pictures"
    )


def test_a_class_that_only_val_has_pictures_of_is_refused(
    tmp_path: Path, settings: Settings
) -> None:
    tree(tmp_path, "train/a/1.png", "train/c/2.png", "val/a/3.png", "val/b/4.png", "val/c/5.png")
    (tmp_path / "train/b").mkdir()
    dataset = Dataset(name="pets", folder=str(tmp_path))
    for i, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        file.write_bytes(file.read_bytes() + str(i).encode())
    with pytest.raises(DatasetError, match=r"no pictures outside the official .* of class 'b'"):
        splits.split(opened(dataset, settings), Data(dataset=dataset, image_size=32))


def test_pictures_beside_the_classes_are_said_and_not_read(tmp_path: Path) -> None:
    source = tree(tmp_path / "p", "a/1.png", "b/2.png", "3.png", "4.jpg")
    signature = source.signature()
    (tmp_path / "p/notes.txt").write_text("no picture")
    contents = source.open()
    assert contents.count == 2
    assert contents.problems == ("pictures in p that are in no class folder, not read: 2",)
    (tmp_path / "p/3.png").unlink()
    assert tree(tmp_path / "p").signature() == signature


def test_a_pipe_is_not_waited_for(tmp_path: Path, settings: Settings) -> None:
    dataset = pets(tmp_path / "p")
    os.mkfifo(tmp_path / "p/cat/x.jpg")
    found = opened(dataset, settings)
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert "x.jpg: not a regular file: not read" in found.problems


def test_a_file_too_large_for_a_picture_is_not_read(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = pets(tmp_path / "p")
    with (tmp_path / "p/cat/film.jpg").open("wb") as film:
        film.truncate(5000)
    monkeypatch.setattr(images, "LARGEST_FILE", 4999)
    found = opened(dataset, settings)
    assert len(found.labels) == 8
    assert "cat/film.jpg: 5,000 bytes, more than 4,999" in found.problems
