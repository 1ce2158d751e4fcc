"""Freeze strategies beside each other, for each field."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import naming
from bench.analysis.evidence import Evidence, Line
from bench.reporting import forms
from bench.reporting.plots import chosen, style
from bench.reporting.plots.chosen import Sound, joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 5
"""Trials of one backbone and strategy that have their intervals drawn; more are faint dots."""

MOST_STRATEGIES = 12


def _panels(evidence: Evidence) -> Iterator[Panel]:
    for field in chosen.sound(evidence):
        if field.lines:
            yield _panel(field)


def _panel(field: Sound) -> Panel:
    title = f"{field.name}: freeze strategies"
    order = ordered(field.lines)
    return Panel(
        stem("freezes", field.name),
        style.clean(title, 120),
        _alt(field, order),
        _caption(field, order),
        partial(style.drawn, make=partial(_figure, title, field, order)),
    )


def ordered(lines: Sequence[Line]) -> list[str]:
    """Labels of freeze strategies, from the fewest to the most trainable parameters."""
    counts: dict[str, list[float]] = {}
    for line in lines:
        trains = line.cost("trainable_parameters")
        counts.setdefault(line.group.spec.freeze.label, []).append(trains.value if trains else 0.0)
    return sorted(counts, key=lambda label: (max(counts[label]), label))


def _best(lines: Sequence[Line], field: Sound) -> Line:
    return max(lines, key=lambda line: field.accuracies[line.number].value)


def _alt(field: Sound, order: Sequence[str]) -> str:
    said = []
    for label in order[:MOST_STRATEGIES]:
        best = _best([x for x in field.lines if x.group.spec.freeze.label == label], field)
        value = field.accuracies[best.number].value
        said.append(f"{style.clean(label)} {value:.1f}% ({style.clean(best.backbone)})")
    return (
        f"Test accuracy on {style.clean(field.name, 60)} by freeze strategy, from the fewest to "
        f"the most trainable parameters; the highest of each: {', '.join(said)}."
    )


def _caption(field: Sound, order: Sequence[str]) -> str:
    count = len(field.lines)
    left = len(order) - MOST_STRATEGIES
    told = naming.differing(field.lines).values()
    others = ", ".join(dict.fromkeys(trait for traits in told for trait in traits))
    return joined(
        f"{count:,} {chosen.trials(count)}; bars: 95% interval of the test accuracy, over pictures "
        "and seeds.",
        "Under a strategy's name: how many parameters train in the last phase.",
        f"Trials of one backbone and strategy also differ in {style.clean(others, 120)}; where "
        f"they are more than {FEW}, all are faint, without intervals."
        if others
        else "",
        f"{left:,} more strategies are not drawn." if left > 0 else "",
        field.left_out,
        field.doubts,
    )


def _figure(title: str, field: Sound, order: Sequence[str], colours: Colours) -> "Figure":
    shown = list(order[:MOST_STRATEGIES])
    backbones = sorted({line.backbone for line in field.lines})
    slots = min(len(backbones), style.NAMED)
    height = 1.0 + len(shown) * max(0.5, (0.17 if slots < 9 else 0.12) * slots + 0.22)
    sheet = style.sheet(title, 1, height)
    looks = style.looks(backbones, colours)
    _draw(sheet.axes[0], field, shown, looks)
    _labels(sheet.axes[0], field, shown)
    keys = [(style.key(*looks.of(name), colours), name) for name in backbones[: style.NAMED]]
    if len(backbones) > style.NAMED:
        keys.append((style.key(*looks.of(""), colours), f"{len(backbones) - style.NAMED} others"))
    style.legend(sheet, [("backbone", keys)])
    return sheet.figure


def _draw(axes: "Axes", field: Sound, shown: Sequence[str], looks: style.Looks) -> None:
    others = any(line.backbone not in looks for line in field.lines)
    slots = len(looks.names) + others
    style.as_pixels(axes)
    for place, label in enumerate(shown):
        here = [x for x in field.lines if x.group.spec.freeze.label == label]
        for slot, name in enumerate((*looks.names, None)):
            same = [x for x in here if (x.backbone == name if name else x.backbone not in looks)]
            if same:
                middle = place + (slot - (slots - 1) / 2) * 0.7 / slots
                _dots(
                    axes,
                    same,
                    field,
                    middle,
                    0.7 / slots,
                    (*looks.of(name or ""), looks.colours.paper),
                )


def _dots(
    axes: "Axes",
    lines: Sequence[Line],
    field: Sound,
    middle: float,
    room: float,
    look: tuple[str, str, style.Fill, str],
) -> None:
    marker, colour, fill, _ = look
    found = [field.accuracies[line.number] for line in lines]
    count, few = len(found), len(found) <= FEW
    ys = [middle + room * 0.8 * ((i + 0.5) / count - 0.5) for i in range(count)]
    axes.plot(
        [a.value for a in found],
        ys,
        linestyle="none",
        marker=marker,
        fillstyle=fill,
        color=colour,
        markerfacecoloralt=look[3],
        markersize=7 if few else 3.5,
        alpha=1.0 if few else 0.4,
        zorder=3 if few else style.FAINT,
        gid="trials",
    )
    if few:
        axes.errorbar(
            [a.value for a in found],
            ys,
            xerr=[[a.value - a.low for a in found], [a.high - a.value for a in found]],
            fmt="none",
            ecolor=colour,
            elinewidth=1.3,
            alpha=0.6,
        )


def _labels(axes: "Axes", field: Sound, shown: Sequence[str]) -> None:
    axes.grid(axis="y", visible=False)
    for place in range(1, len(shown)):
        axes.axhline(place - 0.5, color="0.5", linewidth=0.6, alpha=0.3)
    axes.tick_params(left=False)
    axes.set_xlabel("test accuracy, %")
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), [_named(label, field) for label in shown])


def _named(label: str, field: Sound) -> str:
    counts = [
        cost.value
        for line in field.lines
        if line.group.spec.freeze.label == label and (cost := line.cost("trainable_parameters"))
    ]
    name = style.wrapped(label, 20)
    if not counts:
        return name
    low, high = forms.count(min(counts)), forms.count(max(counts))
    return f"{name}\n{low}" if low == high else f"{name}\n{low} – {high}"


FREEZES = Plot(
    "freezes",
    "Freeze strategies",
    "test accuracy of each freeze strategy, from the fewest to the most trainable parameters",
    "trials that ended well",
    _panels,
)
