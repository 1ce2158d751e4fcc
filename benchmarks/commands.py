"""A whole command, as a user would start it: its time and the memory of its process."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, used = os.wait4(process.pid, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - began, 1024 * used.ru_maxrss)
"""
"""A process that ends counts what its parent held when it began as its own memory, so a large
process (one that has TensorFlow loaded, say) measures others through a small one."""


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes:
        code: its exit code.
        seconds: wall time, start of the process included.
        peak_bytes: its resident memory at its most.
    """

    code: int
    seconds: float
    peak_bytes: int


def bench(*arguments: str) -> Ran:
    """Run ``bench`` with these arguments; what it prints goes to standard error."""
    return measured([sys.executable, "-m", "bench", *arguments])


def measured(command: Sequence[str]) -> Ran:
    """Run a command in a process of its own and wait for it."""
    launcher = [sys.executable, "-S", "-E", "-c", LAUNCHER, *command]
    told = subprocess.run(launcher, stdout=subprocess.PIPE, text=True, check=True).stdout
    code, seconds, peak = told.split()
    return Ran(int(code), float(seconds), int(peak))
