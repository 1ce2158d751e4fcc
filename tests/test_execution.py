"""Device, precision and mode: what is recorded is what is in force."""

import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest

from bench.records import Execution
from bench.training import execution


@pytest.mark.parametrize(
    ("device", "bfloat16", "asked", "precision"),
    [
        ("cpu", False, "auto", "float32"),
        ("NVIDIA H100", True, "auto", "mixed_bfloat16"),
        ("Tesla V100", False, "auto", "mixed_float16"),
        ("cpu", False, "mixed_bfloat16", "mixed_bfloat16"),
        ("NVIDIA H100", True, "float32", "float32"),
    ],
)
def test_precision_follows_the_device_unless_asked(
    monkeypatch: pytest.MonkeyPatch, device: str, bfloat16: bool, asked: str, precision: str
) -> None:
    monkeypatch.setattr(execution, "_device", lambda backend: (device, bfloat16))
    stack = execution.detect(Execution(precision=asked))
    assert stack.precision == precision
    assert stack.device == device
    assert stack.backend == keras.backend.backend()
    assert stack.keras_version == keras.__version__


def fake_tensorflow(name: str, capability: Any) -> Any:
    gpus = [] if name == "cpu" else ["/physical_device:GPU:0"]
    details = {"device_name": name}
    if capability is not None:
        details["compute_capability"] = capability
    experimental = SimpleNamespace(get_device_details=lambda gpu: details)
    config = SimpleNamespace(list_physical_devices=lambda kind: gpus, experimental=experimental)
    return SimpleNamespace(config=config)


def fake_jax(name: str, capability: Any) -> Any:
    device = SimpleNamespace(platform="cpu" if name == "cpu" else "gpu", device_kind=name)
    if capability is not None:
        joined = capability if isinstance(capability, str) else ".".join(map(str, capability))
        device.compute_capability = joined
    return SimpleNamespace(devices=lambda: [device])


def fake_torch(name: str, capability: Any) -> Any:
    cuda = SimpleNamespace(
        is_available=lambda: name != "cpu",
        get_device_name=lambda index: name,
        get_device_capability=lambda index: capability,
    )
    return SimpleNamespace(cuda=cuda)


FAKES = {"tensorflow": fake_tensorflow, "jax": fake_jax, "torch": fake_torch}
DEVICES = [
    ("cpu", None, "float32"),
    ("Tesla V100-SXM2-16GB", (7, 0), "mixed_float16"),
    ("Tesla T4", (7, 5), "mixed_float16"),
    ("NVIDIA A100-SXM4-40GB", (8, 0), "mixed_bfloat16"),
    ("NVIDIA H100 80GB HBM3", (9, 0), "mixed_bfloat16"),
    ("NVIDIA GeForce RTX 5090", (12, 0), "mixed_bfloat16"),
]
ODD_DEVICES = [
    ("tensorflow", "AMD, which tells no capability", None, "mixed_float16"),
    ("jax", "AMD Instinct MI250X", "gfx90a", "mixed_float16"),
    ("jax", "TPU v4", None, "mixed_bfloat16"),
]


@pytest.mark.parametrize(
    ("backend", "device", "capability", "precision"),
    [*((backend, *row) for backend in FAKES for row in DEVICES), *ODD_DEVICES],
)
def test_auto_asks_each_backend_what_its_device_can_do(
    monkeypatch: pytest.MonkeyPatch, backend: str, device: str, capability: Any, precision: str
) -> None:
    """Compute capability 8.0 is NVIDIA's first with bfloat16."""
    monkeypatch.setitem(sys.modules, backend, FAKES[backend](device, capability))
    monkeypatch.setattr(execution.keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(execution.metadata, "version", lambda package: "1.0")
    stack = execution.detect(Execution(precision="auto"))
    assert (stack.backend, stack.device, stack.precision) == (backend, device, precision)


def test_configure_puts_the_precision_in_force() -> None:
    before = keras.config.dtype_policy()
    try:
        asked = Execution(precision="mixed_bfloat16", deterministic=False)
        stack = execution.configure(asked)
        assert keras.config.dtype_policy().name == stack.precision == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)


def test_the_stack_id_is_a_folder_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_device", lambda backend: ("NVIDIA H100 80GB/HBM3", True))
    folder = execution.detect(Execution()).id
    assert folder.endswith("_NVIDIA-H100-80GB-HBM3_mixed_bfloat16")
    assert "/" not in folder
    assert " " not in folder


def test_the_environment_names_what_matters_and_no_path() -> None:
    found = execution.environment()
    assert found.packages["keras"] == keras.__version__
    assert found.cores >= 1
    assert found.memory_gib > 0
    assert found.processor
    assert "/" not in found.platform


def test_a_framework_that_another_distribution_brought_says_its_version_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("tensorflow", "keras"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    for name in ("tf_nightly", "keras_nightly"):
        info = tmp_path / f"{name}-2.99.0.dev1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.99.0.dev1\n"
        )
    fake = fake_tensorflow("cpu", None)
    fake.__version__ = "2.99.0-dev1"
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    monkeypatch.setattr(execution.keras.backend, "backend", lambda: "tensorflow")
    monkeypatch.setattr(execution.metadata, "version", version)
    monkeypatch.syspath_prepend(tmp_path)
    stack = execution.detect(Execution())
    assert (stack.backend_version, stack.keras_version) == ("2.99.0-dev1", keras.__version__)
    packages = execution.environment().packages
    assert packages["tf-nightly"] == packages["keras-nightly"] == "2.99.0.dev1"
    assert "ml-dtypes" in packages  # its distribution calls itself ml_dtypes


def test_out_of_memory_is_told_from_other_errors() -> None:
    assert execution.is_out_of_memory(MemoryError())
    assert execution.is_out_of_memory(type("ResourceExhaustedError", (Exception,), {})())
    assert execution.is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate"))
    assert not execution.is_out_of_memory(ValueError("shapes (3,) and (4,)"))
