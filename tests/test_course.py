"""A run on a fleet whose every event is the test's: losses, what is given up, what takes long."""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import STACK, Silence, make_result, make_spec

from bench.progress import Progress
from bench.records import TrialResult
from bench.running import runner, store
from bench.running.dispatching import MOST_LOSSES
from bench.running.fleets import Ended, Event, Joined, Left, Said, Worker
from bench.running.jobs import Job
from bench.running.messages import Finished, Share, Shared
from bench.tasks import Row, Spec

TRIALS = tuple(make_spec(seed=seed) for seed in range(3))
ROW = make_result(TRIALS[0])
Doing = Callable[[str, Job], Event | list[Event]]


def well(worker: str, job: Job) -> Event:
    """What becomes of a job that nothing happens to."""
    if isinstance(job.work, Share):
        return Ended(worker, job, Shared(seconds=0.0, built={job.stage: 1}))
    return Ended(worker, job, Finished(result=make_result(job.work)))


class Scripted:
    """A fleet that does with each job at once what the test says; a second passes with each event.

    Where it has lost a worker, another joins under a new name, as long as jobs are wanted.
    """

    stack = STACK

    def __init__(self, doing: Doing = well, step: float = 1.0) -> None:
        self._doing, self._step, self._clock = doing, step, 0.0
        self._events: deque[Event] = deque([Joined(Worker("1"))])
        self._count = 1
        self.started: list[tuple[str, Job]] = []
        self.ended = False

    def __enter__(self) -> "Scripted":
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True

    def start(self, worker: str, job: Job) -> None:
        self.started.append((worker, job))
        said = self._doing(worker, job)
        for event in said if isinstance(said, list) else [said]:
            self._events.append(event)
            if isinstance(event, Left):
                self._count += 1
                self._events.append(Joined(Worker(str(self._count))))

    def next(self, seconds: float) -> Event | None:
        self._clock += self._step
        assert self._events, "the run waits for ever"
        return self._events.popleft()

    def want(self, workers: int) -> None: ...

    def rest(self, worker: str) -> None: ...

    def unheard(self) -> Iterator[Ended]:
        return iter(())

    def now(self) -> float:
        return self._clock


class Heard(Silence):
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def trial_begins(self, spec: Spec) -> None:
        self.said.append(f"begins {getattr(spec, 'seed', '')}")

    def trial_is_lost(self, spec: Spec) -> None:
        self.said.append(f"lost {getattr(spec, 'seed', '')}")

    def trial_ends(self, result: Row) -> None:
        self.said.append(f"{result.status} {getattr(result.spec, 'seed', '')}")

    def step_ends(self, job: Job, shared: Shared) -> None:
        self.said.append(f"{job.stage} {shared.reason or 'done'}")

    def noted(self, text: str) -> None:
        self.said.append(text)


def run(
    folder: Path, fleet: Scripted, seconds: Callable[[Job], float | None] = lambda _: None
) -> tuple[runner.Summary, Heard, dict[int, TrialResult]]:
    heard = Heard()
    with store.writing(folder) as held:
        summary = runner.run_on(TRIALS, held, fleet, heard, literal=True, seconds=seconds)
    assert fleet.ended
    rows = store.read(folder).rows
    assert sorted(r.key for r in rows) == sorted(t.key for t in TRIALS), "each trial has its row"
    return summary, heard, {row.spec.seed: row for row in rows}


def losing(times: int, of: Callable[[Job], bool]) -> Doing:
    """The workers of a job are lost, so many times."""
    left = [times]

    def doing(worker: str, job: Job) -> Event:
        if of(job) and left[0]:
            left[0] -= 1
            return Left(worker, f"node {times - left[0]} is gone")
        return well(worker, job)

    return doing


def is_second(job: Job) -> bool:
    return job.key == TRIALS[1].key


def test_a_lost_worker_costs_its_trial_another_try_and_no_row(tmp_path: Path) -> None:
    fleet = Scripted(losing(1, is_second))
    summary, heard, _ = run(tmp_path, fleet)
    assert summary.all_ok
    assert [worker for worker, job in fleet.started if is_second(job)] == ["1", "2"]
    told = heard.said[heard.said.index("begins 1") :]
    words = f"worker 1 is lost while it did {TRIALS[1].label}: node 1 is gone"
    assert told[:5] == ["begins 1", words, "lost 1", "begins 1", "ok 1"]


def test_what_loses_three_workers_is_given_up_and_its_row_says_why(tmp_path: Path) -> None:
    fleet = Scripted(losing(MOST_LOSSES, is_second))
    summary, heard, rows = run(tmp_path, fleet)
    assert not summary.all_ok
    assert {seed: row.status for seed, row in rows.items()} == {0: "ok", 1: "failed", 2: "ok"}
    gone = "; ".join(f"node {n} is gone" for n in (1, 2, 3))
    assert rows[1].reason == f"its worker was lost 3 times: {gone}"
    assert heard.said.count("begins 1") == 3
    assert heard.said.count("lost 1") == 2
    assert heard.said.count("failed 1") == 1


def test_a_step_that_is_given_up_fails_every_trial_that_waits_for_it(tmp_path: Path) -> None:
    fleet = Scripted(losing(MOST_LOSSES, lambda job: job.stage == "images"))
    _, heard, rows = run(tmp_path, fleet)
    assert {row.status for row in rows.values()} == {"failed"}
    for row in rows.values():
        assert row.reason.startswith(
            "its worker was lost 3 times (images of digits, which it shares): node 1 is gone; "
        )
    assert len(fleet.started) == 3
    assert [text for text in heard.said if text.startswith("images")] == [
        "images done",
        "images done",
        "images node 3 is gone",
    ]


def test_a_rerun_tries_again_what_was_given_up(tmp_path: Path) -> None:
    run(tmp_path, Scripted(losing(MOST_LOSSES, is_second)))
    summary, _, rows = run(tmp_path, Scripted())
    assert (len(summary.settled), len(summary.measured)) == (2, 1)
    assert {row.status for row in rows.values()} == {"ok"}


def test_a_job_given_to_a_worker_that_was_gone_already_is_not_to_blame(tmp_path: Path) -> None:
    """Each worker does one job and is gone, which shows when it has been given the next."""

    def doing(worker: str, job: Job) -> list[Event]:
        return [well(worker, job), Left(worker, "its node is gone", busy=False)]

    class Tardy(Scripted):
        def start(self, worker: str, job: Job) -> None:
            if worker in [name for name, _ in self.started]:
                return  # too late: what there is to say of it is on its way
            super().start(worker, job)

    fleet = Tardy(doing)
    summary, heard, _ = run(tmp_path, fleet)
    assert summary.all_ok
    assert len(fleet.started) == len(TRIALS) + 1, "nothing was done twice"
    assert "worker 1 is lost: its node is gone" in heard.said


def test_a_worker_that_the_fleet_let_go_is_no_loss(tmp_path: Path) -> None:
    def doing(worker: str, job: Job) -> list[Event]:
        """While the last job runs, one comes that finds nothing to do."""
        idle = [Joined(Worker("idle")), Left("idle", "")] if job.key == TRIALS[2].key else []
        return [*idle, well(worker, job)]

    summary, heard, _ = run(tmp_path, Scripted(doing))
    assert summary.all_ok
    assert heard.said[-2:] == ["begins 2", "ok 2"]


@pytest.mark.parametrize(
    ("expected", "notes"), [(100.0, 1), (1000.0, 0), (None, 0)], ids=["slow", "usual", "unknown"]
)
def test_what_takes_far_longer_than_earlier_rows_did_is_told_of_once(
    tmp_path: Path, expected: float | None, notes: int
) -> None:
    def doing(worker: str, job: Job) -> list[Event]:
        if not is_second(job):
            return [well(worker, job)]
        going = Said(worker, job, Progress(stage="phase 1"))
        return [*[going] * 8, well(worker, job)]

    _, heard, _ = run(tmp_path, Scripted(doing, step=60.0), lambda _: expected)
    slow = [text for text in heard.said if text.startswith("slow")]
    assert len(slow) == notes
    for text in slow:
        assert text == (
            f"slow: {TRIALS[1].label} has been at it for 6.0 min on worker 1; "
            "about 1.7 min were expected"
        )


def test_what_workers_have_to_say_of_the_cache_is_told_once(tmp_path: Path) -> None:
    def doing(worker: str, job: Job) -> Event:
        ended = well(worker, job)
        assert isinstance(ended, Ended)
        said = ended.outcome.model_copy(update={"notes": ("the shared cache is out of reach",)})
        return Ended(worker, job, said)

    _, heard, _ = run(tmp_path, Scripted(doing))
    assert heard.said.count("the shared cache is out of reach") == 1


def test_a_step_that_failed_is_left_to_the_trials(tmp_path: Path) -> None:
    def doing(worker: str, job: Job) -> Event:
        if isinstance(job.work, Share):
            return Ended(worker, job, Shared(seconds=1.0, reason="no such dataset"))
        return well(worker, job)

    summary, heard, _ = run(tmp_path, Scripted(doing))
    assert summary.all_ok
    assert heard.said[0] == "images no such dataset"
