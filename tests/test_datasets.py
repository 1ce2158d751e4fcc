import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from bench.data import datasets
from bench.data.datasets import DATASETS, DatasetRow
from bench.data.images import open_images
from bench.data.splits import describe, split
from bench.errors import DatasetError, UnknownNameError
from bench.records import Data, Dataset
from bench.settings import Settings

PICTURES = {  # in the official dataset, and in the part of it that Bench is developed with
    "cats_vs_dogs": (23_262, 1_400),
    "tf_flowers": (3_670, 3_666),
    "stanford_dogs": (20_580, 2_880),
    "digits": (1_797,),
}
FLOWERS = {"daisy": 633, "dandelion": 898, "roses": 640, "sunflowers": 697, "tulips": 798}


@pytest.mark.parametrize("row", DATASETS.values(), ids=DATASETS.keys())
class TestEveryRow:
    def test_says_what_it_is(self, row: DatasetRow) -> None:
        assert row.description
        assert row.source
        assert row.classes is None or row.classes >= 2
        assert all(c.endswith(".") for c in row.caveats)

    def test_is_found_by_its_name(self, row: DatasetRow) -> None:
        assert DATASETS[row.name] is datasets.row(row.name) is row

    def test_resolves_to_its_reader_and_caveats(self, row: DatasetRow) -> None:
        resolved = datasets.resolve(Dataset(name=row.name))
        assert (resolved.name, resolved.reader, resolved.source) == (
            row.name,
            row.reader,
            row.source,
        )
        assert resolved.caveats == row.caveats

    def test_is_frozen(self, row: DatasetRow) -> None:
        with pytest.raises(FrozenInstanceError):
            row.name = "other"  # type: ignore[misc]

    @pytest.mark.real
    def test_opens_and_splits(self, row: DatasetRow, tmp_path: Path) -> None:
        if row.reader == "tfds" and not os.environ.get("TFDS_DATA_DIR"):
            pytest.skip("TFDS_DATA_DIR is not set")
        settings = Settings.from_environment().model_copy(update={"cache": tmp_path})
        dataset = Dataset(name=row.name)
        prints = set()
        for size in (32, 48):
            images = open_images(dataset, size, settings)
            done = split(images, Data(dataset=dataset, image_size=size))
            used = describe(images, done)
            prints.add(used.fingerprint)
            sides = [{images.hashes[i] for i in s} for s in (done.train, done.val, done.test)]
            assert not sides[0] & sides[1]
            assert not sides[0] & sides[2]
            assert not sides[1] & sides[2]
            for part in (done.train, done.val, done.test):
                assert set(images.labels[part]) == set(range(len(images.class_names)))
        assert len(prints) == 1, "the split must not depend on the image size"
        assert len(images.class_names) == row.classes
        there = len(images.labels)
        assert there + len(images.problems) in PICTURES[row.name]
        assert used.train + used.val + used.test == there
        assert used.caveats == row.caveats
        official = [i for i, kept in enumerate(images.official) if kept == "test"]
        if row.name == "stanford_dogs":
            assert sorted(done.test.tolist()) == official
            assert there != 2_880 or (used.train, used.val, used.test) == (1680, 240, 960)
        else:
            assert official == []
            assert used.val == pytest.approx(there / 10, abs=len(images.class_names))
            assert used.test == pytest.approx(there / 10, abs=len(images.class_names))
        if row.name == "tf_flowers" and there == sum(FLOWERS.values()):
            counts = np.bincount(images.labels).tolist()
            assert dict(zip(images.class_names, counts, strict=True)) == FLOWERS


def test_unknown_name_says_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset 'tf_flower': did you mean tf_flo"):
        datasets.resolve(Dataset(name="tf_flower"))


def test_a_tfds_name_needs_no_row() -> None:
    resolved = datasets.resolve(Dataset(name="my beans", tfds="beans:0.1.0"))
    assert (resolved.name, resolved.reader, resolved.source) == ("my beans", "tfds", "beans:0.1.0")
    assert resolved.caveats == ()


def test_a_folder_needs_no_row() -> None:
    resolved = datasets.resolve(Dataset(name="pets", folder="data/pets"))
    assert (resolved.reader, resolved.source) == ("folder", "data/pets")


@pytest.mark.parametrize("asked", ["stanford_dogs", "stanford_dogs:0.2.0"])
def test_a_caveat_holds_however_the_pictures_are_asked_for(asked: str) -> None:
    resolved = datasets.resolve(Dataset(name="dogs", tfds=asked))
    assert resolved.caveats == datasets.row("stanford_dogs").caveats
    assert "ImageNet" in resolved.caveats[0]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Dataset(name="x", tfds="beans", folder="y"), "expected one of the two"),
        (Dataset(name="x", folder=" "), "folder is empty"),
    ],
)
def test_impossible_datasets(dataset: Dataset, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        datasets.resolve(dataset)


def test_the_data_layer_imports_nothing_heavy() -> None:
    code = (
        "import sys, bench.data.images, bench.data.splits\n"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'keras', 'sklearn', 'PIL', 'jax', 'torch'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
