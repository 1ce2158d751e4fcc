"""The answer that rows give, in cases where it would be easy to give a wrong one."""

import json
from pathlib import Path

import pytest
from conftest import STACK
from worlds import HEAD, TOP, World, measured, question

from bench.analysis import choosing, policy
from bench.analysis.candidates import gathered
from bench.choices import FILE, Question
from bench.costs import CostResult, Memory
from bench.records import Backbone, Head
from bench.running import store
from bench.tasks import Row

TRUTH = {("A", HEAD): 0.90, ("A", TOP): 0.70, ("B", HEAD): 0.60, ("B", TOP): 0.62}
EVERY = ("probe A", "probe B", "A head_only 0", "A top_fraction 0", "B head_only 0")


def rows(asked: Question, *which: str, **changes: object) -> list[Row]:
    return measured(World(TRUTH, **changes), asked, *(which or EVERY))  # type: ignore[arg-type]


def twice(asked: Question, **backbone: object) -> Question:
    """The question with every candidate there twice: with another head, or other weights."""
    other = [
        t.model_copy(
            update={"backbone": t.backbone.model_copy(update=backbone)}
            if backbone
            else {"head": Head(name="dropout")}
        )
        for t in asked.trials
    ]
    return asked.model_copy(update={"trials": (*asked.trials, *other)})


def test_the_best_is_picked_and_test_is_only_told() -> None:
    asked = question(TRUTH)
    choice = choosing.answer(asked, rows(asked))
    assert choice.pick is not None
    assert choice.pick.label == "A · head_only"
    assert choice.pick.test is not None
    assert choice.pick.test.value == pytest.approx(0.9, abs=0.03)
    assert choice.candidates[0] is choice.pick


def test_test_answers_have_no_say() -> None:
    asked = question(TRUTH)
    found = rows(asked)
    blind = [
        r.model_copy(update={"test_correct": None, "test_accuracy": 0.0})
        if r.spec.backbone.name == "A" and hasattr(r, "test_correct")
        else r
        for r in found
    ]
    one, other = choosing.answer(asked, found), choosing.answer(asked, blind)
    assert one.pick is not None
    assert other.pick is not None
    assert one.pick.label == other.pick.label
    assert one.pick.best == other.pick.best


def test_two_heads_on_a_backbone_are_two_candidates() -> None:
    asked = twice(question(TRUTH))
    choice = choosing.answer(asked, rows(asked))
    assert len(choice.candidates) == 8
    assert choice.pick is not None
    assert choice.pick.specs[0].head.name == "linear"


def test_two_weights_of_a_backbone_are_two_backbones() -> None:
    asked = twice(question(TRUTH), weights="mine.weights.h5")
    found, _ = gathered(asked, rows(asked))
    assert len(found) == 8
    assert sum(k.probe is not None for k in found) == 4
    choice = choosing.answer(asked, rows(asked))
    assert choice.pick is not None
    assert choice.pick.backbone.weights == "imagenet"


def test_random_weights_are_no_evidence_and_no_candidates() -> None:
    asked = question(TRUTH)
    alone = choosing.answer(asked, rows(asked))
    beside = choosing.answer(twice(asked, weights="random"), rows(asked))
    assert alone.pick is not None
    assert beside.pick is not None
    assert alone.pick.best == beside.pick.best
    random = [c for c in beside.candidates if c.backbone == Backbone(name="A", weights="random")]
    assert {(c.state, c.best, c.expected) for c in random} == {("excluded", 0.0, None)}


def test_seeds_that_are_no_longer_asked_for_still_count() -> None:
    more, fewer = question(TRUTH, seeds=5), question(TRUTH, seeds=1)
    every = rows(more, "A head_only 0", "A head_only 3", "A head_only 4")
    found, _ = gathered(fewer, every)
    (head,) = [k for k in found if k.spec.backbone.name == "A" and k.spec.freeze == HEAD]
    assert [r.spec.seed for r in head.rows] == [0, 3, 4]


def test_rows_that_do_not_tell_of_val_do_not_count() -> None:
    asked = question(TRUTH)
    old = []
    for row in rows(asked, "A head_only 0", "B head_only 0"):
        phase = row.phase1.model_copy(update={"val_correct": None})  # type: ignore[union-attr]
        old.append(row.model_copy(update={"phase1": phase}))
    choice = choosing.answer(asked, old)
    assert choice.pick is None
    found, notes = gathered(asked, old)
    assert not any(k.rows for k in found)
    assert "2 trials do not say which val pictures they had right" in notes[0]


@pytest.mark.parametrize(
    ("limits", "lost", "reason"),
    [
        ({"memory": 1e6}, {"memory": None}, "its memory is not known on this device"),
        ({"latency": 1.0}, {"latency": None}, "its latency is not known here"),
        ({"throughput": 1.0}, {"device": None}, "its images/s are not known here"),
        (
            {"memory": 2**20},
            {"memory": Memory(peak=3 * 2**20, before=0, kind="resident")},
            "3 MiB, more than 1 MiB",
        ),
    ],
)
def test_what_was_not_measured_does_not_keep_to_a_limit(
    limits: dict[str, float], lost: dict[str, object], reason: str
) -> None:
    asked = question(TRUTH, limits=limits)
    every = rows(asked, *EVERY, "cost A", "cost B")
    changed = [r.model_copy(update=lost) if isinstance(r, CostResult) else r for r in every]
    choice = choosing.answer(asked, changed)
    assert choice.pick is None
    assert all(c.reason.startswith(reason) for c in choice.candidates)


def test_a_pick_some_of_whose_trials_failed_says_so() -> None:
    asked = question(TRUTH)
    bad = {"A head_only 1": "diverged", "A head_only 2": "diverged"}
    every = rows(asked, *EVERY, *bad, statuses=bad)
    choice = choosing.answer(asked, every)
    assert choice.pick is not None
    assert choice.pick.label == "A · head_only"
    assert any(
        "2 of the 3 trials of the pick did not finish (diverged)" in d for d in choice.doubts
    )


def test_costs_that_are_nearly_equal_leave_it_to_accuracy() -> None:
    asked = question(TRUTH, objective="latency", give_up=0.5)
    every = rows(asked, *EVERY, "cost A", "cost B", latency={"A": 5.02, "B": 5.00})
    choice = choosing.answer(asked, every)
    assert choice.pick is not None
    assert choice.pick.label == "A · head_only"


def test_of_several_stacks_that_with_the_questions_trials_counts(tmp_path: Path) -> None:
    asked = question(TRUTH)
    other = question({("Z", HEAD): 0.5, ("Y", HEAD): 0.5})
    old = STACK.model_copy(update={"keras_version": "3.9.0"})
    strangers = measured(World({("Z", HEAD): 0.5, ("Y", HEAD): 0.5}), other, "Z head_only 0")
    with store.writing(tmp_path) as held:
        held.keep(FILE, asked.model_dump_json().encode())
        for row in [*strangers] * 3:
            held.append(row.model_copy(update={"stack": old}), None)
        for row in rows(asked):
            held.append(row, None)
    choice = choosing.read(tmp_path)
    assert choice is not None
    assert choice.pick is not None
    assert choice.pick.label == "A · head_only"


def test_a_question_that_cannot_be_read_names_its_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"name": 3}))
    with pytest.raises(choosing.StoreError, match=r"choice.json: not a question"):
        choosing.read(tmp_path)
    assert choosing.read(tmp_path / "nothing") is None


def test_without_time_nothing_is_asked_for() -> None:
    asked = question(TRUTH)
    assert policy.Policy(asked)([], 0.0) is None


def test_time_that_is_left_goes_to_more_seeds() -> None:
    asked = question({(n, HEAD): 0.8 for n in "ABCD"}, seeds=4, margin=0.0, sure=0.999)
    world = World({(n, HEAD): 0.8 for n in "ABCD"})

    def played(left: float | None) -> int:
        found: list[Row] = []
        ask = policy.Policy(asked)
        while (task := ask(found, left)) is not None:
            found.append(world.row(task.spec))
        return len(found)

    assert played(1e6) > played(None)


def test_saving_the_pick_is_kept_time_for() -> None:
    asked = question(TRUTH)
    found = rows(asked, "probe A", "probe B", "A head_only 0", "A top_fraction 0", "cost A")
    left = 30.0
    assert policy.Policy(asked)(found, left) is not None
    first = policy.Policy(asked)(found, left)
    saving = policy.Policy(asked, saves=True)(found, left)
    assert first is not None
    assert saving is None or (saving.seconds or 0) < (first.seconds or 0)
