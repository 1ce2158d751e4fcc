"""A store that machines share, behind the cache of each (``BENCH_SHARED_CACHE``, a URL of fsspec).

    URL/<kind>/<key>/manifest.json     that of the entry, bit for bit; written last
    URL/<kind>/<key>/<digest>/<file>   the entry's other files; the digest is of that manifest

An entry there is complete or absent: what has no manifest is not looked at. Two machines that
publish one entry at the same time never mix their files, since their manifests differ. What is
there is not written again, unless it was found to be damaged; then the manifest of the rebuilt
entry takes its place.

Whatever goes wrong here costs time and nothing else: the store is left alone for a while, and work
goes on with the cache of this machine. So it is with a store that hangs, as every question to it
has a limit (`waiting`). `remarks` says what went wrong, without credentials.

Where the store is a folder (``file://``), that folder is never made here: a missing one may be the
place of something that is not mounted.
"""

import errno
import hashlib
import importlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from bench.cache import checksums, waiting
from bench.cache.checksums import MANIFEST
from bench.settings import FOLDERS, Settings, redacted, without_credentials

SHARED = ("images", "activations", "heads")
"""Kinds of entries that machines share. How fast a step runs (``modes``) is each machine's own."""

REST_SECONDS = 300.0
"""So long a store is left alone that could not be reached: asking may itself take a minute."""

DOCTOR_SECONDS = 15.0
"""Whoever only asks whether the store can be read waits no longer."""

_LONGEST = 300
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FILE = re.compile(r"\w[\w.-]*", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{16,32}")
_Way = Literal["read", "written"]
T = TypeVar("T")

_stores: dict[str, "_Store"] = {}
_remarks: list[str] = []


@dataclass(frozen=True)
class Copy:
    """An entry of the store, of which the manifest has been read.

    Attributes:
        store: where it lies.
        kind: one of `SHARED`.
        key: of the entry.
        content: its manifest, as it is there.
        stated: the same, understood.
    """

    store: "_Store"
    kind: str
    key: str
    content: bytes
    stated: checksums.Stated

    @property
    def entry(self) -> dict[str, Any]:
        """What the entry's kind says of it."""
        return self.stated.entry

    def download(self, folder: Path) -> bool:
        """Fill a folder with all of it; whether it is as it was written, bit by bit."""
        for name in self.stated.files:
            if not _FILE.fullmatch(name):
                self.spoil(f"{name!r} is no name of a file")
                return False
        name = ""
        with self.store.trying("read"):
            place = f"{self.kind}/{self.key}/{_digest(self.content)}"
            try:
                for name, file in self.stated.files.items():
                    self.store.get(f"{place}/{name}", folder / name, file.bytes)
                (folder / MANIFEST).write_bytes(self.content)
            except FileNotFoundError:
                self.spoil(f"{name} is not there")
                return False
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self.store.full(folder.parents[1])  # no store runs full by being read
                return False
            try:
                checksums.verified(folder)
            except (OSError, ValueError) as error:
                self.spoil(str(error))
                return False
            return True
        return False

    def spoil(self, damage: str) -> None:
        """Use it no more, and let a rebuilt entry take its place."""
        self.store.spoilt.add(_digest(self.content))
        self.store.remark(f"{self.kind}/{self.key} is damaged and built again: {damage}")

    def refuse(self) -> None:
        """Use it no more: it is whole, but not what this version of Bench expects there."""
        self.store.refused.add(_digest(self.content))
        self.store.remark(f"{self.kind}/{self.key} is left alone: not what its key says")


def find(settings: Settings, kind: str, key: str) -> Copy | None:
    """The store's copy of an entry; None where there is none, none that is whole, or no store."""
    store = _of(settings, kind)
    return store.find(kind, key) if store else None


def copies(settings: Settings, kind: str) -> list[Copy]:
    """Every entry of a kind: their manifests are read, one after the other."""
    store = _of(settings, kind)
    return [copy for key in store.keys(kind) if (copy := store.find(kind, key))] if store else []


def publish(settings: Settings, path: Path) -> None:
    """Put a complete entry of the local cache into the store, unless it is there.

    Args:
        settings: name the store.
        path: of the entry.
    """
    kind, key = path.parent.name, key_of(path)
    if store := _of(settings, kind):
        store.publish(kind, key, path)


def key_of(path: Path) -> str:
    """The key of the entry in a folder."""
    return path.name.rpartition("-")[2]


def remarks() -> tuple[str, ...]:
    """What there was to say of stores since this was last asked; each thing is said once."""
    said = tuple(_remarks)
    _remarks.clear()
    return said


def problem(settings: Settings) -> str | None:
    """Why the store cannot be read right now; None where it can, or where there is none."""
    if settings.shared is None:
        return None
    store, said = _Store(settings.shared.get_secret_value(), DOCTOR_SECONDS), len(_remarks)
    store.look()
    del _remarks[said:]
    return store.trouble


class _Store:
    """One store, as this process knows it.

    Attributes:
        spoilt, refused: digests of manifests not to be used, see `Copy`.
        trouble: what went wrong last.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._url, self._shown, self._seconds = url, without_credentials(url), seconds
        self._is_local = url.partition("://")[0] in FOLDERS
        self._opened: tuple[Any, str] | None = None
        self.spoilt: set[str] = set()
        self.refused: set[str] = set()
        self.trouble: str | None = None
        self._rests: dict[_Way, float] = {}
        self._full: set[Path] = set()

    def _asked(self, ask: Callable[[Any, str], T], size: int = 0) -> T:
        """What becomes of fsspec's file system and the store's path in it, for so many bytes."""

        def answer() -> T:
            if self._opened is None:
                files, root = importlib.import_module("fsspec.core").url_to_fs(self._url)
                self._opened = files, str(root).rstrip("/")
            return ask(*self._opened)

        return waiting.within(self._seconds + size / waiting.BYTES_A_SECOND, answer)

    def get(self, name: str, file: Path, size: int) -> None:
        self._asked(lambda files, root: files.get_file(f"{root}/{name}", str(file)), size)

    def look(self) -> None:
        """Be in `trouble` unless the store can be read."""
        with self.trying("read"):
            self._asked(self._stands_there)
        self.find(SHARED[0], "0" * 16)

    def _stands_there(self, files: Any, root: str) -> None:
        if self._is_local and not files.isdir(root):
            raise FileNotFoundError(f"{root} is not there: make the folder, or mount it")

    @contextmanager
    def trying(self, way: _Way) -> Iterator[None]:
        """Ends the block quietly where the store does not do as asked, and has it rest."""
        try:
            yield
        except Exception as error:  # each kind of store has errors of its own
            text = " ".join(redacted(str(error), self._url).split())[:_LONGEST]
            text = text or type(error).__name__
            self.trouble = f"cannot be {way}: {text}"
            if way not in self._rests:
                self.remark(f"{self.trouble}: work goes on with the cache of this machine")
            self._rests[way] = time.monotonic() + REST_SECONDS

    def _rests_from(self, way: _Way) -> bool:
        return time.monotonic() < self._rests.get(way, 0.0)

    def remark(self, text: str) -> None:
        _remarks.append(f"shared cache {self._shown}: {text}")

    def full(self, folder: Path) -> None:
        """Tell once that this machine has no room for what the store has."""
        if folder not in self._full:
            self._full.add(folder)
            self.remark(
                f"not everything is fetched, for {folder} has no room: make room, or set "
                "BENCH_CACHE_DIR to a folder that has some"
            )

    def find(self, kind: str, key: str) -> Copy | None:
        if self._rests_from("read"):
            return None
        with self.trying("read"):
            content = self._manifest(kind, key)
            if content is None or _digest(content) in self.spoilt | self.refused:
                return None
            copy = Copy(self, kind, key, content, checksums.Stated(files={}, entry={}))
            try:
                return Copy(self, kind, key, content, checksums.unsealed(content))
            except ValidationError:
                copy.refuse()
            except ValueError as error:
                copy.spoil(str(error))
        return None

    def keys(self, kind: str) -> list[str]:
        if self._rests_from("read"):
            return []
        with self.trying("read"):
            try:
                found = self._asked(lambda files, root: _listed(files, f"{root}/{kind}"))
            except FileNotFoundError:
                return []
            names = (str(name).rstrip("/").rpartition("/")[2] for name in found)
            return sorted(name for name in names if _KEY.fullmatch(name))
        return []

    def publish(self, kind: str, key: str, folder: Path) -> None:
        if self._rests_from("written"):
            return
        with self.trying("written"):
            try:
                self._put(kind, key, folder)
            except FileNotFoundError:
                if folder.is_dir():  # or else it has just made room for another entry
                    raise

    def _put(self, kind: str, key: str, folder: Path) -> None:
        if self._stands(self._manifest(kind, key)):
            return
        content = (folder / MANIFEST).read_bytes()
        entry = f"{kind}/{key}"
        place = f"{entry}/{_digest(content)}"
        self._put_files(folder, place)
        if self._stands(there := self._manifest(kind, key)):  # another machine was faster
            self._discard(place)
            return
        self._put_last(entry, place, content)
        if there is not None:
            self._discard(f"{entry}/{_digest(there)}")

    def _put_files(self, folder: Path, place: str) -> None:
        if self._is_local:
            self._asked(self._stands_there)
            self._asked(lambda files, root: files.makedirs(f"{root}/{place}", exist_ok=True))
        try:
            for file in sorted(folder.iterdir()):
                if file.name != MANIFEST:
                    self._put_file(file, f"{place}/{file.name}")
        except OSError:
            if self._is_local:  # a full disk would only become fuller
                self._discard(place)
            raise

    def _put_file(self, file: Path, name: str) -> None:
        size = file.stat().st_size
        self._asked(lambda files, root: files.put_file(str(file), f"{root}/{name}"), size)

    def _put_last(self, entry: str, place: str, content: bytes) -> None:
        """Object stores show a whole file or none; a folder does so of what is renamed."""
        first = place if self._is_local else entry
        self._asked(lambda files, root: files.pipe_file(f"{root}/{first}/{MANIFEST}", content))
        if self._is_local:
            names = [f"{place}/{MANIFEST}", f"{entry}/{MANIFEST}"]
            self._asked(lambda files, root: files.mv(*(f"{root}/{name}" for name in names)))

    def _discard(self, place: str) -> None:
        with suppress(Exception):  # it may not be ours to remove, and only takes up room
            self._asked(lambda files, root: files.rm(f"{root}/{place}", recursive=True))

    def _stands(self, manifest: bytes | None) -> bool:
        return manifest is not None and _digest(manifest) not in self.spoilt

    def _manifest(self, kind: str, key: str) -> bytes | None:
        try:
            name = f"{kind}/{key}/{MANIFEST}"
            return bytes(self._asked(lambda files, root: files.cat_file(f"{root}/{name}")))
        except FileNotFoundError:
            return None


def _of(settings: Settings, kind: str) -> _Store | None:
    if settings.shared is None or kind not in SHARED:
        return None
    url = settings.shared.get_secret_value()
    return _stores.setdefault(url, _Store(url, waiting.SECONDS))


def _listed(files: Any, folder: str) -> list[Any]:
    files.invalidate_cache()
    return list(files.ls(folder, detail=False))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
