"""``bench doctor``: on machines as tests describe them, and on this one."""

import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import STACK

from bench import cache
from bench.errors import WorkerError
from bench.records import Stack
from bench.reporting import doctor
from bench.reporting.doctor import Finding, examine, rendered
from bench.running import backends, devices
from bench.running.devices import Gpu
from bench.settings import Settings
from bench.zoo import offline

GPUS = (Gpu("0", "NVIDIA A100"), Gpu("1", "NVIDIA A100"))
GIB = 2**30


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow, no GPU, the package of weights, and room enough."""
    versions = {"tensorflow": "2.21.0", "keras": "3.15.1"}
    monkeypatch.setattr(backends, "version", versions.get)
    monkeypatch.setattr(devices, "installed", lambda: ())
    monkeypatch.setattr(offline, "find", lambda: Path("weights.pt"))
    monkeypatch.setattr(offline, "source", lambda: "package somewhere 1.0")
    room(monkeypatch)


def room(monkeypatch: pytest.MonkeyPatch, disk: float = 50, memory: float = 20) -> None:
    """So many GiB free."""
    free = types.SimpleNamespace(free=int(disk * GIB))
    held = types.SimpleNamespace(available=int(memory * GIB), total=32 * GIB)
    monkeypatch.setattr(doctor, "shutil", types.SimpleNamespace(disk_usage=lambda _: free))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: held)


def ready(stack: Stack = STACK) -> Callable[[Settings], Stack]:
    """A worker that comes up."""
    return lambda _: stack


def broken(text: str) -> Callable[[Settings], Stack]:
    """A worker that does not."""

    def probe(_: Settings) -> Stack:
        raise WorkerError(text)

    return probe


def never(_: Settings) -> Stack:
    raise AssertionError("a worker was started in vain")


def found(findings: list[Finding], area: str) -> Finding:
    (finding,) = [f for f in findings if f.area == area]
    return finding


def problems(findings: list[Finding]) -> list[str]:
    return [f"{f.area}: {f.problem}" for f in findings if f.problem]


# ------------------------------------------------------------------------------------ frameworks


def test_a_machine_with_nothing_wrong(settings: Settings) -> None:
    findings = examine(settings, {}, ready())
    assert problems(findings) == []
    assert found(findings, "tensorflow").state == "2.21.0"
    assert found(findings, "jax").state == "not installed (pip install -e '.[jax]')"
    assert found(findings, "stack").state == STACK.id
    assert found(findings, "device").state == "cpu"
    assert found(findings, "precision").state.startswith("auto is float32: on a CPU")
    assert found(findings, "weights in packages").state == "MobileNetV2 from package somewhere 1.0"


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ("mixed_bfloat16", "auto is mixed_bfloat16: this device computes in bfloat16"),
        ("mixed_float16", "auto is mixed_float16: this device does not compute in bfloat16"),
    ],
)
def test_what_precision_comes_to_on_a_gpu(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, precision: str, said: str
) -> None:
    monkeypatch.setattr(devices, "installed", lambda: GPUS)
    stack = STACK.model_copy(update={"device": "NVIDIA A100", "precision": precision})
    findings = examine(settings, {}, ready(stack))
    assert found(findings, "precision").state == said
    assert found(findings, "GPUs").state == "0 NVIDIA A100, 1 NVIDIA A100"
    assert problems(findings) == []


def test_gpus_that_the_framework_does_not_see(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "installed", lambda: GPUS)
    (said,) = problems(examine(settings, {}, ready()))
    assert said.startswith("device: 2 GPUs are there, but tensorflow does not see any: ")
    assert said.endswith("pip install 'tensorflow[and-cuda]'")
    hidden = examine(settings, {"CUDA_VISIBLE_DEVICES": ""}, ready())
    assert problems(hidden) == []
    assert found(hidden, "GPUs").state.endswith("hidden by CUDA_VISIBLE_DEVICES")


def test_a_backend_that_is_not_installed_is_not_started(settings: Settings) -> None:
    findings = examine(settings, {"KERAS_BACKEND": "jax"}, never)
    assert problems(findings) == ["stack: backend 'jax' is not installed: pip install -e '.[jax]'"]


def test_a_backend_that_does_not_start_says_its_last_line(settings: Settings) -> None:
    text = "a worker process could not start: Traceback | File x | ImportError: no libcudart"
    (said,) = problems(examine(settings, {}, broken(text)))
    assert said == "stack: ImportError: no libcudart; to install it: pip install -e ."


# ------------------------------------------------------------------------- machine and folders


def test_too_little_room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, disk=1, memory=0.5)
    memory, disk = problems(examine(settings, {}, ready()))
    assert memory == "memory: only 512 MiB are free: end what else runs"
    assert disk.startswith("disk of the cache: only 1 GiB are free: ")
    assert "BENCH_CACHE_DIR" in disk


def test_the_cache_by_kind(settings: Settings) -> None:
    for n in range(2):
        with cache.building(settings, "heads", {"n": n}, "some heads") as writer:
            assert writer is not None
            writer.put("x", [1.0])
    state = found(examine(settings, {}, ready()), "cache").state
    assert state.startswith(f"{settings.cache}: ")
    assert "of at most 20 GiB (2 heads " in state


def test_a_cache_that_cannot_be_written(settings: Settings) -> None:
    settings.cache.write_text("a file")
    (said,) = problems(examine(settings, {}, ready()))
    assert said == "cache: cannot be written: set BENCH_CACHE_DIR to a folder of yours"


def test_folders_of_weights(settings: Settings, tmp_path: Path) -> None:
    full, absent = tmp_path / "full", tmp_path / "absent"
    full.mkdir()
    for name in ("ResNet50.weights.h5", "nobody.weights.h5", "mine.keras"):
        (full / name).touch()
    here = settings.model_copy(update={"weights": (full, absent)})
    findings = examine(here, {}, ready())
    first, second = [f for f in findings if f.area == "weights"]
    assert first == Finding("weights", f"{full}: ResNet50, mine.keras")
    assert second.problem == (
        f"{absent} is not there: make the folder, or take it out of BENCH_WEIGHTS_DIR"
    )


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        (folder / name).write_text("{}")


def test_prepared_datasets(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "tfds"
    prepare(folder / "beans" / "0.1.0")
    prepare(folder / "caltech" / "small" / "1.0.0")
    (folder / "half" / "1.0.0").mkdir(parents=True)
    (folder / "downloads").mkdir()
    here = settings.model_copy(update={"tfds": folder})
    state = found(examine(here, {}, ready()), "TFDS datasets").state
    assert state.split(";")[0] == f"{folder}: beans, caltech"


def test_tfds_that_is_not_installed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    here = settings.model_copy(update={"tfds": tmp_path})
    state = found(examine(here, {}, ready()), "TFDS datasets").state
    assert state.endswith("(pip install tensorflow-datasets)")


def test_a_folder_of_datasets_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    here = settings.model_copy(update={"tfds": tmp_path / "no"})
    (said,) = problems(examine(here, {}, ready()))
    assert said.startswith(f"TFDS datasets: TFDS_DATA_DIR: {tmp_path / 'no'} is not there: ")


# ------------------------------------------------------------------------------------- the text


def test_lines_are_aligned_and_problems_come_last() -> None:
    findings = [Finding("a", "fine"), Finding("long", "bad", "is bad: mend it")]
    assert rendered(findings) == "a     fine\nlong  bad\n\nwrong: long: is bad: mend it"
    assert rendered(findings[:1]) == "a  fine\n\nnothing is wrong"


def test_many_names_are_cut_short() -> None:
    assert doctor._listed([f"d{i}" for i in range(8)]) == "d0, d1, d2, d3, d4, d5 and 2 more"
    assert doctor._listed([]) == "empty"


def test_no_framework_is_imported_and_no_secret_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; from bench.reporting import doctor; from bench.settings import Settings\n"
        "print(doctor.rendered(doctor.examine(Settings.from_environment())))\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'tensorflow_datasets', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environ = os.environ | {
        "KERAS_BACKEND": "theano",
        "BENCH_CACHE_DIR": str(tmp_path),
        "HF_TOKEN": "a-secret",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wrong: stack: unknown backend (KERAS_BACKEND) 'theano'" in done.stdout
    assert "a-secret" not in done.stdout


@pytest.mark.slow
def test_a_real_worker_says_what_it_runs_on(settings: Settings) -> None:
    before = set(psutil.Process().children())
    stack = doctor.probed(settings)
    assert stack.backend in backends.BACKENDS
    assert stack.precision in ("float32", "mixed_bfloat16", "mixed_float16")
    assert set(psutil.Process().children()) <= before
