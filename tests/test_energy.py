"""What a GPU drew and who used it, on a fake NVML that counts how often it is open."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from conftest import STACK

from bench.measuring import energy, nvml
from bench.records import Stack

ON_GPU = STACK.model_copy(update={"device": "NVIDIA L4"})


class NVMLError(Exception):
    """As the package's own."""


class FakeNvml(ModuleType):
    """GPUs as dicts: name, uuid, energy, pids, mig; a value that is an error is raised."""

    NVMLError = NVMLError

    def __init__(self, *gpus: dict[str, object], starts: bool = True) -> None:
        super().__init__("pynvml")
        self.gpus, self.starts = list(gpus), starts
        self.open = self.opened = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.starts:
            raise NVMLError("NVML Shared Library Not Found")
        self.open += 1
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, object]:  # noqa: N802
        return self.gpus[index]

    def _get(self, handle: dict[str, object], name: str) -> object:
        assert self.open == 1, "asked while NVML is closed"
        value = handle.get(name, NVMLError("Not Supported"))
        if isinstance(value, Exception):
            raise value
        return value

    def nvmlDeviceGetName(self, handle: dict[str, object]) -> object:  # noqa: N802
        return self._get(handle, "name")

    def nvmlDeviceGetUUID(self, handle: dict[str, object]) -> object:  # noqa: N802
        return self._get(handle, "uuid")

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: dict[str, object]) -> object:  # noqa: N802
        return self._get(handle, "energy")

    def nvmlDeviceGetMigMode(self, handle: dict[str, object]) -> object:  # noqa: N802
        return self._get(handle, "mig")

    def nvmlDeviceGetComputeRunningProcesses(self, handle: dict[str, object]) -> object:  # noqa: N802
        pids = self._get(handle, "pids")
        assert isinstance(pids, list)
        return [SimpleNamespace(pid=pid) for pid in pids]


def gpu(number: int, **changes: object) -> dict[str, object]:
    """A GPU that has drawn 1000 J for each of its number."""
    known: dict[str, object] = {
        "name": "NVIDIA L4",
        "uuid": f"GPU-{number}0000000-aaaa-bbbb",
        "energy": 1_000_000 * number,
        "pids": [],
    }
    return known | changes


@pytest.fixture(autouse=True)
def no_choice_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


def use(monkeypatch: pytest.MonkeyPatch, *gpus: dict[str, object], starts: bool = True) -> FakeNvml:
    fake = FakeNvml(*gpus, starts=starts)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def drawn(stack: Stack = ON_GPU) -> float | None:
    with energy.Watch(stack) as watch:
        assert watch.joules is None
    return watch.joules


def test_joules_are_what_the_counter_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, gpu(1))
    with energy.Watch(ON_GPU) as watch:
        fake.gpus[0]["energy"] = 1_012_345
    assert watch.joules == pytest.approx(12.345)
    assert (fake.open, fake.opened) == (0, 1)


def test_an_error_inside_passes_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, gpu(1))
    watch = energy.Watch(ON_GPU)

    def fail() -> None:
        with watch:
            fake.gpus[0]["energy"] = 1_001_000
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert watch.joules == 1
    assert fake.open == 0


def test_a_package_that_is_absent_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert drawn() is None
    assert energy.foreign_processes(ON_GPU) is None


def test_a_driver_that_is_absent_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, gpu(1), starts=False)
    assert drawn() is None
    assert energy.foreign_processes(ON_GPU) is None
    assert fake.open == 0


@pytest.mark.parametrize(
    "gpus",
    [
        [],
        [gpu(1, energy=NVMLError("Not Supported"), pids=NVMLError("Not Supported"))],
        [gpu(1, mig=(1, 1))],
    ],
    ids=["no GPU", "too old", "divided"],
)
def test_nothing_is_guessed(gpus: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, *gpus)
    assert drawn() is None
    assert energy.foreign_processes(ON_GPU) is None
    assert fake.open == 0
    assert fake.opened == 2


def test_a_counter_that_went_backwards_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, gpu(1, mig=(0, 0)))
    with energy.Watch(ON_GPU) as watch:
        fake.gpus[0]["energy"] = 5
    assert watch.joules is None


def test_work_on_a_cpu_is_not_held_against_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, gpu(1, pids=[1, 2, 3]))
    assert drawn(STACK) is None
    assert energy.foreign_processes(STACK) is None
    assert fake.opened == 0


@pytest.mark.parametrize(
    ("visible", "joules"),
    [
        (None, 1000),
        ("0", 1000),
        ("2,0", 3000),
        (" 1 , 2", 2000),
        ("GPU-20000000-aaaa-bbbb", 2000),
        ("GPU-3,0", 3000),
        ("GPU-", None),  # could be any
        ("GPU-9", None),
        ("", None),
        ("-1", None),
        ("3", None),
        ("NoDevFiles", None),
        ("MIG-10000000-aaaa-bbbb", None),
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_the_gpu_is_the_one_that_cuda_shows_first(
    visible: str | None, joules: float | None, as_bytes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [gpu(number) for number in (1, 2, 3)]
    if as_bytes:  # as older versions of the package tell them
        gpus = [g | {"uuid": str(g["uuid"]).encode(), "name": b"NVIDIA L4"} for g in gpus]
    use(monkeypatch, *gpus)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with nvml.first_gpu() as found:
        told = found.millijoules() if found else None
    assert told == (None if joules is None else joules * 1000)


def test_an_index_is_ambiguous_among_different_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    # CUDA would call the second one number 0, for it is the faster.
    use(monkeypatch, gpu(1, name="NVIDIA T4", pids=[7]), gpu(2, name="NVIDIA H200", pids=[7, 8]))
    assert energy.foreign_processes(ON_GPU) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2")
    assert energy.foreign_processes(ON_GPU) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert energy.foreign_processes(ON_GPU) == 0


@pytest.mark.parametrize(
    ("pids", "foreign"), [([], 0), ([4711], 0), ([4711, 4711], 0), ([4711, 12, 13], 2)]
)
def test_one_of_the_processes_is_ours(
    pids: list[int], foreign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = use(monkeypatch, gpu(1, pids=pids))
    assert energy.foreign_processes(ON_GPU) == foreign
    assert fake.open == 0
