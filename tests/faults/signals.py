"""Faults by signal: runner, worker, or both are killed, asked to end, or stopped for a while."""

import os
import random
import signal
import time

from bench.running import store
from tests.faults.chain import Chain, Missed
from tests.faults.runs import Run

CODES = {
    signal.SIGKILL: (-signal.SIGKILL,),
    **{n: (128 + n, -n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)},
}
"""How a runner ends that gets one of these. An interpreter that is just shutting down knows no
handlers any more and dies of the signal itself, which a shell shows as the same number."""
NOT_STARTED = "bench: a worker process could not start: worker killed"


class Kill:
    """A signal that ends whoever gets it.

    Args:
        runner, worker: who gets it.
        number: which.
    """

    def __init__(self, number: signal.Signals, *, runner: bool = False, worker: bool = False):
        self._runner, self._worker, self._number = runner, worker, number

    def __call__(self, chain: Chain, chance: random.Random) -> None:
        """Wait for a moment, send it, and see what comes of it."""
        run = chain.moment(chance)
        workers = _workers(run) if self._worker else []
        targets = [*workers, *([run.pid] if self._runner else [])]
        chance.shuffle(targets)
        unheard = not run.lines
        for pid in targets:
            self._send(pid, run)
        if self._runner:
            chain.wait(CODES[self._number])
        elif unheard:
            _first_worker(chain, run, self._number)

    def _send(self, pid: int, run: Run) -> None:
        try:
            if pid == run.pid and self._number == signal.SIGINT:
                os.killpg(pid, self._number)  # as a terminal does
            else:
                os.kill(pid, self._number)
        except ProcessLookupError:
            pass  # a worker ends with its runner


def _workers(run: Run) -> list[int]:
    if not run.until(run.workers):
        raise Missed
    return run.workers()


def _first_worker(chain: Chain, run: Run, number: signal.Signals) -> None:
    """Without its first worker, a run cannot begin, and says so; with it, the run goes on."""
    run.until(lambda: run.lines)
    if run.lines:
        return
    chain.wait((2,))
    if NOT_STARTED not in chain.said or number.name not in chain.said:
        chain.findings.other.append(f"expected {NOT_STARTED!r}: {chain.said[-500:]}")


def worker_ignores_sigint(chain: Chain, chance: random.Random) -> None:
    """Ctrl-C is the runner's: a worker that gets it goes on."""
    run = chain.moment(chance, "phase 1", "phase 2", "between trials", "a row is written")
    workers = _workers(run)
    os.kill(workers[0], signal.SIGINT)
    run.until(lambda: False, 0.5)
    if run.alive and run.workers() != workers:
        chain.findings.other.append("a worker did not outlive SIGINT")


class Stop:
    """SIGSTOP for a while, then SIGCONT: nobody is the worse for it.

    Args:
        runner, worker: who is stopped.
    """

    def __init__(self, *, runner: bool = False, worker: bool = False):
        self._runner, self._worker = runner, worker

    def __call__(self, chain: Chain, chance: random.Random) -> None:
        """Wait for a moment, and stop them for up to three seconds."""
        run = chain.moment(chance)
        stopped = [run.pid] if self._runner else []
        stopped += run.workers() if self._worker else []
        seconds = chance.uniform(0.5, 3)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in stopped:
                os.kill(pid, number)
            time.sleep(seconds if number == signal.SIGSTOP else 0)
        chain.note(f"{seconds:.1f} s")
        failed = [line for line in run.lines if "· failed:" in line]
        run.until(lambda: False, 0.5)
        if len([line for line in run.lines if "· failed:" in line]) > len(failed):
            chain.findings.other.append("a trial failed for being stopped: " + run.lines[-1])


def second_runner(chain: Chain, chance: random.Random) -> None:
    """Another run into the same folder is refused, and the first does not notice."""
    run = chain.moment(chance)
    if not run.until((chain.place.folder / store.LOCK).exists):
        raise Missed
    second = Run(chain.place)
    code = second.ended()
    if run.alive and (code != 2 or "another run is writing here" not in second.complaints):
        chain.findings.other.append(f"the second run ended with {code}: {second.said}")
    chain.findings.orphans += [f"process {pid} of the second run" for pid in second.orphans()]
    second.abandon()
