"""GPUs as the driver lists them, and who gets which."""

import subprocess
import sys
import types
from collections.abc import Mapping
from typing import Any

import pytest

from bench.errors import BenchError
from bench.running import devices
from bench.running.devices import Gpu

TWO = (Gpu("0", "NVIDIA A100-SXM4-40GB"), Gpu("1", "NVIDIA A100, the other"))
LISTING = "0, NVIDIA A100-SXM4-40GB\n1, NVIDIA A100, the other\n"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "installed", lambda: TWO)


@pytest.fixture
def none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "installed", lambda: ())


# ------------------------------------------------------------------------------- what is visible


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("environ", "ids"),
    [
        ({}, ("0", "1")),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ("1",)),
        ({"CUDA_VISIBLE_DEVICES": " 3, 1 "}, ("3", "1")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f,MIG-1a"}, ("GPU-8f", "MIG-1a")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, ("1",)),
        ({"CUDA_VISIBLE_DEVICES": "1,1"}, ("1",)),
    ],
)
def test_visible_gpus(environ: Mapping[str, str], ids: tuple[str, ...]) -> None:
    assert devices.visible(environ) == ids


def test_a_stated_variable_needs_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "installed", lambda: pytest.fail("asked the driver"))
    assert devices.visible({"CUDA_VISIBLE_DEVICES": "2"}) == ("2",)


# ------------------------------------------------------------------------------------- places


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("workers", "environ", "gpus"),
    [
        ("1", {}, (None,)),
        ("2", {}, ("0", "1")),
        ("auto", {}, ("0", "1")),
        ("auto", {"CUDA_VISIBLE_DEVICES": "5,6,7"}, ("5", "6", "7")),
        ("2", {"CUDA_VISIBLE_DEVICES": "5,6,7"}, ("5", "6")),
        ("auto", {"CUDA_VISIBLE_DEVICES": "1"}, (None,)),
        ("auto", {"CUDA_VISIBLE_DEVICES": ""}, (None,)),
        ("3", {"CUDA_VISIBLE_DEVICES": ""}, (None, None, None)),
    ],
)
def test_places(workers: str, environ: Mapping[str, str], gpus: tuple[str | None, ...]) -> None:
    assert devices.places(workers, environ) == gpus


@pytest.mark.usefixtures("none")
def test_a_machine_without_gpus() -> None:
    assert devices.places("auto", {}) == (None,)
    assert devices.places("2", {}) == (None, None)


@pytest.mark.usefixtures("two")
def test_more_workers_than_gpus() -> None:
    said = "--workers 3: expected at most 2, one for each GPU that is visible"
    with pytest.raises(BenchError, match=said):
        devices.places("3", {})


@pytest.mark.parametrize("workers", ["0", "-1", "two", "", "1.5", "²", "Auto"])
def test_a_wrong_number_of_workers(workers: str) -> None:
    with pytest.raises(BenchError, match="expected a number, 1 or more, or auto"):
        devices.places(workers, {})


@pytest.mark.parametrize(
    ("workers", "ids", "gpus"),
    [
        ("2", "5,6,7,8", ("5,6", "7,8")),
        ("2", "5,6,7,8,9", ("5,6", "7,8")),
        ("auto", "5,6,7,8,9", ("5,6", "7,8")),
        ("1", "5,6", (None,)),
        ("auto", "5,6,7", (None,)),
        ("2", "", (None, None)),
    ],
)
def test_a_worker_of_several_devices_has_as_many_gpus(
    workers: str, ids: str, gpus: tuple[str | None, ...]
) -> None:
    assert devices.places(workers, {"CUDA_VISIBLE_DEVICES": ids}, each=2) == gpus


def test_more_workers_of_several_devices_than_gpus() -> None:
    said = "--workers 2: expected at most 1, one for each 2 GPUs that are visible"
    with pytest.raises(BenchError, match=said):
        devices.places("2", {"CUDA_VISIBLE_DEVICES": "5,6,7"}, each=2)


# ---------------------------------------------------------------------------- several to a trial


@pytest.mark.parametrize(
    ("count", "backend", "ids", "said"),
    [
        (1, "torch", "", None),
        (2, "tensorflow", "0,1", None),
        (2, "jax", "", None),
        (3, "jax", "4,5", "execution.devices = 3: expected at most 2, the GPUs that are visible: "),
        (2, "torch", "0,1", "execution.devices = 2: expected 1 on torch: "),
    ],
)
def test_what_is_in_the_way_of_several_devices(
    count: int, backend: str, ids: str, said: str | None
) -> None:
    found = devices.problem(count, backend, {"CUDA_VISIBLE_DEVICES": ids})
    assert found is None if said is None else (found or "").startswith(said)


@pytest.mark.parametrize(
    ("device", "count"),
    [("cpu", 1), ("cpu x2", 2), ("NVIDIA H200 x16", 16), ("GeForce x2 Super", 1), ("x2", 1)],
)
def test_a_stack_tells_its_number_of_devices(device: str, count: int) -> None:
    assert devices.of_stack(device) == count


# ------------------------------------------------------------------------------- asking a driver


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """Have ``nvidia-smi`` be there, and answer so."""

    def run(*_: object, **__: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_what_nvidia_smi_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, types.SimpleNamespace(returncode=0, stdout=LISTING))
    assert devices.installed() == TWO


@pytest.mark.parametrize(
    "answer",
    [
        types.SimpleNamespace(returncode=9, stdout="NVIDIA-SMI has failed\n"),
        types.SimpleNamespace(returncode=0, stdout="No devices were found\n"),
        subprocess.TimeoutExpired("nvidia-smi", 10),
        OSError("no permission"),
    ],
    ids=["fails", "finds none", "hangs", "cannot start"],
)
def test_a_driver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    answering(monkeypatch, answer)
    assert devices.installed() == ()


class Library(types.ModuleType):
    """Stands in for the package ``pynvml``."""

    NVMLError = RuntimeError

    def __init__(self, starts: bool = True) -> None:
        super().__init__("pynvml")
        self._starts = starts

    def nvmlInit(self) -> None:  # noqa: N802
        if not self._starts:
            raise RuntimeError("driver not loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes | str:  # noqa: N802
        name = TWO[handle].name
        return name.encode() if handle else name  # older versions give bytes


@pytest.mark.parametrize(("starts", "found"), [(True, TWO), (False, ())])
def test_without_nvidia_smi_the_library_is_asked(
    monkeypatch: pytest.MonkeyPatch, starts: bool, found: tuple[Gpu, ...]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setitem(sys.modules, "pynvml", Library(starts))
    assert devices.installed() == found


def test_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert devices.installed() == ()


def test_workers_without_gpus_are_no_more_than_a_processor_can_use() -> None:
    assert devices.places("8", {devices.VARIABLE: ""}) == (None,) * 8
    with pytest.raises(BenchError, match=r"--workers 1000000: expected at most \d+ on this"):
        devices.places("1000000", {devices.VARIABLE: ""})
