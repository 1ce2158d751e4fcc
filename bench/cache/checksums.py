"""Checksums of an entry: a bit flipped anywhere in it is found before anything is read from it.

    manifest.json   {"check": CRC-32 of all that follows,
                     "files": {name: {"bytes": ..., "check": CRC-32}},
                     "entry": what its kind says of it}

CRC-32 is there to find accidents, of disks and memory, not a forger: any single flip, any burst of
up to 32 bits, and all but one in 4 billion of others. It was chosen by speed among what Python
brings along: 4,300 MB/s against 1,600 of SHA-256 and 1,000 of BLAKE2b (one core of a small cloud
machine; `python -m benchmarks.checksums`), so that a file costs its checksum less than its first
reading from disk, which warms it for whoever maps it then.

A process reads a file for its checksum once; another use costs a look at size and time.
"""

import json
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

MANIFEST = "manifest.json"
CHUNK = 1 << 18
_SEALED = re.compile(rb'\{\n "check": "([0-9a-f]{8})",')
_REMEMBERED = 100_000

_Stamp = tuple[int, int, int, int, str]
_seen: set[_Stamp] = set()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bytes: int
    check: str


class Stated(BaseModel):
    """What a manifest says: of the other files, by name; and what its kind says of the entry."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, _File]
    entry: dict[str, Any]


def of(file: Path) -> str:
    """8 hex digits: CRC-32 of a file's content, read in chunks of `CHUNK` bytes.

    Raises:
        OSError: it cannot be read.
    """
    check, buffer = 0, bytearray(CHUNK)
    view = memoryview(buffer)
    with file.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            check = zlib.crc32(view[:count], check)
    return f"{check:08x}"


def seal(folder: Path) -> None:
    """Put the checksums of a complete folder's files into its manifest.

    Args:
        folder: of files, the manifest being what its kind says of it, a JSON object.

    Raises:
        OSError: something cannot be read or written.
    """
    files = {}
    for file in sorted(folder.iterdir()):
        if file.name != MANIFEST:
            check = of(file)
            files[file.name] = {"bytes": file.stat().st_size, "check": check}
            _remember(file, check)
    entry = json.loads((folder / MANIFEST).read_bytes())
    text = json.dumps({"files": files, "entry": entry}, indent=1).encode()
    content = text[1:]
    (folder / MANIFEST).write_bytes(b'{\n "check": "%08x",' % zlib.crc32(content) + content)


def manifest(folder: Path) -> dict[str, Any]:
    """What an entry's kind says of it; the other files are not looked at.

    Raises:
        OSError, ValueError: it is not there, or not as it was written.
    """
    return unsealed((folder / MANIFEST).read_bytes()).entry


def verified(folder: Path, besides: Collection[str] = ()) -> dict[str, Any]:
    """The same, once all files of the entry are known to be as they were written.

    Args:
        folder: of the entry.
        besides: names of files of which the size will do.

    Raises:
        OSError, ValueError: something is missing, or not as it was written.
    """
    stated = unsealed((folder / MANIFEST).read_bytes())
    for name, expected in stated.files.items():
        file = folder / name
        size = file.stat().st_size
        if size != expected.bytes:
            raise ValueError(f"{name} has {size:,} bytes, expected {expected.bytes:,}")
        if name in besides or _stamp(file, expected.check) in _seen:
            continue
        if of(file) != expected.check:
            raise ValueError(f"{name} is not as it was written: its checksum does not fit")
        _remember(file, expected.check)
    return stated.entry


def unsealed(content: bytes) -> Stated:
    """Understand a manifest.

    Raises:
        ValidationError: it is as it was written, but not as this version of Bench would.
        ValueError: it is not as it was written.
    """
    seal = _SEALED.match(content)
    if seal is None:
        raise ValueError(f"{MANIFEST} has no checksum: an older Bench wrote it, or it is damaged")
    rest = content[seal.end() :]
    if zlib.crc32(rest) != int(seal[1], 16):
        raise ValueError(f"{MANIFEST} is not as it was written: its checksum does not fit")
    return Stated.model_validate(json.loads(b"{" + rest))


def _stamp(file: Path, check: str) -> _Stamp:
    """A file as it is now, under whatever name: an entry is renamed when it is complete."""
    stat = file.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, check


def _remember(file: Path, check: str) -> None:
    if len(_seen) >= _REMEMBERED:
        _seen.clear()
    _seen.add(_stamp(file, check))
