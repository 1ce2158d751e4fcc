import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from conftest import make_cost, make_probe, make_spec

from bench.errors import WorkerError
from bench.probes import ProbeSpec
from bench.progress import Progress
from bench.records import Backbone, Execution, TrialResult, TrialSpec
from bench.running import channel, isolation, process
from bench.running.endings import LOG_LINES, Ended
from bench.running.isolation import LocalEngine
from bench.running.messages import Setup
from bench.settings import Settings
from bench.tasks import Spec

SCRIPT = Path(__file__).parent / "faults" / "misbehaving.py"
A_FEW_SECONDS = 10.0
"""Long enough for whatever should happen at once, on a busy machine."""


def ignore(_: Progress) -> None: ...


def until(condition: Callable[[], Any], seconds: float = A_FEW_SECONDS) -> Any:
    """The first true value of a condition; fails where there is none in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.01)
    return value


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that waits to be collected by a lazy init has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Bench:
    """Engines whose workers do as a test says, and what the workers noted."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "notes"
        self.setup = Setup(
            settings=Settings(cache=folder), folder=folder, scratch=folder, execution=Execution()
        )

    def command(self, trials: dict[int, str] | None = None, start: str = "") -> tuple[str, ...]:
        orders = {"trials": trials or {}, "notes": str(self.notes)}
        if start:
            orders["start"] = start
        return sys.executable, str(SCRIPT), json.dumps(orders)

    @contextmanager
    def engine(
        self,
        trials: dict[int, str] | None = None,
        start: str = "",
        seconds: float | None = None,
        memory_limit: int | None = None,
    ) -> Iterator[LocalEngine]:
        setup = self.setup.model_copy(update={"memory_limit": memory_limit})
        engine = LocalEngine(setup, seconds, self.command(trials, start))
        try:
            yield engine
        finally:
            engine.close()

    def noted(self, what: str) -> list[int]:
        """Process ids noted for ``worker`` or ``child``, oldest first."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(what)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def result_of(engine: LocalEngine, seed: int, **changes: object) -> TrialResult:
    spec = make_spec(seed=seed).model_copy(update=changes)
    row = engine.execute(spec, ignore).result
    assert row.spec == spec
    assert row.key == spec.key
    assert row.stack == engine.stack
    return row


# ------------------------------------------------------------------------------------ all is well


def test_a_trial_gives_its_result_and_predictions(bench: Bench, tmp_path: Path) -> None:
    with bench.engine() as engine:
        spec = make_spec(seed=3)
        finished = engine.execute(spec, ignore)
    assert finished.result.status == "ok"
    assert finished.predictions == tmp_path / f"{spec.key}.npz"
    assert finished.predictions.read_bytes() == b"predictions"
    assert engine.environment.cores == 1


def test_reports_arrive_in_order_and_before_the_result(bench: Bench) -> None:
    heard: list[Progress] = []
    with bench.engine({0: "reports"}) as engine:
        row = engine.execute(make_spec(), heard.append).result
    assert [p.epoch for p in heard] == list(range(1, 51))
    assert heard[0].stage == "phase 1\u2028\x85"
    assert row.status == "ok"


def test_garbage_on_the_channel_is_ignored(bench: Bench) -> None:
    heard: list[Progress] = []
    with bench.engine({0: "garbage"}, start="babbles") as engine:
        row = engine.execute(make_spec(), heard.append).result
        assert row.status == "ok"
        assert heard == []
        assert result_of(engine, 1).status == "ok"
    assert len(bench.noted("worker")) == 1


@pytest.mark.parametrize("status", ["ok", "diverged", "skipped"])
def test_a_worker_is_kept_for_its_backbone(bench: Bench, status: str) -> None:
    with bench.engine({0: status}) as engine:
        assert result_of(engine, 0).status == status
        assert result_of(engine, 1).status == "ok"
    assert len(bench.noted("worker")) == 1


def test_a_worker_is_replaced_with_its_backbone(bench: Bench) -> None:
    other = Backbone(name="ResNet50")
    with bench.engine() as engine:
        first = result_of(engine, 0).reason
        assert result_of(engine, 1).reason == first
        second = result_of(engine, 0, backbone=other).reason
        assert result_of(engine, 1, backbone=other).reason == second
        assert is_gone(bench.noted("worker")[0])
        assert result_of(engine, 2).reason not in (first, second)
    assert len(bench.noted("worker")) == 3


def worker_of(engine: LocalEngine, spec: Spec) -> str:
    """Which worker ran it."""
    row = engine.execute(spec, ignore).result
    assert (row.spec, row.status) == (spec, "ok")
    return row.reason


def probe_of(backbone: str) -> ProbeSpec:
    return make_probe().spec.model_copy(update={"backbone": Backbone(name=backbone)})


def test_probes_of_all_backbones_share_a_worker_and_a_trial_of_the_last_one_goes_on(
    bench: Bench,
) -> None:
    with bench.engine() as engine:
        first = worker_of(engine, probe_of("ResNet50"))
        assert worker_of(engine, probe_of("VGG16")) == first
        assert worker_of(engine, probe_of("MobileNetV2")) == first
        assert worker_of(engine, make_spec()) == first
        assert worker_of(engine, probe_of("MobileNetV2")) == first
        second = worker_of(engine, make_spec().model_copy(update={"backbone": Backbone(name="x")}))
        assert second != first
        assert worker_of(engine, probe_of("MobileNetV2")) not in (first, second)
    assert len(bench.noted("worker")) == 3


def test_a_measurement_never_follows_a_probe_in_its_worker() -> None:
    probe, cost = probe_of("MobileNetV2"), make_cost().spec
    assert probe.backbone.name == cost.backbone.name
    assert not isolation._go_together(probe, cost)
    assert not isolation._go_together(cost, probe)
    assert isolation._go_together(probe, make_spec())


@pytest.mark.parametrize("status", ["failed", "out_of_memory"])
def test_a_worker_is_replaced_after_a_trial_that_failed(bench: Bench, status: str) -> None:
    with bench.engine({0: status}) as engine:
        assert result_of(engine, 0).status == status
        assert is_gone(bench.noted("worker")[0])
        assert result_of(engine, 1).status == "ok"
    assert len(bench.noted("worker")) == 2


def test_a_worker_that_has_grown_large_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "RETIRE_BYTES", 2**20)
    with bench.engine() as engine:
        reasons = {result_of(engine, seed).reason for seed in range(3)}
    assert len(reasons) == len(bench.noted("worker")) == 3
    assert all(is_gone(pid) for pid in bench.noted("worker"))


def test_closed_twice_and_used_again(bench: Bench) -> None:
    with bench.engine() as engine:
        engine.close()
        engine.close()
        assert result_of(engine, 0).status == "ok"
    assert [is_gone(pid) for pid in bench.noted("worker")] == [True, True]


# --------------------------------------------------------------------------- workers that go wrong


@pytest.mark.parametrize(
    ("order", "status", "said"),
    [
        ("exit3", "failed", "exited with 3 and no result. the last thing it said"),
        ("exit0", "failed", "exited with 0 and no result."),
        ("raises", "failed", "RuntimeError: a defect of Bench itself"),
        ("sigkill", "failed", "worker killed (SIGKILL): out of system memory, or killed by hand"),
        ("sigsegv", "failed", "worker killed (SIGSEGV). about to touch what is not mine"),
        ("realtime_signal", "failed", "worker killed (signal"),
        ("hang", "timeout", "stopped when its time was up"),
        ("chatters", "timeout", "stopped when its time was up"),
        ("child_then_hang", "timeout", "stopped when its time was up"),
        ("child_then_dies", "failed", "exited with 3 and no result"),
    ],
)
def test_whatever_befalls_a_worker_costs_one_trial(
    bench: Bench, order: str, status: str, said: str
) -> None:
    with bench.engine({1: order}, seconds=1.0 if status == "timeout" else None) as engine:
        assert result_of(engine, 0).status == "ok"
        row = result_of(engine, 1)
        assert row.status == status
        assert said in row.reason
        assert row.environment == engine.environment
        assert row.seconds > 0
        assert is_gone(bench.noted("worker")[0])
        assert all(until(lambda pid=pid: is_gone(pid)) for pid in bench.noted("child"))
        assert result_of(engine, 2).status == "ok"
    assert len(bench.noted("worker")) == 2


@pytest.mark.parametrize("order", ["eats", "child_eats"])
def test_a_worker_above_its_memory_limit_is_ended_and_the_run_goes_on(
    bench: Bench, order: str
) -> None:
    with bench.engine({1: order}, memory_limit=300 * 2**20) as engine:
        assert result_of(engine, 0).status == "ok"
        row = result_of(engine, 1)
        assert row.status == "out_of_memory"
        said = re.fullmatch(
            r"stopped at (\d+) MiB of memory, above the limit of 300 MiB for a worker "
            r"\(--memory-limit\): expected a smaller batch, or a larger limit",
            row.reason,
        )
        assert said
        assert 300 <= int(said[1]) < 1000
        assert is_gone(bench.noted("worker")[0])
        assert all(until(lambda pid=pid: is_gone(pid)) for pid in bench.noted("child"))
        assert result_of(engine, 2).status == "ok"
        held, peak = engine.memory
        assert 0 < held < 300 * 2**20 < peak
    assert len(bench.noted("worker")) == 3, "the second time it had a fresh worker"


def test_a_worker_half_filled_by_its_trials_is_replaced(bench: Bench) -> None:
    with bench.engine(dict.fromkeys(range(4), "leaves"), memory_limit=200 * 2**20) as engine:
        rows = [result_of(engine, seed) for seed in range(4)]
    assert [r.status for r in rows] == ["ok"] * 4
    assert len({r.reason for r in rows}) == len(bench.noted("worker")) == 4


def test_a_trial_is_not_ended_for_what_those_before_it_left(bench: Bench) -> None:
    with bench.engine({0: "leaves", 1: "fills"}, memory_limit=400 * 2**20) as engine:
        rows = [result_of(engine, seed) for seed in range(3)]
    assert [r.status for r in rows] == ["ok"] * 3
    workers = [f"worker {pid}" for pid in bench.noted("worker")]
    assert [r.reason for r in rows[:2]] == workers[:2]


def test_a_trial_too_large_for_a_fresh_worker_runs_once(bench: Bench) -> None:
    with bench.engine({0: "eats"}, memory_limit=300 * 2**20) as engine:
        assert result_of(engine, 0).status == "out_of_memory"
    assert len(bench.noted("worker")) == 1


def test_a_limit_that_not_even_a_framework_fits_is_an_error(bench: Bench) -> None:
    said = "could not start: stopped at .*above the limit of 1 MiB"
    before = set(psutil.Process().children())
    with pytest.raises(WorkerError, match=said), bench.engine(start="never", memory_limit=2**20):
        pass
    assert set(psutil.Process().children()) <= before


def test_predictions_that_cannot_be_written_fail_their_trial(bench: Bench) -> None:
    with bench.engine({0: "full_disk"}) as engine:
        row = result_of(engine, 0)
        assert row.status == "failed"
        assert "its predictions could not be written: [Errno 28] No space left" in row.reason
        assert result_of(engine, 1).status == "ok"


def test_a_line_without_an_end_does_not_fill_the_runners_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "LONGEST_LINE", 2**17)
    asked: list[int] = []
    validate = channel.REPLY.validate_json

    def noting(line: str) -> object:
        asked.append(len(line))
        return validate(line)

    monkeypatch.setattr(channel, "REPLY", SimpleNamespace(validate_json=noting))
    with bench.engine({0: "endless_line"}) as engine:
        assert result_of(engine, 0).status == "ok"
    assert max(asked) == 2**17


@pytest.mark.parametrize("limit", [1.0, None])
def test_a_worker_that_was_stopped_is_timed_out_or_goes_on(
    bench: Bench, limit: float | None
) -> None:
    with bench.engine(seconds=limit) as engine:
        (worker,) = bench.noted("worker")
        os.kill(worker, signal.SIGSTOP)
        if limit is None:
            threading.Timer(0.5, os.kill, (worker, signal.SIGCONT)).start()
        row = result_of(engine, 0)
        assert row.status == ("timeout" if limit else "ok")
        assert is_gone(worker) is bool(limit)
        assert result_of(engine, 1).status == "ok"


def test_a_result_that_arrived_while_the_runner_was_stopped_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is up when the runner wakes, but it had finished before."""
    with bench.engine(seconds=60.0) as engine:
        worker = engine._worker
        assert worker is not None

        class Slept(process.Patience):
            def look(self) -> float:
                until(lambda: worker._channel._heard.qsize())
                return 0.0

        monkeypatch.setattr(process, "Patience", Slept)
        assert result_of(engine, 0).status == "ok"


def test_a_result_on_its_way_while_the_runner_ends_its_worker_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench.engine({0: "naps"}, seconds=60.0) as engine:
        worker = engine._worker
        assert worker is not None
        kill, killed = os.killpg, []

        def late(pid: int, number: int) -> None:
            until(lambda: worker._channel._heard.qsize())
            killed.append(pid)
            kill(pid, number)

        with monkeypatch.context() as patch:
            patch.setattr(process.Patience, "look", lambda _: 0.0)
            patch.setattr(process.os, "killpg", late)
            assert result_of(engine, 0).status == "ok"
        assert killed == [worker.pid]
        assert result_of(engine, 1).status == "ok"
    assert len(bench.noted("worker")) == 2


def test_the_last_words_of_a_noisy_worker_are_its_last(bench: Bench) -> None:
    with bench.engine({0: "noisy"}) as engine:
        reason = result_of(engine, 0).reason
    assert reason.endswith("a line of no use | the last thing it said")


def test_the_last_words_are_few_lines(bench: Bench) -> None:
    with bench.engine({0: "raises"}) as engine:
        reason = result_of(engine, 0).reason
    assert "\n" not in reason
    assert reason.count(" | ") == LOG_LINES - 1
    assert reason.endswith("RuntimeError: a defect of Bench itself")


def test_children_of_a_worker_end_with_it(bench: Bench) -> None:
    with bench.engine({0: "child"}) as engine:
        assert result_of(engine, 0).status == "ok"
        (child,) = bench.noted("child")
        assert not is_gone(child)
    until(lambda: is_gone(child))


def test_a_worker_killed_between_two_trials_costs_neither(bench: Bench) -> None:
    with bench.engine() as engine:
        assert result_of(engine, 0).status == "ok"
        worker = engine._worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        until(lambda: not worker.alive)
        assert result_of(engine, 1).status == "ok"
    assert len(bench.noted("worker")) == 2


def test_a_time_limit_is_each_trials_own(bench: Bench) -> None:
    with bench.engine({5: "hang"}, seconds=1.0) as engine:
        began = time.monotonic()
        while time.monotonic() - began < 1.2:
            assert result_of(engine, 0).status == "ok"
            time.sleep(0.2)
        began = time.monotonic()
        assert result_of(engine, 5).status == "timeout"
        assert 0.9 < time.monotonic() - began < A_FEW_SECONDS


@pytest.mark.parametrize(
    ("code", "timed_out", "status", "said"),
    [
        (0, False, "failed", "worker exited with 0 and no result."),
        (-9, True, "timeout", "limits.trial_minutes"),
        (-9, False, "failed", "SIGKILL"),
        (-11, False, "failed", "worker killed (SIGSEGV)."),
        (-63, False, "failed", "worker killed (signal 63)."),
    ],
)
def test_an_end_is_explained(code: int, timed_out: bool, status: str, said: str) -> None:
    explained = Ended(code, timed_out, "").explained()
    assert explained[0] == status
    assert said in explained[1]


# ------------------------------------------------------------------------- workers that never start


def test_a_worker_that_is_never_ready_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 2.0)
    said = "could not start: not ready after 2 s. waiting for a device that does not answer"
    with pytest.raises(WorkerError, match=said), bench.engine(start="never"):
        pass
    assert is_gone(bench.noted("worker")[0])


def test_a_worker_that_never_reads_what_a_pipe_cannot_hold_is_an_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 1.0)
    bench.setup = bench.setup.model_copy(update={"trials": (make_spec(),) * 400})
    assert len(bench.setup.model_dump_json()) > 4 * 2**16
    ends: list[WorkerError] = []

    def start() -> None:
        with pytest.raises(WorkerError) as raised, bench.engine(start="never"):
            pass
        ends.append(raised.value)

    threads = threading.active_count()
    starting = threading.Thread(target=start, daemon=True)
    starting.start()
    starting.join(A_FEW_SECONDS)
    assert [str(e).split(".")[0] for e in ends] == [
        "a worker process could not start: not ready after 1 s"
    ]
    assert is_gone(bench.noted("worker")[0])
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("dies", "could not start: worker exited with 4 .*ImportError: no framework here"),
        ("out_of_order", "could not start: its first word was 'running'"),
    ],
)
def test_a_worker_that_does_not_start_is_an_error(bench: Bench, start: str, said: str) -> None:
    with pytest.raises(WorkerError, match=said), bench.engine(start=start):
        pass
    assert is_gone(bench.noted("worker")[0])


def test_a_command_that_does_not_exist_is_an_error(bench: Bench) -> None:
    with pytest.raises(WorkerError, match=r"could not start: .*No such file"):
        LocalEngine(bench.setup, None, ("/no/such/program",))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("once", "a worker process could not start: worker exited with 4"),
        ("other_stack", "a new worker came up as none-1_keras-1_gpu_float32, but this run is"),
    ],
)
def test_a_later_worker_that_does_not_start_fails_its_trial_only(
    bench: Bench, start: str, said: str
) -> None:
    with bench.engine({0: "sigkill"}, start=start) as engine:
        assert result_of(engine, 0).status == "failed"
        for seed in (1, 2):
            row = result_of(engine, seed)
            assert row.status == "failed"
            assert said in row.reason
    assert all(is_gone(pid) for pid in bench.noted("worker"))
    assert len(bench.noted("worker")) == 3


def test_an_interrupt_while_a_worker_starts_ends_it(bench: Bench) -> None:
    # Where the tests run in the background, a shell has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        until(lambda: bench.noted("worker"))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), bench.engine(start="never"):
        pass
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert is_gone(bench.noted("worker")[0])


# ----------------------------------------------------------------------- nothing is left behind


def test_nothing_is_left_after_twenty_trials(bench: Bench) -> None:
    me = psutil.Process()
    threads = threading.active_count()
    open_before = me.num_fds()
    orders = dict.fromkeys(range(0, 20, 2), "exit3") | {7: "child", 8: "sigkill"}
    with bench.engine(orders) as engine:
        rows = [result_of(engine, seed) for seed in range(20)]
    assert [r.status for r in rows] == ["failed", "ok"] * 10
    assert len(bench.noted("worker")) >= 10
    assert me.children(recursive=True) == []
    assert me.num_fds() == open_before
    until(lambda: threading.active_count() == threads)


def test_workers_that_do_not_start_leave_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 1.0)
    me = psutil.Process()
    before = me.num_fds()
    for start in ("dies", "never"):
        with pytest.raises(WorkerError), bench.engine(start=start):
            pass
    with pytest.raises(WorkerError):
        LocalEngine(bench.setup, None, ("/no/such/program",))
    assert me.children(recursive=True) == []
    assert me.num_fds() == before


RUNNER = """
import sys
from pathlib import Path
from bench.records import TrialSpec
from bench.running.isolation import LocalEngine
from bench.running.messages import Setup

setup, spec, *command = sys.argv[1:]
engine = LocalEngine(Setup.model_validate_json(setup), None, tuple(command))
print("ready", flush=True)
engine.execute(TrialSpec.model_validate_json(spec), lambda progress: None)
"""


def start_runner(bench: Bench, spec: TrialSpec, command: tuple[str, ...]) -> "Runner":
    arguments = (bench.setup.model_dump_json(), spec.model_dump_json(), *command)
    return subprocess.Popen((sys.executable, "-c", RUNNER, *arguments), stdout=subprocess.PIPE)


Runner = subprocess.Popen[bytes]


def test_what_a_worker_started_ends_when_its_runner_is_killed(bench: Bench) -> None:
    command = bench.command({0: "child_then_hang"})
    with start_runner(bench, make_spec(), command) as runner:
        (child,) = until(lambda: bench.noted("child"))
        runner.kill()
    until(lambda: is_gone(child))


@pytest.mark.parametrize("order", ["hang", "computes"])
def test_a_worker_whose_runner_was_killed_ends_by_itself(bench: Bench, order: str) -> None:
    with start_runner(bench, make_spec(), bench.command({0: order})) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"ready\n"
        if order == "computes":
            until(lambda: "busy" in bench.notes.read_text())
        (worker,) = bench.noted("worker")
        assert not is_gone(worker)
        runner.kill()
    until(lambda: is_gone(worker))


def test_a_worker_whose_runner_was_killed_while_it_starts(bench: Bench) -> None:
    """Its first read finds the end of its input."""
    with start_runner(bench, make_spec(), bench.command()) as runner:
        (worker,) = until(lambda: bench.noted("worker"))
        runner.kill()
    until(lambda: is_gone(worker))


def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(bench: Bench) -> None:
    with bench.engine() as engine:
        (worker,) = bench.noted("worker")
        assert os.getsid(worker) == worker
        os.kill(worker, signal.SIGINT)
        assert result_of(engine, 0).status == "ok"
    assert len(bench.noted("worker")) == 1
