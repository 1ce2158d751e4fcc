"""Several engines with their worker processes: what each sees, and that none outlives a run."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Silence, make_spec

from bench.costs import CostResult, CostSpec
from bench.errors import WorkerError
from bench.progress import Progress
from bench.records import Backbone, Execution, Stack, TrialSpec
from bench.running import runner, store
from bench.running.engines import local_engines
from bench.running.isolation import LocalEngine
from bench.running.local_fleet import LocalFleet
from bench.running.messages import Setup
from bench.settings import Settings
from bench.tasks import Row

FAULTS = Path(__file__).parent / "faults"
A_FEW_SECONDS = 20.0
PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"
WORKER = f"""
import json, os, sys
sys.path.insert(0, {str(FAULTS)!r})
import misbehaving as m
from bench.costs import CostResult
m.STACK = m.STACK.model_copy(update=json.loads(sys.argv[2]))
if sys.argv[3]:
    m.STACK = m.STACK.model_copy(update={{"device": os.environ[sys.argv[3]]}})

def measure(spec, place, report):
    return CostResult(key=spec.key, spec=spec, stack=m.STACK, status="ok", seconds=0.1,
                      started_at="2026-01-01T00:00:00+00:00", reason=f"worker {{os.getpid()}}")

m.note(f"worker {{os.getpid()}}")
m.stub_training()
m.stub("bench.measuring.cost", measure=measure)
m.worker.main()
"""
"""`faults/misbehaving.py` on a device of the test's choice, or named by an environment variable."""


class Bench:
    """Workers that do as a test says, and what they noted."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "notes"
        self.setup = Setup(
            settings=Settings(cache=folder), folder=folder, scratch=folder, execution=Execution()
        )

    def command(
        self, trials: dict[int, str] | None = None, device: str = "cpu", variable: str = ""
    ) -> tuple[str, ...]:
        orders = json.dumps({"trials": trials or {}, "notes": str(self.notes)})
        return sys.executable, "-c", WORKER, orders, json.dumps({"device": device}), variable

    def workers(self) -> list[int]:
        """Process ids, oldest first."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith("worker")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Where the tests run in the background, a shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + A_FEW_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def ignore(_: Progress) -> None: ...


class Listener(Silence):
    """Does at the end of a trial what a test says."""

    def __init__(self, at_end: Callable[[], object] = lambda: None) -> None:
        self._at_end = at_end

    def trial_ends(self, result: Row) -> None:
        self._at_end()


def run(
    bench: Bench, command: tuple[str, ...], trials: list[TrialSpec], heard: Listener | None = None
) -> runner.Summary:
    folder = bench.notes.parent / "results"
    with (
        store.writing(folder) as held,
        local_engines(bench.setup, None, (None, None), command) as engines,
    ):
        return runner.run_on(trials, held, LocalFleet(engines), heard or Listener())


# ------------------------------------------------------------------- what a worker starts with


def stack_of(bench: Bench, variable: str, **changes: object) -> str:
    """The value that a worker finds in a variable of its environment."""
    setup = bench.setup.model_copy(update=changes)
    engine = LocalEngine(setup, None, bench.command(variable=variable))
    engine.close()
    return engine.stack.device


def test_a_worker_computes_with_the_suites_backend(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert stack_of(bench, "KERAS_BACKEND") == "torch"
    assert stack_of(bench, "KERAS_BACKEND", backend="jax") == "jax"
    assert os.environ["KERAS_BACKEND"] == "torch", "ours stays as it is"


def test_jax_leaves_memory_to_others_unless_told_otherwise(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PREALLOCATE, raising=False)
    assert stack_of(bench, PREALLOCATE) == "false"
    monkeypatch.setenv(PREALLOCATE, "true")
    assert stack_of(bench, PREALLOCATE) == "true"


def test_each_engine_sees_its_own_gpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    seen = [stack_of(bench, "CUDA_VISIBLE_DEVICES", gpu=gpu) for gpu in ("4", "7", None)]
    assert seen == ["4", "7", "4,7"]


def test_engines_on_different_stacks_are_an_error_and_leave_nothing(bench: Bench) -> None:
    command = bench.command(variable="CUDA_VISIBLE_DEVICES")
    said = r"GPU 1 came up as none-1_keras-1_1_float32, that on GPU 0 as none-1_keras-1_0_float32"
    with (
        pytest.raises(WorkerError, match=said),
        local_engines(bench.setup, None, ("0", "1"), command),
    ):
        pass
    assert [is_gone(pid) for pid in bench.workers()] == [True, True]


def test_a_first_worker_that_does_not_start_ends_the_others(bench: Bench) -> None:
    command = bench.command(variable="NO_SUCH_VARIABLE")
    before = set(psutil.Process().children())  # other tests' and Python's own
    with (
        pytest.raises(WorkerError, match="KeyError: 'NO_SUCH_VARIABLE'"),
        local_engines(bench.setup, None, (None, None), command),
    ):
        pass
    assert set(psutil.Process().children()) <= before


# ------------------------------------------------------------------------------ measurements


def cost(size: int, backbone: str = "MobileNetV2") -> CostSpec:
    return CostSpec(backbone=Backbone(name=backbone), workload="inference", image_size=size)


def test_every_measurement_gets_a_fresh_process(bench: Bench) -> None:
    engine = LocalEngine(bench.setup, None, bench.command())
    try:
        specs = [cost(96), cost(96), cost(160), cost(96, "ResNet50")]
        rows = [engine.execute(spec, ignore).result for spec in specs]
    finally:
        engine.close()
    assert [(r.status, r.spec) for r in rows] == [("ok", spec) for spec in specs]
    assert len({r.reason for r in rows}) == len(bench.workers()) == 4


def test_a_measurement_shares_no_process_with_a_trial(bench: Bench) -> None:
    engine = LocalEngine(bench.setup, None, bench.command())
    try:
        rows = [engine.execute(spec, ignore).result for spec in (make_spec(), cost(96))]
    finally:
        engine.close()
    assert len({r.reason for r in rows}) == 2


def test_a_measurement_that_crashes_is_a_row_of_its_own_kind(bench: Bench) -> None:
    engine = LocalEngine(bench.setup, None, bench.command())
    try:
        worker = engine._worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGSTOP)  # it takes the task, and is killed with it
        killer = threading.Timer(0.3, os.kill, (worker.pid, signal.SIGKILL))
        killer.start()
        row = engine.execute(cost(96), ignore).result
    finally:
        engine.close()
    assert isinstance(row, CostResult)
    assert (row.status, row.key) == ("failed", cost(96).key)
    assert "SIGKILL" in row.reason


# ------------------------------------------------------------------------------ side by side

SEEDS = [make_spec(seed=seed, dataset=name) for name in ("digits", "beans") for seed in range(3)]


def test_a_crash_of_one_worker_costs_one_trial(bench: Bench) -> None:
    trials = [t.model_copy(update={"seed": t.seed + 3 * (i > 2)}) for i, t in enumerate(SEEDS)]
    summary = run(bench, bench.command({1: "sigkill"}), trials)
    statuses = {r.spec.seed: r.status for r in summary.measured}  # type: ignore[union-attr]
    assert statuses == {s: "failed" if s == 1 else "ok" for s in range(6)}
    assert all(is_gone(pid) for pid in bench.workers())
    assert len(bench.workers()) in (2, 3), "a new one where there was still something to do"


@pytest.mark.parametrize("order", ["hang", "chatters"])
def test_ctrl_c_ends_every_worker_and_keeps_finished_rows(bench: Bench, order: str) -> None:
    ended = threading.Event()

    def interrupt() -> None:
        assert ended.wait(A_FEW_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(bench, bench.command({1: order}), SEEDS, Listener(ended.set))
    assert time.monotonic() - began < A_FEW_SECONDS
    thread.join()
    assert len(bench.workers()) == 2
    assert all(is_gone(pid) for pid in bench.workers())
    rows = store.read(bench.notes.parent / "results").rows
    assert {(r.status, r.spec.seed) for r in rows} == {("ok", 0)}


SLOW = """
import os, sys, time
notes, marker, *command = sys.argv[1:]
if os.path.exists(marker):
    with open(notes, "a") as file:
        file.write(f"worker {os.getpid()}\\n")
    time.sleep(1000)
os.execv(command[0], command)
"""


@pytest.mark.parametrize("told", [0, 400])
def test_ctrl_c_while_later_workers_start_ends_them(bench: Bench, told: int) -> None:
    """Each first trial kills its worker, and the next worker takes for ever to start, with more
    to read than a pipe holds."""
    bench.setup = bench.setup.model_copy(update={"trials": (make_spec(),) * told})
    marker = bench.notes.parent / "slow"
    orders = bench.command({0: "sigkill"})
    command = (sys.executable, "-c", SLOW, str(bench.notes), str(marker), *orders)

    class Marking(Listener):
        def begins(self, stack: Stack, trials: int, settled: int) -> None:
            marker.touch()

    def interrupt() -> None:
        until(lambda: len(bench.workers()) == 4)
        os.kill(os.getpid(), signal.SIGINT)

    before = threading.active_count()
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(bench, command, SEEDS, Marking())
    thread.join()
    assert all(is_gone(pid) for pid in bench.workers())
    assert threading.active_count() == before
