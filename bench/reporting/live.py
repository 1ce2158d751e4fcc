"""Telling a person how a run goes: live lines on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.records import Progress, Stack, TrialResult, TrialSpec
from bench.reporting.tables import duration

PLAIN_SECONDS = 30.0
"""On a plain log, at most one line about steps in so many seconds."""


class LiveReport:
    """A `bench.running.runner.Listener` that prints. Use it as a context manager.

    Args:
        console: where to print; a terminal gets a line that refreshes.
        suite: name of the suite.
        clock: seconds, for tests.
    """

    def __init__(
        self, console: Console, suite: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._suite, self._clock = console, suite, clock
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._trials = self._settled = self._done = 0
        self._label = ""
        self._began = self._spoke = 0.0

    def __enter__(self) -> "LiveReport":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(Text(""), refresh=True)
            self._live.stop()

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        """Print the stack and the number of trials."""
        self._trials, self._settled, self._began = trials, settled, self._clock()
        kept = f", {settled} measured before" if settled else ""
        count = "1 trial" if trials == 1 else f"{trials} trials"
        self._print(f"{self._suite}: {count}{kept} · {stack.id}")

    def trial_begins(self, spec: TrialSpec) -> None:
        """Note which trial the coming lines are about."""
        self._label, self._spoke = spec.label, self._clock()
        self._status(f"{self._suite} {self._position()} {self._label}")

    def progress(self, progress: Progress) -> None:
        """Show an epoch when it has ended; in between, the steps."""
        text = f"{self._position()} {self._label} · {describe(progress)}"
        if progress.epoch_done and not self._live:
            self._print(text)
        elif self._live:
            self._status(text + self._remaining())
        elif self._clock() - self._spoke > PLAIN_SECONDS:
            self._spoke = self._clock()
            self._print(text)

    def trial_ends(self, result: TrialResult) -> None:
        """Print the trial's outcome in one line."""
        position = self._position()
        self._done += 1
        self._status("")
        self._print(f"{position} {result.spec.label} · {outcome(result)}{self._remaining()}")

    def _position(self) -> str:
        return f"[{self._settled + self._done + 1}/{self._trials}]"

    def _remaining(self) -> str:
        left = self._trials - self._settled - self._done
        if not self._done or not left:
            return ""
        per_trial = (self._clock() - self._began) / self._done
        return f" · about {duration(per_trial * left)} left"

    def _status(self, text: str) -> None:
        if self._live:
            self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


def describe(progress: Progress) -> str:
    """``phase 1 epoch 2/5: loss 0.123 accuracy 0.950 val 0.967``, or the steps so far."""
    where = progress.stage
    if progress.epochs:
        where += f" epoch {progress.epoch}/{progress.epochs}"
    done = progress.epoch_done
    if done:
        return (
            f"{where}: loss {done.loss:.4f} accuracy {done.accuracy:.4f} "
            f"val loss {done.val_loss:.4f} accuracy {done.val_accuracy:.4f}"
        )
    return f"{where}: {progress.step}/{progress.steps}" if progress.steps else where


def outcome(result: TrialResult) -> str:
    """One line: test accuracy, guards and time, or why there is none."""
    if result.status != "ok":
        return f"{result.status}: {result.reason}"
    failed = result.failed_guards
    guards = "GUARDS FAILED: " + ", ".join(failed) if failed else "guards pass"
    accuracy = 100 * (result.test_accuracy or 0.0)
    return f"test {accuracy:.1f}% · {guards} · {duration(result.seconds)}"
