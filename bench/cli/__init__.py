"""The command line: the only place that prints an error and exits.

Exit codes: 0 done, 1 done but some trial has no result or a guard failed (or `bench doctor` found
something wrong, or a comparison a regression), 2 wrong usage or input, 3 a comparison is unclear
and that was to count, 70 a fault of Bench itself, 130 interrupted, 128 + N ended by signal N.
Nothing here imports Keras or TensorFlow; worker processes do, and `bench predict` by way of
`bench.training`.
"""

import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn

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
    merge,
    plot,
    predict,
    report,
    run,
    show,
    stacks,
    usage,
)
from bench.cli.console import err, out
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
    "merge": merge.merge,
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


_ClickError: Any = typer.BadParameter.__mro__[2]
"""Newer versions of typer have a click of their own, older ones use the package."""
DEBUG = "--debug"


_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end(number: int, _: object) -> NoReturn:
    """Unwind, so that workers are ended and nothing is left behind."""
    sys.exit(128 + number)


def main() -> None:
    """Run the command line; every error of ours becomes one line and exit code 2.

    ``--debug``, wherever it stands, puts the traceback of such an error before that line.
    """
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _end)
    words = [word for word in sys.argv[1:] if word != DEBUG]
    try:
        code = app(args=words, standalone_mode=False)
    except BenchError as error:
        _refuse(str(error))
    except _ClickError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # no words at all: the help says which there are
            sys.exit(2)
        _refuse(usage.message(error))
    except typer.Abort:
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(FAULT)
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(message: str) -> NoReturn:
    if DEBUG in sys.argv:
        traceback.print_exc()
    err.print(f"bench: {message}", style="bold red", markup=False, soft_wrap=True)
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
    debug: Annotated[  # for the help alone: `main` has taken it out
        bool, typer.Option("--debug", help="With what is wrong, print where Bench found it.")
    ] = False,
) -> None: ...
