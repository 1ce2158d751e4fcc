"""Telling a person how several stacks go in turns: as `live`, with the stack in each line."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.progress import Progress
from bench.reporting.forms import duration
from bench.reporting.live import PLAIN_SECONDS, describe, outcome, show
from bench.running.lockstep import Side
from bench.strangers import plain
from bench.tasks import Row, Spec


class SidesReport:
    """A `bench.running.lockstep.Listener` that prints. Use it as a context manager.

    Args:
        console: where to print; a terminal gets a line for each side that refreshes.
        suite: name of the suite.
        task: what it consists of, in the singular.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        console: Console,
        suite: str,
        task: str = "trial",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._suite, self._task, self._clock = console, suite, task, clock
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._all = self._settled = self._done = 0
        self._began = 0.0
        self._lines: dict[str, str] = {}
        self._spoke: dict[str, float] = {}

    def __enter__(self) -> "SidesReport":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            with suppress(OSError):
                self._live.update(Text(""), refresh=True)
                self._live.stop()

    def begins(self, sides: Sequence[Side], measurements: int, settled: int) -> None:
        """Print the number of tasks, and the stacks."""
        self._all, self._settled, self._began = measurements, settled, self._clock()
        kept = f", {settled} measured before" if settled else ""
        count = f"1 {self._task}" if measurements == 1 else f"{measurements} {self._task}s"
        self._print(f"{self._suite}: {count}{kept} · {', '.join(side.name for side in sides)}")

    def trial_begins(self, side: Side, spec: Spec) -> None:
        """Show what the side does now."""
        self._spoke[side.name] = self._clock()
        self._show(side, f"{side.name} · {spec.label}")

    def progress(self, side: Side, spec: Spec, progress: Progress) -> None:
        """Show how far it is; on a plain log, now and then."""
        text = f"{side.name} · {spec.label} · {describe(progress)}"
        if self._live:
            self._show(side, text + self._remaining())
        elif self._clock() - self._spoke[side.name] > PLAIN_SECONDS:
            self._spoke[side.name] = self._clock()
            self._print(text)

    def trial_ends(self, side: Side, result: Row) -> None:
        """Print the outcome in one line."""
        self._done += 1
        number = f"[{self._settled + self._done}/{self._all}]"
        self._show(side, "")
        said = f"{number} {side.name} · {result.spec.label} · {outcome(result)}"
        self._print(said + self._remaining())

    def _remaining(self) -> str:
        left = self._all - self._settled - self._done
        if not self._done or left <= 0:
            return ""
        return f" · about {duration((self._clock() - self._began) / self._done * left)} left"

    def _show(self, side: Side, line: str) -> None:
        self._lines[side.name] = line
        if self._live:
            text = "\n".join(filter(None, self._lines.values()))
            with suppress(OSError):
                self._live.update(
                    Text(plain(text), no_wrap=True, overflow="ellipsis"), refresh=True
                )

    def _print(self, text: str) -> None:
        show(self._console, text)
