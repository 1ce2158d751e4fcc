"""``bench stacks``: the same suite on several stacks, in turns, then compared."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.compare import (
    FormOption,
    MarginsOption,
    OutputOption,
    ReportForm,
    StrictOption,
    report,
)
from bench.cli.console import err, interruptible, notes, out, suite_path
from bench.cli.watching import MemoryLimit, Seconds, doubts, memory_limit
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.records import Stack
    from bench.running.stack_run import Job
    from bench.running.stacks import StackRequest
    from bench.suite import Suite


def stacks(
    suite: Annotated[str, typer.Argument(help="A suite file, or its name under suites/.")],
    stack: Annotated[
        list[str],
        typer.Option(
            "--stack",
            help="What to install ('tensorflow==2.20.*'), backend=NAME, NAME=VALUE, or current; "
            "'name: ...' to name it. Given at least twice; the first is the reference.",
        ),
    ],
    smoke: Annotated[bool, typer.Option("--smoke", help="The suite's tiny version.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only trials whose label holds this text; may be given again."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times to measure each cost.")] = 6,
    seconds: Seconds = 3.0,
    skip_trials: Annotated[bool, typer.Option("--skip-trials", help="Train nothing.")] = False,
    skip_costs: Annotated[bool, typer.Option("--skip-costs", help="Time nothing.")] = False,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Make environments anew, but those of exact versions."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    limit: MemoryLimit = None,
    results: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
    margins: MarginsOption = None,
    strict: StrictOption = False,
    form: FormOption = ReportForm.CONSOLE,
    output: OutputOption = None,
) -> None:
    """Run a suite on several stacks in turns, and compare them; the same command goes on."""
    from bench.analysis import margins as rules
    from bench.running import stacks as requests
    from bench.running.stack_run import Job
    from bench.settings import Settings

    _check_output(len(stack) - 1, form, output)
    rules.load(margins)  # what is wrong there is said now, not after an hour
    loaded = _loaded(suite, smoke, only)
    job = Job(
        suite=loaded,
        requests=requests.parse(stack),
        settings=Settings.from_environment(),
        folder=results / "stacks" / loaded.name,
        rounds=rounds,
        seconds=seconds,
        trials=not skip_trials,
        costs=not skip_costs,
        refresh=refresh,
        memory_limit=memory_limit(limit),
    )
    notes(loaded.warnings)
    problems = _problems(job)
    if dry_run:
        _print_plan(job, problems)
        return
    if problems:
        raise BenchError("; ".join(problems))
    raise typer.Exit(_run(job, margins, strict, form, output))


def _loaded(name: str, smoke: bool, only: list[str] | None) -> "Suite":
    from bench import suite as suites
    from bench.running import plan, stacks

    loaded = suites.load(suite_path(name), smoke=smoke)
    stacks.check_name(loaded.name, f"suite {name}")
    if not only:
        return loaded
    return loaded.model_copy(update={"trials": plan.select(loaded.trials, only)})


def _check_output(comparisons: int, form: ReportForm, output: Path | None) -> None:
    """Two documents after one another are no JSON and no XML."""
    if comparisons > 1 and form in (ReportForm.JSON, ReportForm.JUNIT) and output is None:
        raise BenchError(
            f"--format {form.value}: {comparisons} comparisons are as many documents: expected "
            "-o FILE, which gives each a file of its own"
        )


def _problems(job: "Job") -> list[str]:
    """What is missing on this machine; a stack's own backend is its environment's matter."""
    from bench.running import backends, plan, stack_run

    for request in job.requests:
        stack_run.backend_of(request, job.suite)
    here = backends.problem(job.suite.backend)
    return [problem for problem in plan.problems(job.suite, job.settings) if problem != here]


def _run(
    job: "Job", margins: Path | None, strict: bool, form: ReportForm, output: Path | None
) -> int:
    """Run everything, compare every stack with the first, and say how to exit."""
    from bench.reporting.live_sides import SidesReport
    from bench.running import stack_run
    from bench.running.doubting import DoubtingSides

    def tell(text: str) -> None:
        err.print(f"bench: {text}", markup=False, soft_wrap=True)

    here = doubts(job.folder, job.settings, job.memory_limit)

    @contextmanager
    def listening(task: str) -> Iterator[DoubtingSides]:
        with SidesReport(err, job.suite.name, task) as report:
            yield DoubtingSides(report, here)

    with interruptible():
        here.before()
        outcome = stack_run.run(job, tell, listening)
    tell(f"results: {job.folder}")
    first, *others = (request.name for request in job.requests)
    codes = [0 if outcome.complete else 1]
    for other in others:
        if first in outcome.stacks and other in outcome.stacks:
            place = _beside(output, other) if output and len(others) > 1 else output
            codes.append(
                _compared(job, (first, other), outcome.stacks, margins, strict, form, place)
            )
    return 1 if 1 in codes else max(codes)


def _compared(
    job: "Job",
    names: tuple[str, str],
    stacks: Mapping[str, "Stack"],
    margins: Path | None,
    strict: bool,
    form: ReportForm,
    output: Path | None,
) -> int:
    """Hold one stack against the first; the exit code of the comparison."""
    from bench.analysis import results

    a, b = (results.read(job.folder / name)[stacks[name].id] for name in names)
    return report(a, b, names, margins, strict, form, output)


def _beside(output: Path, name: str) -> Path:
    """``report.md`` -> ``report-NAME.md``: several comparisons are several files."""
    return output.with_name(f"{output.stem}-{name}{output.suffix}")


def _print_plan(job: "Job", problems: list[str]) -> None:
    from bench.reporting import plans
    from bench.running import plan

    for request in job.requests:
        out.print("\n".join(_described(request, job)), markup=False, soft_wrap=True)
    out.print("\non each of them:", markup=False)
    if job.trials:
        out.print(plans.listing(plan.of(job.suite, job.settings)), markup=False, soft_wrap=True)
    for probe in job.numerics:
        out.print(probe.label, markup=False, soft_wrap=True)
    for case in job.cases:
        out.print(f"{case.label} · {job.rounds} times", markup=False, soft_wrap=True)
    for problem in problems:
        err.print(f"bench: would stop here: {problem}", markup=False, soft_wrap=True)


def _described(request: "StackRequest", job: "Job") -> list[str]:
    """A stack and what would be made for it."""
    from bench.running import environments, recipes, stack_run

    words = [f"{name}={value}" for name, value in request.shown.items()]
    words = [f"computes with {stack_run.backend_of(request, job.suite)}", *words]
    if request.is_current:
        return [f"{request.name}: what is installed here; {', '.join(words)}"]
    recipe = recipes.recipe(request, stack_run.backend_of(request, job.suite))
    found = environments.found(recipe, job.settings)
    done = f"there already, made {found.age}" if found else "would be installed"
    pins = [f"{name} {version}" for name, version in recipe.pins.items()]
    return [
        f"{request.name}: {', '.join(request.requirements)}; {', '.join(words)}",
        f"    environment {recipe.folder}: {done}",
        f"    as it is here, if the stack allows it: {', '.join(pins)}",
    ]
