"""Faults inside a process, and around it: an unruly worker, a clock that jumps, a cleared cache."""

import dataclasses
import functools
import json
import random
import subprocess
import sys

from tests.faults import suite
from tests.faults.chain import Chain, Missed
from tests.faults.runs import REPOSITORY, Run, emptied

LIMIT = ("--set", "limits.trial_minutes=0.3")
MEMORY = ("--memory-limit", "1.5GiB")


class Worker:
    """One worker of a run misbehaves once.

    Args:
        kind: of `injected/sitecustomize.py`.
        codes: how the run may end.
        says: what it must say then; empty for nothing.
        options: of the run.
    """

    def __init__(
        self,
        kind: str,
        codes: tuple[int, ...],
        says: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        self._kind, self._codes, self._says, self._options = kind, codes, says, options

    def __call__(self, chain: Chain, chance: random.Random) -> None:
        """Let it happen after the worker has said a few things, and the run come to its end."""
        chain.ready()
        once = chain.place.results.parent / "once"
        once.unlink(missing_ok=True)
        after = chance.randint(1, 9)
        order = {"kind": self._kind, "after": after, "once": str(once), "gib": 3}
        chain.start(self._options, json.dumps(order))
        code = chain.wait(self._codes)
        chain.note(f"after {after} replies, exit code {code}")
        if not once.exists():
            raise Missed
        if self._says and self._says not in chain.said:
            chain.findings.other.append(f"expected {self._says!r}: {chain.said[-1500:]}")


@functools.cache
def limits_memory() -> bool:
    """Whether this Bench can limit a worker's memory."""
    words = [sys.executable, "-m", "bench", "run", "--help"]
    shown = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True).stdout
    return MEMORY[0] in shown


def clock(chain: Chain, chance: random.Random) -> None:
    """The clocks of runner and worker jump by hours, ahead and back; no result minds."""
    chain.ready()
    order = {"kind": "clock", "hours": chance.choice((-30, 3, 500)), "every": 1.5}
    chain.note(f"by up to {order['hours']} h")
    chain.start((), json.dumps(order))
    chain.wait((0,))


def cleared_cache(chain: Chain, chance: random.Random) -> None:
    """Somebody clears the cache that a run works with."""
    chain.moment(chance)
    words = [sys.executable, "-m", "bench", "cache", "--clear"]
    environ = chain.place.environ()
    ended = subprocess.run(words, cwd=REPOSITORY, env=environ, capture_output=True, text=True)
    if ended.returncode:
        chain.findings.other.append(f"the cache could not be cleared: {ended.stderr}")


def shared_cache(chain: Chain, chance: random.Random) -> None:
    """Two runs into two folders fill one cache at the same time."""
    chain.begin(chance.choice(((), ("images", "modes"))))
    second = dataclasses.replace(chain.place, results=emptied(chain.place.results / "second"))
    chain.start()
    other = Run(second)
    chain.wait((0,))
    code = other.ended()
    if code:
        chain.findings.other.append(f"the other run ended with {code}: {other.said[-1500:]}")
    elif suite.measured(second.folder) != chain.base.rows:
        chain.findings.different.append("the trials of a run that shares the cache")
    if not other.lines:
        raise Missed
    other.abandon()
