"""Faults of files: the store, the cache, the weights. Each is damaged while nobody runs."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

from tests.faults.chain import EVERYTHING, Chain, Missed
from tests.faults.suite import WEIGHTS

Damage = Callable[[Path, random.Random], None]

# --------------------------------------------------------------------------------- what is done


def truncate(file: Path, chance: random.Random) -> None:
    """Cut it anywhere, to nothing at times."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.truncate(chance.choice((0, chance.randrange(size), size - 1)))


def flip(file: Path, chance: random.Random) -> None:
    """Turn over one bit anywhere."""
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def overwrite(file: Path, chance: random.Random) -> None:
    """A page of zeros, as a power cut leaves it, or of noise."""
    content = bytearray(file.read_bytes())
    start = chance.randrange(len(content))
    page = min(4096, len(content) - start)
    content[start : start + page] = chance.choice((bytes(page), chance.randbytes(page)))
    file.write_bytes(content)


def remove(file: Path, chance: random.Random) -> None:
    """Take it away."""
    del chance
    file.unlink()


def deform(file: Path, chance: random.Random) -> None:
    """JSON that is not what it should be."""
    file.write_text(chance.choice(("{}", "null", "[1, 2", '{"format": 99}', "\x00" * 500)))


# ------------------------------------------------------------------------------------ the cache


class Entry:
    """An entry of the cache is damaged, then everything is measured from it, or without it.

    Args:
        kind: folder of the cache.
        part: what its name must hold.
        pattern: which of its files.
        damage: what is done to one of them.
    """

    def __init__(self, kind: str, part: str, pattern: str, damage: Damage) -> None:
        self._kind, self._part, self._pattern, self._damage = kind, part, pattern, damage

    def __call__(self, chain: Chain, chance: random.Random) -> None:
        """Begin a lap with a full cache, damage it, and let the run end."""
        chain.begin(EVERYTHING)
        found = chain.place.cache.glob(f"{self._kind}/[!.]*")
        entries = sorted(e for e in found if self._part in e.name)
        files = [file for entry in entries for file in sorted(entry.glob(self._pattern))]
        if not files:
            raise Missed
        file = chance.choice(files)
        self._damage(file, chance)
        chain.note(f"{file.parent.name.rpartition('-')[0]}/{file.name}")
        chain.start()
        chain.wait((0,))


# ------------------------------------------------------------------------------------ the store


def _rows(chain: Chain) -> Path:
    """The file of rows, with at least one in it, and no run going on."""
    run = chain.going()
    if not chain.place.rows() and not run.until(chain.place.rows):
        raise Missed
    chain.pause()
    (file,) = chain.place.files()
    return file


def torn(chain: Chain, chance: random.Random) -> None:
    """The last line ends anywhere, as a power cut may leave it."""
    file = _rows(chain)
    content = file.read_bytes()
    start = content[:-1].rfind(b"\n") + 1
    file.write_bytes(content[: chance.randrange(start + 1, len(content) - 1)])
    chain.forget()
    run = chain.start()
    run.until(lambda: run.lines)
    if "torn by a kill and is measured again" not in run.complaints:
        chain.findings.other.append(f"nothing is said of a torn row: {run.said[-500:]}")


def garbage(chain: Chain, chance: random.Random) -> None:
    """Lines that are no rows stand among the rows; they stay, and are told of."""
    file = _rows(chain)
    lines = file.read_bytes().splitlines(keepends=True)
    noise = chance.randbytes(200).replace(b"\n", b"").replace(b"\r", b"") + b"x\n"
    half = lines[0][: chance.randrange(1, len(lines[0]) - 2)] + b"\n"
    wrong = (noise, half, bytes(4096) + b"\n", b"null\n", b'{"format": 1, "key": 3}\n')
    for line in chance.sample(wrong, chance.randint(1, 3)):
        lines.insert(chance.randrange(len(lines)), line)
        chain.garbage += 1
    file.write_bytes(b"".join(lines))
    chain.forget()
    chain.note(f"{chain.garbage} lines")


def flipped(chain: Chain, chance: random.Random) -> None:
    """One bit of a row has turned over: that row is measured again, and told of."""
    file = _rows(chain)
    content = bytearray(file.read_bytes())
    bits = [(i, 1 << bit) for i, byte in enumerate(content) for bit in range(8)]
    line_end = ord("\n")  # none goes and none comes: that would be two rows
    place, bit = chance.choice(
        [(i, b) for i, b in bits if line_end not in (content[i], content[i] ^ b)]
    )
    content[place] ^= bit
    file.write_bytes(content)
    chain.garbage += 1
    chain.forget()


def newer(chain: Chain, chance: random.Random) -> None:
    """A row of a newer Bench: refused, and nothing touched; without it, all goes on."""
    file = _rows(chain)
    before = file.read_bytes()
    lines = before.splitlines(keepends=True)
    line = b'{"format": 99, "kind": "of tomorrow"}\n'
    lines.insert(chance.randint(0, len(lines)), line)
    file.write_bytes(b"".join(lines))
    there = digests(chain.place.folder)
    chain.forget()
    chain.start()
    chain.wait((2,))
    if "newer version" not in chain.said:
        chain.findings.other.append(f"nothing is said of a newer version: {chain.said[-500:]}")
    now = digests(chain.place.folder)
    if now != there:
        touched = [name for name in there.keys() | now.keys() if there.get(name) != now.get(name)]
        chain.findings.other.append(f"a newer store was touched: {', '.join(sorted(touched))}")
    file.write_bytes(before)
    chain.forget()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path there."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# ---------------------------------------------------------------------------------- the weights


class Weights:
    """The weights file is damaged between two runs; with the right one back, all goes on.

    Args:
        damage: what is done to it.
        codes: how a run with it may end.
    """

    def __init__(self, damage: Damage, codes: tuple[int, ...]) -> None:
        self._damage, self._codes = damage, codes

    def __call__(self, chain: Chain, chance: random.Random) -> None:
        """Damage it where rows of the right weights are there already."""
        _rows(chain)
        if chain.left() == 0:
            raise Missed
        file = chain.place.weights / WEIGHTS
        right = file.read_bytes()
        self._damage(file, chance)
        chain.start()
        code = chain.wait(self._codes)
        chain.note(f"exit code {code}")
        file.write_bytes(right)
