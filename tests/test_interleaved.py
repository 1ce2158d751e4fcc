"""Trials of several stacks in turns, with engines of straw."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import STACK, make_result, make_spec

from bench.progress import Progress
from bench.records import TrialSpec
from bench.running import interleaved, store
from bench.running.interleaved import Side
from bench.running.messages import Finished
from bench.tasks import Row, Spec

LOG = list[tuple[str, str, int]]


class Engine:
    """Writes down what it is asked for, and fails or stops where told to."""

    stack = STACK

    def __init__(self, name: str, log: LOG, fails: Sequence[int] = (), stops: int = -1) -> None:
        self.name, self.log, self.fails, self.stops = name, log, fails, stops

    def execute(self, spec: TrialSpec, report: Callable[[Progress], None]) -> Finished:
        if spec.seed == self.stops:
            raise KeyboardInterrupt
        report(Progress(stage="images"))
        self.log.append((self.name, spec.data.dataset.name, spec.seed))
        status = "failed" if spec.seed in self.fails else "ok"
        return Finished(result=make_result(spec, status=status))

    def close(self) -> None:
        self.log.append((self.name, "closed", -1))


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[list[str], int, int]] = []
        self.told: list[tuple[str, str]] = []

    def begins(self, sides: Sequence[Side], measurements: int, settled: int) -> None:
        self.begun.append(([side.name for side in sides], measurements, settled))

    def trial_begins(self, side: Side, spec: Spec) -> None:
        self.told.append((side.name, "begins"))

    def progress(self, side: Side, spec: Spec, progress: Progress) -> None:
        self.told.append((side.name, progress.stage))

    def trial_ends(self, side: Side, result: Row) -> None:
        self.told.append((side.name, result.status))


MadeSides = Callable[..., list[Side]]


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[MadeSides]:
    with ExitStack() as opened:
        stores: dict[str, store.Store] = {}

        def made(*engines: Engine) -> list[Side]:
            for engine in engines:
                if engine.name not in stores:
                    stores[engine.name] = opened.enter_context(
                        store.writing(tmp_path / engine.name)
                    )
            return [Side(e.name, stores[e.name], cast(Any, e)) for e in engines]

        yield made


def trials(datasets: str, seeds: int) -> list[TrialSpec]:
    return [make_spec(dataset=d, seed=s) for d in datasets for s in range(seeds)]


def order(log: LOG) -> str:
    return " ".join(f"{name}{what}{seed}" for name, what, seed in log if what != "closed")


def test_groups_go_in_turns_that_change_ends(sides: MadeSides) -> None:
    log: LOG = []
    listener = Listener()
    done = interleaved.run(trials("xyz", 2), sides(Engine("A", log), Engine("B", log)), listener)
    assert order(log) == "Ax0 Ax1 Bx0 Bx1 By0 By1 Ay0 Ay1 Az0 Az1 Bz0 Bz1"
    assert listener.begun == [(["A", "B"], 12, 0)]
    assert listener.told[:3] == [("A", "begins"), ("A", "images"), ("A", "ok")]
    assert [len(done[name].measured) for name in "AB"] == [6, 6]
    assert all(summary.all_ok for summary in done.values())


def test_a_worker_ends_with_its_turn(sides: MadeSides) -> None:
    log: LOG = []
    interleaved.run(trials("x", 1), sides(Engine("A", log), Engine("B", log)), Listener())
    assert [what for _, what, _ in log] == ["x", "closed", "x", "closed"]


def test_each_side_keeps_its_own_rows(sides: MadeSides, tmp_path: Path) -> None:
    log: LOG = []
    interleaved.run(trials("x", 2), sides(Engine("A", log), Engine("B", log)), Listener())
    assert [len(store.read(tmp_path / name).rows) for name in "AB"] == [2, 2]


def test_a_failure_stops_nothing_and_is_tried_again(sides: MadeSides) -> None:
    log: LOG = []
    done = interleaved.run(
        trials("x", 2), sides(Engine("A", log, fails=[0]), Engine("B", log)), Listener()
    )
    assert order(log) == "Ax0 Ax1 Bx0 Bx1"
    assert (done["A"].all_ok, done["B"].all_ok) == (False, True)
    log.clear()
    listener = Listener()
    done = interleaved.run(trials("x", 2), sides(Engine("A", log), Engine("B", log)), listener)
    assert order(log) == "Ax0"
    assert listener.begun == [(["A", "B"], 4, 3)]
    assert [(len(done[n].measured), len(done[n].settled)) for n in "AB"] == [(1, 1), (0, 2)]
    assert done["A"].all_ok


def test_after_an_interruption_it_goes_on(sides: MadeSides) -> None:
    log: LOG = []
    with pytest.raises(KeyboardInterrupt):
        interleaved.run(
            trials("xy", 2), sides(Engine("A", log), Engine("B", log, stops=1)), Listener()
        )
    assert order(log) == "Ax0 Ax1 Bx0"
    log.clear()
    interleaved.run(trials("xy", 2), sides(Engine("A", log), Engine("B", log)), Listener())
    assert order(log) == "Bx1 By0 By1 Ay0 Ay1"


def test_rows_are_read_once_for_each_side(
    sides: MadeSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: LOG = []
    made = sides(Engine("A", log), Engine("B", log))
    reads: list[Path] = []
    real = store.Store.settled

    def settled(self: store.Store, stack: Any) -> dict[str, Row]:
        reads.append(self.folder)
        return real(self, stack)

    monkeypatch.setattr(store.Store, "settled", settled)
    interleaved.run(trials("xyz", 1), made, Listener())
    assert [folder.name for folder in reads] == ["A", "B"]
    log.clear()
    done = interleaved.run(trials("xyz", 1), made, Listener())
    assert order(log) == ""
    assert [row.spec for row in done["B"].settled] == trials("xyz", 1)
