"""What a worker may take: arithmetic with a clock of straw, and the memory of real processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.running import limits
from bench.running.limits import Memory, Patience

MIB = 2**20
HUNGRY = """
import subprocess, sys, time
child = int(sys.argv[2])
held = bytearray(int(sys.argv[1]) * 2**20)
if child:
    code = "import sys, time; h = bytearray(int(sys.argv[1]) * 2**20); print(1, flush=True); "
    code += "time.sleep(100)"
    started = subprocess.Popen([sys.executable, "-c", code, str(child)])
else:
    print("ready", flush=True)
time.sleep(100)
"""


class Straw:
    """A clock that a test moves, and a worker that holds what it says."""

    def __init__(self) -> None:
        self.now, self.holds, self.looks = 100.0, 0, 0
        self.apart: int | None = None
        self.takes = 0.0

    def __call__(self) -> float:
        return self.now

    def held(self, worker: int) -> int:
        assert worker == 7
        self.looks += 1
        self.now += self.takes
        return self.holds

    def held_apart(self, worker: int) -> int:
        assert worker == 7
        return self.holds if self.apart is None else self.apart


@pytest.fixture
def straw(monkeypatch: pytest.MonkeyPatch) -> Straw:
    found = Straw()
    monkeypatch.setattr(limits, "held", found.held)
    monkeypatch.setattr(limits, "held_apart", found.held_apart)
    return found


def test_a_worker_within_its_limit_is_looked_at_once_a_second(straw: Straw) -> None:
    memory = Memory(7, 100 * 2**30, straw)
    straw.holds = 5 * 2**30
    for _ in range(301):
        assert not memory.exceeded()
        straw.now += 0.01
    assert straw.looks == 4
    assert memory.peak == 5 * 2**30


def test_close_to_its_limit_it_is_looked_at_more_often_but_not_all_the_time(straw: Straw) -> None:
    memory = Memory(7, 8 * 2**30, straw)
    straw.holds = 6 * 2**30
    assert not memory.exceeded()
    assert memory.due == pytest.approx(0.5)
    straw.now, straw.holds = straw.now + 0.5, 8 * 2**30 - 1
    assert not memory.exceeded()
    assert memory.due == pytest.approx(limits.SOON_SECONDS)
    straw.now, straw.holds = straw.now + 0.05, 8 * 2**30 + 1
    assert not memory.exceeded()
    assert memory.due == pytest.approx(limits.SOON_SECONDS)
    straw.now += 0.06
    assert memory.exceeded()
    assert memory.peak == straw.holds


def test_one_look_above_its_limit_is_not_believed(straw: Straw) -> None:
    memory = Memory(7, 100, straw)
    for holds in (101, 99, 101, 99):
        straw.holds, straw.now = holds, straw.now + 1
        assert not memory.exceeded()
    assert memory.peak == 99


def test_what_a_fork_shares_counts_once(straw: Straw) -> None:
    memory = Memory(7, 1000, straw)
    straw.holds, straw.apart = 1200, 600
    for _ in range(4):
        straw.now += 1
        assert not memory.exceeded()
    assert memory.peak == 600
    straw.now, straw.apart = straw.now + 1, 1001
    assert memory.exceeded()


def test_looks_that_take_long_are_rare(straw: Straw) -> None:
    memory = Memory(7, 100, straw)
    straw.holds, straw.takes = 100, 0.5
    assert not memory.exceeded()
    assert memory.due == pytest.approx(5.0)


def test_without_a_limit_nothing_exceeds_it_and_the_peak_is_known(straw: Straw) -> None:
    memory = Memory(7, None, straw)
    straw.holds = 2**50
    assert not memory.exceeded()
    straw.now, straw.holds = straw.now + 1, 0
    assert not memory.exceeded()
    assert (memory.peak, memory.due) == (2**50, limits.LOOK_SECONDS)


def test_time_counts_while_the_runner_runs(straw: Straw) -> None:
    patience = Patience(3.0, straw)
    for left in (2.0, 1.0, 0.0, 0.0):
        straw.now += 1
        assert patience.look() == left


def test_time_in_which_the_runner_was_stopped_does_not_use_up_a_limit(straw: Straw) -> None:
    patience = Patience(60.0, straw)
    straw.now += 36_000
    assert patience.look() == 60.0 - limits.PAUSE_SECONDS
    straw.now += 36_000
    patience.skip()
    assert patience.look() == 60.0 - limits.PAUSE_SECONDS


def test_no_limit_is_never_used_up(straw: Straw) -> None:
    patience = Patience(None, straw)
    straw.now += 1e9
    assert patience.look() == float("inf")


@pytest.mark.parametrize(("own", "childs"), [(64, 0), (16, 64)])
def test_what_a_worker_holds_includes_its_children(own: int, childs: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HUNGRY, str(own), str(childs)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert own + childs < limits.held(process.pid) / MIB < own + childs + 60
    finally:
        os.killpg(process.pid, 9)
        process.communicate()
    assert limits.held(process.pid) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes share")
def test_a_real_fork_holds_what_it_shares_once() -> None:
    code = (
        "import os, time; held = bytearray(b'x') * (96 * 2**20); child = os.fork(); "
        "child or print('ready', flush=True); time.sleep(100)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert limits.held(process.pid) / MIB > 2 * 96
        assert 96 < limits.held_apart(process.pid) / MIB < 96 + 60
    finally:
        os.killpg(process.pid, 9)
        process.communicate()
    assert limits.held_apart(process.pid) == 0


def test_mapped_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_bytes(bytes(64 * MIB))
    code = (
        "import mmap, sys, time; f = open(sys.argv[1], 'rb'); "
        "m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ); "
        "print(sum(m[i] for i in range(0, len(m), 4096)), flush=True); time.sleep(100)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "pictures")],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        if sys.platform == "linux":
            assert limits.held(process.pid) < 50 * MIB
    finally:
        process.kill()
        process.communicate()


def test_a_look_takes_far_less_time_than_what_it_looks_at() -> None:
    """It is taken while costs are measured, once a second: a thousandth would not show."""
    taken = []
    for _ in range(20):
        began = time.thread_time()
        limits.held(os.getpid())
        taken.append(time.thread_time() - began)
    assert sorted(taken)[2] < 0.01  # of 0.2 ms on a machine with a hundred processes
