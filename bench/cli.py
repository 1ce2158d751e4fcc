"""The command line: the only place that prints an error and exits.

Exit codes: 0 done, 1 done but some trial has no result or a guard failed, 2 wrong usage or input,
130 interrupted. Nothing here imports Keras or TensorFlow; worker processes do.
"""

import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bench import __version__
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.records import TrialResult
    from bench.running.plan import Plan
    from bench.running.store import Store
    from bench.settings import Settings
    from bench.suite import Suite

app = typer.Typer(
    help="Which pretrained backbone, and how much of it to unfreeze: measured answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

SUITES = Path("suites")


class Kind(StrEnum):
    """What `bench list` can list."""

    BACKBONES = "backbones"
    DATASETS = "datasets"
    FREEZES = "freezes"
    HEADS = "heads"
    AUGMENTATIONS = "augmentations"
    SUITES = "suites"


class Form(StrEnum):
    """Formats of a table."""

    CONSOLE = "console"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"


def main() -> None:
    """Run the command line; every error of ours becomes one line and exit code 2."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that workers are ended
    try:
        app(standalone_mode=True)
    except BenchError as error:
        err.print(f"bench: {error}", style="bold red", markup=False, soft_wrap=True)
        sys.exit(2)


def _version(show: bool) -> None:
    if show:
        out.print(f"bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List backbones, datasets, freeze strategies, heads, augmentations or suites."""
    from bench.reporting import listings

    out.print(listings.listing(kind.value, SUITES), soft_wrap=True, markup=False)


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="A suite file, or its name under suites/.")],
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Its tiny version, by its smoke table.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only trials whose label holds this text; may be given again."),
    ] = None,
    literal: Annotated[
        bool, typer.Option("--literal", help="Share nothing: each trial step by step.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
) -> None:
    """Run a suite; the same command continues one that was stopped."""
    from bench import suite as suites
    from bench.running import plan, store
    from bench.settings import Settings

    loaded = suites.load(_suite_path(suite), smoke=smoke)
    if only:
        loaded = loaded.model_copy(update={"trials": plan.select(loaded.trials, only)})
    for warning in loaded.warnings:
        err.print(f"bench: note: {warning}", markup=False, soft_wrap=True)
    settings = Settings.from_environment()
    problems = plan.problems(loaded, settings)
    if dry_run:
        _print_trials(plan.of(loaded, settings, literal, results / loaded.name), problems)
        return
    if problems:
        raise BenchError("; ".join(problems))
    folder = results / loaded.name
    try:
        with store.writing(folder, settings.names(loaded.folder)) as held:
            complete = _measure(loaded, held, settings, literal)
    except KeyboardInterrupt:  # caught here, because typer would end in silence
        err.print("bench: interrupted; what was measured is kept, the same command goes on")
        raise typer.Exit(130) from None
    _show(folder, Form.CONSOLE, {t.key for t in loaded.trials})
    out.print(f"\nresults: {folder}", markup=False)
    raise typer.Exit(0 if complete else 1)


@app.command()
def show(
    results: Annotated[Path, typer.Argument(help="A results folder.")],
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.CONSOLE,
) -> None:
    """Print the table of a results folder."""
    _show(results, form)


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what would be shown.")] = False,
    kind: Annotated[
        str | None, typer.Option(help="Only these: images, activations, heads or modes.")
    ] = None,
) -> None:
    """Show, or clear, the cache of decoded pictures and other intermediate work."""
    from bench import cache as caches
    from bench.reporting import listings
    from bench.settings import Settings

    settings = Settings.from_environment()
    kinds, folder = ([kind], settings.cache / kind) if kind else (None, settings.cache)
    if clear:
        freed = caches.clear(settings, kinds)
        out.print(f"{folder}: {listings.size(freed)} freed", markup=False, soft_wrap=True)
        return
    entries = caches.entries(settings, kinds)
    cap = None if kind else settings.cache_bytes
    out.print(listings.cache_listing(folder, entries, cap), soft_wrap=True, markup=False)


def _suite_path(suite: str) -> Path:
    """The path given, or the file of that name under suites/."""
    path, named = Path(suite), SUITES / f"{suite}.toml"
    is_path = path.suffix or path.is_file() or (path.is_dir() and not named.exists())
    return path if is_path else named


def _print_trials(planned: "Plan", problems: list[str]) -> None:
    from bench.reporting import plans

    out.print(plans.listing(planned), markup=False, soft_wrap=True)
    for problem in problems:
        err.print(f"bench: would stop here: {problem}", markup=False, soft_wrap=True)


def _measure(suite: "Suite", held: "Store", settings: "Settings", literal: bool) -> bool:
    """Run the suite into a held store; whether every trial has a result and passed its guards."""
    from bench.reporting.live import LiveReport
    from bench.running import runner
    from bench.running.isolation import LocalEngine
    from bench.running.messages import Setup

    for note in held.notes:
        err.print(f"bench: note: {note}", markup=False, soft_wrap=True)
    seconds = 60 * suite.trial_minutes if suite.trial_minutes else None
    with held.scratch() as scratch:
        setup = Setup.of(suite, settings, scratch, literal=literal)
        engine = LocalEngine(setup, seconds)
        try:
            with LiveReport(out, suite.name) as live:
                summary = runner.run(suite.trials, held, engine, live)
        finally:
            engine.close()
    if literal:
        _tell_shared(summary.settled)
    return summary.all_ok and not any(
        r.failed_guards for r in (*summary.measured, *summary.settled)
    )


def _tell_shared(settled: "Sequence[TrialResult]") -> None:
    """Say which rows of earlier runs are not what ``--literal`` asks for."""
    count = sum(row.way == "shared" for row in settled)
    if not count:
        return
    one = count == 1
    err.print(
        f"bench: note: {'1 trial was' if one else f'{count:,} trials were'} measured before by "
        f"sharing and {'is' if one else 'are'} kept; give another --results to measure "
        f"{'it' if one else 'them'} literally",
        soft_wrap=True,
    )


def _show(folder: Path, form: Form, keys: set[str] | None = None) -> None:
    """Print the table of a folder, or of these trials in it."""
    from bench.reporting import tables
    from bench.running import store

    contents = store.read(folder)
    rows = [r for r in contents.rows if keys is None or r.key in keys]
    sys.stdout.write(tables.document(rows, form.value) + "\n")
    if len(rows) < len(contents.rows):
        others = len(contents.rows) - len(rows)
        err.print(f"bench: {others} rows of other trials not shown; bench show {folder} has all")
    for problem in contents.problems:
        err.print(f"bench: {problem}", markup=False, soft_wrap=True)
