"""How plots look: colours, markers, fonts, and text that nobody else interprets.

Matplotlib is imported when the first figure is drawn, and its pyplot never. Its settings are the
whole process', so one figure is drawn at a time.
"""

import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.reporting.plots.panel import Theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 9.0
"""Inches: a page's column of 900 px, where fonts keep their size."""

TITLE = 0.42
"""Inches that a title takes above the axes."""

LEGEND_LINE = 0.224
"""Inches of a line of a legend, with what is between two."""

RESOLUTION = 150
"""Dots per inch of a PNG."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
Fill = Literal["full", "none", "left", "top", "bottom", "right"]
FILLS: tuple[Fill, ...] = ("full", "none", "left", "top", "bottom", "right")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "///", "---", "xxx", "\\\\\\", "|||")
"""Series differ in these as well as in colour."""

FAINT = 0.2
"""Order of drawing of what is many and faint: before grids, which come at 0.5."""

NAMED = 12
"""Series that a legend names; what is beyond is drawn as one."""

NAME_LENGTH = 30


@dataclass(frozen=True)
class Colours:
    """Of a theme; `series` after Okabe and Ito (2008), with enough contrast for lines.

    Attributes:
        paper, ink: behind everything, and of text.
        faint: of a grid and of what is not the point.
        series: to be told apart by who sees no red or no green.
        scale: from the best to the worst; one hue, so that only lightness tells.
    """

    paper: str
    ink: str
    faint: str
    series: tuple[str, ...]
    scale: tuple[str, str, str]


THEMES: dict[Theme, Colours] = {
    "light": Colours(
        paper="#ffffff",
        ink="#1d2228",
        faint="#8a9099",
        series=(
            *("#0072b2", "#d55e00", "#009e73", "#c2549a"),
            *("#a87000", "#3d9bd1", "#5b3fa0", "#3c3f44"),
        ),
        scale=("#08519c", "#6baed6", "#eff6fc"),
    ),
    "dark": Colours(
        paper="#15181c",
        ink="#e6e8eb",
        faint="#868d96",
        series=(
            *("#56b4e9", "#ff8c42", "#2ecc9a", "#ea9fcb"),
            *("#f0e442", "#8fd3f4", "#b9a3f5", "#c9ccd1"),
        ),
        scale=("#a6d4f2", "#2b7bba", "#12273d"),
    ),
}

_LOCK = threading.RLock()


@contextmanager
def settings(theme: Theme, salt: str = "") -> Iterator[Colours]:
    """Matplotlib as plots need it, whatever the user's own settings are.

    Args:
        theme: of the figure drawn or written meanwhile.
        salt: makes the ids in an SVG.
    """
    import matplotlib

    colours = THEMES[theme]
    with _LOCK, warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "text.parse_math": False,
                "text.usetex": False,
                "svg.fonttype": "path",
                "svg.hashsalt": salt or "bench",
                "pdf.fonttype": 42,
                "font.family": "sans-serif",
                "font.sans-serif": ["DejaVu Sans"],
                "font.size": 10.0,
                "axes.titlesize": 10.5,
                "axes.titleweight": "bold",
                "axes.titlelocation": "left",
                "axes.labelsize": 10.0,
                "xtick.labelsize": 9.5,
                "ytick.labelsize": 9.5,
                "legend.fontsize": 9.5,
                "legend.frameon": False,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "axes.axisbelow": True,
                "grid.alpha": 0.25,
                "grid.linewidth": 0.7,
                "grid.color": colours.faint,
                "figure.facecolor": colours.paper,
                "savefig.facecolor": "auto",
                "axes.facecolor": "none",
                "text.color": colours.ink,
                "axes.labelcolor": colours.ink,
                "axes.edgecolor": colours.faint,
                "xtick.color": colours.faint,
                "ytick.color": colours.faint,
                "xtick.labelcolor": colours.ink,
                "ytick.labelcolor": colours.ink,
                "axes.unicode_minus": False,
                "hatch.linewidth": 0.7,
            }
        )
        yield colours


def drawn(theme: Theme, make: "Callable[[Colours], Figure]") -> "Figure":
    """What `make` draws, in this theme."""
    with settings(theme) as colours:
        return make(colours)


@dataclass(frozen=True)
class Sheet:
    """A figure and its axes, row by row; a cell of the grid that is left over is the legend's."""

    figure: "Figure"
    axes: "tuple[Axes, ...]"
    columns: int
    spare: "Axes | None" = None

    def lowest(self, number: int) -> bool:
        """Whether no axes are below these."""
        return number + self.columns >= len(self.axes)

    def leftmost(self, number: int) -> bool:
        """Whether no axes are left of these."""
        return number % self.columns == 0


def sheet(title: str, count: int, height: float, most_columns: int = 2, **share: Any) -> Sheet:
    """A figure with so many axes.

    Args:
        title: one line above them.
        count: of axes.
        height: of a row, in inches.
        most_columns: in a row.
        share: ``sharex`` and ``sharey``, as `matplotlib.figure.Figure.subplots` takes them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 if count == 4 else min(count, most_columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, rows * height + TITLE), dpi=RESOLUTION, layout="constrained")
    FigureCanvasAgg(figure)  # keeps its renderer; without it each question of size makes one
    figure.suptitle(
        clean(title, 80), x=0.012, horizontalalignment="left", fontsize=12.5, fontweight="bold"
    )
    cells = figure.subplots(rows, columns, squeeze=False, **share).flatten()
    for cell in cells[count:]:
        cell.set_axis_off()
        cell.set_in_layout(False)
    spare = cells[count] if len(cells) > count else None
    return Sheet(figure, tuple(cells[:count]), columns, spare)


def settle(figure: "Figure") -> None:
    """Work out where everything goes, once: saving in several forms would do it for each."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine(None)


def legend(sheet: Sheet, parts: "Sequence[tuple[str, Sequence[tuple[Artist, str]]]]") -> None:
    """A legend beside the axes: a heading over each part's entries; empty parts are left out."""
    from matplotlib.legend_handler import HandlerBase
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    class Heading(HandlerBase):
        """Draws a heading where other entries have their marker."""

        def create_artists(self, _: Any, handle: Any, *room: Any) -> list[Any]:
            *_, size, transform = room
            text = handle.get_gid()
            return [Text(0, 0, text, fontweight="bold", fontsize=size, transform=transform)]

    handles: list[Any] = []
    labels: list[str] = []
    headings: list[Line2D] = []
    for heading, entries in parts:
        if entries:
            if handles or not sheet.spare:  # the first, below the title, however long that is
                handles.append(Line2D([], [], linestyle="none"))
                labels.append(" ")
            headings.append(Line2D([], [], gid=heading))
            handles += [headings[-1], *(handle for handle, _ in entries)]
            # A label that begins with an underscore would be left out.
            indented = [" " + wrapped(label).replace("\n", "\n ") for _, label in entries]
            labels += [" ", *indented]
    if handles:
        (sheet.spare or sheet.figure).legend(
            *(handles, labels),
            loc="upper left" if sheet.spare else "outside right upper",
            handler_map=dict.fromkeys(headings, Heading()),
            handlelength=2.2,
            handletextpad=0.4,
            labelspacing=0.45,
        )
        lines = sum(1 + label.count("\n") for label in labels)
        if not sheet.spare:
            least = 0.25 + LEGEND_LINE * lines
            sheet.figure.set_figheight(max(sheet.figure.get_figheight(), least))


def clean(text: str, length: int = NAME_LENGTH) -> str:
    """Text that can be drawn, on one line: no control characters, cut in the middle if long."""
    plain = "".join(_drawable(letter) for letter in text)
    plain = " ".join(plain.split()) or "?"
    if len(plain) > length:
        half = (length - 1) // 2
        plain = f"{plain[: length - 1 - half]}…{plain[-half:]}"
    return plain


def _drawable(letter: str) -> str:
    kind = unicodedata.category(letter)
    if letter.isspace():
        return " "
    if kind in ("Cc", "Cs", "Cn"):
        return "\N{REPLACEMENT CHARACTER}"
    return "" if kind == "Cf" else letter


def wrapped(text: str, width: int = 24, lines: int = 2) -> str:
    """Text on at most so many lines, broken after a space, else after a dash or the like."""
    rest = clean(text, 1000)
    found: list[str] = []
    while len(rest) > width and len(found) < lines - 1:
        spaced = rest.rfind(" ", width // 3, width + 1)
        joined = max(rest.rfind(mark, width // 3, width) for mark in "-_/=.")
        cut = spaced if spaced >= 0 else joined + 1 if joined >= 0 else width
        found.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return "\n".join([*found, clean(rest, width + 4)])


def key(marker: str, colour: str, fill: Fill, colours: Colours, size: float = 8) -> "Line2D":
    """A marker for a legend."""
    from matplotlib.lines import Line2D

    return Line2D(
        *([], []),
        linestyle="none",
        marker=marker,
        markersize=size,
        color=colour,
        fillstyle=fill,
        markerfacecoloralt=colours.paper,
    )


def logarithmic(axes: "Axes") -> None:
    """A logarithmic x scale whose ticks are 1, 2, 5, 10, ..., written out."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def three_digits(value: float) -> str:
    """``1,234``, ``56.7``, ``8.90``."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}".rstrip(".")


@dataclass(frozen=True)
class Looks:
    """A marker, a colour and a fill for each of some names; `NAMED` have their own."""

    names: tuple[str, ...]
    colours: Colours

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def of(self, name: str) -> tuple[str, str, Fill]:
        """Marker, colour and fill of a name; of any other name those of the rest."""
        if name not in self.names:
            return ".", self.colours.faint, "full"
        i, series = self.names.index(name), self.colours.series
        return MARKERS[i % len(MARKERS)], series[i % len(series)], FILLS[i % len(FILLS)]


def looks(names: Sequence[str], colours: Colours) -> Looks:
    """Looks for the first `NAMED` of these names."""
    return Looks(tuple(names[:NAMED]), colours)


def as_pixels(axes: "Axes") -> None:
    """Have everything below `FAINT` drawn as pixels, in one piece, however much it is."""
    axes.set_rasterization_zorder(FAINT + 0.1)
