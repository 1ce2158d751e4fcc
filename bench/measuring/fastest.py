"""The fastest way to run a step on this device, measured on the spot: graph or XLA."""

from bench.measuring import timing
from bench.measuring.steps import Batch, Bursts
from bench.measuring.subject import Subject
from bench.training import execution
from bench.training.modes import FASTER, Mode, only_way

TRIAL_SECONDS = 2.0
"""Spent on each way; the chosen one is then measured at length."""


def default(subject: Subject) -> Mode:
    """What Keras does out of the box."""
    subject.compile("auto")
    jit = only_way() is None and subject.model.jit_compile
    return Mode("xla" if jit else execution.mode(), "Keras' default")


def best(subject: Subject, batch: Batch) -> Mode:
    """The faster of graph and XLA; on TensorFlow, which leaves the choice."""
    graph = _timed(subject, batch, jit=False)
    try:
        xla = _timed(subject, batch, jit=True)
    # Any error of any depth (no such operation in XLA, no memory left) leaves the graph.
    except Exception as error:
        words = " ".join(str(error).split())[:200]
        return Mode("graph", f"measured: XLA failed ({type(error).__name__}: {words})")
    evidence = (
        f"measured: graph {1e3 * graph.median:.3g} ms a step, xla {1e3 * xla.median:.3g} ms "
        f"after compiling for {xla.compile_seconds:.0f} s"
    )
    return Mode("xla" if graph.median >= FASTER * xla.median else "graph", evidence)


def _timed(subject: Subject, batch: Batch, *, jit: bool) -> timing.Timed:
    subject.compile(jit)
    step = subject.step(batch)
    try:
        return timing.timed(Bursts(step, lambda: batch), TRIAL_SECONDS)
    finally:
        step.close()
