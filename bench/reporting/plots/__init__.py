"""The plots of a report, each of which draws itself from evidence.

    Evidence -> Plot.panels -> Panel ... -> svg, save

Nothing here needs Keras, and Matplotlib is imported when the first panel is drawn. Adding a plot
is a module with a `Plot` and a row here.
"""

from collections.abc import Iterable, Iterator, Mapping

from bench.analysis.evidence import Evidence
from bench.errors import UnknownNameError
from bench.reporting.plots import costs, gain, heat_map, history, scatter, strategies, traps
from bench.reporting.plots.output import FORMATS, save, svg, write
from bench.reporting.plots.panel import Panel, Plot, Theme, told_apart

__all__ = ["FORMATS", "PLOTS", "Panel", "Plot", "Theme", "panels", "save", "svg", "write"]

_ROWS: tuple[Plot, ...] = (
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
