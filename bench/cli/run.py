"""``bench run``: a suite's trials."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import fleets
from bench.cli.console import Changes, err, interruptible, notes, out, suite_path
from bench.cli.show import Form, tables_of
from bench.cli.watching import MemoryLimit, doubts, memory_limit
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.records import Stack
    from bench.running.listening import FleetListener
    from bench.running.plan import Plan
    from bench.running.store import Store
    from bench.settings import Settings
    from bench.suite import Suite
    from bench.tasks import Row


def run(
    suite: Annotated[
        str,
        typer.Argument(
            help="A suite file, its name under suites/, or a results folder to run again."
        ),
    ],
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Its tiny version, by its smoke table.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only trials whose label holds this text, or whose key begins so; may be given "
            "again."
        ),
    ] = None,
    literal: Annotated[
        bool, typer.Option("--literal", help="Share nothing: each trial step by step.")
    ] = False,
    workers: fleets.Workers = None,
    engine: fleets.Engine = fleets.EngineName.LOCAL,
    address: fleets.Address = None,
    gpus_per_worker: fleets.GpusPerWorker = None,
    cpus_per_worker: fleets.CpusPerWorker = None,
    limit: MemoryLimit = None,
    changes: Changes = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Event files of each trial as it ends, for TensorBoard."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
) -> None:
    """Run a suite; the same command continues one that was stopped."""
    from bench import cache
    from bench.running import plan, store
    from bench.settings import Settings

    loaded, file = _loaded(suite_path(suite), smoke, changes or [], only or [])
    notes(loaded.warnings)
    settings = Settings.from_environment()
    there = fleets.where(engine, workers, address, gpus_per_worker, cpus_per_worker, loaded.devices)
    most = memory_limit(limit)
    problems = plan.problems(loaded, settings, elsewhere=there.ray is not None)
    if dry_run:
        _print_trials(plan.of(loaded, settings, literal, results / loaded.name), problems)
        return
    if problems:
        raise BenchError("; ".join(problems))
    _prepare(tensorboard)
    folder = results / loaded.name
    with interruptible(), store.writing(folder, settings.names(loaded.folder)) as held:
        cache.sweep(settings)
        if file.is_file():
            held.keep_suite(file.read_bytes())
        complete = _measure(loaded, held, settings, literal, there, tensorboard, most)
    tables_of(folder, Form.CONSOLE, {t.key for t in loaded.trials})
    out.print(f"\nresults: {folder}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if complete else 1)


def _loaded(
    path: Path, smoke: bool, changes: Sequence[str], only: Sequence[str]
) -> "tuple[Suite, Path]":
    """The suite, or the trials of a results folder; and the file that it is, or was, written in."""
    from bench import suite as suites
    from bench.running import again, plan, store

    if not path.is_dir():
        suite = suites.load(path, smoke=smoke, changes=changes)
        chosen = plan.select(suite.trials, only) if only else suite.trials
        return suite.model_copy(update={"trials": chosen}), path
    if smoke or changes:
        option = "--smoke" if smoke else "--set"
        raise BenchError(
            f"{path}: expected no {option}, since the trials of a results folder run as they are; "
            f"run {path / store.SUITE} to change them"
        )
    return again.suite_of(path, only), path / store.SUITE


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
    there: fleets.Where,
    tensorboard: Path | None,
    limit: int | None,
) -> bool:
    """Run the suite into a held store; whether every trial has a result and passed its guards.

    A trial with a trap must fail guards that should notice it, and no others.
    """
    from bench.reporting.live import LiveReport
    from bench.running import earlier_weights, expected, runner
    from bench.running.doubting import Doubting
    from bench.running.messages import Setup

    notes((*held.notes, *_crowded(there.gpus)))
    seconds = 60 * suite.trial_minutes if suite.trial_minutes else None
    needed = _to_cache(suite, held, settings, literal)
    here = doubts(held.folder, settings, limit, needed, alone=there.ray is None)
    here.before(len(there.gpus))
    with held.scratch() as scratch:
        setup = Setup.of(suite, settings, scratch, literal=literal).model_copy(
            update={
                "earlier_weights": earlier_weights.read(held.folder, suite.trials),
                "memory_limit": limit,
            }
        )
        with (
            fleets.opened(there, setup, seconds) as workers,
            LiveReport(out, suite.name) as live,
            _mirrored(live, tensorboard, suite, held) as listener,
        ):
            here.started(*workers.engines)
            doubting = Doubting(listener, here)
            if workers.fleet is None:
                summary = runner.run(suite.trials, held, workers.engines[0], doubting)
            else:
                fleet = workers.fleet
                told = expected.of_store(held.folder, fleet.stack, literal).seconds
                summary = runner.run_on(
                    suite.trials, held, fleet, doubting, literal=literal, seconds=told
                )
    if literal:
        _tell_shared(summary.settled)
    return all(map(_right, (*summary.measured, *summary.settled)))


def _to_cache(
    suite: "Suite", held: "Store", settings: "Settings", literal: bool
) -> Callable[[int], int]:
    """What the run will write to the cache, as far as the plan knows; asked where room is scarce.

    Making the plan takes as long as reading the rows, and no cache grows beyond its cap.
    """
    from bench.running import plan

    def needed(free: int) -> int:
        if free >= settings.cache_bytes:
            return 0
        planned = plan.of(suite, settings, literal, held.folder)
        if all(step.cached for step in planned.of_kind("activations")):
            return 0
        kept = (part.bytes or 0 for part in planned.frontiers if part.state == "kept")
        features = (part.bytes or 0 for part in planned.features if part.fit)
        return min(settings.cache_bytes, sum(kept) + sum(features))

    return needed


def _prepare(directory: Path | None) -> None:
    """Find out now, rather than after hours, that there can be no event files."""
    if directory:
        from bench.reporting import tensorboard

        tensorboard.prepare(directory)


@contextmanager
def _mirrored(
    live: "FleetListener", directory: Path | None, suite: "Suite", held: "Store"
) -> Iterator["FleetListener"]:
    """The listener, or one that writes event files, too."""
    if directory is None:
        yield live
        return
    from bench.reporting.tensorboard import Mirror

    keys = {trial.key for trial in suite.trials}

    def settled(stack: "Stack") -> "list[Row]":
        return [row for key, row in held.settled(stack).items() if key in keys]

    mirror = Mirror(live, directory, settled)
    try:
        yield mirror
    finally:
        notes(mirror.problems)


def _right(row: "Row") -> bool:
    """Whether a trial has a result, and its guards say what they should."""
    from bench.zoo import traps

    trap = getattr(row.spec, "trap", None)
    if trap and row.status == "skipped":
        return True  # the mistake cannot be made there, which is no fault
    return row.status == "ok" and traps.as_expected(trap, row.failed_guards)


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
