"""Records of measurement: keys, labels, and what puts a number in doubt."""

import numpy as np
import pytest
from conftest import make_cost, make_rate

from bench.costs import DRIFT, CostResult, CostSpec, Memory, Rate, pooled
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


STEADY = (100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1, 99.9, 100.3, 99.7, 100.4)


@pytest.mark.parametrize(
    ("samples", "drift"),
    [
        (STEADY, 0.0),
        (tuple(s * (1 - 0.02 * i) for i, s in enumerate(STEADY)), -0.165),
        (tuple(s * (1 + 0.02 * i) for i, s in enumerate(STEADY)), 0.155),
        ((*STEADY[:6], *(0.9 * s for s in STEADY[:6])), -0.104),
        ((100.0, 60.0, 100.0, 100.0, 100.0, 100.0, 60.0, 100.0), 0.0),  # slow moments on both sides
        ((200.0, 200.0, 200.0, 100.0, 100.0, 100.0, 100.0), None),  # too few to tell
        ((200.0,), None),
    ],
)
def test_drift_is_between_first_and_last_bursts_and_beyond_chance(
    samples: tuple[float, ...], drift: float | None
) -> None:
    found = Rate.of(samples).drift
    assert found == (None if drift is None else pytest.approx(drift, abs=0.002))


@pytest.mark.parametrize("bursts", [8, 12, 20, 100])
def test_a_steady_machine_is_hardly_ever_said_to_drift(bursts: int) -> None:
    """Bursts as they are on a quiet machine, and as they are where they are in doubt already."""
    chance = np.random.default_rng(0)
    for spread, most in ((0.02, 0), (0.08, 6)):
        rates = chance.normal(1.0, spread, (200, bursts)) * 100
        found = [Rate.of([float(r) for r in row]).drift for row in rates]
        assert sum(abs(d or 0.0) >= DRIFT for d in found) <= 200 * most / 100


def test_a_drift_beyond_five_percent_puts_a_row_in_doubt_and_the_largest_counts() -> None:
    assert not make_cost(drift=None).doubtful
    assert not make_cost(drift=-0.04).doubtful
    assert make_cost(drift=-0.06).drifted
    assert make_cost(drift=0.06).doubtful
    drifted = [make_cost(drift=d) for d in (0.06, -0.2)]
    assert pooled(drifted).drift == -0.2
    assert pooled(drifted).doubtful
    steady = make_cost(drift=0.0)
    assert pooled([*drifted, steady]) == steady
    assert pooled([make_cost(drift=None)] * 2).drift is None


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
