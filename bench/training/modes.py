"""Graph or XLA: measured for what is about to run, never guessed.

XLA runs the same step up to 20 times slower than TensorFlow's graph on a CPU, or faster, and may
take a minute to compile. So it is measured where the phase is long enough to win that minute back,
once per machine and identity, and the answer is kept in a small file of its own:

    CACHE/modes/<sha256 of the identity>.json

JAX always compiles with XLA and PyTorch runs eagerly, so there is nothing to choose there.
"""

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import CacheError
from bench.settings import Settings

PAYS_SECONDS = 300.0
"""A phase that a graph runs in less is not worth a compilation by XLA, which may take a minute."""

FASTER = 1.05
"""How many times faster XLA must be; within 5% a busy machine could decide either way."""

_REPEATS = 3

_HOPELESS = 2.0
"""Once XLA has taken this many times as long as the graph, it is not run again to make sure."""

Step = Callable[[], object]


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
    step: Callable[[bool], Step],
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
    backend = _backend()
    if backend == "jax":
        return Mode("xla", "JAX compiles every step with XLA")
    if backend != "tensorflow":
        return Mode("eager", "PyTorch runs eagerly")
    path = _path(identity, settings)
    if recorded := _read(path):
        return recorded
    if seconds_per_step is not None and steps * seconds_per_step < PAYS_SECONDS:
        return _too_short(seconds_per_step, steps)
    graph = _measure(step(False))
    if steps * graph.seconds < PAYS_SECONDS:
        return _too_short(graph.seconds, steps)
    mode = _against_xla(graph, step)
    _write(path, {"identity": dict(identity), "name": mode.name, "evidence": mode.evidence})
    return mode


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


def _too_short(seconds: float, steps: int) -> Mode:
    evidence = (
        f"graph {_milliseconds(seconds)} a step: the phase of {_seconds(steps * seconds)} is too "
        "short for XLA's compilation to pay, so XLA was not measured"
    )
    return Mode("graph", evidence)


def _against_xla(graph: _Measured, step: Callable[[bool], Step]) -> Mode:
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


def _measure(run: Step, hopeless: float = float("inf")) -> _Measured:
    """Time a step: one that compiles, then three; only one where that takes over `hopeless`."""
    first = _timed(run)
    seconds = [_timed(run)]
    while seconds[0] <= hopeless and len(seconds) < _REPEATS:
        seconds.append(_timed(run))
    return _Measured(statistics.median(seconds), len(seconds), first)


_clock = time.perf_counter


def _timed(run: Step) -> float:
    start = _clock()
    run()
    return _clock() - start


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds * 1e3:.0f} ms"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


# ------------------------------------------------------------------------- the answer's own file


def _path(identity: Mapping[str, object], settings: Settings) -> Path:
    content = json.dumps(identity, sort_keys=True)
    return settings.cache / "modes" / f"{hashlib.sha256(content.encode()).hexdigest()}.json"


def _read(path: Path) -> Mode | None:
    """A recorded answer; None where there is none, or none that can be read."""
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        name, evidence = recorded["name"], recorded["evidence"]
    # It costs a minute to measure again, and then the file is whole.
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if name not in ("graph", "xla") or not isinstance(evidence, str):
        return None
    return Mode(name, evidence)


def _write(path: Path, answer: Mapping[str, Any]) -> None:
    """Write under a temporary name, then rename: who reads at the same time sees all or nothing."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(suffix=".partial", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(answer, file, indent=1)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                Path(temporary).unlink()
        raise CacheError(
            f"{path.parent}: cannot write what was measured ({error}): expected a folder that can "
            "be written, see BENCH_CACHE_DIR"
        ) from error
