"""Runs cases of bad input: in this process, or those that need Keras in one of their own."""

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from bench import cli
from bench.errors import BenchError

from .cases import Accepted, Case

ROOT = Path(__file__).parents[2]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SETTINGS = (
    "BENCH_WEIGHTS_DIR",
    "TFDS_DATA_DIR",
    "BENCH_CACHE_GIB",
    "BENCH_SHARED_CACHE",
    "KERAS_BACKEND",
    "FORCE_COLOR",
)


@dataclass(frozen=True)
class Outcome:
    """What a case left behind.

    Attributes:
        code: how it exited.
        out, err: what it printed; temporary paths are shortened.
        changed: what it made of the case's folder: paths that came, went or differ; and files that
            it left in the cache or among temporary files.
    """

    code: int
    out: str
    err: str
    changed: tuple[str, ...]


def run(case: Case | Accepted, place: Path) -> Outcome:
    """Run one case in this process.

    Args:
        case: which.
        place: an empty folder, in which it gets one of its own, and a cache.
    """
    folder, cache, scratch = place / "here", place / "cache", place / "tmp"
    for each in (folder, scratch):
        each.mkdir(parents=True)
    case.make(folder)
    before = _tree(folder)
    with _world(case, folder, cache, scratch) as printed:
        code = _code(case, folder)
    texts = (_shortened(stream.getvalue(), place) for stream in printed)
    elsewhere = [
        path.relative_to(place).as_posix()
        for kept in (cache, scratch)
        for path in sorted(kept.rglob("*"))
        if not path.is_dir()
    ]
    return Outcome(code, *texts, (*_changes(before, _tree(folder)), *elsewhere))


def _code(case: Case | Accepted, folder: Path) -> int:
    try:
        if case.call is None:
            cli.main()
        else:
            case.call(folder)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BenchError as error:  # of `call`; as the command line does it
        sys.stderr.write(f"bench: {error}\n")
        return 2
    return 0


@contextlib.contextmanager
def _world(
    case: Case | Accepted, folder: Path, cache: Path, scratch: Path
) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """The case's folder as working directory, its words, no network; what it prints is caught."""
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    environment |= {"BENCH_CACHE_DIR": str(cache), "COLUMNS": "80", "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"TMPDIR": str(scratch)}
    environment |= case.environment
    with contextlib.ExitStack() as held:
        enter = held.enter_context
        enter(mock.patch.dict(os.environ, environment, clear=True))
        enter(mock.patch.object(sys, "argv", ["bench", *case.words]))
        enter(mock.patch("signal.signal"))
        enter(mock.patch("tempfile.tempdir", str(scratch)))
        enter(mock.patch("os.cpu_count", return_value=2))  # which a message names
        enter(mock.patch("socket.getaddrinfo", side_effect=socket.gaierror(-2, "no such name")))
        if not case.slow:  # what is refused starts no worker, nor what is only looked at
            enter(mock.patch("subprocess.Popen", side_effect=RuntimeError("a process starts")))
        enter(_denying([folder / name for name in case.denied]))
        enter(contextlib.chdir(folder))
        printed = io.StringIO(), io.StringIO()
        enter(contextlib.redirect_stdout(printed[0]))
        enter(contextlib.redirect_stderr(printed[1]))
        yield printed


@contextlib.contextmanager
def _denying(places: Sequence[Path]) -> Iterator[None]:
    """No permission, for a superuser either."""

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def guard(path: Any = ".", *rest: Any, **options: Any) -> Any:
            if not isinstance(path, int) and any(
                Path(os.fsdecode(path)).absolute().is_relative_to(p) for p in places
            ):
                raise PermissionError(13, "Permission denied", os.fsdecode(path))
            return real(path, *rest, **options)

        return guard

    with contextlib.ExitStack() as held:
        if places:
            for module, name in ((os, "scandir"), (os, "listdir"), (io, "open"), (os, "open")):
                real = getattr(module, name)
                held.enter_context(mock.patch.object(module, name, guarded(real)))
        yield


def _tree(folder: Path) -> dict[str, str]:
    """Every path below a folder with what is there; a pipe is not read."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = ""
        if stat.S_ISLNK(mode):
            content = str(path.readlink())
        elif stat.S_ISREG(mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.relative_to(folder).as_posix()] = f"{stat.S_IFMT(mode)} {content}"
    return found


def _changes(before: dict[str, str], after: dict[str, str]) -> tuple[str, ...]:
    return tuple(sorted(k for k in {*before, *after} if before.get(k) != after.get(k)))


def _shortened(text: str, place: Path) -> str:
    text = COLOURS.sub("", text)
    for path, name in (("here", "\N{HORIZONTAL ELLIPSIS}"), ("cache", "<cache>"), ("tmp", "<tmp>")):
        text = text.replace(str(place / path), name)
    return text


# ------------------------------------------------------------------- a process with Keras


def run_apart(modules: Sequence[str], ids: Sequence[str]) -> dict[str, Outcome]:
    """Run cases one after another in a process of their own, which imports Keras once.

    Args:
        modules: names of modules beside this one with the cases.
        ids: which, as ``area/id``.
    """
    with tempfile.TemporaryDirectory() as place:
        answers = Path(place, "answers.json")
        words = [sys.executable, "-m", "tests.bad_input.running", str(answers), ",".join(modules)]
        subprocess.run([*words, *ids], cwd=ROOT, check=True, timeout=600, stdin=subprocess.DEVNULL)
        found = json.loads(answers.read_text())
    return {
        name: Outcome(one["code"], one["out"], one["err"], tuple(one["changed"]))
        for name, one in found.items()
    }


def cases_of(module: str) -> tuple[Case | Accepted, ...]:
    """The cases of a module beside this one."""
    found = importlib.import_module(f"{__package__}.{module}")
    return (*found.CASES, *found.ACCEPTED)


def _main() -> None:
    answers, modules, *ids = sys.argv[1:]
    cases = {f"{c.area}/{c.id}": c for m in modules.split(",") for c in cases_of(m)}
    found = {}
    for name in ids:
        place = Path(tempfile.mkdtemp(prefix="bad-"))
        try:
            found[name] = asdict(run(cases[name], place))
        finally:
            shutil.rmtree(place, ignore_errors=True)
    Path(answers).write_text(json.dumps(found))


if __name__ == "__main__":
    _main()
