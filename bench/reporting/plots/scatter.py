"""Accuracy against what a trial costs, with the Pareto front."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import naming
from bench.analysis.evidence import Evidence
from bench.analysis.naming import Namer
from bench.analysis.trades import TWOFOLD
from bench.reporting.plots import chosen, labels, style
from bench.reporting.plots.chosen import Sound, joined
from bench.reporting.plots.clouds import AXES, Axis, Cloud, Dot, cut
from bench.reporting.plots.clouds import cloud as of_field
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MANY = 60
"""From so many points on those behind the front are faint, and have no intervals."""

LOGARITHMIC = 5.0


def plot(axis: Axis) -> Plot:
    """The plot of accuracy against this cost."""
    return Plot(
        axis.name,
        f"Accuracy against {axis.words}",
        f"test accuracy against {axis.words}, with the Pareto front",
        axis.needs,
        lambda evidence: _panels(axis, evidence),
    )


def _panels(axis: Axis, evidence: Evidence) -> Iterator[Panel]:
    for field in chosen.sound(evidence):
        found = of_field(axis, field)
        if found:
            yield _panel(axis, field, found)


def _panel(axis: Axis, field: Sound, cloud: Cloud) -> Panel:
    name, short = naming.namer(field.lines), naming.namer(field.lines, short=True)
    title = f"{field.name}: accuracy against {axis.words}"
    return Panel(
        stem(axis.name, field.name),
        style.clean(title, 120),
        _alt(axis, field, cloud, name),
        _caption(axis, field, cloud),
        partial(style.drawn, make=partial(_figure, axis, title, cloud, short)),
    )


# ---------------------------------------------------------------------------------------- words


def _alt(axis: Axis, field: Sound, cloud: Cloud, name: Namer) -> str:
    count = len(cloud.dots)
    front = [cloud.dots[i] for i in cloud.front.front]
    top, cheap = front[-1], front[0]
    said = f"The highest is {_told(axis, top, name)}"
    if cheap.x != top.x:
        best = "the fastest" if axis.better == "higher" else "the smallest"
        said += f"; {best} on the front is {_told(axis, cheap, name)}"
    return (
        f"Test accuracy against {axis.words} of {count:,} {chosen.trials(count)} "
        f"on {style.clean(field.name, 60)}. {said}."
    )


def _told(axis: Axis, dot: Dot, name: Namer) -> str:
    number = style.three_digits(dot.x)
    return f"{style.clean(name(dot.line), 80)} with {dot.y.value:.1f}% at {number} {axis.unit}"


def _caption(axis: Axis, field: Sound, cloud: Cloud) -> str:
    dots, maybe, missing = cloud.dots, len(cloud.front.maybe), cloud.missing
    drawn = f"{len(dots):,} {chosen.trials(len(dots))}"
    if len(dots) > MANY:
        drawn += f", those behind the front faint and, beyond {MANY}, without intervals"
    floor = cut(cloud)
    fallen = sum(dot.y.value < floor for dot in dots) if floor is not None else 0
    return joined(
        f"{drawn}.",
        "Vertical bars: 95% interval of the test accuracy, over pictures and seeds.",
        _measured(axis, dots),
        "Trials of equal cost are drawn side by side." if any(d.at != d.x for d in dots) else "",
        f"The stepped line is the Pareto front by the best guesses: {len(cloud.front.front):,} of "
        "them, which no other trial beats in both.",
        f"A ring marks {maybe:,} more whose interval reaches the front: they may belong to it."
        if maybe
        else "",
        f"Far below, and only named at the lower edge: {fallen:,} {chosen.trials(fallen)}."
        if fallen
        else "",
        f"Not drawn: {missing:,} {chosen.trials(missing)} whose cost was not measured"
        f"{' in that way' if axis.quantity in TWOFOLD else ''}."
        if missing
        else "",
        field.left_out,
        field.doubts,
    )


def _measured(axis: Axis, dots: Sequence[Dot]) -> str:
    text = axis.measured
    if axis.quantity in TWOFOLD:
        apart = dots[0].cost.apart
        text += ", as bench measure found it" if apart else ", as the trials saw them"
    if any(dot.cost.low is not None for dot in dots):
        text += "; horizontal bars: what 95% of the measurements lay between"
    doubtful = sum(dot.cost.doubtful for dot in dots)
    return text + (
        f"; {doubtful:,} in doubt (a busy machine, or bursts that differ)." if doubtful else "."
    )


# -------------------------------------------------------------------------------------- drawing


@dataclass(frozen=True)
class Looks:
    """Colour and fill of some backbones; of any other those of the rest."""

    names: Mapping[str, tuple[str, style.Fill]]
    colours: Colours

    def of(self, name: str) -> tuple[str, style.Fill]:
        """Of a backbone."""
        return self.names.get(name, (self.colours.faint, "full"))


def _figure(axis: Axis, title: str, cloud: Cloud, name: Namer, colours: Colours) -> "Figure":
    sheet = style.sheet(title, 1, 4.6)
    axes = sheet.axes[0]
    looks, markers = _looks(cloud, colours), _markers(cloud)
    _draw(axes, cloud, looks, markers, colours)
    _scales(axis, axes, cloud)
    _legend(sheet, cloud, looks, markers, colours)
    style.settle(sheet.figure)
    _name(axes, cloud, name, looks, markers)
    return sheet.figure


def _name(
    axes: "Axes", cloud: Cloud, name: Namer, looks: Looks, markers: Mapping[str, str]
) -> None:
    floor = axes.get_ylim()[0]
    front = [cloud.dots[i] for i in cloud.front.front]
    fallen = [dot for dot in cloud.dots if dot.y.value < floor]
    for dot in fallen:
        colour, fill = looks.of(dot.line.backbone)
        axes.plot(
            *([dot.at], [floor]),
            linestyle="none",
            marker=markers.get(dot.line.group.spec.freeze.label, "."),
            fillstyle=fill,
            color=colour,
            markerfacecoloralt=looks.colours.paper,
            markersize=8,
            clip_on=False,
            zorder=5,
            gid="below",
        )
    named = [(dot.at, floor, f"{dot.y.value:.1f}% ↓") for dot in fallen[: labels.MOST]]
    named += [(d.at, d.y.value, style.wrapped(name(d.line), 26)) for d in front if d not in fallen]
    points = [(d.at, max(d.y.value, floor)) for d in cloud.dots]
    shown = cloud.dots if len(cloud.dots) <= MANY else front
    bars = [(d.at, d.y.low, d.y.high) for d in shown]
    labels.place(axes, named, points, bars, looks.colours)


def _looks(cloud: Cloud, colours: Colours) -> Looks:
    names = _first([dot.line.backbone for dot in _ranked(cloud)])
    series, fills = colours.series, style.FILLS
    found = {name: (series[i % len(series)], fills[i % len(fills)]) for i, name in enumerate(names)}
    return Looks(found, colours)


def _markers(cloud: Cloud) -> Mapping[str, str]:
    names = _first([dot.line.group.spec.freeze.label for dot in _ranked(cloud)])
    return dict(zip(names, style.MARKERS, strict=False))


def _ranked(cloud: Cloud) -> list[Dot]:
    """Those on the front first, so that they are among the named ones."""
    first = [*cloud.front.front, *cloud.front.maybe]
    others = sorted(set(range(len(cloud.dots))) - set(first))
    return [cloud.dots[i] for i in (*first, *others)]


def _first(names: Sequence[str]) -> list[str]:
    return sorted([*dict.fromkeys(names)][: style.NAMED])


def _draw(
    axes: "Axes", cloud: Cloud, looks: Looks, markers: Mapping[str, str], colours: Colours
) -> None:
    front, maybe = set(cloud.front.front), set(cloud.front.maybe)
    many = len(cloud.dots) > MANY
    style.as_pixels(axes)
    _front_line(axes, cloud, colours)
    series: dict[tuple[str, str, bool], list[Dot]] = {}
    for i, dot in enumerate(cloud.dots):
        key = (dot.line.backbone, dot.line.group.spec.freeze.label, i in front)
        series.setdefault(key, []).append(dot)
    for (backbone, freeze, ahead), dots in series.items():
        colour, fill = looks.of(backbone)
        faint = many and not ahead
        axes.plot(
            [d.at for d in dots],
            [d.y.value for d in dots],
            linestyle="none",
            marker=markers.get(freeze, "."),
            fillstyle=fill,
            color=colour,
            markerfacecoloralt=colours.paper,
            markersize=4.5 if faint else 8,
            alpha=0.35 if faint else 1.0,
            zorder=style.FAINT if faint else 4,
            gid=f"{'front' if ahead else 'behind'}",
        )
        if not faint:
            _bars(axes, dots, colour)
    ringed = [cloud.dots[i] for i in sorted(maybe)]
    axes.plot(
        [d.at for d in ringed],
        [d.y.value for d in ringed],
        linestyle="none",
        marker="o",
        markersize=8 if many else 14,
        markerfacecolor="none",
        markeredgecolor=colours.faint,
        markeredgewidth=0.5 if many else 1.0,
        alpha=0.4 if many else 1.0,
        zorder=style.FAINT if many else 1.5,
        gid="maybe",
    )


def _bars(axes: "Axes", dots: Sequence[Dot], colour: str) -> None:
    axes.errorbar(
        [d.at for d in dots],
        [d.y.value for d in dots],
        yerr=[[d.y.value - d.y.low for d in dots], [d.y.high - d.y.value for d in dots]],
        xerr=[
            [max(0.0, d.x - (d.cost.low or d.cost.value) * d.x / d.cost.value) for d in dots],
            [max(0.0, (d.cost.high or d.cost.value) * d.x / d.cost.value - d.x) for d in dots],
        ],
        fmt="none",
        ecolor=colour,
        elinewidth=1.2,
        alpha=0.55,
        zorder=3,
    )


def _front_line(axes: "Axes", cloud: Cloud, colours: Colours) -> None:
    dots = [cloud.dots[i] for i in cloud.front.front]
    axes.plot(
        [d.at for d in dots],
        [d.y.value for d in dots],
        drawstyle="steps-post",
        color=colours.ink,
        alpha=0.6,
        linewidth=1.3,
        linestyle=(0, (4, 2)),
        zorder=1,
        gid="pareto",
    )


def _scales(axis: Axis, axes: "Axes", cloud: Cloud) -> None:
    from matplotlib.ticker import StrMethodFormatter

    xs = [dot.x for dot in cloud.dots]
    if max(xs) / min(xs) > LOGARITHMIC:
        style.logarithmic(axes)
    axes.margins(0.12, 0.1)
    axes.set_xlabel(axis.label)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_ylabel("test accuracy, %")
    floor = cut(cloud)
    if floor is not None:
        highest = max(dot.y.high for dot in cloud.dots)
        axes.set_ylim(floor, highest + 0.1 * (highest - floor))


def _legend(
    sheet: style.Sheet,
    cloud: Cloud,
    looks: Looks,
    markers: Mapping[str, str],
    colours: Colours,
) -> None:
    from matplotlib.lines import Line2D

    dots = cloud.dots

    def entries(
        names: Mapping[str, object], of: Callable[[Dot], str], make: "Callable[[str], Line2D]"
    ) -> "list[tuple[Line2D, str]]":
        found = [(make(name), name) for name in names]
        others = len({of(d) for d in dots} - set(names))
        return [*found, *([(make(""), f"{others:,} others")] if others else [])]

    def backbone(name: str) -> "Line2D":
        colour, fill = looks.of(name)
        return style.key("s", colour, fill, colours)

    def freeze(name: str) -> "Line2D":
        return style.key(markers.get(name, "."), colours.ink, "none", colours)

    front = Line2D([], [], color=colours.ink, alpha=0.6, linewidth=1.3, linestyle=(0, (4, 2)))
    ring = style.key("o", colours.faint, "none", colours, size=12)
    maybe = bool(cloud.front.maybe)
    style.legend(
        sheet,
        [
            ("backbone", entries(looks.names, lambda d: d.line.backbone, backbone)),
            ("freeze strategy", entries(markers, lambda d: d.line.group.spec.freeze.label, freeze)),
            ("Pareto front", [(front, "on it"), *([(ring, "may be on it")] if maybe else [])]),
        ],
    )


PLOTS = tuple(plot(axis) for axis in AXES)
