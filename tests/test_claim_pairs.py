"""What a claimed gain is taken between: alike in all that is not claimed, in whatever order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import STACK, make_cost, make_dataset
from test_claimed import (
    BLOCKS,
    GAIN,
    HEAD_ONLY,
    PICTURES,
    RATIO,
    SCRATCH,
    cost,
    judged,
    make_claim,
    one,
    row,
    seeds,
    trial,
)

from bench.analysis.claim_settings import apart
from bench.analysis.claimed import PLAIN, judge
from bench.costs import CostResult
from bench.records import (
    Backbone,
    EarlyStopping,
    Environment,
    Execution,
    Freeze,
    Head,
    Phase,
    TrialResult,
    TrialSpec,
    WeightsUsed,
)

ALL = Freeze(strategy="all")
OTHERS: dict[str, Any] = {
    "batch_norm": "affine",
    "views": 3,
    "execution": Execution(batch_size=8),
    "head": Head(name="mlp"),
    "phase1": Phase(epochs=5, learning_rate=1e-3),
    "backbone": Backbone(name="MobileNetV2", weights="random"),
}


def phase2(spec: TrialSpec, **changes: Any) -> TrialSpec:
    assert spec.phase2 is not None
    return spec.model_copy(update={"phase2": spec.phase2.model_copy(update=changes)})


def sized(spec: TrialSpec, pictures: int) -> TrialSpec:
    data = spec.data.model_copy(update={"train_examples": pictures})
    return spec.model_copy(update={"data": data})


# ------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("over", [HEAD_ONLY, ALL, SCRATCH], ids=lambda f: f.strategy)
def test_what_follows_from_a_strategy_is_no_difference(over: Freeze) -> None:
    claim = make_claim(**GAIN | {"over": {"freeze": over}})
    assert apart(claim, trial(), trial(over)) == ()
    if over is not ALL:
        affine = trial(batch_norm="affine")
        assert apart(claim, affine, trial(over)) == ()


@pytest.mark.parametrize(
    ("over", "name"),
    [(f, n) for f in (HEAD_ONLY, ALL) for n in OTHERS if (f, n) != (HEAD_ONLY, "batch_norm")],
    ids=str,
)
def test_every_other_setting_must_be_alike(over: Freeze, name: str) -> None:
    claim = make_claim(**GAIN | {"over": {"freeze": over}})
    other = trial(over, **{name: OTHERS[name]})
    (said,) = apart(claim, trial(), other)
    assert said.split()[0] in (name, "weights", "batch_size", "phase")


def test_from_scratch_for_as_long_and_at_the_rate_of_phase_1() -> None:
    claim = make_claim(**GAIN | {"over": {"freeze": SCRATCH}})
    assert apart(claim, trial(), phase2(trial(SCRATCH), epochs=9)) == ("phase 2 epochs 9 for 3",)
    rate = phase2(trial(SCRATCH), learning_rate=1e-5)
    assert apart(claim, trial(), rate) == ("phase 2 learning_rate 1e-05 for 0.001",)
    stopping = phase2(trial(), early_stopping=EarlyStopping(patience=1))
    whole = phase2(trial(SCRATCH), early_stopping=EarlyStopping(patience=3))
    assert apart(claim, stopping, whole) == ()
    assert apart(claim, stopping, trial(SCRATCH)) == ("phase 2 early_stopping False for True",)
    # A head alone does not say how long phase 2 would have been.
    assert apart(claim, trial(HEAD_ONLY), trial(SCRATCH)) == ()
    assert apart(claim, trial(HEAD_ONLY), rate) == ("phase 2 learning_rate 1e-05 for 0.001",)


def test_a_backbone_that_is_claimed_about_brings_its_own_settings() -> None:
    claim = make_claim(**GAIN | {"of": {"backbone": "MobileNetV2"}, "over": {"backbone": "VGG16"}})
    other = trial(backbone=Backbone(name="VGG16", preprocessing="caffe"))
    assert apart(claim, trial(), other) == ()
    random = trial(backbone=Backbone(name="VGG16", weights="random"))
    assert apart(claim, trial(), random) == ("random weights on one side",)


# ---------------------------------------------------------------------------------- what is fit


@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_rows_chooses_nothing(turned: bool) -> None:
    # One of the same length, and one shortened with --set that lies in the same folder.
    long, short = phase2(trial(), epochs=10), phase2(trial(), epochs=3)
    rows = [row(190, long), row(100, short)]
    unpinned = row(180, phase2(trial(trap=PLAIN), epochs=10))
    sides = {"of": {"trap": PLAIN}, "over": {"trap": "none"}, "low": -1, "high": 0}
    found = one(make_claim(**GAIN | sides), [unpinned, *(rows[::-1] if turned else rows)])
    assert found.measured is not None
    assert found.measured.value == pytest.approx(-0.05)


def test_where_nothing_fits_it_is_said_what_is_nearest() -> None:
    heads = seeds(180, HEAD_ONLY, phase1=Phase(epochs=7, learning_rate=1e-3))
    found = one(make_claim(**GAIN), [*heads, *seeds(190)])
    assert found.verdict == "not measured"
    assert found.reasons == (
        "nothing to compare it with: no head_only in these results is alike otherwise; "
        "the nearest has phase 1 epochs 7 for 2",
    )


def test_a_strategy_that_is_not_the_same_in_both_runs_does_not_stand_in() -> None:
    claim = make_claim(**GAIN | {"over": {"freeze": ALL}})
    meant, plain = judged(claim, [*seeds(180, ALL), *seeds(190), *seeds(170, trap=PLAIN)])
    assert meant.measured is not None
    assert plain.verdict == "not measured"
    assert "no all in these results is alike otherwise" in plain.reasons[0]


def test_other_weights_cannot_be_compared() -> None:
    used = [WeightsUsed(source="keras.applications", sha256=c) for c in "ab"]
    heads = [row(180, trial(HEAD_ONLY, s), weights=used[0]) for s in range(3)]
    rows = [row(190, trial(seed=s), weights=used[1]) for s in range(3)]
    found = one(make_claim(**GAIN), [*heads, *rows])
    assert found.reasons == ("head_only began from other weights",)
    scratch = [row(150, trial(SCRATCH, s), weights=used[0]) for s in range(3)]
    claim = make_claim(**GAIN | {"over": {"freeze": SCRATCH}})
    assert one(claim, [*scratch, *rows]).measured is not None


def test_seeds_on_other_pictures_are_passed_over_where_some_saw_the_same() -> None:
    elsewhere = make_dataset("e" * 64, test=PICTURES)
    heads = [*seeds(180, HEAD_ONLY, count=2), row(20, trial(HEAD_ONLY, 7), dataset=elsewhere)]
    found = one(make_claim(**GAIN), [*heads[::-1], *seeds(190)])
    assert found.measured is not None
    assert found.measured.value == pytest.approx(0.05)


# ------------------------------------------------------------------------ numbers of train pictures

MORE: dict[str, Any] = GAIN | {
    "of": {"freeze": BLOCKS, "train_from": 1000},
    "over": {"freeze": BLOCKS, "train_below": 1000},
    "high": 0.2,
}


def on_pictures(
    folder: Path, right: int, train: int, pictures: str = "p", keep: bool = True
) -> TrialResult:
    """A row with its predictions of so many test pictures, as a run keeps them."""
    spec = sized(trial(), train)
    used = make_dataset(f"{train:064}", test=PICTURES, train=train)
    file = folder / STACK.id / "predictions" / f"{spec.key}.npz"
    labels = np.arange(PICTURES, dtype=np.int32) % 10
    predicted = np.where(np.arange(PICTURES) < right, labels, (labels + 1) % 10)
    if keep:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file,
            probabilities=np.eye(10, dtype=np.float32)[predicted],
            labels=labels,
            pictures=np.array([f"{pictures}{i:015}" for i in range(PICTURES)]),
        )
    return row(right, spec, dataset=used, predictions=f"predictions/{file.name}")


def test_more_train_pictures_are_judged_where_the_test_pictures_are_known(tmp_path: Path) -> None:
    rows = [
        on_pictures(tmp_path, 190, 1000),
        on_pictures(tmp_path, 170, 250),
        on_pictures(tmp_path, 150, 500),
    ]
    found = judged(make_claim(**MORE), rows, folder=tmp_path)
    assert [f.measured.value for f in found if f.measured] == pytest.approx([0.10, 0.20])
    assert [f.about for f in found] == [
        f"MobileNetV2 · digits · top_blocks=2, 1,000 train over top_blocks=2, {n} train"
        for n in (250, 500)
    ]


def test_without_predictions_nobody_knows_the_test_pictures(tmp_path: Path) -> None:
    rows = [on_pictures(tmp_path, 190, 1000), on_pictures(tmp_path, 170, 250, keep=False)]
    unknown = "nothing stored tells whether top_blocks=2 was tested on the same pictures"
    assert one(make_claim(**MORE), rows, folder=tmp_path).reasons == (unknown,)
    assert one(make_claim(**MORE), rows).reasons == (unknown,)


def test_other_test_pictures_are_not_subtracted(tmp_path: Path) -> None:
    rows = [on_pictures(tmp_path, 190, 1000), on_pictures(tmp_path, 170, 250, pictures="q")]
    found = one(make_claim(**MORE), rows, folder=tmp_path)
    assert found.reasons == ("top_blocks=2 was tested on other pictures",)


def test_sizes_that_no_side_names_must_be_alike(tmp_path: Path) -> None:
    rows = [on_pictures(tmp_path, 190, 1000), row(180, sized(trial(HEAD_ONLY), 250))]
    found = one(make_claim(**GAIN), rows, folder=tmp_path)
    assert found.verdict == "not measured"
    assert "the nearest has train_examples 250 for 1000" in found.reasons[0]


# ---------------------------------------------------------------------------------------- speeds


def ratios(*costs: CostResult, **more: Any) -> list[str]:
    found = judge([make_claim(**RATIO)], [], costs, **more)
    return [f.verdict if not f.reasons else f"{f.verdict}: {f.reasons[0]}" for f in found]


HEAD, EVERYTHING = cost(400.0, "phase 1"), cost(40.0, "phase 2", ALL)


@pytest.mark.parametrize(
    "changes", [{"batch_size": 8}, {"image_size": 96}, {"classes": 2}, {"precision": "float32"}]
)
def test_speeds_of_other_settings_are_not_compared(changes: dict[str, Any]) -> None:
    (said,) = ratios(HEAD, cost(40.0, "phase 2", ALL, **changes))
    assert said == (
        "not measured: no two measurements of its phases are alike otherwise, and of one machine"
    )


def test_phases_have_settings_of_their_own() -> None:
    phase = cost(40.0, "phase 2", ALL, batch_norm="affine", optimizer="sgd")
    assert ratios(HEAD, phase) == ["holds"]


def test_speeds_of_two_machines_are_not_compared() -> None:
    def on(processor: str) -> Environment:
        names = {"bench_version": "1", "python_version": "3", "platform": "x", "cores": 2}
        return Environment.model_validate(
            names | {"processor": processor, "memory_gib": 8.0, "packages": {}}
        )

    here, there = (HEAD.model_copy(update={"environment": on(name)}) for name in "ab")
    everything = EVERYTHING.model_copy(update={"environment": on("a")})
    assert ratios(here, everything) == ["holds"]
    assert ratios(there, everything)[0].startswith("not measured")


def test_speeds_that_the_recipe_does_not_ask_for_are_not_comparable() -> None:
    full = trial(ALL).data.model_copy(update={"image_size": 224})
    recipe = [trial(ALL, data=full)]
    assert ratios(HEAD, EVERYTHING, recipe=recipe) == ["holds"]
    small = trial(ALL, execution=Execution(batch_size=8))
    said = "not comparable: not as in the recipe: image_size 224 for 96, batch_size 32 for 8"
    assert ratios(HEAD, EVERYTHING, recipe=[small]) == [said]


def test_a_measurement_of_inference_is_of_no_phase() -> None:
    assert ratios(make_cost(), EVERYTHING)[0].startswith("not measured: nothing in these results")
