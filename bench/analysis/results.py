"""One results folder under one stack, as far as a comparison asks: small, so that many rows fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import marks
from bench.costs import CostResult
from bench.errors import BenchError
from bench.numerics import NumericsResult
from bench.records import Environment, Stack, Status, TrialResult
from bench.running import stacks, store
from bench.tasks import Row


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial with one seed.

    Attributes:
        accuracy, loss: on test; accuracy from 0 to 1.
        trainable: parameters that train in phase 1 and 2; None for a phase that there was not.
        failed_guards: names of those that did not hold.
        measured_on: pictures, weights and protocol; only rows alike in it can be compared.
        right: which test pictures were: `bench.marks.packed`; None where nobody knows any more.
        pictures: in the test split.
    """

    status: Status
    reason: str
    accuracy: float | None
    loss: float | None
    trainable: tuple[int | None, int | None]
    failed_guards: tuple[str, ...]
    measured_on: tuple[str, str, str]
    right: str | None
    pictures: int

    @property
    def correct(self) -> marks.Correct | None:
        """Right or wrong for each test picture; None where nobody knows any more."""
        return marks.of_row(self.right, self.pictures)


@dataclass
class Seeds:
    """The seeds of one trial.

    Attributes:
        label: what tells the trial from others, for people.
        tried: by seed.
    """

    label: str
    tried: dict[int, Tried] = field(default_factory=dict)

    def finished(self) -> dict[int, Tried]:
        """Those that ended ``ok``."""
        return {seed: t for seed, t in self.tried.items() if t.status == "ok"}


@dataclass
class Results:
    """What one stack's rows in a folder say.

    Attributes:
        folder: where they lie: of the stack that `bench stacks` named, if one did.
        stack: which.
        environment: of the last row that has one.
        trials: by the key of the trial without its seed.
        costs: measurements by key, each of one process, in the order measured.
        numerics: by key.
        problems: lines that could not be read.
    """

    folder: Path
    stack: Stack
    environment: Environment | None = None
    trials: dict[str, Seeds] = field(default_factory=dict)
    costs: dict[str, list[CostResult]] = field(default_factory=dict)
    numerics: dict[str, NumericsResult] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def add(self, row: Row, file: Path) -> None:
        """Take in one more row; of several of one trial the last counts."""
        self.environment = row.environment or self.environment
        if isinstance(row, TrialResult):
            key, label = _seedless(row)
            seeds = self.trials.setdefault(key, Seeds(label))
            seeds.tried[row.spec.seed] = _tried(row)
        elif isinstance(row, CostResult):
            self.costs.setdefault(row.key, []).append(row)
        elif isinstance(row, NumericsResult):  # a probe is a guess: no comparison asks for it
            self.numerics[row.key] = row


def read(folder: Path) -> dict[str, Results]:
    """What each stack at or below a results folder measured, in the order found.

    Returns:
        By stack id; ``<stack name>/<stack id>`` where `bench stacks` ran it and its folder lies
        below, for two such stacks may have one id.

    Raises:
        StoreError: there are no results.
    """
    found: dict[str, Results] = {}
    problems: list[str] = []
    holders: dict[Path, Path | None] = {}
    root = folder.absolute()
    for file, row in store.every(folder, problems):
        if file not in holders:
            holders[file] = stacks.holder(file)
        own = holders[file] or folder
        name = row.stack.id
        if own not in (folder, root) and own.is_relative_to(root):
            name = f"{own.relative_to(root).as_posix()}/{name}"
        found.setdefault(name, Results(own, row.stack)).add(row, file)
    for results in found.values():
        results.problems = tuple(problems)
    return found


def chosen(found: Mapping[str, Results], folder: Path, text: str | None, option: str) -> Results:
    """The one stack, or the one whose name holds a text.

    Args:
        found: what `read` gave.
        folder: named in messages.
        text: part of a stack's name; None where there is but one. One whose name, or a whole part
            of it between slashes, is the text comes before those that only hold it.
        option: how a user gives the text, for messages.

    Raises:
        BenchError: there is none, or there are several.
    """
    fitting = [r for name, r in found.items() if text is None or text in name]
    exact = [r for name, r in found.items() if text in (name, *name.split("/"))]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    what = f"{len(found) or 'no'} stack{'' if len(found) == 1 else 's'}"
    count = len(exact or fitting) or "none"
    asked = "" if text is None else f", {count} with {text!r} in its name"
    raise BenchError(
        f"{folder}: {what}{asked}: expected one; choose by {option} TEXT from: "
        f"{', '.join(found) or 'none'}"
    )


def stacked(tried: Sequence[Tried]) -> NDArray[np.bool_] | None:
    """(seeds, pictures) right or wrong; None where that of one is not known."""
    rows = [t.correct for t in tried]
    known = [r for r in rows if r is not None]
    return np.stack(known) if rows and len(known) == len(rows) else None


def _seedless(row: TrialResult) -> tuple[str, str]:
    spec = row.spec.seedless
    return spec.key, spec.label.removesuffix(" · seed 0")


def _tried(row: TrialResult) -> Tried:
    phases = row.phase1, row.phase2
    return Tried(
        status=row.status,
        reason=row.reason,
        accuracy=row.test_accuracy,
        loss=row.test_loss,
        trainable=(
            phases[0].trainable_parameters if phases[0] else None,
            phases[1].trainable_parameters if phases[1] else None,
        ),
        failed_guards=row.failed_guards,
        measured_on=_measured_on(row),
        right=row.test_correct,
        pictures=row.dataset.test if row.dataset else 0,
    )


def _measured_on(row: TrialResult) -> tuple[str, str, str]:
    """Random weights count as equal: each framework draws its own."""
    loaded = row.weights and row.spec.backbone.weights != "random"
    return (
        f"pictures {row.dataset.fingerprint[:12] if row.dataset else '?'}",
        f"weights {row.weights.sha256[:12] if row.weights and loaded else 'random'}",
        f"protocol {row.protocol}",
    )
