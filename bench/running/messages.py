"""What the runner and a worker process say to each other: one JSON object a line.

runner -> worker   Setup once, then one Task after another
worker -> runner   Ready once; for each Task any number of Running, then one Finished
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter

from bench.records import Environment, Execution, Progress, Record, Stack, TrialResult, TrialSpec
from bench.settings import Settings
from bench.suite import Suite


class Setup(Record):
    """How every trial of this worker runs.

    Attributes:
        settings: folders of this machine.
        folder: of the suite file; relative paths in a spec start there.
        scratch: an existing folder for predictions, until the runner takes them, and for whatever
            else goes when the run has ended.
        execution: precision and determinism are set once per process.
        trials: the suite's, with which a trial may share work.
        literal: share nothing.
        activations_gib: room for what trials on one ground share.
    """

    settings: Settings
    folder: Path
    scratch: Path
    execution: Execution
    trials: tuple[TrialSpec, ...] = ()
    literal: bool = False
    activations_gib: float = 8.0

    @classmethod
    def of(cls, suite: Suite, settings: Settings, scratch: Path, *, literal: bool = False) -> Self:
        """For the trials of a suite.

        Args:
            suite: which.
            settings: folders of this machine.
            scratch: an existing folder for predictions.
            literal: share nothing.
        """
        return cls(
            settings=settings,
            folder=suite.folder,
            scratch=scratch.absolute(),
            execution=suite.trials[0].execution,
            trials=suite.trials,
            literal=literal,
            activations_gib=suite.activations_gib,
        )


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
