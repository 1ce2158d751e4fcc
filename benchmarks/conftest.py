"""Throughput as pytest-benchmark cases: what they share.

    python -m pytest benchmarks --benchmark-json=A.json     on one version of a framework
    python -m pytest benchmarks --benchmark-json=B.json     on another
    pytest-benchmark compare A.json B.json

A case times the step that ``bench measure`` times, out of the box. An iteration is a step, a round
a burst of them; ``--benchmark-max-time`` and ``--benchmark-min-rounds`` say how long to go on.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.costs import CostSpec, Workload
from bench.records import Backbone, Execution, Freeze

if TYPE_CHECKING:
    from bench.measuring.steps import Batch, Step
    from bench.training.grounds import Workplace

BACKBONES = ("MobileNetV2", "EfficientNetV2B0", "ResNet50", "ConvNeXtTiny")
IMAGE_SIZE, BATCH_SIZE = 96, 8
SMALLEST_IMAGE = 32

Case = Callable[..., None]
"""Measures a backbone's workload: (backbone, workload, freeze strategy where it has one)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """How large a step is."""
    group = parser.getgroup("bench", "throughput of backbones")
    group.addoption(
        "--image-size",
        type=_whole(SMALLEST_IMAGE),
        default=IMAGE_SIZE,
        metavar="PIXELS",
        help="side of the pictures (default: %(default)s)",
    )
    group.addoption(
        "--batch-size",
        type=_whole(1),
        default=BATCH_SIZE,
        metavar="N",
        help="pictures in a step (default: %(default)s)",
    )


def _whole(least: int) -> Callable[[str], int]:
    def number(word: str) -> int:
        if not (word.isdecimal() and int(word) >= least):
            raise argparse.ArgumentTypeError(f"{word!r}: expected a whole number from {least} on")
        return int(word)

    return number


class Paced:
    """A step as pytest-benchmark calls it: once an iteration, the device awaited once a round.

    Args:
        step: compiled.
        batch: on the device.
        steps: iterations of a round.
    """

    def __init__(self, step: "Step", batch: "Batch", steps: int) -> None:
        self._step, self._batch, self._steps = step, batch, steps
        self._done = 0

    def __call__(self) -> None:
        """Start a step; the round's last one waits for all of them."""
        self._step.run(self._batch)
        self._done += 1
        if self._done % self._steps == 0:
            self._step.wait()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> "Workplace":
    """What the measurements of this process share, as a worker of ``bench measure`` has it."""
    from bench.settings import Settings
    from bench.training import execution
    from bench.training.grounds import Workplace

    # Deterministic kernels are slower ones, and no result needs to be equal twice.
    stack = execution.configure(Execution(deterministic=False))
    return Workplace(
        settings=Settings.from_environment(),
        folder=Path.cwd(),
        stack=stack,
        environment=execution.environment(),
        scratch=tmp_path_factory.mktemp("scratch"),
    )


@pytest.fixture
def throughput(benchmark: Any, place: "Workplace", request: pytest.FixtureRequest) -> Case:
    """Measures the case that a test is about."""

    def measure(backbone: str, workload: Workload, freeze: Freeze | None = None) -> None:
        spec = CostSpec(
            backbone=Backbone(name=backbone, weights="random"),
            image_size=request.config.getoption("--image-size"),
            batch_size=request.config.getoption("--batch-size"),
            workload=workload,
            freeze=freeze,
        )
        _measure(spec, place, benchmark, request.config)

    return measure


def _measure(spec: CostSpec, place: "Workplace", benchmark: Any, config: pytest.Config) -> None:
    """Build, compile and warm up; then have the rounds timed."""
    from bench.measuring import fastest, load, subject, timing
    from bench.measuring.steps import Bursts
    from bench.reporting.pytest_benchmark import Extra

    assert spec.batch_size is not None
    what = subject.load(spec, place)
    mode = fastest.default(what)
    batch = what.batch(spec.batch_size)
    step = what.step(batch)
    run = Bursts(step, lambda: batch)
    first = timing.seconds_of(run, 1)
    run(timing.WARM_STEPS)
    warm = timing.seconds_of(run, timing.WARM_STEPS) / timing.WARM_STEPS
    extra = Extra(
        spec=spec,
        stack=place.stack,
        batch_size=spec.batch_size,
        execution=mode.text,
        compile_seconds=max(0.0, first - warm),
    )
    benchmark.group = spec.label
    steps = max(1, math.ceil(timing.BURST_SECONDS / warm))
    with load.Watch() as machine:
        benchmark.pedantic(
            Paced(step, batch, steps), rounds=_rounds(config, steps * warm), iterations=steps
        )
        step.wait()  # pytest-benchmark ends with a call of its own, which nobody awaited
    found = extra.model_copy(update={"elsewhere": machine.elsewhere})
    benchmark.extra_info.update(found.written())
    step.close()


def _rounds(config: pytest.Config, seconds: float) -> int:
    """How many rounds of so many seconds, by pytest-benchmark's own options."""
    longest = float(config.getoption("benchmark_max_time"))
    return max(int(config.getoption("benchmark_min_rounds")), math.ceil(longest / seconds))
