"""The answer, computed: who is the best, at what price, what is gained, and what is in doubt."""

from pathlib import Path

import pytest
from answered import HEAD, PICTURES, blocks, of, right, row
from conftest import STACK, make_cost, make_dataset, make_rate

from bench.analysis import answer, evidence
from bench.analysis.accuracy_stats import accuracy_difference
from bench.analysis.answer import Answer
from bench.analysis.evidence import Line
from bench.costs import CostResult
from bench.records import Freeze, Guard, TrialResult
from bench.running.cases import of_trial

REAL = Path("results/reference/real_small")


def kinds(found: Answer) -> dict[str, list[str]]:
    return {d.kind: [x.group.spec.freeze.label for x in d.lines] for d in found.doubts}


def labels(lines: tuple[Line, ...]) -> list[str]:
    return [line.group.spec.freeze.label for line in lines]


def test_one_that_is_told_from_all_others_is_the_best() -> None:
    (found,) = of(row(HEAD, 800), row(blocks(2), 900), row(blocks(4), 700))
    assert labels(found.best) == ["top_blocks=2"]
    assert not found.is_tie
    assert (found.rivals, found.dataset) == (3, "digits")
    assert found.field.pictures is not None
    assert found.field.pictures.test == PICTURES


def test_ties_are_as_in_the_tables_the_highest_first() -> None:
    for found in answer.of(evidence.read([REAL])):
        marked = [line for line in found.lines if line.standing]
        assert set(found.best) == set(marked)
        means = [line.accuracy.value for line in found.best if line.accuracy]
        assert means == sorted(means, reverse=True)
        assert found.is_tie


def test_random_weights_and_traps_are_never_the_best() -> None:
    (found,) = of(
        row(HEAD, 800),
        row(blocks(2), 850),
        row(blocks(2), 950, trap="unpinned"),
        row(blocks(3), 960, weights="random"),
    )
    assert [(x.group.spec.trap, x.random) for x in found.best] == [(None, False)]
    assert labels(found.best) == ["top_blocks=2"]
    assert found.rivals == 2
    assert kinds(found)["traps"] == ["top_blocks=2"]
    assert kinds(found)["random"] == ["top_blocks=3"]


def test_random_weights_alone_leave_no_best() -> None:
    (found,) = of(row(HEAD, 900, weights="random"))
    assert found.best == ()
    assert len(found.finished) == 1


def test_a_failed_guard_does_not_hide_that_it_is_the_best() -> None:
    guard = Guard(name="no_cliff", passed=False, evidence="fell")
    (found,) = of(row(HEAD, 800), row(blocks(2), 900, guards=(guard,)))
    assert labels(found.best) == ["top_blocks=2"]
    assert found.doubts[0].kind == "guards"


def test_what_cannot_be_told_picture_by_picture_is_named_as_such() -> None:
    (found,) = of(row(HEAD, 800, test_correct=None), row(blocks(2), 900, test_correct=None))
    assert labels(found.best) == ["top_blocks=2"]
    assert kinds(found)["no_interval"] == ["head_only", "top_blocks=2"]
    (bare,) = of(row(HEAD, 800, test_correct=None, test_accuracy=None))
    assert bare.best == ()
    assert kinds(bare)["no_test"] == ["head_only"]


def test_single_seeds_and_wide_intervals_are_in_doubt() -> None:
    (found,) = of(row(HEAD, 500))
    assert list(kinds(found)) == ["single_seed", "wide"]
    (several,) = of(*(row(HEAD, 980, seed=s) for s in range(3)))
    assert kinds(several) == {}


def test_datasets_and_pictures_have_answers_of_their_own() -> None:
    other = make_dataset("a" * 64, test=PICTURES, caveats=("easy",))
    found = of(row(HEAD, 800), row(blocks(2), 900, dataset=other), row(blocks(3), None))
    assert [len(a.lines) for a in found] == [2, 1]
    assert [a.best[0].group.spec.freeze.strategy for a in found] == ["head_only", "top_blocks"]
    assert found[1].caveats == ("easy",)
    assert kinds(found[0])["failed"] == ["top_blocks=3"]


def test_only_failures_say_what_happened_most_often() -> None:
    rows = [row(HEAD, None, seed=s, dataset=None) for s in range(3)]
    rows.append(row(blocks(1), None, status="timeout", reason="2 h", dataset=None))
    (found,) = of(*rows)
    assert (found.best, found.field.pictures) == ((), None)
    first, second = found.failures
    assert (first.status, first.reason, first.count) == ("failed", "no room", 3)
    assert (second.status, second.count) == ("timeout", 1)


def test_nothing_gives_no_answer() -> None:
    assert of() == ()


def test_the_cheapest_of_a_tie_is_chosen_where_it_saves_something() -> None:
    rows = [row(HEAD, 900, speed=500.0), row(blocks(2), 901, speed=300.0)]
    (found,) = of(*rows)
    assert found.is_tie
    (choice,) = found.choices  # both have as many parameters
    assert (choice.quantity, labels((choice.line,))) == ("train_speed", ["head_only"])
    assert (choice.figure.value, choice.most.value) == (500.0, 300.0)
    (close,) = of(row(HEAD, 900, speed=310.0), row(blocks(2), 901, speed=300.0))
    assert close.choices == ()


def test_trades_are_the_front_of_accuracy_and_cost() -> None:
    small = {"total_parameters": 1_000_000}
    middle = {"total_parameters": 2_000_000}
    (found,) = of(
        row(HEAD, 700, backbone="Small", **small),
        row(HEAD, 650, backbone="SmallBad", **middle),
        row(HEAD, 800, backbone="Middle", **middle),
        row(blocks(2), 900, backbone="Large"),
    )
    (trade,) = [t for t in found.trades if t.quantity == "parameters"]
    assert [s.line.backbone for s in trade.steps] == ["Small", "Middle"]
    assert trade.against.backbone == "Large"
    expected = accuracy_difference(right(900)[None], right(700)[None])
    assert trade.steps[0].effect == expected
    assert expected.estimate == pytest.approx(-0.2)


def test_a_speed_measured_on_a_busy_machine_is_in_doubt() -> None:
    rows = [row(HEAD, 800), row(blocks(2), 900)]

    def measured(result: TrialResult, speed: float, busy: float) -> CostResult:
        *_, spec = of_trial(result.spec)
        rate = make_rate(speed, speed - 1, speed + 1)
        return make_cost(spec, device=rate, elsewhere=busy)

    costs = (measured(rows[0], 900.0, 0.9), measured(rows[1], 300.0, 0.0))
    (found,) = of(*rows, costs=costs)
    assert kinds(found)["busy"] == ["head_only"]


def test_machines_are_not_held_against_each_other() -> None:
    gpu = STACK.model_copy(update={"device": "NVIDIA H200"})
    found = of(
        row(blocks(2), 950, speed=20.0),
        row(blocks(2), 940, backbone="Other", speed=900.0, stack=gpu),
    )
    assert [(len(a.lines), a.choices, a.trades) for a in found] == [(1, (), ())] * 2


def test_a_folder_beside_its_copy_is_answered_as_it_is_alone() -> None:
    rows = (row(blocks(2), 950), row(HEAD, 800))
    alone, *_ = of(*rows)
    both = answer.of(
        evidence.of([evidence.Source(name, Path(name), rows) for name in ("before", "after")])
    )
    assert [labels(a.best) for a in both] == [labels(alone.best)] * 2
    assert not any(a.is_tie for a in both)


def test_speeds_measured_apart_are_not_mixed_with_the_trials_own() -> None:
    rows = [
        row(blocks(2), 950, speed=20.0),
        row(blocks(2), 940, backbone="EfficientNetB0", speed=100.0),
    ]

    def measured(result: TrialResult, speed: float) -> CostResult:
        *_, spec = of_trial(result.spec)
        return make_cost(spec, device=make_rate(speed, speed - 1, speed + 1), memory=None)

    def fastest(*costs: CostResult) -> list[tuple[str, float, float, bool]]:
        (found,) = of(*rows, costs=costs)
        assert found.is_tie
        return [
            (c.line.backbone, c.figure.value, c.most.value, c.figure.apart)
            for c in found.choices
            if c.quantity == "train_speed"
        ]

    one, both = measured(rows[0], 390.0), (measured(rows[0], 390.0), measured(rows[1], 50.0))
    assert fastest() == [("EfficientNetB0", 100.0, 20.0, False)]
    assert fastest(one) == [("EfficientNetB0", 100.0, 20.0, False)]
    assert fastest(*both) == [("MobileNetV2", 390.0, 50.0, True)]
    rows[1] = row(blocks(2), 940, backbone="EfficientNetB0", phase2=None)  # its own is not known
    assert fastest(one) == []


def test_gains_are_paired_by_backbone_that_of_the_best_first() -> None:
    scratch = Freeze(strategy="scratch")
    (found,) = of(
        row(HEAD, 800, backbone="A"),
        row(blocks(2), 850, backbone="A"),
        row(blocks(3), 840, backbone="A"),
        row(scratch, 500, backbone="A", weights="random"),
        row(HEAD, 900, backbone="B"),
        row(blocks(2), 950, backbone="B"),
        row(scratch, 600, backbone="B", weights="random"),
    )
    pretraining = [g for g in found.gains if g.kind == "pretraining"]
    phase2 = [g for g in found.gains if g.kind == "phase 2"]
    assert [g.line.backbone for g in pretraining] == ["B", "A"]
    assert pretraining[0].effect.estimate == pytest.approx(0.35)
    assert [(g.line.backbone, g.tried) for g in phase2] == [("B", 1), ("A", 2)]
    assert phase2[1].effect.estimate == pytest.approx(0.05)
    assert labels((phase2[1].against,)) == ["head_only"]


def test_another_backbone_from_scratch_compares_where_none_of_its_own_does() -> None:
    scratch = Freeze(strategy="scratch")
    (found,) = of(row(HEAD, 900, backbone="A"), row(scratch, 500, backbone="B", weights="random"))
    (gain,) = found.gains
    assert (gain.line.backbone, gain.against.backbone) == ("A", "B")


def test_settings_other_than_the_strategy_do_not_compare_as_phase_2() -> None:
    head = row(HEAD, 800)
    other = row(blocks(2), 900)
    wider = other.spec.model_copy(update={"batch_norm": "affine"})
    (found,) = of(head, other.model_copy(update={"spec": wider, "key": wider.key}))
    assert [g.kind for g in found.gains] == ["phase 2"]  # batch norm matters in phase 2 alone
    size = other.spec.model_copy(
        update={"data": other.spec.data.model_copy(update={"image_size": 64})}
    )
    (found,) = of(head, other.model_copy(update={"spec": size, "key": size.key}))
    assert found.gains == ()
