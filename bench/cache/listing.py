"""What lies in the cache, for lists."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field

from bench.cache import checksums
from bench.cache.folders import ENTRY, EVERY, KINDS, MANIFEST, bytes_of, folders_of, last_used
from bench.settings import Settings

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class CacheEntry:
    """One entry, for lists.

    Attributes:
        path: its folder.
        kind: one of ``EVERY``.
        name: the dataset of pictures; the label of anything else.
        size: pixels of each side of pictures; None for anything else.
        items: pictures, arrays, or installed packages.
        bytes: on disk.
        last_used: in UTC.
    """

    path: Path
    kind: str
    name: str
    size: int | None
    items: int
    bytes: int
    last_used: datetime


def described(settings: Settings, kind: str, model: type[M]) -> list[tuple[Path, M]]:
    """Entries of a kind with their manifests; what has none, or a damaged one, is left out."""
    found = []
    for path in folders_of(settings, kind, ENTRY):
        with suppress(OSError, ValueError):
            found.append((path, model.model_validate(checksums.manifest(path))))
    return found


class _Listed(BaseModel):
    name: str = Field(validation_alias=AliasChoices("label", "name"))
    size: int | None = None
    pictures: int | None = None
    arrays: dict[str, Any] = {}
    packages: dict[str, Any] = {}


def entries(settings: Settings, kinds: Sequence[str] | None = None) -> list[CacheEntry]:
    """Every entry whose manifest can be read, by kind, name and size.

    Args:
        settings: where the cache lies.
        kinds: None for those under the cap.

    Raises:
        UnknownNameError: there is no such kind.
    """
    found = [
        CacheEntry(
            path=path,
            kind=kind,
            name=manifest.name,
            size=manifest.size,
            items=manifest.pictures or len(manifest.arrays or manifest.packages),
            bytes=bytes_of(path),
            last_used=datetime.fromtimestamp(last_used(path), UTC),
        )
        for kind in kinds or KINDS
        for path, manifest in _listed(settings, kind)
    ]
    return sorted(found, key=lambda e: (EVERY.index(e.kind), e.name, e.size or 0, e.path))


def _listed(settings: Settings, kind: str) -> list[tuple[Path, _Listed]]:
    """Whatever lies there, of an older Bench and environments too, which have no checksums."""
    found = []
    for path in folders_of(settings, kind, ENTRY):
        with suppress(OSError, ValueError, AttributeError, RecursionError):
            content = json.loads((path / MANIFEST).read_bytes())
            found.append((path, _Listed.model_validate(content.get("entry", content))))
    return found
