"""Differences in points, row under row, around a line at zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.reporting.plots import style
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 30
"""Rows of a figure; of more, those with the largest and the smallest values."""


@dataclass(frozen=True)
class Row:
    """One difference.

    Attributes:
        label: what it is of.
        value: in points.
        low, high: its interval; None where there is none.
        dots: single values behind it.
        series: what its colour and marker stand for.
        note: what stands at the right edge.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    dots: tuple[float, ...] = ()
    series: str = ""
    note: str = ""


def shown(rows: Sequence[Row]) -> list[Row]:
    """At most `MOST`, from the largest value to the smallest."""
    ranked = sorted(rows, key=lambda row: -row.value)
    if len(ranked) <= MOST:
        return ranked
    return [*ranked[: MOST // 2], *ranked[-(MOST - MOST // 2) :]]


def figure(
    title: str, rows: Sequence[Row], unit: str, heading: str, noted: str, colours: Colours
) -> "Figure":
    """Draw rows as they are given.

    Args:
        title: of the figure.
        rows: from above.
        unit: under the values.
        heading: of the legend; no legend if empty.
        noted: what notes say, over their column.
        colours: of the theme.
    """
    height = 0.75 + len(rows) * (0.42 if any(len(r.label) > 30 for r in rows) else 0.34)
    sheet = style.sheet(title, 1, max(1.6, height))
    axes = sheet.axes[0]
    looks = style.looks(sorted({row.series for row in rows}), colours)
    for place, row in enumerate(rows):
        marker, colour, fill = looks.of(row.series)
        if row.dots:
            axes.plot(
                row.dots, [place] * len(row.dots), linestyle="none", marker=".", color=colour,
                markersize=6, alpha=0.55, markeredgewidth=0, gid="dots",
            )  # fmt: skip
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place] * 2, color=colour, linewidth=1.6, alpha=0.7)
        axes.plot(
            [row.value], [place], linestyle="none", marker=marker, color=colour, fillstyle=fill,
            markerfacecoloralt=colours.paper, markersize=8, zorder=4, gid="value",
        )  # fmt: skip
        if row.note:
            axes.annotate(
                style.wrapped(row.note, 30),
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                verticalalignment="center",
                fontsize=9,
            )
    axes.axvline(0, color=colours.ink, linewidth=1.0, alpha=0.8, zorder=1, gid="zero")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [style.wrapped(row.label, 34, 2) for row in rows])
    axes.tick_params(left=False)
    axes.grid(axis="y", alpha=0.12)
    axes.set_xlabel(unit)
    if noted and any(row.note for row in rows):
        axes.annotate(
            noted, (1.0, 1.0), xycoords="axes fraction", xytext=(6, 4),
            textcoords="offset points", fontsize=9, fontweight="bold",
        )  # fmt: skip
    if heading and len(looks.names) > 1:
        style.legend(
            sheet, [(heading, [(style.key(*looks.of(n), colours), n) for n in looks.names])]
        )
    return sheet.figure
