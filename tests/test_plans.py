"""How a plan reads."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import make_spec

from bench import steps
from bench.records import EarlyStopping, Freeze, Phase
from bench.reporting import plans
from bench.running.plan import Cost, Kind, Plan, Step
from bench.running.plan import of as plan_of
from bench.running.room import Features, Frontier, State
from bench.settings import Settings
from bench.suite import Suite

TRIALS = tuple(make_spec(seed=seed) for seed in range(3))
KEYS = tuple(t.key for t in TRIALS)


def step(kind: Kind, number: int = 0, trials: Sequence[str] = KEYS, **changes: object) -> Step:
    return Step(kind, f"{kind}{number}", tuple(trials), **changes)  # type: ignore[arg-type]


STEPS = (
    step("images", cached=True),
    *(step("activations", i, cost=Cost(forward=1), pictures=100, cached=i == 0) for i in range(3)),
    step("activations", 3, cost=Cost(evaluation=1)),
    *(step("heads", i, [key]) for i, key in enumerate(KEYS)),
    *(step("fine-tuning", i, [key], cost=Cost(top=8)) for i, key in enumerate(KEYS)),
    step("fine-tuning", 3, KEYS[:1], cost=Cost(tuning=6)),
    *(step("evaluation", i, [key], cost=Cost(evaluation=2)) for i, key in enumerate(KEYS)),
)
LITERALLY = (
    *(step("heads", i, [key], cost=Cost(forward=44), pictures=100) for i, key in enumerate(KEYS)),
    step("evaluation", cost=Cost(evaluation=75)),
)


def made(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "trials": TRIALS,
        "measured": {},
        "steps": STEPS,
        "literally": LITERALLY,
        "stacks": 1,
        "frontiers": (),
        "features": (),
        "activations_gib": 8.0,
        "literal": False,
        "unresolved": 0,
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def frontier(state: State, seed: int | None = None, bytes: int | None = None) -> Frontier:
    ground = steps.ground_of(TRIALS[0]).model_copy(update={"seed": seed})
    return Frontier(ground, "top_blocks=2", state, f"frontier {seed}", bytes)


def lines(plan: Plan) -> list[str]:
    return plans.listing(plan).splitlines()


def line(plan: Plan, words: str) -> str:
    """The one line that holds these words."""
    (found,) = [found for found in lines(plan) if words in found]
    return found


# -------------------------------------------------------------------------------- trials, steps


def test_every_trial_is_a_line() -> None:
    first = lines(made())[0]
    assert first == f"   1  {KEYS[0][:12]}  MobileNetV2 · digits · top_blocks=2 · linear · seed 0"
    assert lines(made())[3] == "3 trials"
    assert lines(made(trials=TRIALS[:1]))[1] == "1 trial"


def test_what_was_measured_before_is_marked_with_its_stack() -> None:
    found = lines(made(measured={KEYS[1]: "a_cpu", KEYS[2]: "a_cpu"}))
    assert [text.endswith("(measured before)") for text in found[:3]] == [False, True, True]
    assert found[3] == "3 trials, 2 measured before: a_cpu"


def test_with_everything_measured_there_is_no_table() -> None:
    found = lines(made(measured=dict.fromkeys(KEYS, "a_cpu"), steps=(), literally=()))
    assert found[3:] == ["3 trials, 3 measured before: a_cpu", "nothing left to run"]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        ("images", ["1", "3", "1"]),
        ("activations", ["4", "3", "1"]),
        ("heads", ["3", "3", "0"]),
        ("fine-tuning", ["4", "3", "–"]),
        ("evaluation", ["3", "3", "–"]),
    ],
)
def test_a_kind_of_step_is_a_row(kind: str, cells: list[str]) -> None:
    (row,) = [text for text in lines(made()) if re.match(rf"{kind} +\d", text)]
    assert row.split()[1:] == cells


def test_a_kind_without_steps_is_left_out() -> None:
    heads_only = tuple(s for s in STEPS if s.kind != "fine-tuning")
    assert "fine-tuning" not in plans.listing(made(steps=heads_only))


# --------------------------------------------------------------------------------------- saving


def test_the_saving_is_counted_in_passes_and_pictures() -> None:
    assert line(made(), "forward passes") == (
        "* forward passes of the train pictures through the whole backbone: "
        "132 (13,200 pictures) literally, 3 (300 pictures) shared (44 times fewer); "
        "1 of these in the cache already"
    )
    assert line(made(), "val and test").endswith("75 literally, 7 shared (11 times fewer)")
    assert "not times" in lines(made())[-1]


def test_uncounted_pictures_are_not_told() -> None:
    uncounted = (*LITERALLY, step("heads", 9, cost=Cost(forward=1)))
    assert "133 literally, 3 (300 pictures) shared" in line(made(literally=uncounted), "forward")


def test_fine_tuning_by_where_it_starts() -> None:
    assert line(made(), "fine-tuning passes").endswith(
        "30, of which 24 from the frontier, 6 through the whole backbone"
    )


@pytest.mark.parametrize(
    ("literally", "shared", "words"),
    [(2, 1, "2.0 times fewer"), (3, 3, "as many"), (2, 5, "3 more"), (95, 9, "11 times fewer")],
)
def test_no_saving_is_said_as_well(literally: int, shared: int, words: str) -> None:
    plan = made(
        steps=(step("activations", cost=Cost(forward=shared)),),
        literally=(step("heads", cost=Cost(forward=literally)),),
    )
    expected = f"{literally} literally, {shared} shared ({words})"
    assert line(plan, "forward passes").endswith(expected)


def test_heads_are_told_as_stacks() -> None:
    assert line(made(), "stack") == "* 3 heads trained as 1 stack"
    assert "stack" not in plans.listing(made(stacks=3))


def test_literally_nothing_is_shared() -> None:
    tuning = step("fine-tuning", cost=Cost(tuning=6))
    plan = made(literal=True, steps=(*LITERALLY, tuning), literally=(*LITERALLY, tuning), stacks=0)
    assert line(plan, "forward passes").endswith("132 (13,200 pictures), nothing shared")
    assert line(plan, "fine-tuning passes").endswith("6, all through the whole backbone")
    text = plans.listing(plan)
    assert not re.search("frontier|stack|fewer|cache already", text)
    (heads,) = [found for found in lines(plan) if found.startswith("heads")]
    assert heads.split()[-1] == "–"


# ---------------------------------------------------------------------------------- activations


def test_a_frontier_that_does_not_fit_is_named() -> None:
    large = frontier("too large", bytes=12 * 2**30)
    assert line(made(frontiers=(large,)), "does not fit") == (
        "* MobileNetV2 · digits · top_blocks=2: a frontier of 12 GiB does not fit the 8 GiB for "
        "activations: phase 2 goes through the whole backbone in every epoch"
    )


def test_many_such_frontiers_are_counted() -> None:
    large = [frontier("too large", seed, 2**34) for seed in range(9)]
    text = plans.listing(made(frontiers=tuple(large)))
    assert text.count("does not fit") == 5
    assert "· seed 4: a frontier" in text
    assert "and 4 more such frontiers" in text


def test_an_unknown_frontier_is_planned_as_kept() -> None:
    unknown = (frontier("unknown", 0), frontier("unknown", 1))
    assert line(made(frontiers=unknown, activations_gib=0.5), "known once") == (
        "* 2 frontiers of a size known once a trial has run: planned as kept; "
        "phase 2 computed whole where the 0.5 GiB for activations are too little"
    )


def features(fit: bool = True, bytes: int | None = None) -> Features:
    return Features(steps.ground_of(TRIALS[0]), "pooled flatten", fit, bytes)


def test_features_that_do_not_fit_are_named() -> None:
    assert line(made(features=(features(False, 12 * 2**30),)), "do not fit") == (
        "* MobileNetV2 · digits: flatten features of 12 GiB do not fit the 8 GiB for "
        "activations: phase 1 goes through the whole backbone in every epoch"
    )
    text = plans.listing(made(features=(features(False, 2**34),) * 7))
    assert "and 2 more such features" in text


def test_what_kept_activations_take() -> None:
    same = frontier("kept", None, 2**20)
    kept = (same, same, frontier("kept", 1, 2**20))  # two strategies, one frontier
    plan = made(frontiers=kept, features=(features(bytes=2**20),))
    assert "activations kept: 2 MiB at most for a backbone" in line(plan, "kept")
    plan = made(frontiers=kept, features=(features(False, bytes=2**20), features()))
    assert "1 MiB at most for a backbone and dataset, of 8 GiB" in line(plan, "kept")


def test_heads_computed_whole_are_in_no_stack() -> None:
    whole = step("heads", 9, cost=Cost(forward=4))
    assert line(made(steps=(*STEPS, whole)), "stack") == "* 3 heads trained as 1 stack"


# ---------------------------------------------------------------------------------- assumptions


def test_early_stopping_makes_it_a_bound() -> None:
    phase = Phase(epochs=2, learning_rate=1e-3, early_stopping=EarlyStopping())
    stopping = TRIALS[0].model_copy(update={"phase1": phase})
    assert "stopped early" in plans.listing(made(trials=(stopping,)))
    assert "stopped early" not in plans.listing(made())


def test_auto_is_mentioned_while_it_is_open() -> None:
    assert "auto counts as fine-tuning" in plans.listing(made(unresolved=1))
    assert "auto" not in plans.listing(made())


def test_it_stays_compact(settings: Settings, tmp_path: Path) -> None:
    freezes = [Freeze(strategy="top_blocks", amount=n) for n in range(1, 5)]
    trials = tuple(make_spec(freeze, seed) for freeze in freezes for seed in range(45))
    suite = Suite(name="s", description="d", folder=tmp_path, trials=trials)
    assert len(lines(plan_of(suite, settings))) < 180 + 20
