"""What a plot is made of: panels, each of which is a picture with what to say about it."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bench.analysis.evidence import Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]

LONGEST_STEM = 80


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        name: a file's stem: lower-case letters, digits and dashes, unlike every other panel's.
        title: one line, as it stands above the picture.
        alt: what is to be seen, in a sentence or two with numbers, for who does not see it.
        caption: what intervals are of, what is left out and why.
        draw: makes the figure; may be called from any thread.
        rank: its place among panels of one plot and field; 0 comes first where there is no room
            for all of them.
    """

    name: str
    title: str
    alt: str
    caption: str
    draw: "Callable[[Theme], Figure]"
    rank: int = 0


@dataclass(frozen=True)
class Plot:
    """A kind of picture.

    Attributes:
        name: as `bench plot` takes it.
        title: for people.
        description: one line: what it shows.
        needs: what must have been measured for it, as the end of "needs ...".
        panels: makes one panel for each field, or whatever it is drawn for; none without data.
    """

    name: str
    title: str
    description: str
    needs: str
    panels: Callable[[Evidence], Iterator[Panel]]


def stem(*parts: str) -> str:
    """A file's stem out of any text: ``history-tf-flowers-mobilenetv2``."""
    plain = unicodedata.normalize("NFKD", "-".join(part for part in parts if part))
    letters = re.sub(r"(?<=\d),(?=\d)", "", plain).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:LONGEST_STEM].strip("-")


def told_apart(panels: Iterable[Panel]) -> Iterator[Panel]:
    """The same panels; where two share a name, the later ones get a number."""
    used: set[str] = set()
    for panel in panels:
        name, number = panel.name, 1
        while name in used:
            number += 1
            name = f"{panel.name}-{number}"
        used.add(name)
        yield replace(panel, name=name)
