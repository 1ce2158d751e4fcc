"""What the page of a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.analysis.details import Detail
from bench.analysis.evidence import Evidence
from bench.reporting.forms import Cell


@dataclass(frozen=True)
class Answer:
    """What came out, in words.

    Attributes:
        subject: what it is about: a dataset.
        sentences: the first one is the answer.
    """

    subject: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Plot:
    """A picture of the results.

    Attributes:
        name: for links.
        title, alt, caption: for readers; ``alt`` says what the picture shows.
        light, dark: SVG documents on a transparent ground, one for each theme.
    """

    name: str
    title: str
    alt: str
    caption: str
    light: bytes
    dark: bytes


@dataclass(frozen=True)
class Claims:
    """Published claims beside what was measured.

    Attributes:
        titles: headings of the columns.
        lines: a cell for each of them.
        notes: what a reader must know about them.
    """

    titles: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """A plain table.

    Attributes:
        titles: headings of the columns; the first one's cells are headings of their lines.
        numbers: whether each column holds numbers.
        lines: a cell for each column.
        notes: what a reader must know about them.
    """

    titles: tuple[str, ...]
    numbers: tuple[bool, ...]
    lines: tuple[tuple[Cell, ...], ...]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Choice:
    """The candidates of a choice.

    Attributes:
        name: what it is for.
        candidates: a line for each.
        trials: for each candidate, keys of its trials, and the line of the page's table that each
            is in; None where it is in none.
        states: of each candidate: ``pick``, ``excluded`` and others.
    """

    name: str
    candidates: Listing
    trials: tuple[tuple[tuple[str, int | None], ...], ...]
    states: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """A report.

    Attributes:
        title: its heading.
        evidence: the results.
        about: what the suites behind the results say of themselves, a line each.
        answers: in words, by dataset.
        choices: those that the folders hold.
        probes: names of folders, and a line for each of their probes.
        claims: None where nobody claimed anything.
        plots: in the order to look at them.
        details: of the trials that have a part of their own; the page counts the others.
        thumbnails: JPEG pictures, by the hash of the picture that they show.
        command: what makes this report again; empty for none.
    """

    title: str
    evidence: Evidence
    about: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    claims: Claims | None = None
    plots: tuple[Plot, ...] = ()
    details: tuple[Detail, ...] = ()
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    command: str = ""
    choices: tuple[Choice, ...] = ()
    probes: tuple[tuple[str, Listing], ...] = ()
