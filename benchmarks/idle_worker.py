"""A worker process that does nothing: the real `bench.running.worker`, its training stubbed.

python benchmarks/idle_worker.py      as a worker's command; it needs no framework
"""

import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.records import Environment, Stack, TrialResult, TrialSpec
from bench.running import worker

STACK = Stack(
    backend="none", backend_version="1", keras_version="1", device="cpu", precision="float32"
)
ENVIRONMENT = Environment(
    bench_version="0",
    python_version="3",
    platform="none",
    processor="none",
    cores=1,
    memory_gib=1.0,
    packages={},
)


def run_trial(spec: TrialSpec, *_: object) -> tuple[TrialResult, None]:
    """A row, at once."""
    row = TrialResult(
        key=spec.key,
        spec=spec,
        stack=STACK,
        status="ok",
        started_at="2026-01-01T00:00:00+00:00",
        seconds=0.0,
    )
    return row, None


def nothing(*_: object) -> None:
    """A shared step."""


def stub(name: str, **content: object) -> None:
    """Put a module in the place of one that would import a framework."""
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


if __name__ == "__main__":
    place = types.SimpleNamespace(stack=STACK, environment=ENVIRONMENT)
    stub("bench.training.execution", configure=lambda *_: STACK, environment=lambda: ENVIRONMENT)
    stub("bench.training.grounds", Workplace=lambda **_: place)
    stub("bench.training.trial", run_trial=run_trial, explained=lambda e: ("failed", str(e)))
    stub("bench.training.shared_steps", images=nothing, activations=nothing, heads=nothing)
    worker.main()
