"""What the accelerator drew while something ran, and who else computed on it."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from bench.measuring import nvml
from bench.records import Stack


class Watch:
    """Energy that an NVIDIA GPU draws during ``with Watch(stack) as watch``.

    It is the GPU's own counter (Volta or newer), read at both ends: the whole board, whoever uses
    it, its power at rest included. The counter moves in steps of up to 100 ms, so what is measured
    should take seconds. Whoever watches waits for the device before leaving.

    Args:
        stack: on ``cpu`` nothing is watched, whatever else is in the machine.

    Attributes:
        joules: once left, also by an error; None without such a counter.
    """

    def __init__(self, stack: Stack) -> None:
        self.joules: float | None = None
        self._stack = stack
        self._open = ExitStack()
        self._gpu: nvml.Gpu | None = None
        self._before: int | None = None

    def __enter__(self) -> Self:
        if self._stack.device != "cpu":
            self._gpu = self._open.enter_context(nvml.first_gpu())
            self._before = self._gpu.millijoules() if self._gpu else None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:
            after = self._gpu.millijoules() if self._gpu else None
        # A counter that went backwards was reset in between, by a driver loaded again.
        if self._before is not None and after is not None and after >= self._before:
            self.joules = (after - self._before) / 1000


def foreign_processes(stack: Stack) -> int | None:
    """How many processes other than this one compute on its GPU now; None where unknown.

    One of those that NVML lists is always taken to be this process, which must have computed on
    the GPU already: in a container NVML tells the host's process ids, so it cannot be looked up.
    """
    if stack.device == "cpu":
        return None
    with nvml.first_gpu() as gpu:
        running = gpu.processes() if gpu else None
    return None if running is None else max(0, len(running) - 1)
