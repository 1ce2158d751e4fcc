"""Groups of seeds: what enters a mean, and what stays visible."""

import pytest
from conftest import STACK, make_dataset, make_phase, make_result, make_spec

from bench.analysis.summary import Spread, summarise
from bench.records import Freeze, Guard, TrialResult, WeightsUsed


def seeds_with(*accuracies: float) -> list[TrialResult]:
    return [make_result(make_spec(seed=i), test_accuracy=a) for i, a in enumerate(accuracies)]


def test_mean_and_sample_deviation() -> None:
    (group,) = summarise(seeds_with(0.90, 0.92, 0.97))
    spread = group.spread(lambda r: r.test_accuracy)
    assert spread is not None
    assert spread.mean == pytest.approx(0.93)
    assert spread.deviation == pytest.approx(0.0360555, abs=1e-7)  # sqrt((9 + 1 + 16) / 2) / 100
    assert spread.count == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protocol": 2}, "protocol 2"),
        ({"dataset": make_dataset(fingerprint="b" * 64)}, "pictures bbbbbbbb"),
        ({"weights": WeightsUsed(source="file", sha256="c" * 64)}, "weights cccccccc"),
    ],
)
def test_seeds_that_measured_something_else_are_not_averaged(
    changes: dict[str, object], says: str
) -> None:
    same = {
        "dataset": make_dataset(fingerprint="a" * 64),
        "weights": WeightsUsed(source="file", sha256="a" * 64),
    }
    first = make_result(make_spec(seed=0), test_accuracy=0.5, **same)
    second = make_result(make_spec(seed=1), test_accuracy=0.7, **same)
    other = make_result(make_spec(seed=2), test_accuracy=0.9, **(same | changes))
    groups = summarise([first, second, other])
    assert [len(g.rows) for g in groups] == [2, 1]
    assert groups[0].spread(lambda r: r.test_accuracy).mean == pytest.approx(0.6)
    assert says in groups[1].apart
    assert [g.apart for g in summarise([first, second])] == [None]


def test_one_seed_has_no_deviation() -> None:
    (group,) = summarise(seeds_with(0.9))
    assert group.spread(lambda r: r.test_accuracy) == Spread(0.9, None, 1)


def test_only_seeds_that_ended_ok_enter_a_mean() -> None:
    failed = make_result(make_spec(seed=2), status="diverged", reason="NaN", test_accuracy=0.1)
    (group,) = summarise([*seeds_with(0.8, 0.9), failed])
    spread = group.spread(lambda r: r.test_accuracy)
    assert spread is not None
    assert (spread.mean, spread.count) == (pytest.approx(0.85), 2)
    assert len(group.rows) == 3
    assert group.status == "2 ok, 1 diverged"
    assert group.reasons == "NaN"


def test_a_value_that_nobody_has_is_none() -> None:
    (group,) = summarise([make_result(phase2=None)])
    assert group.phase(2, lambda p: p.val_accuracy) is None
    assert group.phase(1, lambda p: p.val_accuracy) == Spread(0.9, None, 1)


def test_a_phase_is_averaged_over_the_seeds_that_ran_it() -> None:
    rows = [
        make_result(make_spec(seed=0), phase2=make_phase(0.8)),
        make_result(make_spec(seed=1), phase2=make_phase(0.9)),
    ]
    (group,) = summarise(rows)
    spread = group.phase(2, lambda p: p.val_accuracy)
    assert spread is not None
    assert spread.mean == pytest.approx(0.85)


def test_all_failed() -> None:
    rows = [
        make_result(make_spec(seed=i), status=status, reason=reason)
        for i, (status, reason) in enumerate(
            [("timeout", "slow"), ("failed", "broken"), ("failed", "broken")]
        )
    ]
    (group,) = summarise(rows)
    assert group.status == "2 failed, 1 timeout"
    assert group.reasons == "slow; broken"
    assert group.finished == ()


def test_groups_differ_in_anything_but_the_seed_and_keep_their_order() -> None:
    other_stack = STACK.model_copy(update={"keras_version": "3.16.0"})
    rows = [
        make_result(make_spec(Freeze(strategy="all"), seed=1)),
        make_result(make_spec(seed=0)),
        make_result(make_spec(Freeze(strategy="all"), seed=0)),
        make_result(make_spec(Freeze(strategy="all"), seed=0), stack=other_stack),
        make_result(make_spec(seed=0, dataset="beans")),
    ]
    groups = summarise(rows)
    assert [(g.spec.freeze.strategy, len(g.rows)) for g in groups] == [
        ("all", 2),
        ("top_blocks", 1),
        ("all", 1),
        ("top_blocks", 1),
    ]
    assert [r.spec.seed for r in groups[0].rows] == [0, 1]
    assert groups[0].spec.seed == 0
    assert groups[2].stack == other_stack


def _guarded(seed: int, *held: tuple[str, bool | None]) -> TrialResult:
    guards = tuple(Guard(name=name, passed=passed, evidence="") for name, passed in held)
    return make_result(make_spec(seed=seed), guards=guards)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([_guarded(0, ("a", True)), _guarded(1, ("a", True))], "all pass"),
        ([_guarded(0, ("a", True), ("b", None))], "all pass"),
        ([_guarded(0, ("b", False), ("a", True)), _guarded(1, ("a", False))], "FAIL: a, b"),
        ([_guarded(0)], ""),
    ],
)
def test_guards_of_all_seeds_in_one_word(rows: list[TrialResult], said: str) -> None:
    (group,) = summarise(rows)
    assert group.guards == said


def test_nothing_gives_nothing() -> None:
    assert summarise([]) == []
