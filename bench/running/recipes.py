"""What an environment is made from: the stack's requirements, Bench's, and what is installed here.

What Bench itself requires is to be installed at the versions that are installed here, and so is
what that, and what the stack names, needs in turn.
"""

import hashlib
import platform
from collections.abc import Iterable, Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bench.cache import folders
from bench.errors import BenchError
from bench.records import Record
from bench.running.stacks import StackRequest

DISTRIBUTION = "keras-zoo-bench"
EXTRAS = ("offline", "gpu")
"""Of Bench: what is installed here of these is installed there, too."""
FORMAT = 2


class Recipe(Record):
    """What an environment is made from.

    Attributes:
        python: version and implementation of the interpreter.
        requirements: of the stack.
        needed: of Bench, as it states them.
        pins: versions of ``needed`` that are installed here, by name.
        indirect: versions installed here of what those need in turn, or what the stack names does.
        format: of the environment's folder.
    """

    python: str
    requirements: tuple[str, ...]
    needed: tuple[str, ...]
    pins: dict[str, str]
    indirect: dict[str, str] = {}
    format: int = FORMAT

    @property
    def folder(self) -> str:
        """Name of the environment's folder."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
        return f"{folders.slug(' '.join(self.requirements)) or 'stack'}-{digest}"

    def wanted(self, kept: frozenset[str]) -> list[str]:
        """What to give to an installer, if of the pins only these are kept."""
        needed = [
            f"{name}=={self.pins[name]}" if name in kept else text
            for text in self.needed
            for name in [canonicalize_name(Requirement(text).name)]
        ]
        return [*self.requirements, *needed]


def recipe(request: StackRequest, backend: str) -> Recipe:
    """What the environment of a stack is made from.

    Args:
        request: a stack with requirements.
        backend: what it will compute with, whoever said so.

    Raises:
        BenchError: what Bench requires is not known, because it is not installed as a package.
    """
    needed = {name: text for name, text in _needed() if name not in request.packages}
    if backend != "tensorflow" and installed("tensorflow") is None:
        needed.pop("tensorflow", None)  # it is not missing here either
    if backend not in request.packages:
        needed.setdefault(backend, backend)
    return Recipe(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        requirements=request.requirements,
        needed=tuple(needed.values()),
        pins=_pins(needed),
        indirect=_pins(
            _behind([*needed.values(), *request.packages]) - {*needed, *request.packages}
        ),
    )


def _needed() -> Iterator[tuple[str, str]]:
    """Names and requirements of Bench, and of those extras that are installed here."""
    try:
        stated = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise BenchError(
            f"what Bench requires is not known, because {DISTRIBUTION} is not installed here: "
            "install it (pip install -e .), or give stacks that are current"
        ) from error
    for text in stated:
        parsed = Requirement(text)
        name, marker = canonicalize_name(parsed.name), parsed.marker
        parsed.marker = None
        always = marker is None or marker.evaluate({"extra": ""})
        extra = marker is not None and any(marker.evaluate({"extra": e}) for e in EXTRAS)
        if always or (extra and installed(name)):
            yield name, str(parsed)


def _behind(requirements: Iterable[str]) -> set[str]:
    """Names of all that is installed here for these requirements, themselves included."""
    seen: set[tuple[str, str]] = set()
    left = list(map(Requirement, requirements))
    while left:
        asked = left.pop()
        name = canonicalize_name(asked.name)
        for extra in {"", *asked.extras}:
            if (name, extra) not in seen and installed(name):
                seen.add((name, extra))
                left += applying(metadata.requires(name) or [], extra)
    return {name for name, _ in seen}


def applying(stated: Iterable[str], extra: str = "") -> list[Requirement]:
    """Those requirements of a package that hold on this machine.

    Args:
        stated: as its metadata has them.
        extra: of the package; empty for what it needs without any.
    """
    found = []
    for text in stated:
        try:
            parsed = Requirement(text)
        except InvalidRequirement:  # of an old package: no installer minds it either
            continue
        if parsed.marker is None or parsed.marker.evaluate({"extra": extra}):
            found.append(parsed)
    return found


def installed(name: str) -> str | None:
    """The version that is installed here; None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def public(version: str) -> str | None:
    """A version without what only its builder knows (``+cpu``); None for what is none."""
    try:
        return Version(version).public
    except InvalidVersion:
        return None


def _pins(names: Iterable[str]) -> dict[str, str]:
    """Versions that are installed here, of what is."""
    found = ((name, public(installed(name) or "")) for name in sorted(names))
    return {name: pin for name, pin in found if pin}
