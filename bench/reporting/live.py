"""Telling a person how a run goes: live lines on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.costs import CostResult
from bench.numerics import NumericsResult
from bench.probes import ProbeResult
from bench.progress import Progress
from bench.records import Stack
from bench.reporting.consoles import Closed, is_gone
from bench.reporting.forms import duration
from bench.running.jobs import Job
from bench.running.messages import Shared
from bench.strangers import plain
from bench.tasks import Row, Spec

FEW = 30
"""Val pictures, below which a probe's accuracy says nothing."""
CLOSED = "the output's reader is gone: stopped; what was measured is kept, the same command goes on"
PLAIN_SECONDS = 30.0
"""On a plain log, at most one line about a trial's steps in so many seconds."""


@dataclass
class _Shown:
    """A trial that runs: what its lines begin with, its line on a terminal, when it last spoke."""

    lead: str
    status: str
    spoke: float


class LiveReport:
    """A `bench.running.listening.FleetListener` that prints. Use it as a context manager.

    Args:
        console: where to print; a terminal gets a line that refreshes.
        suite: name of the suite.
        task: what it consists of, in the singular.
        open_end: nobody knows beforehand of how many; epochs are not told of, for there are other
            things to read.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        console: Console,
        suite: str,
        task: str = "trial",
        clock: Callable[[], float] = time.monotonic,
        open_end: bool = False,
    ) -> None:
        self._task, self._open_end = task, open_end
        self._console, self._suite, self._clock = console, suite, clock
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._trials = self._settled = self._begun = self._done = 0
        self._began = 0.0
        self._running: dict[str, _Shown] = {}
        self._lost: dict[str, str] = {}

    def __enter__(self) -> "LiveReport":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            with suppress(OSError):  # the terminal was closed: there is more to end than this
                self._live.update(Text(""), refresh=True)
                self._live.stop()

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        """Print the stack and the number of trials."""
        self._trials, self._settled, self._began = trials, settled, self._clock()
        kept = f", {settled} measured before" if settled else ""
        among = f"{'up to ' if self._open_end else ''}{trials}"
        count = f"1 {self._task}" if trials == 1 else f"{among} {self._task}s"
        self._print(f"{self._suite}: {count}{kept} · {stack.id}")

    def trial_begins(self, spec: Spec) -> None:
        """Give the trial its number, if it has none yet."""
        lead = self._lost.pop(spec.key, None)
        if lead is None:
            self._begun += 1
            of = "" if self._open_end else f"/{self._trials}"
            lead = f"[{self._settled + self._begun}{of}] {spec.label}"
        self._running[spec.key] = _Shown(lead, f"{self._suite} {lead}", self._clock())
        self._refresh()

    def trial_is_lost(self, spec: Spec) -> None:
        """Keep its number for when it begins again."""
        self._lost[spec.key] = self._running.pop(spec.key).lead
        self._refresh()

    def step_begins(self, job: Job) -> None:
        """A shared step has no number: it is no trial."""
        self._running[job.key] = _Shown(job.label, f"{self._suite} {job.label}", self._clock())
        self._refresh()

    def step_goes_on(self, job: Job, progress: Progress) -> None:
        """Show how far it is, where a line refreshes."""
        if self._live:
            self._running[job.key].status = f"{job.label} · {describe(progress)}"
            self._refresh()

    def step_ends(self, job: Job, shared: Shared) -> None:
        """Print a line if something was done, or went wrong."""
        self._running.pop(job.key)
        self._refresh()
        if shared.reason:
            self._print(f"{job.label} · failed: {shared.reason}")
        elif shared.built:
            self._print(f"{job.label} · {duration(shared.seconds)}")

    def noted(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def progress(self, spec: Spec, progress: Progress) -> None:
        """Show an epoch when it has ended; in between, the steps."""
        shown = self._running[spec.key]
        text = f"{shown.lead} · {describe(progress)}"
        if progress.epoch_done and not self._live and not self._open_end:
            self._print(text)
        elif self._live:
            shown.status = text + self._remaining()
            self._refresh()
        elif self._clock() - shown.spoke > PLAIN_SECONDS:
            shown.spoke = self._clock()
            self._print(text)

    def trial_ends(self, result: Row) -> None:
        """Print the trial's outcome in one line."""
        shown = self._running.pop(result.spec.key)
        self._done += 1
        self._refresh()
        self._print(f"{shown.lead} · {outcome(result)}{self._remaining()}")

    def _remaining(self) -> str:
        left = self._trials - self._settled - self._done
        if self._open_end or not self._done or not left:
            return ""
        per_trial = (self._clock() - self._began) / self._done
        return f" · about {duration(per_trial * left)} left"

    def _refresh(self) -> None:
        """A terminal shows one line for each trial that runs."""
        if self._live:
            text = "\n".join(shown.status for shown in self._running.values())
            with suppress(OSError):
                self._live.update(
                    Text(plain(text), no_wrap=True, overflow="ellipsis"), refresh=True
                )

    def _print(self, text: str) -> None:
        show(self._console, text)


def show(console: Console, text: str) -> None:
    """Print a line; a terminal that was closed stops nobody, a pipe that was closed ends the run.

    Raises:
        Closed: nobody reads the pipe any more (``bench run ... | head``).
    """
    try:
        console.print(Text(plain(text)), soft_wrap=True)
        closed = is_gone(console)  # found out by somebody who did not mind: a note
    except (Closed, BrokenPipeError):
        closed = True
    except OSError:
        return
    if closed:
        with suppress(OSError):
            sys.stderr.write(f"bench: {CLOSED}\n")
        raise Closed(1)


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


def outcome(result: Row) -> str:
    """One line: accuracy (of a trial on test, with guards), or images/s; time; or why none."""
    if result.status != "ok":
        return f"{result.status}: {result.reason}"
    if isinstance(result, CostResult):
        rate = f"{result.device.median:.3g} images/s · " if result.device else ""
        return f"{rate}{duration(result.seconds)}"
    if isinstance(result, NumericsResult):
        ways = ", ".join(way.mode for way in result.passes)
        return f"{len(result.probes)} probes ({ways}) · {duration(result.seconds)}"
    if isinstance(result, ProbeResult):
        if result.dataset is None or result.dataset.val < FEW:
            return f"probed · {duration(result.seconds)}"
        accuracy = sum(result.linear) / max(len(result.linear), 1)
        return f"linear probe: val {100 * accuracy:.1f}% · {duration(result.seconds)}"
    failed = result.failed_guards
    guards = "GUARDS FAILED: " + ", ".join(failed) if failed else "guards pass"
    accuracy = 100 * (result.test_accuracy or 0.0)
    return f"test {accuracy:.1f}% · {guards} · {duration(result.seconds)}"
