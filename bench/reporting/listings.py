"""What Bench knows of, as tables for ``bench list`` and ``bench cache``."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from tabulate import tabulate

from bench.cache import CacheEntry
from bench.data.datasets import DATASETS
from bench.errors import BenchError
from bench.suite import load
from bench.zoo.augmentation import AUGMENTATIONS
from bench.zoo.backbones import BACKBONES
from bench.zoo.freezing import FREEZES
from bench.zoo.heads import HEADS, describe
from bench.zoo.traps import TRAPS


def listing(kind: str, suites: Path) -> str:
    """The table of one kind: ``backbones``, ``datasets``, ``freezes``, ``heads`` and so on."""
    tables: Mapping[str, Callable[[], str]] = {
        "backbones": _backbones,
        "datasets": _datasets,
        "freezes": _freezes,
        "heads": _heads,
        "augmentations": _augmentations,
        "traps": _traps,
        "suites": lambda: _suites(suites),
    }
    return tables[kind]()


def cache_listing(folder: Path, entries: Sequence[CacheEntry], cap: int | None = None) -> str:
    """The table of ``bench cache``.

    Args:
        folder: that holds the entries.
        entries: to be listed.
        cap: bytes that the cache may take, where the entries are all of it.
    """
    if not entries:
        return f"{folder}: empty"
    lines = [
        [e.kind, e.name, e.size or "–", f"{e.items:,}", size(e.bytes), _day(e.last_used)]
        for e in entries
    ]
    table = _table(["kind", "what", "pixels", "items", "size", "last used"], lines)
    most = f" of at most {size(cap)}" if cap else ""
    return f"{table}\n{folder}: {size(sum(e.bytes for e in entries))}{most}"


def size(count: int) -> str:
    """``225 MiB``."""
    amount, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} {units[0]}" if amount >= 100 else f"{amount:.3g} {units[0]}"


def _day(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def _backbones() -> str:
    titles = ["backbone", "family", "pixels", "parameters", "features", "ImageNet top-1 %"]
    lines = [
        [r.name, r.family, r.default_size, f"{r.parameters:,}", r.features, r.imagenet_top1 or "–"]
        for r in BACKBONES.values()
    ]
    return _table(titles, lines) + "\nparameters: without top; ImageNet top-1: as published"


def _datasets() -> str:
    lines = [
        [r.name, r.classes or "–", r.description, "; ".join(r.caveats)] for r in DATASETS.values()
    ]
    ways = "also: any TensorFlow Datasets name or image folder, as a [[datasets]] table of a suite"
    return _table(["dataset", "classes", "what it is", "caveats"], lines) + f"\n{ways}"


def _freezes() -> str:
    lines = [[r.name, r.amount, r.description] for r in FREEZES.values()]
    return _table(["freeze strategy", "amount", "what trains in phase 2"], lines)


def _heads() -> str:
    return _table(["head", "layers"], [[h.name, describe(h)] for h in HEADS.values()])


def _augmentations() -> str:
    return _table(["augmentation", "amount"], [[r.name, r.amount] for r in AUGMENTATIONS.values()])


def _traps() -> str:
    lines = [[r.name, r.description, ", ".join(r.guards)] for r in TRAPS.values()]
    return _table(["trap", "what is done wrong", "guards that notice it"], lines)


def _suites(folder: Path) -> str:
    lines = []
    for path in sorted(folder.rglob("*.toml")):
        try:
            suite = load(path)
            lines.append([str(path), len(suite.trials), suite.description])
        except BenchError as error:
            lines.append([str(path), "–", f"wrong: {error}"])
    return (
        _table(["suite", "trials", "what it answers"], lines) if lines else f"{folder}: no suites"
    )


def _table(titles: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    return tabulate(lines, headers=titles, tablefmt="simple", disable_numparse=True)
