"""The answer in words: every case a sentence, with the numbers of the rows."""

from pathlib import Path

import pytest
from answered import HEAD, blocks, of, row
from conftest import make_cost, make_dataset

from bench.analysis import answer as advice
from bench.analysis import evidence
from bench.records import Freeze, Guard, TrialResult
from bench.reporting.answers import every, frozen, sentences

REAL = Path("results/reference/real_small")


def said(*rows: TrialResult) -> list[str]:
    (found,) = of(*rows)
    return sentences(found)


def test_real_rows_are_answered_in_words() -> None:
    found = dict(every(evidence.read([REAL])))
    assert list(found) == ["cats_vs_dogs", "tf_flowers", "stanford_dogs"]
    assert found["tf_flowers"][0] == (
        "MobileNetV2 with everything from layer 100 on unfrozen reaches 89.6% (85.8–92.5) on "
        "tf_flowers; five others are not told from it. The remaining two are lower."
    )
    assert any(s.startswith("Pretraining is worth +29.6 points") for s in found["tf_flowers"])
    assert found["stanford_dogs"][-1].startswith("Its pictures are ImageNet pictures")


def test_the_best_is_told_from_every_other() -> None:
    first, *_ = said(row(HEAD, 800), row(blocks(2), 900))
    assert first == (
        "MobileNetV2 with its top two blocks unfrozen reaches 90.0% (88.0–91.7) on digits: "
        "the best of two, told from every other."
    )


def test_few_ties_are_named() -> None:
    first, *_ = said(row(HEAD, 900), row(blocks(2), 901), row(blocks(4), 500))
    assert first == (
        "MobileNetV2 with its top two blocks unfrozen reaches 90.1% (88.1–91.8) on digits; one "
        "other is not told from it: MobileNetV2 with its head alone trained."
    )


def test_one_alone_compares_with_nothing() -> None:
    first, second = said(row(HEAD, 990))
    assert first.endswith("on digits; nothing else there compares with it.")
    assert second.startswith("From a single seed: MobileNetV2 with its head alone trained;")


def test_without_answers_nothing_tells_how_sure_it_is() -> None:
    first, *_ = said(row(HEAD, 800, test_correct=None), row(blocks(1), 900, test_correct=None))
    assert first == (
        "MobileNetV2 with its top block unfrozen reaches 90.0% on digits, the highest of two; "
        "nothing tells how sure that is."
    )


def test_those_without_answers_are_not_called_lower() -> None:
    first, *others = said(
        row(HEAD, 900), row(blocks(2), 800), row(blocks(1), 850, test_correct=None)
    )
    assert first.endswith("the best of two, told from every other.")
    assert others[0].startswith("Phase 2 is worth")
    assert any(s.startswith("How sure the accuracy of MobileNetV2 with its top b") for s in others)


def test_only_failures_say_so_and_why() -> None:
    first, *_ = said(*(row(HEAD, None, seed=s, dataset=None) for s in range(3)))
    assert first == (
        "No trial on digits finished (three tried). Most often, three times, failed: no room."
    )


def test_meaningless_accuracies_are_no_answer() -> None:
    first, second = said(row(HEAD, 900, weights="random"))
    assert first == ("Nothing can be said of digits: no trial there has an accuracy to go by.")
    assert second == (
        "Random weights, so that accuracy is meaningless: MobileNetV2 with its head alone trained."
    )


def test_failed_guards_are_said_with_their_names() -> None:
    guard = Guard(name="no_cliff", passed=False, evidence="fell")
    text = " ".join(said(row(HEAD, 800), row(blocks(2), 900, guards=(guard,))))
    assert (
        "Take care: guards failed in MobileNetV2 with its top two blocks unfrozen (no_cliff)"
    ) in text


def test_prices_name_both_sides_and_the_interval() -> None:
    text = said(
        row(HEAD, 700, backbone="Small", total_parameters=1_000_000),
        row(blocks(2), 900, backbone="Large"),
    )
    assert (
        "Smaller: Small with its head alone trained, 1.00 M parameters instead of 2.27 M "
        "parameters, at -20.0 points (-25.4 to -15.5)."
    ) in text


def test_a_gain_that_may_be_nothing_is_called_so() -> None:
    text = " ".join(said(row(HEAD, 900), row(blocks(2), 901)))
    assert "Phase 2 is worth +0.1 points (" in text
    assert "), which may be nothing: MobileNetV2 with its top two blocks unfrozen, against " in text
    sure = " ".join(said(row(HEAD, 700), row(blocks(2), 900)))
    assert "which may be nothing" not in sure


def test_other_pairs_are_counted_with_their_span() -> None:
    rows = [row(HEAD, 900, backbone="A"), row(blocks(2), 950, backbone="A")]
    for backbone, gain in (("B", 10), ("C", 30), ("D", -20)):
        rows += [row(HEAD, 700, backbone=backbone), row(blocks(2), 700 + gain, backbone=backbone)]
    assert any(s.endswith("Three other such pairs: -2.0 to +3.0 points.") for s in said(*rows))
    assert any(s.endswith("One other such pair: +1.0 points.") for s in said(*rows[:4]))


def test_what_differs_beside_the_strategy_is_named() -> None:
    mlp = row(HEAD, 800).spec.model_copy(
        update={"head": row(HEAD, 800).spec.head.model_copy(update={"name": "mlp"})}
    )
    first, *_ = said(
        row(HEAD, 800), row(HEAD, 900).model_copy(update={"spec": mlp, "key": mlp.key})
    )
    assert first.startswith("MobileNetV2 with its head alone trained (head mlp) reaches 90.0%")


def test_datasets_of_one_name_are_told_apart() -> None:
    other = make_dataset("a" * 64, test=1000, train=100)
    source = evidence.Source("x", Path("x"), (row(HEAD, 800), row(blocks(2), 900, dataset=other)))
    assert [subject for subject, _ in every(evidence.of([source]))] == [
        "digits, 600 train",
        "digits, 100 train",
    ]


def test_the_same_pictures_elsewhere_are_pointed_to_and_not_compared() -> None:
    sources = [
        evidence.Source(name, Path(name), (row(blocks(2), 950), row(HEAD, count)))
        for name, count in (("before", 800), ("after", 700))
    ]
    (subject, said), (other, _) = every(evidence.of(sources))
    assert (subject, other) == ("digits, before", "digits, after")
    assert said[-1] == (
        "The same pictures were used elsewhere, too (after); nothing is said here across folders "
        "and stacks, which bench compare does."
    )
    assert "90" not in said[0]


def test_where_speeds_are_the_trials_own_is_said() -> None:
    rows = [row(HEAD, 950, speed=500.0), row(blocks(2), 951, speed=300.0)]
    text = " ".join(said(*rows))
    assert "with its head alone trained trains fastest by the trials' own steps (500 im" in text
    far = " ".join(said(row(HEAD, 800, speed=500.0), row(blocks(2), 951, speed=300.0)))
    assert "Faster to train, by the trials' own steps: MobileNetV2 with its head" in far


def test_a_file_of_weights_is_called_by_its_name() -> None:
    weights = "/home/alice/secret/own.weights.h5"
    text = " ".join(said(row(blocks(2), 950, weights=weights), row(blocks(2), 800)))
    assert "(weights own.weights.h5)" in text
    assert "alice" not in text


def test_empty_results_and_costs_alone_say_so() -> None:
    empty = evidence.of([evidence.Source("x", Path("x"), ())])
    assert every(empty) == [("", ["Nothing was measured: these results are empty."])]
    costs = evidence.of([evidence.Source("x", Path("x"), (), (make_cost(),))])
    (subject, (only,)) = every(costs)[0]
    assert subject == ""
    assert "measurements of cost and no trial" in only


@pytest.mark.parametrize(
    ("freeze", "words"),
    [
        (Freeze(strategy="head_only"), "with its head alone trained"),
        (Freeze(strategy="last_layers", amount=30), "with its last 30 layers unfrozen"),
        (Freeze(strategy="last_layers", amount=1), "with its last layer unfrozen"),
        (
            Freeze(strategy="from_layer", amount="conv"),
            "with everything from layer conv on unfrozen",
        ),
        (Freeze(strategy="top_fraction", amount=0.2), "with the top 20% of its layers unfrozen"),
        (Freeze(strategy="scratch"), "trained from scratch"),
        (Freeze(strategy="new", amount=3), "with freeze new=3"),
    ],
)
def test_strategies_have_words(freeze: Freeze, words: str) -> None:
    assert frozen(freeze) == words


def test_the_cost_of_each_mistake_is_told_with_the_guards_that_noticed() -> None:
    (answer,) = advice.of(evidence.read([Path("results/reference/traps")]))
    (said,) = (s for s in sentences(answer) if s.startswith("Mistakes on purpose and"))
    assert said.index("phase2_rate -") < said.index("unpinned -") < said.index("no_recompile -")
    assert "(batchnorm_statistics)" in said
    assert "no guard" not in said
