"""``bench list``, ``bench cache``, ``bench doctor``: what there is, here and in Bench."""

from enum import StrEnum
from typing import Annotated

import typer

from bench.cli.console import SUITES, out


class Kind(StrEnum):
    """What `bench list` can list."""

    BACKBONES = "backbones"
    DATASETS = "datasets"
    FREEZES = "freezes"
    HEADS = "heads"
    AUGMENTATIONS = "augmentations"
    TRAPS = "traps"
    SUITES = "suites"


def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List backbones, datasets, freeze strategies, heads, augmentations, traps or suites."""
    from bench.reporting import listings

    out.print(listings.listing(kind.value, SUITES), soft_wrap=True, markup=False)


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what would be shown.")] = False,
    kind: Annotated[
        str | None, typer.Option(help="Only these: images, activations, heads, modes or stacks.")
    ] = None,
) -> None:
    """Show, or clear, the cache: decoded pictures, intermediate work, environments of stacks."""
    from bench import cache as caches
    from bench.cache.folders import EVERY, STACKS
    from bench.reporting import listings
    from bench.settings import Settings

    settings = Settings.from_environment()
    kinds, folder = ([kind], settings.cache / kind) if kind else (None, settings.cache)
    if clear:
        freed = caches.clear(settings, kinds or EVERY)
        out.print(f"{folder}: {listings.size(freed)} freed", markup=False, soft_wrap=True)
        return
    entries = caches.entries(settings, kinds)
    cap = None if kind else settings.cache_bytes
    out.print(listings.cache_listing(folder, entries, cap), soft_wrap=True, markup=False)
    if not kind and (environments := caches.entries(settings, [STACKS])):
        beside = listings.cache_listing(settings.cache / STACKS, environments)
        out.print(f"\n{beside}, beside the cap", soft_wrap=True, markup=False)


def doctor() -> None:
    """Say what runs here: backends, devices, cache, weights, data; and what is wrong."""
    from bench.reporting import doctor as examination
    from bench.settings import Settings

    findings = examination.examine(Settings.from_environment())
    out.print(examination.rendered(findings), markup=False, soft_wrap=True)
    raise typer.Exit(1 if any(f.problem for f in findings) else 0)
