"""A chain: one results folder and one cache, disturbed again and again, and held to what it had.

A lap begins with fresh results and ends when every trial is measured. Between two faults the same
run may go on; a lap that ends by itself is followed by another one.
"""

import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.running import store
from tests.faults import moments, suite
from tests.faults.moments import Situation
from tests.faults.runs import Run
from tests.faults.suite import Undisturbed

EVERYTHING = ("images", "activations", "heads", "modes")
CACHES = ((), (), ("images", "modes"), EVERYTHING, EVERYTHING)
"""What the cache may hold when a lap begins."""
RUNS_ON = (0, 1)
"""Exit codes of a run that came to its end."""


@dataclass
class Findings:
    """What was wrong; all of it empty where nothing is.

    Attributes:
        lost: rows that were on disk and are not, or not the same.
        different: trials, or tables, that came out otherwise than undisturbed.
        orphans: processes that outlived their runner.
        left: temporary files and folders.
        other: exit codes, tracebacks, runs that did not end.
    """

    lost: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """By kind."""
        return {name: len(found) for name, found in vars(self).items()}

    def lines(self) -> list[str]:
        """For people."""
        return [f"{name.upper()}: {text}" for name, found in vars(self).items() for text in found]


class Missed(Exception):  # noqa: N818
    """The moment did not come: the run was over before."""


class Chain:
    """One chain of faults.

    Args:
        base: what an undisturbed run finds.
        name: of its folder.
        chance: for the caches that laps begin with.
        mounts: whether file systems may be mounted.

    Attributes:
        findings: since they were last taken.
        garbage: lines in the store that are no rows, put there by a fault.
        laps: how often it began anew.
        happened: words on what the current fault saw, for its line.
    """

    def __init__(self, base: Undisturbed, name: str, chance: random.Random, mounts: bool) -> None:
        self.base, self.place, self.mounts = base, base.place(name), mounts
        self._chance = chance
        self.findings = Findings()
        self.run: Run | None = None
        self._clean = True
        self.begun = False
        self.laps = 0
        self.happened: list[str] = []

    # ------------------------------------------------------------------------------------- laps

    def begin(self, kept: Sequence[str] | None = None) -> None:
        """End the lap that goes on, and begin one with fresh results.

        Args:
            kept: what the cache holds; None for chance to say.
        """
        self.finish()
        kept = self._chance.choice(CACHES) if kept is None else kept
        self.base.renew(self.place, tuple(kept))
        self._kept: dict[Path, bytes] = {}
        self.garbage, self.begun = 0, True
        self.laps += 1

    def finish(self) -> None:
        """Let the lap end, and compare it with what nobody disturbed."""
        if not self.begun:
            return
        code = self.wait(RUNS_ON) if self.run else 1
        last = self._last if code == 0 else None
        if last is None:
            last = self.start()
            code = self.wait((0,))
        self.begun = False
        if code == 0:
            self._compare(last)

    def _compare(self, last: Run) -> None:
        try:
            found = suite.measured(self.place.folder, self.garbage)
        except AssertionError as error:
            self.findings.different.append(str(error))
            return
        for key, row in self.base.rows.items():
            if key not in found:
                self.findings.lost.append(f"trial {key} has no row")
            elif found[key] != row:
                parts = [n for n in row if row[n] != found[key].get(n)]
                self.findings.different.append(f"trial {key}: {', '.join(parts)}")
        if self.garbage == 0 and suite.table(last) != self.base.table:
            self.findings.different.append("the printed table:\n" + suite.table(last))
        self.findings.left += [
            str(p.relative_to(p.parents[2])) for p in moments.folders(self.place)
        ]

    # ------------------------------------------------------------------------------------- runs

    def start(self, options: Sequence[str] = (), fault: str = "") -> Run:
        """Start a run; none may be going on."""
        assert self.run is None
        if not self.begun:
            self.begin()
        self._clean = not (options or fault)
        self.run = self._last = Run(self.place, options, fault)
        return self.run

    def going(self) -> Run:
        """The run that goes on, or one that starts now."""
        if self.run is not None and not (self.run.alive and self._clean):
            self.wait(RUNS_ON)
        if self.begun and self.left() == 0:
            self.finish()
        return self.run or self.start()

    def left(self) -> int:
        """Trials without a result."""
        if not self.place.files():
            return len(self.base.rows)
        kept = store.read(self.place.folder).rows
        return len(self.base.rows) - sum(row.status in store.SETTLED for row in kept)

    def situation(self) -> Situation:
        """For choosing a moment."""
        run = self.going()
        return Situation(self.place, run, self.left())

    def moment(self, chance: random.Random, *only: str) -> Run:
        """Wait for a moment of a run, and remember what is on disk then.

        Raises:
            Missed: it did not come.
        """
        at = self.situation()
        name = moments.wait(at, chance, frozenset(only))
        if name is None:
            raise Missed
        self.note(name)
        self.remember()
        return at.run

    def wait(self, codes: Sequence[int], seconds: float = 180.0) -> int:
        """Wait for the end of the run, and see that it ended as it should.

        Args:
            codes: how it may exit.
            seconds: how long.
        """
        run = self.run
        assert run is not None
        self.run = None
        try:
            code = run.ended(seconds)
        except subprocess.TimeoutExpired:
            self.findings.other.append(f"the run did not end: {run.said[-1500:]}")
            code = -1
        else:
            self.findings.orphans += [f"process {pid}" for pid in run.orphans()]
            if code not in codes:
                what = f"exit code {code}, expected {' or '.join(map(str, codes))}"
                self.findings.other.append(f"{what}: {run.said[-3000:]}")
            if "Traceback" in run.said:
                self.findings.other.append(f"a traceback: {run.said[-3000:]}")
        self.check()
        self.said = run.said
        run.abandon()
        return code

    def pause(self) -> None:
        """Have no run going on, the lap unfinished."""
        if self.run is not None:
            self.remember()
            self.run.abandon()
            self.wait((0, 1, -9))

    def ready(self) -> None:
        """Have no run going on, and something left to measure."""
        self.pause()
        if self.begun and self.left() == 0:
            self.finish()
        if not self.begun:
            self.begin()

    def note(self, text: str) -> None:
        """Say something of the current fault."""
        self.happened.append(text)

    # ------------------------------------------------------------------------------------ checks

    def remember(self) -> None:
        """What is on disk now must be there ever after."""
        self.check()
        for file in self.place.files():
            content = file.read_bytes()
            self._kept[file] = content[: content.rfind(b"\n") + 1]

    def check(self) -> None:
        """See that every whole line that was on disk still is, byte for byte."""
        for file, before in self._kept.items():
            now = file.read_bytes() if file.exists() else b""
            if not now.startswith(before):
                gone = sum(line not in now for line in before.splitlines(keepends=True))
                self.findings.lost.append(f"{gone} lines of {file.name} are gone or changed")

    def forget(self) -> None:
        """The store was changed by the fault itself: start from what is there."""
        self._kept = {}
        self.remember()

    def close(self) -> None:
        """End whatever runs and remove the folder."""
        if self.run is not None:
            self.run.abandon()
        shutil.rmtree(self.place.results.parent, ignore_errors=True)
