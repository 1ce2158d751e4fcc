"""What else the machine did: arithmetic on injected accounts, and real work noticed or not."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.measuring import load

ROOT = Path(__file__).parents[1]


class Machine:
    """Accounts that the test writes: seconds by kind for each core, our own, and the wall's."""

    def __init__(self, cores: int, allowed: set[int] | None) -> None:
        kinds = (*load._BUSY, "idle", "iowait", "guest", "guest_nice")
        self.cores = [SimpleNamespace(**dict.fromkeys(kinds, 100.0)) for _ in range(cores)]
        self.allowed = allowed
        self.own, self.now = 50.0, 7.0

    def used(self, core: int, **seconds: float) -> None:
        for kind, more in seconds.items():
            setattr(self.cores[core], kind, getattr(self.cores[core], kind) + more)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Machine":
        def account(percpu: bool) -> list[SimpleNamespace]:
            assert percpu
            return [SimpleNamespace(**vars(core)) for core in self.cores]

        monkeypatch.setattr(load.psutil, "cpu_times", account)
        monkeypatch.setattr(load, "_affinity", lambda: self.allowed)
        monkeypatch.setattr(load, "_own_seconds", lambda: self.own)
        monkeypatch.setattr(load, "_clock", lambda: self.now)
        return self


def test_other_work_is_what_was_used_and_not_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(2, {0, 1}).install(monkeypatch)
    with load.Watch() as watch:
        machine.now += 10
        machine.own += 8
        machine.used(0, user=7, system=1, idle=2)
        machine.used(1, user=4, idle=6)
    assert watch.elsewhere == pytest.approx(4 / 20)


@pytest.mark.parametrize(
    ("kind", "counts"),
    [(k, True) for k in ("user", "nice", "system", "irq", "softirq", "steal")]
    + [(k, False) for k in ("idle", "iowait", "guest", "guest_nice")],
)
def test_waiting_is_no_work_and_stolen_time_is_others(
    kind: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(1, {0}).install(monkeypatch)
    with load.Watch() as watch:
        machine.now += 4
        machine.used(0, **{kind: 1.0})
    assert watch.elsewhere == (0.25 if counts else 0)


def test_cores_that_are_not_ours_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(8, {2, 5}).install(monkeypatch)
    with load.Watch() as watch:
        machine.now += 10
        machine.own += 10
        machine.used(2, user=10)
        machine.used(5, user=5)
        for core in (0, 1, 3, 4, 6, 7):
            machine.used(core, user=10)
    assert watch.elsewhere == pytest.approx(5 / 20)


@pytest.mark.parametrize("allowed", [None, {40, 41}])
def test_where_ours_cannot_be_told_apart_all_count(
    allowed: set[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No affinity on this system; or a container whose account starts again at core 0.
    machine = Machine(2, allowed).install(monkeypatch)
    with load.Watch() as watch:
        machine.now += 10
        machine.used(1, user=5)
    assert watch.elsewhere == pytest.approx(5 / 20)


@pytest.mark.parametrize(("own", "used", "share"), [(5, 4, 0.0), (0, 30, 1.0), (0, 0, 0.0)])
def test_a_share_stays_a_share(
    own: float, used: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two accounts that are read at slightly different times may differ either way.
    machine = Machine(1, {0}).install(monkeypatch)
    with load.Watch() as watch:
        machine.now += 10
        machine.own += own
        machine.used(0, user=used)
    assert watch.elsewhere == share


def test_no_time_at_all_divides_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(1, {0}).install(monkeypatch)
    with load.Watch() as watch:
        assert watch.elsewhere is None
    assert watch.elsewhere == 0


def test_fewer_kinds_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    account = [SimpleNamespace(user=3.0, nice=1.0, system=2.0, idle=50.0)]
    monkeypatch.setattr(load.psutil, "cpu_times", lambda percpu: account)
    assert load._cores() == load._Cores(1, 6.0)


@pytest.mark.parametrize("first", [True, False])
def test_where_the_system_does_not_tell_nothing_is_said_and_nothing_lost(
    first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Machine(1, {0}).install(monkeypatch)

    def untold(percpu: bool) -> None:
        raise FileNotFoundError("/proc/stat")

    if first:
        monkeypatch.setattr(load.psutil, "cpu_times", untold)
    with load.Watch() as watch:
        monkeypatch.setattr(load.psutil, "cpu_times", untold)
        wait = watch.leaving_out(lambda: 3)
        assert wait is not None
        assert wait() == 3
    assert watch.elsewhere is None


def test_what_others_do_while_we_wait_for_our_turn_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(2, {0, 1}).install(monkeypatch)

    def others_work() -> int:
        machine.now += 100
        machine.used(0, user=100)
        machine.used(1, user=100)
        return 3

    with load.Watch() as watch:
        wait = watch.leaving_out(others_work)
        assert wait is not None
        for _ in range(2):
            assert wait() == 3
            machine.now += 5
            machine.own += 4
            machine.used(0, user=5)
            machine.used(1, user=1)
    assert watch.elsewhere == pytest.approx(2 * 2 / 20)


def test_who_waits_for_nobody_has_nothing_to_leave_out() -> None:
    assert load.Watch().leaving_out(None) is None


# ------------------------------------------------------------------------------------- real work

WORK = 0.3
BURN = f"import time\nwhile time.process_time() < {WORK}: pass"
WATCHING = """
import sys, time
from bench.measuring import load
with load.Watch() as watch:
    began = time.perf_counter()
    print("watching", flush=True)
    sys.stdin.readline()
    wall = time.perf_counter() - began
print(watch.elsewhere * wall * load._cores().count)
"""


def burn() -> None:
    until = time.process_time() + WORK
    while time.process_time() < until:
        pass


def busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(getattr(times, kind, 0.0) for kind in load._BUSY)


def test_other_work_is_noticed() -> None:
    # The watching process is a child: what this one does is other work to it. Noise only adds.
    with subprocess.Popen(
        [sys.executable, "-c", WATCHING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as watching:
        assert watching.stdout
        assert watching.stdout.readline().strip() == "watching"
        burn()
        told, _ = watching.communicate("\n", timeout=60)
    assert float(told) > WORK / 2


@pytest.mark.parametrize(
    "work",
    [burn, lambda: subprocess.run([sys.executable, "-c", BURN], check=True)],
    ids=["ours", "a child's"],
)
def test_our_own_work_is_not(work: Callable[[], object]) -> None:
    # Whatever noise there is, it is in the system's account as well: our part must be missing.
    before = busy_seconds()
    with load.Watch() as watch:
        began = time.perf_counter()
        work()
        wall = time.perf_counter() - began
    all_work = busy_seconds() - before
    assert watch.elsewhere is not None
    others = watch.elsewhere * wall * load._cores().count
    assert others <= max(0.0, all_work - WORK) + WORK / 2


def test_a_child_counts_while_it_runs_and_after() -> None:
    before = load._own_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", BURN + "\nprint('done', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        assert child.stdout.readline().strip() == "done"
        running = load._own_seconds()
        child.communicate("\n", timeout=60)
    assert running - before > 0.9 * WORK
    # A clock tick for each account, of which there are two times two.
    tick = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.02
    assert load._own_seconds() >= running - 4 * tick
