"""Isolated environments: one for each set of requirements, made once and used again.

    <BENCH_CACHE_DIR>/stacks/<requirements>-<hash>/<attempt>/       a virtual environment
    <BENCH_CACHE_DIR>/stacks/<requirements>-<hash>/manifest.json    written last: which is complete

What Bench itself requires, and what that requires, is installed at the versions that are installed
here, as far as the stack allows it, so that only what the stack names differs, and what it forces.
Bench is not installed there: workers import one copy of the package that runs, so that all stacks
run the same code.
"""

import fcntl
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout
from packaging.utils import canonicalize_name

import bench
from bench.cache import folders
from bench.records import Record
from bench.running import installers, likeness, recipes
from bench.running.installers import Installer, InstallError
from bench.running.likeness import Package
from bench.running.recipes import Recipe
from bench.running.stacks import StackRequest
from bench.settings import Settings

FRAMEWORKS = frozenset({"tensorflow", "keras", "jax", "torch"})
FIRM = FRAMEWORKS | {"numpy", "pillow", "h5py", "scikit-learn"}
"""Kept as they are here when not everything can be: they decide what is computed from what."""
MAIN = (
    *("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu", "jax", "jaxlib", "torch"),
    *("keras", "keras-nightly", "numpy", "h5py", "ml-dtypes", "pillow", "protobuf"),
    *("scikit-learn", "tensorflow-datasets"),
)
"""Packages whose versions are kept with the results of a stack."""


class Manifest(Record):
    """``manifest.json`` of an environment.

    Attributes:
        label: the stack's requirements, for lists.
        created: when, in UTC.
        recipe: what it was made from.
        attempt: name of the folder of the environment itself.
        packages: all that is installed, by name.
        dropped: what is of another version than here: ``numpy 2.4.6 -> 2.0.2``.
    """

    label: str
    created: str
    recipe: Recipe
    attempt: str
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
        created: when it was made, in UTC; empty where nothing was made.
    """

    python: Path
    packages: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    reused: bool = True
    created: str = ""

    @property
    def age(self) -> str:
        """How long ago it was made."""
        seconds = (datetime.now(UTC) - datetime.fromisoformat(self.created)).total_seconds()
        for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
            if (count := int(seconds // length)) > 0:
                return f"{count} {unit}{'' if count == 1 else 's'} ago"
        return "just now"


@dataclass(frozen=True)
class NotMade:
    """Why there is no environment."""

    reason: str


Made = Ready | NotMade


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
    if manifest is None or manifest.recipe != recipe:
        return None
    python = installers.python(folder / manifest.attempt)
    if not python.exists():
        return None
    return Ready(python, manifest.packages, manifest.dropped, created=manifest.created)


def _manifest(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / folders.MANIFEST).read_bytes())


def made(
    recipe: Recipe,
    settings: Settings,
    tell: Callable[[str], None],
    using: ExitStack,
    installer: Installer | None = None,
    refresh: bool = False,
) -> Made:
    """The environment, made if need be. Whatever goes wrong is its reason.

    Args:
        recipe: what to make it from.
        settings: say where the cache lies.
        tell: told what happens.
        using: until it is closed, nobody removes the environment or makes it anew.
        installer: what to use; None for the best one that is here.
        refresh: make it anew in any case.
    """
    folder = place(recipe, settings)
    built: Ready | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with ExitStack() as use:
                use.enter_context(_shared(folders.lock(folder)))
                ready = None if refresh else found(recipe, settings)
                if ready is not None:
                    using.enter_context(use.pop_all())
                    return built if built and built.python == ready.python else ready
            with FileLock(folders.lock(folder), timeout=0 if refresh else -1):
                if refresh or found(recipe, settings) is None:
                    built = _build(folder, recipe, tell, installer or installers.best())
            refresh = False
    except InstallError as error:
        return NotMade(str(error))
    except Timeout:
        return NotMade("another run uses the environment: wait for it, or leave out --refresh")
    except OSError as error:
        return NotMade(f"the environment could not be written: {error}")


@contextmanager
def _shared(path: Path) -> Iterator[None]:
    """Hold a lock that others may hold in this way, too, but nobody as a `FileLock`."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # Who held it as a `FileLock` may have removed the file; another has its name then.
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                yield
                return
        finally:
            os.close(descriptor)


def _build(
    folder: Path, recipe: Recipe, tell: Callable[[str], None], installer: Installer
) -> Ready:
    """Make it in its place, where the interpreter's links need it; half of one is none.

    Each attempt has a folder of its own: the installer of a killed one may still be writing.
    """
    _remove(folder)
    own = folder / secrets.token_hex(4)
    try:
        tell("making an environment")
        folder.mkdir(exist_ok=True)
        installer.make(own)
        _install(own, recipe, tell, installer)
        _make_alike(own, recipe, tell, installer)
        packages = {name: package.version for name, package in _packages(own).items()}
        manifest = Manifest(
            label=" ".join(recipe.requirements),
            created=folders.now(),
            recipe=recipe,
            attempt=own.name,
            packages=packages,
            dropped=tuple(
                f"{name} {pin} -> {packages[name]}"
                for name, pin in (recipe.pins | recipe.indirect).items()
                if name in packages and recipes.public(packages[name]) != pin
            ),
        )
        new = folder / f".{folders.MANIFEST}"
        new.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        new.replace(folder / folders.MANIFEST)
    except BaseException:
        _remove(folder)
        raise
    python = installers.python(own)
    return Ready(python, packages, manifest.dropped, reused=False, created=manifest.created)


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


def _make_alike(
    folder: Path, recipe: Recipe, tell: Callable[[str], None], installer: Installer
) -> None:
    """Put back what an installer chose otherwise than here, but need not have."""
    wanted = {
        name: Package(pin, tuple(metadata.requires(name) or ()))
        for name, pin in (recipe.pins | recipe.indirect).items()
    }
    alike = likeness.fitting(_packages(folder), wanted)
    if not alike:
        return
    tell(f"as they are here: {', '.join(f'{n} {version}' for n, version in alike.items())}")
    try:
        installer.replace(folder, [f"{name}=={version}" for name, version in alike.items()])
    except InstallError as error:
        tell(f"they stay as they were chosen ({error})")


def _packages(folder: Path) -> dict[str, Package]:
    """All that is installed in an environment, by name."""
    sites = [str(site) for site in folder.glob("lib/python*/site-packages")]
    every = metadata.distributions(path=sites)
    found = {canonicalize_name(d.name): Package(d.version, tuple(d.requires or ())) for d in every}
    return dict(sorted(found.items()))


# ------------------------------------------------------------------------------ running in them


def here() -> Ready:
    """What is installed where this process runs."""
    versions = {name: version for name in MAIN if (version := recipes.installed(name))}
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
    else:
        ours["PYTHONHOME"] = ""  # which counts as none: its own interpreter knows where it lives
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
        yield settings.model_copy(update={"cache": own, "shared": None})
    finally:
        shutil.rmtree(own, ignore_errors=True)
        held.release()
        folders.lock(entry).unlink(missing_ok=True)
