"""A run whose next task depends on its rows: budgets, interruption, what is kept."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import make_spec
from worlds import HEAD, TOP, World, label, question

from bench.costs import CostSpec
from bench.progress import Progress
from bench.records import Execution, Stack, TrialSpec
from bench.running import adaptive, runner, store
from bench.running.adaptive import Deadline, Next
from bench.running.messages import Finished, Setup
from bench.settings import Settings
from bench.tasks import Row, Spec


class Heard:
    """A listener that notes what begins and ends."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def begins(self, stack: Stack, trials: int, settled: int) -> None: ...

    def progress(self, spec: Spec, progress: Progress) -> None: ...

    def trial_begins(self, spec: Spec) -> None:
        self.calls.append(("begins", label(spec)))

    def trial_ends(self, result: Row) -> None:
        self.calls.append(("ends", label(result.spec)))


ASKED = question({("A", HEAD): 0.8, ("A", TOP): 0.85})
WORLD = {("A", HEAD): 0.8, ("A", TOP): 0.85}


def in_order(*specs: Spec, seconds: float | None = None) -> adaptive.Policy:
    """Wants these, one after another, as long as they have no row."""

    def ask(rows: Sequence[Row], left: float | None) -> Next | None:
        done = {row.key for row in rows}
        return next((Next(s, seconds) for s in specs if s.key not in done), None)

    return ask


def run(
    folder: Path,
    engine: runner.Engine,
    policy: adaptive.Policy,
    settled: Sequence[Row] = (),
    budget: Deadline | None = None,
    heard: Heard | None = None,
) -> adaptive.Ending:
    listener = heard or Heard()
    with store.writing(folder) as held:
        return adaptive.run(policy, settled, held, engine, listener, budget or Deadline(None))


def test_it_runs_what_the_policy_asks_for_and_stores_every_row(tmp_path: Path) -> None:
    world, heard = World(WORLD), Heard()
    ending = run(tmp_path, world, in_order(ASKED.probes[0], *ASKED.trials[:2]), heard=heard)
    assert heard.calls[:3] == [
        ("begins", "probe A"),
        ("ends", "probe A"),
        ("begins", "A head_only 0"),
    ]
    assert ending.why == "enough"
    assert world.executed == ["probe A", "A head_only 0", "A head_only 1"]
    kept = store.read(tmp_path)
    assert [r.key for r in (*kept.probes, *kept.rows)] == [r.key for r in ending.rows]


def test_the_policy_is_given_rows_of_earlier_runs_and_what_is_left(tmp_path: Path) -> None:
    world = World(WORLD)
    earlier = world.row(ASKED.trials[0])
    asked: list[tuple[int, float | None]] = []

    def ask(rows: Sequence[Row], left: float | None) -> Next | None:
        asked.append((len(rows), left))
        return in_order(*ASKED.trials[:2])(rows, left)

    run(tmp_path, world, ask, [earlier], Deadline(100.0, world.clock))
    assert world.executed == ["A head_only 1"]
    assert asked == [(1, 100.0), (2, 97.0)]


def test_nothing_runs_twice_whatever_the_policy_wants(tmp_path: Path) -> None:
    world = World(WORLD)
    ending = run(tmp_path, world, lambda rows, left: Next(ASKED.trials[0]))
    assert world.executed == ["A head_only 0"]
    assert ending.why == "enough"


def test_an_interruption_ends_the_task_and_keeps_the_rest(tmp_path: Path) -> None:
    world = World(WORLD, interrupt="A head_only 1")
    ending = run(tmp_path, world, in_order(*ASKED.trials[:3]))
    assert ending.why == "interrupted"
    assert [r.key for r in ending.rows] == [ASKED.trials[0].key]
    assert world.closed == 1
    assert len(store.read(tmp_path).rows) == 1


class Slow(World):
    """Tasks last until somebody ends their worker, as a hanging one would."""

    def execute(
        self,
        spec: Spec,
        report: Callable[[Progress], None],
        turn: object = None,
        save: Path | None = None,
    ) -> Finished:
        until, before = time.monotonic() + 20, self.closed
        while self.closed == before and time.monotonic() < until:
            time.sleep(0.01)
        self.statuses = {label(spec): "failed"}
        return super().execute(spec, report)


def test_a_probe_that_takes_too_long_is_a_row_that_says_so(tmp_path: Path) -> None:
    engine = Slow(WORLD)
    ending = run(tmp_path, engine, in_order(ASKED.probes[0], seconds=0.05))
    (row,) = ending.rows
    assert (row.status, engine.closed) == ("timeout", 1)
    assert "given up after 0 s: too slow for the time there was" in row.reason


def test_a_trial_that_takes_too_long_leaves_no_row(tmp_path: Path) -> None:
    engine, asked = Slow(WORLD), []

    def once(rows: Sequence[Row], left: float | None) -> Next | None:
        asked.append(left)
        return Next(ASKED.trials[0], 0.05) if len(asked) == 1 else None

    ending = run(tmp_path, engine, once, budget=Deadline(100.0))
    assert ending.rows == ()
    assert len(asked) == 2
    assert not list(tmp_path.rglob("*.jsonl"))


def test_nothing_is_measured_past_the_budget(tmp_path: Path) -> None:
    engine = Slow(WORLD)
    began = time.monotonic()

    def ask(rows: Sequence[Row], left: float | None) -> Next | None:
        return Next(ASKED.probes[0], left) if left else None

    ending = run(tmp_path, engine, ask, budget=Deadline(0.2))
    assert ending.rows == ()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("spent", "left"), [(0.0, 10.0), (4.0, 6.0), (11.0, 0.0)])
def test_a_deadline_counts_from_when_it_was_made(spent: float, left: float) -> None:
    world = World(WORLD)
    deadline = Deadline(10.0, world.clock)
    world.now = spent
    assert (deadline.spent, deadline.left) == (spent, left)
    assert Deadline(None, world.clock).left is None


def test_costs_have_an_engine_of_their_own_and_never_run_beside_trials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Setup] = []

    class Fake(World):
        environment = None

        def __init__(self, setup: Setup, seconds: float | None = None, wait: bool = True) -> None:
            super().__init__(WORLD)
            made.append(setup)
            events.append(f"open {setup.execution.deterministic}")

        def execute(self, spec: Spec, *more: object, **named: object) -> Finished:  # type: ignore[override]
            events.append(type(spec).__name__)
            return Finished(result=self.row(spec))

        def close(self) -> None:
            events.append("close")

    events: list[str] = []
    monkeypatch.setattr(adaptive, "LocalEngine", Fake)
    setup = Setup(
        settings=Settings(cache=tmp_path),
        folder=tmp_path,
        scratch=tmp_path,
        execution=Execution(deterministic=True),
    )
    switch = adaptive.Switch(setup)
    cost = CostSpec(backbone=ASKED.trials[0].backbone, workload="inference")
    for spec in (ASKED.trials[0], ASKED.trials[1], cost, make_spec()):
        assert isinstance(spec, TrialSpec | CostSpec)
        if spec.backbone.name == "A":
            switch.execute(spec, lambda _: None)
    assert events == ["open True", "TrialSpec", "TrialSpec", "close", "open False", "CostSpec"]
    assert made[1].timed_seconds == adaptive.TIMED_SECONDS
