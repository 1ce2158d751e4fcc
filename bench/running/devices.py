"""The GPUs of this machine, and which worker gets which. Asks no framework."""

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError

VARIABLE = "CUDA_VISIBLE_DEVICES"
AUTO = "auto"
_SMI = ("nvidia-smi", "--query-gpu=index,name", "--format=csv,noheader")
_SMI_SECONDS = 10.0
MOST_WITHOUT = 8
"""Workers that may share a processor of fewer cores."""


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        id: as ``CUDA_VISIBLE_DEVICES`` names it: an index or a UUID.
        name: the driver's, for example ``NVIDIA A100-SXM4-40GB``.
    """

    id: str
    name: str


def installed() -> tuple[Gpu, ...]:
    """Every GPU that NVIDIA's driver knows of; none where no driver answers."""
    return _by_command() or _by_library()


def visible(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The ids of the GPUs that a process may use.

    Args:
        environ: where ``CUDA_VISIBLE_DEVICES`` may narrow them down; as in CUDA, its list ends at
            the first entry that names no GPU (``-1``, or nothing).
    """
    stated = environ.get(VARIABLE)
    if stated is None:
        return tuple(gpu.id for gpu in installed())
    ids: list[str] = []
    for word in map(str.strip, stated.split(",")):
        if not word or word.startswith("-") or word == "NoDevFiles":
            break
        ids.append(word)
    return tuple(dict.fromkeys(ids))


def places(
    workers: str, environ: Mapping[str, str] = os.environ, *, each: int = 1
) -> tuple[str | None, ...]:
    """The GPUs of each worker.

    Args:
        workers: how many, as the user wrote it: a number, or ``auto`` for as many as GPUs allow.
        environ: see `visible`.
        each: GPUs that a worker has, which is the suite's ``execution.devices``.

    Returns:
        For each worker the ids of its GPUs, with commas; None to leave the choice to its framework,
        which is so for a single worker and on a machine without GPUs.

    Raises:
        BenchError: it is no such number, or there are fewer GPUs.
    """
    if workers != AUTO and not (workers.isascii() and workers.isdigit() and int(workers)):
        raise BenchError(f"--workers {workers!r}: expected a number, 1 or more, or {AUTO}")
    if workers != AUTO and int(workers) == 1:
        return (None,)
    ids = visible(environ)
    count = max(1, len(ids) // each) if workers == AUTO else int(workers)
    cores = os.cpu_count() or 1
    if not ids and count > max(cores, MOST_WITHOUT):
        raise BenchError(
            f"--workers {workers}: expected at most {max(cores, MOST_WITHOUT)} on this processor"
        )
    if count == 1 or not ids:
        return (None,) * count
    if count > len(ids) // each:
        there = f"{len(ids) // each}, one for each {'GPU' if each == 1 else f'{each} GPUs'} "
        raise BenchError(
            f"--workers {count}: expected at most {there}that {'is' if each == 1 else 'are'} "
            f"visible; an empty {VARIABLE} hides them, for workers on the CPU"
        )
    return tuple(",".join(ids[i * each : (i + 1) * each]) for i in range(count))


def problem(devices: int, backend: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Why trials cannot run on so many devices here; None where nothing is known to be in the way.

    A machine without GPUs offers parts of its processor; what else a framework finds to be missing
    (it may not have been built for these GPUs), a worker says when it starts.

    Args:
        devices: the suite's ``execution.devices``.
        backend: what Keras computes with.
        environ: see `visible`.
    """
    if devices == 1:
        return None
    if backend == "torch":
        return (
            f"execution.devices = {devices}: expected 1 on torch: Keras spreads a batch over "
            "devices on tensorflow and jax only"
        )
    ids = visible(environ)
    if ids and devices > len(ids):
        return (
            f"execution.devices = {devices}: expected at most {len(ids)}, the GPUs that are "
            f"visible: {', '.join(ids)}"
        )
    return None


def of_stack(device: str) -> int:
    """Over how many devices the batches of a stack's trials were spread: of ``NVIDIA H200 x2``, 2.

    Args:
        device: of a stack.
    """
    found = re.search(r" x(\d+)$", device)
    return int(found[1]) if found else 1


def _by_command() -> tuple[Gpu, ...]:
    if shutil.which(_SMI[0]) is None:
        return ()
    try:
        done = subprocess.run(
            _SMI, capture_output=True, text=True, errors="replace", timeout=_SMI_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parsed(done.stdout) if done.returncode == 0 else ()


def parsed(listing: str) -> tuple[Gpu, ...]:
    """What ``nvidia-smi --query-gpu=index,name --format=csv,noheader`` printed."""
    pairs = (line.partition(",") for line in listing.splitlines())
    return tuple(
        Gpu(index.strip(), name.strip()) for index, _, name in pairs if index.strip().isdigit()
    )


def _by_library() -> tuple[Gpu, ...]:
    """The same from NVIDIA's library, where its Python package is installed."""
    try:
        library: Any = importlib.import_module("pynvml")
        library.nvmlInit()
    except Exception:  # it has errors of its own, which only it can name
        return ()
    found = []
    with suppress(library.NVMLError):
        for index in range(library.nvmlDeviceGetCount()):
            name = library.nvmlDeviceGetName(library.nvmlDeviceGetHandleByIndex(index))
            found.append(Gpu(str(index), name.decode() if isinstance(name, bytes) else name))
    return tuple(found)
