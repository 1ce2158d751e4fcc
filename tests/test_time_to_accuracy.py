"""When val reached a target, from recorded histories."""

import pytest
from conftest import STACK, make_cost, make_dataset, make_phase, make_rate, make_result, make_spec

from bench.analysis import time_to_accuracy
from bench.analysis.speeds import Speeds
from bench.analysis.summary import summarise
from bench.analysis.time_to_accuracy import Reached
from bench.records import TrialResult
from bench.reporting import tables
from bench.running.cases import of_trial

NOBODY = Speeds([])


def row(
    seed: int = 0, way: str = "literal", val: tuple[float, float, float] = (0.5, 0.8, 0.9)
) -> TrialResult:
    """Two epochs of phase 1 and one of phase 2, 2 s each."""
    first, second, third = (make_phase(v, first_epoch=i) for i, v in enumerate(val))
    phase1 = first.model_copy(update={"epochs": (*first.epochs, *second.epochs)})
    if way == "shared":  # not the stock model trained
        phase1, third = (p.model_copy(update={"images_per_second": None}) for p in (phase1, third))
    return make_result(
        make_spec(seed=seed), phase1=phase1, phase2=third, way=way, dataset=make_dataset()
    )


@pytest.mark.parametrize(
    ("target", "epochs"), [(0.4, 1), (0.5, 1), (0.6, 2), (0.8, 2), (0.9, 3), (0.91, None)]
)
def test_the_first_epoch_at_or_above_it(target: float, epochs: int | None) -> None:
    found = time_to_accuracy.first_reached(row(), target, NOBODY)
    assert found == (Reached(epochs, 2.0 * epochs) if epochs else None)


def costs() -> Speeds:
    """100 images/s in phase 1, 50 in phase 2."""
    rates = {"phase 1": 100.0, "phase 2": 50.0}
    return Speeds(
        make_cost(case, device=make_rate(r, r, r))
        for case in of_trial(make_spec())
        if (r := rates.get(case.workload))
    )


def test_where_work_was_shared_the_measured_throughput_counts() -> None:
    shared = row(way="shared")
    assert time_to_accuracy.first_reached(shared, 0.6, NOBODY) == Reached(2, None)
    assert time_to_accuracy.first_reached(shared, 0.6, costs()) == Reached(2, 600 / 100 * 2)
    assert time_to_accuracy.first_reached(shared, 0.9, costs()) == Reached(3, 12.0 + 600 / 50)


def test_a_phase_that_ran_whole_has_its_own_seconds() -> None:
    shared = row(way="shared")
    whole = shared.model_copy(update={"phase2": row().phase2})
    assert time_to_accuracy.first_reached(whole, 0.9, costs()) == Reached(3, 12.0 + 2.0)


def test_another_stacks_throughput_does_not() -> None:
    elsewhere = row(way="shared").model_copy(
        update={"stack": STACK.model_copy(update={"backend": "jax"})}
    )
    assert time_to_accuracy.first_reached(elsewhere, 0.6, costs()) == Reached(2, None)


def spent(*rows: TrialResult, target: float) -> time_to_accuracy.Spent:
    (group,) = summarise(rows)
    return time_to_accuracy.spent(group, target, NOBODY)


def test_seeds_that_never_got_there_are_counted() -> None:
    found = spent(row(0), row(1, val=(0.6, 0.6, 0.6)), row(2, val=(0.9, 0.9, 0.9)), target=0.7)
    assert (found.reached, found.finished) == (2, 3)
    assert found.epochs == pytest.approx(1.5)
    assert found.seconds == pytest.approx(3.0)


def test_nobody_got_there() -> None:
    assert spent(row(), target=0.99) == time_to_accuracy.Spent(0, 1, None, None)


def test_the_table_shows_it_where_it_is_asked_for() -> None:
    assert "epochs to" not in tables.document([row()])
    shown = tables.document([row(0), row(1, val=(0.1, 0.1, 0.1))], target=0.8)
    assert "epochs to val 80%" in shown
    assert "2 (1 of 2)" in shown
    assert "4 s" in shown
    assert "never" in tables.document([row()], target=0.99)
    assert "seconds_to_target" in tables.document([row()], "csv", target=0.8)
    assert "where it was not measured" in tables.document([row(way="shared")], target=0.8)
