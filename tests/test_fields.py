"""Which lines are held against each other, and what such a field is called."""

from pathlib import Path

import pytest
from answered import HEAD, blocks, row
from conftest import STACK, make_dataset

from bench.analysis import evidence, fields
from bench.records import TrialResult

OTHER = STACK.model_copy(update={"backend": "jax", "backend_version": "0.10.2"})


def found(*folders: tuple[str, list[TrialResult]]) -> dict[str, list[int]]:
    """Numbers of lines by the field's name."""
    sources = [evidence.Source(name, Path(name), tuple(rows)) for name, rows in folders]
    of = fields.of(evidence.of(sources).lines)
    assert len({field.name for field in of}) == len(of)
    return {field.name: [line.number for line in field.lines] for field in of}


def seen(result: TrialResult, fingerprint: str, **changes: int) -> TrialResult:
    """The same with other pictures; ``train`` asks for as many, too."""
    used = make_dataset(fingerprint * 64, **({"test": 1000} | changes))
    data = result.spec.data.model_copy(update={"train_examples": changes.get("train")})
    spec = result.spec.model_copy(update={"data": data})
    return result.model_copy(update={"spec": spec, "key": spec.key, "dataset": used})


def lost(result: TrialResult) -> TrialResult:
    """The same, ended before it saw a picture."""
    return result.model_copy(update={"dataset": None, "status": "failed", "test_correct": None})


def test_one_field_has_the_name_of_its_dataset() -> None:
    assert found(("a", [row(HEAD, 800), row(blocks(2), 900)])) == {"digits": [1, 2]}


def test_only_what_tells_fields_apart_is_said() -> None:
    rows = [row(HEAD, 800), seen(row(HEAD, 700), "a", train=250)]
    assert found(("a", rows)) == {"digits, 600 train": [1], "digits, 250 train": [2]}
    rows = [row(HEAD, 800), row(HEAD, 800, stack=OTHER)]
    assert found(("a", rows)) == {"digits, tensorflow 2.21.0": [1], "digits, jax 0.10.2": [2]}
    one = [row(HEAD, 800)]
    assert found(("a", one), ("b", one)) == {"digits, a": [1], "digits, b": [2]}


def test_pictures_of_equal_number_are_told_apart_all_the_same() -> None:
    rows = [row(HEAD, 800), seen(row(blocks(2), 700), "a", test=179)]
    assert list(found(("a", rows))) == ["digits, 1,000 test", "digits, 179 test"]
    used = make_dataset("b" * 64, test=1000)
    names = list(found(("a", [rows[0], row(blocks(2), 700, dataset=used)])))
    assert names == ["digits, pictures ffffffff", "digits, pictures bbbbbbbb"]


def test_a_failure_without_pictures_is_with_those_that_asked_for_the_same() -> None:
    small = seen(row(HEAD, 700), "a", train=250)
    broken = lost(seen(row(blocks(2), 700), "a", train=250))
    assert found(("a", [row(HEAD, 800), small, broken])) == {
        "digits, 600 train": [1],
        "digits, 250 train": [2, 3],
    }


@pytest.mark.parametrize("train", [250, 100])
def test_a_failure_of_another_size_is_not_put_under_this_one(train: int) -> None:
    broken = lost(seen(row(blocks(2), 700), "a", train=train))
    assert found(("a", [row(HEAD, 800), broken, broken])) == {
        "digits, 600 train": [1],
        f"digits, {train} train": [2],
    }


def test_nor_under_another_stacks_or_folders() -> None:
    broken = lost(row(blocks(2), 700, stack=OTHER))
    names = found(("a", [row(HEAD, 800), broken]))
    assert names == {
        "digits, 600 train, tensorflow 2.21.0": [1],
        "digits, pictures not seen, jax 0.10.2": [2],
    }
