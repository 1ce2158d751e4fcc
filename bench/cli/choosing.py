"""What ``bench choose`` does: look, ask, measure, answer, report, save."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from bench.cli.console import err, named_suite, notes, out
from bench.errors import BenchError, FileError

if TYPE_CHECKING:
    from bench.analysis.choice import Candidate, Choice
    from bench.choices import Objective, Question
    from bench.data.images import Images
    from bench.records import Data, Dataset, Freeze
    from bench.reporting.live import LiveReport
    from bench.running.adaptive import Deadline, Ending, Next, Policy, Switch
    from bench.running.saving import Saved
    from bench.running.store import Store
    from bench.settings import Settings
    from bench.suite import Suite
    from bench.tasks import Row

REPORT_SECONDS = 8.0
"""Kept of the budget for the report."""
EXPORT_SECONDS = 60.0
"""Kept of the budget for training the pick once more, saving it and checking what was saved."""

OPTIONS = {"data.image_size": "--image-size", "matrix[0].seeds": "--seeds"}
"""What the command line calls keys of the suite that it makes."""


@dataclass(frozen=True)
class Wanted:
    """What the command line says, parsed.

    Attributes:
        task: a folder, a dataset or a suite.
        backbones, freezes: empty for the usual ones.
        limits: by the names of `bench.choices.Limits`; None for none.
        objective, give_up, margin, sure: see `bench.choices.Question`.
        budget: seconds in all; None for as long as it takes.
        seeds, image_size: of a sweep that no suite describes.
        changes: to the suite, ``KEY=VALUE``.
        export: where to save the pick; None not to.
        force: replace a model that is there.
        output: of the report; None for the usual place.
        json: print the answer as JSON, and nothing else.
        results: where results go.
    """

    task: str
    backbones: "tuple[str, ...]"
    freezes: "tuple[Freeze, ...]"
    limits: Mapping[str, float | None]
    objective: "Objective"
    give_up: float
    margin: float
    sure: float
    budget: float | None
    seeds: int
    image_size: int
    changes: tuple[str, ...]
    export: Path | None
    force: bool
    output: Path | None
    json: bool
    results: Path


def choose(wanted: Wanted) -> None:
    """Do all of it, and exit: 0 with a pick, 1 without, 130 when interrupted."""
    from bench.running import backends
    from bench.running.adaptive import Deadline
    from bench.settings import Settings

    _check(wanted, backends.chosen(None))
    kept = REPORT_SECONDS + (EXPORT_SECONDS if wanted.export else 0.0)
    if wanted.budget is not None and wanted.budget <= kept:
        raise BenchError(
            f"--time-budget: expected more than {kept:.0f} s, which the report"
            f"{' and the export take' if wanted.export else ' takes'}"
        )
    deadline = Deadline(None if wanted.budget is None else wanted.budget - kept)
    settings = Settings.from_environment()
    try:
        suite, text = _suite(wanted, settings)
        question = _question(wanted, suite, settings)
    except KeyboardInterrupt:
        err.print("bench: interrupted while looking at the data: nothing was measured yet")
        raise typer.Exit(130) from None
    folder = wanted.results / question.name
    ending, saved = _measured(wanted, question, suite, text, folder, settings, deadline)
    _report(wanted, folder, settings, ending)
    if saved is not None:
        _say_saved(saved)
    if ending.why == "interrupted":
        raise typer.Exit(130)
    right = _picked(question, ending) and (saved is None or saved.checked)
    raise typer.Exit(0 if right and (saved is not None or not wanted.export) else 1)


def _check(wanted: Wanted, backend: str) -> None:
    """What can be told wrong before anything is read."""
    from bench import sweep
    from bench.running import saving
    from bench.zoo import backbones

    for name in wanted.backbones:
        if not sweep.is_file(name):
            backbones.row(name)
    if wanted.export is not None:
        saving.check(wanted.export, backend, force=wanted.force)


# ------------------------------------------------------------------------------- what is asked


def _suite(wanted: Wanted, settings: "Settings") -> "tuple[Suite, bytes]":
    """The suite whose trials are the candidates, and the text of its file."""
    from bench import suite as suites
    from bench.data import tasks

    path = named_suite([wanted.task])
    if path is not None:
        if wanted.backbones or wanted.freezes:
            option = "--backbones" if wanted.backbones else "--freezes"
            raise BenchError(
                f"{option}: {path} names its candidates itself: change them by --set "
                "'matrix.backbones=[...]' or 'matrix.freezes=[...]'"
            )
        suite = suites.load(path, changes=wanted.changes)
        return _runnable(suite, settings), path.read_bytes()
    return _sweep(wanted, tasks.dataset(wanted.task, settings), settings)


def _sweep(wanted: Wanted, dataset: "Dataset", settings: "Settings") -> "tuple[Suite, bytes]":
    """A sweep of our own over the candidates that the command line names."""
    from bench import suite as suites
    from bench import sweep
    from bench.data import splits
    from bench.records import Data

    data = Data(dataset=dataset, image_size=wanted.image_size, splits=sweep.SPLITS)
    train = len(splits.split(_opened(data, Path.cwd(), settings), data).train)
    text = sweep.suite_text(
        sweep.Asked(
            dataset=dataset,
            train=train,
            backbones=wanted.backbones or sweep.BACKBONES,
            freezes=wanted.freezes,
            seeds=wanted.seeds,
            image_size=wanted.image_size,
        )
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{dataset.name}.toml"
        file.write_text(text, encoding="utf-8")
        try:
            suite = suites.load(file, changes=wanted.changes)
        except FileError as error:
            found = "is missing" if error.value is None else f"= {error.value!r}"
            place = OPTIONS.get(error.key, error.key)
            raise BenchError(f"{place} {found}: expected {error.expected}") from error
    return _runnable(suite.model_copy(update={"folder": Path.cwd()}), settings), text.encode()


def _runnable(suite: "Suite", settings: "Settings") -> "Suite":
    """The suite without backbones whose weights are known to be missing.

    Raises:
        BenchError: something else is missing, or there is no backbone left.
    """
    from bench import sweep
    from bench.running import plan
    from bench.zoo import weights

    missing: dict[str, str] = {}
    for backbone in sweep.backbones_of(suite):
        try:
            weights.locate(backbone, settings, suite.folder)
        except BenchError as error:
            missing[backbone.name] = str(error)
    left = tuple(t for t in suite.trials if t.backbone.name not in missing)
    if not left:
        raise BenchError("; ".join(missing.values()))
    notes(f"left out: {text}" for text in missing.values())
    suite = suite.model_copy(update={"trials": left})
    if problems := plan.problems(suite, settings):
        raise BenchError("; ".join(problems))
    return suite


def _question(wanted: Wanted, suite: "Suite", settings: "Settings") -> "Question":
    """What is asked, of the pictures as they are now; says what is to be said of them."""
    from bench import sweep
    from bench.choices import Limits
    from bench.data import datasets, look, splits
    from bench.reporting import data_look

    data = sweep.one_task(suite)
    images = _opened(data, suite.folder, settings)
    split = splits.split(images, data)
    if not wanted.json:
        seen = look.look(images, split, datasets.located(data.dataset, suite.folder))
        out.print(data_look.render(seen), markup=False, soft_wrap=True)
        out.print()
    own = suite.name == data.dataset.name
    name = data.dataset.name if own else f"{suite.name}-{data.dataset.name}"
    question = sweep.question(
        suite,
        sweep.Pictures(len(split.train), len(split.val), len(images.class_names)),
        name=f"choose-{name}",
        limits=Limits.model_validate(dict(wanted.limits)),
        objective=wanted.objective,
        give_up=wanted.give_up,
        margin=wanted.margin,
        sure=wanted.sure,
        budget_seconds=wanted.budget,
    )
    kinds = dict.fromkeys([data, *(probe.data for probe in question.probes)])
    prints = tuple(splits.split(images, kind).fingerprint for kind in kinds)
    return question.model_copy(update={"pictures": prints})


def _opened(data: "Data", base: Path, settings: "Settings") -> "Images":
    from bench.data import datasets
    from bench.data.apart import open_apart

    with err.status("reading pictures ..."):
        return open_apart(datasets.located(data.dataset, base), data.image_size, settings)


# ------------------------------------------------------------------------------------ measuring


def _measured(
    wanted: Wanted,
    question: "Question",
    suite: "Suite",
    text: bytes,
    folder: Path,
    settings: "Settings",
    deadline: "Deadline",
) -> "tuple[Ending, Saved | None]":
    """Run what the policy asks for, answer, and save the pick; rows of earlier runs count."""
    from bench.analysis import choosing
    from bench.choices import FILE
    from bench.reporting import choice_tables
    from bench.running import adaptive, store

    with store.writing(folder, settings.names(suite.folder)) as held:
        notes(held.notes)
        held.keep_suite(text)
        held.keep(FILE, question.model_dump_json(indent=1, exclude_defaults=True).encode())
        with _engine(suite, question, settings, held) as engine:
            with _live(wanted, question) as live:
                settled = _settled(held, engine, question)
                live.begins(engine.stack, _tasks(question), len(settled))
                policy = _policy(question, wanted)
                ending = adaptive.run(policy, settled, held, engine, live, deadline)
            choice = choosing.answer(question, ending.rows)
            form = "json" if wanted.json else "console"
            command = _command(wanted, choice)
            out.print(choice_tables.document(choice, form, command), markup=False, soft_wrap=True)
            saved = None
            if wanted.export and choice.pick and ending.why != "interrupted":
                saved = _saved(choice.pick, wanted.export, engine, wanted.force)
    return ending, saved


@contextmanager
def _engine(
    suite: "Suite", question: "Question", settings: "Settings", held: "Store"
) -> "Iterator[Switch]":
    from bench.running import adaptive, devices
    from bench.running.messages import Setup

    with held.scratch() as scratch:
        of_question = suite.model_copy(update={"trials": question.trials})
        setup = Setup.of(of_question, settings, scratch)
        setup = setup.model_copy(update={"gpu": (*devices.visible(), None)[0]})
        minutes = suite.trial_minutes
        engine = adaptive.Switch(setup, 60 * minutes if minutes else None)
        try:
            yield engine
        finally:
            engine.close()


def _live(wanted: Wanted, question: "Question") -> "LiveReport":
    """What is told while it runs; on standard error where standard output is the answer's."""
    from bench.reporting.live import LiveReport

    return LiveReport(err if wanted.json else out, question.name, "task", open_end=True)


def _settled(held: "Store", engine: "Switch", question: "Question") -> "list[Row]":
    """Rows of earlier runs that are about this question."""
    from bench.analysis.candidates import cost_of

    about = {t.key for t in question.trials} | {p.key for p in question.probes}
    about |= {cost_of(spec).key for spec in question.trials}
    return [row for key, row in held.settled(engine.stack).items() if key in about]


def _tasks(question: "Question") -> int:
    return len(question.trials) + len(question.probes)


def _policy(question: "Question", wanted: Wanted) -> "Policy":
    """The policy, which says after each trial how things stand, and once what looks mislabelled."""
    from bench.analysis import policy
    from bench.probes import ProbeResult
    from bench.records import TrialResult
    from bench.reporting import data_look

    console = err if wanted.json else out
    told = False

    def ask(rows: "Sequence[Row]", left: float | None) -> "Next | None":
        nonlocal told
        last = rows[-1] if rows else None
        if isinstance(last, ProbeResult) and last.status == "ok" and not told:
            told = True
            console.print(data_look.render_suspects(last), markup=False, soft_wrap=True)
        if isinstance(last, TrialResult):
            console.print(f"  {policy.leader(question, rows)}", markup=False, soft_wrap=True)
        return policy.next_task(question, rows, left)

    return ask


# ---------------------------------------------------------------------------------- afterwards


def _command(wanted: Wanted, choice: "Choice") -> str:
    """The command that goes on from here: the same, with more seeds where those are used up."""
    words = ["bench", *sys.argv[1:]]
    asked = {spec.seed for spec in choice.question.trials}
    beyond = {spec.seed for step in choice.next for spec in step.specs} - asked
    if beyond and named_suite([wanted.task]) is None:
        words += ["--seeds", str(max(beyond) + 1)]
    elif beyond:
        words += ["--set", f"matrix.seeds={sorted(asked | beyond)}"]
    return shlex.join(words)


def _saved(pick: "Candidate", path: Path, engine: "Switch", force: bool) -> "Saved":
    """Train the pick once more, with the seed that did best on val, and take its model away."""
    from bench.running import saving

    best = max(pick.rows, key=lambda row: row.last_phase.val_accuracy if row.last_phase else 0.0)
    err.print(f"bench: training {best.spec.label} once more to save it", markup=False)

    def begins(backend: str) -> None:
        err.print(f"bench: loading {path.name} without Bench, by {backend}", markup=False)

    return saving.save(engine, best.spec, path, force=force, begins=begins)


def _say_saved(saved: "Saved") -> None:
    words = f"model: {saved.path}: {100 * saved.test_accuracy:.1f}% on test"
    if saved.rounding:
        words += (
            f"; in float32 its probabilities differ by up to {saved.rounding:.1e} from the trial's"
        )
    out.print(words, markup=False, soft_wrap=True)
    for tried in saved.reloaded:
        if tried.ok:
            apart = f"{tried.largest_difference:.1e}"
            text = (
                f"loaded without Bench by {tried.backend}: the same predictions on "
                f"{tried.pictures} pictures (probabilities differ by {apart} at most)"
            )
        else:
            text = f"NOT the same when loaded by {tried.backend}: {tried.reason}"
        out.print(f"  {text}", markup=False, soft_wrap=True)


def _report(wanted: Wanted, folder: Path, settings: "Settings", ending: "Ending") -> None:
    """The report, unless nothing was measured or somebody is waiting for the prompt."""
    from bench.reporting import report

    output = wanted.output or Path("reports") / folder.name
    to = err if wanted.json else out
    to.print(f"\nresults: {folder}", markup=False, soft_wrap=True)
    if ending.why == "interrupted" or not ending.rows:
        words = shlex.join(["bench", "report", str(folder), "-o", str(output)])
        to.print(f"report: {words}", markup=False, soft_wrap=True)
        return
    made = report.build([folder], output, settings)
    to.print(f"report: {made.page}", markup=False, soft_wrap=True)


def _picked(question: "Question", ending: "Ending") -> bool:
    from bench.analysis import choosing

    return choosing.answer(question, ending.rows).pick is not None
