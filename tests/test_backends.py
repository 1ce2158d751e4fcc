"""The same contract on JAX and PyTorch, on a machine where TensorFlow cannot be imported.

Protocol, guards, shared work and measurement, each through the command line, so each in processes
of its own.
"""

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
description = "a few steps"
data = {{ image_size = 64, train_examples = 96, val_examples = 40, test_examples = 40 }}
phase1 = {{ epochs = 2, learning_rate = 3e-3 }}
phase2 = {{ epochs = 1, learning_rate = 1e-4 }}
[matrix]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = [{freezes}]
seeds = [{seeds}]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(offline.find() is None, reason="needs the extra 'offline'"),
]


class Machine:
    """A machine with one backend, and no TensorFlow."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend, self.folder = backend, folder
        blocked = folder / "blocked" / "tensorflow"
        blocked.mkdir(parents=True)
        (blocked / "__init__.py").write_text("raise ImportError('TensorFlow is blocked here')\n")
        self._paths = os.pathsep.join([str(blocked.parent), os.environ.get("PYTHONPATH", "")])

    def bench(self, *words: str) -> str:
        """Run a command; what it printed."""
        environment = os.environ | {"KERAS_BACKEND": self.backend, "PYTHONPATH": self._paths}
        environment["BENCH_CACHE_DIR"] = str(self.folder / "cache")
        command = [sys.executable, "-m", "bench", *words]
        ran = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=environment, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def run(self, freezes: str, seeds: str, *options: str) -> list[TrialResult]:
        """The rows of a suite."""
        (self.folder / "few.toml").write_text(SUITE.format(freezes=freezes, seeds=seeds))
        results = "literal" if "--literal" in options else "results"
        self.bench("run", "few.toml", "--results", results, *options)
        rows = store.read(self.folder / results).rows
        assert {r.stack.backend for r in rows} == {self.backend}
        assert [r.status for r in rows] == ["ok"] * len(rows)
        return list(rows)


@pytest.fixture(params=["jax", "torch"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    backend: str = request.param
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the extra '{backend}'")
    return Machine(backend, tmp_path)


def test_the_protocol_and_its_guards_hold(machine: Machine) -> None:
    found = machine.run('"head_only", { top_blocks = 2 }, "scratch"', "0")
    rows = {r.spec.freeze.strategy: r for r in found}
    for row in rows.values():
        assert row.guards
        assert row.failed_guards == ()
    assert rows["top_blocks"].phase1.trainable_parameters == 1280 * 10 + 10
    first_epochs = [[e.loss for e in rows[n].phase1.epochs] for n in ("head_only", "top_blocks")]
    assert first_epochs[0] == pytest.approx(first_epochs[1], rel=1e-4)
    assert rows["head_only"].test_accuracy > 0.2  # chance is a tenth


def test_shared_work_equals_the_literal_path(machine: Machine) -> None:
    # No trial without a phase 2, so that nothing computes its frontiers for it.
    shared = machine.run("{ top_blocks = 2 }", "0, 1")
    literal = machine.run("{ top_blocks = 2 }", "0, 1", "--literal")
    assert [r.way for r in (*shared, *literal)] == ["shared"] * 2 + ["literal"] * 2
    for ours, reference in zip(shared, literal, strict=True):
        assert ours.key == reference.key
        assert ours.failed_guards == reference.failed_guards == ()
        for one, other in ((ours.phase1, reference.phase1), (ours.phase2, reference.phase2)):
            losses = [[(e.loss, e.val_loss) for e in p.epochs] for p in (one, other)]
            assert losses[0] == [pytest.approx(pair, rel=1e-3) for pair in losses[1]]
        assert ours.test_loss == pytest.approx(reference.test_loss, rel=1e-3)


def test_costs_are_measured(machine: Machine) -> None:
    words = ("measure", "MobileNetV2", "--image-size", "32", "--batch-size", "2", "--mode", "best")
    shown = machine.bench(*words, "--seconds", "0.2")
    rows = store.read(machine.folder / "results").costs
    works = ["inference", "phase 1", "phase 2 top_blocks=2", "phase 2 all"]
    assert [r.spec.work for r in rows] == works
    assert all(work in shown for work in works)
    for row in rows:
        assert (row.status, row.reason, row.stack.backend) == ("ok", "", machine.backend)
        assert row.execution.startswith({"jax": "xla: ", "torch": "eager: "}[machine.backend])
        assert row.device.median > 0
        assert row.end_to_end.median > 0
        assert row.memory.peak > 0
        assert row.utilisation > 0
    assert [r.size.trainable for r in rows] == [0, 12_810, 1_207_690, 2_236_682 - 34_112]
    assert rows[0].size.forward_macs == rows[3].size.forward_macs < rows[3].size.step_macs
