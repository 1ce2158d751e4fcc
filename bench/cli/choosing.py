"""What ``bench choose`` does once it knows what was asked: measure, answer, save, report."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bench.cli import asking
from bench.cli.asking import Wanted
from bench.cli.console import err, named_suite, notes, out
from bench.cli.watching import doubts
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.analysis.choice import Candidate, Choice
    from bench.analysis.policy import Policy
    from bench.choices import Question
    from bench.reporting.live import LiveReport
    from bench.running.adaptive import Deadline, Ending, Next, Switch
    from bench.running.adaptive import Policy as Ask
    from bench.running.saving import Saved
    from bench.running.store import Store
    from bench.settings import Settings
    from bench.suite import Suite
    from bench.tasks import Row

REPORT_SECONDS = 8.0
"""Kept of the budget for the report."""
EXPORT_SECONDS = 40.0
"""Kept of the budget for checking what was saved; training the pick once more, the policy keeps."""


def choose(wanted: Wanted) -> None:
    """Do all of it, and exit: 0 with a pick, 1 without, 130 when interrupted."""
    from bench import cache
    from bench.running import backends, store
    from bench.running.adaptive import Deadline
    from bench.settings import Settings

    settings = Settings.from_environment()
    asking.check(wanted, backends.chosen(None), settings)
    kept = REPORT_SECONDS + (EXPORT_SECONDS if wanted.export else 0.0)
    if wanted.budget is not None and wanted.budget <= kept:
        raise BenchError(
            f"--time-budget: expected more than {kept:.0f} s, which the report"
            f"{' and the export take' if wanted.export else ' takes'}"
        )
    deadline = Deadline(None if wanted.budget is None else wanted.budget - kept)
    try:
        suite, text = asking.suite(wanted, settings)
        question = asking.question(wanted, suite, settings)
    except KeyboardInterrupt:
        err.print("bench: interrupted while looking at the data: nothing was measured yet")
        raise typer.Exit(130) from None
    folder = wanted.results / question.name
    with store.writing(folder, settings.names(suite.folder)) as held:
        cache.sweep(settings)
        held.keep_suite(text)
        done = _measured(wanted, question, suite, held, settings, deadline)
    _report(wanted, folder, settings, done.ending)
    if done.saved is not None:
        _say_saved(done.saved, wanted)
    if done.problem is not None:
        raise done.problem
    if done.ending.why == "interrupted":
        raise typer.Exit(130)
    good = done.saved.checked if done.saved else not wanted.export
    raise typer.Exit(0 if done.choice.pick is not None and good else 1)


# ------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class _Done:
    """How measuring ended, the answer, and the pick's model or why there is none."""

    ending: "Ending"
    choice: "Choice"
    saved: "Saved | None" = None
    problem: BenchError | None = None


def _measured(
    wanted: Wanted,
    question: "Question",
    suite: "Suite",
    held: "Store",
    settings: "Settings",
    deadline: "Deadline",
) -> _Done:
    """Run what the policy asks for, answer, and save the pick; rows of earlier runs count."""
    from bench.analysis import choosing
    from bench.analysis.policy import Policy
    from bench.choices import FILE
    from bench.reporting import choice_tables
    from bench.running import adaptive
    from bench.running.doubting import Doubting

    notes(held.notes)
    here = doubts(held.folder, settings, wanted.memory_limit)
    here.before()
    held.keep(FILE, question.model_dump_json(indent=1, exclude_defaults=True).encode())
    with _engine(suite, question, settings, held, wanted.memory_limit) as engine:
        here.started(engine)
        with _live(wanted, question) as live:
            settled = _settled(held, engine, question)
            tasks = len(question.trials) + len(question.probes)
            live.begins(engine.stack, tasks, len(settled))
            policy = Policy(question, saves=wanted.export is not None)
            ask = _asking(policy, wanted)
            doubting = Doubting(live, here)
            ending = adaptive.run(ask, settled, held, engine, doubting, deadline)
        why = "interrupted: the answer so far" if ending.why == "interrupted" else policy.why
        (err if wanted.json else out).print(f"stopped: {why}\n", markup=False, soft_wrap=True)
        choice = choosing.answer(question, ending.rows)
        form = "json" if wanted.json else "console"
        text = choice_tables.document(choice, form, _command(wanted, choice))
        out.print(text, markup=False, soft_wrap=True)
        if not (wanted.export and choice.pick) or ending.why == "interrupted":
            return _Done(ending, choice)
        try:
            saved = _saved(choice.pick, wanted.export, engine, wanted.force)
        except BenchError as error:
            return _Done(ending, choice, problem=error)
        except KeyboardInterrupt:
            problem = BenchError(f"{wanted.export}: interrupted, so there is no model")
            return _Done(ending, choice, problem=problem)
    return _Done(ending, choice, saved)


@contextmanager
def _engine(
    suite: "Suite",
    question: "Question",
    settings: "Settings",
    held: "Store",
    limit: int | None,
) -> "Iterator[Switch]":
    from bench.running import adaptive, devices, earlier_weights
    from bench.running.messages import Setup

    with held.scratch() as scratch:
        of_question = suite.model_copy(update={"trials": question.trials})
        setup = Setup.of(of_question, settings, scratch)
        known = earlier_weights.read(held.folder, question.trials)
        gpu = (*devices.visible(), None)[0]
        # It measures costs in the same process, which is what one device costs.
        changes = {"gpu": gpu, "devices": 1, "earlier_weights": known, "memory_limit": limit}
        setup = setup.model_copy(update=changes)
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
    """Rows of earlier runs that count here: of these candidates, on the pictures as they are."""
    from bench.analysis.candidates import gathered

    rows = list(held.settled(engine.stack).values())
    found, _ = gathered(question, rows)
    counting = {row.key for known in found for row in known.every_row}
    return [row for row in rows if row.key in counting]


def _asking(policy: "Policy", wanted: Wanted) -> "Ask":
    """The policy, which says after each trial how things stand, and once what looks mislabelled."""
    from bench.probes import ProbeResult
    from bench.records import TrialResult
    from bench.reporting import data_look

    console = err if wanted.json else out
    told, led = False, ""

    def ask(rows: "Sequence[Row]", left: float | None) -> "Next | None":
        nonlocal told, led
        last = rows[-1] if rows else None
        if isinstance(last, ProbeResult) and last.status == "ok" and not told:
            told = True
            console.print(data_look.render_suspects(last), markup=False, soft_wrap=True)
        if isinstance(last, TrialResult) and last.key != led:
            led = last.key
            console.print(f"  {policy.leader(rows)}", markup=False, soft_wrap=True)
        return policy(rows, left)

    return ask


# ---------------------------------------------------------------------------------- afterwards


def _command(wanted: Wanted, choice: "Choice") -> str:
    """The command that goes on from here: the same, with more seeds where those are used up."""
    words = ["bench", *sys.argv[1:]]
    asked = {spec.seed for spec in choice.question.trials}
    beyond = {spec.seed for step in choice.next for spec in step.specs} - asked
    if beyond and named_suite([wanted.task]) is None:
        if "--seeds" in words:
            del words[words.index("--seeds") : words.index("--seeds") + 2]
        words += ["--seeds", str(max(beyond) + 1)]
    elif beyond:
        words += ["--set", f"matrix.seeds={sorted(asked | beyond)}"]
    if wanted.export and choice.pick and not wanted.force:
        words.append("--force")
    return shlex.join(words)


def _saved(pick: "Candidate", path: Path, engine: "Switch", force: bool) -> "Saved":
    """Train the pick once more, with the seed that did best on val, and take its model away."""
    from bench.running import saving

    best = max(pick.rows, key=lambda row: row.last_phase.val_accuracy if row.last_phase else 0.0)
    err.print(f"bench: training {best.spec.label} once more to save it", markup=False)

    def begins(backend: str) -> None:
        err.print(f"bench: loading {path.name} without Bench, by {backend}", markup=False)

    return saving.save(engine, best.spec, path, force=force, begins=begins)


def _say_saved(saved: "Saved", wanted: Wanted) -> None:
    to = err if wanted.json else out
    words = (
        f"model: {saved.path}: seed {saved.card.seed}, the best on val; "
        f"{100 * saved.test_accuracy:.1f}% on test (the answer is the mean over seeds)"
    )
    if saved.rounding:
        words += (
            f"; in float32 its probabilities differ by up to {saved.rounding:.1e} from the trial's"
        )
    to.print(words, markup=False, soft_wrap=True)
    for tried in saved.reloaded:
        if tried.ok:
            apart = f"{tried.largest_difference:.1e}"
            same = f"another class on {tried.changed}" if tried.changed else "the same predictions"
            text = (
                f"loaded without Bench by {tried.backend}: {same} of {tried.pictures} pictures "
                f"(probabilities differ by {apart} at most)"
            )
        else:
            text = f"NOT the same when loaded by {tried.backend}: {tried.reason}"
        to.print(f"  {text}", markup=False, soft_wrap=True)


def _report(wanted: Wanted, folder: Path, settings: "Settings", ending: "Ending") -> None:
    """The report, unless nothing was measured or somebody is waiting for the prompt."""
    from bench.reporting import report

    output = wanted.output or Path("reports") / folder.name
    to = err if wanted.json else out
    to.print(f"\nresults: {folder}", markup=False, soft_wrap=True)
    if ending.why == "interrupted" or not ending.rows:
        words = shlex.join(["bench", "report", str(folder), "-o", str(output)])
        to.print(f"for a report: {words}", markup=False, soft_wrap=True)
        return
    made = report.build([folder], output, settings)
    to.print(f"report: {made.page}", markup=False, soft_wrap=True)
