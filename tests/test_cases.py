"""From suites and names to measurements."""

from pathlib import Path

import pytest
from conftest import make_cost, make_spec

from bench import suite as suites
from bench.errors import BenchError
from bench.records import Freeze
from bench.running import cases
from bench.running.cases import Choice
from bench.zoo.backbones import BACKBONES

SUITES = Path(__file__).parents[1] / "suites"


def works(asked: cases.Asked) -> list[tuple[str, str]]:
    return [(c.backbone.name, c.work) for c in asked.cases]


def test_seeds_and_datasets_cost_the_same() -> None:
    asked = cases.of_suite(suites.load(SUITES / "real_small.toml"), Choice())
    mobile = [work for name, work in works(asked) if name == "MobileNetV2"]
    assert mobile == [
        *("inference", "phase 1", "phase 2 top_blocks=2", "phase 2 from_layer=100"),
        "phase 2 scratch",
    ]
    assert len(asked.cases) == 10
    assert asked.minutes == 30


def test_cases_of_one_backbone_come_together_and_out_of_the_box_first() -> None:
    asked = cases.of_backbones(["ResNet50", "VGG16"], Choice(modes=("default", "best")))
    assert [c.backbone.name for c in asked.cases] == ["ResNet50"] * 8 + ["VGG16"] * 8
    assert [c.mode for c in asked.cases[:8]] == ["default"] * 4 + ["best"] * 4
    assert {c.backbone.weights for c in asked.cases} == {"random"}


def test_all_is_every_backbone_of_the_table() -> None:
    asked = cases.of_backbones(["all"], Choice())
    assert {c.backbone.name for c in asked.cases} == set(BACKBONES)


def test_what_is_chosen_goes_before_what_the_suite_says() -> None:
    choice = Choice(batch_sizes=(8, None), image_size=96, precision="float32")
    asked = cases.of_suite(suites.load(SUITES / "quickstart.toml"), choice)
    assert {c.batch_size for c in asked.cases} == {8, None}
    assert {(c.image_size, c.precision) for c in asked.cases} == {(96, "float32")}


def test_a_trial_from_scratch_is_measured_as_it_trains() -> None:
    trial = make_spec(Freeze(strategy="scratch")).model_copy(
        update={"phase1": None, "batch_norm": "train"}
    )
    found = list(cases.of_trial(trial))
    assert [c.work for c in found] == ["inference", "phase 2 scratch"]
    assert found[1].batch_norm == "train"


def test_a_strategy_that_the_pictures_decide_is_left_out_of_phase_2() -> None:
    found = list(cases.of_trial(make_spec(Freeze(strategy="auto"))))
    assert [c.work for c in found] == ["inference", "phase 1"]


def test_a_name_that_is_none_is_told_what_is_near() -> None:
    with pytest.raises(BenchError, match="'MobilNetV2': expected a suite or a backbone; did you"):
        cases.of_backbones(["MobilNetV2"], Choice())


def test_batch_sizes_as_written() -> None:
    assert cases.batch_sizes(["8", "largest"]) == (8, None)


@pytest.mark.parametrize("word", ["0", "-1", "many", "1.5", ""])
def test_a_batch_size_that_is_none(word: str) -> None:
    with pytest.raises(BenchError, match="expected a number from 1 on, or 'largest'"):
        cases.batch_sizes([word])


def test_the_zoo_suite_covers_every_backbone() -> None:
    asked = cases.of_suite(suites.load(SUITES / "zoo_cost.toml"), Choice())
    assert {c.backbone.name for c in asked.cases} == set(BACKBONES)
    assert {c.workload for c in asked.cases} == {"inference", "phase 1", "phase 2"}


def test_a_row_stands_unless_it_was_timed_for_less_or_is_in_doubt() -> None:
    row = make_cost(timed_seconds=5.0)
    busy = make_cost(timed_seconds=5.0, elsewhere=0.5)
    assert cases.stands(row, 5.0, again=True)
    assert not cases.stands(row, 10.0, again=False)
    assert cases.stands(busy, 5.0, again=False)
    assert not cases.stands(busy, 5.0, again=True)
