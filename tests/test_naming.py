"""What stacks, weights and trials are called."""

from pathlib import Path

import pytest
from answered import HEAD, blocks, row
from conftest import STACK

from bench.analysis import evidence, naming
from bench.analysis.evidence import Evidence
from bench.records import Backbone, TrialResult

OTHER = STACK.model_copy(update={"backend": "jax", "backend_version": "0.10.2"})


def of(*rows: TrialResult) -> Evidence:
    return evidence.of([evidence.Source("here", Path("here"), rows)])


def names(*rows: TrialResult) -> list[str]:
    lines = of(*rows).lines
    return list(map(naming.namer(lines), lines))


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("imagenet", "imagenet"),
        ("/home/alice/x.weights.h5", "x.weights.h5"),
        ("C:\\Users\\alice\\x.h5", "x.h5"),
        ("weights/folder/", "folder"),
    ],
)
def test_weights_are_called_by_their_files_name(weights: str, name: str) -> None:
    assert naming.weights(Backbone(name="m", weights=weights)) == name


def test_sides_say_what_differs_and_a_single_one_nothing() -> None:
    assert naming.sides([("a", STACK)]) == {("a", STACK.id): ""}
    both = [("a", STACK), ("a", OTHER)]
    assert list(naming.sides(both).values()) == ["tensorflow 2.21.0", "jax 0.10.2"]
    assert list(naming.sides([("a", STACK), ("b", STACK)]).values()) == ["a", "b"]
    assert list(naming.sides([("a", STACK), ("b", OTHER)]).values()) == [
        "a · tensorflow 2.21.0",
        "b · jax 0.10.2",
    ]


def test_what_differs_is_said_of_those_that_need_it() -> None:
    slower = row(HEAD, 800)
    rate = (
        slower.spec.phase1.model_copy(update={"learning_rate": 1 / 4})
        if slower.spec.phase1
        else None
    )
    spec = slower.spec.model_copy(update={"phase1": rate})
    slower = slower.model_copy(update={"spec": spec, "key": spec.key})
    assert names(row(HEAD, 800), slower, row(blocks(2), 900)) == [
        "MobileNetV2 head_only, phase 1 2 x adam 0.001",
        "MobileNetV2 head_only, phase 1 2 x adam 0.25",
        "MobileNetV2 top_blocks=2",
    ]


def test_where_nothing_else_differs_the_key_does() -> None:
    rows = [row(blocks(2), 900, weights=f"/{folder}/w.h5") for folder in "ab"]
    assert names(*rows) == [
        f"MobileNetV2 top_blocks=2, trial {r.key[: naming.KEY_SHOWN]}" for r in rows
    ]
    titles = naming.titles(of(*rows))
    assert len(set(titles.values())) == 2


def test_titles_say_all_that_differs() -> None:
    found = naming.titles(of(row(HEAD, 800), row(blocks(2), 900, stack=OTHER, trap="unpinned")))
    assert list(found.values()) == [
        "MobileNetV2 · digits · head_only · tensorflow 2.21.0",
        "MobileNetV2 · digits · top_blocks=2 · jax 0.10.2 · trap unpinned",
    ]
