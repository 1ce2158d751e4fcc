"""What engines add to a step: that all of it is run, counted from when workers are there."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import STACK

from bench.errors import BenchError
from bench.running.fleets import Ended, Event, Joined, Worker
from bench.running.jobs import Job
from bench.running.messages import Finished, Shared
from benchmarks import engine_overhead, idle_worker
from benchmarks.engine_overhead import SIDES, Gathered


@pytest.mark.parametrize("name", [name for name in SIDES if "Ray" not in name])
def test_idle_workers_of_this_machine_need_milliseconds(name: str, tmp_path: Path) -> None:
    _, run = SIDES[name]
    started, each = run(engine_overhead._setup(tmp_path), 20)
    assert 0 < each < 0.1, "a process that started anew for each would need more"
    assert 0 < started < 30


class Slow:
    """A fleet whose workers come late, and do their jobs at once."""

    stack = STACK

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.started: list[str] = []
        self.waits = 0

    def __enter__(self) -> "Slow":
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, worker: str, job: Job) -> None:
        self.started.append(worker)
        outcome: Finished | Shared = Shared(seconds=0.0)
        if job.stage == "task":
            outcome = Finished(result=idle_worker.run_trial(job.work)[0])  # type: ignore[arg-type]
        self.events.append(Ended(worker, job, outcome))

    def next(self, seconds: float) -> Event | None:
        self.waits += 1
        if self.waits in (3, 6):
            return Joined(Worker(f"w{self.waits}"))
        return self.events.pop(0) if self.events else None

    def want(self, workers: int) -> None: ...

    def rest(self, worker: str) -> None: ...

    def unheard(self) -> Iterator[Ended]:
        yield from ()

    def now(self) -> float:
        return 0.0


def test_work_begins_when_all_workers_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Slow()
    with Gathered(fleet, 2) as gathered:
        assert fleet.waits == 6
        assert [gathered.next(0.0), gathered.next(0.0)] == [
            Joined(Worker("w3")),
            Joined(Worker("w6")),
        ]
        assert gathered.next(0.0) is None
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with pytest.raises(BenchError, match="2 of 3 workers after 120 s"), Gathered(Slow(), 3):
        pass


def test_the_report_in_the_repository_says_what_ray_costs() -> None:
    report = engine_overhead.read(engine_overhead.OUTPUT)
    assert [side.name for side in report.sides] == list(SIDES)
    shown = engine_overhead.document(report, "github")
    assert f"Ray {report.ray_version}" in shown
    by_name = {side.name: sorted(side.each)[len(side.each) // 2] for side in report.sides}
    assert by_name["Ray, 1 worker"] > by_name["local fleet, 1 worker"]
    assert by_name["Ray, 1 worker"] < 0.05, "nothing to mind in trials of seconds"
    with pytest.raises(BenchError, match=r"expected a file of benchmarks.engine_overhead"):
        engine_overhead.read(Path("README.md"))
