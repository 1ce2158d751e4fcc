"""Store and cache, stopped at every call of the system: nothing lost, nothing torn believed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOWS = ("kill", "cut", "fail", "broken", "interrupt")
CALLS = {"append": 42, "build": 73, "replace": 76, "trim": 87, "clear": 37, "pictures": 65}
"""At least so many calls of the system does each scenario of `crashing` make."""


def stops(scenario: str, folder: Path, step: int) -> dict[str, int]:
    """How often the scenario was stopped, by how; fails where an invariant did not hold."""
    script = Path(__file__).with_name("crashing.py")
    command = [sys.executable, str(script), scenario, ",".join(HOWS), str(folder), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines())
    return {how: int(count) for how, count in counts.items()}


@pytest.mark.parametrize("scenario", CALLS)
def test_what_is_stopped_at_some_calls_loses_nothing(scenario: str, tmp_path: Path) -> None:
    step = 4 if scenario == "append" else 9
    found = stops(scenario, tmp_path, step)
    assert set(found) == set(HOWS)
    assert min(found.values()) >= CALLS[scenario] // step - 1


@pytest.mark.slow
@pytest.mark.skipif(
    "BENCH_TEST_EVERY_CALL" not in os.environ,
    reason="every call of the system takes minutes: `make faults` asks for it",
)
@pytest.mark.parametrize("scenario", CALLS)
def test_what_is_stopped_at_any_call_loses_nothing(scenario: str, tmp_path: Path) -> None:
    found = stops(scenario, tmp_path, step=1)
    assert min(found[how] for how in HOWS) >= CALLS[scenario]
