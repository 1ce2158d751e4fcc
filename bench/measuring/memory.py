"""The most memory that a workload held: the process' on a CPU, else the accelerator's own."""

import ctypes
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil

from bench.costs import Memory
from bench.records import Stack

SAMPLE_SECONDS = 0.02
"""How often resident memory is looked at where the system's own high-water mark is out of reach."""

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")

_RESET_WITHIN = 32 * 2**20
"""Bytes by which a high-water mark that was just reset may be above what the process holds."""

_UNTOLD = (ValueError, KeyError, RuntimeError)
"""What backends raise for a device that keeps no account of its memory."""


class Watch:
    """Peak memory of what runs inside ``with Watch(stack) as watch``.

    On a CPU (kind ``resident``) it is resident memory of this process, mapped files included.
    Garbage is collected, and freed memory given back to the system, before it begins, so what an
    earlier workload has freed does not count. Linux keeps the mark itself; elsewhere, or where
    resetting it is not permitted, a thread looks every 20 ms and may miss a shorter peak.

    On an accelerator (kind ``device``) it is what the framework has given to tensors there: not the
    driver's own, nor what the framework reserves beyond that. Only the first device is watched, and
    whoever watches waits for the device before leaving.

    Two backends do not forget what ran before in the process. JAX cannot reset its peak on an
    accelerator: it is that of the process so far. TensorFlow keeps what tensors on a CPU have used
    (oneDNN's allocator): it counts in ``before`` and in the peak, and is used again. There the peak
    is right in a fresh process only, and an upper bound in any other.

    Args:
        stack: whose backend and device (``cpu``, or an accelerator's name) are watched.

    Attributes:
        memory: once left, also by an error; None where the device keeps no account of it.
    """

    def __init__(self, stack: Stack) -> None:
        self.memory: Memory | None = None
        self._stack = stack
        self._gauge: _Gauge | None = None
        self._before = 0

    def __enter__(self) -> Self:
        _release()
        try:
            self._gauge = _gauge(self._stack)
            self._before = self._gauge.start()
        except _UNTOLD:
            self._gauge = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._gauge is None:
            return
        try:
            peak = max(self._before, self._gauge.stop())
        except _UNTOLD:
            return
        self.memory = Memory(peak=peak, before=self._before, kind=self._gauge.kind)


@dataclass(frozen=True)
class _Gauge:
    """How memory of one kind is read.

    Attributes:
        kind: as in `Memory`.
        start: forgets earlier peaks; gives the bytes held now.
        stop: gives the most bytes held since.
    """

    kind: Literal["device", "resident"]
    start: Callable[[], int]
    stop: Callable[[], int]


def _gauge(stack: Stack) -> _Gauge:
    if stack.device != "cpu":
        return _ACCELERATORS[stack.backend]()
    if _resettable():
        return _Gauge("resident", _reset_mark, lambda: _status("VmHWM"))
    sampler = _Sampler()
    return _Gauge("resident", sampler.start, sampler.stop)


# ------------------------------------------------------------------------------- resident memory


def _release() -> None:
    """Give back what nobody holds any more, as far as Python and the C library can."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # not glibc; TypeError: Windows has no CDLL(None)
        return


def _resettable() -> bool:
    """Whether resetting the high-water mark works; some sandboxes take the order and ignore it."""
    try:
        held = _reset_mark()
        return _status("VmHWM") - held <= _RESET_WITHIN
    except (OSError, KeyError):
        return False


def _reset_mark() -> int:
    _CLEAR_REFS.write_text("5")
    return _status("VmRSS")


def _status(field: str) -> int:
    """Bytes of a line such as ``VmHWM:    1932 kB``."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise KeyError(field)


class _Sampler:
    """Resident memory by looking at it again and again, on a thread."""

    def __init__(self) -> None:
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory sampler", daemon=True)

    def start(self) -> int:
        self._peak = held = _resident()
        self._thread.start()
        return held

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return max(self._peak, _resident())

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, _resident())


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


# --------------------------------------------------------------------------------- accelerators


def _tensorflow() -> _Gauge:
    import tensorflow as tf

    memory, device = tf.config.experimental, "GPU:0"

    def start() -> int:
        memory.reset_memory_stats(device)
        return int(memory.get_memory_info(device)["current"])

    return _Gauge("device", start, lambda: int(memory.get_memory_info(device)["peak"]))


def _torch() -> _Gauge:
    import torch

    def start() -> int:
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())

    return _Gauge("device", start, lambda: int(torch.cuda.max_memory_allocated()))


def _jax() -> _Gauge:
    import jax

    def told(name: str) -> int:
        statistics: dict[str, Any] = jax.devices()[0].memory_stats() or {}
        return int(statistics[name])

    return _Gauge("device", lambda: told("bytes_in_use"), lambda: told("peak_bytes_in_use"))


_ACCELERATORS: dict[str, Callable[[], _Gauge]] = {
    "tensorflow": _tensorflow,
    "torch": _torch,
    "jax": _jax,
}
