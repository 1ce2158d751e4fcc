"""Isolated environments: one for each set of requirements, made once and used again.

    <BENCH_CACHE_DIR>/stacks/<requirements>-<hash>/                a virtual environment
    <BENCH_CACHE_DIR>/stacks/<requirements>-<hash>/manifest.json   written last: it is complete

What Bench itself requires is installed at the versions that are installed here, as far as the stack
allows it, so that only what the stack names differs. Bench is not installed there: workers import
one copy of the package that runs, so that all stacks run the same code.
"""

import hashlib
import os
import platform
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

import bench
from bench.cache import folders
from bench.errors import BenchError
from bench.records import Record
from bench.running import installers
from bench.running.installers import Installer, InstallError
from bench.running.stacks import StackRequest
from bench.settings import Settings

DISTRIBUTION = "keras-zoo-bench"
EXTRAS = ("offline", "gpu")
"""Of Bench: what is installed here of these is installed there, too."""
FORMAT = 1
FRAMEWORKS = frozenset({"tensorflow", "keras", "jax", "torch"})
FIRM = FRAMEWORKS | {"numpy", "pillow", "h5py", "scikit-learn"}
"""Kept as they are here when not everything can be: they decide what is computed from what."""
MAIN = (
    *("tensorflow", "tf-nightly", "jax", "jaxlib", "torch", "keras", "keras-nightly", "numpy"),
    *("h5py", "ml-dtypes", "pillow", "protobuf", "scikit-learn", "tensorflow-datasets"),
)
"""Packages whose versions are kept with the results of a stack."""


class Recipe(Record):
    """What an environment is made from.

    Attributes:
        python: version and implementation of the interpreter.
        requirements: of the stack.
        needed: of Bench, as it states them.
        pins: versions of ``needed`` that are installed here, by name.
        format: of the environment's folder.
    """

    python: str
    requirements: tuple[str, ...]
    needed: tuple[str, ...]
    pins: dict[str, str]
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


class Manifest(Record):
    """``manifest.json`` of an environment.

    Attributes:
        label: the stack's requirements, for lists.
        created: when, in UTC.
        recipe: what it was made from.
        packages: all that is installed, by name.
        dropped: pins that did not hold: ``numpy 2.4.6 -> 2.0.2``.
    """

    label: str
    created: str
    recipe: Recipe
    packages: dict[str, str]
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ready:
    """An environment that can be used.

    Attributes:
        python: its interpreter.
        packages: installed versions, by name.
        dropped: see `Manifest`.
        reused: it was there before.
    """

    python: Path
    packages: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    reused: bool = True


@dataclass(frozen=True)
class NotMade:
    """Why there is no environment."""

    reason: str


Made = Ready | NotMade


# ------------------------------------------------------------------------------- what goes in it


def recipe(request: StackRequest, backend: str) -> Recipe:
    """What the environment of a stack is made from.

    Args:
        request: a stack with requirements.
        backend: what it will compute with, whoever said so.

    Raises:
        BenchError: what Bench requires is not known, because it is not installed as a package.
    """
    needed = {name: text for name, text in _needed() if name not in request.packages}
    if backend != "tensorflow" and _installed("tensorflow") is None:
        needed.pop("tensorflow", None)  # it is not missing here either
    if backend not in request.packages:
        needed.setdefault(backend, backend)
    pins = {name: pin for name in needed if (pin := _pin(name))}
    return Recipe(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        requirements=request.requirements,
        needed=tuple(needed.values()),
        pins=pins,
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
        if always or (extra and _installed(name)):
            yield name, str(parsed)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _pin(name: str) -> str | None:
    """The version installed here; None where there is none."""
    return _public(_installed(name) or "")


def _public(version: str) -> str | None:
    """A version without what only its builder knows (``+cpu``); None for what is none."""
    try:
        return Version(version).public
    except InvalidVersion:
        return None


# ------------------------------------------------------------------------------------ making it


def place(recipe: Recipe, settings: Settings) -> Path:
    """The folder of an environment."""
    return folders.root(settings, folders.STACKS) / recipe.folder


def found(recipe: Recipe, settings: Settings) -> Ready | None:
    """An environment that is complete; None where there is none."""
    folder = place(recipe, settings)
    try:
        manifest = folders.opened(folder, _manifest)
    except folders.DamagedEntryError:
        return None
    if manifest is None or manifest.recipe != recipe or not installers.python(folder).exists():
        return None
    return Ready(installers.python(folder), manifest.packages, manifest.dropped)


def _manifest(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / folders.MANIFEST).read_bytes())


def made(
    recipe: Recipe,
    settings: Settings,
    tell: Callable[[str], None],
    installer: Installer | None = None,
) -> Made:
    """The environment, made if need be. Whatever goes wrong is its reason.

    Args:
        recipe: what to make it from.
        settings: say where the cache lies.
        tell: told what happens.
        installer: what to use; None for the best one that is here.
    """
    folder = place(recipe, settings)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folders.lock(folder)):
            return found(recipe, settings) or _build(
                folder, recipe, tell, installer or installers.best()
            )
    except InstallError as error:
        return NotMade(str(error))
    except OSError as error:
        return NotMade(f"the environment could not be written: {error}")


def _build(
    folder: Path, recipe: Recipe, tell: Callable[[str], None], installer: Installer
) -> Ready:
    """Make it in its place, where the interpreter's links need it; half of one is none."""
    _remove(folder)
    try:
        tell("making an environment")
        installer.make(folder)
        _install(folder, recipe, tell, installer)
        packages = _packages(folder)
        dropped = tuple(
            f"{name} {pin} -> {packages[name]}"
            for name, pin in recipe.pins.items()
            if name in packages and _public(packages[name]) != pin
        )
        manifest = Manifest(
            label=" ".join(recipe.requirements),
            created=folders.now(),
            recipe=recipe,
            packages=packages,
            dropped=dropped,
        )
        new = folder / f".{folders.MANIFEST}"
        new.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        new.replace(folder / folders.MANIFEST)
    except BaseException:
        _remove(folder)
        raise
    return Ready(installers.python(folder), packages, dropped, reused=False)


def _remove(folder: Path) -> None:
    """The manifest first, so that nobody takes what is left for an environment."""
    (folder / folders.MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _install(
    folder: Path, recipe: Recipe, tell: Callable[[str], None], installer: Installer
) -> None:
    """With all pins, or as many as can be.

    Raises:
        InstallError: it does not work without any, or no pin is in the way.
    """
    every = frozenset(recipe.pins)
    levels = list(dict.fromkeys([every, every & FIRM, every & FRAMEWORKS, frozenset[str]()]))
    for level, fewer in zip(levels, [*levels[1:], None], strict=True):
        wanted = recipe.wanted(level)
        tell(f"installing {', '.join(recipe.requirements)}, and what Bench needs")
        try:
            return installer.install(folder, wanted)
        except InstallError as error:
            own = any(f"distribution found for {r}" in str(error) for r in recipe.requirements)
            if fewer is None or own or not error.unresolved:
                raise
            kept = f"keeping {', '.join(sorted(fewer))}" if fewer else "keeping none of them"
            tell(f"versions installed here do not fit ({error}); {kept}")
    raise AssertionError("the last level has returned or raised")


def _packages(folder: Path) -> dict[str, str]:
    """Versions of all that is installed in an environment."""
    sites = [str(site) for site in folder.glob("lib/python*/site-packages")]
    installed = metadata.distributions(path=sites)
    return dict(sorted((canonicalize_name(d.metadata["Name"]), d.version) for d in installed))


# ------------------------------------------------------------------------------ running in them


def here() -> Ready:
    """What is installed where this process runs."""
    versions = {name: version for name in MAIN if (version := _installed(name))}
    return Ready(Path(sys.executable), versions)


def main_packages(ready: Ready) -> dict[str, str]:
    """Versions of what matters most."""
    return {name: ready.packages[name] for name in MAIN if name in ready.packages}


def code(folder: Path) -> Path:
    """Copy the running package into a folder; gives what to put on workers' ``PYTHONPATH``.

    A copy, not a link: files that are edited while stacks run must not make them differ.
    """
    path = folder / "code"
    source = Path(bench.__file__).parent
    shutil.copytree(source, path / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return path


def environ(request: StackRequest, code: Path) -> dict[str, str]:
    """What the workers of a stack are started with, on top of what they inherit.

    Args:
        request: the stack.
        code: what `code` gave.
    """
    inherited = os.environ.get("PYTHONPATH") if request.is_current else None
    paths = [str(code.absolute()), *([inherited] if inherited else [])]
    # Without "safe path", `python -m` would look for Bench in the folder where it was started.
    ours = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
    if request.is_current:
        del ours["PYTHONNOUSERSITE"]
    return ours | request.environ


@contextmanager
def apart(settings: Settings) -> Iterator[Settings]:
    """The same machine with intermediate work of one's own, gone afterwards; pictures are shared.

    Intermediate work is known by its stack's versions. Stacks that differ in nothing else (an
    environment variable, say, or nothing at all) would take it from one another, and look equal.

    Args:
        settings: of this machine.
    """
    entry = folders.root(settings, folders.STACKS) / f"work-{secrets.token_hex(8)}"
    held = FileLock(folders.lock(entry))
    with folders.explaining(entry):
        shared = settings.cache / "images"
        for folder in (shared, entry.parent):
            folder.mkdir(parents=True, exist_ok=True)
        held.acquire()  # as long as it is held, nobody takes the folder for one left behind
        own = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}."))
        (own / shared.name).symlink_to(shared, target_is_directory=True)
    try:
        yield settings.model_copy(update={"cache": own})
    finally:
        shutil.rmtree(own, ignore_errors=True)
        held.release()
        folders.lock(entry).unlink(missing_ok=True)
