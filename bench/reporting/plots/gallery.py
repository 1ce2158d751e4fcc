"""The plots of a report, each of which draws itself from evidence.

    Evidence -> Plot.panels -> Panel ... -> drawn, svg, save, write

A panel is of one field (`bench.analysis.fields`): of one results folder, one stack, and equal
pictures; only those of cost hold stacks side by side. Nothing here needs Keras, and Matplotlib is
imported when the first panel is drawn. Adding a plot is a module with a `Plot` and a row here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bench.analysis.evidence import Evidence
from bench.errors import UnknownNameError
from bench.reporting.plots import (
    choices,
    costs,
    gain,
    heat_map,
    history,
    scatter,
    strategies,
    traps,
)
from bench.reporting.plots.output import FORMATS, Drawn, drawn, save, svg, write
from bench.reporting.plots.panel import Panel, Plot, Theme, told_apart

__all__ = [
    "FORMATS",
    "MOST",
    "PLOTS",
    "Drawn",
    "Panel",
    "Plot",
    "Theme",
    "drawn",
    "for_report",
    "panels",
    "save",
    "svg",
    "write",
]

_ROWS: tuple[Plot, ...] = (
    choices.CHOICES,
    *scatter.PLOTS,
    history.HISTORY,
    strategies.FREEZES,
    heat_map.HEAT_MAP,
    gain.GAIN,
    costs.COSTS,
    traps.TRAPS,
)

PLOTS: Mapping[str, Plot] = {plot.name: plot for plot in _ROWS}
if len(PLOTS) != len(_ROWS):
    raise ValueError("two plots share a name")


MOST, MOST_RANKED = 6, 3
"""Panels of a plot that a report shows: so many in all, and so many backbones of a field. Drawing
one takes up to a second, and a page holds it twice."""

LARGE, MOST_OF_LARGE = 1_000, 3
"""With more trials than this it shows so many: their panels are dense and slow, and nobody looks at
dozens of them."""


def panels(evidence: Evidence, names: Iterable[str] | None = None) -> Iterator[Panel]:
    """Every panel that there is data for, plot by plot; their names differ.

    Args:
        evidence: what to draw.
        names: of plots; all of them if None.

    Raises:
        UnknownNameError: there is no such plot.
    """
    asked = tuple(PLOTS) if names is None else tuple(dict.fromkeys(names))
    for name in asked:
        if name not in PLOTS:
            raise UnknownNameError("plot", name, PLOTS)
    return told_apart(panel for name in asked for panel in PLOTS[name].panels(evidence))


def for_report(evidence: Evidence) -> Iterator[Panel]:
    """The panels that a report has room for; the caption of a plot's last one says what is left."""
    most = MOST_OF_LARGE if len(evidence.lines) > LARGE else MOST
    for name in PLOTS:
        yield from _some(name, list(panels(evidence, [name])), most)


def _some(name: str, found: Sequence[Panel], most: int) -> Iterator[Panel]:
    """The best backbones of every field before the second best of any."""
    order = sorted(range(len(found)), key=lambda i: (found[i].rank, i))
    kept = [found[i] for i in sorted(i for i in order[:most] if found[i].rank < MOST_RANKED)]
    left = len(found) - len(kept)
    if not left:
        yield from kept
        return
    more = (
        f"{left:,} more such plots, of other backbones or pictures, are not in this report: "
        f"bench plot {name} draws all {len(found):,}."
    )
    yield from kept[:-1]
    yield replace(kept[-1], caption=f"{kept[-1].caption} {more}")
