"""What the runner and a worker process say to each other: one JSON object a line.

runner -> worker   Setup once, then one Task after another
worker -> runner   Ready once; for each Task any number of Running, then one Finished
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from bench.records import Environment, Execution, Progress, Record, Stack, TrialResult, TrialSpec
from bench.settings import Settings


class Setup(Record):
    """How every trial of this worker runs.

    Attributes:
        settings: folders of this machine.
        folder: of the suite file; relative paths in a spec start there.
        scratch: an existing folder for predictions, until the runner takes them.
        execution: precision and determinism are set once per process.
        trials: the suite's, with which a trial may share work.
        literal: share nothing.
        frontier_gib: room for the tensors that phase 2 trains from.
    """

    settings: Settings
    folder: Path
    scratch: Path
    execution: Execution
    trials: tuple[TrialSpec, ...] = ()
    literal: bool = False
    frontier_gib: float = 8.0


class Task(Record):
    """Run this trial."""

    spec: TrialSpec


class Ready(Record):
    """The worker has imported its framework and set it up."""

    kind: Literal["ready"] = "ready"
    stack: Stack
    environment: Environment


class Running(Record):
    """The trial goes on."""

    kind: Literal["running"] = "running"
    progress: Progress


class Finished(Record):
    """The trial has ended; ``predictions`` is a file in the scratch folder, if there are any."""

    kind: Literal["finished"] = "finished"
    result: TrialResult
    predictions: Path | None = None


Reply = Annotated[Ready | Running | Finished, Field(discriminator="kind")]
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
