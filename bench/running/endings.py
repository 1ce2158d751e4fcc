"""How a worker process ended, in words."""

import os
import signal
from dataclasses import dataclass
from typing import IO

from bench.records import Status
from bench.running.sizes import amount

LOG_LINES = 5
LOG_BYTES = 2**16
"""Of the end of a worker's standard error, in which those lines are looked for."""


@dataclass(frozen=True)
class Ended:
    """A worker stopped speaking.

    Attributes:
        code: its exit code; negative is the number of the signal that killed it.
        timed_out: whether we killed it because its time was up.
        last_words: the end of what it wrote to standard error.
        memory: the most that it and its children were seen to hold, in bytes.
        limit: of its memory, where we killed it because it held more; else None.
    """

    code: int
    timed_out: bool
    last_words: str
    memory: int = 0
    limit: int | None = None

    def explained(self) -> tuple[Status, str]:
        """As the status and the reason of the trial that it was running."""
        if self.limit is not None:
            return "out_of_memory", (
                f"stopped at {amount(self.memory)} of memory, above the limit of "
                f"{amount(self.limit)} for a worker (--memory-limit): expected a smaller batch, "
                "or a larger limit"
            )
        if self.timed_out:
            return "timeout", "stopped when its time was up (limits.trial_minutes)"
        if self.code == -signal.SIGKILL:
            seen = f"; it had held up to {amount(self.memory)}" if self.memory else ""
            return "failed", (
                f"worker killed (SIGKILL): out of system memory, or killed by hand{seen}"
            )
        if self.code < 0:
            known = {int(s): s.name for s in signal.Signals}
            name = known.get(-self.code, f"signal {-self.code}")
            return "failed", f"worker killed ({name}). {self.last_words}".strip()
        return "failed", f"worker exited with {self.code} and no result. {self.last_words}".strip()


def last_words(log: IO[bytes]) -> str:
    """The last lines of a worker's standard error, in one line; however much it wrote.

    Raises:
        ValueError: it is closed.
    """
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_BYTES))
    lines = log.read(LOG_BYTES).decode(errors="replace").strip().splitlines()
    return " | ".join(lines[-LOG_LINES:])
