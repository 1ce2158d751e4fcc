"""The whole way with real ImageNet weights and real pictures, as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.running import store
from bench.zoo import offline

NEEDS = ("TFDS_DATA_DIR", "BENCH_WEIGHTS_DIR")
missing = [name for name in NEEDS if not os.environ.get(name)]

SUITE = """
description = "head only and two blocks on real flowers"
data = { image_size = 96, train_examples = 400, val_examples = 100, test_examples = 200 }
phase1 = { epochs = 4, learning_rate = 3e-3 }
phase2 = { epochs = 2, learning_rate = 1e-4 }
[matrix]
backbones = ["MobileNetV2"]
datasets = ["tf_flowers"]
freezes = ["head_only", { top_blocks = 2 }, "scratch"]
"""


def bench(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not set: no real pictures")
def test_real_transfer_from_suite_to_table(tmp_path: Path) -> None:
    (tmp_path / "flowers.toml").write_text(SUITE)
    ran = bench("run", "flowers.toml", folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = {r.spec.freeze.strategy: r for r in store.read(tmp_path / "results").rows}
    assert rows["head_only"].test_accuracy > 0.7
    assert rows["top_blocks"].test_accuracy > 0.7
    assert rows["scratch"].test_accuracy < rows["head_only"].test_accuracy - 0.1
    assert all(not r.failed_guards for r in rows.values())
    assert rows["head_only"].phase1.trainable_parameters == 1280 * 5 + 5
    first_losses = [
        [e.loss for e in rows[name].phase1.epochs] for name in ("head_only", "top_blocks")
    ]
    assert first_losses[0] == first_losses[1]  # phase 1 does not depend on the freeze strategy
    shown = bench("show", "results/flowers", "--format", "markdown", folder=tmp_path)
    assert shown.stdout.count("all pass") == 3
    again = bench("run", "flowers.toml", folder=tmp_path)
    assert "3 measured before" in again.stdout


@pytest.mark.slow
@pytest.mark.skipif(offline.find() is None, reason="needs the extra 'offline'")
def test_the_quickstarts_smoke_run_needs_only_packages(tmp_path: Path) -> None:
    suite = Path(__file__).parents[1] / "suites" / "quickstart.toml"
    ran = bench("run", str(suite), "--smoke", "--results", "out", folder=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = store.read(tmp_path / "out").rows
    assert [r.status for r in rows] == ["ok", "ok", "ok"]
    assert rows[0].weights.source != "random"
    assert rows[-1].weights.source == "random"
