"""Stored sweeps, as studies of choosing ask for them: every candidate's answers on val and test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import marks
from bench.marks import Correct
from bench.probes import ProbeResult
from bench.records import DatasetUsed, Environment, Stack, TrialResult
from bench.running import store


@dataclass(frozen=True, eq=False)
class Swept:
    """A candidate with all its seeds.

    Attributes:
        rows: by seed, one at least.
        val: bool (seeds, pictures); None where older rows do not tell.
        test: bool (seeds, pictures).
    """

    backbone: str
    strategy: str
    rows: tuple[TrialResult, ...]
    val: Correct | None
    test: Correct

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.backbone} · {self.strategy}"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Every candidate on one dataset, and the probes of their backbones."""

    name: str
    stack: Stack
    environment: Environment | None
    pictures: DatasetUsed
    candidates: tuple[Swept, ...]
    probes: tuple[ProbeResult, ...]

    @property
    def backbones(self) -> tuple[str, ...]:
        """In the order found."""
        return tuple(dict.fromkeys(c.backbone for c in self.candidates))

    def of(self, backbone: str) -> tuple[Swept, ...]:
        """The candidates of one backbone."""
        return tuple(c for c in self.candidates if c.backbone == backbone)


def read(folders: Iterable[Path], seeds: int = 1, probed: Iterable[Path] = ()) -> list[Sweep]:
    """The sweeps below results folders: finished trials that made no mistake on purpose.

    Args:
        folders: in which.
        seeds: candidates that have fewer are left out: their sweep has not ended.
        probed: other folders, whose probes count as well.

    Raises:
        StoreError: a folder holds no results.
    """
    more = [probe for folder in probed for probe in store.read(folder).probes]
    return [sweep for folder in folders for sweep in _of_folder(folder, seeds, more)]


def _of_folder(folder: Path, seeds: int, more: Sequence[ProbeResult]) -> Iterable[Sweep]:
    contents = store.read(folder)
    found: dict[tuple[str, str], list[TrialResult]] = {}
    for row in contents.rows:
        if row.status == "ok" and row.dataset and row.test_correct and not row.spec.trap:
            found.setdefault((row.stack.id, row.dataset.fingerprint), []).append(row)
    for rows in found.values():
        first, data = rows[0], rows[0].spec.data
        assert first.dataset is not None
        size = f" · {data.train_examples:,} train" if data.train_examples else ""
        candidates = [c for c in _candidates(rows) if len(c.rows) >= seeds]
        if candidates:
            yield Sweep(
                name=data.dataset.name + size,
                stack=first.stack,
                environment=rows[-1].environment,
                pictures=first.dataset,
                candidates=tuple(candidates),
                probes=tuple(
                    p
                    for p in (*contents.probes, *more)
                    if p.status == "ok"
                    and p.stack == first.stack
                    and p.spec.data.dataset == data.dataset
                ),
            )


def _candidates(rows: Sequence[TrialResult]) -> Iterable[Swept]:
    found: dict[tuple[str, str], dict[int, TrialResult]] = {}
    for row in rows:
        key = (row.spec.backbone.name, row.spec.freeze.label)
        found.setdefault(key, {})[row.spec.seed] = row
    for (backbone, strategy), by_seed in found.items():
        ordered = tuple(by_seed[seed] for seed in sorted(by_seed))
        val, test = (_answers(ordered, split) for split in ("val", "test"))
        if test is not None:
            yield Swept(backbone, strategy, ordered, val, test)


def _answers(rows: Sequence[TrialResult], split: str) -> Correct | None:
    lines = []
    for row in rows:
        used, last = row.dataset, row.last_phase
        if split == "test":
            lines.append(marks.of_row(row.test_correct, used.test if used else 0))
        else:
            text = last.val_correct if last else None
            lines.append(marks.of_row(text, used.val if used else 0))
    whole = [line for line in lines if line is not None]
    return np.stack(whole) if len(whole) == len(rows) else None
