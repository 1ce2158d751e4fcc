"""Where things lie on this machine: read once from the environment, then passed as a value."""

import importlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from platformdirs import user_cache_dir
from pydantic import Field, SecretStr, field_serializer

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
        shared: URL of a store behind the cache that machines share (``BENCH_SHARED_CACHE``); it
            may hold credentials.
    """

    cache: Path
    weights: tuple[Path, ...] = ()
    tfds: Path | None = None
    cache_bytes: int = Field(20 * _GIB, gt=0)
    shared: SecretStr | None = None

    @field_serializer("shared", when_used="json-unless-none")
    def _to_worker(self, shared: SecretStr) -> str:
        return shared.get_secret_value()

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
        if self.shared:
            url = self.shared.get_secret_value()
            shown = without_credentials(url)
            named |= dict.fromkeys((url, shown, *_passwords(url)), "<BENCH_SHARED_CACHE>")
        return {p: named[p] for p in sorted(named, key=len, reverse=True) if len(p) > 1}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the five settings. Folders need not exist yet.

        Raises:
            BenchError: ``BENCH_CACHE_GIB`` is no positive number, or ``BENCH_SHARED_CACHE`` no URL
                that can be opened with what is installed, or a folder that is not there.
        """
        cache = environ.get("BENCH_CACHE_DIR") or user_cache_dir("keras-zoo-bench")
        weights = [p for p in environ.get("BENCH_WEIGHTS_DIR", "").split(os.pathsep) if p]
        tfds = environ.get("TFDS_DATA_DIR")
        return cls(
            cache=Path(cache).expanduser().absolute(),
            weights=tuple(Path(p).expanduser().absolute() for p in weights),
            tfds=Path(tfds).expanduser().absolute() if tfds else None,
            cache_bytes=_bytes(environ.get("BENCH_CACHE_GIB") or "20"),
            shared=_shared(environ.get("BENCH_SHARED_CACHE") or ""),
        )


def _bytes(gib: str) -> int:
    try:
        count = float(gib)
    except ValueError:
        count = math.nan
    if not 0 < count < math.inf:
        raise BenchError(f"BENCH_CACHE_GIB = {gib!r}: expected a positive number of GiB, like 20")
    return max(1, int(count * _GIB))


# --------------------------------------------------------------------------- the shared cache's URL

FOLDERS = ("file", "local")
"""Schemes of folders: nothing in their URLs is secret, and `?` and `#` are parts of names."""

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://[^?]*[^?/]+.*", re.DOTALL)
_BUCKETS = ("s3", "s3a", "gs", "gcs")
_CONTAINERS = re.compile(r"(abfss?|az|wasbs?)://[^:@/]*@[^:@/]*(:\d+)?(/[^@]*)?")
"""Where what stands before the @ is no user, but a folder."""
_QUERY = re.compile("[?#]")
_LONG = 8
"""Characters of a value in a query that may be a secret; shorter ones may be words."""


def _parts(url: str) -> tuple[str, str, str, str]:
    """Scheme with its slashes, user and password, place, and all that follows it from ? or # on."""
    before, mark, after = url.partition("://")
    start, rest = (f"{before}://", after) if mark else ("", url)
    if before in FOLDERS:
        return start, "", rest, ""
    user, first = "", rest.partition("/")[0]
    if not _CONTAINERS.fullmatch(_QUERY.split(url)[0]) and (
        "@" in first or re.search(r":(?!\d+$)", first)  # a secret may hold a slash
    ):
        user, _, rest = rest.rpartition("@") if "@" in rest else (rest, "", "***")
    place = _QUERY.split(rest)[0]
    return start, user, place, rest[len(place) :]


def without_credentials(url: str) -> str:
    """A URL as it may be shown: without user, password, and all that follows ``?`` or ``#``."""
    start, _, place, _ = _parts(url)
    return start + place


def query(url: str) -> str:
    """What `without_credentials` leaves out at a URL's end, which may be secret."""
    return _parts(url)[3]


def redacted(text: str, url: str) -> str:
    """A message without the credentials of a URL that it may quote."""
    text = text.replace(url, without_credentials(url))
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(url: str) -> Iterator[str]:
    """Parts of a URL that nobody is to see, as they are and decoded; not those of a few letters."""
    user = _parts(url)[1]
    yield from _passwords(url)
    yield from _forms(user, *user.split(":", 1), *re.split("[:/@]", user), *_values(url))


def _passwords(url: str) -> Iterator[str]:
    """Those that are no words of other sentences, as the name of a user may be."""
    user = _parts(url)[1]
    if ":" in user:
        yield from _forms(user, user.partition(":")[2])
    yield from _forms(*(value for value in _values(url) if len(value) >= _LONG))


def _values(url: str) -> list[str]:
    return [part.partition("=")[2] or part for part in re.split("[?#&]", query(url))]


def _forms(*parts: str) -> Iterator[str]:
    for part in parts:
        yield from (form for form in {part, unquote(part)} if len(form) > 3)


def _shared(url: str) -> SecretStr | None:
    if not url:
        return None
    said, like = f"BENCH_SHARED_CACHE = {without_credentials(url)!r}", "s3://bucket/bench"
    if not (match := _URL.fullmatch(url)) or "::" in url:
        raise BenchError(f"{said}: expected a URL of a folder, like {like} or file:///mnt/bench")
    scheme = match["scheme"]
    if scheme in FOLDERS:
        _check_folder(said, scheme, url)
    if scheme in _BUCKETS and _parts(url)[1]:
        raise BenchError(
            f"{said}: expected no credentials in a URL of {scheme}://, which are taken for the "
            "bucket: leave them where its package looks for them (environment, files of the user)"
        )
    try:
        importlib.import_module("fsspec").get_filesystem_class(scheme)
    except ValueError as error:
        raise BenchError(
            f"{said}: expected a scheme that fsspec knows, like {like}, gs://bucket/bench or "
            "file:///mnt/bench"
        ) from error
    except ImportError as error:
        raise BenchError(f"{said}: expected {_package(scheme)}") from error
    return SecretStr(url)


def _check_folder(said: str, scheme: str, url: str) -> None:
    folder = Path(url.removeprefix(f"{scheme}://"))
    if not folder.is_absolute():
        raise BenchError(f"{said}: expected an absolute path after {scheme}://, so a third slash")
    try:
        reason = "" if folder.is_dir() else "it is a file" if folder.exists() else "it is not there"
    except OSError as error:
        reason = str(error.strerror)
    if reason:
        raise BenchError(
            f"{said}: expected a folder, but {reason}: make it once, or mount what belongs there; "
            "Bench never makes it, for where a mount is missing it would lie on the local disk"
        )


def _package(scheme: str) -> str:
    """What to install for a scheme, as the end of the sentence "expected ..."."""
    try:
        known = importlib.import_module("fsspec.registry").known_implementations[scheme]
    except ImportError:
        return "the package fsspec, which opens it: pip install -e '.[shared]'"
    package = known["class"].partition(".")[0]
    if package == "fsspec":
        return f"what fsspec needs for {scheme}://: {known.get('err', 'see its documentation')}"
    return f"the package {package}, which opens {scheme}://: pip install {package}"
