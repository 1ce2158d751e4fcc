"""Taking a trial's model away: run the trial once more, write what it trained, and check the file.

A store keeps what trials predicted, not what they trained. With pictures, features and frontiers
cached, running one of them again costs little.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from bench import model_card
from bench.errors import BenchError
from bench.model_card import ModelCard
from bench.progress import Progress
from bench.records import TrialResult, TrialSpec
from bench.running import reload
from bench.running.messages import Finished
from bench.running.process import Turn
from bench.running.reload import Reloaded
from bench.tasks import Spec


class Engine(Protocol):
    """What executes a trial and saves its model: `bench.running.isolation.LocalEngine`."""

    def execute(
        self,
        spec: Spec,
        report: Callable[[Progress], None],
        turn: Turn | None = None,
        save: Path | None = None,
    ) -> Finished:
        """Run one trial; whatever goes wrong in it becomes its status."""


@dataclass(frozen=True)
class Saved:
    """A model as it was written.

    Attributes:
        path: of the file, or the SavedModel's folder.
        card: that went with it.
        rounding: largest difference between a probability of the trial and of the file, which is
            float32, where the trial ran in mixed precision or on an accelerator; else None.
        row: of the trial that trained it, which is in no store.
        reloaded: how it did where it could be loaded.
    """

    path: Path
    card: ModelCard
    rounding: float | None
    row: TrialResult
    reloaded: tuple[Reloaded, ...]

    @property
    def test_accuracy(self) -> float:
        """Of the trial that trained it, 0 to 1."""
        return self.card.test_accuracy

    @property
    def checked(self) -> bool:
        """Whether it was loaded at all, and predicted what the trial did wherever it was."""
        return bool(self.reloaded) and all(r.ok for r in self.reloaded)

    def is_of(self, stored: TrialResult) -> bool:
        """Whether the trial came to the same answers on test as a row that is stored."""
        return self.row.key == stored.key and self.row.test_correct == stored.test_correct


def check(path: Path, backend: str, *, force: bool = False) -> None:
    """Find out now, rather than after hours of measuring, that a model could not be written.

    Args:
        path: where to; its ending tells the format.
        backend: that workers will use.
        force: replace a model that is there.

    Raises:
        BenchError: an unknown ending, something of that name is there, its folder is not, or
            this backend or installation cannot write the format.
    """
    kind = model_card.format_of(path)
    if problem := model_card.problem(kind, backend):
        raise BenchError(f"{path}: {problem}")
    if not path.absolute().parent.is_dir():
        raise BenchError(f"{path}: there is no folder {path.parent} to write it to")
    if not (path.exists() or path.is_symlink()):
        return
    if not force:
        raise BenchError(f"{path} exists already: expected a new name, or --force to replace it")
    if path.is_dir() and (kind != "saved_model" or model_card.found(path) is None):
        raise BenchError(f"{path} is a folder, and no model that Bench wrote: it is left alone")


def save(
    engine: Engine,
    spec: TrialSpec,
    path: Path,
    report: Callable[[Progress], None] = lambda _: None,
    *,
    force: bool = False,
    begins: Callable[[str], None] = lambda _: None,
) -> Saved:
    """Run a trial, write what it trained, and try the file where Bench cannot be imported.

    Args:
        engine: as it ran the trials of the suite; its scratch folder must last until this returns.
        spec: the trial.
        path: a ``.keras`` or ``.onnx`` file, or without ending the folder of a SavedModel.
        report: told of the trial's progress.
        force: replace a model that is there.
        begins: told of each backend that is about to load the file.

    Returns:
        The model. It is there though a check failed, under another name if a model was there: that
        is for the caller to say.

    Raises:
        BenchError: the trial did not end well, or the model cannot be written.
    """
    place = path.absolute()
    with TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as folder:
        part = Path(folder) / place.name
        finished = engine.execute(spec, report, save=part)
        row, written = finished.result, finished.model
        if not isinstance(row, TrialResult) or row.status != "ok" or written is None:
            raise BenchError(f"{path}: its trial ended as {row.status}: {row.reason}")
        if written.card is None or written.sample is None:
            raise BenchError(f"{path}: the model cannot be written: {written.reason}")
        reloaded = reload.check(part, written.sample, reload.tolerance(row.stack), begins=begins)
        written.sample.unlink(missing_ok=True)
        check(path, row.stack.backend, force=force)  # again: hours may have passed
        good = bool(reloaded) and all(r.ok for r in reloaded)
        if not good and place.exists():  # a model that is good is not given up for one that is not
            path = path.with_name(f"{path.stem}.unchecked{path.suffix}")
            check(path, row.stack.backend, force=force)
        _replace(path.absolute(), part)
    return Saved(path, written.card, written.rounding, row, reloaded)


def _replace(place: Path, part: Path) -> None:
    """Put a model where another may be: that one is gone only when this one is there."""
    aside = part.with_name("before")
    if place.is_dir() and not place.is_symlink():
        place.rename(aside)
    part.replace(place)
