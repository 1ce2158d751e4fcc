"""The fault campaign in short: some of its faults, on digits alone, by the same command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "tests.faults.campaign")
KINDS = (
    *("features-flipped", "sigkill-worker", "sigkill-runner", "torn-row", "sigint-runner"),
    *("garbage-rows", "newer-row", "sigkill-worker", "sigterm-runner", "second-runner"),
    *("full-results", "sigkill-both"),
)
"""Each start of a runner costs seconds: of what can come in one run, the kinds stand together."""


def campaign(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *map(str, words)], cwd=REPOSITORY, capture_output=True, text=True
    )


def test_it_lists_its_kinds() -> None:
    listed = {line.split()[0] for line in campaign("--list").stdout.splitlines()}
    assert listed >= set(KINDS)


def test_a_kind_that_is_none_is_refused() -> None:
    answer = campaign("--only", "meteorite")
    assert answer.returncode == 2
    assert "meteorite: no such kind" in answer.stderr


@pytest.mark.slow
@pytest.mark.real
def test_nothing_measured_is_lost(tmp_path: Path) -> None:
    from bench.zoo import offline

    pytest.importorskip("sklearn")
    if offline.find() is None:
        pytest.skip("needs the extra 'offline'")
    file = tmp_path / "faults.json"
    seed = os.environ.get("BENCH_TEST_SEED", "1")
    answer = campaign("--short", "--seed", seed, "--json", file, "--kinds", *KINDS)
    assert answer.returncode == 0, answer.stdout[-20_000:] + answer.stderr[-5_000:]
    found = json.loads(file.read_text())
    assert sorted(f["kind"] for f in found["faults"]) == sorted(KINDS)
    assert set(found["totals"].values()) == {0}
