import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import STACK, make_probe, make_result, make_spec

from bench.costs import CostSpec
from bench.errors import StoreError
from bench.progress import Progress
from bench.records import Backbone, Freeze, Stack, Status, TrialResult, TrialSpec
from bench.running import interleaved, jobs, runner, slimming, store
from bench.running.jobs import Job
from bench.running.local_fleet import REST_SECONDS, LocalFleet
from bench.running.messages import Finished, Share, Shared

TRIALS = tuple(make_spec(seed=seed) for seed in range(4))
OTHER = STACK.model_copy(update={"keras_version": "3.16.0"})


class Fake:
    """An engine that computes a known result, and looks at the store before each trial."""

    def __init__(
        self,
        folder: Path,
        statuses: dict[str, Status] | None = None,
        stack: Stack = STACK,
        interrupted_at: TrialSpec | None = None,
    ) -> None:
        self.stack = stack
        self.executed: list[TrialSpec] = []
        self.shared: list[Share] = []
        self.on_disk_before: list[tuple[str, ...]] = []
        self._file = folder / stack.id / store.TRIALS
        self._scratch = folder
        self._statuses, self._interrupted_at = statuses or {}, interrupted_at

    def execute(self, spec: TrialSpec, report: Callable[[Progress], None]) -> Finished:
        lines = self._file.read_bytes().splitlines() if self._file.exists() else []
        self.on_disk_before.append(tuple(store.parse_line(line).key for line in lines))
        report(Progress(stage="phase 1", epoch=1, epochs=2))
        if spec == self._interrupted_at:
            raise KeyboardInterrupt
        report(Progress(stage="phase 1", epoch=2, epochs=2))
        self.executed.append(spec)
        path = self._scratch / f"{spec.key}.npz"
        np.savez(path, probabilities=np.full(3, spec.seed))
        return Finished(result=self._result(spec), predictions=path)

    def share(self, step: Share, report: Callable[[Progress], None]) -> Shared:
        self.shared.append(step)
        report(Progress(stage=step.stage))
        return Shared(seconds=0.1, built={step.stage: 1})

    def close(self) -> None: ...

    def _result(self, spec: TrialSpec) -> TrialResult:
        status = self._statuses.get(spec.key, "ok")
        return make_result(spec, status=status, stack=self.stack, test_accuracy=spec.seed / 10)


class Heard:
    """A listener that notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        self.calls.append(("begins", stack.id, trials, settled))

    def trial_begins(self, spec: TrialSpec) -> None:
        self.calls.append(("trial begins", spec.seed))

    def progress(self, spec: TrialSpec, progress: Progress) -> None:
        self.calls.append(("progress", spec.seed, progress.epoch))

    def trial_ends(self, result: TrialResult) -> None:
        self.calls.append(("trial ends", result.spec.seed, result.predictions is not None))

    def step_begins(self, job: Job) -> None:
        self.calls.append(("step begins", job.stage))

    def step_goes_on(self, job: Job, progress: Progress) -> None:
        self.calls.append(("step goes on", job.stage))

    def step_ends(self, job: Job, shared: Shared) -> None:
        self.calls.append(("step ends", job.stage, dict(shared.built)))

    def trial_is_lost(self, spec: TrialSpec) -> None:
        self.calls.append(("trial is lost", spec.seed))

    def noted(self, text: str) -> None:
        self.calls.append(("noted", text))


def run(
    folder: Path, engine: Fake, trials: Sequence[TrialSpec] = TRIALS, heard: Heard | None = None
) -> runner.Summary:
    with store.writing(folder) as held:
        return runner.run(trials, held, engine, heard or Heard())


def stored(folder: Path) -> tuple[TrialResult, ...]:
    seen = store.read(folder)
    assert seen.problems == ()
    return seen.rows


def test_every_trial_runs_in_order_and_is_on_disk_before_the_next(tmp_path: Path) -> None:
    engine = Fake(tmp_path)
    summary = run(tmp_path, engine)
    keys = tuple(t.key for t in TRIALS)
    assert engine.executed == list(TRIALS)
    assert engine.on_disk_before == [keys[:i] for i in range(len(keys))]
    assert tuple(map(slimming.outlined, stored(tmp_path))) == summary.measured
    assert tuple(r.key for r in summary.measured) == keys
    assert summary.settled == ()
    assert summary.all_ok


def test_the_listener_hears_everything_in_order(tmp_path: Path) -> None:
    run(tmp_path, Fake(tmp_path), TRIALS[:1])
    heard = Heard()
    run(tmp_path, Fake(tmp_path), TRIALS[:3], heard)
    assert heard.calls == [
        ("begins", STACK.id, 3, 1),
        ("trial begins", 1),
        ("progress", 1, 1),
        ("progress", 1, 2),
        ("trial ends", 1, True),
        ("trial begins", 2),
        ("progress", 2, 1),
        ("progress", 2, 2),
        ("trial ends", 2, True),
    ]


def test_a_listener_told_of_the_end_finds_the_row_on_disk(tmp_path: Path) -> None:
    class Reader(Heard):
        def trial_ends(self, result: TrialResult) -> None:
            assert stored(tmp_path)[-1] == result
            super().trial_ends(result)

    heard = Reader()
    run(tmp_path, Fake(tmp_path), heard=heard)
    assert len([c for c in heard.calls if c[0] == "trial ends"]) == len(TRIALS)


def test_a_rerun_measures_nothing_again(tmp_path: Path) -> None:
    first = run(tmp_path, Fake(tmp_path))
    engine = Fake(tmp_path)
    again = run(tmp_path, engine)
    assert engine.executed == []
    assert again == runner.Summary((), first.measured)
    assert again.all_ok


@pytest.mark.parametrize("status", ["failed", "timeout", "out_of_memory"])
def test_what_failed_is_tried_again(tmp_path: Path, status: Status) -> None:
    first = run(tmp_path, Fake(tmp_path, {TRIALS[1].key: status}))
    assert not first.all_ok
    engine = Fake(tmp_path)
    again = run(tmp_path, engine)
    assert engine.executed == [TRIALS[1]]
    assert again.all_ok
    assert [r.status for r in stored(tmp_path)] == ["ok"] * len(TRIALS)


@pytest.mark.parametrize("status", ["diverged", "skipped"])
def test_what_would_end_the_same_way_is_kept(tmp_path: Path, status: Status) -> None:
    run(tmp_path, Fake(tmp_path, {TRIALS[1].key: status}))
    engine = Fake(tmp_path)
    again = run(tmp_path, engine)
    assert engine.executed == []
    assert not again.all_ok
    assert again.settled[1].status == status


def test_rows_of_another_stack_do_not_count_as_done(tmp_path: Path) -> None:
    run(tmp_path, Fake(tmp_path))
    engine = Fake(tmp_path, stack=OTHER)
    summary = run(tmp_path, engine)
    assert engine.executed == list(TRIALS)
    assert summary.settled == ()
    assert len(stored(tmp_path)) == 2 * len(TRIALS)


def test_new_trials_of_a_grown_suite_are_all_that_runs(tmp_path: Path) -> None:
    run(tmp_path, Fake(tmp_path))
    new = make_spec(Freeze(strategy="all"))
    engine = Fake(tmp_path)
    summary = run(tmp_path, engine, (TRIALS[2], new, TRIALS[0]))
    assert engine.executed == [new]
    assert [r.key for r in summary.settled] == [TRIALS[2].key, TRIALS[0].key]


@pytest.mark.parametrize("at", range(len(TRIALS)))
def test_after_an_interrupt_the_rerun_does_the_rest(tmp_path: Path, at: int) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    run(undisturbed, Fake(undisturbed))
    expected = stored(undisturbed)
    with pytest.raises(KeyboardInterrupt):
        run(disturbed, Fake(disturbed, interrupted_at=TRIALS[at]))
    if at:
        assert stored(disturbed) == expected[:at]
    engine = Fake(disturbed)
    run(disturbed, engine)
    assert engine.executed == list(TRIALS[at:])
    assert stored(disturbed) == expected
    for row in expected:
        assert row.predictions is not None
        one, other = (
            np.load(folder / STACK.id / row.predictions)["probabilities"]
            for folder in (undisturbed, disturbed)
        )
        np.testing.assert_array_equal(one, other)


def test_a_row_that_cannot_be_written_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = store.Store.append

    def full(held: store.Store, row: TrialResult, predictions: Path | None) -> TrialResult:
        if row.spec == TRIALS[2]:
            raise StoreError("no space left")
        return append(held, row, predictions)

    monkeypatch.setattr(store.Store, "append", full)
    engine = Fake(tmp_path)
    with pytest.raises(StoreError, match="no space left"):
        run(tmp_path, engine)
    assert engine.executed == list(TRIALS[:3])
    assert [r.key for r in stored(tmp_path)] == [t.key for t in TRIALS[:2]]


def test_no_trials_make_an_empty_summary(tmp_path: Path) -> None:
    heard = Heard()
    assert run(tmp_path, Fake(tmp_path), (), heard) == runner.Summary((), ())
    assert heard.calls == [("begins", STACK.id, 0, 0)]


# --------------------------------------------------------------------------------- side by side

A_FEW_SECONDS = 20.0
"""Far longer than anything here takes, on a busy machine."""
DATASETS = ("digits", "beans", "tf_flowers", "stanford_dogs")
MIXED = tuple(make_spec(seed=seed, dataset=name) for seed in range(3) for name in DATASETS)
"""Twelve trials on four grounds, in turns."""


class Mate(Fake):
    """One of several engines; what it does meanwhile is the test's."""

    def __init__(
        self,
        folder: Path,
        meanwhile: Callable[[TrialSpec], object] = lambda _: None,
        statuses: dict[str, Status] | None = None,
    ) -> None:
        super().__init__(folder, statuses)
        self._meanwhile = meanwhile
        self.closed = threading.Event()

    def execute(self, spec: TrialSpec, report: Callable[[Progress], None]) -> Finished:
        self.closed.clear()  # while it had nothing to do, it was let go of
        self._meanwhile(spec)
        return super().execute(spec, report)

    def close(self) -> None:
        self.closed.set()


def together(
    folder: Path,
    engines: Sequence[Fake],
    trials: Sequence[TrialSpec] = MIXED,
    heard: Heard | None = None,
) -> runner.Summary:
    with store.writing(folder) as held:
        told = heard or Heard()
        return runner.run_on(trials, held, LocalFleet(engines), told, seconds=lambda _: 1.0)


def test_groups_are_grounds_in_the_order_of_their_first_trial() -> None:
    found = interleaved.groups(MIXED)
    assert [[(t.data.dataset.name, t.seed) for t in group] for group in found] == [  # type: ignore[union-attr]
        [(name, seed) for seed in range(3)] for name in DATASETS
    ]
    random = Backbone(name="MobileNetV2", weights="random")
    alone = [t.model_copy(update={"backbone": random}) for t in TRIALS]
    assert interleaved.groups(alone) == [[t] for t in alone], "each seed has weights of its own"


def test_groups_of_measurements_are_backbones() -> None:
    one, other = (Backbone(name=name) for name in ("MobileNetV2", "ResNet50"))
    costs = [
        CostSpec(backbone=backbone, workload="inference", image_size=size)
        for size in (96, 160)
        for backbone in (one, other)
    ]
    assert interleaved.groups(costs) == [[costs[0], costs[2]], [costs[1], costs[3]]]


def test_a_probe_goes_with_trials_on_its_ground() -> None:
    probe = make_probe().spec
    alike, other = probe.trials[1], MIXED[0]
    assert interleaved.groups([probe, other, alike]) == [[probe, alike], [other]]


def test_two_engines_work_at_the_same_time(tmp_path: Path) -> None:
    # Nobody passes alone: each trial waits until the other engine is in one, too.
    both = threading.Barrier(2, timeout=A_FEW_SECONDS)
    engines = [Mate(tmp_path, lambda _: both.wait()) for _ in range(2)]
    trials = [t for t in MIXED if t.data.dataset.name in DATASETS[:2]]
    assert together(tmp_path, engines, trials).all_ok
    assert [len(e.executed) for e in engines] == [3, 3]


def test_a_group_stays_on_one_engine_and_every_row_is_stored_once(tmp_path: Path) -> None:
    engines = [Mate(tmp_path) for _ in range(3)]
    summary = together(tmp_path, engines)
    where = [(i, t.data.dataset.name) for i, e in enumerate(engines) for t in e.executed]
    assert len(set(where)) == len(DATASETS)
    for engine in engines:
        seeds = [t.seed for t in engine.executed]
        assert seeds == [0, 1, 2] * (len(seeds) // 3), "one group after the other"
    assert sorted(r.key for r in stored(tmp_path)) == sorted(t.key for t in MIXED)
    assert sorted(r.key for r in summary.measured) == sorted(t.key for t in MIXED)
    (file,) = tmp_path.rglob(store.TRIALS)
    assert len(file.read_bytes().splitlines()) == len(MIXED)
    assert all(e.closed.is_set() for e in engines)


def test_one_thread_writes_and_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, threads = store.Store.append, set()

    def noted(held: store.Store, row: TrialResult, predictions: Path | None) -> object:
        threads.add(threading.get_ident())
        return append(held, row, predictions)

    class Careful(Heard):
        def trial_begins(self, spec: TrialSpec) -> None:
            threads.add(threading.get_ident())
            super().trial_begins(spec)

        def progress(self, spec: TrialSpec, progress: Progress) -> None:
            threads.add(threading.get_ident())
            super().progress(spec, progress)

    monkeypatch.setattr(store.Store, "append", noted)
    heard = Careful()
    together(tmp_path, [Mate(tmp_path), Mate(tmp_path)], heard=heard)
    assert threads == {threading.get_ident()}
    trials = [call for call in heard.calls if not str(call[0]).startswith("step")]
    assert len(trials) == 1 + 4 * len(MIXED)
    assert heard.calls[0] == ("begins", STACK.id, len(MIXED), 0)


def test_what_shared_steps_took_counts_once_in_the_first_trial_that_waits(tmp_path: Path) -> None:
    trials = [t for t in MIXED if t.data.dataset.name == DATASETS[0]]
    summary = together(tmp_path, [Mate(tmp_path), Mate(tmp_path)], trials)
    steps = sum(summary.built.values())
    assert summary.built == {"images": 1, "activations": steps - 2, "heads": 1}
    rows = {row.key: row for row in stored(tmp_path)}
    alone = make_result(trials[0]).seconds
    assert rows[trials[0].key].seconds == pytest.approx(alone + 0.1 * (steps - 1))
    assert rows[trials[0].key].pictures_seconds == pytest.approx(0.1)
    assert [rows[t.key].seconds for t in trials[1:]] == [alone, alone]
    assert [rows[t.key].pictures_seconds for t in trials[1:]] == [0.0, 0.0]


def test_pictures_that_cannot_be_decoded_are_tried_once_and_by_each_trial(tmp_path: Path) -> None:
    class Blind(Mate):
        def share(self, step: Share, report: Callable[[Progress], None]) -> Shared:
            shared = super().share(step, report)
            if step.spec.data.dataset.name != DATASETS[1]:
                return shared
            return Shared(seconds=0.1, reason="none of its pictures can be read")

    engines = [Blind(tmp_path), Blind(tmp_path)]
    summary = together(tmp_path, engines)
    assert sorted(r.key for r in summary.measured) == sorted(t.key for t in MIXED)
    stages = [s.stage for e in engines for s in e.shared if s.spec.data.dataset.name == DATASETS[1]]
    assert stages == ["images"], "without pictures there are no passes and no heads"


def test_a_rerun_side_by_side_measures_what_is_left(tmp_path: Path) -> None:
    run(tmp_path, Fake(tmp_path), MIXED[:7])
    engines = [Mate(tmp_path), Mate(tmp_path)]
    summary = together(tmp_path, engines)
    assert sorted(t.key for e in engines for t in e.executed) == sorted(t.key for t in MIXED[7:])
    assert [r.key for r in summary.settled] == [t.key for t in MIXED[:7]]


def test_what_fails_side_by_side_costs_one_trial(tmp_path: Path) -> None:
    statuses: dict[str, Status] = {MIXED[5].key: "failed"}
    summary = together(tmp_path, [Mate(tmp_path, statuses=statuses) for _ in range(2)])
    assert [r.key for r in summary.measured if r.status != "ok"] == [MIXED[5].key]
    assert len(stored(tmp_path)) == len(MIXED)


def test_an_interrupt_ends_every_engine_and_keeps_what_was_finished(tmp_path: Path) -> None:
    class Interrupting(Heard):
        def trial_ends(self, result: TrialResult) -> None:
            raise KeyboardInterrupt

    def stuck(_: TrialSpec) -> None:
        busy.set()
        assert engines[1].closed.wait(A_FEW_SECONDS), "nobody ended it"

    busy = threading.Event()
    failing: dict[str, Status] = {t.key: "failed" for t in MIXED}
    engines = [
        Mate(tmp_path, lambda _: busy.wait(A_FEW_SECONDS)),
        Mate(tmp_path, stuck, statuses=failing),
    ]
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        together(tmp_path, engines, heard=Interrupting())
    assert threading.active_count() == before
    assert all(e.closed.is_set() for e in engines)
    kept = [row.spec for row in stored(tmp_path)]
    assert kept == engines[0].executed[: len(kept)] != []
    assert len(engines[1].executed) == 1
    assert engines[1].executed[0] not in kept, "what it was told to end is no result"


def test_an_engine_with_nothing_to_do_is_let_go_of_after_a_while(tmp_path: Path) -> None:
    engine, (job, *_) = Mate(tmp_path), jobs.of(TRIALS, literal=True)
    fleet, clock = LocalFleet([engine]), [0.0]
    fleet.now = lambda: clock[0]  # type: ignore[method-assign]
    with fleet:
        fleet.rest("1")
        clock[0] = REST_SECONDS - 1
        fleet.rest("1")
        assert not engine.closed.is_set(), "its next job would have to start another process"
        fleet.start("1", job)
        clock[0] += 2
        fleet.rest("1")
        assert not engine.closed.is_set(), "it has worked meanwhile"
        clock[0] += REST_SECONDS
        fleet.rest("1")
        assert engine.closed.is_set()


def test_a_defect_of_one_engine_is_raised_and_ends_the_other(tmp_path: Path) -> None:
    def stuck(_: TrialSpec) -> None:
        busy.set()
        assert engines[1].closed.wait(A_FEW_SECONDS), "nobody ended it"

    def defect(_: TrialSpec) -> None:
        busy.wait(A_FEW_SECONDS)
        raise ZeroDivisionError

    busy = threading.Event()
    engines = [Mate(tmp_path, defect), Mate(tmp_path, stuck)]
    with pytest.raises(ZeroDivisionError):
        together(tmp_path, engines)
    (kept,) = store.read(tmp_path).rows  # complete, though its engine was being ended
    assert kept.spec in engines[1].executed


def test_a_row_is_on_disk_before_anybody_is_told_of_its_notes(tmp_path: Path) -> None:
    class Remarking(Fake):
        def execute(self, spec: TrialSpec, report: Callable[[Progress], None]) -> Finished:
            return super().execute(spec, report).model_copy(update={"notes": ("no room",)})

    class Gone(Heard):
        """Whose reader has left."""

        def noted(self, text: str) -> None:
            raise SystemExit(1)

    with pytest.raises(SystemExit):
        together(tmp_path, [Remarking(tmp_path)], TRIALS[:1], Gone())
    assert [row.key for row in stored(tmp_path)] == [TRIALS[0].key]


def test_rows_that_no_longer_stand_are_measured_again(tmp_path: Path) -> None:
    with store.writing(tmp_path) as held:
        runner.run(TRIALS, held, Fake(tmp_path), Heard())
    again = Fake(tmp_path)
    with store.writing(tmp_path) as held:
        summary = runner.run(TRIALS, held, again, Heard(), lambda row: row.spec.seed != 2)
    assert again.executed == [TRIALS[2]]
    assert [r.spec.seed for r in summary.settled] == [0, 1, 3]
    assert len(store.read(tmp_path).rows) == 4


def test_what_finished_before_an_interruption_is_stored(tmp_path: Path) -> None:
    finished = threading.Event()

    class Prompt(Fake):
        """Has its row ready before anybody looks."""

        def execute(self, spec: TrialSpec, report: Callable[[Progress], None]) -> Finished:
            answer = super().execute(spec, lambda _: None)
            finished.set()
            return answer

    class Interrupted(Heard):
        """At the second trial, while the first has ended unheard."""

        def trial_begins(self, spec: TrialSpec) -> None:
            if [call for call in self.calls if call[0] == "trial begins"]:
                finished.wait(10)
                time.sleep(0.2)  # the thread that finished hands over what it has
                raise KeyboardInterrupt
            super().trial_begins(spec)

    engines = [Prompt(tmp_path), Prompt(tmp_path)]
    with pytest.raises(KeyboardInterrupt), store.writing(tmp_path) as held:
        runner.run_on(TRIALS[:2], held, LocalFleet(engines), Interrupted(), literal=True)
    assert [row.key for row in store.read(tmp_path).rows] == [TRIALS[0].key]
