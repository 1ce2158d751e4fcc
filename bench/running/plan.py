"""What a run would do, and whether it could: without a worker, and without Keras."""

from collections.abc import Sequence
from pathlib import Path

from bench.data import datasets
from bench.errors import BenchError, DatasetError
from bench.records import Dataset, TrialSpec
from bench.settings import Settings
from bench.suite import Suite
from bench.zoo import weights


def select(trials: Sequence[TrialSpec], words: Sequence[str]) -> tuple[TrialSpec, ...]:
    """The trials whose label holds every one of the words, whatever their case.

    Raises:
        BenchError: no trial does.
    """
    chosen = tuple(t for t in trials if all(w.lower() in t.label.lower() for w in words))
    if not chosen:
        raise BenchError(
            f"--only {' '.join(words)!r}: no trial of this suite matches; "
            f"one of them is {trials[0].label!r}"
        )
    return chosen


def problems(suite: Suite, settings: Settings) -> list[str]:
    """Files that the suite names and that are not there: known before anything runs."""
    found: dict[str, None] = {}
    for trial in suite.trials:
        try:
            weights.locate(trial.backbone, settings, suite.folder)
            _locate_folder(trial.data.dataset, suite.folder)
        except BenchError as error:
            found[str(error)] = None
    return list(found)


def _locate_folder(dataset: Dataset, base: Path) -> None:
    folder = datasets.located(dataset, base).folder
    if folder and not Path(folder).is_dir():
        raise DatasetError(f"dataset {dataset.name!r}: folder {dataset.folder!r} is not there")
