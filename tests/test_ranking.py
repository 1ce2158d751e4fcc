"""Best, or a tie: as far as the test pictures tell."""

import numpy as np
import pytest
from conftest import STACK, make_dataset, make_result, make_spec

from bench import marks
from bench.analysis.ranking import standings
from bench.analysis.summary import Group, summarise
from bench.records import Backbone, Freeze, TrialResult

PICTURES = 500


def rows(amount: int, accuracy: float, seeds: int = 3, pictures: str = "f") -> list[TrialResult]:
    """Seeds of one trial; every trial finds the same pictures hard."""
    hard = np.random.default_rng(0).random(PICTURES)
    found = []
    for seed in range(seeds):
        chance = 0.02 * np.random.default_rng([amount, seed]).standard_normal(PICTURES)
        right = hard + chance < accuracy
        found.append(
            make_result(
                make_spec(Freeze(strategy="top_blocks", amount=amount), seed),
                dataset=make_dataset(pictures * 64, test=PICTURES),
                test_accuracy=float(right.mean()),
                test_correct=marks.packed(right),
            )
        )
    return found


def groups(*trials: list[TrialResult]) -> list[Group]:
    return summarise(row for trial in trials for row in trial)


def test_one_that_stands_out_is_best() -> None:
    assert standings(groups(rows(1, 0.6), rows(2, 0.9), rows(3, 0.7))) == ["", "best", ""]


def test_those_that_are_not_told_apart_are_a_tie() -> None:
    assert standings(groups(rows(1, 0.9), rows(2, 0.9), rows(3, 0.6))) == ["tie", "tie", ""]


def test_one_alone_is_nothing() -> None:
    assert standings(groups(rows(1, 0.9))) == [""]
    assert standings([]) == []


def test_each_set_of_pictures_has_its_own() -> None:
    field = groups(rows(1, 0.9), rows(2, 0.6), rows(3, 0.5, pictures="e"), rows(4, 0.8, 3, "e"))
    assert standings(field) == ["best", "", "", "best"]


def test_each_stack_has_its_own() -> None:
    other = STACK.model_copy(update={"device": "gpu"})
    there = [r.model_copy(update={"stack": other}) for r in (*rows(1, 0.9), *rows(2, 0.6))]
    field = groups(rows(1, 0.9), rows(2, 0.6), there)
    assert standings(field) == ["best", "", "best", ""]


def test_what_does_not_tell_its_answers_takes_no_part() -> None:
    silent = [row.model_copy(update={"test_correct": None}) for row in rows(2, 0.99)]
    assert standings(groups(rows(1, 0.9), silent, rows(3, 0.6))) == ["best", "", ""]


@pytest.mark.parametrize(
    "change",
    [
        {"trap": "unpinned"},
        {"backbone": Backbone(name="MobileNetV2", weights="random")},
    ],
)
def test_nobody_is_told_to_choose_a_trap_or_a_random_backbone(change: dict[str, object]) -> None:
    odd = [
        row.model_copy(update={"spec": row.spec.model_copy(update=change)}) for row in rows(2, 0.99)
    ]
    assert standings(groups(rows(1, 0.9), odd, rows(3, 0.6))) == ["best", "", ""]


def test_two_seeds_far_below_are_no_tie() -> None:
    unsteady = [rows(2, 0.50, 2)[0], rows(2, 0.60, 2)[1]]
    assert standings(groups(rows(1, 0.95, 2), unsteady)) == ["best", ""]


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_equal_ones_are_a_tie_however_many_seeds(seeds: int) -> None:
    assert standings(groups(rows(1, 0.8, seeds), rows(2, 0.8, seeds))) == ["tie", "tie"]
