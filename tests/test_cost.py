"""One measurement from spec to row, on a small network: whatever happens becomes a status."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from conftest import STACK

from bench.costs import CostResult, CostSpec
from bench.measuring import apart, cost, energy, fastest, peak, sizing, steps, subject, timing
from bench.progress import Progress
from bench.records import Backbone, Freeze, Head, WeightsUsed
from bench.settings import Settings
from bench.training import execution
from bench.training.batches import Pictures
from bench.training.grounds import Workplace
from bench.zoo import weights


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("cost")
    settings = Settings(cache=folder / "cache")
    environment = execution.environment()
    return Workplace(settings, folder, STACK, environment, scratch=folder, timed_seconds=0.05)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backbone is the tiny one, and the machine's peak is known."""
    used = WeightsUsed(source="random", sha256="0" * 64)

    def load(*_: object) -> weights.LoadedBackbone:
        return weights.LoadedBackbone(tiny.backbone(), "minus_one_to_one", used, r"block(\d)_")

    monkeypatch.setattr(weights, "load", load)
    monkeypatch.setattr(peak, "peak_flops", lambda _: 1e11)
    monkeypatch.setattr(cost, "_apart", here)
    monkeypatch.setattr(timing, "BURST_SECONDS", 0.005)


def here(work: Callable[..., object], *arguments: object) -> object:
    """In place of a process of its own, which would know nothing of the tiny backbone."""
    answer, failure = apart._safely(work, arguments)
    if failure:
        raise apart.TriedError(failure)
    return answer


def spec(workload: str = "phase 2", **changes: object) -> CostSpec:
    freeze = Freeze(strategy="top_blocks", amount=1) if workload == "phase 2" else None
    fields = {"workload": workload, "freeze": freeze, "image_size": 16, "batch_size": 4}
    return CostSpec.model_validate({"backbone": Backbone(name="MobileNetV2"), **fields, **changes})


def measured(place: Workplace, what: CostSpec) -> CostResult:
    row = cost.measure(what, place, lambda _: None)
    assert (row.status, row.reason) == ("ok", "")
    return row


@pytest.mark.parametrize("workload", ["inference", "phase 1", "phase 2"])
def test_a_workload_becomes_a_whole_row(place: Workplace, workload: str) -> None:
    said: list[Progress] = []
    what = spec(workload)
    row = cost.measure(what, place, said.append)
    assert (row.status, row.reason) == ("ok", "")
    assert (row.key, row.spec, row.stack) == (what.key, what, STACK)
    assert row.batch_size == 4
    assert row.execution == "graph: Keras' default"
    for rate in (row.device, row.end_to_end):
        assert rate.low <= rate.median <= rate.high
        assert len(rate.samples) >= timing.LEAST_BURSTS
    assert row.memory.peak >= row.memory.before > 0
    assert row.size.disk_bytes > 4 * row.size.parameters
    assert row.flops_per_second == pytest.approx(2 * row.size.step_macs * row.device.median)
    assert row.utilisation == pytest.approx(row.flops_per_second / 1e11)
    assert row.drift == row.device.drift
    assert row.joules_per_image is None  # never guessed
    assert (row.latency is not None) is (workload == "inference")
    assert [p.stage for p in said] == ["batch size", "weights", workload]
    assert CostResult.model_validate_json(row.model_dump_json()) == row


def test_what_trains_is_what_the_workload_says(place: Workplace) -> None:
    sizes = {w: measured(place, spec(w)).size for w in ("inference", "phase 1", "phase 2")}
    assert sizes["inference"].trainable == 0
    assert sizes["inference"].step_macs == sizes["inference"].forward_macs
    assert 0 < sizes["phase 1"].trainable < sizes["phase 2"].trainable
    assert sizes["inference"].step_macs < sizes["phase 1"].step_macs < sizes["phase 2"].step_macs
    assert len({s.parameters for s in sizes.values()}) == 1


def test_a_training_step_trains_what_it_should_and_an_inference_step_nothing(
    place: Workplace,
) -> None:
    for workload, moves in (
        ("inference", set()),
        ("phase 1", {"head"}),
        ("phase 2", {"head", "b"}),
    ):
        what = subject.load(spec(workload), place)
        before = {w.path: w.numpy() for w in what.model.weights}
        batch = what.batch(4)
        what.compile("auto")
        step = what.step(batch)
        timed = steps.Bursts(step, lambda given=batch: given)
        timed(3)
        step.close()
        moved = {
            w.path for w in what.model.weights if not np.array_equal(w.numpy(), before[w.path])
        }
        found = {"head" if "head" in path else "b" for path in moved}
        assert found == moves, workload


def test_a_step_is_kerass_own(place: Workplace) -> None:
    """The same numbers as `train_on_batch`, which fetches logs and waits each time."""
    ends = []
    for by_keras in (True, False):
        what = subject.load(spec(), place)
        batch = what.batch(4)
        what.compile("auto")
        if by_keras:
            for _ in range(3):
                what.model.train_on_batch(*map(keras.ops.convert_to_numpy, batch))
        else:
            step = what.step(batch)
            steps.Bursts(step, lambda given=batch: given)(3)
            step.close()
        ends.append([w.numpy() for w in what.model.trainable_weights])
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_an_injected_out_of_memory_is_found_halved_and_recorded(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = steps.Bursts.__call__

    def with_room_for_six(self: steps.Bursts, count: int) -> None:
        if len(self.next_batch()[1]) > 6:
            raise MemoryError("no room")
        ran(self, count)

    monkeypatch.setattr(steps.Bursts, "__call__", with_room_for_six)
    monkeypatch.setitem(sizing.LARGEST, "cpu", 16)
    row = measured(place, spec(batch_size=None))
    assert row.batch_size == 4
    refused = "did not fit (MemoryError: no room)"
    assert row.batch_reason == f"16 {refused}; 8 {refused}; 4 fits"


def test_a_batch_that_was_asked_for_and_does_not_fit_is_a_row(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(steps.Bursts, "__call__", no_room)
    row = cost.measure(spec(), place, lambda _: None)
    assert row.status == "out_of_memory"
    assert row.reason.startswith("MemoryError: no room")
    assert row.size is not None  # what was known by then is kept


def test_a_strategy_that_does_not_exist_here_is_skipped(place: Workplace) -> None:
    row = cost.measure(spec(freeze=Freeze(strategy="top_blocks", amount=9)), place, lambda _: None)
    assert row.status == "skipped"
    assert "9" in row.reason


def test_the_best_way_is_measured_on_the_spot(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest, "TRIAL_SECONDS", 0.01)
    row = measured(place, spec(mode="best"))
    assert row.execution.startswith(("graph: measured: graph ", "xla: measured: graph "))
    assert " ms a step, xla " in row.execution


def test_xla_that_fails_leaves_the_graph(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest, "TRIAL_SECONDS", 0.01)
    compiled = subject.Subject.compile

    def no_xla(self: subject.Subject, jit: bool | str) -> None:
        if jit is True:
            raise ValueError("no such operation in XLA")
        compiled(self, jit)

    monkeypatch.setattr(subject.Subject, "compile", no_xla)
    row = measured(place, spec(mode="best"))
    assert row.execution == "graph: measured: XLA failed (ValueError: no such operation in XLA)"


def test_a_choice_that_dies_leaves_the_graph(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise apart.TriedError("its process died")

    monkeypatch.setattr(cost, "_apart", dies)
    row = measured(place, spec(mode="best"))
    assert row.execution == "graph: finding out whether xla is faster failed (its process died)"


def test_input_that_is_slower_than_the_device_is_seen(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches made ahead while the device was timed must not count as fast ones."""
    read = Pictures.__getitem__

    def slow(self: Pictures, rows: np.ndarray) -> np.ndarray:
        if isinstance(self.pixels, np.memmap):
            time.sleep(0.05)
        return read(self, rows)

    monkeypatch.setattr(Pictures, "__getitem__", slow)
    row = measured(place, spec("inference"))
    assert row.end_to_end.high < 1.05 * 4 / 0.05  # pictures in a batch, seconds to make it
    assert row.device.median > 2 * 4 / 0.05
    assert row.input_bound


def test_in_turns_all_that_is_timed_is_in_a_turn_and_waiting_is_not(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every wait is far longer than a step; and while we wait no batch is being made."""
    monkeypatch.setattr(timing, "TURN_SECONDS", 0.005)
    making = threading.Event()
    turns: list[bool] = []
    read = Pictures.__getitem__

    def noted(self: Pictures, rows: np.ndarray) -> np.ndarray:
        making.set()
        time.sleep(0.002)
        found = read(self, rows)
        making.clear()
        return found

    def wait() -> int:
        busy = making.is_set()
        time.sleep(0.05)
        turns.append(busy or making.is_set())
        return 1

    monkeypatch.setattr(Pictures, "__getitem__", noted)
    row = measured(replace(place, turns=wait), spec("inference"))
    bursts = len(row.device.samples)
    assert len(row.end_to_end.samples) == bursts >= timing.MIN_BURSTS
    from_file = math.ceil(bursts / cost.BURSTS_FROM_FILE)
    # One warms up; one is before everything, one after, with the peak; some are of the latency.
    assert len(turns) >= bursts + from_file + 3 + 1
    assert not any(turns)
    assert 4 / row.device.low < 0.05
    assert row.latency.median < 50


def test_others_that_take_turns_are_no_strangers_on_the_gpu(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "TURN_SECONDS", 0.005)
    monkeypatch.setattr(energy, "foreign_processes", lambda _: 2)
    assert measured(place, spec()).gpu_processes == 2
    assert measured(replace(place, turns=lambda: 2), spec()).gpu_processes == 0


def test_every_head_and_loss_can_be_measured(place: Workplace) -> None:
    for head in (
        Head(name="binary", loss="binary"),
        Head(name="one", loss="one_hot", output="probabilities"),
    ):
        classes = 2 if head.loss == "binary" else 10
        assert measured(place, spec(head=head, classes=classes)).device.median > 0


def test_pictures_are_read_from_a_mapped_file_in_shuffled_whole_batches(tmp_path: Path) -> None:
    with subject.mapped_pictures(4, spec(), tmp_path) as shown:
        assert isinstance(shown.pixels, np.memmap)
        assert len(shown) == 4 * subject.FILE_BATCHES
        epoch = subject.epoch_of(shown, spec(), 4)
        epoch.start_epoch(0)
        assert len(epoch) == subject.EPOCH_BATCHES
        pixels, targets = epoch[len(epoch) - 1]
        assert (pixels.shape, pixels.dtype, targets.shape) == ((4, 16, 16, 3), np.uint8, (4,))
