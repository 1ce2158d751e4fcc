"""Peak memory between two points: of this process for real, of accelerators on fake frameworks."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from conftest import STACK

from bench.costs import Memory
from bench.measuring import memory

MIB = 2**20


def hold(mebibytes: int) -> np.ndarray:
    """Memory that is touched, so that it is resident."""
    return np.full(mebibytes * MIB, 7, np.uint8)


def measured(work: Callable[[], object], device: str = "cpu", backend: str = "") -> Memory | None:
    changes = {"device": device, "backend": backend or STACK.backend}
    with memory.Watch(STACK.model_copy(update=changes)) as watch:
        assert watch.memory is None
        work()
    return watch.memory


def grown(mebibytes: int) -> float:
    """MiB by which the peak of holding so much was above what was held before."""
    told = measured(lambda: hold(mebibytes))
    assert told is not None
    assert told.kind == "resident"
    return (told.peak - told.before) / MIB


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# -------------------------------------------------------------------- the system's high-water mark

needs_mark = pytest.mark.skipif(
    not memory._resettable(), reason="needs a high-water mark that can be reset (Linux)"
)


@needs_mark
def test_a_peak_is_seen_though_it_is_gone_at_the_end() -> None:
    assert grown(200) == pytest.approx(200, abs=20)


@needs_mark
def test_a_second_watch_has_forgotten_the_first() -> None:
    assert grown(200) > 150
    assert grown(20) < 60


@needs_mark
def test_before_is_what_was_held() -> None:
    held = hold(100)
    memory._release()  # as the watch does: other tests left something to give back
    resident = psutil.Process().memory_info().rss
    told = measured(lambda: None)
    assert told is not None
    assert held[-1] == 7
    assert told.before == pytest.approx(resident, abs=20 * MIB)
    assert told.peak - told.before < 20 * MIB


@pytest.mark.skipif(
    not hasattr(ctypes.pythonapi, "malloc_trim"), reason="needs glibc, whose heap is trimmed"
)
def test_what_was_freed_before_does_not_count() -> None:
    gc.collect()
    resident = psutil.Process().memory_info().rss
    # Pieces too small for pages of their own. The last one holds the heap's end where it is.
    pieces = [b"7" * 100_000 for _ in range(1500)]
    last = pieces.pop()
    pieces.clear()
    told = measured(lambda: None)
    assert told is not None
    assert last[:1] == b"7"
    assert told.before < resident + 50 * MIB


def test_a_reset_that_is_ignored_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "_STATUS", status)
    status.write_text("Name:\tpython\nVmHWM:\t  102400 kB\nVmRSS:\t  102300 kB\n")
    assert memory._resettable()
    assert (tmp_path / "clear_refs").read_text() == "5"
    status.write_text("Name:\tpython\nVmHWM:\t  902400 kB\nVmRSS:\t  102300 kB\n")
    assert not memory._resettable()
    status.write_text("Name:\tpython\nVmRSS:\t  102300 kB\n")
    assert not memory._resettable()
    status.unlink()
    assert not memory._resettable()


# ---------------------------------------------------------------------------------------- sampling


class Readings:
    """Resident memory as the test says, and how often it was read."""

    def __init__(self) -> None:
        self.now, self.count = 100, 0

    def __call__(self) -> int:
        self.count += 1
        return self.now

    def seen(self, value: int) -> None:
        """Held until a reading that began afterwards has ended."""
        self.now = value
        seen = self.count
        until(lambda: self.count >= seen + 2)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    readings = Readings()
    monkeypatch.setattr(memory, "_CLEAR_REFS", Path("/no/such/file"))
    monkeypatch.setattr(memory, "_resident", readings)
    return readings


def test_sampling_sees_a_peak_that_is_gone(readings: Readings) -> None:
    def work() -> None:
        readings.seen(900)
        readings.seen(200)

    assert measured(work) == Memory(peak=900, before=100, kind="resident")
    assert measured(lambda: readings.seen(300)) == Memory(peak=300, before=200, kind="resident")


def test_sampling_counts_the_end_too(readings: Readings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SAMPLE_SECONDS", 3600.0)
    began = time.monotonic()
    told = measured(lambda: setattr(readings, "now", 700))
    assert told == Memory(peak=700, before=100, kind="resident")
    assert time.monotonic() - began < 60


def test_sampling_ends_with_the_work(readings: Readings) -> None:
    threads = threading.active_count()
    watch = memory.Watch(STACK)

    def fail() -> None:
        with watch:
            readings.seen(800)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert threading.active_count() == threads
    assert watch.memory == Memory(peak=800, before=100, kind="resident")


def test_sampling_reads_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CLEAR_REFS", Path("/no/such/file"))
    monkeypatch.setattr(memory, "SAMPLE_SECONDS", 3600.0)
    kept = []
    told = measured(lambda: kept.append(hold(200)))
    assert told is not None
    assert (told.peak - told.before) / MIB == pytest.approx(200, abs=20)


# ------------------------------------------------------------------------------------ accelerators


class Device:
    """An accelerator's account, whose peak is still that of something earlier."""

    def __init__(self) -> None:
        self.held, self.peak = 40, 5000
        self.asked: list[str] = []

    def reset(self, name: str = "") -> None:
        self.asked.append(name)
        self.peak = self.held

    def work(self) -> None:
        self.peak = max(self.peak, 900)
        self.held = 60

    def info(self, name: str) -> dict[str, int]:
        self.asked.append(name)
        return {"current": self.held, "peak": self.peak}

    def statistics(self) -> dict[str, int]:
        return {"bytes_in_use": self.held, "peak_bytes_in_use": self.peak, "num_allocs": 3}


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """The three frameworks as far as they are asked."""
    device = Device()
    experimental = SimpleNamespace(reset_memory_stats=device.reset, get_memory_info=device.info)
    cuda = SimpleNamespace(
        reset_peak_memory_stats=device.reset,
        memory_allocated=lambda: device.held,
        max_memory_allocated=lambda: device.peak,
    )
    jax = SimpleNamespace(devices=lambda: [SimpleNamespace(memory_stats=device.statistics)])
    tensorflow = SimpleNamespace(config=SimpleNamespace(experimental=experimental))
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "jax", jax)
    yield device
    assert set(device.asked) <= {"", "GPU:0"}


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_device_is_asked_after_a_reset(backend: str, device: Device) -> None:
    told = measured(device.work, "NVIDIA L4", backend)
    assert told == Memory(peak=900, before=40, kind="device")
    assert measured(lambda: None, "NVIDIA L4", backend) == Memory(peak=60, before=60, kind="device")


def test_jax_gives_the_peak_of_the_process(device: Device) -> None:
    told = measured(device.work, "NVIDIA L4", "jax")
    assert told == Memory(peak=5000, before=40, kind="device")
    device.peak = 50
    assert measured(device.work, "NVIDIA L4", "jax") == Memory(peak=900, before=60, kind="device")


@pytest.mark.parametrize("statistics", [None, {}])
def test_a_device_without_an_account_tells_nothing(
    statistics: dict[str, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = SimpleNamespace(devices=lambda: [SimpleNamespace(memory_stats=lambda: statistics)])
    monkeypatch.setitem(sys.modules, "jax", jax)
    assert measured(lambda: None, "TPU v4", "jax") is None


def test_a_device_that_refuses_tells_nothing(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> dict[str, int]:
        raise ValueError(f"Allocator stats not available for device {name}")

    experimental = SimpleNamespace(reset_memory_stats=device.reset, get_memory_info=refuse)
    tensorflow = SimpleNamespace(config=SimpleNamespace(experimental=experimental))
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    assert measured(lambda: None, "Apple M3", "tensorflow") is None


def test_an_error_inside_passes_and_is_measured(device: Device) -> None:
    watch = memory.Watch(STACK.model_copy(update={"device": "NVIDIA L4"}))

    def fail() -> None:
        with watch:
            device.work()
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert watch.memory == Memory(peak=900, before=40, kind="device")
