"""Throughput of trials, as it was measured apart."""

from conftest import STACK, make_cost, make_rate, make_result, make_spec

from bench.analysis.speeds import Speeds
from bench.reporting import tables
from bench.running.cases import of_trial


def measured(median: float, workload: str):
    case = next(c for c in of_trial(make_spec()) if c.workload == workload)
    return make_cost(case, device=make_rate(median, median, median))


def test_a_trial_finds_its_phases() -> None:
    speeds = Speeds([measured(120.0, "phase 1"), measured(40.0, "phase 2")])
    assert speeds.of(make_spec(seed=3), STACK, 1) == 120.0
    assert speeds.of(make_spec(seed=3), STACK, 2) == 40.0


def test_another_stack_or_strategy_is_another_speed() -> None:
    speeds = Speeds([measured(40.0, "phase 2")])
    other = STACK.model_copy(update={"backend": "jax"})
    assert speeds.of(make_spec(), other, 2) is None
    spec = make_spec()
    deeper = spec.model_copy(update={"freeze": spec.freeze.model_copy(update={"amount": 3})})
    assert speeds.of(deeper, STACK, 2) is None


def test_the_best_way_is_not_what_a_trial_ran() -> None:
    case = measured(40.0, "phase 2")
    best = case.spec.model_copy(update={"mode": "best"})
    assert Speeds([make_cost(best)]).of(make_spec(), STACK, 2) is None


def test_what_was_measured_apart_fills_the_columns_of_a_trial() -> None:
    row = make_result()
    shared = row.model_copy(
        update={
            "phase1": row.phase1.model_copy(update={"images_per_second": None}),
            "phase2": row.phase2.model_copy(update={"images_per_second": None}),
        }
    )
    assert "– / –" in tables.render([shared], "markdown")
    costs = [measured(120.0, "phase 1"), measured(40.0, "phase 2")]
    assert "120* / 40*" in tables.render([shared], "markdown", costs)
    assert "as `bench measure` found it" in tables.document([shared], "markdown", costs)
    assert "300 / 300" in tables.render([row], "markdown", costs)  # its own steps go first
    doubtful = [c.model_copy(update={"elsewhere": 0.5}) for c in costs]
    assert "120*? / 40*?" in tables.render([shared], "markdown", doubtful)
    assert "phase2_stock_images_per_second" in tables.render([shared], "csv", costs)
