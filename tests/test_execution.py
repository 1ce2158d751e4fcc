"""Device, precision and mode: what is recorded is what is in force."""

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


def test_out_of_memory_is_told_from_other_errors() -> None:
    assert execution.is_out_of_memory(MemoryError())
    assert execution.is_out_of_memory(type("ResourceExhaustedError", (Exception,), {})())
    assert execution.is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate"))
    assert not execution.is_out_of_memory(ValueError("shapes (3,) and (4,)"))
