"""``bench run`` in a process of its own, watched: what it says, what it left, who outlives it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from bench.running import store

REPOSITORY = Path(__file__).parents[2]
INJECTED = Path(__file__).parent / "injected"
"""A folder with a ``sitecustomize``: what is wrong with a process is put in from outside."""
MARK = "BENCH_TEST_MARK"
A_LONG_TIME = 240.0
A_MOMENT = 10.0


def _hears_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and this inherited


@dataclass(frozen=True)
class Place:
    """Where runs of one chain read and write.

    Attributes:
        suite: the suite file.
        results, cache, weights: folders.
        temporary: what TMPDIR is; the system's own is not ours to look into.
    """

    suite: Path
    results: Path
    cache: Path
    weights: Path
    temporary: Path

    @property
    def folder(self) -> Path:
        """The suite's own folder of results."""
        return self.results / self.suite.stem

    def environ(self) -> dict[str, str]:
        """Of every process that works here."""
        kept = {k: v for k, v in os.environ.items() if k not in ("BENCH_FAULT", "FORCE_COLOR")}
        return kept | {
            "BENCH_CACHE_DIR": str(self.cache),
            "BENCH_WEIGHTS_DIR": str(self.weights),
            "TMPDIR": str(self.temporary),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "COLUMNS": "200",
        }

    def rows(self) -> int:
        """Whole lines in the store so far."""
        return sum(f.read_bytes().count(b"\n") for f in self.files())

    def files(self) -> list[Path]:
        """Every file of rows."""
        return sorted(self.folder.glob(f"*/{store.TRIALS}"))


class Run:
    """A run that has begun.

    Args:
        place: where.
        options: of ``bench run``, after the suite.
        fault: what the injected ``sitecustomize`` is told (BENCH_FAULT); empty for none.

    Attributes:
        pid: of the runner.
    """

    def __init__(self, place: Place, options: Sequence[str] = (), fault: str = "") -> None:
        self.place, self._mark = place, uuid.uuid4().hex
        environ: Mapping[str, str] = place.environ() | {MARK: self._mark}
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        if fault:
            environ = {**environ, "BENCH_FAULT": fault}
            paths.insert(0, str(INJECTED))
        words = ["run", str(place.suite), "--results", str(place.results), *options]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=REPOSITORY,
            start_new_session=True,
            preexec_fn=_hears_hangups,
            env={**environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._errors: list[str] = []
        streams = ((self._process.stdout, self.lines), (self._process.stderr, self._errors))
        self._readers = [threading.Thread(target=_read, args=s, daemon=True) for s in streams]
        for reader in self._readers:
            reader.start()

    @property
    def alive(self) -> bool:
        """Whether the runner still runs."""
        return self._process.poll() is None

    @property
    def complaints(self) -> str:
        """What it wrote to standard error so far."""
        return "".join(self._errors)

    @property
    def said(self) -> str:
        """All that it printed."""
        return "".join(self.lines) + self.complaints

    def workers(self) -> list[int]:
        """Children of the runner that live."""
        try:
            found = psutil.Process(self.pid).children()
            return [p.pid for p in found if p.status() != psutil.STATUS_ZOMBIE]
        except psutil.Error:
            return []

    def kin(self) -> list[int]:
        """Every live process of this run but the runner, whoever its parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self._mark
                alive = process.status() != psutil.STATUS_ZOMBIE
            except (psutil.Error, OSError):
                continue
            if ours and alive and process.pid != self.pid:
                found.append(process.pid)
        return found

    def until(self, condition: Callable[[], object], seconds: float = A_LONG_TIME) -> bool:
        """Wait for a true value while the run goes on; whether it came."""
        end = time.monotonic() + seconds
        while self.alive and time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.002)
        return False

    def ended(self, seconds: float = A_LONG_TIME) -> int:
        """Wait for the end and give the exit code.

        Raises:
            subprocess.TimeoutExpired: it does not end.
        """
        code = self._process.wait(seconds)
        for reader in self._readers:
            reader.join(A_MOMENT)
        return code

    def orphans(self) -> list[int]:
        """Who is left a while after the runner's end; they are ended, to disturb nobody."""
        end = time.monotonic() + A_MOMENT
        while (left := self.kin()) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def abandon(self) -> None:
        """End it, whatever it does."""
        if self.alive:
            os.kill(self.pid, signal.SIGCONT)
            self._process.kill()
        self._process.wait()
        for pid in self.kin():
            os.kill(pid, signal.SIGKILL)


def _read(stream: IO[str], lines: list[str]) -> None:
    with stream:
        lines.extend(iter(stream.readline, ""))


def emptied(folder: Path) -> Path:
    """The folder, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
