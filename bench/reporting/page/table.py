"""The main table of the page: its columns, what they sort by, and the marks beside numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from bench.analysis.evidence import Evidence, Figure, Line
from bench.analysis.naming import MEANINGLESS
from bench.analysis.summary import Spread
from bench.reporting import tables
from bench.reporting.cost_tables import digits
from bench.reporting.forms import count, duration
from bench.reporting.notes import BEST, INTERVAL

Kind = Literal["text", "number"]
NOTHING = "–"
BAR = 88
"""Width of the drawing of an interval, in CSS pixels."""

FLAG = "meaningless"
GUARD = "guard failed"
"""Beside an accuracy whose trial caught itself at a mistake."""


@dataclass(frozen=True)
class Mark:
    """A sign beside a number that sends its reader to a note.

    Attributes:
        sign: what stands there.
        text: what it means.
        note: number of the note that says more; None where the text is all.
    """

    sign: str
    text: str
    note: int | None = None


@dataclass(frozen=True)
class Bar:
    """An interval, drawn: pixels from the left."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: for people.
        value: what it sorts by; None for what comes last.
        marks: beside the text.
        more: small print below the text.
        bar: beside an interval.
    """

    text: str
    value: float | str | None
    marks: tuple[Mark, ...] = ()
    more: str = ""
    bar: Bar | None = None


@dataclass(frozen=True)
class Column:
    """One column: its heading, what kind of cells it has, and its cell for a line.

    ``setting``: one that only tells lines apart; paper has no room for it.
    """

    title: str
    kind: Kind
    cell: Callable[[Line], Cell]
    setting: bool = False

    @property
    def key(self) -> str:
        """Its name in links and in the script."""
        return "".join(c if c.isalnum() else "-" for c in self.title.replace("%", "pc")).strip("-")


@dataclass(frozen=True)
class Choice:
    """A filter: the column it looks at, and what can be chosen."""

    column: Column
    options: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A line of the table as it is shown."""

    line: Line
    cells: tuple[Cell, ...]


class Footnotes:
    """Caveats of datasets, numbered as they are met, each once.

    Args:
        lines: of the whole report.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._caveats: dict[int, tuple[str, ...]] = {}
        self._random: int | None = None
        for line in lines:
            told = dict.fromkeys(c for r in line.group.rows if r.dataset for c in r.dataset.caveats)
            self._caveats[line.number] = tuple(told)
            for caveat in told:
                self._numbers.setdefault((line.dataset, caveat), len(self._numbers) + 1)
            if line.random and self._random is None:
                self._random = self._numbers.setdefault(("", MEANINGLESS), len(self._numbers) + 1)

    @property
    def notes(self) -> tuple[tuple[int, str], ...]:
        """Each with its number."""
        return tuple(
            (n, f"{dataset}: {text}" if dataset else text)
            for (dataset, text), n in self._numbers.items()
        )

    def of(self, line: Line) -> tuple[Mark, ...]:
        """Marks that belong beside this line's accuracy."""
        marks = [
            Mark(str(n), caveat, n)
            for caveat in self._caveats[line.number]
            for n in (self._numbers[line.dataset, caveat],)
        ]
        if line.random:
            marks.append(Mark(FLAG, MEANINGLESS, self._random))
        if any(r.failed_guards for r in line.group.rows):
            marks.append(Mark(GUARD, line.group.guards))
        return tuple(marks)


class Table:
    """The main table.

    Args:
        evidence: what it shows.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.footnotes = Footnotes(evidence.lines)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Those that tell lines apart, and those of which something is known."""
        asked = (*self._identity(), *self._measured(), *self._settings())
        always = {"test %", "status", *(c.title for c in tables.IDENTITY)}
        return tuple(c for c in asked if c.title in always or self._told(c))

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every line, in the order of the results."""
        return tuple(Row(n, tuple(c.cell(n) for c in self.columns)) for n in self._evidence.lines)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Filters that leave something out, whatever is chosen."""
        asked = ("dataset", "backbone", "freeze", "status", "stack")
        found = []
        for column in (c for name in asked for c in self.columns if c.title == name):
            options = tuple(dict.fromkeys(column.cell(n).text for n in self._evidence.lines))
            if len(options) > 1:
                found.append(Choice(column, options))
        return tuple(found)

    @property
    def ranked(self) -> bool:
        """Whether any line is a best or a tie."""
        return any(line.standing for line in self._evidence.lines)

    @property
    def signs(self) -> frozenset[str]:
        """Signs that its cells bear."""
        return frozenset(m.sign for row in self.rows for c in row.cells for m in c.marks)

    @cached_property
    def marked(self) -> frozenset[str]:
        """Keys of the columns with signs beside any number: all of them leave room for one."""
        return frozenset(
            column.key
            for i, column in enumerate(self.columns)
            if any(m.sign not in (FLAG, GUARD) for row in self.rows for m in row.cells[i].marks)
        )

    def _told(self, column: Column) -> bool:
        return any(column.cell(line).text not in ("", NOTHING) for line in self._evidence.lines)

    def _identity(self) -> Iterator[Column]:
        """The backbone first: it names the line, and stays in sight."""
        found = tables.identity([line.group for line in self._evidence.lines])
        first = next(c for c in found if c.title == "backbone")
        yield _plain(first)
        if self._evidence.several_sources:
            yield Column("results", "text", lambda n: Cell(n.source, n.source))
        yield from (_plain(c) for c in found if c is not first and c.title in NAMING)

    def _settings(self) -> Iterator[Column]:
        """What else tells lines apart, behind what was measured."""
        for column in tables.identity([line.group for line in self._evidence.lines]):
            if column.title not in NAMING:
                yield replace(_plain(column), setting=True)

    def _measured(self) -> Iterator[Column]:
        bars = self._bars()

        def interval(line: Line) -> Cell:
            text = tables.interval(line.accuracy)
            low = line.accuracy.interval.low if line.accuracy else None
            return Cell(text or NOTHING, low, bar=bars(line))

        def test(line: Line) -> Cell:
            spread = line.test_accuracy
            if spread is None:
                return Cell(NOTHING if line.group.status == "ok" else line.group.status, None)
            return Cell(tables.percent(spread), spread.mean, self.footnotes.of(line))

        yield Column("seeds", "number", lambda n: Cell(tables.seeds(n.group), len(n.group.rows)))
        yield Column("val % phase 1", "number", lambda n: _val(n, 1))
        yield Column("val % phase 2", "number", lambda n: _val(n, 2))
        yield Column("test %", "number", test)
        yield Column(INTERVAL, "number", interval)
        yield Column(BEST, "text", _standing)
        yield from _COSTS
        yield Column("time", "number", _time)
        yield Column("status", "text", _status)
        yield Column("guards", "text", lambda n: Cell(n.group.guards, n.group.guards or None))

    def _bars(self) -> Callable[[Line], Bar | None]:
        """All on one scale, so that they can be compared."""
        found = [n.accuracy.interval for n in self._evidence.lines if n.accuracy]
        low = min((i.low for i in found), default=0.0)
        high = max((i.high for i in found), default=1.0)
        scale = (BAR - 8) / max(high - low, 1e-9)

        def place(value: float) -> float:
            return round(4 + (value - low) * scale, 1)

        def bar(line: Line) -> Bar | None:
            if line.accuracy is None:
                return None
            interval = line.accuracy.interval
            return Bar(place(interval.low), place(line.accuracy.value), place(interval.high))

        return bar


def _plain(column: tables.Column) -> Column:
    def cell(line: Line) -> Cell:
        found = column.cell(line.group)
        return Cell(NOTHING if found is None else str(found), found)

    return Column(column.title, "number" if column.title in _NUMBERS else "text", cell)


_NUMBERS = ("pixels", "batch")
NAMING = ("backbone", "dataset", "freeze", "stack", "trap", "train pictures", "trial")
"""Columns that name a line, before what was measured."""


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def _val(line: Line, phase: int) -> Cell:
    spread = line.group.phase(phase, lambda p: p.val_accuracy)
    return Cell(tables.percent(spread), _mean(spread))


def _standing(line: Line) -> Cell:
    return Cell(line.standing, {"best": "1", "tie": "2"}.get(line.standing))


def _time(line: Line) -> Cell:
    seconds = _mean(line.group.spread(lambda r: r.seconds))
    return Cell(duration(seconds), seconds)


def _status(line: Line) -> Cell:
    reasons = line.group.reasons
    return Cell(line.group.status, line.group.status, more=reasons)


def _figure(figure: Figure | None, written: Callable[[float], str]) -> Cell:
    if figure is None:
        return Cell(NOTHING, None)
    doubt = Mark("?", "in doubt: better measured again on a quiet machine")
    apart = Mark("*", "measured apart from the trial, on the stock model")
    marks = [m for m, there in ((apart, figure.apart), (doubt, figure.doubtful)) if there]
    return Cell(written(figure.value), figure.value, tuple(marks))


def _trainable(line: Line) -> Cell:
    figure = line.cost("trainable_parameters")
    return Cell(
        tables.trainable(line.group) if figure else NOTHING, figure.value if figure else None
    )


_COSTS: Sequence[Column] = (
    Column("train img/s", "number", lambda n: _figure(n.cost("train_speed"), digits)),
    Column("inference img/s", "number", lambda n: _figure(n.cost("inference_speed"), digits)),
    Column("latency ms", "number", lambda n: _figure(n.cost("latency"), digits)),
    Column(
        "memory GiB",
        "number",
        lambda n: _figure(n.cost("memory"), lambda held: f"{held / 2**30:.2f}"),
    ),
    Column("trainable 1 / 2", "number", _trainable),
    Column("parameters", "number", lambda n: _figure(n.cost("parameters"), count)),
)
