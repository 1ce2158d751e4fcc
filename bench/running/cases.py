"""What to measure of a suite, or of backbones alone: a suite's trials -> the costs behind them.

Trials that differ in seed or dataset cost the same, so that a suite of many trials comes to a few
measurements: inference, phase 1, and phase 2 for each freeze strategy, of every backbone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from bench.costs import CostMode, CostResult, CostSpec, Workload
from bench.errors import BenchError, suggestion
from bench.numerics import NumericsSpec
from bench.records import Backbone, Freeze, Precision, TrialSpec
from bench.settings import Settings
from bench.suite import Suite
from bench.suite_file import EVERY, Backend
from bench.tasks import Row
from bench.zoo import backbones, weights

CLASSES = 10
"""Outputs of a head with one per class. They hardly matter: 120 are a thousandth of ResNet50."""

NAME = "measure"
"""Of the results folder, where backbones are measured without a suite."""

LARGEST = "largest"

MINUTES = 60.0
"""Where a suite sets no limit: nothing that hangs may hold up the rest for ever."""

FREEZES = (Freeze(strategy="top_blocks", amount=2), Freeze(strategy="all"))
"""Of phase 2, where backbones are measured without a suite."""


C = TypeVar("C", CostSpec, NumericsSpec)


@dataclass(frozen=True)
class Asked(Generic[C]):
    """What a user asked to have measured, or fingerprints taken of.

    Attributes:
        name: of the suite, or `NAME` of the module; results go to a folder of this name.
        folder: relative paths of weights start there.
        backend: what the suite says; None where it leaves that open.
        minutes: after which one case is given up.
        cases: in the order to take them, those of one backbone together.
    """

    name: str
    folder: Path
    backend: Backend | None
    minutes: float
    cases: tuple[C, ...]

    def check_files(self, settings: Settings) -> None:
        """Look into model files before anything is written.

        Raises:
            BenchError: one is not there, or not to be loaded.
        """
        for backbone in dict.fromkeys(case.backbone for case in self.cases):
            if backbone.file:
                weights.locate(backbone, settings, self.folder)


@dataclass(frozen=True)
class Choice:
    """How to measure, whatever the suite says. None leaves it to the suite.

    Attributes:
        modes: each measured for itself.
        batch_sizes: pictures in a step; None among them for the largest that fits.
        image_size: side of the pictures, in pixels.
        precision: as in a suite.
    """

    modes: tuple[CostMode, ...] = ("default",)
    batch_sizes: tuple[int | None, ...] | None = None
    image_size: int | None = None
    precision: Precision | None = None


def batch_sizes(words: Sequence[str]) -> tuple[int | None, ...]:
    """Batch sizes as a user writes them; ``largest`` is None.

    Raises:
        BenchError: a word is neither that nor a positive whole number.
    """
    for word in words:
        if word != LARGEST and not (word.isdecimal() and int(word) > 0):
            raise BenchError(f"--batch-size {word!r}: expected a number from 1 on, or {LARGEST!r}")
    return tuple(None if word == LARGEST else int(word) for word in words)


def of_suite(suite: Suite, choice: Choice) -> Asked[CostSpec]:
    """The distinct costs behind a suite's trials, backbone by backbone."""
    found = [case for trial in suite.trials for case in of_trial(trial)]
    minutes = suite.trial_minutes or MINUTES
    return Asked(suite.name, suite.folder, suite.backend, minutes, _ordered(found, choice))


def of_backbones(names: Sequence[str], choice: Choice) -> Asked[CostSpec]:
    """Inference, phase 1 and phase 2 of backbones of the table.

    Args:
        names: theirs, or ``all`` alone.
        choice: how to measure.

    Raises:
        BenchError: a name is not in the table.
    """
    found = [
        CostSpec(backbone=Backbone(name=name, weights="random"), workload=workload, freeze=freeze)
        for name in named(names)
        for workload, freeze in _workloads()
    ]
    return Asked(NAME, Path.cwd(), None, MINUTES, _ordered(found, choice))


def named(names: Sequence[str]) -> list[str]:
    """Names of backbones as a user gives them; ``all`` alone is every one.

    Raises:
        BenchError: a name is not in the table.
    """
    if list(names) == [EVERY]:
        return list(backbones.BACKBONES)
    for name in names:
        if name not in backbones.BACKBONES:
            raise BenchError(
                f"{name!r}: expected a suite or a backbone; {suggestion(name, backbones.BACKBONES)}"
            )
    return list(names)


def _workloads() -> Iterator[tuple[Workload, Freeze | None]]:
    yield "inference", None
    yield "phase 1", None
    yield from (("phase 2", freeze) for freeze in FREEZES)


def of_trial(trial: TrialSpec) -> Iterator[CostSpec]:
    """What one trial spends its time on, out of the box.

    Strategy ``auto`` is left out: what it comes to is known once the pictures are.
    """
    whole = CostSpec(
        backbone=trial.backbone.model_copy(update={"weights": "random"}),
        image_size=trial.data.image_size,
        head=trial.head,
        classes=CLASSES,
        workload="inference",
        batch_size=trial.execution.batch_size,
        precision=trial.execution.precision,
    )
    yield whole
    if trial.phase1:
        yield whole.model_copy(update={"workload": "phase 1", "optimizer": trial.phase1.optimizer})
    if trial.phase2 and trial.freeze.strategy != "auto":
        changes = {
            "workload": "phase 2",
            "freeze": trial.freeze,
            "batch_norm": trial.batch_norm,
            "optimizer": trial.phase2.optimizer,
        }
        yield whole.model_copy(update=changes)


def _ordered(found: Sequence[CostSpec], choice: Choice) -> tuple[CostSpec, ...]:
    """Each once, in every mode and batch size asked for; those of one backbone together."""
    wanted: dict[CostSpec, None] = {}
    for name in dict.fromkeys(spec.backbone.name for spec in found):
        own = [_changed(spec, choice) for spec in found if spec.backbone.name == name]
        for mode in choice.modes:
            for spec in own:
                for size in choice.batch_sizes or (spec.batch_size,):
                    changes = {"mode": mode, "batch_size": size}
                    wanted[spec.model_copy(update=changes)] = None
    return tuple(wanted)


def _changed(spec: CostSpec, choice: Choice) -> CostSpec:
    changes = {
        "image_size": choice.image_size or spec.image_size,
        "precision": choice.precision or spec.precision,
    }
    return spec.model_copy(update=changes)


def stands(row: Row, seconds: float, again: bool, runs: int = 1) -> bool:
    """Whether a row of earlier runs need not be measured again.

    Args:
        row: that has a result.
        seconds: to time each kind of step; a row that was timed for less is not enough.
        again: repeat what is in doubt, too.
        runs: processes that should have measured it.
    """
    if not isinstance(row, CostResult) or (row.timed_seconds or 0.0) < seconds:
        return False
    return row.runs >= runs and not (again and row.doubtful)
