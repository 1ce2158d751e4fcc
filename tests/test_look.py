"""What a look finds, on folders made for it."""

import time
from pathlib import Path

import numpy as np
import pytest
from messy import messy_folder, split_folder, write
from test_splits import images_of, many
from test_twins import drawn

from bench.data import advice, files, splits
from bench.data.images import open_images
from bench.data.look import look
from bench.data.overview import ClassCount, Look
from bench.records import Data, Dataset
from bench.settings import Settings


def looked(folder: Path, settings: Settings, size: int = 64) -> Look:
    dataset = Dataset(name=folder.name, folder=str(folder))
    images = open_images(dataset, size, settings)
    return look(images, splits.split(images, Data(dataset=dataset, image_size=size)), dataset)


def names(groups: tuple[tuple[object, ...], ...]) -> list[list[str]]:
    return [[p.name for p in group] for group in groups]  # type: ignore[attr-defined]


def test_a_messy_folder(tmp_path: Path, settings: Settings) -> None:
    found = looked(messy_folder(tmp_path / "mine"), settings)
    assert (found.dataset, found.image_size, found.pictures) == ("mine", 64, 23)
    assert [(c.name, c.total) for c in found.classes] == [("<script>", 6), ("cat", 9), ("dog", 8)]
    assert found.official == ()
    assert found.empty == ("bird",)
    broken, page = sorted(found.unreadable)
    assert broken.startswith("dog/broken.jpg: ")
    assert page.startswith("dog/page.jpg: not a picture")
    assert found.passed_over == (
        "elsewhere.jpg: a link out of the folder: not read",
        "files that are not pictures by their names, not read: .txt (1)",
    )
    assert [sorted(group) for group in names(found.two_classes)] == [["cat/copy.png", "dog/0.png"]]
    assert (found.two_splits, found.alike_classes, found.alike_splits) == ((), (), ())
    assert found.copies == 0
    assert found.balance == 1.5


def test_its_files(tmp_path: Path, settings: Settings) -> None:
    found = looked(messy_folder(tmp_path / "mine"), settings).files
    assert found is not None
    assert found.count == 23
    assert dict(found.formats) == {"PNG": 6, "JPEG": 5, "BMP": 3, "GIF": 3, "TIFF": 3, "WEBP": 3}
    assert found.misnamed == (("dog/really.png", "JPEG"),)
    assert found.shorter == (64, 64, 384)
    assert (found.small, found.long, found.animated) == (0, 1, 0)


def test_what_it_says_comes_worst_first(tmp_path: Path, settings: Settings) -> None:
    said = looked(messy_folder(tmp_path / "mine"), settings).warnings
    starts = (
        "1 picture is filed under several classes, byte for byte, so that",
        "1 class has no readable picture: bird",
        "2 pictures cannot be read and are left out: dog/broken.jpg: ",
        "not used: elsewhere.jpg: a link out of the folder",
        "not used: files that are not pictures by their names: .txt (1)",
        "fewer than 10 train pictures of <script> (4), cat (",
        "val (",  # the rest depends on the picture in two classes
        "1 file is of another format than the extension says: dog/really.png is JPEG",
    )
    assert len(said) == len(starts)
    for sentence, start in zip(said, starts, strict=True):
        assert sentence.startswith(start)


def test_leaks_across_official_splits(tmp_path: Path, settings: Settings) -> None:
    found = looked(split_folder(tmp_path / "split"), settings)
    assert found.official == ("train", "val", "test")
    assert names(found.two_splits) == [["test/cat/copy.png", "train/cat/0.png"]]
    assert sorted(names(found.alike_splits)) == [
        ["train/dog/1.png", "test/dog/again.jpg"],
        ["train/dog/2.png", "val/dog/again.jpg"],
    ]
    exact, alike = found.warnings[:2]
    assert exact.startswith("1 picture is in several of the dataset's own splits")
    assert "train/cat/0.png (unused)" in exact
    assert alike.startswith("2 of 11 pictures of val and test look like one of another split")
    assert "train/dog/1.png (train) = test/dog/again.jpg (test)" in alike


def test_what_looks_the_same_under_two_classes(tmp_path: Path, settings: Settings) -> None:
    for number, name in enumerate(("a", "b")):
        for i in range(4):
            write(tmp_path / name / f"{i}.png", drawn(10 * number + i))
    write(tmp_path / "b/again.jpg", drawn(0), quality=60)
    found = looked(tmp_path, settings)
    assert [sorted(group) for group in names(found.alike_classes)] == [["a/0.png", "b/again.jpg"]]
    assert found.warnings[0].startswith("1 pair of pictures looks the same under two classes: ")


def test_copies_in_a_class_are_harmless(tmp_path: Path, settings: Settings) -> None:
    for name in ("a", "b"):
        for i in range(4):
            write(tmp_path / name / f"{i}.png", drawn(10 * ord(name) + i))
    for copy in ("x", "y"):
        (tmp_path / f"a/{copy}.png").write_bytes((tmp_path / "a/0.png").read_bytes())
    found = looked(tmp_path, settings)
    assert (found.copies, found.two_classes, found.alike_splits) == (2, (), ())
    assert any(text.startswith("2 of the pictures are copies") for text in found.warnings)


def test_nothing_wrong_says_nothing(tmp_path: Path) -> None:
    counts = tuple(ClassCount(name, 400, 100, 100) for name in "ab")
    assert list(advice.sentences(Look("fine", 160, 1200, counts))) == []


def test_balance_and_chance() -> None:
    rare, often = ClassCount("rare", 8, 1, 1), ClassCount("often", 800, 100, 89)
    found = Look("made", 160, 999, (rare, often))
    assert found.balance == pytest.approx(98.9)
    assert found.chance == pytest.approx(89 / 90)
    said = list(advice.sentences(found))
    assert said[0].startswith("fewer than 10 train pictures of rare (8)")
    assert said[1].startswith("val (101 pictures) and test (90 pictures) tell an accuracy of 90%")
    assert said[2].startswith("always answering often is right in 99% of the pictures")


def test_a_class_that_a_split_lacks_is_named() -> None:
    counts = (ClassCount("a", 400, 0, 200), ClassCount("b", 400, 200, 200))
    (said,) = advice.sentences(Look("made", 160, 1400, counts))
    assert said.startswith("val has no picture of a: nothing is known")


def test_a_long_list_is_cut() -> None:
    counts = tuple(ClassCount(f"c{i}", 2, 100, 100) for i in range(9))
    first = next(advice.sentences(Look("made", 160, 999, counts)))
    assert first.startswith("fewer than 10 train pictures of c0 (2), c1 (2), c2 (2) and 6 more:")


def test_shapes_of_files_are_worth_a_word() -> None:
    counts = tuple(ClassCount(name, 400, 100, 100) for name in "ab")
    odd = files.Files(100, (("GIF", 100),), (), (10, 20, 400), small=51, long=6, animated=2)
    small, long, animated = advice.sentences(Look("made", 160, 1200, counts, files=odd))
    assert small.startswith("51 of 100 pictures are smaller than 160 pixels")
    assert long.startswith("6 of 100 pictures are more than 3 times as long as wide")
    assert animated.startswith("2 of 100 pictures are animated")
    fine = files.Files(100, (("GIF", 100),), (), (10, 20, 400), small=50, long=5, animated=0)
    assert list(advice.sentences(Look("made", 160, 1200, counts, files=fine))) == []


def test_without_a_folder_nothing_is_said_of_files() -> None:
    images = images_of(many(20, 20), problems=("x: unreadable",))
    found = look(images, splits.split(images, Data(dataset=Dataset(name="made"))))
    assert (found.files, found.passed_over, found.unreadable) == (None, (), ("x: unreadable",))


def test_headers_of_an_animation_and_of_what_is_gone(tmp_path: Path) -> None:
    frames = [drawn(seed).resize((40, 30)) for seed in range(3)]
    write(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    found = files.inspect(tmp_path, ["a.gif", "gone.png"], 32)
    assert found is not None
    assert (found.count, found.animated, found.small) == (1, 1, 1)
    assert files.inspect(tmp_path, ["gone.png"], 32) is None


@pytest.mark.real
def test_real_flowers_hold_copies_that_do_no_harm() -> None:
    settings = Settings.from_environment()
    if settings.tfds is None:
        pytest.skip("TFDS_DATA_DIR is not set")
    dataset = Dataset(name="tf_flowers")
    images = open_images(dataset, 64, settings)
    split = splits.split(images, Data(dataset=dataset, image_size=64))
    began = time.process_time()
    found = look(images, split, dataset)
    assert time.process_time() - began < 30
    assert found.pictures == len(np.asarray(images.labels)) > 3000
    assert (found.two_classes, found.alike_classes, found.unreadable) == ((), (), ())
    assert found.balance == pytest.approx(1.42, abs=0.02)
