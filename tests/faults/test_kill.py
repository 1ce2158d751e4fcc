"""A suite of a small ``.keras`` backbone, killed: a rerun ends as if nothing had happened.

It trains what the campaign (`test_campaign`) does not: augmented pictures, a backbone from a file,
one from scratch. It needs no package but scikit-learn.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench.records import TrialResult
from bench.running import store

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
A_LONG_TIME = 120.0
TIMINGS = {
    *("started_at", "seconds", "pictures_seconds", "images_per_second", "input_wait"),
    *("execution", "environment"),
}
"""The only fields of a row in which two runs may differ."""

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


class Run:
    """``bench run`` in a process group of its own, watched."""

    def __init__(self, suite: Path, results: Path, cache: Path) -> None:
        self.folder = results / suite.stem
        self._mark = uuid.uuid4().hex
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", str(suite), "--results", str(results)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
            # Where the tests run in the background, a shell has SIGINT ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            env={**os.environ, "BENCH_CACHE_DIR": str(cache), "BENCH_TEST_MARK": self._mark},
        )
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            self.lines.extend(iter(stream.readline, ""))

    def workers(self) -> list[int]:
        """Every live process of this run but the runner, whoever its parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("BENCH_TEST_MARK") == self._mark
                alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if ours and alive and process.pid != self.pid:
                found.append(process.pid)
        return found

    def rows(self) -> int:
        """Whole lines in the store so far."""
        return sum(f.read_bytes().count(b"\n") for f in self.folder.glob(f"*/{store.TRIALS}"))

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for a true value, while the run goes on."""
        end = time.monotonic() + A_LONG_TIME
        while not (value := condition()):
            assert self._process.poll() is None, "it ended too soon:\n" + "".join(self.lines)
            assert time.monotonic() < end, "waited in vain:\n" + "".join(self.lines)
            time.sleep(0.002)
        return value

    def ended(self) -> int:
        """Wait for the end, and see that nobody outlives it. Gives the exit code."""
        code = self._process.wait(A_LONG_TIME)
        self._reader.join(10)
        end = time.monotonic() + 10
        while self.workers():
            assert time.monotonic() < end, f"a worker outlives its runner: {self.workers()}"
            time.sleep(0.02)
        return code

    def abandon(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Suite:
    """A suite file, and what an undisturbed run of it measures."""

    def __init__(self, folder: Path, name: str, content: str) -> None:
        self.file = folder / f"{name}.toml"
        self.file.write_text(content)
        self.cache = folder / "cache"
        self._results = folder / "undisturbed"
        run = Run(self.file, self._results, self.cache)
        assert run.ended() == 0, "".join(run.lines)
        self.expected = measured(run.folder)

    def check(self, results: Path, cache: Path) -> None:
        """Run to the end, and find what the undisturbed run found, bit for bit."""
        run = Run(self.file, results, cache)
        assert run.ended() == 0, "".join(run.lines)
        assert list(run.folder.glob(store.SCRATCH + "*")) == []
        assert list(run.folder.glob(f"*/{store.SCRATCH}*")) == []
        assert [p for p in (cache / "images").glob(".*") if p.is_dir()] == []
        found = measured(run.folder)
        assert list(found) != []
        assert found.keys() == self.expected.keys()
        for key, row in self.expected.items():
            assert found[key] == row


def measured(folder: Path) -> dict[str, Any]:
    """Everything that a table or a comparison could show, by key; every row ``ok``."""
    seen = store.read(folder)
    assert seen.problems == ()
    return {row.key: essence(row, folder) for row in seen.rows}


def essence(row: TrialResult, folder: Path) -> dict[str, Any]:
    assert (row.status, row.failed_guards) == ("ok", ())
    content: dict[str, Any] = without_timings(row.model_dump(mode="json"))
    assert row.predictions is not None
    with np.load(folder / row.stack.id / row.predictions, allow_pickle=False) as arrays:
        content["arrays"] = {n: (str(a.dtype), a.shape, a.tobytes()) for n, a in arrays.items()}
    return content


def without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_timings(v) for k, v in value.items() if k not in TIMINGS}
    if isinstance(value, list):
        return [without_timings(v) for v in value]
    return value


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
        runs.append(Run(suite, results, cache))
        return runs[-1]

    yield begin
    for run in runs:
        run.abandon()


def saw_epoch(run: Run, *, trial: int, epoch: int) -> None:
    place, words = f"[{trial}/", f" epoch {epoch}/"
    run.until(lambda: any(line.startswith(place) and words in line for line in run.lines))


def test_the_runner_is_killed(tiny: Suite, tmp_path: Path, start: Callable[..., Run]) -> None:
    """In its third trial, which nothing of the cache helps."""
    run = start(tiny.file, tmp_path / "results", tiny.cache)
    saw_epoch(run, trial=3, epoch=4)
    assert run.rows() == 2
    os.kill(run.pid, signal.SIGKILL)
    assert run.ended() == -signal.SIGKILL
    assert run.rows() == 2
    tiny.check(tmp_path / "results", tiny.cache)


def test_a_worker_is_killed(tiny: Suite, tmp_path: Path, start: Callable[..., Run]) -> None:
    run = start(tiny.file, tmp_path / "results", tiny.cache)
    saw_epoch(run, trial=2, epoch=13)
    (worker,) = run.workers()
    os.kill(worker, signal.SIGKILL)
    assert run.ended() == 1
    rows = store.read(run.folder).rows
    assert [r.status for r in rows] == ["ok", "failed", "ok"]
    assert "worker killed (SIGKILL)" in rows[1].reason
    tiny.check(tmp_path / "results", tiny.cache)
