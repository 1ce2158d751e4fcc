"""``bench choose``: which backbone, and how much of it to unfreeze, for a folder of pictures."""

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import amounts
from bench.cli.console import Changes
from bench.cli.watching import MemoryLimit, memory_limit
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.records import Freeze


class ObjectiveName(StrEnum):
    """What the pick is best at."""

    ACCURACY = "accuracy"
    THROUGHPUT = "throughput"
    LATENCY = "latency"
    MEMORY = "memory"
    PARAMETERS = "parameters"


class AnswerForm(StrEnum):
    """How the answer is printed."""

    CONSOLE = "console"
    JSON = "json"


Task = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|DATASET|SUITE",
        help="A folder of pictures (a folder for each class), a dataset, or a suite whose "
        "trials are the candidates.",
    ),
]
Backbones = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Candidates: names of `bench list backbones`, or .keras files that take raw "
        "pixels; with commas between.",
    ),
]
Freezes = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="How much to unfreeze: head_only,top_fraction=0.2,...; by default what suits the "
        "number of pictures.",
    ),
]
MaxLatency = Annotated[
    str | None, typer.Option(metavar="5ms", help="For one picture, at the most.")
]
MaxParameters = Annotated[
    str | None, typer.Option(metavar="10M", help="In backbone and head, at the most.")
]
MaxMemory = Annotated[str | None, typer.Option(metavar="500MB", help="Of inference, at the most.")]
MinThroughput = Annotated[
    str | None, typer.Option(metavar="50", help="Images/s of inference, at least.")
]
ObjectiveAsked = Annotated[
    ObjectiveName,
    typer.Option(help="What the pick is best at; accuracy aside, within --give-up of it."),
]
GiveUp = Annotated[
    float, typer.Option(min=0, help="Points of accuracy that another objective may cost.")
]
Margin = Annotated[float, typer.Option(min=0, help="Points of accuracy too few to matter.")]
Sure = Annotated[
    float, typer.Option(min=0.51, max=0.999, help="Probability at which the leader is clear.")
]
TimeBudget = Annotated[
    str | None, typer.Option(metavar="30min", help="In all; the best answer by then.")
]
Seeds = Annotated[int, typer.Option(min=1, max=100, help="Trainings of each at most.")]
ImageSize = Annotated[int, typer.Option(min=32, max=2048, help="Side of the pictures, in pixels.")]
Export = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Save the pick's trained model: .keras, .onnx, or a folder (SavedModel).",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a model that is there.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Where the report goes."),
]
FormAsked = Annotated[AnswerForm, typer.Option("--format", help="Of the answer.")]
Results = Annotated[Path, typer.Option(help="Where results go.")]


def choose(
    task: Task,
    backbones: Backbones = None,
    freezes: Freezes = None,
    max_latency: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_memory: MaxMemory = None,
    min_throughput: MinThroughput = None,
    objective: ObjectiveAsked = ObjectiveName.ACCURACY,
    give_up: GiveUp = 1.0,
    margin: Margin = 0.5,
    sure: Sure = 0.95,
    time_budget: TimeBudget = None,
    seeds: Seeds = 3,
    image_size: ImageSize = 160,
    limit: MemoryLimit = None,
    changes: Changes = None,
    export: Export = None,
    force: Force = False,
    output: Output = None,
    form: FormAsked = AnswerForm.CONSOLE,
    results: Results = Path("results"),
) -> None:
    """Choose a backbone and how much of it to unfreeze, in a fraction of a full sweep's time.

    The same command continues one that was stopped, with a fresh time budget.
    """
    from bench.cli import asking, choosing

    limits = {
        "latency": amounts.amount("--max-latency", max_latency, amounts.LATENCY, "5ms"),
        "parameters": amounts.amount("--max-parameters", max_parameters, amounts.COUNT, "10M"),
        "memory": amounts.amount("--max-memory", max_memory, amounts.MEMORY, "500MB"),
        "throughput": amounts.amount("--min-throughput", min_throughput, amounts.RATE, "50"),
    }
    choosing.choose(
        asking.Wanted(
            task=task,
            backbones=tuple(_words(backbones)),
            freezes=tuple(map(_freeze, _words(freezes))),
            limits=limits,
            objective=objective.value,
            give_up=give_up / 100,
            margin=margin / 100,
            sure=sure,
            budget=amounts.amount("--time-budget", time_budget, amounts.TIME, "30min"),
            seeds=seeds,
            image_size=image_size,
            memory_limit=memory_limit(limit),
            changes=tuple(changes or ()),
            export=export,
            force=force,
            output=output,
            json=form is AnswerForm.JSON,
            results=results,
        )
    )


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _freeze(word: str) -> "Freeze":
    """``top_fraction=0.2`` -> a freeze strategy.

    Raises:
        BenchError: there is none of that name, or the amount does not fit it.
    """
    from bench.zoo import freezing

    name, _, text = word.partition("=")
    amount: float | int | str | None = text.strip() or None
    if amount is not None:
        with suppress(ValueError):
            amount = float(text) if "." in text else int(text)
    try:
        return freezing.stated(name.strip(), amount)
    except ValueError as error:
        raise BenchError(f"--freezes {word!r}: expected {error}") from error
