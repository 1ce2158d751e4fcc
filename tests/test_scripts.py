"""The script for a GPU machine: what it runs, with an interpreter that only notes its arguments."""

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app

SCRIPT = Path(__file__).parents[1] / "scripts" / "measure_on_gpu.sh"
NOTING = """#!/usr/bin/env bash
echo "$KERAS_BACKEND $*" >> "$NOTED"
case "$*" in *doctor*) exit 1 ;; *measure*) exit "${MEASURED:-0}" ;; esac
"""


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Where the interpreter notes how it was called."""
    interpreter = tmp_path / "python"
    interpreter.write_text(NOTING)
    interpreter.chmod(0o755)
    return tmp_path / "noted"


def ran(noted: Path, *words: str, **environment: str) -> list[list[str]]:
    """The commands of one run of the script, each as its words."""
    mine = {"PYTHON": str(noted.parent / "python"), "NOTED": str(noted), **environment}
    inherited = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run([SCRIPT, *words], env=inherited | mine, check=False, cwd=noted.parent)
    assert done.returncode == int(environment.get("MEASURED", 0))
    return [line.split() for line in noted.read_text().splitlines()]


def test_it_examines_measures_and_runs_a_suite(noted: Path) -> None:
    doctor, measure, run = ran(noted, "out", "--seconds", "2")
    assert doctor == ["jax", "-m", "bench", "doctor"]
    assert measure[:4] == ["jax", "-m", "bench", "measure"]
    assert measure[-4:] == ["--results", str(noted.parent / "out"), "--seconds", "2"]
    assert run[:5] == ["jax", "-m", "bench", "run", "suites/real_small.toml"]
    assert run[-2:] == ["--results", str(noted.parent / "out")]


def test_backend_and_suite_can_be_chosen(noted: Path) -> None:
    doctor, _, run = ran(noted, "out", KERAS_BACKEND="torch", SUITE="suites/quickstart.toml")
    assert doctor[0] == "torch"
    assert run[4] == "suites/quickstart.toml"


def test_a_measurement_without_a_result_does_not_stop_the_rest(noted: Path) -> None:
    assert len(ran(noted, "out", MEASURED="1")) == 3


def test_wrong_usage_does(noted: Path) -> None:
    assert len(ran(noted, "out", MEASURED="2")) == 2


def test_without_a_folder_it_says_how(noted: Path) -> None:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "RESULTS" in done.stderr


def test_the_measurements_it_asks_for_exist(noted: Path) -> None:
    _, measure, _ = ran(noted, "out")
    answer = CliRunner().invoke(app, [*measure[3:], "--dry-run"])
    assert answer.exit_code == 0, answer.output
    lines = answer.output.splitlines()
    assert len(lines) == 4 * 4 * 3 * 2  # backbones, workloads, batch sizes, modes
    assert any("ConvNeXtTiny" in line and "largest batch · best" in line for line in lines)
