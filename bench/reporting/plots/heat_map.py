"""Backbones by datasets, with the accuracy of the strategy that val chose."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.analysis.evidence import Evidence, Line
from bench.reporting.plots import chosen, style
from bench.reporting.plots.chosen import joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BACKBONES, MOST_DATASETS = 40, 12
LEAST_SPAN = 5.0
"""Points that the colours span at the least, so that noise is not painted in all of them."""


@dataclass(frozen=True)
class Cell:
    """The trial that val chose: its test accuracy in percent, and its freeze strategy."""

    value: float
    strategy: str


Cells = Mapping[tuple[str, str], Cell]
"""By backbone and dataset."""


def _panels(evidence: Evidence) -> Iterator[Panel]:
    fields = chosen.fields(evidence)
    lines = [line for field in fields for line in field.lines]
    for name, here in chosen.by_side(lines).items():
        found = cells(here)
        backbones, datasets = ({key[i] for key in found} for i in (0, 1))
        if len(backbones) > 1 and len(datasets) > 1:
            left = " ".join(f"{f.dataset}: {f.left_out}" for f in fields if f.left_out)
            yield _panel(name, found, left)


def cells(lines: Sequence[Line]) -> dict[tuple[str, str], Cell]:
    """For each backbone and dataset the trial with the highest val accuracy, mean over seeds."""
    best: dict[tuple[str, str], tuple[float, Line]] = {}
    for line in lines:
        val = line.group.spread(lambda r: r.last_phase.val_accuracy if r.last_phase else None)
        key = (line.backbone, line.dataset)
        if val and (key not in best or val.mean > best[key][0]):
            best[key] = (val.mean, line)
    return {
        key: Cell(found.value, line.group.spec.freeze.label)
        for key, (_, line) in best.items()
        if (found := chosen.accuracy(line))
    }


def _panel(side: str, found: Cells, left_out: str) -> Panel:
    title = f"Test accuracy by backbone and dataset{f', {side}' if side else ''}"
    backbones, datasets = _ordered(found)
    return Panel(
        stem("heat-map", side),
        style.clean(title, 120),
        _alt(found, datasets),
        joined(
            "In each cell the test accuracy in percent of the freeze strategy with the highest "
            "val accuracy, which is named below it: test decided nothing. Colour: points below the "
            "best backbone of the dataset. A cell with a dash was not measured.",
            f"Drawn: {len(backbones)} backbones, those nearest to the best."
            if len({b for b, _ in found}) > len(backbones)
            else "",
            left_out,
        ),
        partial(style.drawn, make=partial(_figure, title, found, backbones, datasets)),
    )


def _behind(found: Cells) -> dict[tuple[str, str], float]:
    """Points below the dataset's best."""
    best: dict[str, float] = {}
    for (_, dataset), cell in found.items():
        best[dataset] = max(best.get(dataset, 0.0), cell.value)
    return {key: best[key[1]] - cell.value for key, cell in found.items()}


def _ordered(found: Cells) -> tuple[list[str], list[str]]:
    """Backbones from the best on, by their mean distance from it; datasets as first met."""
    behind = _behind(found)

    def mean(backbone: str) -> float:
        values = [v for (name, _), v in behind.items() if name == backbone]
        return sum(values) / len(values)

    backbones = sorted({name for name, _ in found}, key=lambda name: (mean(name), name))
    datasets = list(dict.fromkeys(dataset for _, dataset in found))
    return backbones[:MOST_BACKBONES], datasets[:MOST_DATASETS]


def _alt(found: Cells, datasets: Sequence[str]) -> str:
    said = []
    for dataset in datasets:
        cell, name = max((c, b) for (b, d), c in _sortable(found) if d == dataset)
        said.append(f"{style.clean(dataset)} {style.clean(name)} with {cell:.1f}%")
    count = len({b for b, _ in found})
    return (
        f"Test accuracy of {count} backbones on {len(datasets)} datasets, each with the strategy "
        f"that val chose. The highest: {'; '.join(said)}."
    )


def _sortable(found: Cells) -> list[tuple[tuple[str, str], float]]:
    return [(key, cell.value) for key, cell in found.items()]


def _figure(
    title: str, found: Cells, backbones: Sequence[str], datasets: Sequence[str], colours: Colours
) -> "Figure":
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    sheet = style.sheet(title, 1, max(1.9, 0.9 + 0.48 * len(backbones)))
    figure, axes = sheet.figure, sheet.axes[0]
    behind = _behind(found)
    values = np.array([[behind.get((b, d), np.nan) for d in datasets] for b in backbones])
    span = max(LEAST_SPAN, float(np.nanmax(values)))
    shades = LinearSegmentedColormap.from_list("behind", colours.scale)
    drawn = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap=shades, vmin=0, vmax=span, edgecolors=colours.paper,
        linewidth=1.5,
    )  # fmt: skip
    axes.grid(visible=False)
    for edge in axes.spines.values():
        edge.set_visible(False)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    labels = [style.wrapped(name, 18, 2) for name in datasets]
    turned = 35 if len(datasets) > 6 else 0
    axes.set_xticks(
        [i + 0.5 for i in range(len(datasets))], labels, rotation=turned,
        ha="right" if turned else "center",
    )  # fmt: skip
    axes.set_yticks([i + 0.5 for i in range(len(backbones))], [style.wrapped(b) for b in backbones])
    _numbers(axes, found, backbones, datasets, lambda v: shades(v / span), behind, colours)
    bar = figure.colorbar(
        drawn, ax=axes, anchor=(0.0, 1.0), shrink=min(1.0, 3.0 / (0.48 * len(backbones) + 0.5))
    )
    bar.set_label("points below\nthe dataset's best")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.ax.invert_yaxis()
    return figure


def _numbers(
    axes: "Axes",
    found: Cells,
    backbones: Sequence[str],
    datasets: Sequence[str],
    shade: "Callable[[float], tuple[float, ...]]",
    behind: Mapping[tuple[str, str], float],
    colours: Colours,
) -> None:
    for row, backbone in enumerate(backbones):
        for column, dataset in enumerate(datasets):
            cell = found.get((backbone, dataset))
            at = (column + 0.5, row + 0.5)
            if cell is None:
                axes.annotate("–", at, ha="center", va="center", color=colours.faint)
                continue
            ink = readable_on(shade(behind[backbone, dataset]))
            offset: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "color": ink}
            named = len(datasets) <= 6
            axes.annotate(
                f"{cell.value:.1f}", at, (0, 5 if named else 0), va="center",
                fontweight="bold", fontsize=10, gid="number", **offset,
            )  # fmt: skip
            if named:
                label = style.clean(cell.strategy, 20)
                axes.annotate(label, at, (0, -7), va="center", fontsize=9, **offset)


def readable_on(shade: Sequence[float]) -> str:
    """Black or white, whichever has more contrast on a colour (WCAG 2.1, relative luminance).

    Args:
        shade: red, green and blue, 0 to 1; what follows is not looked at.
    """
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in shade[:3]]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (light + 0.05) / 0.05 > 1.05 / (light + 0.05) else "#ffffff"


HEAT_MAP = Plot(
    "heat-map",
    "Backbones by datasets",
    "test accuracy of each backbone on each dataset, with the strategy that val chose",
    "trials that ended well, of two backbones or more on two datasets or more",
    _panels,
)
