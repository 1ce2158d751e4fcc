"""Where things lie on this machine: read once from the environment, then passed as a value."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from platformdirs import user_cache_dir
from pydantic import Field

from bench.errors import BenchError, CacheError
from bench.records import Record

_GIB = 2**30


class Settings(Record):
    """Folders of this machine. They are never part of a trial's key, nor of a stored row.

    Attributes:
        cache: decoded images and other intermediate work (``BENCH_CACHE_DIR``).
        weights: folders searched for weights and ``.keras`` files (``BENCH_WEIGHTS_DIR``; several
            are separated as in ``PATH``).
        tfds: the TensorFlow Datasets folder (``TFDS_DATA_DIR``), None for its own default.
        cache_bytes: how large the cache may grow (``BENCH_CACHE_GIB``, in GiB).
    """

    cache: Path
    weights: tuple[Path, ...] = ()
    tfds: Path | None = None
    cache_bytes: int = Field(20 * _GIB, gt=0)

    def scratch(self) -> Path:
        """The cache folder, made if need be: for files without a name that end with their user.

        Raises:
            CacheError: it cannot be made.
        """
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(
                f"cannot write the cache {self.cache}: {error}: set BENCH_CACHE_DIR to a folder "
                "that can be written"
            ) from error
        return self.cache

    def names(self, suite: Path) -> dict[str, str]:
        """What to write in a stored row in place of this machine's folders, longest path first.

        Args:
            suite: the suite file's folder.
        """
        named = {str(suite): "<suite folder>", str(Path.home()): "~"}
        named |= {str(p): "<BENCH_WEIGHTS_DIR>" for p in self.weights}
        named[str(self.cache)] = "<BENCH_CACHE_DIR>"
        if self.tfds:
            named[str(self.tfds)] = "<TFDS_DATA_DIR>"
        return {p: named[p] for p in sorted(named, key=len, reverse=True) if len(p) > 1}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the four settings. Folders need not exist yet.

        Raises:
            BenchError: ``BENCH_CACHE_GIB`` is no positive number.
        """
        cache = environ.get("BENCH_CACHE_DIR") or user_cache_dir("keras-zoo-bench")
        weights = [p for p in environ.get("BENCH_WEIGHTS_DIR", "").split(os.pathsep) if p]
        tfds = environ.get("TFDS_DATA_DIR")
        return cls(
            cache=Path(cache).expanduser().absolute(),
            weights=tuple(Path(p).expanduser().absolute() for p in weights),
            tfds=Path(tfds).expanduser().absolute() if tfds else None,
            cache_bytes=_bytes(environ.get("BENCH_CACHE_GIB") or "20"),
        )


def _bytes(gib: str) -> int:
    try:
        count = float(gib)
    except ValueError:
        count = math.nan
    if not 0 < count < math.inf:
        raise BenchError(f"BENCH_CACHE_GIB = {gib!r}: expected a positive number of GiB, like 20")
    return max(1, int(count * _GIB))
