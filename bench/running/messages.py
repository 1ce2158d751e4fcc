"""What the runner and a worker process say to each other: one JSON object a line.

runner -> worker   Setup once, then one Task after another
worker -> runner   Ready once; for each Task any number of Running, then one Finished (or, where
                   what it was asked for is a shared step, one Shared)

Where a task is measured in turns with other workers (`bench.running.lockstep`), before each of its
timed stretches: worker -> runner Waiting, and when everybody waits, runner -> worker Go.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter

from bench.model_card import ModelCard
from bench.progress import Progress
from bench.records import Environment, Execution, Record, SplitName, Stack, TrialSpec
from bench.settings import Settings
from bench.steps import View
from bench.suite import Suite
from bench.suite_file import Backend
from bench.tasks import Row, Spec


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
        timed_seconds: how long a measurement of cost times each kind of step.
        backend: what Keras computes with; None for what the environment says.
        gpu: the one that the worker sees, as CUDA_VISIBLE_DEVICES names it; None for what the
            environment says.
        devices: over how many devices a trial spreads its batches.
        environ: variables to start the worker with, before all others.
        memory_limit: bytes that it and its children may hold; the runner sees to it.
        earlier_weights: what earlier rows were measured with (`bench.running.earlier_weights`).
    """

    settings: Settings
    folder: Path
    scratch: Path
    execution: Execution
    trials: tuple[TrialSpec, ...] = ()
    literal: bool = False
    activations_gib: float = 8.0
    timed_seconds: float = Field(10.0, gt=0)
    backend: Backend | None = None
    gpu: str | None = None
    devices: int = Field(1, ge=1)
    environ: dict[str, str] = {}
    memory_limit: int | None = Field(None, gt=0)
    earlier_weights: dict[str, str] = {}

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
            backend=suite.backend,
            devices=suite.devices,
        )


class Share(Record):
    """Do one step that trials share, so that they find what comes of it in the cache.

    Attributes:
        stage: what kind of step (`bench.steps`).
        spec: one of the trials that need it.
        split, view: of ``activations``, the pictures that pass through the backbone.
    """

    stage: Literal["images", "activations", "heads"]
    spec: TrialSpec
    split: SplitName | None = None
    view: View | None = None


class Task(Record):
    """Run this trial, measure this cost, do this step; ``in_turns`` with other workers, or alone.

    ``save``: where to write the model that the trial trained (`bench.model_card.format_of`).
    """

    work: Spec | Share
    in_turns: bool = False
    save: Path | None = None


class Go(Record):
    """It is your turn until you wait again; ``others`` take turns with you, and wait."""

    others: int


class Ready(Record):
    """The worker has imported its framework and set it up."""

    kind: Literal["ready"] = "ready"
    stack: Stack
    environment: Environment


class Running(Record):
    """The task goes on."""

    kind: Literal["running"] = "running"
    progress: Progress


class Waiting(Record):
    """The task is about to time something; its last turn has ended."""

    kind: Literal["waiting"] = "waiting"


class Written(Record):
    """What became of the model that a task was to save.

    Attributes:
        card: that went with it; None where it was not written.
        sample: in the scratch folder, test pictures and what the trial made of them
            (`bench.training.exporting.save`).
        rounding: largest difference between a probability of a trial that rounded more coarsely
            (mixed precision, an accelerator) and of the float32 model; None where it did not.
        reason: why it was not written.
    """

    card: ModelCard | None = None
    sample: Path | None = None
    rounding: float | None = None
    reason: str = ""


class Finished(Record):
    """The task has ended.

    Attributes:
        result: its row.
        predictions: a file in the scratch folder, if there are any.
        model: that the task was to save.
        built: entries of the cache that it made, by kind; what it found there does not count.
        notes: what people should know of the cache, though it went well.
    """

    kind: Literal["finished"] = "finished"
    result: Row
    predictions: Path | None = None
    model: Written | None = None
    built: dict[str, int] = {}
    notes: tuple[str, ...] = ()


class Shared(Record):
    """A shared step has ended.

    Attributes:
        seconds: that it took.
        built, notes: as in `Finished`.
        reason: why it failed; the trials that need it will try for themselves.
    """

    kind: Literal["shared"] = "shared"
    seconds: float
    built: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    reason: str = ""


Reply = Annotated[Ready | Running | Waiting | Finished | Shared, Field(discriminator="kind")]
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
