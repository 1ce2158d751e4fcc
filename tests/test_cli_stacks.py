"""``bench stacks`` from end to end, with environments, engines and a comparison of straw."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import STACK, Bench, make_cost, make_numerics, make_result, refused

from bench.analysis import results
from bench.cli import compare
from bench.cli import stacks as command
from bench.costs import CostSpec
from bench.errors import BenchError, WorkerError
from bench.numerics import NumericsSpec
from bench.records import Environment, Guard, TrialSpec
from bench.running import baselines, environments, isolation, stacks, store
from bench.running.environments import Made, NotMade, Ready
from bench.running.messages import Finished, Setup
from bench.running.recipes import Recipe
from bench.settings import Settings
from bench.tasks import Spec

OLD, NEW = "tensorflow==2.20.*", "tensorflow==2.21.*"
ENVIRONMENT = Environment(
    bench_version="0.1.0",
    python_version="3.11.1",
    platform="Linux",
    processor="one",
    cores=2,
    memory_gib=8.0,
    packages={"numpy": "2.4.6"},
)
REFRESHED: list[bool] = []
"""Whether each environment was to be made anew."""
WORDS = ("--rounds", "2", "--seconds", "1")


class Engine:
    """A worker of the stack whose interpreter it was to be started with."""

    log: list[tuple[str, Spec]] = []
    setups: list[tuple[str, Setup]] = []
    broken: set[str] = set()
    failing: set[str] = set()
    unguarded: set[str] = set()
    closed: list[str] = []
    said = ""

    def __init__(self, setup: Setup, seconds: float | None, command: tuple[str, ...]) -> None:
        self.name = Path(command[0]).name
        assert command[1:] == ("-P", "-m", "bench.running.worker")
        if self.name in self.broken:
            said = self.said or f"no {setup.settings.cache}/keras"
            raise WorkerError(f"a worker process could not start: {said}")
        self.setups.append((self.name, setup))
        self._setup = setup
        self.stack = STACK.model_copy(update={"backend_version": self.name})
        self.environment = ENVIRONMENT

    def execute(
        self, spec: Spec, report: object, turn: Callable[[], int] | None = None
    ) -> Finished:
        self.log.append((self.name, spec))
        if isinstance(spec, TrialSpec):
            status = "failed" if self.name in self.failing else "ok"
            guards = (Guard(name="finite", passed=self.name not in self.unguarded, evidence=""),)
            return Finished(
                result=make_result(spec, stack=self.stack, status=status, guards=guards)
            )
        if isinstance(spec, NumericsSpec):
            return Finished(
                result=make_numerics(spec, stack=self.stack, environment=self.environment)
            )
        if turn:
            turn()
        seconds = self._setup.timed_seconds
        return Finished(result=make_cost(spec, stack=self.stack, timed_seconds=seconds))

    def close(self) -> None:
        self.closed.append(self.name)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    monkeypatch.setattr(isolation, "LocalEngine", Engine)
    for name in ("log", "setups", "closed"):
        monkeypatch.setattr(Engine, name, [])
    for name in ("broken", "failing", "unguarded"):
        monkeypatch.setattr(Engine, name, set())
    return Engine


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Environments that were asked for; an interpreter's name is its TensorFlow's version."""
    asked: list[Recipe] = []
    REFRESHED.clear()

    def make(
        recipe: Recipe,
        settings: Settings,
        tell: Callable[[str], None],
        using: ExitStack,
        refresh: bool = False,
    ) -> Made:
        asked.append(recipe)
        REFRESHED.append(refresh)
        version = recipe.requirements[0].partition("==")[2]
        if version.startswith("9"):
            return NotMade(f"No matching distribution found under {settings.cache}/x")
        python = settings.cache / "stacks" / version.replace("*", "0")
        return Ready(python, {"tensorflow": python.name, "idna": "3"}, ("numpy 2 -> 1",), False)

    monkeypatch.setattr(environments, "made", make)
    return asked


@pytest.fixture(autouse=True)
def reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was to be compared; all of it is the same."""
    asked: list[tuple[Any, ...]] = []

    def report(*arguments: Any) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(command, "report", report)
    return asked


def done(log: list[tuple[str, Spec]], kind: type[Spec]) -> str:
    return " ".join(name for name, spec in log if isinstance(spec, kind))


def test_stacks_run_in_turns_and_are_compared(
    bench: Bench,
    suite: Path,
    tmp_path: Path,
    engine: type[Engine],
    reports: list[tuple[Any, ...]],
) -> None:
    words = ("stacks", suite, "--stack", OLD, "--stack", NEW, *WORDS, "--results", tmp_path / "r")
    answer = bench(*words, "--strict", "--format", "json")
    assert answer.code == 0, answer.err
    assert answer.out == ""
    folder = tmp_path / "r" / "stacks" / "small"
    assert done(engine.log, TrialSpec) == "2.20.0 2.20.0 2.21.0 2.21.0"
    assert done(engine.log, NumericsSpec) == "2.20.0 2.21.0"
    assert [spec for _, spec in engine.log[:2]] == [engine.log[0][1]] * 2  # before all training
    assert sorted(done(engine.log, CostSpec).split()) == ["2.20.0"] * 6 + ["2.21.0"] * 6
    for name, version in (("tensorflow-2.20", "2.20.0"), ("tensorflow-2.21", "2.21.0")):
        found = store.read(folder / name)
        assert {row.stack.backend_version for row in found.rows} == {version}
        assert (len(found.rows), [cost.runs for cost in found.costs]) == (2, [2, 2, 2])
        note = stacks.read(folder / name)
        assert note is not None
        assert (note.status, note.reason) == ("ok", "")
        assert note.packages == {"tensorflow": version}
        assert note.dropped == ("numpy 2 -> 1",)
        assert note.stack is not None
        assert (folder / name / note.stack.id / "trials.jsonl").is_file()
    ((a, b, names, margins, strict, form, output),) = reports
    assert (a.stack.backend_version, b.stack.backend_version) == ("2.20.0", "2.21.0")
    assert names == ("tensorflow-2.20", "tensorflow-2.21")
    assert (margins, strict, form.value, output) == (None, True, "json", None)
    assert "tensorflow-2.20: environment made: tensorflow 2.20.0" in answer.err
    assert "the stack does not allow it: numpy 2 -> 1" in answer.err
    assert "[4/4] tensorflow-2.21 · MobileNetV2 · digits · all" in answer.err
    assert not list(folder.glob("*/tmp-*"))
    engine.log.clear()
    assert bench(*words).code == 0
    assert engine.log == []


def test_workers_are_told_what_their_stack_is(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine]
) -> None:
    stated = ("--stack", f"{OLD} TF_ENABLE_ONEDNN_OPTS=0", "--stack", "now: current")
    bench("stacks", suite, *stated, *WORDS, "--results", tmp_path / "r")
    (_, costs), _, (old, trials), (_, now) = engine.setups
    assert old == "2.20.0"
    assert (trials.backend, now.backend) == ("tensorflow", "tensorflow")
    assert trials.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert "TF_ENABLE_ONEDNN_OPTS" not in now.environ
    assert trials.environ["PYTHONPATH"] == now.environ["PYTHONPATH"].split(":")[0]
    assert trials.settings.cache != now.settings.cache
    assert (trials.execution.deterministic, costs.execution.deterministic) == (True, False)
    assert (costs.timed_seconds, costs.environ) == (1.0, trials.environ)
    assert trials.scratch.is_relative_to(tmp_path / "r" / "stacks" / "small")


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_stack_that_cannot_be_made_is_a_note(
    bench: Bench,
    suite: Path,
    tmp_path: Path,
    engine: type[Engine],
    reports: list[tuple[Any, ...]],
    which: int,
) -> None:
    every = [OLD, NEW]
    every.insert(which, "tensorflow==9.9")
    words = [word for text in every for word in ("--stack", text)]
    answer = bench("stacks", suite, *words, *WORDS, "--results", tmp_path / "r")
    assert answer.code == 1
    assert "tensorflow-9.9: not installable: No matching distribution" in answer.err
    note = stacks.read(tmp_path / "r" / "stacks" / "small" / "tensorflow-9.9")
    assert note is not None
    assert note.status == "not installable"
    assert note.reason == "No matching distribution found under <BENCH_CACHE_DIR>/x"
    assert len(engine.log) == 2 * (1 + 2 + 2 * 3)
    assert len(reports) == (0 if which == 0 else 1)


def test_a_stack_that_cannot_start_is_a_note(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine], reports: list[Any]
) -> None:
    engine.broken.add("2.21.0")
    words = ("--stack", OLD, "--stack", NEW, *WORDS, "--results", tmp_path / "r")
    answer = bench("stacks", suite, *words)
    assert answer.code == 1
    note = stacks.read(tmp_path / "r" / "stacks" / "small" / "tensorflow-2.21")
    assert note is not None
    assert note.status == "not importable"
    assert str(tmp_path) not in note.reason
    assert note.packages == {"tensorflow": "2.21.0"}
    assert reports == []
    assert set(done(engine.log, TrialSpec).split()) == {"2.20.0"}
    engine.broken.clear()
    assert bench("stacks", suite, *words).code == 0
    assert len(reports) == 1


@pytest.mark.parametrize("what", ["failing", "unguarded"])
@pytest.mark.parametrize(("which", "code"), [(("2.21.0",), 1), (("2.20.0", "2.21.0"), 0)], ids=str)
def test_what_went_wrong_on_both_is_no_change(
    bench: Bench,
    suite: Path,
    tmp_path: Path,
    engine: type[Engine],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    which: tuple[str, ...],
    code: int,
) -> None:
    monkeypatch.setattr(command, "report", compare.report)
    getattr(engine, what).update(which)
    words = ("--stack", OLD, "--stack", NEW, "--skip-costs", "--results", tmp_path / "r")
    answer = bench("stacks", suite, *words)
    assert answer.code == code, answer.out + answer.err
    assert done(engine.log, CostSpec) == ""


def test_environments_of_floating_requirements_are_made_anew_once(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine]
) -> None:
    same = ("--stack", f"a: {OLD}", "--stack", f"b: {OLD} A=1", "--stack", "c: tensorflow==2.20.1")
    words = (*same, "--skip-costs", "--results", tmp_path / "r")
    bench("stacks", suite, *words)
    assert REFRESHED == [False, False, False]
    REFRESHED.clear()
    bench("stacks", suite, *words, "--refresh")
    assert REFRESHED == [True, False, False]


def test_a_reused_environment_says_its_age(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    ready = Ready(tmp_path / "2.20.0", {"tensorflow": "2.20.0"}, created=created)
    monkeypatch.setattr(environments, "made", lambda *_, **__: ready)
    words = ("--stack", "a: tensorflow", "--stack", "b: tensorflow==2.20.0", "--skip-costs")
    said = bench("stacks", suite, *words, "--results", tmp_path / "r").err
    assert (
        "a: environment there already, made 3 days ago; --refresh looks for newer versions: "
        "tensorflow 2.20.0"
    ) in said
    assert "b: environment there already, made 3 days ago: tensorflow 2.20.0" in said


def test_only_the_first_worker_waits_for_its_turn(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine]
) -> None:
    words = ("--stack", OLD, "--stack", NEW, "--skip-costs", "--results", tmp_path / "r")
    bench("stacks", suite, *words)
    assert engine.closed[0] == "2.21.0"


@pytest.mark.parametrize("form", ["json", "junit"])
def test_several_documents_need_files(
    bench: Bench, suite: Path, tmp_path: Path, made: list[Recipe], form: str
) -> None:
    words = ("--stack", OLD, "--stack", NEW, "--stack", "current", "--format", form)
    answer = bench("stacks", suite, *words, "--results", tmp_path / "r")
    assert f"--format {form}: 2 comparisons are as many documents: expected -o" in refused(answer)
    assert made == []


def test_secrets_and_folders_are_kept_nowhere(
    bench: Bench,
    suite: Path,
    tmp_path: Path,
    engine: type[Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine.broken.add("2.21.0")
    said = f"hush-hush at {sys.prefix}/lib and {sys.base_prefix}/lib in {Path.home()}/x"
    monkeypatch.setattr(engine, "said", said)
    secret = f"a: {OLD} HF_TOKEN=hush-hush"
    words = ("--stack", secret, "--stack", NEW, "--skip-costs", "--results", tmp_path / "r")
    answer = bench("stacks", suite, *words)
    assert engine.setups[0][1].environ["HF_TOKEN"] == "hush-hush"
    files = [f.read_text() for f in (tmp_path / "r").rglob("*.json*")]
    for text in (*files, answer.err, answer.out, bench("stacks", suite, *words, "--dry-run").out):
        assert "hush-hush" not in text
    note = stacks.read(tmp_path / "r" / "stacks" / "small" / "a")
    assert note is not None
    assert note.request.environ == {"HF_TOKEN": "***"}
    broken = stacks.read(tmp_path / "r" / "stacks" / "small" / "tensorflow-2.21")
    assert broken is not None
    assert broken.reason.endswith("*** at <python>/lib and <python>/lib in ~/x")
    engine.broken.clear()
    assert bench("stacks", suite, *words).code == 0  # the same stack, by what is kept of it


def test_a_suite_whose_rows_nobody_would_read_is_refused(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    named = suite.rename(tmp_path / "baselines.toml")
    words = ("--stack", OLD, "--stack", NEW, "--results", tmp_path / "r")
    assert "expected a name other than 'baselines'" in refused(bench("stacks", named, *words))


def test_stacks_of_one_id_are_told_apart_by_their_names(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    words = ("--stack", f"old: {OLD}", "--stack", f"older: {OLD} A=1", "--skip-costs")
    assert bench("stacks", suite, *words, "--results", tmp_path / "r").code == 0
    both, where = tmp_path / "r" / "stacks" / "small", ("--results", tmp_path / "r")
    found = results.read(both)
    assert [name.partition("/")[0] for name in found] == ["old", "older"]
    assert len({r.stack.id for r in found.values()}) == 1
    assert [len(r.trials) for r in found.values()] == [2, 2]
    old = results.chosen(found, both, "old", "--stack")
    assert old.folder == both / "old"
    assert results.chosen(found, both, "older", "--stack") is not old
    (plain,) = results.read(both / "old")
    assert plain == old.stack.id
    assert "choose by --stack TEXT from: old/" in refused(
        bench("baseline", "save", "v1", both, "--stack", plain, *where)
    )
    saved = bench("baseline", "save", "v1", both, "--stack", "older", *where)
    assert (saved.code, ": 2 trials" in saved.out) == (0, True)
    with pytest.raises(BenchError, match=f"2 stacks are {plain}: expected .* {both}/old or {both}"):
        baselines.save(tmp_path / "b", "v2", both, plain)
    assert not (tmp_path / "b" / "v2").exists()


def test_every_stack_is_held_against_the_first(
    bench: Bench, suite: Path, tmp_path: Path, reports: list[tuple[Any, ...]]
) -> None:
    words = ("--stack", OLD, "--stack", NEW, "--stack", NEW, "--skip-trials", *WORDS)
    output = ("-o", tmp_path / "report.md", "--results", tmp_path / "r")
    assert bench("stacks", suite, *words, *output).code == 0
    assert [r[2] for r in reports] == [
        ("tensorflow-2.20", "tensorflow-2.21-a"),
        ("tensorflow-2.20", "tensorflow-2.21-b"),
    ]
    assert [r[6].name for r in reports] == [
        "report-tensorflow-2.21-a.md",
        "report-tensorflow-2.21-b.md",
    ]


@pytest.mark.parametrize(
    ("codes", "code"), [([0, 3], 3), ([1, 3], 1), ([3, 0], 3), ([0, 0], 0)], ids=str
)
def test_the_exit_code_is_that_of_the_worst_comparison(
    bench: Bench,
    suite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    codes: list[int],
    code: int,
) -> None:
    left = iter(codes)
    monkeypatch.setattr(command, "report", lambda *_: next(left))
    words = ("--stack", OLD, "--stack", NEW, "--stack", "current", "--skip-costs")
    assert bench("stacks", suite, *words, "--results", tmp_path / "r").code == code


def test_another_stack_under_the_same_name_is_refused(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    words = ("--skip-costs", "--results", tmp_path / "r")
    assert bench("stacks", suite, "--stack", f"x: {OLD}", "--stack", NEW, *words).code == 0
    again = bench("stacks", suite, "--stack", f"x: {NEW}", "--stack", f"y: {NEW}", *words)
    assert "holds results of 'x: tensorflow==2.20.*'" in refused(again)


def test_a_stack_that_never_ran_keeps_no_name(bench: Bench, suite: Path, tmp_path: Path) -> None:
    words = ("--stack", NEW, "--skip-costs", "--results", tmp_path / "r")
    assert bench("stacks", suite, "--stack", "x: tensorflow==9.9", *words).code == 1
    assert bench("stacks", suite, "--stack", f"x: {OLD}", *words).code == 0


def test_requirements_in_another_order_are_the_same_stack(
    bench: Bench, suite: Path, tmp_path: Path
) -> None:
    words = ("--stack", NEW, "--skip-costs", "--results", tmp_path / "r")
    assert bench("stacks", suite, "--stack", f"x: {OLD} rich==15", *words).code == 0
    # The environment of straw is named by the first requirement, so it must stay that of OLD.
    note = stacks.read(tmp_path / "r" / "stacks" / "small" / "x")
    assert note is not None
    turned = note.request.model_copy(update={"requirements": note.request.requirements[::-1]})
    stacks.write(
        tmp_path / "r" / "stacks" / "small" / "x", note.model_copy(update={"request": turned})
    )
    assert bench("stacks", suite, "--stack", f"x: {OLD} rich==15", *words).code == 0


def test_an_interrupted_run_says_that_it_goes_on(
    bench: Bench, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "execute", interrupted)
    answer = bench("stacks", suite, "--stack", OLD, "--stack", NEW, "--results", tmp_path / "r")
    assert answer.code == 130
    assert "the same command goes on" in answer.err
    assert not list((tmp_path / "r").rglob("tmp-*"))


def test_a_dry_run_says_what_would_be_made(
    bench: Bench, suite: Path, tmp_path: Path, made: list[Recipe], engine: type[Engine]
) -> None:
    words = ("--stack", OLD, "--stack", "now: current A=1", "--dry-run", *WORDS)
    answer = bench("stacks", suite, *words, "--results", tmp_path / "r")
    assert answer.code == 0
    assert "tensorflow-2.20: tensorflow==2.20.*; computes with tensorflow" in answer.out
    assert "would be installed" in answer.out
    assert "now: what is installed here; computes with tensorflow, A=1" in answer.out
    assert "2 trials" in answer.out
    assert "MobileNetV2 · 224 px · numerics · float32" in answer.out
    assert "MobileNetV2 · 224 px · inference · batch 32 · default · 2 times" in answer.out
    assert (made, engine.setups) == ([], [])
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stack", OLD], "--stack given once: expected 2 to 26"),
        (["--stack", OLD, "--stack", "keras==x"], "--stack 'keras==x': expected"),
        (["--stack", OLD, "--stack", NEW, "--only", "nothing"], "--only 'nothing'"),
        (["--stack", OLD, "--stack", NEW, "--margins", "no.toml"], "no.toml"),
    ],
)
def test_wrong_input_is_one_line(
    bench: Bench, suite: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    assert said in refused(bench("stacks", suite, *words, "--results", tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_a_suite_with_a_backend_of_its_own(bench: Bench, suite: Path, tmp_path: Path) -> None:
    suite.write_text(
        suite.read_text().replace("[[matrix]]", '[execution]\nbackend="jax"\n[[matrix]]')
    )
    words = ("--stack", OLD, "--stack", "backend=jax", "--results", tmp_path / "r")
    said = refused(bench("stacks", suite, *words))
    assert "computes with tensorflow, but the suite has execution.backend = 'jax'" in said


def test_the_cache_shows_environments_beside_its_cap(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "stacks" / "jax-0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"label": "jax==1", "packages": {"jax": "1"}}')
    shown = bench("cache").out.splitlines()
    assert shown[0] == f"{tmp_path / 'cache'}: empty"
    assert shown[-2].split()[:4] == ["stacks", "jax==1", "–", "1"]
    assert shown[-1].endswith("beside the cap")
    assert "jax==1" in bench("cache", "--kind", "stacks").out
    bench("cache", "--clear", "--kind", "heads")
    assert folder.exists()
    bench("cache", "--clear", "--kind", "stacks")
    assert not folder.exists()
