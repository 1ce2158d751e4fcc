"""The parts of the page that are about one trial each."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis import naming
from bench.analysis.details import ClassDetail, Detail, Mistake, Pairs
from bench.analysis.evidence import Evidence, Line
from bench.reporting import tables
from bench.reporting.page.history import History

MOST_CLASSES = 20
"""Up to so many classes the confusion matrix is shown whole."""

MOST_CONFUSIONS = 10
"""Beyond that, so many of its largest numbers."""

SHADES = 8
"""Steps of colour of a confusion matrix, above none."""


@dataclass(frozen=True)
class Count:
    """A cell of a confusion matrix: pictures, and how dark it is, from 0 to `SHADES`."""

    pictures: int
    shade: int
    right: bool


@dataclass(frozen=True)
class Confusion:
    """So many pictures of one class taken for another, and the share of the class that is."""

    truth: str
    predicted: str
    pictures: int
    share: float


@dataclass(frozen=True)
class Held:
    """What a guard found, and on which seeds."""

    name: str
    verdict: str
    evidence: str
    seeds: str


@dataclass(frozen=True)
class Shown:
    """A mistake, with a picture of it as a data URI where there is one."""

    mistake: Mistake
    picture: str | None

    @property
    def words(self) -> str:
        """``rose taken for tulip, 93%``."""
        m = self.mistake
        return f"{m.truth} taken for {m.predicted}, {100 * m.probability:.0f}%"


@dataclass(frozen=True)
class Trial:
    """One trial as it is shown.

    Attributes:
        number: of its line.
        title: what tells it from the others.
        summary: what came out, in one line.
        environment: number of its environment on this page; None where it is not known.
    """

    number: int
    title: str
    summary: str
    detail: Detail
    history: History
    matrix: tuple[tuple[str, tuple[Count, ...]], ...]
    confusions: tuple[Confusion, ...]
    guards: tuple[Held, ...]
    mistakes: tuple[Shown, ...]
    environment: int | None

    @property
    def classes(self) -> tuple[ClassDetail, ...]:
        """The worst first; of very many only those."""
        return self.detail.classes[:MOST_CLASSES]


@dataclass(frozen=True)
class Environment:
    """What ran some of the trials."""

    number: int
    pairs: Pairs
    trials: int


class Trials:
    """Those that have a part of their own.

    Args:
        evidence: all there are.
        details: of the chosen ones.
        thumbnails: JPEG files by the beginning of their hash, as in `Mistake.picture`.
    """

    def __init__(
        self, evidence: Evidence, details: Sequence[Detail], thumbnails: Mapping[str, bytes]
    ) -> None:
        self._titles = naming.titles(evidence)
        self._thumbnails = thumbnails
        self._environments: dict[Pairs, list[int]] = {}
        for found in details:
            self._environments.setdefault(found.environment, []).append(found.line.number)
        self.shown = tuple(map(self._trial, details))
        self.left_out = len(evidence.lines) - len(details)

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Each once, numbered in the order met."""
        return tuple(
            Environment(number, pairs, len(lines))
            for number, (pairs, lines) in enumerate(self._environments.items(), start=1)
        )

    def _trial(self, found: Detail) -> Trial:
        line = found.line
        whole = len(found.class_names) <= MOST_CLASSES
        known = list(self._environments)
        return Trial(
            number=line.number,
            title=self._titles[line.number],
            summary=_summary(line),
            detail=found,
            history=History(found.seeds),
            matrix=_matrix(found) if whole else (),
            confusions=() if whole else _confusions(found),
            guards=_guards(found),
            mistakes=tuple(Shown(m, self._picture(m.picture)) for m in found.mistakes),
            environment=known.index(found.environment) + 1 if found.environment else None,
        )

    def _picture(self, name: str) -> str | None:
        data = self._thumbnails.get(name)
        return None if data is None else f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _summary(line: Line) -> str:
    spread = line.test_accuracy
    if spread is None:
        return line.group.status
    interval = tables.interval(line.accuracy)
    text = f"{tables.percent(spread)}% on test"
    text += f" ({interval})" if interval else ""
    return text if line.group.status == "ok" else f"{text}; {line.group.status}"


def _matrix(found: Detail) -> tuple[tuple[str, tuple[Count, ...]], ...]:
    """Rows by truth; shades are shares of the row."""
    counts = found.confusion
    if counts is None:
        return ()
    lines = []
    for i, name in enumerate(found.class_names):
        total = max(int(counts[i].sum()), 1)
        cells = [
            Count(int(n), -(-SHADES * int(n) // total), i == j) for j, n in enumerate(counts[i])
        ]
        lines.append((name, tuple(cells)))
    return tuple(lines)


def _confusions(found: Detail) -> tuple[Confusion, ...]:
    counts = found.confusion
    if counts is None:
        return ()
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    pairs = [divmod(int(i), len(found.class_names)) for i in order]
    return tuple(
        Confusion(
            *(found.class_names[t], found.class_names[p], int(wrong[t, p])),
            share=float(wrong[t, p] / counts[t].sum()),
        )
        for t, p in pairs
        if wrong[t, p]
    )


_VERDICTS = {True: "pass", False: "FAIL", None: "does not apply"}


def _guards(found: Detail) -> tuple[Held, ...]:
    """One for each thing said; failures first."""
    said: dict[tuple[str, bool | None, str], list[str]] = {}
    for seed in found.seeds:
        for guard in seed.guards:
            key = guard.name, guard.passed, guard.evidence
            said.setdefault(key, []).append(str(seed.seed))
    held = [
        Held(name, _VERDICTS[passed], evidence, ", ".join(seeds))
        for (name, passed, evidence), seeds in said.items()
    ]
    return tuple(sorted(held, key=lambda h: h.verdict != _VERDICTS[False]))
