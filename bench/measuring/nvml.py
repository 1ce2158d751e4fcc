"""NVML, the library behind ``nvidia-smi``: the one place that reaches it.

Its Python side is the optional package ``nvidia-ml-py`` (module ``pynvml``). Whatever cannot be
asked (no such package, no driver, a GPU too old) is None, and nothing is guessed.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Gpu:
    """One NVIDIA GPU, while NVML is open.

    Args:
        library: the module ``pynvml``.
        handle: NVML's own for the GPU.
    """

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle

    def millijoules(self) -> int | None:
        """Drawn since the driver was loaded, by the whole board; None before Volta."""
        energy = self._ask(self._library.nvmlDeviceGetTotalEnergyConsumption)
        return None if energy is None else int(energy)

    def processes(self) -> frozenset[int] | None:
        """Ids of the processes that compute on it. In a container they may be the host's ids."""
        running = self._ask(self._library.nvmlDeviceGetComputeRunningProcesses)
        return None if running is None else frozenset(int(p.pid) for p in running)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        try:
            return question(self._handle)
        except self._library.NVMLError:
            return None


@contextmanager
def first_gpu() -> Iterator[Gpu | None]:
    """The first GPU that CUDA shows this process, with NVML open inside ``with``.

    ``CUDA_VISIBLE_DEVICES`` counts: its first entry, an index or a UUID (or the beginning of one).
    None where it shows no GPU; where the GPU is divided (MIG), whose counters belong to several;
    and where an index is ambiguous: CUDA counts the fastest GPU first and NVML by bus, so on a
    machine with different GPUs an index needs ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    try:
        library: Any = importlib.import_module("pynvml")
        library.nvmlInit()
    except ImportError:
        yield None
        return
    except library.NVMLError:
        yield None
        return
    try:
        yield _first(library)
    finally:
        library.nvmlShutdown()


def _first(library: Any) -> Gpu | None:
    try:
        count = library.nvmlDeviceGetCount()
        handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        handle = _visible(library, handles)
    except library.NVMLError:
        return None
    return None if handle is None or _divided(library, handle) else Gpu(library, handle)


def _visible(library: Any, handles: list[Any]) -> Any:
    """The handle that ``CUDA_VISIBLE_DEVICES`` puts first; None where there is none."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.startswith("GPU-"):
        named = [h for h in handles if _text(library.nvmlDeviceGetUUID(h)).startswith(first)]
        return named[0] if len(named) == 1 else None
    if not first.isdecimal() or int(first) >= len(handles):
        return None
    by_bus = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    alike = len({_text(library.nvmlDeviceGetName(handle)) for handle in handles}) == 1
    return handles[int(first)] if by_bus or alike else None


def _divided(library: Any, handle: Any) -> bool:
    try:
        current, _ = library.nvmlDeviceGetMigMode(handle)
    except library.NVMLError:  # a GPU that cannot be divided
        return False
    return bool(current)


def _text(name: str | bytes) -> str:
    """Versions of the package before 11.5 give bytes."""
    return name.decode() if isinstance(name, bytes) else name
