"""``bench measure``, and ``bench show`` of its rows, with an engine of straw."""

from pathlib import Path

import pytest
from conftest import STACK, Bench, make_cost, make_result, refused

from bench.costs import CostSpec
from bench.errors import WorkerError
from bench.running import isolation, store
from bench.running.doubts import Disk
from bench.running.messages import Finished, Setup
from bench.tasks import Row


class Engine:
    """Measures whatever it is asked for at once."""

    stack = STACK
    changes: dict[str, object] = {}
    setups: list[tuple[Setup, float | None]] = []
    asked: list[CostSpec] = []

    def __init__(self, setup: Setup, seconds: float | None, *_: object) -> None:
        self.setups.append((setup, seconds))
        self._setup = setup

    def execute(self, spec: CostSpec, report: object) -> Finished:
        self.asked.append(spec)
        timed = {"timed_seconds": self._setup.timed_seconds}
        row: Row = make_cost(spec, **timed, **self.changes)
        return Finished(result=row)

    def wait(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    monkeypatch.setattr(isolation, "LocalEngine", Engine)
    for name, empty in (("changes", {}), ("setups", []), ("asked", [])):
        monkeypatch.setattr(Engine, name, empty)
    return Engine


def test_a_dry_run_prints_what_would_be_measured(bench: Bench, tmp_path: Path) -> None:
    answer = bench("measure", "VGG16", "--mode", "best", "--dry-run", "--results", tmp_path / "r")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        f"VGG16 · 224 px · {work} · batch 32 · best"
        for work in ("inference", "phase 1", "phase 2 top_blocks=2", "phase 2 all")
    ]
    assert not (tmp_path / "r").exists()


def test_backbones_are_measured_shown_and_kept(
    bench: Bench,
    tmp_path: Path,
    engine: type[Engine],
) -> None:
    words = ("measure", "VGG16", "ResNet50", "--seconds", "2", "--results", tmp_path / "r")
    answer = bench(*words)
    assert answer.code == 0
    assert "measure: 8 measurements" in answer.out
    assert "[8/8] ResNet50 · 224 px · phase 2 all · batch 32 · default · 100 images/s" in answer.out
    assert "inference, images/s" in answer.out
    assert answer.out.endswith(f"results: {tmp_path / 'r' / 'measure'}\n")
    assert len(store.read(tmp_path / "r").costs) == 8
    again = bench(*words)
    assert "8 measurements, 8 measured before" in again.out
    assert len(engine.asked) == 8
    longer = bench("measure", "VGG16", "--seconds", "5", "--results", tmp_path / "r")
    assert "measure: 4 measurements ·" in longer.out
    assert "bench: 4 other rows not shown" in longer.err
    kept = bench("measure", "VGG16", "--seconds", "5", "--results", tmp_path / "r")
    assert "4 measurements, 4 measured before" in kept.out


def test_the_worker_is_told_how_to_measure(
    bench: Bench,
    tmp_path: Path,
    engine: type[Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    words = ("--precision", "mixed_float16", "--seconds", "2", "--batch-size", "largest")
    assert bench("measure", "VGG16", *words, "--results", tmp_path).code == 0
    ((setup, seconds),) = engine.setups
    assert (setup.execution.precision, setup.execution.deterministic) == ("mixed_float16", False)
    assert (setup.timed_seconds, setup.gpu, seconds) == (2.0, "3", 3600.0)
    assert {spec.batch_size for spec in engine.asked} == {None}


def test_a_suite_gives_its_backbones_and_strategies(
    bench: Bench,
    suite: Path,
    tmp_path: Path,
    engine: type[Engine],
) -> None:
    assert bench("measure", suite, "--results", tmp_path / "r").code == 0
    assert [s.work for s in engine.asked] == ["inference", "phase 1", "phase 2 all"]
    assert (tmp_path / "r" / "small" / STACK.id / "costs.jsonl").is_file()


def test_what_is_in_doubt_is_measured_again_where_asked(
    bench: Bench,
    tmp_path: Path,
    engine: type[Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("measure", "VGG16", "--only", "inference", "--results", tmp_path)
    monkeypatch.setattr(engine, "changes", {"elsewhere": 0.4})
    assert "100 (98.0–102) ?" in bench(*words).out
    monkeypatch.setattr(engine, "changes", {})
    assert "100 (98.0–102) ?" in bench(*words).out
    assert "100 (98.0–102) ?" not in bench(*words, "--again").out
    assert len(engine.asked) == 2


def test_a_measurement_without_a_result_ends_with_1(
    bench: Bench,
    tmp_path: Path,
    engine: type[Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = {"status": "out_of_memory", "reason": "no room", "device": None}
    monkeypatch.setattr(engine, "changes", failed)
    answer = bench("measure", "VGG16", "--only", "inference", "--results", tmp_path)
    assert answer.code == 1
    assert "out_of_memory: no room" in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["VGG61"], "'VGG61': expected a suite or a backbone; did you mean VGG19 or VGG16"),
        (["VGG16", "nosuch.toml"], "'nosuch.toml': expected a suite or a backbone"),
        (["nosuch.toml"], "nosuch.toml: expected a file that exists"),
        (["VGG16", "--batch-size", "0"], "--batch-size '0': expected a number from 1 on"),
        (["VGG16", "--only", "nothing"], "--only 'nothing': nothing of this suite matches"),
    ],
)
def test_wrong_input_is_one_line(
    bench: Bench,
    words: list[str],
    said: str,
    tmp_path: Path,
) -> None:
    assert said in refused(bench("measure", *words, "--results", tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_worker_that_cannot_start_is_one_line(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise WorkerError("a worker process could not start: no Keras")

    monkeypatch.setattr(isolation, "LocalEngine", broken)
    answer = bench("measure", "VGG16", "--results", tmp_path)
    assert answer.code == 2
    assert answer.err.splitlines()[-1].endswith("no Keras")


def test_show_has_trials_costs_and_the_time_to_an_accuracy(
    bench: Bench,
    tmp_path: Path,
) -> None:
    with store.writing(tmp_path / "r") as held:
        held.append(make_result(), None)
        held.append(make_cost(), None)
    shown = bench("show", tmp_path / "r", "--time-to", "0.9").out
    assert "test %" in shown
    assert "epochs to val 90%" in shown
    assert "latency ms" in shown
    assert "between 0.0 and 1.0" not in shown
    assert bench("show", tmp_path / "r", "--time-to", "90").code == 2


def test_several_runs_take_turns_and_are_one_row(
    bench: Bench, tmp_path: Path, engine: type[Engine]
) -> None:
    words = ("measure", "VGG16", "--only", "phase 2", "--results", tmp_path)
    answer = bench(*words, "--runs", "3")
    assert [s.work for s in engine.asked] == ["phase 2 top_blocks=2", "phase 2 all"] * 3
    assert [row.runs for row in store.read(tmp_path).costs] == [3, 3]
    assert "runs" in answer.out
    bench(*words, "--runs", "4")
    assert len(engine.asked) == 8
    bench(*words, "--runs", "4")
    assert len(engine.asked) == 8


def test_a_limit_of_memory_reaches_the_worker_and_nonsense_is_one_error(
    bench: Bench, tmp_path: Path, engine: type[Engine]
) -> None:
    words = ("measure", "VGG16", "--seconds", "2", "--results", tmp_path / "r", "--memory-limit")
    said = refused(bench(*words, "plenty"))
    assert "--memory-limit 'plenty': expected a number above 0 in B, " in said
    assert engine.setups == []
    assert bench(*words, "3GiB").code == 0
    assert {setup.memory_limit for setup, _ in engine.setups} == {3 * 2**30}


def test_a_full_disk_ends_the_measurements_with_one_error_and_keeps_what_there_is(
    bench: Bench, tmp_path: Path, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([10**12] * 6 + [2**20] * 100)
    monkeypatch.setattr(Disk, "free", property(lambda _: next(left)))
    words = ("measure", "VGG16", "--seconds", "2", "--results", tmp_path / "r")
    answer = bench(*words)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "1 MiB are free" in answer.err
    assert "what was measured is kept" in answer.err
    kept = len(store.read(tmp_path / "r").costs)
    assert 0 < kept < 4
    monkeypatch.undo()
    monkeypatch.setattr(isolation, "LocalEngine", Engine)
    again = bench(*words)
    assert again.code == 0
    assert f"4 measurements, {kept} measured before" in again.out
