"""``bench predict``: classes and probabilities of pictures, by an exported model."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import err, notes, out
from bench.strangers import plain

if TYPE_CHECKING:
    from bench.training.predicting import Classifier, Guess


class GuessForm(StrEnum):
    """How predictions are printed."""

    CONSOLE = "console"
    CSV = "csv"
    JSON = "json"


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            help="A .keras or .onnx file, or the folder of a SavedModel: what "
            "`bench choose --export` writes."
        ),
    ],
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, and folders with pictures at any depth.")
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to print for each.")] = 3,
    form: Annotated[
        GuessForm, typer.Option("--format", help="A table for people, or for programs.")
    ] = GuessForm.CONSOLE,
) -> None:
    """Print what an exported model makes of pictures: classes and their probabilities."""
    from bench.training import predicting

    files = predicting.pictures(images)
    with _quietly():
        loaded = predicting.load(model)
    if loaded.card is None:
        notes([_unknown(model, loaded)])
    found = list(predicting.guesses(loaded, files, top))
    out.print(_text(model, loaded, found, form), markup=False, soft_wrap=True)
    unread = [guess for guess in found if guess.classes is None]
    for guess in unread:
        err.print(plain(f"bench: {guess.file}: {guess.reason}"), markup=False, soft_wrap=True)
    raise typer.Exit(1 if unread else 0)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep from the terminal what a framework writes to standard error while it starts."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _unknown(model: Path, loaded: "Classifier") -> str:
    return (
        f"{model} says nothing of its classes or pixels: classes are numbers, it is given pixels "
        f"from 0 to 255 at {loaded.image_size} px, and its outputs are printed as they are"
    )


def _text(model: Path, loaded: "Classifier", found: "Sequence[Guess]", form: GuessForm) -> str:
    from bench.reporting.forms import printed

    if form is GuessForm.JSON:
        return _document(model, loaded, found)
    if form is GuessForm.CSV:
        lines = [
            (plain(str(guess.file)), rank, plain(name), value)
            for guess in found
            for rank, (name, value) in enumerate(guess.classes or (), 1)
        ]
        return printed(("file", "rank", "class", "probability"), lines, "csv")
    most = max((len(guess.classes or ()) for guess in found), default=0) or 1
    titles = ("picture", *(f"{i}." for i in range(1, most + 1)))
    cells = [_cells(guess, loaded, most) for guess in found]
    return printed(titles, cells, "console")


def _cells(guess: "Guess", loaded: "Classifier", most: int) -> list[str | None]:
    if guess.classes is None:
        return [str(guess.file), "unreadable", *([None] * (most - 1))]
    known = loaded.card is not None
    said = [f"{n} {v:.1%}" if known else f"class {n}: {v:.4g}" for n, v in guess.classes]
    return [str(guess.file), *said]


def _document(model: Path, loaded: "Classifier", found: "Sequence[Guess]") -> str:
    pictures = [
        {"file": str(g.file), "classes": [{"class": n, "probability": v} for n, v in g.classes]}
        for g in found
        if g.classes is not None
    ]
    unread = [{"file": str(g.file), "reason": g.reason} for g in found if g.classes is None]
    trial = loaded.card.trial if loaded.card else None
    said = {"model": str(model), "trial": trial, "pictures": pictures, "unreadable": unread}
    return json.dumps(said, indent=2)
