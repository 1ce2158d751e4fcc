"""What checksums of the cache cost: MB/s of what Python brings along, and seconds to open entries.

python -m benchmarks.checksums FILE          a large file, read twice so that it is in memory
python -m benchmarks.checksums CACHE_FOLDER  every entry of activations, heads and pictures
"""

import hashlib
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from bench.cache import checksums, folders

ROUNDS = 5


class _Running:
    """CRC-32 with the face of `hashlib`."""

    def __init__(self, of: Callable[[memoryview, int], int]) -> None:
        self._of, self._value = of, 0

    def update(self, content: memoryview) -> None:
        self._value = self._of(content, self._value)


KINDS: dict[str, Callable[[], object]] = {
    "crc32": lambda: _Running(zlib.crc32),
    "adler32": lambda: _Running(zlib.adler32),
    "sha256": hashlib.sha256,
    "blake2b": hashlib.blake2b,
    "md5": hashlib.md5,
}


def speed(file: Path, kind: str) -> float:
    """MB/s of processor time over a file, median of `ROUNDS`."""
    found = []
    for _ in range(ROUNDS):
        running, buffer = KINDS[kind](), bytearray(checksums.CHUNK)
        view, began = memoryview(buffer), time.process_time()
        with file.open("rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                running.update(view[:count])  # type: ignore[attr-defined]
        found.append(file.stat().st_size / (time.process_time() - began) / 1e6)
    return statistics.median(found)


def opening(cache: Path) -> tuple[int, int, float, float]:
    """Entries, bytes, and seconds to verify all: in a new process, and again in the same one."""
    entries = [p for kind in folders.KINDS for p in sorted((cache / kind).glob("[!.]*-*"))]
    sealed = [p for p in entries if p.is_dir() and (p / folders.MANIFEST).is_file()]
    total = sum(f.stat().st_size for p in sealed for f in p.iterdir())
    times = []
    for _ in range(2):
        began = time.perf_counter()
        for path in sealed:
            checksums.verified(path)
        times.append(time.perf_counter() - began)
    return len(sealed), total, times[0], times[1]


def main(place: Path) -> None:
    """Measure a file, or a cache."""
    if place.is_file():
        for kind in KINDS:
            print(f"{kind:8} {speed(place, kind):8,.0f} MB/s")
        return
    count, total, first, again = opening(place)
    print(
        f"{count} entries, {total / 1e6:,.0f} MB: {first:.2f} s in a new process "
        f"({total / first / 1e6:,.0f} MB/s), {again:.3f} s again"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
