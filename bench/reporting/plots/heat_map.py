"""Backbones by datasets, with the accuracy of the strategy that val chose."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import fields, naming
from bench.analysis.evidence import Evidence, Line
from bench.reporting.plots import chosen, style
from bench.reporting.plots.chosen import Sound, joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BACKBONES, MOST_DATASETS = 40, 12
NAMED = 6
"""With more datasets the cells have no room for the strategy's name."""
LEAST_SPAN = 5.0
"""Points that the colours span at the least, so that noise is not painted in all of them."""


@dataclass(frozen=True)
class Cell:
    """The trial that val chose: its test accuracy in percent, and its freeze strategy."""

    value: float
    strategy: str


Cells = Mapping[tuple[str, str], Cell]
"""By backbone, and the name of a field."""


def _panels(evidence: Evidence) -> Iterator[Panel]:
    names = naming.sides((line.source, line.group.stack) for line in evidence.lines)
    for side, name in names.items():
        # Called by what tells them apart here, not from those of other folders and stacks.
        here = fields.of(line for line in evidence.lines if (line.source, line.stack) == side)
        sound = chosen.of_fields(here)
        found = cells(sound)
        backbones, datasets = ({key[i] for key in found} for i in (0, 1))
        if len(backbones) > 1 and len(datasets) > 1:
            left = " ".join(f"{f.name}: {f.left_out}" for f in sound if f.left_out)
            yield _panel(name, found, left)


def cells(sound: Sequence[Sound]) -> dict[tuple[str, str], Cell]:
    """For each backbone and field the trial with the highest val accuracy, mean over seeds."""
    best: dict[tuple[str, str], tuple[float, Line]] = {}
    for name, line in ((field.name, line) for field in sound for line in field.lines):
        val = line.group.spread(lambda r: r.last_phase.val_accuracy if r.last_phase else None)
        key = (line.backbone, name)
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
            "best backbone of the dataset. An empty cell was not measured.",
            f"Drawn: {len(backbones)} backbones, those nearest to the best."
            if len({b for b, _ in found}) > len(backbones)
            else "",
            f"Of {count} sets of pictures the first {len(datasets)} are drawn."
            if (count := len({d for _, d in found})) > len(datasets)
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
    import seaborn
    from matplotlib.colors import LinearSegmentedColormap

    tall = 0.48 * len(backbones)
    sheet = style.sheet(title, 1, max(1.9, 0.9 + tall))
    axes = sheet.axes[0]
    behind = _behind(found)
    values = [[behind.get((b, d), math.nan) for d in datasets] for b in backbones]
    span = max(LEAST_SPAN, *behind.values())
    shades = LinearSegmentedColormap.from_list("behind", colours.scale)
    seaborn.heatmap(
        values,
        ax=axes,
        vmin=0,
        vmax=span,
        cmap=shades,
        linewidths=1.5,
        linecolor=colours.paper,
        annot=[[_said(found.get((b, d)), len(datasets)) for d in datasets] for b in backbones],
        fmt="",
        xticklabels=[style.wrapped(name, 18, 2) for name in datasets],
        yticklabels=[style.wrapped(name) for name in backbones],
        cbar_kws={
            "label": "points below\nthe dataset's best",
            "anchor": (0.0, 1.0),
            "shrink": min(1.0, 3.0 / (tall + 0.5)),
        },
    )
    for text in axes.texts:
        column, row = map(int, text.get_position())
        text.set_color(readable_on(shades(values[row][column] / span)))
    _tidy(axes, turned=len(datasets) > NAMED)
    return sheet.figure


def _said(cell: Cell | None, datasets: int) -> str:
    """Of a cell: the accuracy, and where there is room the strategy below it."""
    if cell is None:
        return ""
    return f"{cell.value:.1f}" + (
        f"\n{style.clean(cell.strategy, 20)}" if datasets <= NAMED else ""
    )


def _tidy(axes: "Axes", turned: bool) -> None:
    axes.tick_params(length=0, rotation=0)
    if turned:
        axes.tick_params(axis="x", rotation=35)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    bar = axes.collections[0].colorbar
    assert bar is not None
    bar.ax.tick_params(length=0)
    bar.ax.invert_yaxis()


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
