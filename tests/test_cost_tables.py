"""The table of costs, and what is said below it."""

import csv
import io

import pytest
from conftest import STACK, make_cost, make_rate

from bench.costs import Memory
from bench.records import Freeze, Head
from bench.reporting import cost_tables
from bench.reporting.forms import FORMATS


def table(*rows: object, form: str = "markdown") -> str:
    return cost_tables.document(list(rows), form)


def test_a_row_shows_what_was_measured() -> None:
    shown = table(make_cost())
    for cell in ("MobileNetV2", "inference", "100 (98.0–102)", "8.00 / 9.00 / 12.0", "2.27 M"):
        assert cell in shown
    assert "0.93" in shown  # GiB
    assert "0.30" in shown  # GMACs


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_prints(form: str) -> None:
    assert "MobileNetV2" in table(make_cost(), form=form)


def test_programs_get_plain_numbers() -> None:
    (line,) = csv.DictReader(io.StringIO(table(make_cost(), form="csv")))
    assert float(line["device_images_per_second_median"]) == 100.0
    assert int(line["memory_peak"]) == 1_000_000_000
    assert float(line["latency_ms_p99"]) == 12.0
    assert line["freeze"] == ""


def test_columns_appear_where_rows_differ() -> None:
    other = make_cost(stack=STACK.model_copy(update={"backend": "jax"}))
    assert "| stack" not in table(make_cost())
    assert "| stack" in table(make_cost(), other)
    assert "J/image" not in table(make_cost())
    assert "J/image" in table(make_cost(joules_per_image=0.5))


def test_a_measurement_that_failed_stays_in_sight() -> None:
    bad = make_cost(status="out_of_memory", reason="no room", device=None, size=None)
    shown = table(bad)
    assert "out_of_memory" in shown
    assert "largest" not in shown
    assert "inference · batch 32 · default: out_of_memory: no room" in shown


def test_doubts_stand_beside_the_number_and_below() -> None:
    wide = make_rate(100, 80, 120)
    assert "100 (98.0–102) ?" not in table(make_cost())
    assert "100 (80.0–120) ?" in table(make_cost(device=wide))
    busy = table(make_cost(elsewhere=0.43))
    assert "100 (98.0–102) ?" in busy
    assert "other work used up to 43% of the cores" in busy
    assert "on a GPU of its own" in table(make_cost(gpu_processes=2))
    slower = table(make_cost(drift=-0.12))
    assert "100 (98.0–102) ?" in slower
    assert "up to 12% slower than the first in" in slower
    assert "up to 12% faster" in table(make_cost(drift=0.12))


def test_a_bound_by_input_is_named() -> None:
    slow = make_rate(50, 49, 51)
    assert "input-bound" in table(make_cost(end_to_end=slow))
    assert "input-bound" not in table(make_cost())


def test_how_a_batch_size_was_found_is_told() -> None:
    assert "batch 64 did not fit (X); 32 fits" in table(
        make_cost(batch_reason="64 did not fit (X); 32 fits")
    )


def test_memory_says_whose_it_is() -> None:
    assert "the process held" in table(make_cost())
    device = Memory(peak=2**30, before=0, kind="device")
    assert "tensors took there" in table(make_cost(memory=device))


def test_the_workloads_of_a_backbone_stand_side_by_side() -> None:
    freeze = Freeze(strategy="all")
    first = make_cost()
    tuned = first.spec.model_copy(update={"workload": "phase 2", "freeze": freeze})
    second = make_cost(tuned, device=make_rate(25, 24, 26), latency=None)
    other = first.spec.model_copy(update={"mode": "best"})
    lines = cost_tables.overview([first, second, make_cost(other)], "markdown").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert cells[0][3:5] == ["inference, images/s", "phase 2 all, images/s"]
    assert cells[2][:6] == ["MobileNetV2", "default", "32", "100", "25.0", "8.00"]
    assert cells[3][:5] == ["MobileNetV2", "best", "32", "100", "–"]
    assert len(lines) == 4
    assert "phase 2 all, images/s" in table(first, second)
    assert "inference, images/s" not in table(first)  # one workload needs no overview


def test_what_nobody_measured_has_no_column_and_no_legend() -> None:
    bare = make_cost(end_to_end=None, memory=None, size=None, latency=None)
    shown = table(bare)
    for word in ("end to end", "memory", "GMACs", "latency"):
        assert word not in shown
        assert word in table(make_cost())


def test_no_two_measurements_collapse_into_one() -> None:
    first = make_cost()
    changes = [
        {"head": Head(name="mlp")},
        {"precision": "float32"},
        {"optimizer": "sgd"},
        {"image_size": 96},
        {"mode": "best"},
        {"batch_size": None},
        {"batch_norm": "train"},
    ]
    rows = [first, *(make_cost(first.spec.model_copy(update=c)) for c in changes)]
    lines = cost_tables.render(rows, "markdown").splitlines()[2:]
    assert len(set(lines)) == len(rows) == 8
    shown = cost_tables.overview(rows[:-1], "markdown")
    assert shown.count("100") == 7


def test_p99_of_too_few_calls_is_not_shown() -> None:
    few = make_cost().latency.model_copy(update={"p99": None})
    assert "8.00 / 9.00 / –" in table(make_cost(latency=few))
