"""Opening TFDS data in a child process: only where this machine has not decoded it."""

import pickle
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from test_images import carried

from bench.data import apart
from bench.errors import CacheError, DatasetError
from bench.records import Dataset
from bench.settings import Settings


class Pool:
    """In place of a child process: decodes nothing, or does what it is told."""

    asked: list[tuple[Any, ...]] = []
    answer: BaseException | None = None

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, _: object, dataset: Dataset, size: int, settings: Settings) -> "Future[None]":
        self.asked.append((dataset.name, size))
        done: Future[None] = Future()
        if self.answer is not None:
            done.set_exception(self.answer)
        else:
            carried(settings, dataset.name, f"tfds:{dataset.name}")
            done.set_result(None)
        return done


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> type[Pool]:
    monkeypatch.setattr(apart, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(Pool, "asked", [])
    monkeypatch.setattr(Pool, "answer", None)
    return Pool


def test_what_is_decoded_already_needs_no_child(settings: Settings, pool: type[Pool]) -> None:
    carried(settings, "tf_flowers", "tfds:tf_flowers")
    found = apart.open_apart(Dataset(name="tf_flowers"), 32, settings)
    assert (len(found.labels), pool.asked) == (40, [])


def test_what_is_not_is_decoded_by_one(settings: Settings, pool: type[Pool]) -> None:
    found = apart.open_apart(Dataset(name="tf_flowers"), 32, settings)
    assert (len(found.labels), pool.asked) == (40, [("tf_flowers", 32)])


def test_a_damaged_entry_does_not_count(settings: Settings, pool: type[Pool]) -> None:
    carried(settings, "tf_flowers", "tfds:tf_flowers")
    (examples,) = (settings.cache / "images").glob("*-32-*/examples.npz")
    examples.write_bytes(b"torn")
    apart.open_apart(Dataset(name="tf_flowers"), 32, settings)
    assert pool.asked == [("tf_flowers", 32)]


def test_a_folder_is_read_here(settings: Settings, tmp_path: Path, pool: type[Pool]) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        apart.open_apart(Dataset(name="x", folder=str(tmp_path / "x")), 32, settings)
    assert pool.asked == []


def test_a_child_that_dies_is_said(
    settings: Settings, pool: type[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "answer", BrokenProcessPool())
    with pytest.raises(DatasetError, match="'tf_flowers': the process that read it died"):
        apart.open_apart(Dataset(name="tf_flowers"), 32, settings)


@pytest.mark.parametrize("kind", [DatasetError, CacheError])
def test_what_a_child_finds_wrong_survives_the_way(kind: type[Exception]) -> None:
    assert str(pickle.loads(pickle.dumps(kind("no such thing")))) == "no such thing"
