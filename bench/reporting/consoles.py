"""Consoles that tell a reader who is gone from a run that is to end."""

import os
from contextlib import suppress
from typing import IO

import rich.console


class Closed(SystemExit):
    """Nobody reads what is printed any more (``bench list | head``); left alone, it exits with 1.

    A class of its own, for signals end a run by `SystemExit`, too, and may arrive in a print.
    """


class Console(rich.console.Console):
    """As rich's, but a pipe that was closed is `Closed`, and costs no other stream its reader.

    Attributes:
        gone: whether its pipe was closed; what is printed from then on goes nowhere.
    """

    gone = False

    def on_broken_pipe(self) -> None:
        """Once, for rich.

        Raises:
            Closed: always.
        """
        self.gone = True
        _to_nowhere(self.file)
        raise Closed(1)


def _to_nowhere(file: IO[str]) -> None:
    """What the stream still holds would be one more broken pipe when the process ends."""
    with suppress(OSError, ValueError):  # it has no descriptor, or is closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, file.fileno())
        finally:
            os.close(nowhere)


def is_gone(console: rich.console.Console) -> bool:
    """Whether nobody reads it any more, as far as a `Console` has found out."""
    return isinstance(console, Console) and console.gone
