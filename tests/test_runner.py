from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import STACK, make_result, make_spec

from bench.errors import StoreError
from bench.records import Freeze, Progress, Stack, Status, TrialResult, TrialSpec
from bench.running import runner, store
from bench.running.messages import Finished

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

    def progress(self, progress: Progress) -> None:
        self.calls.append(("progress", progress.epoch))

    def trial_ends(self, result: TrialResult) -> None:
        self.calls.append(("trial ends", result.spec.seed, result.predictions is not None))


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
    assert stored(tmp_path) == summary.measured
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
        ("progress", 1),
        ("progress", 2),
        ("trial ends", 1, True),
        ("trial begins", 2),
        ("progress", 1),
        ("progress", 2),
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
    expected = run(undisturbed, Fake(undisturbed)).measured
    with pytest.raises(KeyboardInterrupt):
        run(disturbed, Fake(disturbed, interrupted_at=TRIALS[at]))
    if at:
        assert stored(disturbed) == expected[:at]
    engine = Fake(disturbed)
    run(disturbed, engine)
    assert engine.executed == list(TRIALS[at:])
    assert stored(disturbed) == expected == stored(undisturbed)
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
