"""What ``bench choose`` runs next, played in worlds whose truth is known."""

from collections import Counter
from collections.abc import Mapping

import pytest
from worlds import HEAD, TOP, World, label, measured, question

from bench.analysis import choosing, policy
from bench.analysis.candidates import gathered
from bench.choices import Question
from bench.records import Freeze
from bench.tasks import Row

FAR = {
    **{("A", HEAD): 0.70, ("A", TOP): 0.72, ("B", HEAD): 0.60, ("B", TOP): 0.62},
    **{("C", HEAD): 0.90, ("C", TOP): 0.70, ("D", HEAD): 0.55, ("D", TOP): 0.58},
}
EQUAL = {(name, freeze): 0.8 for name in "ABCD" for freeze in (HEAD, TOP)}


def play(world: World, asked: Question, budget: float | None = None) -> list[Row]:
    """Run what the policy asks for, to its end."""
    rows: list[Row] = []
    ask = policy.Policy(asked)
    for _ in range(200):
        left = None if budget is None else budget - world.now
        task = ask(rows, left)
        if task is None:
            return rows
        rows.append(world.execute(task.spec, lambda _: None).result)
    raise AssertionError("the policy never ends")


def trials(world: World) -> list[str]:
    return [name for name in world.executed if name.split()[0] not in ("probe", "cost")]


def test_every_backbone_is_probed_before_any_trial() -> None:
    world = World(FAR)
    play(world, question(FAR))
    assert world.executed[:4] == ["probe A", "probe B", "probe C", "probe D"]
    assert len(trials(world)) >= 2


def test_a_clear_leader_ends_it_early() -> None:
    world, asked = World(FAR), question(FAR)
    rows = play(world, asked)
    choice = choosing.answer(asked, rows)
    assert choice.pick is not None
    assert choice.pick.label == "C · head_only"
    assert choice.clear
    assert len(trials(world)) < len(asked.trials) / 2


def test_equals_are_halved_from_rung_to_rung() -> None:
    world, asked = World(EQUAL), question(EQUAL, seeds=3, margin=0.0, sure=0.999)
    rows = play(world, asked)
    climbed = Counter(name.split()[-1] for name in trials(world))
    assert 4 <= climbed["0"] < 8
    assert 2 <= climbed["1"] < climbed["0"]
    assert climbed["2"] == 2
    assert not choosing.answer(asked, rows).clear


@pytest.mark.parametrize(
    ("candidates", "seeds", "places"),
    [(8, 3, [4, 2, 2]), (12, 4, [6, 3, 2, 2]), (1, 2, [1, 1]), (3, 1, [2]), (0, 2, [0, 0])],
)
def test_rungs(candidates: int, seeds: int, places: list[int]) -> None:
    truth = {(f"M{i}", HEAD): 0.8 for i in range(max(candidates, 1))}
    asked = question(truth, seeds)
    found, _ = gathered(asked, [])
    assert policy.rungs(found, candidates) == places


def test_what_the_pick_costs_is_measured_at_the_end() -> None:
    world = World(FAR)
    play(world, question(FAR))
    assert world.executed[-1] == "cost C"
    assert sum(name.startswith("cost") for name in world.executed) == 1


def test_a_limit_on_latency_is_measured_first_and_saves_trials() -> None:
    world = World(FAR, latency={"C": 50.0})
    asked = question(FAR, limits={"latency": 20.0})
    choice = choosing.answer(asked, play(world, asked))
    assert world.executed[:4] == ["cost A", "cost B", "cost C", "cost D"]
    assert "probe C" not in world.executed
    assert choice.pick is not None
    assert choice.pick.label == "A · top_fraction=0.2"
    reasons = {c.label: c.reason for c in choice.candidates if c.state == "excluded"}
    assert reasons == dict.fromkeys(
        ["C · head_only", "C · top_fraction=0.2"], "50 ms a picture, more than 20 ms"
    )


def test_another_objective_takes_the_fastest_that_is_good_enough() -> None:
    truth = {("A", HEAD): 0.80, ("B", HEAD): 0.805, ("C", HEAD): 0.60}
    world = World(truth, latency={"A": 5.0, "B": 20.0, "C": 1.0})
    asked = question(truth, objective="latency", give_up=0.05)
    choice = choosing.answer(asked, play(world, asked))
    assert choice.pick is not None
    assert choice.pick.label == "A · head_only"


def test_a_budget_is_kept_and_something_is_kept_for_the_pick() -> None:
    world, asked = World(EQUAL), question(EQUAL, margin=0.0, sure=0.999)
    choice = choosing.answer(asked, play(world, asked, budget=90.0))
    assert world.now <= 95.0  # a world ends nothing whose time is up
    assert choice.pick is not None
    assert choice.pick.cost is not None
    assert choice.next
    assert len(trials(world)) < len(asked.trials)


def test_too_small_a_budget_runs_nothing_that_cannot_end() -> None:
    world, asked = World(FAR, seconds=dict.fromkeys("ABCD", 500.0)), question(FAR)
    rows = measured(World(FAR), asked, "probe A", "probe B", "probe C", "probe D")
    assert policy.Policy(asked)(rows, 0.0) is None
    assert trials(world) == []


@pytest.mark.parametrize("status", ["failed", "skipped", "out_of_memory"])
def test_a_candidate_whose_trial_fails_gets_no_other(status: str) -> None:
    world = World(FAR, statuses={"C head_only 0": status})
    asked = question(FAR)
    choice = choosing.answer(asked, play(world, asked))
    assert "C head_only 1" not in world.executed
    excluded = {c.label: c.reason for c in choice.candidates if c.state == "excluded"}
    assert excluded == {"C · head_only": f"its trial ended {status}: no room"}
    assert choice.pick is not None


def test_a_backbone_whose_probe_fails_is_left_out() -> None:
    world, asked = World(FAR, statuses={"probe C": "failed"}), question(FAR)
    choice = choosing.answer(asked, play(world, asked))
    assert not [name for name in trials(world) if name.startswith("C")]
    reasons = {c.reason for c in choice.candidates if c.state == "excluded"}
    assert reasons == {"its probe ended failed: no weights"}


def test_where_everything_fails_it_ends_without_a_pick() -> None:
    world = World(FAR, statuses={f"probe {name}": "failed" for name in "ABCD"})
    asked = question(FAR)
    choice = choosing.answer(asked, play(world, asked))
    assert world.executed == ["probe A", "probe B", "probe C", "probe D"]
    assert choice.pick is None


def test_it_goes_on_where_it_was_stopped() -> None:
    asked, whole = question(FAR), World(FAR)
    rows = play(whole, asked)
    for done in range(len(rows)):
        task = policy.Policy(asked)(rows[:done], None)
        assert task is not None
        assert label(task.spec) == whole.executed[done]


def test_the_line_that_says_who_leads() -> None:
    asked = question(FAR)
    world = World(FAR)
    assert policy.Policy(asked).leader([]) == "no trial has finished yet"
    said = policy.Policy(asked).leader(measured(world, asked, "C head_only 0", "D head_only 0"))
    assert said.startswith("leads: C · head_only, the best with ")


def truth_of(names: str, freeze: Freeze = HEAD) -> Mapping[tuple[str, Freeze], float]:
    return {(name, freeze): 0.8 for name in names}


def test_one_candidate_alone_is_the_pick_after_one_trial() -> None:
    truth = truth_of("A")
    world, asked = World(truth), question(truth)
    choice = choosing.answer(asked, play(world, asked))
    assert choice.pick is not None
    assert choice.clear
    assert trials(world) == ["A head_only 0"]
