"""What of a machine may spoil a run: said once, with what to do; a full disk ends it in time."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import STACK, Silence, make_cost, make_result, make_spec

from bench.errors import StoreError
from bench.progress import Progress
from bench.running import clocks, doubts, runner, store
from bench.running.clocks import Clocks
from bench.running.doubting import Doubting, DoubtingSides
from bench.running.doubts import Disk, Doubts
from bench.running.local_fleet import LocalFleet
from bench.running.messages import Finished, Shared
from bench.tasks import Row

GIB = 2**30
SPEC = make_spec()
FULL_DISK = os.strerror(errno.ENOSPC)


class Machine:
    """A machine that a test describes, and what was said of it."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.clocks = Clocks(wall=1e9, boot=500.0, awake=400.0)
        self.free = {"results": 50 * GIB, "cache": 50 * GIB}
        self.one_disk = False
        self.working = 90.0
        self.needed = 0
        self.memory = SimpleNamespace(available=20 * GIB, total=32 * GIB)
        self.swapped: int | None = 0
        self.frequencies: list[float] | None = [3400.0, 1200.0]
        self.elsewhere = 0.0
        self.folder = folder

    def passes(self, seconds: float, **apart: float) -> None:
        """Time goes by on all clocks alike, but for what is said apart."""
        self.clocks = Clocks(
            self.clocks.wall + apart.get("wall", seconds),
            None if self.clocks.boot is None else self.clocks.boot + apart.get("boot", seconds),
            self.clocks.awake + seconds,
        )

    def doubts(self, memory_limit: int | None = None) -> Doubts:
        disks = doubts.disks(self.folder / "results", self.folder / "cache", lambda _: self.needed)
        return Doubts(self.said.append, disks, self.watch, memory_limit, lambda: self.clocks)

    @contextmanager
    def watch(self) -> Iterator[Any]:
        busy = SimpleNamespace(elsewhere=None)
        yield busy
        busy.elsewhere = self.elsewhere

    # ------------------------------------------------------------------------- in psutil's place

    def virtual_memory(self) -> Any:
        return self.memory

    def swap_memory(self) -> Any:
        if self.swapped is None:
            raise RuntimeError("this system does not tell")
        return SimpleNamespace(sout=self.swapped)

    def cpu_percent(self) -> float:
        return self.working

    def cpu_freq(self, percpu: bool) -> Any:
        assert percpu
        if self.frequencies is None:
            raise FileNotFoundError("/proc/cpuinfo")
        return [SimpleNamespace(current=f) for f in self.frequencies]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    for name in ("virtual_memory", "swap_memory", "cpu_freq", "cpu_percent"):
        monkeypatch.setattr(doubts.psutil, name, getattr(found, name))
    monkeypatch.setattr(Disk, "free", property(lambda disk: found.free[disk.what]))
    device = property(lambda disk: "1" if found.one_disk else disk.what)
    monkeypatch.setattr(Disk, "device", device)
    return found


def test_on_a_good_machine_nothing_is_said(machine: Machine) -> None:
    looking = machine.doubts(memory_limit=8 * GIB)
    looking.before(workers=2)
    machine.passes(9)
    looking.started()
    for _ in range(20):
        looking.task_begins(SPEC)
        machine.passes(60)
        looking.task_goes_on(SPEC)
        machine.passes(60)
        looking.task_ends(make_result())
    assert machine.said == []


# ------------------------------------------------------------------------------------------- disk


def test_a_disk_without_room_for_a_row_ends_the_run_before_the_next_one(machine: Machine) -> None:
    looking = machine.doubts()
    looking.before()
    looking.task_begins(SPEC)
    machine.free["results"] = 40 * 2**20
    with pytest.raises(StoreError, match=r"results: 40 MiB are free, .*100 MiB.*is kept"):
        looking.task_begins(SPEC)
    with pytest.raises(StoreError, match="--results"):
        machine.doubts().before()


@pytest.mark.parametrize("free", [0, 40 * 2**20])
def test_a_cache_without_room_is_a_doubt_that_ends_nothing(machine: Machine, free: int) -> None:
    """Many a run writes nothing there: measurements of cost, or where all of it is there."""
    machine.free["cache"] = free
    looking = machine.doubts()
    looking.before()
    for _ in range(3):
        looking.task_begins(SPEC)
        machine.passes(11)
        looking.task_goes_on(SPEC)
        looking.task_ends(make_result())
    assert len(machine.said) == 1
    assert "less than 100 MiB, and what is written next may find no room" in machine.said[0]
    assert "BENCH_CACHE_DIR" in machine.said[0]


@pytest.mark.parametrize(
    ("free", "needed", "said"),
    [
        (1 * GIB, 0, "(results): 1.0 GiB are free on this disk, less than 2.0 GiB: "),
        (
            1 * GIB,
            16 * GIB,
            "(cache): 1.0 GiB are free on this disk, and the run may need 16.0 GiB",
        ),
    ],
)
def test_of_one_disk_that_is_scarce_one_thing_is_said(
    machine: Machine, free: int, needed: int, said: str
) -> None:
    machine.free, machine.needed, machine.one_disk = {"results": free, "cache": free}, needed, True
    machine.doubts().before()
    assert len(machine.said) == 1
    assert said in machine.said[0]


def test_folders_on_one_disk_are_known_for_that(tmp_path: Path) -> None:
    first, second = Disk("results", tmp_path / "a" / "b", ""), Disk("cache", tmp_path, "")
    assert first.device == second.device == str(tmp_path.stat().st_dev)


def test_a_file_system_that_tells_no_size_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untold = SimpleNamespace(total=0, used=0, free=0)
    monkeypatch.setattr(doubts.shutil, "disk_usage", lambda _: untold)
    assert Disk("results", tmp_path, "").free is None


@pytest.mark.parametrize(
    ("free", "needed", "said"),
    [
        (1 * GIB, 0, "1.0 GiB are free on this disk, less than 2.0 GiB: "),
        (10 * GIB, 16 * GIB, "10.0 GiB are free on this disk, and the run may need 16.0 GiB"),
        (10 * GIB, 0, None),
        (1 * GIB, GIB // 2, None),
    ],
)
def test_a_disk_is_held_against_what_the_run_will_write(
    machine: Machine, free: int, needed: int, said: str | None
) -> None:
    machine.free["cache"], machine.needed = free, needed
    machine.doubts().before()
    assert len(machine.said) == (said is not None)
    assert said is None or (said in machine.said[0] and "bench cache --clear" in machine.said[0])


def test_a_disk_that_fills_up_during_a_trial_is_said_at_once(machine: Machine) -> None:
    looking = machine.doubts()
    looking.task_begins(SPEC)
    machine.free["results"] = 2**20
    machine.passes(5)
    looking.task_goes_on(SPEC)
    assert machine.said == []  # not at every step
    machine.passes(6)
    looking.task_goes_on(SPEC)
    assert "1 MiB are free" in machine.said[0]
    assert "give --results on another disk" in machine.said[0]


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_task_that_met_a_full_disk_is_the_last(machine: Machine, status: str) -> None:
    """What it could not write is gone again, so that there seems to be room."""
    looking = machine.doubts()
    looking.task_ends(make_result(status=status, reason=f"cannot write the cache: {FULL_DISK}"))
    with pytest.raises(StoreError, match=r"disk is full.*make room.*BENCH_CACHE_GIB.*is kept"):
        looking.task_begins(SPEC)


def test_other_failures_end_nothing(machine: Machine) -> None:
    looking = machine.doubts()
    looking.task_ends(make_result(status="failed", reason="no idea"))
    looking.task_ends(make_result(reason=f"well in spite of {FULL_DISK}"))
    looking.task_begins(SPEC)


def test_a_folder_that_is_not_there_yet_lies_on_the_disk_of_the_one_above(tmp_path: Path) -> None:
    free = Disk("results", tmp_path / "a" / "b", "").free
    assert free is not None
    assert free == pytest.approx(Disk("results", tmp_path, "").free, rel=0.1)


def test_what_nobody_can_write_to_cannot_run_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts.os, "access", lambda *_: False)
    assert Disk("cache", tmp_path, "").free is None


class Engine:
    """Runs every trial well; notes which."""

    stack = STACK

    def __init__(self) -> None:
        self.ran: list[int] = []

    def execute(self, spec: Any, report: Any) -> Finished:
        self.ran.append(spec.seed)
        report(Progress(stage="test"))
        return Finished(result=make_result(spec))

    def share(self, step: Any, report: Any) -> Shared:
        return Shared(seconds=0.0)

    def close(self) -> None: ...


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_on_a_disk_that_fills_up_keeps_its_rows_and_goes_on_later(
    machine: Machine, workers: int
) -> None:
    class Filling(Silence):
        def trial_ends(self, result: Row) -> None:
            machine.free["results"] = 0

    trials = [make_spec(seed=seed) for seed in range(4)]
    folder = machine.folder / "results"
    engines = [Engine() for _ in range(workers)]
    filling = Doubting(Filling(), machine.doubts())

    def run(held: store.Store) -> runner.Summary:
        if len(engines) == 1:
            return runner.run(trials, held, engines[0], filling)
        return runner.run_on(trials, held, LocalFleet(engines), filling, literal=True)

    with store.writing(folder) as held, pytest.raises(StoreError, match="0 MiB are free"):
        run(held)
    kept = store.read(folder).rows
    assert kept
    machine.free["results"] = GIB * 9
    with store.writing(folder) as held:
        listener = Doubting(Silence(), machine.doubts())
        summary = runner.run(trials, held, Engine(), listener)
    assert len(summary.settled) == len(kept)
    assert len(store.read(folder).rows) == 4


# ----------------------------------------------------------------------------------------- memory


def workers(held: int, peak: int) -> Any:
    return SimpleNamespace(memory=(held, peak))


@pytest.mark.parametrize(
    ("ended", "available", "held", "peak", "said"),
    [
        ("", 3 * GIB, 0, 0, None),
        ("", 1 * GIB, 0, 0, "1.0 GiB of memory are free, of 2.0 GiB wanted (a worker may"),
        ("", 1 * GIB, 0, GIB // 2, "of 2.0 GiB wanted (a worker may need it)"),
        ("skipped", 1 * GIB, 0, GIB // 2, "of 2.0 GiB wanted (a worker may need it)"),
        ("ok", 1 * GIB, 0, GIB // 2, None),
        ("ok", 1 * GIB, 3 * GIB, 4 * GIB, None),
        ("ok", 1 * GIB, 1 * GIB, 4 * GIB, "of 4.0 GiB wanted (a worker took that at its most)"),
        ("ok", GIB // 4, 0, GIB // 8, "only 256 MiB of memory are free"),
    ],
)
def test_memory_is_held_against_what_workers_took(
    machine: Machine, ended: str, available: int, held: int, peak: int, said: str | None
) -> None:
    looking = machine.doubts()
    looking.started(workers(held, peak))
    if ended:
        looking.task_ends(make_result(status=ended))
    machine.memory.available = available
    looking.task_begins(SPEC)
    looking.task_begins(SPEC)
    assert len(machine.said) == (said is not None)
    assert said is None or said in machine.said[0]


def test_of_stacks_in_turns_the_memory_of_every_worker_counts(machine: Machine) -> None:
    looking = machine.doubts()
    sides: Any = [SimpleNamespace(engine=workers(GIB, 3 * GIB)) for _ in range(2)]
    DoubtingSides(SimpleNamespace(begins=lambda *_: None), looking).begins(sides, 1, 0)  # type: ignore[arg-type]
    machine.memory.available = 3 * GIB
    looking.task_begins(SPEC)
    assert "3.0 GiB of memory are free, of 6.0 GiB wanted" in machine.said[0]


def test_swapping_is_said_once_and_a_little_of_it_is_no_matter(machine: Machine) -> None:
    looking = machine.doubts()
    for more in (2**20, 63 * 2**20, 64 * 2**20, 640 * 2**20):
        assert machine.swapped is not None
        machine.swapped += more
        looking.task_begins(SPEC)
    assert len(machine.said) == 1
    assert "(swap)" in machine.said[0]


def test_a_limit_for_more_memory_than_there_is(machine: Machine) -> None:
    machine.doubts(memory_limit=20 * GIB).before(workers=1)
    assert machine.said == []
    machine.doubts(memory_limit=20 * GIB).before(workers=2)
    assert "2 workers of 20.0 GiB may take more than the 32.0 GiB" in machine.said[0]


# -------------------------------------------------------------------------------------- busy, slow


def test_a_machine_that_is_busy_before_the_first_trial(machine: Machine) -> None:
    looking = machine.doubts()
    looking.before()
    machine.passes(8)
    machine.elsewhere = 0.4
    looking.started()
    looking.task_begins(SPEC)
    machine.passes(100)
    looking.task_ends(make_result())
    assert len(machine.said) == 1
    assert "other processes use 40% of the cores" in machine.said[0]


def test_a_machine_that_is_busy_during_a_trial(machine: Machine) -> None:
    looking = machine.doubts()
    looking.before()
    machine.passes(8)
    looking.started()
    looking.task_begins(SPEC)
    machine.passes(100)
    machine.elsewhere = 0.1
    looking.task_ends(make_result())
    assert f"10% of the cores during {SPEC.label}" in machine.said[0]


def test_of_a_moment_nobody_can_say_how_busy_it_was(machine: Machine) -> None:
    machine.elsewhere = 0.9
    looking = machine.doubts()
    looking.task_begins(SPEC)
    machine.passes(1.9)
    looking.task_ends(make_result())
    assert machine.said == []


def at_work(machine: Machine, looking: Doubts, frequencies: list[float]) -> None:
    for frequency in frequencies:
        machine.frequencies = [frequency, 800.0]
        machine.passes(31)
        looking.task_goes_on(SPEC)


def test_cores_that_slow_down_and_stay_slow(machine: Machine) -> None:
    looking = machine.doubts()
    looking.task_begins(SPEC)
    at_work(machine, looking, [3400.0, 3400.0, 3300.0, 2000.0, 3000.0, 2000.0, 2000.0])
    assert machine.said == []
    at_work(machine, looking, [2000.0, 2000.0])
    assert len(machine.said) == 1
    assert "runs at 2.0 GHz, and ran at 3.4 GHz before" in machine.said[0]


def test_a_boost_that_no_machine_keeps_is_no_measure_for_what_follows(machine: Machine) -> None:
    looking = machine.doubts()
    looking.task_begins(SPEC)
    at_work(machine, looking, [4500.0] + 20 * [3300.0])
    assert machine.said == []


def test_cores_that_idle_may_run_as_slow_as_they_please(machine: Machine) -> None:
    looking = machine.doubts()
    looking.task_begins(SPEC)
    at_work(machine, looking, 3 * [3400.0])
    machine.working = 6.0
    at_work(machine, looking, 20 * [800.0])
    assert machine.said == []
    machine.working = 90.0
    at_work(machine, looking, 3 * [800.0])
    assert "runs at 0.8 GHz, and ran at 3.4 GHz" in machine.said[0]


def test_a_machine_that_tells_nothing_runs_all_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untold(*_: object, **__: object) -> None:
        raise FileNotFoundError("/proc/stat")

    for name in ("virtual_memory", "swap_memory", "cpu_freq", "cpu_percent", "pids"):
        monkeypatch.setattr(doubts.psutil, name, untold)
    monkeypatch.setattr(machine, "watch", untold)
    looking = machine.doubts(memory_limit=GIB)
    looking.before()
    looking.started(type("Untold", (), {"memory": property(untold)})())
    looking.task_begins(SPEC)
    machine.passes(31)
    looking.task_goes_on(SPEC)
    looking.task_ends(make_result())
    assert machine.said == []


@pytest.mark.parametrize("frequencies", [None, [], [0.0]])
def test_where_the_system_tells_nothing_nothing_is_said(
    machine: Machine, frequencies: list[float] | None
) -> None:
    looking = machine.doubts()
    machine.frequencies, machine.swapped = frequencies, None
    for _ in range(5):
        machine.passes(31)
        looking.task_goes_on(SPEC)
    assert machine.said == []


def test_nothing_looks_while_a_cost_is_measured(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, cost = machine.doubts(), make_cost()
    looking.task_begins(cost.spec)
    machine.passes(3600)
    with monkeypatch.context() as patched:
        for name in ("virtual_memory", "swap_memory", "cpu_freq"):
            patched.delattr(doubts.psutil, name)
        looking.task_goes_on(cost.spec)
    machine.elsewhere = 0.9
    looking.task_ends(cost)
    assert machine.said == []


# ----------------------------------------------------------------------------------------- clocks


def test_a_clock_that_jumps_is_noted_once(machine: Machine) -> None:
    looking = machine.doubts()
    for wall in (10.5, 3610.0, -90.0):
        machine.passes(10, wall=wall)
        looking.task_begins(SPEC)
    assert len(machine.said) == 1
    assert "jumped by +3,600 s" in machine.said[0]


def test_a_machine_that_was_suspended(machine: Machine) -> None:
    looking = machine.doubts()
    machine.passes(10, boot=7210, wall=7210)
    looking.task_begins(SPEC)
    assert len(machine.said) == 1
    assert "suspended for 7,200 s: no time limit counts that" in machine.said[0]


@pytest.mark.parametrize(
    ("wall", "said"),
    [
        (3610, "was suspended for 3,600 s, or its clock was set"),
        (-3590, "jumped by -3,600 s"),
        (10, None),
    ],
)
def test_without_a_clock_that_goes_on_in_sleep_nobody_knows_which(
    machine: Machine, wall: float, said: str | None
) -> None:
    machine.clocks = machine.clocks._replace(boot=None)
    looking = machine.doubts()
    machine.passes(10, wall=wall)
    looking.task_begins(SPEC)
    assert len(machine.said) == (said is not None)
    assert said is None or said in machine.said[0]


@pytest.mark.parametrize(("system", "number"), [("Darwin", 6), ("Windows", None)])
def test_systems_name_the_clock_that_goes_on_in_sleep_differently(
    system: str, number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "time", SimpleNamespace(CLOCK_MONOTONIC=6))
    monkeypatch.setattr(clocks.platform, "system", lambda: system)
    assert clocks._clock_of_boot() == number


def test_our_clocks_agree_with_each_other() -> None:
    before = Clocks.now()
    after = Clocks.now()
    assert before.awake <= after.awake
    assert after.boot is None or after.awake <= after.boot + 1
    assert after.wall > 1.7e9
