"""A suite of a small ``.keras`` backbone, killed: a rerun ends as if nothing had happened.

It trains what the campaign (`test_campaign`) does not: augmented pictures, a backbone from a file,
one from scratch. It needs no package but scikit-learn.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.running import store
from benchmarks.essence import essence
from tests.faults.runs import REPOSITORY, Place, Run

pytestmark = pytest.mark.slow

A_LONG_TIME = 120.0
TINY = """
description = "three quick trials of a tiny backbone"
[data]
image_size = 16
train_examples = 96
val_examples = 32
test_examples = 64
augmentation = [{ rotation = 0.05 }]
[phase1]
epochs = 10
learning_rate = 1e-2
[phase2]
epochs = 8
learning_rate = 1e-3
[execution]
batch_size = 16
[limits]
trial_minutes = 2
[[backbones]]
name = "tiny"
file = "tiny.keras"
preprocessing = "minus_one_to_one"
blocks = 'block([0-9]+)_'
[matrix]
backbones = ["tiny"]
datasets = ["digits"]
freezes = ["head_only", { top_blocks = 2 }, "scratch"]
"""


def begun(suite: Path, results: Path, cache: Path) -> Run:
    """``bench run`` in a process group of its own, watched."""
    temporary = results.with_name(f"{results.name}-temporary")
    temporary.mkdir(exist_ok=True)
    return Run(Place(suite, results, cache, suite.parent, temporary))


def ended(run: Run) -> int:
    """Wait for the end, and see that nobody outlives it. Gives the exit code."""
    code = run.ended(A_LONG_TIME)
    assert run.orphans() == [], "a worker outlives its runner"
    return code


class Suite:
    """A suite file, and what an undisturbed run of it measures."""

    def __init__(self, folder: Path, name: str, content: str) -> None:
        self.file = folder / f"{name}.toml"
        self.file.write_text(content)
        self.cache = folder / "cache"
        self._results = folder / "undisturbed"
        run = begun(self.file, self._results, self.cache)
        assert ended(run) == 0, run.said
        self.expected = measured(run.place.folder)

    def check(self, results: Path, cache: Path) -> None:
        """Run to the end, and find what the undisturbed run found, bit for bit."""
        run = begun(self.file, results, cache)
        assert ended(run) == 0, run.said
        assert list(run.place.folder.glob(store.SCRATCH + "*")) == []
        assert list(run.place.folder.glob(f"*/{store.SCRATCH}*")) == []
        assert [p for p in (cache / "images").glob(".*") if p.is_dir()] == []
        found = measured(run.place.folder)
        assert list(found) != []
        assert found.keys() == self.expected.keys()
        for key, row in self.expected.items():
            assert found[key] == row


def measured(folder: Path) -> dict[str, Any]:
    """Everything that a table or a comparison could show, by key; every row ``ok``."""
    seen = store.read(folder)
    assert seen.problems == ()
    for row in seen.rows:
        assert (row.status, row.failed_guards) == ("ok", ())
        assert row.predictions is not None
    return {row.key: essence(row, folder) for row in seen.rows}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("tiny")
    keras_file = folder / "tiny.keras"
    subprocess.run(
        [sys.executable, "-c", f"import tiny; tiny.backbone().save({str(keras_file)!r})"],
        cwd=REPOSITORY / "tests",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
    )
    return Suite(folder, "tiny", TINY)


@pytest.fixture
def start() -> Iterator[Callable[[Path, Path, Path], Run]]:
    """Starts runs that end with the test, whatever happens in it."""
    runs: list[Run] = []

    def begin(suite: Path, results: Path, cache: Path) -> Run:
        runs.append(begun(suite, results, cache))
        return runs[-1]

    yield begin
    for run in runs:
        run.abandon()


def saw_epoch(run: Run, *, trial: int, epoch: int) -> None:
    place, words = f"[{trial}/", f" epoch {epoch}/"
    told = run.until(
        lambda: any(line.startswith(place) and words in line for line in run.lines), A_LONG_TIME
    )
    assert told, f"it ended too soon, or was waited for in vain:\n{run.said}"


def test_the_runner_is_killed(tiny: Suite, tmp_path: Path, start: Callable[..., Run]) -> None:
    """In its third trial, which nothing of the cache helps."""
    run = start(tiny.file, tmp_path / "results", tiny.cache)
    saw_epoch(run, trial=3, epoch=4)
    assert run.place.rows() == 2
    os.kill(run.pid, signal.SIGKILL)
    assert ended(run) == -signal.SIGKILL
    assert run.place.rows() == 2
    tiny.check(tmp_path / "results", tiny.cache)


def test_a_worker_is_killed(tiny: Suite, tmp_path: Path, start: Callable[..., Run]) -> None:
    run = start(tiny.file, tmp_path / "results", tiny.cache)
    saw_epoch(run, trial=2, epoch=13)
    (worker,) = run.kin()
    os.kill(worker, signal.SIGKILL)
    assert ended(run) == 1
    rows = store.read(run.place.folder).rows
    assert [r.status for r in rows] == ["ok", "failed", "ok"]
    assert "worker killed (SIGKILL)" in rows[1].reason
    tiny.check(tmp_path / "results", tiny.cache)
