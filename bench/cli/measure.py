"""``bench measure``: what backbones cost."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import Changes, interruptible, named_suite, notes, out
from bench.cli.show import Form, tables_of
from bench.cli.watching import MemoryLimit, Seconds, doubts, memory_limit
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.costs import CostSpec
    from bench.running.cases import Asked, Choice
    from bench.running.doubts import Doubts
    from bench.running.messages import Setup
    from bench.settings import Settings
    from bench.tasks import Row


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


ImageSize = Annotated[int | None, typer.Option(min=32, max=2048, help="Side, in pixels.")]


def measure(
    what: Annotated[list[str], typer.Argument(help="A suite, names of backbones, or all.")],
    mode: Annotated[
        list[Mode] | None, typer.Option(help="Out of the box, or the fastest way; or both.")
    ] = None,
    batch_size: Annotated[
        list[str] | None, typer.Option(help="Pictures in a step, or 'largest' that fits.")
    ] = None,
    image_size: ImageSize = None,
    precision: Annotated[Numbers | None, typer.Option(help="Of the computation.")] = None,
    seconds: Seconds = 10.0,
    runs: Annotated[
        int, typer.Option(min=1, help="Times to measure each, in turns: processes differ, too.")
    ] = 1,
    smoke: Annotated[bool, typer.Option("--smoke", help="The suite's tiny version.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only what has this text in its label; may be given again."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Repeat what is in doubt from an earlier run.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    limit: MemoryLimit = None,
    changes: Changes = None,
    results: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
) -> None:
    """Measure what backbones cost: throughput, latency, memory. Trains nothing to accuracy."""
    from bench.running import cases, plan
    from bench.settings import Settings

    most = memory_limit(limit)
    choice = cases.Choice(
        modes=tuple(m.value for m in mode or [Mode.DEFAULT]),
        batch_sizes=cases.batch_sizes(batch_size) if batch_size else None,
        image_size=image_size,
        precision=precision.value if precision else None,
    )
    path = named_suite(what)
    if changes and path is None:
        raise BenchError(f"--set {changes[0]}: expected a suite to change, not names of backbones")
    asked = _asked(path, what, smoke, changes or (), choice)
    asked = replace(asked, cases=plan.select(asked.cases, only or []))
    if dry_run:
        for case in asked.cases:
            out.print(case.label, markup=False, soft_wrap=True)
        return
    folder, settings = results / asked.name, Settings.from_environment()
    asked.check_files(settings)
    here = doubts(folder, settings, most)
    with interruptible():
        for run in range(1, runs + 1):
            complete = _measure_costs(
                asked, folder, path, seconds, again, run, settings, most, here
            )
    tables_of(folder, Form.CONSOLE, {c.key for c in asked.cases})
    out.print(f"\nresults: {folder}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if complete else 1)


def _asked(
    path: Path | None, what: list[str], smoke: bool, changes: Sequence[str], choice: "Choice"
) -> "Asked[CostSpec]":
    """The measurements of a suite, or of backbones by their names."""
    from bench import suite as suites
    from bench.running import cases

    if path is None:
        return cases.of_backbones(what, choice)
    return cases.of_suite(suites.load(path, smoke=smoke, changes=changes), choice)


def _measure_costs(
    asked: "Asked[CostSpec]",
    folder: Path,
    suite: Path | None,
    seconds: float,
    again: bool,
    run: int,
    settings: "Settings",
    limit: int | None,
    here: "Doubts",
) -> bool:
    """Measure one after another, never two at once; whether every one has a result.

    Args:
        asked: what.
        folder: of the results.
        suite: the file to keep there; None without one.
        seconds: to time each kind of step.
        again: repeat what is in doubt.
        run: how many times each has been measured at the end.
        settings: folders of this machine.
        limit: of a worker's memory, in bytes.
        here: looks at the machine.
    """
    from bench import cache
    from bench.reporting.live import LiveReport
    from bench.running import backends, cases, devices, runner, store
    from bench.running.doubting import Doubting
    from bench.running.engines import local_engines

    if problem := backends.problem(asked.backend):
        raise BenchError(problem)
    with store.writing(folder, settings.names(asked.folder)) as held:
        cache.sweep(settings)
        notes(held.notes)
        here.before()
        if suite is not None:
            held.keep_suite(suite.read_bytes())
        with held.scratch() as scratch:
            setup = _setup(asked, settings, scratch, seconds, limit)
            live = LiveReport(out, asked.name, "measurement")
            # One GPU, and the same each time. None leaves a machine without any to its framework.
            gpu = (*devices.visible(), None)[:1]

            def stands(row: "Row") -> bool:
                return cases.stands(row, seconds, again, run)

            with local_engines(setup, 60 * asked.minutes, gpu) as engines, live:
                here.started(*engines)
                listener = Doubting(live, here)
                summary = runner.run(asked.cases, held, engines[0], listener, stands)
    return summary.all_ok


def _setup(
    asked: "Asked[CostSpec]",
    settings: "Settings",
    scratch: Path,
    seconds: float,
    limit: int | None,
) -> "Setup":
    """How workers measure."""
    from bench.records import Execution
    from bench.running.messages import Setup

    return Setup(
        settings=settings,
        folder=asked.folder,
        scratch=scratch.absolute(),
        # Deterministic kernels are slower ones, and no result needs to be equal twice.
        execution=Execution(precision=asked.cases[0].precision, deterministic=False),
        timed_seconds=seconds,
        backend=asked.backend,
        memory_limit=limit,
    )
