"""Forms of a table: for a terminal, a document or a spreadsheet; and how cells are written."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

from bench.strangers import plain

Cell = str | float | int | None

FORMATS: Mapping[str, str] = {
    "console": "simple",
    "markdown": "github",
    "csv": "csv",
    "latex": "latex_booktabs",
}

NOTE_STARTS: Mapping[str, str] = {"console": "  ", "markdown": "* ", "latex": "% "}
NOTES_KEPT = 30

_FORMULA_STARTS = (
    *("=", "+", "-", "@", "\t", "\n"),
    *("\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}"),
    *("\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}"),
)

_MARKS = re.compile(r"[&<>|`*~\\\[\]]|(?<![^\W_])_|_(?![^\W_])")
"""What markdown, or HTML in it, would take for its own; an underscore inside a word is none."""
_HARMFUL = re.compile(r"[<`\\\[\]]|@(?!&#8203;)")
"""Of those what begins an element, a link or code, ends a cell, or notifies somebody."""


def count(number: float | None) -> str:
    """``1,281``, ``1.86 M``: a number of parameters."""
    if number is None:
        return "–"
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """``12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{minutes} min {rest:02d} s" if hours < 1 else f"{hours} h {left:02d} min"


def printed(titles: Sequence[str], lines: Iterable[Sequence[Cell]], form: str) -> str:
    """A table in a form of `FORMATS`.

    Args:
        titles: headings of its columns.
        lines: a cell for each of them; None is a dash for people, and nothing for programs. Each
            is one line and prints, whatever somebody put into it; in CSV line breaks stay.
        form: a key of `FORMATS`.
    """
    if form == "csv":
        return _csv(titles, lines)
    cells = [["–" if cell is None else printable(str(cell)) for cell in line] for line in lines]
    heads = [printable(title) for title in titles]
    if form == "markdown":
        heads, *cells = ([_cell(text) for text in line] for line in (heads, *cells))
    table = tabulate(cells, headers=heads, tablefmt=FORMATS[form], disable_numparse=True)
    return _latex_symbols(table) if form == "latex" else table


def _cell(text: str) -> str:
    """For a cell of markdown; what `foreign` has been through stays as it is."""
    return _harmless(text).replace("|", "\\|")


def _harmless(text: str) -> str:
    return _HARMFUL.sub(lambda mark: "@&#8203;" if mark[0] == "@" else f"&#{ord(mark[0])};", text)


def printable(text: str) -> str:
    """Text as one line that prints: line breaks become spaces.

    Characters that a terminal or a parser would obey, or that no file of UTF-8 can hold, are
    replaced.
    """
    return text if text.isprintable() else plain(_one_line(text))


def foreign(text: str, form: str) -> str:
    """Text that somebody else chose, fit for a line in this form: it prints, and means nothing.

    Beside what `printable` does, marks become entities in markdown, and nobody is notified by an
    ``@``.
    """
    line = _one_line(printable(text))
    if form != "markdown":
        return line
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", line).replace("@", "@&#8203;")


def listed(said: Sequence[str]) -> str:
    """``A, B and C``."""
    return " and ".join(filter(None, (", ".join(said[:-1]), said[-1]))) if said else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def with_notes(table: str, notes: Iterable[str], form: str) -> str:
    """The table, and below it its notes, each once, one a line.

    In LaTeX notes are comments. CSV holds the table alone: a program reads it.
    """
    found = kept(notes)
    if form not in NOTE_STARTS or not found:
        return table
    lines = [_one_line(printable(note)) for note in found]
    if form == "markdown":  # our own notes quote commands between backticks
        lines = ["`".join(map(_harmless, line.split("`"))) for line in lines]
    return table + "\n\n" + "\n".join(NOTE_STARTS[form] + line for line in lines)


def kept(notes: Iterable[str]) -> list[str]:
    """Each note once, and no more than a reader will read."""
    found = list(dict.fromkeys(notes))
    more = len(found) - NOTES_KEPT
    return found if more <= 0 else [*found[:NOTES_KEPT], f"and {more} more notes"]


def _latex_symbols(table: str) -> str:
    """What LaTeX does not print by itself (tabulate has escaped the rest)."""
    for symbol, command in {"±": r"$\pm$", "→": r"$\to$", "–": "--"}.items():
        table = table.replace(symbol, command)
    return table


def inert(text: str) -> str:
    """Text for a cell of CSV that no spreadsheet takes for a formula.

    A spreadsheet runs what begins with ``=``, ``+``, ``-``, ``@`` (or their wide forms), a tab or a
    line break, and shows what begins with an apostrophe. Carriage returns become line feeds: where
    one stands alone, writers of CSV leave it bare, and readers begin a new line. Other characters
    that do not print are replaced before that: a spreadsheet may leave them out. For text only:
    numbers stay numbers.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if not lines.isprintable():
        lines = "".join(map(_in_csv, lines))
    return f"'{lines}" if lines.lstrip(" ").startswith(_FORMULA_STARTS) else lines


def _in_csv(letter: str) -> str:
    if letter.isprintable() or letter in "\n\t":
        return letter
    return " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}"


def _csv(titles: Sequence[str], lines: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(inert, titles))
    writer.writerows([inert(c) if isinstance(c, str) else c for c in line] for line in lines)
    return text.getvalue().rstrip("\n")
