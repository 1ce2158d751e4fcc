"""Histories for TensorBoard, read back with TensorBoard's own reader."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest
from conftest import (
    ROOT,
    STACK,
    SUITE,
    Bench,
    Silence,
    make_dataset,
    make_phase,
    make_result,
    make_spec,
)
from conftest import refused as refusal

from bench.errors import BenchError
from bench.progress import Progress
from bench.records import Freeze, Guard, Stack, TrialResult
from bench.reporting import event_files, tensorboard
from bench.running import runner, store
from bench.running.messages import Finished
from bench.tasks import Row, Spec

REAL = ROOT / "results" / "reference" / "real_small"
START = datetime.fromisoformat("2026-01-01T00:00:00+00:00").timestamp()
HOSTILE = (
    "../../etc",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/../b",
    "C:\\x",
    "<script>",
    "x\0y",
    "~",
    "ü",
)


@pytest.fixture(autouse=True)
def _reads_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard's readers would import TensorFlow; this is how it lets itself be told not to."""
    name = "tensorboard.compat.notf"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))


def accumulated(run: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run)).Reload()


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    found = accumulated(run)
    return {
        tag: [(e.step, pytest.approx(e.value)) for e in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def story(run: Path) -> str:
    (event,) = accumulated(run).Tensors("trial")
    (text,) = event.tensor_proto.string_val
    return text.decode()


def trial(seed: int = 0, **changes: object) -> TrialResult:
    """Two epochs of phase 1 of 10 and 20 s, one of phase 2 of 30 s."""
    first, second = make_phase(0.9), make_phase(0.95, first_epoch=2)
    epoch = first.epochs[0]
    more = epoch.model_copy(update={"index": 1, "loss": 0.4, "seconds": 20.0})
    phases = {
        "phase1": first.model_copy(
            update={"epochs": (epoch.model_copy(update={"seconds": 10.0}), more)}
        ),
        "phase2": second.model_copy(
            update={
                "epochs": (
                    second.epochs[0].model_copy(
                        update={"seconds": 30.0, "learning_rate": 1e-5, "images_per_second": None}
                    ),
                )
            }
        ),
    }
    changes = {"seconds": 70.0, "pictures_seconds": 5.0} | phases | changes
    return make_result(make_spec(seed=seed), **changes)


# ------------------------------------------------------------------------------ curves


def test_curves_are_those_of_keras_callback_and_go_on_over_phases(tmp_path: Path) -> None:
    row = trial()
    assert tensorboard.write([row], tmp_path) == 1
    run = tmp_path / tensorboard.run_of(row)
    assert scalars(run / "train") == {
        "epoch_loss": [(0, 0.5), (1, 0.4), (2, 0.5)],
        "epoch_accuracy": [(0, 0.9), (1, 0.9), (2, 0.95)],
        "epoch_learning_rate": [(0, 1e-3), (1, 1e-3), (2, 1e-5)],
        "epoch_images_per_second": [(0, 300.0), (1, 300.0)],
        "phase": [(0, 1.0), (1, 1.0), (2, 2.0)],
    }
    assert scalars(run / "validation") == {
        "epoch_loss": [(0, 0.6), (1, 0.6), (2, 0.6)],
        "epoch_accuracy": [(0, 0.9), (1, 0.9), (2, 0.95)],
    }
    assert scalars(run) == {"test_accuracy": [(2, 0.94)], "test_loss": [(2, 0.2)]}


def test_wall_times_are_when_epochs_ended(tmp_path: Path) -> None:
    row = trial()
    tensorboard.write([row], tmp_path)
    run = tmp_path / tensorboard.run_of(row)
    times = [e.wall_time - START for e in accumulated(run / "train").Scalars("epoch_loss")]
    assert times == [15.0, 35.0, 65.0]
    (test,) = accumulated(run).Scalars("test_accuracy")
    assert test.wall_time - START == 75.0


def test_the_start_of_phase_2_is_told_in_words_too(tmp_path: Path) -> None:
    row = trial(guards=(Guard(name="no_cliff", passed=False, evidence=""),))
    tensorboard.write([row], tmp_path)
    said = story(tmp_path / tensorboard.run_of(row))
    assert "phase 2 begins at step 2" in said
    assert "guards failed: no_cliff" in said


def test_a_trial_without_a_history_says_why(tmp_path: Path) -> None:
    row = make_result(
        status="failed", reason="<b>odd</b>", phase1=None, phase2=None, test_accuracy=None
    )
    tensorboard.write([row], tmp_path)
    run = tmp_path / tensorboard.run_of(row)
    assert "failed: &#60;b&#62;odd" in story(run)
    assert [path.name for path in run.iterdir()] == [event_files.FILE]


def test_numbers_that_are_none_do_not_hurt(tmp_path: Path) -> None:
    phase = make_phase(0.1)
    odd = [
        phase.epochs[0].model_copy(update={"index": i, "loss": loss})
        for i, loss in enumerate((float("nan"), float("inf"), 1e300))
    ]
    row = make_result(phase1=phase.model_copy(update={"epochs": tuple(odd)}), started_at="never")
    tensorboard.write([row], tmp_path)
    found = accumulated(tmp_path / tensorboard.run_of(row) / "train").Scalars("epoch_loss")
    assert [str(e.value) for e in found] == ["nan", "inf", "inf", "0.5"]
    assert found[0].wall_time == 2.0


def test_every_real_history_comes_back_number_for_number(tmp_path: Path) -> None:
    rows = [r for r in store.read(REAL).rows if r.spec.data.dataset.name == "tf_flowers"]
    assert tensorboard.write(rows, tmp_path) == len(rows) == 16
    for row in rows:
        run = tmp_path / tensorboard.run_of(row)
        epochs = [e for p in (row.phase1, row.phase2) if p for e in p.epochs]
        train, validation = scalars(run / "train"), scalars(run / "validation")
        assert train["epoch_loss"] == [(e.index, e.loss) for e in epochs]
        assert train["epoch_learning_rate"] == [(e.index, e.learning_rate) for e in epochs]
        assert validation["epoch_accuracy"] == [(e.index, e.val_accuracy) for e in epochs]


# ------------------------------------------------------------------------------ folders


def test_runs_are_named_for_people(tmp_path: Path) -> None:
    parts = tensorboard.run_of(trial(seed=3)).parts
    assert parts[:2] == ("digits", "MobileNetV2")
    assert parts[2].startswith("top_blocks=2 linear ")
    assert parts[3] == "seed 3"


def test_seeds_lie_together_and_everything_else_apart() -> None:
    rows = {
        "a": trial(),
        "seed": trial(seed=1),
        "rate": make_result(
            make_spec().model_copy(update={"phase1": make_spec().phase2, "seed": 0})
        ),
        "stack": trial(stack=STACK.model_copy(update={"device": "gpu"})),
        "freeze": make_result(make_spec(Freeze(strategy="all"))),
        "trap": make_result(make_spec().model_copy(update={"trap": "unpinned"})),
    }
    found = {name: tensorboard.run_of(row) for name, row in rows.items()}
    assert len(set(found.values())) == len(rows)
    assert found["a"].parent == found["seed"].parent
    assert len({run.parent for run in found.values()}) == len(rows) - 1
    assert " trap unpinned " in str(found["trap"])


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    spec = make_spec(Freeze(strategy="from_layer", amount=name), dataset=name)
    spec = spec.model_copy(
        update={
            "backbone": spec.backbone.model_copy(update={"name": name * 200}),
            "head": spec.head.model_copy(update={"name": name}),
        }
    )
    folder = tmp_path / "inside"
    row = make_result(spec)
    assert len(tensorboard.run_of(row, name).parts) == 5 - (not name)
    tensorboard.write([row], folder, name)
    assert [p.name for p in tmp_path.iterdir()] == ["inside"]
    written = [p for p in folder.rglob("*") if p.is_file()]
    assert len(written) == 3
    assert all(p.resolve().is_relative_to(folder.resolve()) for p in written)


def test_writing_again_replaces(tmp_path: Path) -> None:
    failed = {"status": "failed", "reason": "odd", "phase1": None, "phase2": None}
    for row in (trial(), trial(), trial(**failed), trial()):
        tensorboard.write([row], tmp_path)
        files = [p for p in tmp_path.rglob("*") if p.is_file()]
        assert len(files) == (3 if row.phase1 else 1)
    assert len(scalars(tmp_path / tensorboard.run_of(trial()) / "train")["epoch_loss"]) == 3


def test_files_name_neither_machine_nor_user(tmp_path: Path) -> None:
    tensorboard.write([trial()], tmp_path)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {event_files.FILE}


# ------------------------------------------------------------------------------ hparams


def test_the_hparams_page_takes_seeds_together_with_what_came_out(tmp_path: Path) -> None:
    good = [
        trial(seed=s, test_accuracy=a, dataset=make_dataset()) for s, a in enumerate((0.8, 0.9))
    ]
    bad = make_result(make_spec(Freeze(strategy="all")), status="timeout", phase2=None)
    tensorboard.write([*good, bad], tmp_path)
    experiment, groups = _hparams_page(tmp_path)
    names = {info.name for info in experiment.hparam_infos}
    assert {"backbone", "dataset", "freeze", "phase1_learning_rate", "trap"} <= names
    assert "seed" not in names
    of = {group.hparams["freeze"].string_value: group for group in groups}
    assert len(of["top_blocks=2"].sessions) == 2
    found = {(m.name.group, m.name.tag): m.value for m in of["top_blocks=2"].metric_values}
    assert found["", "test_accuracy"] == pytest.approx(0.85)
    assert found["validation", "epoch_accuracy"] == pytest.approx(0.95)
    (session,) = of["all"].sessions
    assert session.status == 2  # STATUS_FAILURE


def _hparams_page(folder: Path):
    """What TensorBoard's own page asks its own backend for."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    events = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(folder))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asking = context.RequestContext()
    experiment = backend.experiment_from_metadata(
        *(asking, "", True), backend.hparams_metadata(asking, ""), []
    )
    wanted = api_pb2.ListSessionGroupsRequest(
        slice_size=99, allowed_statuses=[0, 1, 2, 3], aggregation_type=api_pb2.AGGREGATION_AVG
    )
    answer = list_session_groups.Handler(asking, backend, "", wanted).run()
    return experiment, answer.session_groups


# ------------------------------------------------------------------------------ without TensorFlow


def test_writing_imports_no_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bench.running import store;"
        "from bench.reporting import tensorboard;"
        f"rows = store.read(Path({str(REAL)!r})).rows[:2];"
        f"assert tensorboard.write(rows, Path({str(tmp_path)!r})) == 2;"
        "assert 'tensorboard' in sys.modules;"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 6


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(BenchError, match=r"pip install 'keras-zoo-bench\[tensorboard\]'"):
        tensorboard.write([trial()], tmp_path)


# ------------------------------------------------------------------------------ commands


def test_export_keeps_folders_apart_where_there_are_several(bench: Bench, tmp_path: Path) -> None:
    target = tmp_path / "runs"
    answer = bench("export", REAL, "--tensorboard", target)
    assert (answer.code, answer.out) == (0, "")
    assert f"48 trials: tensorboard --logdir {target}" in answer.err.replace("\n", "")
    assert {p.name for p in target.iterdir()} == {"cats_vs_dogs", "tf_flowers", "stanford_dogs"}
    other = ROOT / "results" / "reference" / "calibration" / "trials" / "rate_low"
    bench("export", REAL, other, "--tensorboard", tmp_path / "both")
    assert len(list((tmp_path / "both").iterdir())) == 2


def test_a_file_in_place_of_the_folder_stops_before_anything_is_measured(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    where = ("--results", tmp_path / "results")
    for words in (("export", REAL), ("run", suite, *where)):
        line = refusal(bench(*words, "--tensorboard", tmp_path / "file" / "runs"))
        assert "--tensorboard" in line
        assert "cannot be written" in line
    assert not (tmp_path / "results").exists()


class Quiet(Silence):
    """A listener that counts what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        self.told.append(f"begins {settled}")

    def trial_begins(self, spec: Spec) -> None:
        self.told.append("trial")

    def progress(self, spec: Spec, progress: Progress) -> None:
        self.told.append(progress.stage)

    def trial_ends(self, result: Row) -> None:
        self.told.append(result.status)


class Engine:
    """Gives every trial the same history, once its runs folder holds those before it."""

    stack = STACK

    def __init__(self, runs: Path) -> None:
        self.runs, self.seen = runs, list[int]()

    def execute(self, spec: Spec, report: object) -> Finished:
        self.seen.append(len(list(self.runs.rglob("train"))))
        report(Progress(stage="test"))  # type: ignore[operator]
        return Finished(result=trial(spec.seed), predictions=None)  # type: ignore[union-attr]

    def close(self) -> None: ...


@pytest.fixture
def held(tmp_path: Path) -> Iterator[store.Store]:
    with store.writing(tmp_path / "results") as opened:
        yield opened


def test_a_run_writes_each_trial_as_it_ends_and_those_settled_before(
    held: store.Store, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    held.append(trial(seed=9), None)
    engine, quiet = Engine(runs), Quiet()
    mirror = tensorboard.Mirror(quiet, runs, lambda stack: held.settled(stack).values())
    specs = [make_spec(seed=s) for s in (9, 0, 1)]
    runner.run(specs, held, engine, mirror)
    assert engine.seen == [1, 2]
    assert len(list(runs.rglob("train"))) == 3
    assert quiet.told == ["begins 1", "trial", "test", "ok", "trial", "test", "ok"]
    assert mirror.problems == ()


def test_a_disk_that_is_full_of_curves_stops_no_run(held: store.Store, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    mirror = tensorboard.Mirror(Quiet(), tmp_path / "runs", lambda _: [])
    specs = [make_spec(seed=s) for s in (0, 1)]
    ran = runner.run(specs, held, Engine(tmp_path), mirror)
    assert ran.all_ok
    (problem,) = mirror.problems
    assert "cannot be written" in problem


def test_bench_run_takes_the_option(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, mirrored = tmp_path / "runs", []

    def run(trials, held, engine, listener):
        mirrored.append(listener._listener)  # within the one that looks at the machine
        listener.begins(STACK, len(trials), 0)
        return runner.Summary((), ())

    class NoEngines:
        def __enter__(self) -> list:
            return [None]

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr("bench.running.engines.local_engines", lambda *_: NoEngines())
    assert SUITE in suite.read_text()
    file = tmp_path / "results" / "small" / STACK.id / store.TRIALS
    file.parent.mkdir(parents=True)
    file.write_bytes(store.line(trial()))  # no trial of the suite: not its business
    bench("run", suite, "--results", tmp_path / "results", "--tensorboard", runs)
    bench("run", suite, "--results", tmp_path / "results")
    assert [isinstance(m, tensorboard.Mirror) for m in mirrored] == [True, False]
    assert list(runs.iterdir()) == []
