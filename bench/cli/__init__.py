"""The command line: the only place that prints an error and exits.

Exit codes: 0 done, 1 done but some trial has no result or a guard failed (or `bench doctor` found
something wrong, or a comparison a regression), 2 wrong usage or input, 3 a comparison is unclear
and that was to count, 70 a fault of Bench itself, 130 interrupted. Nothing here imports Keras or
TensorFlow; worker processes do, and `bench predict` by way of `bench.training`.
"""

import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from bench import __version__
from bench.cli import (
    baseline,
    choose,
    claims,
    compare,
    data,
    export,
    fingerprint,
    look,
    measure,
    plot,
    predict,
    report,
    run,
    show,
    stacks,
)
from bench.cli.console import err, out, plain
from bench.errors import BenchError

app = typer.Typer(
    help="Which pretrained backbone, and how much of it to unfreeze: measured answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

COMMANDS: Mapping[str, Callable[..., None]] = {
    "choose": choose.choose,
    "data": data.data,
    "predict": predict.predict,
    "run": run.run,
    "measure": measure.measure,
    "show": show.show,
    "fingerprint": fingerprint.fingerprint,
    "compare": compare.compare,
    "report": report.report,
    "plot": plot.plot,
    "claims": claims.claims,
    "export": export.export,
    "stacks": stacks.stacks,
    "list": look.list_,
    "cache": look.cache,
    "doctor": look.doctor,
}
FAULT = 70
"""Exit code where Bench itself broke: never 1, which a job would take for a regression."""

for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(baseline.app, name="baseline")


def main() -> None:
    """Run the command line; every error of ours becomes one line and exit code 2."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that workers are ended
    try:
        app(standalone_mode=True)
    except BenchError as error:
        err.print(f"bench: {plain(str(error))}", style="bold red", markup=False, soft_wrap=True)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(FAULT)


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
