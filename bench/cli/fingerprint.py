"""``bench fingerprint``: what backbones compute on this stack, to be compared with another's."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import interruptible, named_suite, notes, out
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.numerics import Numbers as Precision
    from bench.numerics import NumericsSpec
    from bench.running.cases import Asked


class Numbers(StrEnum):
    """Precisions of a fingerprint. None is the device's own choice: stacks must agree on it."""

    FLOAT32 = "float32"
    BFLOAT16 = "mixed_bfloat16"
    FLOAT16 = "mixed_float16"


def fingerprint(
    what: Annotated[list[str], typer.Argument(help="A suite, names of backbones, or all.")],
    precision: Annotated[
        list[Numbers] | None,
        typer.Option(help="Of the computation; may be given again. By default float32."),
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="The suite's tiny version.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done.")] = False,
    results: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
) -> None:
    """Record what backbones compute here, layer by layer; bench compare tells two stacks apart."""
    asked = _asked(what, smoke, precision or [])
    if dry_run:
        for case in asked.cases:
            out.print(case.label, markup=False, soft_wrap=True)
        return
    folder = results / asked.name
    with interruptible():
        complete = _take(asked, folder)
    out.print(f"\nresults: {folder}", markup=False, soft_wrap=True)
    raise typer.Exit(0 if complete else 1)


def _asked(what: list[str], smoke: bool, precision: list[Numbers]) -> "Asked[NumericsSpec]":
    """The fingerprints of a suite, or of backbones by their names."""
    from bench import suite as suites
    from bench.running import numerics_cases

    precisions: tuple[Precision, ...] = tuple(p.value for p in precision)
    path = named_suite(what)
    if path is None:
        return numerics_cases.of_backbones(what, precisions)
    return numerics_cases.of_suite(suites.load(path, smoke=smoke), precisions)


def _take(asked: "Asked[NumericsSpec]", folder: Path) -> bool:
    """Take one after another; whether every one has a result."""
    from bench.records import Execution
    from bench.reporting.live import LiveReport
    from bench.running import backends, devices, numerics_cases, runner, store
    from bench.running.engines import local_engines
    from bench.running.messages import Setup
    from bench.settings import Settings

    if problem := backends.problem(asked.backend):
        raise BenchError(problem)
    settings = Settings.from_environment()
    asked.check_files(settings)
    with store.writing(folder, settings.names(asked.folder)) as held:
        notes(held.notes)
        with held.scratch() as scratch:
            setup = Setup(
                settings=settings,
                folder=asked.folder,
                scratch=scratch.absolute(),
                # Precision is the fingerprint's own. TensorFlow's deterministic ops have no XLA
                # for the gradient of max pooling; what differs from run to run passes as rounding.
                execution=Execution(deterministic=False),
                backend=asked.backend,
            )
            live = LiveReport(out, asked.name, "fingerprint")
            gpu = (*devices.visible(), None)[:1]
            with local_engines(setup, 60 * asked.minutes, gpu) as engines, live:
                packages = engines[0].environment.packages
                summary = runner.run(
                    asked.cases,
                    held,
                    engines[0],
                    live,
                    lambda row: numerics_cases.stands(row, packages),
                )
    return summary.all_ok
