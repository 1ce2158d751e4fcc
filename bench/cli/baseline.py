"""``bench baseline``: named references, and what changed since."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.compare import (
    EverythingOption,
    FormOption,
    MarginsOption,
    OutputOption,
    ReportForm,
    StrictOption,
    report,
)
from bench.cli.console import notes, out

app = typer.Typer(
    help="Keep results under a name, and hold later ones against them.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(help="What the baseline is called.")]
StackOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Which stack of RESULTS: part of its name.")
]
PlaceOption = Annotated[
    Path, typer.Option("--results", help="The folder that holds baselines/, where they are kept.")
]
DEFAULT_PLACE = Path("results")


@app.command()
def save(
    name: NameArgument,
    results: Annotated[Path, typer.Argument(help="Results to keep.")],
    stack: StackOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite one of this name.")] = False,
    place: PlaceOption = DEFAULT_PLACE,
) -> None:
    """Keep the results of one stack under a name."""
    from bench.analysis.results import chosen, read
    from bench.running import baselines

    folder = place / baselines.FOLDER
    baselines.check_name(name)
    baselines.check_apart(folder, results)
    found = chosen(read(results), results, stack, "--stack")
    notes(found.problems)
    saved = baselines.save(folder, name, found.folder, found.stack.id, replace)
    counts = (
        f"{saved.trials} trials, {saved.measurements} measurements, "
        f"{saved.fingerprints} fingerprints"
    )
    out.print(f"{folder / name}: {saved.stack}: {counts}", markup=False, soft_wrap=True)


@app.command("list")
def list_(place: PlaceOption = DEFAULT_PLACE) -> None:
    """List the baselines that there are."""
    from bench.reporting.forms import foreign, printed
    from bench.running import baselines

    folder = place / baselines.FOLDER
    found = baselines.every(folder)
    if not found:
        out.print(
            f"{folder}: no baselines; bench baseline save NAME RESULTS makes one",
            markup=False,
            soft_wrap=True,
        )
        return
    titles = ("name", "stack", "suite", "trials", "measurements", "fingerprints", "saved")
    fields = ("stack", "suite", "trials", "measurements", "fingerprints", "saved_at")
    lines = []
    for name, baseline in found.items():
        known = {} if isinstance(baseline, str) else baseline.model_dump()
        values = [name, *(known.get(field) for field in fields)]
        lines.append([v if v is None else foreign(str(v), "console") for v in values])
    out.print(printed(titles, lines, "console"), markup=False, soft_wrap=True)
    notes(b for b in found.values() if isinstance(b, str))


@app.command()
def check(
    name: NameArgument,
    results: Annotated[Path, typer.Argument(help="Results to hold against it.")],
    stack: StackOption = None,
    place: PlaceOption = DEFAULT_PLACE,
    margins: MarginsOption = None,
    strict: StrictOption = False,
    form: FormOption = ReportForm.CONSOLE,
    output: OutputOption = None,
    everything: EverythingOption = False,
) -> None:
    """Say what changed since a baseline; exit with 1 if anything is worse."""
    from bench.analysis.results import chosen, read
    from bench.running import baselines

    folder = place / baselines.FOLDER
    kept = baselines.load(folder, name)
    baselines.check_apart(folder, results)
    here = folder / name
    before = chosen(read(here), here, kept.stack, "--stack")
    after = chosen(read(results), results, stack, "--stack")
    names = (f"baseline {name}", str(results))
    raise typer.Exit(report(before, after, names, margins, strict, form, output, everything))
