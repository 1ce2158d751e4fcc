"""Work that is stopped at every call of the system in turn; what is left is then looked at.

    python tests/crashing.py SCENARIO HOW,HOW,... FOLDER STEP

A scenario prepares a folder, works in it, and checks what a stopped worker has left. The work runs
in a fork, over and over, stopped before its first call that touches the folder, before its
second (or the one STEP later), and so on, until it gets through. ``HOW`` it is stopped:

    kill       SIGKILL
    cut        SIGKILL, and whatever was written but not flushed to disk turns into zeros
    fail       the one call raises "no space left on device", the next ones work again
    broken     it raises that, and so do all that follow
    interrupt  KeyboardInterrupt

Calls are seen by an audit hook (open, rename, mkdir, remove, rmdir, truncate, flock, ...), and by
stand-ins for fsync and fallocate, which Python does not audit. Prints how many stops there were.
It is a program of its own: an audit hook stays, and a fork of a process with TensorFlow costs much.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conftest import STACK, make_result, make_spec

from bench import cache, marks
from bench.cache import checksums
from bench.data import picture_cache
from bench.data.decoding import DECODING_VERSION
from bench.data.examples import Example
from bench.errors import CacheError, StoreError
from bench.records import TrialResult
from bench.running import store
from bench.settings import Settings

SEEN = {
    "open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.utime",
    "os.chmod", "os.listdir", "os.scandir", "fcntl.flock",
}  # fmt: skip
LOOKING = {"open", "os.listdir", "os.scandir"}
FINISHED, REFUSED, INTERRUPTED, TRACEBACK, UNDISTURBED = 0, 3, 4, 5, 6
NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
Say = Callable[[str], object]


class Stop:
    """Stops this process, or fails it, before the n-th call that touches a folder.

    Args:
        at: which, from 0.
        how: see above.
        folder: other calls are not counted.
    """

    def __init__(self, at: int, how: str, folder: Path) -> None:
        self._left, self._how, self._folder = at, how, folder
        self.reached = False
        self._busy = False
        self._flushed = {file.stat().st_ino: file.read_bytes() for file in self._files()}
        os.fsync = self._fsync  # type: ignore[assignment]
        os.posix_fallocate = self._fallocate
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if event not in SEEN or self._busy:
            return
        what = str(details[0])
        if what.startswith("/"):
            if not what.startswith(str(self._folder)):
                return
        elif event in LOOKING or (event == "fcntl.flock" and details[1] & fcntl.LOCK_UN):
            return
        self._count()

    def _fsync(self, descriptor: int) -> None:
        self._count()
        stat = os.fstat(descriptor)
        with self._unheard(), contextlib.suppress(IsADirectoryError):
            place = Path(f"/proc/self/fd/{descriptor}").readlink()
            self._flushed[stat.st_ino] = place.read_bytes()

    def _fallocate(self, descriptor: int, _: int, size: int) -> None:
        self._count()
        os.truncate(descriptor, size)

    def _count(self) -> None:
        self._left -= 1
        if self._left > -1 or (self._left < -1 and self._how != "broken"):
            return
        self.reached = True
        if self._how == "interrupt":
            raise KeyboardInterrupt
        if self._how in ("fail", "broken"):
            raise NO_ROOM
        if self._how == "cut":
            with self._unheard():
                self._lose()
        os.kill(os.getpid(), signal.SIGKILL)

    def _lose(self) -> None:
        for file in self._files():
            there = file.read_bytes()
            kept = self._flushed.get(file.stat().st_ino, b"")
            if there != kept:
                file.write_bytes(kept + bytes(max(0, len(there) - len(kept))))

    def _files(self) -> list[Path]:
        return [p for p in self._folder.rglob("*") if p.is_file() and p.suffix != ".lock"]

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        self._busy = True
        yield
        self._busy = False


class Scenario(ABC):
    """Work in a folder.

    Args:
        folder: empty.
    """

    refusal: ClassVar[type[Exception]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def prepare(self) -> None:
        """Fill the folder."""

    @abstractmethod
    def work(self, say: Say) -> None:
        """Do it, saying what is done; another try after a refusal, too."""

    @abstractmethod
    def check(self, said: list[str], how: str) -> None:
        """Raise AssertionError if something is lost, or believed that should not be."""


# ------------------------------------------------------------------------------------- the store


ROWS = tuple(
    make_result(make_spec(seed=seed), reason=f"row {seed} ".ljust(9000, "x")) for seed in range(4)
)


class Append(Scenario):
    """Two rows are there; another with predictions follows, and one without."""

    refusal = StoreError

    def prepare(self) -> None:
        self._add(ROWS[:2], lambda _: None)

    def work(self, say: Say) -> None:
        for _ in range(2):
            with contextlib.suppress(StoreError):
                self._add(ROWS[2:], say)

    def _add(self, rows: tuple[TrialResult, ...], say: Say) -> None:
        with store.writing(self.folder) as held, held.scratch() as scratch:
            held.keep_suite(f"# {len(rows)}".encode())
            there, left = held.settled(STACK), list(rows)
            try:
                while left:
                    row = left.pop(0)
                    if row.key not in there:
                        self._append(held, scratch, row)
                    say(row.key)
            except KeyboardInterrupt:  # what others finished meanwhile is kept, too
                for row in left:
                    held.append(row, None)
                    say(row.key)
                raise

    def _append(self, held: store.Store, scratch: Path, row: TrialResult) -> None:
        file = None
        if row.spec.seed % 2 == 0:
            file = scratch / "x.npz"
            with contextlib.suppress(OSError):
                np.savez(file, probabilities=np.eye(3, dtype=np.float32), labels=np.arange(3))
        for _ in range(2):  # the run may go on after a disk was full for a moment
            try:
                held.append(row, file)
            except StoreError:
                if file is not None and not file.exists():
                    raise
            else:
                return
        raise StoreError("twice")

    def check(self, said: list[str], how: str) -> None:
        due = {row.key for row in ROWS[:2]} | set(said)
        before = store.read(self.folder)
        assert {row.key for row in before.rows} >= due, "a row is lost"
        self._compare(before.rows)
        lines = (self.folder / STACK.id / store.TRIALS).read_bytes().splitlines(keepends=True)
        last = f":{len(lines)}:"
        assert len(before.problems) <= 1, before.problems
        assert all(last in problem for problem in before.problems), "torn in the middle"
        self._add(ROWS, lambda _: None)
        after = store.read(self.folder)
        assert after.problems == ()
        assert {row.key for row in after.rows} == {row.key for row in ROWS}
        self._compare(after.rows)
        expected = {store.LOCK, store.SUITE, STACK.id}
        assert {p.name for p in self.folder.iterdir()} == expected, "something is left behind"
        for row in after.rows:
            if row.predictions:
                assert marks.of_predictions(self.folder / STACK.id / row.predictions).all()

    @staticmethod
    def _compare(rows: tuple[TrialResult, ...]) -> None:
        written = {row.key: row for row in ROWS}
        for row in rows:
            same = {"predictions": None, "test_correct": None}
            assert row.model_copy(update=same) == written[row.key].model_copy(update=same)


# ------------------------------------------------------------------------------------- the cache


class Build(Scenario):
    """An entry is built beside another one, and beside what a dead builder of a third left."""

    refusal = CacheError
    kind, wanted, other = "heads", {"n": 1}, {"n": 2}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settings = Settings(cache=folder)

    def prepare(self) -> None:
        self._build(self.other, self.settings)
        (self.folder / "heads" / f".x-{'0' * 32}.dead").mkdir()
        (self.folder / "heads" / f".x-{'0' * 32}.lock").touch()

    def work(self, say: Say) -> None:
        for _ in range(2):
            with contextlib.suppress(CacheError):
                self._build(self.wanted, self.settings)
                say("built")

    def _build(self, identity: dict[str, Any], settings: Settings) -> None:
        with cache.building(settings, self.kind, identity, "x") as writer:
            if writer is not None:
                writer.create("mapped", (50, 100), "float32")[:] = identity["n"]
                writer.put("small", np.arange(identity["n"]))
                writer.content["n"] = identity["n"]

    def check(self, said: list[str], how: str) -> None:
        self._whole(self.other, absent=False)
        self._whole(self.wanted, absent=not said)
        if how in ("kill", "cut"):
            # Checksums would find an entry that is torn: but none is to be torn in the first place.
            for path in self.folder.glob("*/[!.]*"):
                assert self._is_damaged_on_purpose(path) or checksums.verified(path)
        self._build(self.wanted, self.settings)
        self._whole(self.wanted, absent=False)
        cache.sweep(self.settings)
        hidden = {p.name for p in self.folder.glob("*/.*") if p.parent.name in cache.KINDS}
        there = {p.name for p in self.folder.glob("*/[!.]*")}
        assert hidden <= {f".{name}.lock" for name in there}, f"left behind: {hidden}"

    def _is_damaged_on_purpose(self, _: Path) -> bool:
        return False

    def _whole(self, identity: dict[str, Any], absent: bool) -> None:
        entry = cache.read(self.settings, self.kind, identity)
        if entry is None:
            assert absent, f"{identity} is lost"
            return
        assert entry.content == {"n": identity["n"]}
        assert (entry.arrays["mapped"] == identity["n"]).all()
        assert entry.arrays["small"].tolist() == list(range(identity["n"]))


class Replace(Build):
    """The same, but a damaged entry lies in its place."""

    def prepare(self) -> None:
        super().prepare()
        self._build(self.wanted, self.settings)
        with self._mapped().open("r+b") as file:
            file.seek(300)
            file.write(b"\1")

    def _mapped(self) -> Path:
        (path,) = self.folder.glob(f"heads/[!.]*{cache.key(self.wanted)}")
        return path / "mapped.npy"

    def _is_damaged_on_purpose(self, path: Path) -> bool:
        content = (path / "mapped.npy").read_bytes()
        return path.name.endswith(cache.key(self.wanted)) and content[300] == 1


class Trim(Build):
    """The same, and the other entry must go to make room: it is whole until it is gone."""

    def work(self, say: Say) -> None:
        small = self.settings.model_copy(update={"cache_bytes": 22_000})
        for _ in range(2):
            with contextlib.suppress(CacheError):
                self._build(self.wanted, small)

    def _whole(self, identity: dict[str, Any], absent: bool) -> None:
        super()._whole(identity, absent or identity == self.other)


class Clear(Build):
    """Everything is removed."""

    def work(self, say: Say) -> None:
        for _ in range(2):
            with contextlib.suppress(CacheError):
                cache.clear(self.settings)

    def _whole(self, identity: dict[str, Any], absent: bool) -> None:
        super()._whole(identity, absent or identity == self.other)


class Pictures(Build):
    """An entry of pictures."""

    kind = "images"

    def _build(self, identity: dict[str, Any], settings: Settings) -> None:
        number = identity["n"]
        with picture_cache.building(settings, self._path(number)) as writer:
            if writer is None:
                return
            for i in range(4):
                pixels = np.full((30, 30, 3), number, np.uint8)
                writer.add(Example(str(i), b"", 0), f"{i:064x}", pixels)
            about = {"decoding": DECODING_VERSION, "name": "x", "identity": "x"}
            about |= {"signature": str(number), "size": 30}
            there: dict[str, Any] = {"pictures": 4, "class_names": ("a",), "problems": ()}
            writer.finish(picture_cache.Manifest(**about, **there, created=str(number)))

    def prepare(self) -> None:
        (self.folder / "heads").mkdir()
        super().prepare()

    def _path(self, number: int) -> Path:
        return picture_cache._path(self.settings, "x", "x", str(number), 30)

    def _whole(self, identity: dict[str, Any], absent: bool) -> None:
        entry = picture_cache.read(self._path(identity["n"]))
        if entry is None:
            assert absent, f"{identity} is lost"
            return
        assert entry.pixels.shape == (4, 30, 30, 3)
        assert (entry.pixels == identity["n"]).all()
        assert entry.ids == tuple("0123")


SCENARIOS = {s.__name__.lower(): s for s in (Append, Build, Replace, Trim, Clear, Pictures)}


# --------------------------------------------------------------------------------------- stopping


def stopped(scenario: Scenario, at: int, how: str) -> tuple[int, list[str]]:
    """Work in a fork; gives how it ended (the negative of a signal), and what it said."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_worked(scenario, at, how, lambda text: os.write(write, f"{text}\n".encode())))
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read().split()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def _worked(scenario: Scenario, at: int, how: str, say: Say) -> int:
    stop = Stop(at, how, scenario.folder)
    try:
        scenario.work(say)
    except KeyboardInterrupt:
        return INTERRUPTED
    except scenario.refusal:
        return REFUSED
    except BaseException:
        traceback.print_exc()
        return TRACEBACK
    return FINISHED if stop.reached else UNDISTURBED


def main(name: str, how: str, place: Path, first: int = 0, step: int = 1) -> int:
    """Stop a scenario at every so many calls; gives how often that was."""
    os.fsync = lambda _: None  # type: ignore[assignment]
    ended, at, stops = FINISHED, first, 0
    while ended != UNDISTURBED:
        folder = place / f"{name}-{how}-{at}"
        folder.mkdir()
        scenario = SCENARIOS[name](folder)
        scenario.prepare()
        checksums._seen.clear()
        ended, said = stopped(scenario, at, how)
        try:
            assert ended != TRACEBACK, "an error that nobody expects"
            scenario.check(said, how)
        except BaseException:
            print(f"{name}: {how} before call {at}, ended {ended}", file=sys.stderr)
            raise
        shutil.rmtree(folder)
        at, stops = at + step, stops + 1
    return stops - 1


if __name__ == "__main__":
    scenario_, hows, place_, step_ = sys.argv[1:]
    for number, one in enumerate(hows.split(",")):
        print(one, main(scenario_, one, Path(place_), number % int(step_), int(step_)))
