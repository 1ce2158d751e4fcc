"""The same trial on JAX and PyTorch, on a machine where TensorFlow cannot be imported."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import TrialResult
from bench.running import store
from bench.zoo import offline

SUITE = """
description = "three freeze strategies, a few steps each"
data = { image_size = 64, train_examples = 96, val_examples = 40, test_examples = 40 }
phase1 = { epochs = 2, learning_rate = 3e-3 }
phase2 = { epochs = 1, learning_rate = 1e-4 }
[matrix]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only", { top_blocks = 2 }, "scratch"]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(offline.find() is None, reason="needs the extra 'offline'"),
]


def run(backend: str, folder: Path) -> dict[str, TrialResult]:
    """The suite's rows, measured without TensorFlow."""
    blocked = folder / "blocked" / "tensorflow"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('TensorFlow is blocked here')\n")
    (folder / "backend.toml").write_text(SUITE)
    paths = os.pathsep.join([str(blocked.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": paths}
    command = [sys.executable, "-m", "bench", "run", "backend.toml"]
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {r.spec.freeze.strategy: r for r in store.read(folder / "results").rows}


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_protocol_and_its_guards_hold(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the extra '{backend}'")
    rows = run(backend, tmp_path)
    assert {r.stack.backend for r in rows.values()} == {backend}
    assert [r.status for r in rows.values()] == ["ok"] * 3
    for row in rows.values():
        assert row.guards
        assert row.failed_guards == ()
    assert rows["top_blocks"].phase1.trainable_parameters == 1280 * 10 + 10
    first_epochs = [[e.loss for e in rows[n].phase1.epochs] for n in ("head_only", "top_blocks")]
    assert first_epochs[0] == pytest.approx(first_epochs[1], rel=1e-4)
    assert rows["head_only"].test_accuracy > 0.2  # chance is a tenth
