"""The command line, as a user meets it: what it prints, where, and its exit code."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import (
    STACK,
    SUITE,
    Answer,
    Bench,
    make_numerics,
    make_probe,
    make_result,
    make_spec,
    refused,
)

from bench import __version__, cache
from bench.cli.look import Kind
from bench.errors import WorkerError
from bench.records import Freeze, Guard, TrialResult
from bench.reporting import doctor
from bench.running import backends, isolation, known
from bench.running.messages import Finished, Setup, Shared
from bench.running.store import read, writing
from bench.settings import Settings
from bench.suite import load

ROOT = Path(__file__).parents[1]


# ------------------------------------------------------------------------------- quick answers


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *(["list", kind.value] for kind in Kind),
        ["run", "matrix", "--dry-run"],
        ["cache"],
        ["show", "RESULTS"],
    ],
    ids=" ".join,
)
def test_no_framework_is_imported_where_none_is_needed(tmp_path: Path, words: list[str]) -> None:
    with writing(tmp_path / "results") as held:
        held.append(make_result(), None)
    words = [str(tmp_path / "results") if word == "RESULTS" else word for word in words]
    code = f"""
import sys
sys.argv = ["bench", *{words!r}]
from bench.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {{"keras", "tensorflow", "jax", "torch", "tensorflow_datasets", "sklearn"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    environ = os.environ | {"BENCH_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"bench {__version__}\n")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("backbones", "ConvNeXtTiny"),
        ("datasets", "stanford_dogs"),
        ("freezes", "top_blocks"),
        ("heads", "linear"),
        ("suites", "suites/quickstart.toml"),
    ],
)
def test_list(bench: Bench, kind: str, word: str) -> None:
    answer = bench("list", kind)
    assert answer.code == 0
    assert word in answer.out
    assert answer.err == ""


def test_help_names_every_command(bench: Bench) -> None:
    answer = bench("--help")
    assert answer.code == 0
    for command in ("list", "run", "show", "cache", "doctor"):
        assert f" {command} " in answer.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runn"], "runn"),
        (["run"], "suite"),
        (["list", "backbone"], "backbone"),
        (["show", "x", "--format", "html"], "html"),
        (["run", "matrix", "--fast"], "--fast"),
    ],
)
def test_wrong_usage_is_exit_code_2(bench: Bench, words: list[str], said: str) -> None:
    answer = bench(*words)
    assert answer.code == 2
    assert said in answer.err.lower()
    assert "Traceback" not in answer.err


def test_cache_shows_and_clears(bench: Bench, tmp_path: Path) -> None:
    assert bench("cache").out == f"{tmp_path / 'cache'}: empty\n"
    assert bench("cache", "--clear").out == f"{tmp_path / 'cache'}: 0 B freed\n"


def test_cache_of_one_kind(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    for kind in ("heads", "modes"):
        with cache.building(Settings(cache=folder), kind, {"n": 1}, f"some {kind}") as writer:
            assert writer is not None
            writer.put("x", [1.0])
    listed = bench("cache").out.splitlines()
    assert [line.split()[0] for line in listed[2:-1]] == ["heads", "modes"]
    assert listed[-1].startswith(f"{folder}: ")
    assert listed[-1].endswith(" of at most 20 GiB")
    of_heads = bench("cache", "--kind", "heads").out
    assert "some heads" in of_heads
    assert "modes" not in of_heads
    assert bench("cache", "--clear", "--kind", "heads").out.startswith(f"{folder / 'heads'}: ")
    assert bench("cache", "--kind", "heads").out == f"{folder / 'heads'}: empty\n"
    assert "some modes" in bench("cache").out


def test_cache_of_an_unknown_kind(bench: Bench) -> None:
    said = refused(bench("cache", "--kind", "head"))
    assert said == "bench: unknown kind of cache entry 'head': did you mean heads?"


def test_a_wrong_cap(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_GIB", "much")
    said = refused(bench("cache"))
    assert "BENCH_CACHE_GIB = 'much': expected a positive number of GiB" in said


# ----------------------------------------------------------------------------------- dry runs


def counted(answer: Answer) -> str:
    """The line of a dry run that says how many trials there are."""
    (line,) = [s for s in answer.out.splitlines() if re.match(r"[\d,]+ trials?\b", s)]
    return line


def test_dry_run_prints_every_trial_and_the_plan(bench: Bench, tmp_path: Path) -> None:
    answer = bench("run", "matrix", "--dry-run", "--results", tmp_path)
    lines = answer.out.splitlines()
    assert answer.code == 0
    assert lines[180] == "180 trials"
    assert len({line.split()[1] for line in lines[:180]}) == 180
    # 12 pairs of backbone and dataset: 20 views of train, val and test; 3 heads.
    rows = {words[0]: words[1:3] for words in map(str.split, lines[181:]) if words}
    assert rows["activations"] == ["264", "144"]
    assert rows["heads"] == ["36", "144"]
    assert rows["fine-tuning"] == ["144", "144"]
    assert "1,440 literally, 240 shared (6.0 times fewer)" in answer.out
    assert "computed whole where the 8 GiB for activations are too little" in answer.out
    assert lines[0].split("  ")[-1].startswith("MobileNetV2 · cats_vs_dogs · head_only")


def test_a_suite_is_a_path_or_a_name(bench: Bench, suite: Path) -> None:
    assert bench("run", "quickstart", "--dry-run") == bench(
        "run", "suites/quickstart.toml", "--dry-run"
    )
    assert counted(bench("run", suite, "--dry-run")) == "2 trials"


def test_a_folder_of_the_same_name_does_not_hide_a_suite(
    bench: Bench, tmp_path: Path, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    suite.rename(tmp_path / "suites" / "small.toml")
    (tmp_path / "small").mkdir()
    assert bench("run", "small", "--dry-run").code == 0


def test_only_narrows_a_dry_run(bench: Bench, suite: Path) -> None:
    answer = bench("run", suite, "--dry-run", "--only", "HEAD_only")
    assert counted(answer) == "1 trial"
    assert "fine-tuning" not in answer.out


def test_smoke_is_smaller(bench: Bench) -> None:
    assert counted(bench("run", "matrix", "--dry-run", "--smoke")) == "60 trials"


def test_a_literal_dry_run_shares_nothing(bench: Bench, suite: Path) -> None:
    shared, literal = (bench("run", suite, "--dry-run", *w) for w in ((), ("--literal",)))
    assert counted(shared) == counted(literal) == "2 trials"
    assert "2 literally, 1 shared (2.0 times fewer)" in shared.out
    assert "whole backbone: 2, nothing shared" in literal.out
    assert "activations" not in literal.out


def test_a_dry_run_marks_what_was_measured(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "frameworks", lambda *_: STACK.id.removesuffix("cpu_float32"))
    trials = load(suite).trials
    with writing(tmp_path / "r" / "small") as held:
        held.append(make_result(trials[1]), None)
    words = ("run", suite, "--dry-run", "--results", tmp_path / "r")
    answer = bench(*words)
    assert counted(answer) == f"2 trials, 1 measured before: {STACK.id}"
    marked = [line.endswith("(measured before)") for line in answer.out.splitlines()[:2]]
    assert marked == [False, True]
    with writing(tmp_path / "r" / "small") as held:
        held.append(make_result(trials[0]), None)
    assert bench(*words).out.endswith("nothing left to run\n")


def test_a_dry_run_writes_nothing(bench: Bench, suite: Path, tmp_path: Path) -> None:
    assert bench("run", suite, "--dry-run", "--results", tmp_path / "r").code == 0
    assert list(tmp_path.iterdir()) == [suite]


def test_a_dry_run_states_the_room_for_activations(bench: Bench, suite: Path) -> None:
    blocks = SUITE.replace('"all"', "{ top_blocks = 2 }")
    suite.write_text(blocks.replace("[phase1]", "[limits]\nactivations_gib = 0.5\n[phase1]"))
    answer = bench("run", suite, "--dry-run")
    assert "1 frontier of a size known once a trial has run" in answer.out
    assert "the 0.5 GiB for activations" in answer.out


def test_a_dry_run_says_what_would_stop_it(bench: Bench, suite: Path) -> None:
    suite.write_text(SUITE + 'weights = "mine.weights.h5"\n')
    answer = bench("run", suite, "--dry-run")
    assert answer.code == 0
    assert counted(answer) == "2 trials"
    assert answer.err.startswith("bench: would stop here: ")
    assert "mine.weights.h5" in answer.err


def test_what_is_unusual_is_a_note(bench: Bench, suite: Path) -> None:
    suite.write_text(SUITE.replace("1e-5", "1e-3"))
    answer = bench("run", suite, "--dry-run")
    assert answer.code == 0
    assert answer.err.startswith("bench: note: phase 2's learning rate")


# ------------------------------------------------------------------------------- wrong input


def test_a_wrong_suite_is_one_line(bench: Bench, suite: Path) -> None:
    suite.write_text(SUITE.replace("MobileNetV2", "MobilNetV2"))
    line = refused(bench("run", suite))
    assert f"{suite}: matrix[0].backbones[0] = 'MobilNetV2'" in line
    assert "did you mean" in line


def test_an_unknown_suite_names_the_nearest(bench: Bench) -> None:
    assert "did you mean quickstart.toml" in refused(bench("run", "quikstart"))


def test_only_that_matches_nothing(bench: Bench, suite: Path) -> None:
    assert "--only 'ResNet'" in refused(bench("run", suite, "--only", "ResNet"))


def test_missing_weights_stop_a_run_before_anything_starts(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "LocalEngine", None)  # starting one would fail differently
    suite.write_text(SUITE + 'weights = "mine.weights.h5"\n')
    line = refused(bench("run", suite, "--results", tmp_path / "results"))
    assert "mine.weights.h5" in line
    assert "BENCH_WEIGHTS_DIR" in line
    assert not (tmp_path / "results").exists()


def test_a_locked_results_folder(bench: Bench, suite: Path, tmp_path: Path) -> None:
    with writing(tmp_path / "results" / "small"):
        line = refused(bench("run", suite, "--results", tmp_path / "results"))
    assert "another run is writing here" in line


def test_results_that_cannot_be_written(bench: Bench, suite: Path, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    assert "cannot be written" in refused(bench("run", suite, "--results", tmp_path / "results"))


def test_show_of_nothing(bench: Bench, tmp_path: Path) -> None:
    assert "nothing is there" in refused(bench("show", tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "(trials.jsonl, " in refused(bench("show", tmp_path / "empty"))


def test_a_message_is_printed_as_it_is(bench: Bench, tmp_path: Path) -> None:
    # Neither markup nor an emoji code, and never wrapped.
    folder = tmp_path / "[bold]" / ":b:" / ("long " * 30).strip()
    assert str(folder) in refused(bench("show", folder))


# ---------------------------------------------------------------------------------------- show


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "small"
    rows = [make_result(make_spec(seed=i), test_accuracy=0.9 + i / 100) for i in range(3)]
    rows.append(make_result(make_spec(seed=3), status="failed", reason="ValueError: odd"))
    rows.append(make_result(make_spec(Freeze(strategy="head_only")), phase2=None))
    with writing(folder) as held:
        for row in rows:
            held.append(row, None)
    return folder


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("console", ["91.0 ± 1.0", "3 of 4", "  MobileNetV2 · digits", "ValueError: odd"]),
        ("markdown", ["| MobileNetV2", "91.0 ± 1.0", "\n\n* MobileNetV2", "ValueError: odd"]),
        ("csv", ["test_accuracy_mean", "ValueError: odd"]),
        ("latex", ["\\begin{tabular}", "91.0 $\\pm$ 1.0", "\n% MobileNetV2"]),
    ],
)
def test_show_in_every_format(bench: Bench, results: Path, form: str, words: list[str]) -> None:
    answer = bench("show", results, "--format", form)
    assert (answer.code, answer.err) == (0, "")
    for word in words:
        assert word in answer.out


def test_csv_on_standard_output_is_nothing_but_csv(bench: Bench, results: Path) -> None:
    (results / STACK.id / "trials.jsonl").open("a").write("{torn")
    answer = bench("show", results, "--format", "csv")
    frame = pd.read_csv(io.StringIO(answer.out))
    assert list(frame["finished"]) == [3, 1]
    assert "left out, not a whole row" in answer.err


def test_show_takes_a_folder_of_several_suites(bench: Bench, results: Path) -> None:
    assert "top_blocks=2" in bench("show", results.parent).out


# -------------------------------------------------------------------------------- a whole run


class Engine:
    """Stands in for the worker processes: a row for every trial, at once."""

    stack = STACK
    changes: dict[str, object] = {}
    setups: list[Setup] = []

    def __init__(self, setup: Setup, *_: object) -> None:
        self.setups.append(setup)

    def execute(self, spec: object, report: object) -> Finished:
        return Finished(result=self.row(spec))

    def share(self, step: object, report: object) -> Shared:
        return Shared(seconds=0.0)

    def row(self, spec: object) -> TrialResult:
        return make_result(spec, **self.changes)  # type: ignore[arg-type]

    def wait(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    monkeypatch.setattr(isolation, "LocalEngine", Engine)
    monkeypatch.setattr(Engine, "changes", {})
    monkeypatch.setattr(Engine, "setups", [])
    return Engine


@pytest.mark.usefixtures("engine")
def test_a_run_prints_its_trials_its_table_and_where_it_is(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    answer = bench("run", suite, "--results", tmp_path / "r")
    assert answer.code == 0
    assert "[2/2] MobileNetV2 · digits · all" in answer.out
    assert "guards\n" in answer.out
    assert answer.out.endswith(f"results: {tmp_path / 'r' / 'small'}\n")
    again = bench("run", suite, "--results", tmp_path / "r")
    assert "2 trials, 2 measured before" in again.out
    assert "[1/2]" not in again.out


@pytest.mark.usefixtures("engine")
def test_a_results_folder_is_run_again_trial_by_trial(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    bench("run", suite, "--results", tmp_path / "r")
    first = tmp_path / "r" / "small"
    rows = read(first).rows
    words = ["run", first, "--only", rows[1].key[:12], "--results", tmp_path / "again"]
    assert bench(*words).code == 0
    second = tmp_path / "again" / "small"
    assert [r.spec for r in read(second).rows] == [rows[1].spec]
    assert (second / "suite.toml").read_bytes() == suite.read_bytes()
    assert "run as they are" in refused(bench("run", first, "--smoke"))


@pytest.mark.parametrize("words", [[], ["--literal"]], ids=["shared", "literal"])
def test_workers_are_told_whether_to_share(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine], words: list[str]
) -> None:
    assert bench("run", suite, "--results", tmp_path, *words).code == 0
    (setup,) = engine.setups
    assert setup.literal is bool(words)


@pytest.mark.parametrize(
    ("ways", "note"),
    [
        (
            ("shared", "shared"),
            "2 trials were measured before by sharing and are kept; give "
            "another --results to measure them literally",
        ),
        (
            ("shared", "literal"),
            "1 trial was measured before by sharing and is kept; give "
            "another --results to measure it literally",
        ),
        (("literal", "literal"), None),
        (("shared",), "1 trial was measured before"),
        ((), None),
    ],
    ids=["both", "one", "none", "the other is to run", "nothing there"],
)
@pytest.mark.usefixtures("engine")
def test_a_literal_run_says_which_rows_it_keeps_of_shared_ones(
    bench: Bench, suite: Path, tmp_path: Path, ways: tuple[str, ...], note: str | None
) -> None:
    folder = tmp_path / "r"
    with writing(folder / "small") as held:
        for trial, way in zip(load(suite).trials, ways, strict=False):
            held.append(make_result(trial, way=way), None)
    answer = bench("run", suite, "--results", folder, "--literal")
    assert answer.code == 0
    assert answer.err.startswith(f"bench: note: {note}" if note else "")
    assert len(answer.err.splitlines()) == bool(note)
    assert bench("run", suite, "--results", folder).err == ""


FAILED_GUARD = (Guard(name="g", passed=False, evidence="e"),)


@pytest.mark.parametrize(
    "changes",
    [{"status": "failed", "reason": "x"}, {"guards": FAILED_GUARD}],
    ids=["failed trial", "failed guard"],
)
def test_a_run_with_a_failure_ends_with_1(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine], changes: dict[str, object]
) -> None:
    engine.changes = changes
    assert bench("run", suite, "--results", tmp_path).code == 1


def test_an_interrupted_run_ends_with_130_and_says_what_is_kept(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Finished:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "execute", interrupted)
    answer = bench("run", suite, "--results", tmp_path)
    assert answer.code == 130
    assert "what was measured is kept" in answer.err


def test_a_worker_that_cannot_start_is_one_line(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise WorkerError("a worker process could not start: no Keras")

    monkeypatch.setattr(isolation, "LocalEngine", broken)
    assert "no Keras" in refused(bench("run", suite, "--results", tmp_path))


def test_an_error_of_ours_never_shows_a_traceback_and_another_does(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(isolation, "LocalEngine", bug)
    answer = bench("run", suite, "--results", tmp_path)
    assert answer.code == 70  # 1 would be taken for a regression
    assert "Traceback" in answer.err
    assert "ZeroDivisionError" in answer.err


# ----------------------------------------------------------------------------- several workers


@pytest.fixture
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("no_gpus")
def test_two_workers_on_a_cpu_measure_everything_once(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine]
) -> None:
    suite.write_text(SUITE.replace('"digits"', '"digits", "tf_flowers"'))
    answer = bench("run", suite, "--results", tmp_path / "r", "--workers", 2)
    assert answer.code == 0
    assert answer.err.startswith("bench: note: 2 workers share this machine's processor; ")
    assert [setup.gpu for setup in engine.setups] == [None, None]
    assert len(read(tmp_path / "r").rows) == 4
    assert sorted(re.findall(r"^\[(\d)/4\]", answer.out, re.M)) == ["1", "2", "3", "4"]


def test_auto_is_a_worker_on_each_gpu(
    bench: Bench,
    suite: Path,
    tmp_path: Path,
    engine: type[Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    answer = bench("run", suite, "--results", tmp_path / "r", "--workers", "auto")
    assert (answer.code, answer.err) == (0, "")
    assert [setup.gpu for setup in engine.setups] == ["4", "6"]


@pytest.mark.usefixtures("no_gpus")
def test_without_gpus_auto_is_one_worker_as_ever(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine]
) -> None:
    assert bench("run", suite, "--results", tmp_path / "r", "--workers", "auto").err == ""
    assert len(engine.setups) == 1


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_wrong_number_of_workers_is_one_line(bench: Bench, suite: Path, dry: list[str]) -> None:
    said = refused(bench("run", suite, "--workers", "many", *dry))
    assert said == "bench: --workers 'many': expected a number, 1 or more, or auto"


# ----------------------------------------------------------------------------------- backends


def test_a_backend_that_is_not_installed_stops_a_run_and_is_told_by_a_dry_run(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "version", lambda _: None)
    monkeypatch.setattr(isolation, "LocalEngine", None)  # starting one would fail differently
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    suite.write_text(SUITE.replace("[phase1]", '[execution]\nbackend = "jax"\n[phase1]'))
    said = "backend 'jax' is not installed: pip install -e '.[jax]'"
    assert refused(bench("run", suite, "--results", tmp_path / "r")) == f"bench: {said}"
    assert f"bench: would stop here: {said}" in bench("run", suite, "--dry-run").err


# ------------------------------------------------------------------------------------- doctor


@pytest.mark.parametrize(
    ("problem", "code", "last"),
    [(None, 0, "nothing is wrong"), ("is odd: mend it", 1, "wrong: cache: is odd: mend it")],
)
def test_doctor_ends_with_what_is_wrong(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, problem: str | None, code: int, last: str
) -> None:
    findings = [doctor.Finding("cache", "[bold] " + "long " * 40, problem)]
    monkeypatch.setattr(doctor, "examine", lambda _: findings)
    answer = bench("doctor")
    assert (answer.code, answer.err) == (code, "")
    assert answer.out.splitlines()[0] == f"cache  {findings[0].state}"
    assert answer.out.splitlines()[-1] == last


def test_a_folder_of_fingerprints_alone_says_what_they_are_for(
    bench: Bench, tmp_path: Path
) -> None:
    with writing(tmp_path / "prints") as held:
        held.append(make_numerics(), None)
    answer = bench("show", tmp_path / "prints")
    assert (answer.code, answer.out) == (0, "")
    assert "1 fingerprint: see bench compare" in answer.err


def test_every_command_reads_results_that_hold_probes(bench: Bench, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        with writing(folder) as held:
            for seed in range(2):
                held.append(make_result(make_spec(seed=seed)), None)
            held.append(make_probe(), None)
    shown = bench("show", folders[0])
    assert (shown.code, shown.err) == (0, "bench: 1 probe: see bench choose\n")
    assert "MobileNetV2" in shown.out
    assert bench("show", folders[0], "--format", "csv").err == ""
    compared = bench("compare", *folders)
    assert (compared.code, compared.err) == (0, "")
    assert bench("report", folders[0], "--output", tmp_path / "report").code == 0
    assert bench("export", folders[0], "-o", tmp_path / "trials.csv").code == 0


def test_a_folder_of_probes_alone_says_what_they_are_for(bench: Bench, tmp_path: Path) -> None:
    with writing(tmp_path / "probes") as held:
        held.append(make_probe(), None)
        held.append(make_probe(make_probe().spec.model_copy(update={"neighbours": 5})), None)
    answer = bench("show", tmp_path / "probes")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "bench: 2 probes: see bench choose\n"
