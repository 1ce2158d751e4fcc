"""Records of measurement: keys, labels, and what puts a number in doubt."""

import pytest
from conftest import make_cost, make_rate

from bench.costs import CostResult, CostSpec, Memory, Rate, pooled
from bench.records import Backbone, Freeze


def rate(median: float, spread: float = 0.01) -> Rate:
    return make_rate(median, median * (1 - spread), median * (1 + spread))


def spec(**changes: object) -> CostSpec:
    fields: dict[str, object] = {"backbone": Backbone(name="MobileNetV2"), "workload": "inference"}
    return CostSpec.model_validate(fields | changes)


def test_a_key_leaves_defaults_out_and_holds_everything_else() -> None:
    assert spec().key == spec(image_size=224, batch_size=32, mode="default").key
    others = [
        spec(image_size=160),
        spec(workload="phase 1"),
        spec(workload="phase 2", freeze=Freeze(strategy="all")),
        spec(batch_size=None),
        spec(mode="best"),
        spec(precision="mixed_float16"),
        spec(optimizer="sgd"),
    ]
    assert len({spec().key, *(s.key for s in others)}) == 8


def test_a_label_says_what_is_measured() -> None:
    freeze = Freeze(strategy="top_blocks", amount=2)
    label = spec(workload="phase 2", freeze=freeze, batch_size=None, mode="best").label
    assert label == "MobileNetV2 · 224 px · phase 2 top_blocks=2 · largest batch · best"


def test_a_row_survives_json() -> None:
    row = make_cost()
    assert CostResult.model_validate_json(row.model_dump_json()) == row


@pytest.mark.parametrize(
    ("end_to_end", "bound"),
    [
        (rate(100), False),
        (rate(95), False),  # a difference that matters to nobody
        (rate(80), True),
        (rate(80, spread=0.3), False),  # a difference that may be noise
        (None, False),
    ],
)
def test_input_bound_is_slower_by_more_than_noise(end_to_end: Rate | None, bound: bool) -> None:
    assert make_cost(device=rate(100), end_to_end=end_to_end).input_bound is bound


def test_utilisation_is_achieved_over_measured() -> None:
    assert make_cost(flops_per_second=3e9, peak_flops_per_second=4e9).utilisation == 0.75
    assert make_cost(flops_per_second=None).utilisation is None
    assert make_cost(flops_per_second=3e9, peak_flops_per_second=None).utilisation is None


def test_doubts() -> None:
    calm = make_cost(device=rate(100), elsewhere=0.01, gpu_processes=None)
    assert not calm.disturbed
    assert not calm.unsteady
    assert not calm.doubtful
    assert make_cost(elsewhere=0.5).disturbed
    assert make_cost(elsewhere=0.5).doubtful
    assert make_cost(gpu_processes=1).disturbed
    assert make_cost(device=rate(100, spread=0.2)).unsteady


def test_runs_are_taken_together_so_that_the_interval_holds_what_they_differ_in() -> None:
    slow, fast = make_cost(device=rate(80), timed_seconds=5.0), make_cost(device=rate(120))
    both = pooled([slow, fast])
    assert both.runs == 2
    assert both.device.samples == (*slow.device.samples, *fast.device.samples)
    assert both.device.low < 80 * 1.01
    assert both.device.high > 120 * 0.99
    assert both.timed_seconds == 5.0
    assert both.latency.count == 1000
    assert both.unsteady
    assert pooled([slow]) == slow


def test_the_most_memory_of_any_run_counts() -> None:
    small = make_cost(memory=Memory(peak=1, before=0, kind="resident"))
    large = make_cost(memory=Memory(peak=2, before=0, kind="resident"))
    assert pooled([large, small]).memory.peak == 2
    assert pooled([make_cost(memory=None)] * 2).memory is None
