"""Graph or XLA: measured for what is about to run, never guessed.

XLA runs the same step up to 20 times slower than TensorFlow's graph on a CPU, or faster, and may
take a minute to compile. So it is measured where the phase is long enough to win that minute back,
once per machine and identity, and the answer is kept in the cache.

JAX always compiles with XLA and PyTorch runs eagerly, so there is nothing to choose there.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras

from bench import cache
from bench.settings import Settings
from bench.training import parallel

KIND = "modes"

PAYS_SECONDS = 300.0
"""A phase that a graph runs in less is not worth a compilation by XLA, which may take a minute."""

FASTER = 1.05
"""How many times faster XLA must be; within 5% a busy machine could decide either way."""

_REPEATS = 3

_HOPELESS = 2.0
"""Once XLA has taken this many times as long as the graph, it is not run again to make sure."""

Run = Callable[[], object]


@dataclass(frozen=True)
class Mode:
    """How a phase or a sweep runs.

    Attributes:
        name: ``graph``, ``xla``, or ``eager`` (PyTorch).
        evidence: one line saying what was measured, or why nothing was.
    """

    name: Literal["graph", "xla", "eager"]
    evidence: str

    @property
    def text(self) -> str:
        """Name and evidence, for a row."""
        return parallel.noted(f"{self.name}: {self.evidence}")

    @property
    def jit(self) -> bool:
        """For Keras' ``jit_compile``."""
        return self.name == "xla"


@dataclass(frozen=True)
class _Measured:
    """Median seconds of a step, over how many, and seconds of the first, which compiles."""

    seconds: float
    steps: int
    first: float

    @property
    def text(self) -> str:
        return f"{_milliseconds(self.seconds)} a step ({_count(self.steps)})"


def choose(
    identity: Mapping[str, object],
    step: Callable[[bool], Run],
    steps: int,
    settings: Settings,
    seconds_per_step: float | None = None,
) -> Mode:
    """The faster of graph and XLA for this work, as far as finding out pays.

    Args:
        identity: all that the answer depends on (backbone, phase, batch, image size, device,
            precision, framework versions); JSON values. Nothing is added to it.
        step: jit -> a function that runs one step compiled that way, and returns when it is done.
            It is called up to 4 times; what a step changes (weights) is the caller's to restore.
        steps: how many the phase will run.
        settings: whose cache keeps the answer.
        seconds_per_step: of the graph, where the caller knows it. A short phase then costs no
            measurement; in a long one both are measured all the same, to compare like with like.

    Raises:
        CacheError: the answer cannot be written.
        Exception: whatever the graph's step raises. What XLA's raises is an answer: graph.
    """
    if way := only_way():
        return way
    if seconds_per_step is not None and steps * seconds_per_step < PAYS_SECONDS:
        return _too_short(f"at most {_seconds(steps * seconds_per_step)}")
    if recorded := _recorded(identity, settings):
        return recorded
    graph = _measure(step(False))
    if steps * graph.seconds < PAYS_SECONDS:
        return _too_short(f"{_seconds(steps * graph.seconds)} at {graph.text}")
    mode = _against_xla(graph, step)
    with cache.building(settings, KIND, identity, mode.name) as writer:
        if writer is not None:
            writer.content |= {"name": mode.name, "evidence": mode.evidence}
    return mode


def only_way() -> Mode | None:
    """How a backend runs that leaves no choice; None on TensorFlow, which does."""
    backend = _backend()
    if backend == "jax":
        return Mode("xla", "JAX compiles every step with XLA")
    if backend == "tensorflow" and parallel.count() > 1:
        return Mode("graph", "Keras spreads no step that XLA compiles")
    return None if backend == "tensorflow" else Mode("eager", "PyTorch runs eagerly")


class Chooser:
    """Chooses for the phases of trials on one ground.

    Args:
        identity: of machine, stack and model, as in `choose`.
        settings: as in `choose`.
    """

    def __init__(self, identity: Mapping[str, object], settings: Settings) -> None:
        self._identity, self._settings = identity, settings

    def for_fit(
        self,
        work: str,
        compiled: Callable[[bool], Any],
        batch: Callable[[], tuple[Any, Any]],
        steps: int,
        seconds_per_step: float | None,
    ) -> Mode:
        """The mode in which to fit a model; the model's variables come out as they went in.

        Args:
            work: what is fitted, among the work on this ground.
            compiled: jit -> the model, compiled that way.
            batch: gives inputs and targets of one batch.
            steps: as in `choose`.
            seconds_per_step: as in `choose`.
        """

        before: list[tuple[Any, Any]] = []

        def step(jit: bool) -> Run:
            model, (inputs, targets) = compiled(jit), batch()
            if not before:
                before.extend((v, keras.ops.copy(v.value)) for v in model.variables)
            return lambda: model.train_on_batch(inputs, targets)

        mode = choose(
            {**self._identity, "work": work}, step, steps, self._settings, seconds_per_step
        )
        for variable, value in before:
            variable.assign(value)
        return mode


def _recorded(identity: Mapping[str, object], settings: Settings) -> Mode | None:
    """An answer given before; None where there is none, or none that makes sense."""
    entry = cache.read(settings, KIND, identity)
    if entry is None or entry.content.get("name") not in ("graph", "xla"):
        return None
    return Mode(entry.content["name"], str(entry.content.get("evidence", "")))


def _backend() -> str:
    return str(keras.backend.backend())


def _too_short(phase: str) -> Mode:
    return Mode("graph", f"not measured against xla, whose compilation does not pay in {phase}")


def _against_xla(graph: _Measured, step: Callable[[bool], Run]) -> Mode:
    try:
        xla = _measure(step(True), hopeless=graph.seconds * _HOPELESS)
    # Any error of any depth (no such operation in XLA, no memory left) leaves the graph.
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0][:200]
        reason = f"XLA failed ({type(error).__name__}: {first_line})"
        return Mode("graph", f"measured: graph {graph.text}; {reason}")
    evidence = (
        f"measured: graph {graph.text}, xla {xla.text}; "
        f"xla's first step, which compiles, {_seconds(xla.first)}"
    )
    return Mode("xla" if graph.seconds >= FASTER * xla.seconds else "graph", evidence)


def _measure(run: Run, hopeless: float = float("inf")) -> _Measured:
    """Time a step: one that compiles, then three; only one where that takes over `hopeless`."""
    first = _timed(run)
    seconds = [_timed(run)]
    while seconds[0] <= hopeless and len(seconds) < _REPEATS:
        seconds.append(_timed(run))
    return _Measured(statistics.median(seconds), len(seconds), first)


_clock = time.perf_counter


def _timed(run: Run) -> float:
    start = _clock()
    run()
    return _clock() - start


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds * 1e3:.0f} ms"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"
