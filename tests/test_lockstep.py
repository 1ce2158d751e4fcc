"""Workers that take turns: the referee alone, then whole measurements with workers of straw."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.costs import CostResult, CostSpec, pooled
from bench.errors import BenchError
from bench.progress import Progress
from bench.records import Backbone, Execution
from bench.running import lockstep, store
from bench.running.isolation import LocalEngine
from bench.running.lockstep import Side, Turns
from bench.running.messages import Setup
from bench.settings import Settings
from bench.tasks import Row, Spec

ROOT = Path(__file__).parents[1]
A_FEW_SECONDS = 20.0
"""Far longer than anything here takes, on a busy machine."""


class Table:
    """Players on threads; notes whose turn it was, and whether anybody else worked meanwhile."""

    def __init__(self, *players: str) -> None:
        self.turns = Turns(players)
        self.order: list[str] = []
        self.others: list[int] = []
        self.worst = 0
        self._working = set(players)
        self._account = threading.Lock()

    def play(self, **times: Callable[[], object] | int) -> None:
        """Each takes so many turns and leaves, or does as a function says."""
        threads = [
            threading.Thread(
                target=self._times, args=(who, does) if isinstance(does, int) else (who, 0, does)
            )
            for who, does in times.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(A_FEW_SECONDS)
            assert not thread.is_alive(), f"hangs; the turns so far: {self.order}"

    def _times(self, who: str, count: int, does: Callable[[], object] = lambda: None) -> None:
        try:
            for _ in range(count):
                self.turn(who)
            with contextlib.suppress(RuntimeError):
                does()
        finally:
            with self._account:
                self._working.discard(who)
            self.turns.leave(who)

    def turn(self, who: str) -> None:
        """Wait for a turn, and work a moment in it, and a moment longer than that."""
        with self._account:
            self._working.discard(who)
        others = self.turns.take(who)
        with self._account:
            self._working.add(who)
            self.order.append(who)
            self.others.append(others)
        for _ in range(3):
            time.sleep(0.001)
            with self._account:
                self.worst = max(self.worst, len(self._working))


def test_turns_are_taken_alternately_first_and_last_and_by_one_at_a_time() -> None:
    table = Table("a", "b", "c")
    table.play(a=6, b=6, c=6)
    assert "".join(table.order) == "abccba" * 3
    assert table.worst == 1
    assert table.others[:12] == [2] * 12


def test_nobody_has_a_turn_while_another_prepares() -> None:
    table = Table("a", "b")
    came = threading.Event()

    def prepares() -> None:
        assert not came.wait(0.2), "a turn began, though b was not waiting"
        table.turn("b")

    def plays() -> None:
        table.turn("a")
        came.set()

    table.play(a=plays, b=prepares)
    assert table.order == ["a", "b"]


def test_who_leaves_is_not_waited_for() -> None:
    table = Table("a", "b", "c")
    table.play(a=1, b=5, c=2)
    assert Counter(table.order) == {"a": 1, "b": 5, "c": 2}
    assert "".join(table.order) == "abccbbbb"
    assert table.others[-1] == 0
    assert table.worst == 1


def test_who_dies_in_its_turn_is_not_waited_for() -> None:
    table = Table("a", "b")

    def dies() -> None:
        table.turn("a")
        raise RuntimeError("dies")

    table.play(a=dies, b=3)
    assert table.order == ["a", "b", "b", "b"]


def test_who_never_comes_is_not_waited_for_once_it_has_left() -> None:
    table = Table("a", "b")
    table.play(a=lambda: time.sleep(0.05), b=2)
    assert table.order == ["b", "b"]


def test_one_alone_always_has_the_turn() -> None:
    table = Table("a")
    table.play(a=3)
    assert (table.order, table.others) == (["a"] * 3, [0] * 3)


def test_one_that_waits_when_it_is_made_to_leave_waits_no_longer() -> None:
    turns = Turns(("a", "b"))
    waits = threading.Thread(target=turns.take, args=("a",), daemon=True)
    waits.start()
    turns.leave("a")
    turns.leave("a")
    waits.join(A_FEW_SECONDS)
    assert not waits.is_alive()
    assert turns.take("b") == 0


# ---------------------------------------------------------------------- workers made of straw

WORKER = f"""
import json, os, sys, time
sys.path.insert(0, {str(ROOT / "tests" / "faults")!r})
import misbehaving as m
from bench.costs import CostResult

name, orders = m.ORDERS["side"], m.ORDERS["sizes"]

def measure(spec, place, report):
    order = orders.get(str(spec.image_size), "ok")
    report(m.Progress(stage=spec.workload))
    for i in range(3):
        others = place.turns()
        m.note(f"turn {{name}} {{time.monotonic()}} {{others}}")
        time.sleep(0.01)
        m.note(f"over {{name}} {{time.monotonic()}} {{others}}")
        if i == 1 and order == "dies":
            m.complain("no more")
            os._exit(3)
        if (i, order) in ((1, "hangs"), (2, "lingers")):
            time.sleep(1000)
    return CostResult(key=spec.key, spec=spec, stack=m.STACK, seconds=0.1,
                      status=order if order in ("skipped", "failed") else "ok",
                      started_at="2026-01-01T00:00:00+00:00", reason=f"worker {{os.getpid()}}")

m.note(f"worker {{os.getpid()}}")
m.stub_training()
m.stub("bench.measuring.cost", measure=measure)
m.worker.main()
"""
"""`faults/misbehaving.py`, its measurements stubbed: three turns, and what a test says."""


class Heard:
    """A listener that notes every call, and may interrupt."""

    def __init__(self, at_end: Callable[[], object] = lambda: None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._at_end = at_end

    def begins(self, sides: Sequence[Side], measurements: int, settled: int) -> None:
        self.calls.append(("begins", "".join(s.name for s in sides), measurements, settled))

    def trial_begins(self, side: Side, spec: Spec) -> None:
        self.calls.append(("begins", side.name))

    def progress(self, side: Side, spec: Spec, progress: Progress) -> None:
        self.calls.append((progress.stage, side.name))

    def trial_ends(self, side: Side, result: Row) -> None:
        assert stored(side)[-1] == result
        self.calls.append(("ends", side.name))
        self._at_end()


class Bench:
    """Sides whose workers do as a test says, and what they noted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, folder / "notes"
        self.setup = Setup(
            settings=Settings(cache=folder), folder=folder, scratch=folder, execution=Execution()
        )

    @contextmanager
    def sides(
        self, orders: dict[str, dict[int, str]], seconds: float | None = None
    ) -> Iterator[list[Side]]:
        """By name: what a worker does with pictures of a size."""
        with ExitStack() as opened:
            found = []
            for name, sizes in orders.items():
                told = json.dumps({"side": name, "sizes": sizes, "notes": str(self.notes)})
                command = sys.executable, "-c", WORKER, told
                engine = LocalEngine(self.setup, seconds, command, wait=False)
                opened.callback(engine.close)
                held = opened.enter_context(store.writing(self.folder / name))
                found.append(Side(name, held, engine))
            for side in found:
                side.engine.wait()
            yield found

    def measure(
        self,
        rounds: int = 1,
        sizes: Sequence[int] = (96,),
        orders: dict[str, dict[int, str]] | None = None,
        heard: Heard | None = None,
        seconds: float | None = None,
    ) -> dict[str, list[CostResult]]:
        """Measure, and give what each side's store then holds."""
        with self.sides(orders or {"a": {}, "b": {}}, seconds) as sides:
            try:
                lockstep.measure([case(s) for s in sizes], sides, rounds, heard or Heard())
            finally:
                self.rows = {side.name: stored(side) for side in sides}
        return self.rows

    def noted(self, what: str) -> list[list[str]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.split()[1:] for line in lines if line.startswith(what)]

    def all_gone(self) -> bool:
        return all(is_gone(int(pid)) for (pid,) in self.noted("worker"))


def case(size: int = 96) -> CostSpec:
    return CostSpec(backbone=Backbone(name="MobileNetV2"), workload="inference", image_size=size)


def stored(side: Side) -> list[CostResult]:
    if not list(side.store.folder.rglob(store.COSTS)):
        return []
    found = (row for _, row in store.every(side.store.folder, []))
    return [row for row in found if isinstance(row, CostResult)]


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Where the tests run in the background, a shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_rows_of_a_round_share_an_id_and_each_is_of_a_fresh_process(bench: Bench) -> None:
    rows = bench.measure(rounds=2, sizes=(96, 160))
    assert [(r.spec.image_size, r.status) for r in rows["a"]] == [(96, "ok"), (160, "ok")] * 2
    ids = [r.together for r in rows["a"]]
    assert ids == [r.together for r in rows["b"]]
    assert None not in ids
    assert len(set(ids)) == 4
    assert len({r.reason for side in rows.values() for r in side}) == 8
    assert bench.all_gone()


def test_one_works_at_a_time_and_who_is_first_changes(bench: Bench) -> None:
    bench.measure(rounds=2)
    turns, overs = bench.noted("turn"), bench.noted("over")
    assert "".join(name for name, *_ in turns) == "abbaab" + "baabba"
    assert [others for *_, others in turns] == ["1"] * 5 + ["0"] + ["1"] * 5 + ["0"]
    ends = [float(at) for _, at, _ in overs]
    starts = [float(at) for _, at, _ in turns]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_who_listens_hears_of_both(bench: Bench) -> None:
    heard = Heard()
    bench.measure(heard=heard)
    assert heard.calls[0] == ("begins", "ab", 2, 0)
    for name in "ab":
        said = [what for what, *who in heard.calls[1:] if who == [name]]
        assert said == ["begins", "inference", "ends"]


def test_rounds_that_are_there_are_not_measured_again(bench: Bench) -> None:
    bench.measure(rounds=1)
    first = bench.rows
    heard = Heard()
    bench.measure(rounds=3, heard=heard)
    assert heard.calls[0] == ("begins", "ab", 6, 2)
    assert [len(rows) for rows in bench.rows.values()] == [3, 3]
    assert all(bench.rows[name][0] == first[name][0] for name in "ab")
    begun = [name for name, *_ in bench.noted("turn")]
    assert begun[6:12:6] == ["b"], "the second round begins with the other side"
    bench.measure(rounds=3)
    assert [len(rows) for rows in bench.rows.values()] == [3, 3]


def test_a_row_without_its_partner_or_of_a_process_alone_is_no_round(bench: Bench) -> None:
    bench.measure(orders={"a": {}, "b": {96: "failed"}})
    with bench.sides({"a": {}, "b": {}}) as sides:
        alone = bench.rows["a"][0].model_copy(update={"together": None})
        for side in sides:
            side.store.append(alone, None)
    rows = bench.measure()
    assert [r.status for r in rows["a"]] == ["ok"] * 3
    assert [r.status for r in rows["b"]] == ["failed", "ok", "ok"]
    assert rows["a"][2].together == rows["b"][2].together != rows["a"][0].together


@pytest.mark.parametrize(
    ("order", "status", "said"),
    [
        ("dies", "failed", "worker exited with 3 and no result. no more"),
        ("hangs", "timeout", "stopped when its time was up"),
        ("failed", "failed", "worker"),
    ],
)
def test_a_side_that_fails_stops_nobody(bench: Bench, order: str, status: str, said: str) -> None:
    orders = {"a": {96: order}, "b": {}, "c": {}}
    seconds = 1.0 if status == "timeout" else None
    rows = bench.measure(sizes=(96, 160), orders=orders, seconds=seconds)
    assert [r.status for r in rows["a"]] == [status, "ok"]
    assert said in rows["a"][0].reason
    assert [r.status for r in (*rows["b"], *rows["c"])] == ["ok"] * 4
    assert len({rows[name][0].together for name in "abc"}) == 1
    assert bench.all_gone()


def test_waiting_for_a_turn_is_not_in_the_time_limit(bench: Bench) -> None:
    """A side that hangs uses up a second while the other waits, which has a second as well."""
    rows = bench.measure(orders={"a": {96: "hangs"}, "b": {}}, seconds=1.0)
    assert (rows["a"][0].status, rows["b"][0].status) == ("timeout", "ok")


def test_what_is_settled_without_a_result_is_settled(bench: Bench) -> None:
    orders = {"a": {96: "skipped"}, "b": {}}
    bench.measure(orders=orders)
    heard = Heard()
    bench.measure(orders=orders, heard=heard)
    assert heard.calls == [("begins", "ab", 2, 2)]


def test_an_interruption_ends_all_workers_and_keeps_what_has_finished(bench: Bench) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(A_FEW_SECONDS)

    with pytest.raises(KeyboardInterrupt):
        bench.measure(orders={"a": {}, "b": {96: "lingers"}}, heard=Heard(interrupt))
    assert [r.status for r in bench.rows["a"]] == ["ok"]
    assert bench.all_gone()


def test_sides_must_differ(bench: Bench) -> None:
    with bench.sides({"a": {}, "b": {}}) as (a, b):
        for sides, said in (
            ((a, Side("a", b.store, b.engine)), "2 sides have the name a: expected one for each"),
            ((a, Side("b", a.store, b.engine)), "2 sides have the results folder "),
        ):
            with pytest.raises(BenchError, match=said):
                lockstep.measure([case()], sides, 1, Heard())


# ---------------------------------------------------------------------------------- the real thing


@pytest.mark.slow
def test_two_real_processes_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same stack twice: rows like any other, and who waits does not work."""
    spied: list[tuple[float, float]] = []
    engines: dict[str, LocalEngine] = {}

    class Spied(Turns):
        """Notes how long each turn was, and what processor time the one that waits used in it."""

        began: dict[str, tuple[float, float]]

        def take(self, who: str) -> int:
            self.ends(who)
            others = super().take(who)
            self.began = {who: (time.monotonic(), used(engines, who))} if others else {}
            return others

        def ends(self, who: str) -> None:
            if then := getattr(self, "began", {}).pop(who, None):
                spied.append((time.monotonic() - then[0], used(engines, who) - then[1]))

    monkeypatch.setattr(lockstep, "Turns", Spied)
    what = case(32)
    with ExitStack() as opened:
        sides = []
        for name in ("a", "b"):
            held = opened.enter_context(store.writing(tmp_path / name))
            setup = Setup(
                settings=Settings(cache=tmp_path),
                folder=tmp_path,
                scratch=opened.enter_context(held.scratch()).absolute(),
                execution=Execution(deterministic=False),
                timed_seconds=0.2,
            )
            engines[name] = LocalEngine(setup, 300.0, wait=False)
            opened.callback(engines[name].close)
            sides.append(Side(name, held, engines[name]))
        for engine in engines.values():
            engine.wait()
        summaries = lockstep.measure([what], sides, 1, Heard())
        alone = engines["a"].execute(what, lambda _: None).result
    (a,), (b,) = (summaries[name].measured for name in "ab")
    assert isinstance(alone, CostResult)
    assert (a.status, b.status, alone.status) == ("ok", "ok", "ok"), (a.reason, b.reason)
    assert a.together == b.together is not None
    assert alone.together is None
    for row in (a, b):
        assert shape(row) == shape(alone)
    both = pooled([row.model_copy(update={"elsewhere": 0.5}) for row in (alone, a)])
    assert (both.runs, both.together) == (2, None), "doubtful alike, and so taken together"
    turned, worked = (sum(each) for each in zip(*spied, strict=True))
    assert len(spied) > 20
    assert worked < 0.05 * turned


def used(engines: dict[str, LocalEngine], who: str) -> float:
    """Processor time of the workers of everybody else."""
    total = 0.0
    for name, engine in engines.items():
        if name != who and (worker := engine._worker):
            times = psutil.Process(worker.pid).cpu_times()
            total += times.user + times.system
    return total


def shape(row: Any) -> dict[str, Any]:
    """What of a row is no measurement: which fields it has, and what was measured."""
    told = {"status", "key", "spec", "stack", "batch_size", "execution", "size", "runs", "protocol"}
    not_always = {"together", "drift"}
    given = {name for name, value in row if value is not None} - not_always
    return {"given": given} | {name: getattr(row, name) for name in told}
