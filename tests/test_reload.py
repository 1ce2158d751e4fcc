"""The reload check: a fresh process, no Bench in it, and a wrong model is caught."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import STACK

from bench.errors import BenchError
from bench.running import reload

# ----------------------------------------------------------------------- the process, no Keras


def test_its_process_cannot_import_bench_though_it_is_installed(tmp_path: Path) -> None:
    text = (
        "import runpy, sys\n"
        "import bench\n"  # it is there
        "ours = [n for n in sys.modules if n.split('.')[0] == 'bench']\n"
        "for name in ours: del sys.modules[name]\n"
        f"alone = runpy.run_path({str(reload.SCRIPT)!r})\n"
        "sys.meta_path.insert(0, alone['NoBench']())\n"
        "import json.tool\n"  # others are
        "for name in ('bench', 'bench.training.model'):\n"
        "    try: __import__(name)\n"
        "    except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", text],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(reload.SCRIPT).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "No module named 'bench'",
        "No module named 'bench'",
    ], done.stderr


def answered(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> reload.Reloaded:
    """What is made of a process that does this."""
    (folder / "script.py").write_text(script)
    monkeypatch.setattr(reload, "SCRIPT", folder / "script.py")
    monkeypatch.setattr(reload, "readers", lambda _: ("jax",))
    (found,) = reload.check(folder / "m.keras", folder / "sample.npz", 1e-4)
    return found


ANSWER = "import sys, os\nopen(sys.argv[3], 'w').write({!r})"


def says(text: str) -> str:
    return ANSWER.format(text)


@pytest.mark.parametrize(("apart", "ok"), [("0.0001", True), ("0.00011", False), ("NaN", False)])
def test_the_largest_difference_decides(
    apart: str, ok: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = f'{{"pictures": 3, "largest_difference": {apart}, "changed": 0}}'
    found = answered(monkeypatch, tmp_path, says(text))
    assert (found.ok, found.pictures, found.backend) == (ok, 3, "jax")
    assert ok or "expected at most 0.0001" in found.reason


def test_its_reason_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = answered(monkeypatch, tmp_path, says('{"pictures": 3, "reason": "TypeError: no"}'))
    assert (found.ok, found.reason, found.largest_difference) == (False, "TypeError: no", None)


def test_a_process_that_dies_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = answered(monkeypatch, tmp_path, "import sys\nsys.exit('killed by a test')")
    assert not found.ok
    assert found.reason == "its process ended with 1. killed by a test"


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reload, "SECONDS", 0.5)
    found = answered(monkeypatch, tmp_path, "import time\ntime.sleep(100)")
    assert (found.ok, found.reason) == (False, "no answer after 0.5 s")


def test_it_runs_on_the_cpu_and_the_backend_that_is_its_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES")
    script = (
        "import json, os, sys\n"
        f"said = ' '.join(os.environ[n] for n in {names!r})\n"
        "open(sys.argv[3], 'w').write(json.dumps({'reason': said}))"
    )
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert answered(monkeypatch, tmp_path, script).reason == "jax -1"


def test_who_can_read_what(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"tensorflow", "torch", "onnxruntime"}
    monkeypatch.setattr(
        reload.importlib.util, "find_spec", lambda name: object() if name in here else None
    )
    assert reload.readers(Path("a.keras")) == ("tensorflow", "torch")
    assert reload.readers(Path("a")) == ("tensorflow",)
    assert reload.readers(Path("a.onnx")) == ("onnxruntime",)
    with pytest.raises(BenchError, match="expected"):
        reload.readers(Path("a.h5"))


def test_an_accelerator_rounds_otherwise() -> None:
    assert reload.tolerance(STACK) == reload.CLOSE
    on_gpu = STACK.model_copy(update={"device": "NVIDIA A100"})
    assert reload.tolerance(on_gpu) == reload.ROUNDED


# -------------------------------------------------------------------------------- with real Keras


def model() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="top")(x))


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), dtype=np.uint8)
    probabilities = model().predict(pixels.astype("float32"), verbose=0)
    np.savez(tmp_path / "sample.npz", pixels=pixels, probabilities=probabilities)
    return tmp_path / "sample.npz"


@pytest.mark.slow
def test_a_right_model_passes_and_one_wrong_weight_is_caught(sample: Path, tmp_path: Path) -> None:
    made, path = model(), tmp_path / "m.keras"
    made.save(path)
    right = reload.check(path, sample, reload.CLOSE)
    assert right
    assert all(r.ok and r.pictures == 11 for r in right), right
    kernel, bias = made.get_layer("top").get_weights()
    kernel[5, 1] += 0.05
    made.get_layer("top").set_weights([kernel, bias])
    made.save(path)
    wrong = reload.check(path, sample, reload.CLOSE)[0]
    assert not wrong.ok
    assert wrong.largest_difference is not None
    assert reload.CLOSE < wrong.largest_difference < 0.1


@pytest.mark.slow
def test_a_model_that_needs_bench_does_not_load(sample: Path, tmp_path: Path) -> None:
    import keras

    from bench.training.model import PinnedBackbone

    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, PinnedBackbone(model())(inputs)).save(tmp_path / "m.keras")
    found = reload.check(tmp_path / "m.keras", sample, reload.CLOSE)[0]
    assert not found.ok
    assert "PinnedBackbone" in found.reason
