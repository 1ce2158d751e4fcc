"""Intermediate work, kept between runs: one folder for each piece, complete or absent.

    CACHE/<kind>/<name>-<key>/   manifest.json   what it is, and checksums of all of it; its time
                                                 stamp is the last use
                                 <array>.npy     memory-mapped by readers

The key is a digest of all that the content depends on. An entry is written under a temporary name
beside its place, flushed to disk, then renamed; opening one checks its files against the manifest,
bit by bit where this process has not done so before (``checksums``). When an entry is
complete, those least recently used go, of whatever kind, until all of it fits ``BENCH_CACHE_GIB``.

``folders`` is what all kinds share, ``shared`` the store that several machines have behind their
caches, ``waiting`` the limit of what is asked of it, ``which`` tells caches apart. ``arrays`` is
for training code: NumPy arrays under an identity. Pictures have a layout of their own, in
``data/picture_cache.py``.
"""

from bench.cache.arrays import Arrays, ArraysWriter, building, key, let_go, manifests, read, reserve
from bench.cache.folders import (
    BUILT,
    KINDS,
    DamagedEntryError,
    clear,
    sweep,
    trim,
)
from bench.cache.listing import CacheEntry, entries
from bench.cache.shared import remarks
from bench.cache.which import identity

__all__ = [
    "BUILT",
    "KINDS",
    "Arrays",
    "ArraysWriter",
    "CacheEntry",
    "DamagedEntryError",
    "building",
    "clear",
    "entries",
    "identity",
    "key",
    "let_go",
    "manifests",
    "read",
    "remarks",
    "reserve",
    "sweep",
    "trim",
]
