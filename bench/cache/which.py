"""Which cache a machine works with: machines that see the same one find each other's work there."""

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.cache import waiting
from bench.cache.disk import to_disk
from bench.settings import FOLDERS, Settings, query, without_credentials

FILE = ".bench-cache"
"""Names the cache that it lies in: 32 random hex digits."""

_CONTENT = re.compile(rb"[0-9a-f]{32}\n")
_ALONE = secrets.token_hex(16)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def identity(settings: Settings) -> str:
    """Equal on every machine that sees the same cache, and on no other.

    Where machines share a store it is the store's, for each of them can get what any other made.
    The first who asks leaves a small file in the cache. A cache that has none and cannot be written
    is this process' alone, as far as anybody can tell; so is a store in a folder that is not there,
    or does not answer. What follows a question mark in a store's URL counts, as a digest.

    Args:
        settings: name the cache, and the store if there is one.
    """
    if settings.shared is None:
        return _of_folder(settings.cache, make=True)
    url = settings.shared.get_secret_value()
    scheme, _, place = url.partition("://")
    if scheme in FOLDERS:
        with suppress(waiting.NoAnswerError):
            return waiting.within(waiting.SECONDS, lambda: _of_folder(Path(place), make=False))
    if scheme in (*FOLDERS, "memory"):
        return _alone(url)
    shown, rest = without_credentials(url).rstrip("/"), query(url)
    return f"{shown}?{hashlib.sha256(rest.encode()).hexdigest()[:16]}" if rest else shown


def _of_folder(folder: Path, make: bool) -> str:
    file = folder / FILE
    try:
        try:
            found = _read(file)
        except FileNotFoundError:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            found = _made(file, _link)
        return found or _made(file, Path.replace) or _alone(str(folder))
    except OSError:
        return _alone(str(folder))


def _read(file: Path) -> str | None:
    """What the file says, and which file it is, for a copy of a cache is another one.

    None where it says nothing that Bench wrote.
    """
    with file.open("rb") as opened:
        content, inode = opened.read(64), os.fstat(opened.fileno()).st_ino
    if not _CONTENT.fullmatch(content):
        return None
    return hashlib.sha256(content + str(inode).encode()).hexdigest()[:32]


def _made(file: Path, put: Callable[[Path, Path], object]) -> str | None:
    """What the file says once this process, or another one before it, has put it there."""
    mine = file.with_name(f"{FILE}.{secrets.token_hex(8)}")
    try:
        mine.write_text(f"{secrets.token_hex(16)}\n", encoding="ascii")
        to_disk(mine)
        put(mine, file)
    finally:
        with suppress(OSError):
            mine.unlink(missing_ok=True)
    return _read(file)


def _link(mine: Path, file: Path) -> None:
    """The first of several makers wins: a link never takes another's place."""
    try:
        file.hardlink_to(mine)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not file.exists():
            mine.rename(file)


def _alone(place: str) -> str:
    """The process' number, too: a fork shares its parent's random digits."""
    return hashlib.sha256(f"{_ALONE} {os.getpid()} {place}".encode()).hexdigest()[:32]
