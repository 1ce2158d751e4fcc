import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.images import Images
from bench.data.splits import Split, describe, split
from bench.errors import DatasetError
from bench.records import Data, Dataset, SplitName

Picture = tuple[str, int, SplitName | None]  # content, label, official split


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def images_of(pictures: list[Picture], classes: int | None = None, **more: Any) -> Images:
    labels = np.array([label for _, label, _ in pictures], np.int64)
    classes = classes or int(labels.max()) + 1
    return Images(
        dataset="made",
        pixels=np.zeros((len(pictures), 1, 1, 3), np.uint8).view(np.memmap),
        labels=labels,
        hashes=tuple(digest(content) for content, _, _ in pictures),
        ids=tuple(f"{content}.jpg" for content, _, _ in pictures),
        official=tuple(official for _, _, official in pictures),
        class_names=tuple(f"class{i}" for i in range(classes)),
        **more,
    )


def many(*per_class: int, official: SplitName | None = None, start: str = "") -> list[Picture]:
    return [(f"{start}{c}-{i}", c, official) for c, n in enumerate(per_class) for i in range(n)]


def data(**keys: Any) -> Data:
    return Data(dataset=Dataset(name="made"), **keys)


def sides(images: Images, done: Split) -> list[Counter[tuple[str, int]]]:
    return [
        Counter((images.hashes[i], int(images.labels[i])) for i in part)
        for part in (done.train, done.val, done.test)
    ]


def counts(images: Images, part: np.ndarray) -> list[int]:
    return np.bincount(images.labels[part], minlength=len(images.class_names)).tolist()


def test_fractions_hold_in_every_class() -> None:
    images = images_of(many(100, 50, 10))
    done = split(images, data())
    assert counts(images, done.train) == [80, 40, 8]
    assert counts(images, done.val) == [10, 5, 1]
    assert counts(images, done.test) == [10, 5, 1]
    assert done.notes == ()
    assert done.train.dtype == np.int64


def test_within_a_class_the_hash_decides() -> None:
    images = images_of(many(20, 20))
    done = split(images, data())
    for label in (0, 1):
        of_class = [
            [images.hashes[i] for i in part if images.labels[i] == label]
            for part in (done.train, done.val, done.test)
        ]
        together = [*of_class[0], *of_class[1], *of_class[2]]
        assert together == sorted(together)


@pytest.mark.parametrize(("size", "expected"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (9, (7, 1, 1))])
def test_small_classes_get_one_picture_in_every_split(
    size: int, expected: tuple[int, int, int]
) -> None:
    images = images_of(many(size, 50))
    done = split(images, data())
    assert tuple(counts(images, p)[0] for p in (done.train, done.val, done.test)) == expected


def test_classes_too_small_for_every_split_train_first_and_are_named() -> None:
    images = images_of(many(1, 2, 50))
    done = split(images, data())
    assert counts(images, done.train)[:2] == [1, 1]
    assert counts(images, done.val)[:2] == [0, 0]
    assert counts(images, done.test)[:2] == [0, 1]
    assert "val has no picture of class0, class1" in done.notes
    assert "test has no picture of class0" in done.notes


def test_other_fractions() -> None:
    images = images_of(many(100, 100))
    done = split(images, data(splits={"train": 0.5, "val": 0.3, "test": 0.2}))
    assert [len(p) for p in (done.train, done.val, done.test)] == [100, 60, 40]


def test_an_official_test_split_is_kept_and_val_is_carved_from_the_rest() -> None:
    images = images_of(many(90, 90) + many(30, 5, official="test", start="t"))
    done = split(images, data())
    assert counts(images, done.test) == [30, 5]
    assert counts(images, done.train) == [80, 80]
    assert counts(images, done.val) == [10, 10]


def test_an_official_val_split_is_kept_and_test_is_carved_from_the_rest() -> None:
    pictures = many(90, 90, official="train") + many(7, 7, official="val", start="v")
    images = images_of(pictures)
    done = split(images, data())
    assert counts(images, done.val) == [7, 7]
    assert counts(images, done.test) == [10, 10]


def test_official_val_and_test_leave_everything_else_for_training() -> None:
    pictures = many(4, 4) + many(2, 2, official="val", start="v")
    pictures += many(3, 3, official="test", start="t")
    done = split(images_of(pictures), data())
    assert [len(p) for p in (done.train, done.val, done.test)] == [8, 4, 6]


def test_a_picture_of_the_official_test_split_never_trains() -> None:
    leaked: list[Picture] = [("t0-1", 0, "train"), ("t0-1", 0, "val"), ("t1-2", 1, None)]
    images = images_of(many(20, 20) + leaked + many(5, 5, official="test", start="t"))
    done = split(images, data())
    train, val, test = sides(images, done)
    assert sum(test.values()) == 10
    assert not (set(train) | set(val)) & set(test)
    assert sum(train.values()) + sum(val.values()) == 40
    assert any("also in the official test split" in n and "t0-1.jpg" in n for n in done.notes)


def test_copies_stay_on_one_side_and_contradictions_are_named() -> None:
    pictures = many(30, 30)
    copies: list[Picture] = [(c, label, None) for c, label, _ in pictures[:20]]
    contradictions: list[Picture] = [(f"0-{i}", 1, None) for i in range(5)]
    images = images_of(pictures + copies + contradictions)
    done = split(images, data())
    hashes = [{h for h, _ in side} for side in sides(images, done)]
    assert not hashes[0] & hashes[1]
    assert not hashes[0] & hashes[2]
    assert not hashes[1] & hashes[2]
    assert len(done.train) + len(done.val) + len(done.test) == len(images.labels)
    assert any("more than once: 20 (25 of all are copies)" in n for n in done.notes)
    [note] = [n for n in done.notes if "contradictory" in n]
    assert "0-" in note
    assert "(class0)" in note
    assert "(class1)" in note


@st.composite
def any_pictures(draw: st.DrawFn) -> list[Picture]:
    extra = draw(
        st.lists(
            st.tuples(
                st.sampled_from([f"{c}-{i}" for c in range(3) for i in range(12)]),
                st.integers(0, 2),
                st.sampled_from([None, "train", "val", "test"]),
            ),
            max_size=30,
        )
    )
    sizes = draw(st.tuples(*[st.integers(4, 12)] * 3))
    return many(*sizes, start="own") + extra


@given(any_pictures(), st.randoms(use_true_random=False))
def test_reading_order_changes_nothing(pictures: list[Picture], random: Any) -> None:
    shuffled = list(pictures)
    random.shuffle(shuffled)
    one, other = images_of(pictures, 3), images_of(shuffled, 3)
    asked = data(train_examples=6)
    first, second = split(one, asked), split(other, asked)
    assert first.fingerprint == second.fingerprint
    for name in ("train", "val", "test"):
        a, b = getattr(first, name), getattr(second, name)
        assert [one.hashes[i] for i in a] == [other.hashes[i] for i in b]
        assert one.labels[a].tolist() == other.labels[b].tolist()


@given(any_pictures())
def test_no_picture_is_on_two_sides_and_none_is_lost_unsaid(pictures: list[Picture]) -> None:
    images = images_of(pictures, 3)
    done = split(images, data())
    together = np.concatenate([done.train, done.val, done.test])
    assert len(set(together.tolist())) == len(together)
    hashes = [{h for h, _ in side} for side in sides(images, done)]
    assert not hashes[0] & hashes[1]
    assert not hashes[0] & hashes[2]
    assert not hashes[1] & hashes[2]
    assert hashes[0] | hashes[1] | hashes[2] == set(images.hashes)
    tests = {h for h, o in zip(images.hashes, images.official, strict=True) if o == "test"}
    assert not tests or tests == hashes[2]


@given(st.integers(4, 60), st.integers(4, 60))
def test_train_subsets_are_nested_and_proportional(small: int, large: int) -> None:
    small, large = sorted((small, large))
    images = images_of(many(50, 20, 10, 4))
    few = split(images, data(train_examples=small)).train
    more = split(images, data(train_examples=large)).train
    everything = split(images, data()).train
    assert (len(few), len(more)) == (small, large)
    assert set(few.tolist()) <= set(more.tolist()) <= set(everything.tolist())
    whole = np.array(counts(images, everything)) / len(everything)
    assert np.all(np.abs(np.array(counts(images, few)) - whole * small) <= 1.5)
    assert min(counts(images, few)) >= 1


def test_subsets_leave_the_other_splits_alone() -> None:
    images = images_of(many(100, 100))
    whole, part = split(images, data()), split(images, data(train_examples=10))
    assert part.val.tolist() == whole.val.tolist()
    assert part.test.tolist() == whole.test.tolist()
    assert part.fingerprint != whole.fingerprint


def test_train_per_class_is_equal_and_nested() -> None:
    images = images_of(many(100, 30))
    few, more = (split(images, data(train_per_class=n)).train for n in (5, 20))
    assert counts(images, few) == [5, 5]
    assert counts(images, more) == [20, 20]
    assert set(few.tolist()) <= set(more.tolist())


def test_val_and_test_subsets() -> None:
    images = images_of(many(200, 100))
    done = split(images, data(val_examples=6, test_examples=9))
    assert counts(images, done.val) == [4, 2]
    assert counts(images, done.test) == [6, 3]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train_examples": 97}, "'made': train_examples = 97: expected at most 96"),
        ({"val_examples": 13}, "'made': val_examples = 13: expected at most 12"),
        ({"test_examples": 13}, "'made': test_examples = 13: expected at most 12"),
        ({"train_per_class": 17}, "train_per_class = 17: expected at most 16.*'class1'"),
        ({"train_examples": 2}, "train_examples = 2: expected at least 3"),
        ({"train_examples": 9, "train_per_class": 3}, "expected one of the two"),
    ],
)
def test_asking_for_more_than_there_is(keys: dict[str, int], message: str) -> None:
    images = images_of(many(50, 20, 50))
    with pytest.raises(DatasetError, match=message):
        split(images, data(**keys))


@pytest.mark.parametrize(
    ("pictures", "classes", "message"),
    [
        (many(10), 1, "has 1 class"),
        (many(10, 0, 10), 3, "no pictures of class 'class1'"),
        (many(2, 2), 2, "too few to split: nothing is left for val"),
        (many(1, 1), 2, "nothing is left for val and test"),
        (many(9, 9, official="test"), 2, "outside the official val and test splits of class"),
        (many(9, 0) + many(9, 9, official="test"), 2, "outside the official .* 'class1'"),
    ],
)
def test_datasets_that_cannot_be_split(pictures: list[Picture], classes: int, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        split(images_of(pictures, classes), data())


def test_many_empty_classes_are_counted_not_listed() -> None:
    with pytest.raises(DatasetError, match=r"'class6' and 3 more"):
        split(images_of(many(9, 9), 10), data())


def test_the_fingerprint_is_that_of_the_manifest() -> None:
    """Stored rows carry it: a change here would make every old row look like other data."""
    images = images_of(many(10, 10))
    done = split(images, data())
    lines = [
        f'["{images.hashes[i]}", "class{images.labels[i]}", "{name}"]'
        for name in ("train", "val", "test")
        for i in getattr(done, name)
    ]
    assert done.fingerprint == digest("\n".join(sorted(lines)))
    assert done.fingerprint == "d4cf6b8c7c27da2e63b091045cd65b8e6ca3129aeb3c7c8428b6b4706cb32d76"


def test_the_fingerprint_knows_the_labels() -> None:
    one = split(images_of(many(10, 10)), data())
    other = split(images_of([(c, 1 - label, o) for c, label, o in many(10, 10)]), data())
    assert one.fingerprint != other.fingerprint


def test_description_for_a_result_row() -> None:
    problems = tuple(f"{i}.jpg: the file is empty" for i in range(50))
    images = images_of(many(10, 10), caveats=("Made up.",), problems=problems, notes=("carried",))
    done = split(images, data())
    used = describe(images, done)
    assert (used.train, used.val, used.test) == (16, 2, 2)
    assert used.class_names == ("class0", "class1")
    assert used.fingerprint == done.fingerprint
    assert used.caveats == ("Made up.",)
    assert used.notes[0] == "carried"
    assert used.notes[1] == "left out: 0.jpg: the file is empty"
    assert used.notes[-1] == "and 30 more that were left out"
