"""Faults of file systems: full, or mounted read-only. Real ones where mounting is allowed."""

import errno
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.chain import RUNS_ON, Chain, Missed
from tests.faults.damage import digests

PAGE = 4096
ENOUGH = "8g"
"""No more than a cap: memory is taken by what is written alone."""
FULL = ("No space left", "make room", "are free")
READ_ONLY = ("Read-only file system",)


def can_mount() -> bool:
    """Whether a file system may be mounted where nobody else sees it."""
    try:
        there = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"],
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return there.returncode == 0


@contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """The folder on a file system of its own, with room enough at first, and back again."""
    aside = folder.with_name(folder.name + "-aside")
    shutil.copytree(folder, aside)
    _mount("-t", "tmpfs", "-o", f"size={ENOUGH}", "none", str(folder))
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        yield
    finally:
        shutil.rmtree(aside)
        shutil.copytree(folder, aside)
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)
        shutil.rmtree(folder)
        aside.rename(folder)


def fill(folder: Path, room: int) -> None:
    """Leave so many bytes on the folder's file system."""
    for _ in range(100):
        disk = os.statvfs(folder)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        with suppress(subprocess.CalledProcessError):  # more was written meanwhile
            _mount("-o", f"remount,size={used + room}", str(folder))
            return
    raise OSError(f"{folder}: could not be made smaller")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder mounted so that nobody, not even root, may write there."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def _stub(folder: Path, number: int, after: int = 0) -> str:
    fault = {"kind": "no writing", "folder": str(folder), "errno": number, "after": after}
    return json.dumps(fault)


class Full:
    """The disk has room for a little more only.

    Args:
        part: ``results`` or ``cache``.
        pages: up to how many more fit.
    """

    def __init__(self, part: str, pages: int) -> None:
        self._part, self._pages = part, pages

    def __call__(self, chain: Chain, chance: random.Random) -> None:
        """Run until it is full; what was measured before is kept, the run says what is wrong."""
        chain.ready()
        folder, room = getattr(chain.place, self._part), chance.randint(1, self._pages) * PAGE
        chain.note(f"room for {room // 1024} KiB")
        if chain.mounts:
            with elsewhere(folder):
                code = self._run(chain, chance, lambda: fill(folder, room))
        else:
            chain.start(fault=_stub(folder, errno.ENOSPC, room // PAGE % 12 + 1))
            code = chain.wait((0, 1, 2))
        chain.note(f"exit code {code}")
        if code and not any(words in chain.said for words in FULL):
            chain.findings.other.append(f"nothing is said of a full disk: {chain.said[-1500:]}")

    def _run(self, chain: Chain, chance: random.Random, happens: Callable[[], None]) -> int:
        """It is full from the start at times, which the run notices before it begins."""
        if chance.random() < 0.2:
            happens()
            chain.start()
            return chain.wait((0, 1, 2))
        run = chain.start()
        try:
            chain.moment(chance)
        except Missed:
            chain.wait(RUNS_ON)
            raise
        if run.alive:
            happens()
        return chain.wait((0, 1, 2))


class ReadOnly:
    """A folder may be read only.

    Args:
        part: ``results`` or ``cache``.
        codes: how the run may end.
    """

    def __init__(self, part: str, codes: tuple[int, ...]) -> None:
        self._part, self._codes = part, codes

    def __call__(self, chain: Chain, chance: random.Random) -> None:
        """Run, and see that it says so and leaves the folder as it is."""
        del chance
        chain.ready()
        folder = getattr(chain.place, self._part)
        before = digests(folder)
        if chain.mounts:
            with read_only(folder):
                chain.start()
                code = chain.wait(self._codes)
        else:
            chain.start(fault=_stub(folder, errno.EROFS))
            code = chain.wait(self._codes)
        chain.note(f"exit code {code}")
        if code and not any(words in chain.said for words in READ_ONLY):
            chain.findings.other.append(f"nothing is said of it: {chain.said[-1500:]}")
        if digests(folder) != before:
            chain.findings.other.append(f"files of a read-only {self._part} changed")


def quota(chain: Chain, chance: random.Random) -> None:
    """No file may grow beyond a size, as a quota has it: rows, predictions or activations."""
    chain.ready()
    limit = chance.choice((6, 12, 30, 60, 200)) * 1024
    chain.start(fault=json.dumps({"kind": "quota", "bytes": limit}))
    code = chain.wait((0, 1, 2))
    chain.note(f"files of up to {limit // 1024} KiB, exit code {code}")
    if code and "File too large" not in chain.said:
        chain.findings.other.append(f"nothing is said of it: {chain.said[-1500:]}")
