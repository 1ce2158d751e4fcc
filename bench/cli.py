"""The command line: the only place that prints an error and exits.

Exit codes: 0 done, 1 done but some trial has no result or a guard failed, 2 wrong usage or input,
130 interrupted. Nothing here imports Keras or TensorFlow; worker processes do.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bench import __version__
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.costs import Row
    from bench.running.cases import Asked, Choice
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


class Mode(StrEnum):
    """Ways to run a step that `bench measure` measures."""

    DEFAULT = "default"
    BEST = "best"


class Numbers(StrEnum):
    """Precisions of a computation."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "mixed_bfloat16"
    FLOAT16 = "mixed_float16"


class Form(StrEnum):
    """Formats of a table."""

    CONSOLE = "console"
    MARKDOWN = "markdown"
    CSV = "csv"
    LATEX = "latex"
    PYTEST_BENCHMARK = "pytest-benchmark"


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
    workers: Annotated[
        str, typer.Option(metavar="N|auto", help="Trials at a time; auto: one on each GPU.")
    ] = "1",
    results: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
) -> None:
    """Run a suite; the same command continues one that was stopped."""
    from bench import suite as suites
    from bench.running import devices, plan, store
    from bench.settings import Settings

    loaded = suites.load(_suite_path(suite), smoke=smoke)
    if only:
        loaded = loaded.model_copy(update={"trials": plan.select(loaded.trials, only)})
    for warning in loaded.warnings:
        err.print(f"bench: note: {warning}", markup=False, soft_wrap=True)
    settings, gpus = Settings.from_environment(), devices.places(workers)
    problems = plan.problems(loaded, settings)
    if dry_run:
        _print_trials(plan.of(loaded, settings, literal, results / loaded.name), problems)
        return
    if problems:
        raise BenchError("; ".join(problems))
    folder = results / loaded.name
    try:
        with store.writing(folder, settings.names(loaded.folder)) as held:
            complete = _measure(loaded, held, settings, literal, gpus)
    except KeyboardInterrupt:  # caught here, because typer would end in silence
        err.print("bench: interrupted; what was measured is kept, the same command goes on")
        raise typer.Exit(130) from None
    _show(folder, Form.CONSOLE, {t.key for t in loaded.trials})
    out.print(f"\nresults: {folder}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if complete else 1)


@app.command()
def measure(
    what: Annotated[list[str], typer.Argument(help="A suite, or names of backbones.")],
    mode: Annotated[
        list[Mode] | None, typer.Option(help="Out of the box, or the fastest way; or both.")
    ] = None,
    batch_size: Annotated[
        list[str] | None, typer.Option(help="Pictures in a step, or 'largest' that fits.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=32, help="Side, in pixels.")] = None,
    precision: Annotated[Numbers | None, typer.Option(help="Of the computation.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="To time each kind of step.")] = 10.0,
    smoke: Annotated[bool, typer.Option("--smoke", help="The suite's tiny version.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only what has this text in its label; may be given again."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Repeat what is in doubt from an earlier run.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    results: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
) -> None:
    """Measure what backbones cost: throughput, latency, memory. Trains nothing to accuracy."""
    from bench.running import cases

    choice = cases.Choice(
        modes=tuple(m.value for m in mode or [Mode.DEFAULT]),
        batch_sizes=cases.batch_sizes(batch_size) if batch_size else None,
        image_size=image_size,
        precision=precision.value if precision else None,
    )
    asked = _asked(what, smoke, choice, only or [])
    if dry_run:
        for case in asked.cases:
            out.print(case.label, markup=False, soft_wrap=True)
        return
    folder = results / asked.name
    try:
        complete = _measure_costs(asked, folder, seconds, again)
    except KeyboardInterrupt:  # caught here, because typer would end in silence
        err.print("bench: interrupted; what was measured is kept, the same command goes on")
        raise typer.Exit(130) from None
    _show(folder, Form.CONSOLE, {c.key for c in asked.cases})
    out.print(f"\nresults: {folder}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if complete else 1)


@app.command()
def show(
    results: Annotated[
        Path, typer.Argument(help="A results folder, or a JSON file of pytest-benchmark.")
    ],
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.CONSOLE,
    time_to: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Show when val reached this accuracy (0 to 1)."),
    ] = None,
) -> None:
    """Print the tables of a results folder: trials, and measurements of cost."""
    _show(results, form, target=time_to)


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


@app.command()
def doctor() -> None:
    """Say what runs here: backends, devices, cache, weights, data; and what is wrong."""
    from bench.reporting import doctor as examination
    from bench.settings import Settings

    findings = examination.examine(Settings.from_environment())
    out.print(examination.rendered(findings), markup=False, soft_wrap=True)
    raise typer.Exit(1 if any(f.problem for f in findings) else 0)


def _asked(what: list[str], smoke: bool, choice: "Choice", only: list[str]) -> "Asked":
    """The measurements of a suite, or of backbones by their names."""
    from bench import suite as suites
    from bench.running import cases, plan

    path = _suite_path(what[0])
    if len(what) == 1 and (path.suffix == ".toml" and (path.exists() or path == Path(what[0]))):
        loaded = suites.load(path, smoke=smoke)
        asked = cases.of_suite(loaded, choice)
    else:
        asked = cases.of_backbones(what, choice)
    return replace(asked, cases=plan.select(asked.cases, only))


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


def _measure(
    suite: "Suite",
    held: "Store",
    settings: "Settings",
    literal: bool,
    gpus: Sequence[str | None],
) -> bool:
    """Run the suite into a held store; whether every trial has a result and passed its guards."""
    from bench.reporting.live import LiveReport
    from bench.running import runner
    from bench.running.engines import local_engines
    from bench.running.messages import Setup

    for note in (*held.notes, *_crowded(gpus)):
        err.print(f"bench: note: {note}", markup=False, soft_wrap=True)
    seconds = 60 * suite.trial_minutes if suite.trial_minutes else None
    with held.scratch() as scratch:
        setup = Setup.of(suite, settings, scratch, literal=literal)
        with local_engines(setup, seconds, gpus) as engines, LiveReport(out, suite.name) as live:
            summary = runner.run_side_by_side(suite.trials, held, engines, live)
    if literal:
        _tell_shared(summary.settled)
    return summary.all_ok and not any(
        r.failed_guards for r in (*summary.measured, *summary.settled)
    )


def _measure_costs(asked: "Asked", folder: Path, seconds: float, again: bool) -> bool:
    """Measure one after another, never two at once; whether every one has a result."""
    from bench.records import Execution
    from bench.reporting.live import LiveReport
    from bench.running import backends, cases, devices, runner, store
    from bench.running.engines import local_engines
    from bench.running.messages import Setup
    from bench.settings import Settings

    if problem := backends.problem(asked.backend):
        raise BenchError(problem)
    settings = Settings.from_environment()
    with store.writing(folder, settings.names(asked.folder)) as held:
        for note in held.notes:
            err.print(f"bench: note: {note}", markup=False, soft_wrap=True)
        with held.scratch() as scratch:
            setup = Setup(
                settings=settings,
                folder=asked.folder,
                scratch=scratch.absolute(),
                # Deterministic kernels are slower ones, and no result needs to be equal twice.
                execution=Execution(precision=asked.cases[0].precision, deterministic=False),
                timed_seconds=seconds,
                backend=asked.backend,
            )
            live = LiveReport(out, asked.name, "measurement")
            # One GPU, and the same each time. None leaves a machine without any to its framework.
            gpu = (*devices.visible(), None)[:1]

            def stands(row: "Row") -> bool:
                return cases.stands(row, seconds, again)

            with local_engines(setup, 60 * asked.minutes, gpu) as engines, live:
                summary = runner.run_side_by_side(asked.cases, held, engines, live, stands)
    return summary.all_ok


def _crowded(gpus: Sequence[str | None]) -> list[str]:
    """What to know of several workers without a GPU each."""
    if len(gpus) == 1 or gpus[0] is not None:
        return []
    return [
        f"{len(gpus)} workers share this machine's processor; their times and images/s are not "
        "those of a trial alone, and OMP_NUM_THREADS limits the threads of each"
    ]


def _tell_shared(settled: "Sequence[Row]") -> None:
    """Say which rows of earlier runs are not what ``--literal`` asks for."""
    count = sum(getattr(row, "way", "") == "shared" for row in settled)
    if not count:
        return
    one = count == 1
    err.print(
        f"bench: note: {'1 trial was' if one else f'{count:,} trials were'} measured before by "
        f"sharing and {'is' if one else 'are'} kept; give another --results to measure "
        f"{'it' if one else 'them'} literally",
        soft_wrap=True,
    )


def _show(
    folder: Path, form: Form, keys: set[str] | None = None, target: float | None = None
) -> None:
    """Print the table of a folder or a JSON file, or of these trials in it."""
    from bench.reporting import cost_tables, pytest_benchmark, tables
    from bench.running import store

    if folder.suffix == ".json" and not folder.is_dir():
        contents = store.Contents((), pytest_benchmark.read(folder))
    else:
        contents = store.read(folder)
    rows = [r for r in contents.rows if keys is None or r.key in keys]
    costs = [c for c in contents.costs if keys is None or c.key in keys]
    found = []
    if form is Form.PYTEST_BENCHMARK:  # which has no place for what has no throughput
        found.append(pytest_benchmark.document(costs))
        rows, costs = [], [c for c in costs if c.device]
    else:
        if rows or not costs:
            found.append(tables.document(rows, form.value, contents.costs, target))
        if costs:
            found.append(cost_tables.document(costs, form.value))
    sys.stdout.write("\n\n".join(found) + "\n")
    others = len(contents.rows) + len(contents.costs) - len(rows) - len(costs)
    if others:
        err.print(f"bench: {others} other rows not shown; bench show {folder} has all")
    for problem in contents.problems:
        err.print(f"bench: {problem}", markup=False, soft_wrap=True)
