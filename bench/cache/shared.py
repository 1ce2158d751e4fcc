"""A store that machines share, behind the cache of each (``BENCH_SHARED_CACHE``, a URL of fsspec).

    URL/<kind>/<key>/manifest.json     that of the entry, bit for bit; written last
    URL/<kind>/<key>/<digest>/<file>   the entry's other files; the digest is of that manifest

An entry there is complete or absent: what has no manifest is not looked at. Two machines that
publish one entry at the same time never mix their files, since their manifests differ. What is
there is not written again, unless it was found to be damaged; then the manifest of the rebuilt
entry takes its place.

Whatever goes wrong here costs time and nothing else: the store is left alone for a while, and work
goes on with the cache of this machine. `remarks` says what went wrong, without credentials.
"""

import hashlib
import importlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bench.cache import checksums
from bench.cache.checksums import MANIFEST
from bench.settings import Settings, redacted, without_credentials

SHARED = ("images", "activations", "heads")
"""Kinds of entries that machines share. How fast a step runs (``modes``) is each machine's own."""

REST_SECONDS = 300.0
"""So long a store is left alone that could not be reached: asking may itself take a minute."""

_LONGEST = 300
_FILE = re.compile(r"\w[\w.-]*", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{16,32}")
_Way = Literal["read", "written"]

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
            place = f"{self.store.place(self.kind, self.key)}/{_digest(self.content)}"
            try:
                for name in self.stated.files:
                    self.store.files.get_file(f"{place}/{name}", str(folder / name))
            except FileNotFoundError:
                self.spoil(f"{name} is not there")
                return False
            (folder / MANIFEST).write_bytes(self.content)
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
    store, said = _Store(settings.shared.get_secret_value()), len(_remarks)
    store.find(SHARED[0], "0" * 16)
    del _remarks[said:]
    return store.trouble


class _Store:
    """One store, as this process knows it.

    Attributes:
        files: fsspec's file system.
        spoilt, refused: digests of manifests not to be used, see `Copy`.
        trouble: what went wrong last.
    """

    def __init__(self, url: str) -> None:
        self._url, self._shown = url, without_credentials(url)
        self.spoilt: set[str] = set()
        self.refused: set[str] = set()
        self.trouble: str | None = None
        self._rests: dict[_Way, float] = {}

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        files, root = importlib.import_module("fsspec.core").url_to_fs(self._url)
        return files, str(root).rstrip("/")

    @property
    def files(self) -> Any:
        return self._opened[0]

    def place(self, kind: str, key: str) -> str:
        return f"{self._opened[1]}/{kind}/{key}"

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
            self.files.invalidate_cache()
            try:
                found = self.files.ls(f"{self._opened[1]}/{kind}", detail=False)
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
        place = f"{self.place(kind, key)}/{_digest(content)}"
        self._put_files(folder, place)
        if self._stands(there := self._manifest(kind, key)):  # another machine was faster
            self._discard(place)
            return
        self._put_last(self.place(kind, key), place, content)
        if there is not None:
            self._discard(f"{self.place(kind, key)}/{_digest(there)}")

    def _put_files(self, folder: Path, place: str) -> None:
        if self._is_local():
            self.files.makedirs(place, exist_ok=True)
        try:
            for file in sorted(folder.iterdir()):
                if file.name != MANIFEST:
                    self.files.put_file(str(file), f"{place}/{file.name}")
        except OSError:
            if self._is_local():  # a full disk would only become fuller
                self._discard(place)
            raise

    def _put_last(self, place: str, files: str, content: bytes) -> None:
        """Object stores show a whole file or none; a folder does so of what is renamed."""
        if not self._is_local():
            self.files.pipe_file(f"{place}/{MANIFEST}", content)
            return
        self.files.pipe_file(f"{files}/{MANIFEST}", content)
        self.files.mv(f"{files}/{MANIFEST}", f"{place}/{MANIFEST}")

    def _discard(self, place: str) -> None:
        with suppress(Exception):  # it may not be ours to remove, and only takes up room
            self.files.rm(place, recursive=True)

    def _is_local(self) -> bool:
        protocols = self.files.protocol
        return "file" in ((protocols,) if isinstance(protocols, str) else protocols)

    def _stands(self, manifest: bytes | None) -> bool:
        return manifest is not None and _digest(manifest) not in self.spoilt

    def _manifest(self, kind: str, key: str) -> bytes | None:
        try:
            return bytes(self.files.cat_file(f"{self.place(kind, key)}/{MANIFEST}"))
        except FileNotFoundError:
            return None


def _of(settings: Settings, kind: str) -> _Store | None:
    if settings.shared is None or kind not in SHARED:
        return None
    url = settings.shared.get_secret_value()
    return _stores.setdefault(url, _Store(url))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
