"""What goes wrong inside a real runner or worker: Python imports this before anything else.

BENCH_FAULT says what, as JSON; without it nothing happens. ``kind``:

    clock       time and dates jump by up to ``hours``, every ``every`` seconds, both ways
    hang        the worker stops speaking, and ends on no polite signal
    hunger      the worker takes memory until somebody stops it, or it has ``gib``
    garbage     the worker's channel carries bytes that are no replies, between whole replies
    garbled     garbage, and no line end before the next reply
    exit        the worker ends with exit code 0 and no result
    no writing  opening a file to write below ``folder`` fails with error number ``errno``, once
                ``after`` have been opened
    quota       no file may become larger than ``bytes``
    note modes  identities under which the worker looks for a mode are noted in ``file``

Faults of the worker come once for each file ``once``, when it has said ``after`` things.
"""

import builtins
import datetime
import json
import os
import sys
import time
from typing import Any

ORDER: dict[str, Any] = json.loads(os.environ.get("BENCH_FAULT") or "{}")
KIND = ORDER.get("kind", "")
IS_WORKER = "bench.running.worker" in sys.orig_argv
NOISE = b"\x00\xff\xfe garbage \x80\n\n[]\n{\n" + b"x" * 100_000 + b'\n{"kind": "finished"}\n'


def claimed() -> bool:
    """Whether this fault is ours to bring: the first process that asks has it."""
    try:
        os.close(os.open(ORDER["once"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def hang(_: int) -> None:
    while True:
        time.sleep(3600)


def hunger(_: int) -> None:
    """No more than a safe amount, wherever it runs; then it waits to be stopped."""
    held: list[bytes] = []
    while len(held) < ORDER["gib"] * 16:
        held.append(b"\x01" * (64 * 2**20))
        time.sleep(0.02)
    hang(0)


def garbage(channel: int) -> None:
    os.write(channel, NOISE)


def garbled(channel: int) -> None:
    os.write(channel, NOISE + b'{"kind": "fin')


def leave(_: int) -> None:
    os._exit(0)


WORKER = {
    "hang": hang,
    "hunger": hunger,
    "garbage": garbage,
    "garbled": garbled,
    "exit": leave,
}


class Channel:
    """What replies are written to; the fault comes before one of them."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._said = inner, 0

    def write(self, text: str) -> int:
        self._said += 1
        if self._said > ORDER["after"] and claimed():
            self._inner.flush()
            WORKER[KIND](self._inner.fileno())
        return int(self._inner.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def spoil_channel() -> None:
    """The first thing that a worker opens for writing by its number is its channel."""
    genuine = os.fdopen

    def fdopen(fd: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
        opened = genuine(fd, mode, *rest, **more)
        if mode != "w":
            return opened
        os.fdopen = genuine
        return Channel(opened)

    os.fdopen = fdopen


def spoil_clock() -> None:
    """Frameworks keep the real dates: their compiled parts know no other."""
    genuine, genuine_ns, began = time.time, time.time_ns, time.monotonic()

    def off() -> float:
        """Seconds; as the number of jumps grows, ahead and back by turns."""
        jumps = int((time.monotonic() - began) / ORDER["every"])
        return float((-1) ** jumps * (jumps % 7) / 7 * 3600 * ORDER["hours"])

    class Wandering(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.fromtimestamp(time.time(), tz)

    imported = builtins.__import__

    def wandering(name: str, scope: Any = None, *rest: Any, **more: Any) -> Any:
        found = imported(name, scope, *rest, **more)
        if name.startswith("bench"):
            for known, module in list(sys.modules.items()):
                if known.startswith("bench") and vars(module).get("datetime") is datetime.datetime:
                    vars(module)["datetime"] = Wandering
        return found

    builtins.__import__ = wandering  # type: ignore[assignment]
    time.time = lambda: genuine() + off()
    time.time_ns = lambda: genuine_ns() + int(off() * 1e9)


def forbid_writing() -> None:
    """As a full disk or one mounted read-only answers, where no disk can be mounted."""
    folder, left = ORDER["folder"], [ORDER.get("after", 0)]
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        is_open = event == "open" and isinstance(arguments[2], int) and arguments[2] & writes
        if not is_open and event not in ("os.mkdir", "os.truncate"):
            return
        if not os.fsdecode(arguments[0] if not isinstance(arguments[0], int) else "").startswith(
            folder
        ):
            return
        left[0] -= 1
        if left[0] < 0:
            raise OSError(ORDER["errno"], os.strerror(ORDER["errno"]), arguments[0])

    sys.addaudithook(watch)


def limit_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (ORDER["bytes"], ORDER["bytes"]))


def note_modes() -> None:
    from bench import cache

    genuine = cache.read

    def read(settings: Any, kind: str, identity: Any) -> Any:
        if kind == "modes":
            with open(ORDER["file"], "a") as file:  # noqa: PTH123
                file.write(json.dumps(identity) + "\n")
        return genuine(settings, kind, identity)

    cache.read = read


if KIND in WORKER and IS_WORKER:
    spoil_channel()
elif KIND == "clock":
    spoil_clock()
elif KIND == "no writing":
    forbid_writing()
elif KIND == "quota":
    limit_files()
elif KIND == "note modes" and IS_WORKER:
    note_modes()
