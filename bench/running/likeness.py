"""Which packages of an environment could be of the versions that are installed here.

An installer that is told to keep every version as it is here finds no solution (TensorFlow 2.20
does not go with TensorBoard 2.21), or an older one of what should be the newest. So it chooses what
nobody named, and afterwards what nothing speaks against is put back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from bench.running import recipes


@dataclass(frozen=True)
class Package:
    """What a package's metadata says.

    Attributes:
        version: of it.
        requires: its requirements, as it states them.
    """

    version: str
    requires: tuple[str, ...] = ()


def fitting(there: Mapping[str, Package], here: Mapping[str, Package]) -> dict[str, str]:
    """Versions that an environment can have instead of its own, all at once.

    Args:
        there: everything in the environment, by name.
        here: what it should rather hold, as far as it holds such a package at all.

    Returns:
        By name: so many that every requirement still holds that held before.
    """
    changed = {
        name
        for name in here.keys() & there.keys()
        if recipes.public(here[name].version) != recipes.public(there[name].version)
    }
    while wrong := _wrong({**there, **{name: here[name] for name in changed}}) & changed:
        changed -= wrong
    return {name: recipes.public(here[name].version) or "" for name in sorted(changed)}


def _wrong(packages: Mapping[str, Package]) -> set[str]:
    """Names of packages whose requirements do not hold, and of what they require."""
    plain = [(name, r) for name, p in packages.items() for r in recipes.applying(p.requires)]
    extras = [
        (name, r)
        for _, asked in plain
        for extra in asked.extras
        if (name := canonicalize_name(asked.name)) in packages
        for r in recipes.applying(packages[name].requires, extra)
    ]
    found: set[str] = set()
    for who, requirement in (*plain, *extras):
        other = canonicalize_name(requirement.name)
        held = packages.get(other)
        if held is None or not requirement.specifier.contains(held.version, prereleases=True):
            found |= {who, other}
    return found
