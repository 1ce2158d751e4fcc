"""Names beside points, none over another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

MOST = 12
"""Points that are named; of more, the outer ones and some between."""

NEAR, FAR = 9.0, 26.0
"""Points (of print) from a point to its name."""

_OFFSETS = tuple(
    (x * reach, y * reach)
    for reach in (NEAR, FAR, 2 * FAR)
    for x, y in ((1, 0.6), (-1, 0.6), (1, -0.6), (-1, -0.6), (0, 1.2), (0, -1.2))
)

Boxes = NDArray[np.float64]
"""(boxes, 4): left, bottom, right and top, in pixels."""


def place(
    axes: "Axes",
    named: Sequence[tuple[float, float, str]],
    points: Sequence[tuple[float, float]],
    bars: Sequence[tuple[float, float, float]],
    colours: Colours,
) -> None:
    """Write names beside points where they cover neither each other nor a point.

    Nor intervals, if there is such a place. What finds no room is left out. The figure must have
    been laid out.

    Args:
        axes: within which the names stay.
        named: x, y and name, the most important ones last.
        points: x and y of everything drawn.
        bars: x, low and high of intervals.
        colours: of the theme.
    """
    figure = axes.get_figure(root=True)
    if figure is None or not named:
        return
    reach = 4 * figure.dpi / 72
    taken = _boxes(axes, [(x, y, x, y) for x, y in points], reach)
    lines = _boxes(axes, [(x, low, x, high) for x, low, high in bars], 1.0)
    for x, y, name in reversed(_some(named)):
        box = _place(axes, (x, y), name, taken, lines, colours)
        if box is not None:
            taken = np.vstack([taken, box])


def _boxes(axes: "Axes", ends: Sequence[tuple[float, float, float, float]], room: float) -> Boxes:
    corners = np.array(ends, dtype=np.float64).reshape(-1, 2)
    pixels = axes.transData.transform(corners).reshape(-1, 4)
    return np.asarray(pixels + np.array([-room, -room, room, room]))


def _some(named: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    if len(named) <= MOST:
        return list(named)
    step = (len(named) - 1) / (MOST - 1)
    return [named[round(i * step)] for i in range(MOST)]


def _place(
    axes: "Axes",
    at: tuple[float, float],
    name: str,
    taken: Boxes,
    lines: Boxes,
    colours: Colours,
) -> Boxes | None:
    """The name's box; None where it found no room."""
    text = axes.annotate(
        name,
        at,
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=9,
        color=colours.ink,
        linespacing=1.05,
        zorder=6,
        bbox={"facecolor": colours.paper, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
    )
    window = axes.get_window_extent().padded(2)
    for avoided in (np.vstack([taken, lines]), taken):
        for x, y in _OFFSETS:
            text.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
            text.set_verticalalignment("bottom" if y > 0 else "top")
            text.xyann = (x, y)
            box = text.get_window_extent()
            if _inside(box, window) and not _overlaps(box, avoided):
                if max(abs(x), abs(y)) > FAR / 2:
                    _lead(axes, at, (x, y), colours)
                return np.array(box.extents)
    text.remove()
    return None


def _inside(box: "Bbox", window: "Bbox") -> bool:
    wide = bool(window.x0 <= box.x0 and box.x1 <= window.x1)
    return wide and bool(window.y0 <= box.y0 and box.y1 <= window.y1)


def _overlaps(box: "Bbox", others: Boxes) -> bool:
    left, bottom, right, top = others.T
    apart = (left > box.x1) | (right < box.x0) | (bottom > box.y1) | (top < box.y0)
    return not bool(apart.all())


def _lead(
    axes: "Axes", at: tuple[float, float], offset: tuple[float, float], colours: Colours
) -> None:
    """A thin line from a point to a name that is not right beside it."""
    axes.annotate(
        "",
        at,
        xytext=offset,
        textcoords="offset points",
        zorder=3.5,
        arrowprops={
            "arrowstyle": "-",
            "color": colours.faint,
            "linewidth": 0.8,
            "shrinkA": 0,
            "shrinkB": 4,
        },
    )
