"""Bench's side of a case, in a process of its own.

    python -m benchmarks.bench_side SUITE.toml RESULTS_FOLDER bench|literal

Runs the suite as ``bench run`` does; told ``literal``, with no work shared between trials. The last
line of its output is a `BenchRun` as JSON.
"""

import sys
import time
from pathlib import Path

from bench import suite as suites
from bench.progress import Progress
from bench.records import Environment, Record, Stack, TrialResult
from bench.running import runner, store
from bench.running.isolation import LocalEngine
from bench.running.messages import Setup
from bench.running.store import Store
from bench.settings import Settings
from bench.suite import Suite
from bench.tasks import Row, Spec


class BenchRun(Record):
    """How a suite went.

    Attributes:
        start_seconds: until the worker process was ready, frameworks imported.
        work_seconds: from then to the last row on disk.
    """

    stack: Stack
    environment: Environment
    start_seconds: float
    work_seconds: float
    rows: tuple[TrialResult, ...]


class Silence:
    """A listener that costs nothing."""

    def begins(self, stack: Stack, trials: int, settled: int) -> None: ...

    def trial_begins(self, spec: Spec) -> None: ...

    def progress(self, spec: Spec, progress: Progress) -> None: ...

    def trial_ends(self, result: Row) -> None: ...

    def noted(self, text: str) -> None: ...


def main() -> None:
    """Run the suite in the file given."""
    suite = suites.load(Path(sys.argv[1]))
    settings = Settings.from_environment()
    with store.writing(Path(sys.argv[2]), settings.names(suite.folder)) as held:
        print(measure(suite, held, settings, sys.argv[3] == "literal").model_dump_json())


def measure(suite: Suite, held: Store, settings: Settings, literal: bool) -> BenchRun:
    """Time a suite's run.

    Args:
        suite: what to run.
        held: where rows go.
        settings: this machine's.
        literal: share no work between trials.
    """
    began = time.perf_counter()
    with held.scratch() as scratch:
        setup = Setup.of(suite, settings, scratch, literal=literal)
        engine = LocalEngine(setup)
        try:
            ready = time.perf_counter()
            runner.run(suite.trials, held, engine, Silence())
            done = time.perf_counter()
        finally:
            engine.close()
    return BenchRun(
        stack=engine.stack,
        environment=engine.environment,
        start_seconds=ready - began,
        work_seconds=done - ready,
        rows=store.read(held.folder).rows,
    )


if __name__ == "__main__":
    main()
