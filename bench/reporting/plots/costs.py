"""What backbones cost: throughput of every workload, latency, memory."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.analysis import naming
from bench.analysis.evidence import Evidence
from bench.costs import CostResult
from bench.reporting.plots import style
from bench.reporting.plots.chosen import joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BACKBONES, MOST_WORKLOADS, MOST_SERIES = 40, 6, 8
BETWEEN = 0.6
"""Of a bar's height, between two backbones."""


@dataclass(frozen=True)
class Bar:
    """A measured number, in the metric's unit, with what its interval reaches."""

    value: float
    low: float
    high: float
    doubtful: bool


@dataclass(frozen=True)
class Metric:
    """What is measured of a workload.

    Attributes:
        name: in files.
        words, unit: for people.
        interval: what error bars are of, for the caption.
        of: a row's; None where it was not measured.
        faster: whether more is better.
    """

    name: str
    words: str
    unit: str
    interval: str
    of: Callable[[CostResult], Bar | None]
    faster: bool


def _throughput(row: CostResult) -> Bar | None:
    rate = row.device
    return Bar(rate.median, rate.low, rate.high, row.doubtful) if rate else None


def _latency(row: CostResult) -> Bar | None:
    found = row.latency
    return Bar(found.median, found.median, found.p90, row.doubtful) if found else None


def _memory(row: CostResult) -> Bar | None:
    peak = row.memory.peak / 2**20 if row.memory else None
    return Bar(peak, peak, peak, False) if peak is not None else None


METRICS = (
    Metric(
        *("throughput", "throughput", "images/s"),
        "Bars: median; lines: what 95% of the timed bursts lay between.",
        _throughput,
        True,
    ),
    Metric(
        *("latency", "latency of a single picture", "ms"),
        "Bars: median; lines reach to the 90th percentile of single calls.",
        _latency,
        False,
    ),
    Metric(
        *("memory", "memory", "MiB"),
        "The most that was held, framework and model included; a single reading, without interval.",
        _memory,
        False,
    ),
)


@dataclass(frozen=True)
class Chart:
    """What one panel shows.

    Attributes:
        metric: of every bar.
        setting: what all bars have in common, beside the workload.
        backbones, workloads, series: names of what is drawn, in order.
        bars: by workload, backbone and series.
        left: names of what is not drawn for want of room.
    """

    metric: Metric
    setting: str
    backbones: tuple[str, ...]
    workloads: tuple[str, ...]
    series: tuple[str, ...]
    bars: Mapping[tuple[str, str, str], Bar]
    left: tuple[str, ...]


def _panels(evidence: Evidence) -> Iterator[Panel]:
    rows = [(source.name, row) for source in evidence.sources for row in source.costs]
    failed = [row for _, row in rows if row.status != "ok"]
    for metric in METRICS:
        settings: dict[str, list[tuple[str, CostResult]]] = {}
        for source, row in rows:
            if metric.of(row):
                settings.setdefault(_setting(row), []).append((source, row))
        for setting, same in settings.items():
            groups = _of_equal_backbones(same)
            for group in groups:
                chart = _chart(metric, setting, group)
                yield _panel(chart, failed, alone=len(groups) == 1)


def _of_equal_backbones(
    rows: Sequence[tuple[str, CostResult]],
) -> list[list[tuple[str, CostResult]]]:
    """Rows of the workloads that were measured of the same backbones, together."""
    measured: dict[str, set[str]] = {}
    for _, row in rows:
        measured.setdefault(row.spec.work, set()).add(row.spec.backbone.name)
    found: dict[frozenset[str], list[tuple[str, CostResult]]] = {}
    for source, row in rows:
        found.setdefault(frozenset(measured[row.spec.work]), []).append((source, row))
    return list(found.values())


def _setting(row: CostResult) -> str:
    """What speeds depend on beside backbone, workload, mode and stack."""
    spec = row.spec
    parts = [
        f"{spec.image_size} px",
        f"batch {spec.batch_size}" if spec.batch_size else "largest batch",
        *([f"head {spec.head.name}"] if spec.head.name != "linear" else []),
        *([spec.precision] if spec.precision != "auto" else []),
        *([spec.optimizer] if spec.optimizer != "adam" else []),
    ]
    return ", ".join(parts)


def _chart(metric: Metric, setting: str, rows: Sequence[tuple[str, CostResult]]) -> Chart:
    names = naming.sides((source, row.stack) for source, row in rows)
    modes = len({row.spec.mode for _, row in rows}) > 1
    bars: dict[tuple[str, str, str], Bar] = {}
    for source, row in rows:
        bar = metric.of(row)
        mode = {"default": "as it comes", "best": "fastest way"}[row.spec.mode] if modes else ""
        if bar:
            series = " · ".join(filter(None, (names[source, row.stack.id], mode)))
            bars[row.spec.work, row.spec.backbone.name, series] = bar
    all_of: tuple[tuple[Sequence[str], int], ...] = (
        (_ranked(bars, metric), MOST_BACKBONES),
        (sorted({work for work, _, _ in bars}), MOST_WORKLOADS),
        (list(dict.fromkeys(series for _, _, series in bars)), MOST_SERIES),
    )
    kept = [tuple(found[:most]) for found, most in all_of]
    left = tuple(name for found, most in all_of for name in found[most:])
    return Chart(metric, setting, kept[0], kept[1], kept[2], bars, left)


def _ranked(bars: Mapping[tuple[str, str, str], Bar], metric: Metric) -> list[str]:
    """Backbones, the best first: by their best bar of the first workload."""
    first = min(work for work, _, _ in bars)
    sign = -1 if metric.faster else 1
    best: dict[str, float] = {}
    for (work, backbone, _), bar in bars.items():
        if work == first:
            best[backbone] = min(best.get(backbone, math.inf), sign * bar.value)
    return sorted(best, key=lambda name: (best[name], name))


# ---------------------------------------------------------------------------------------- words


def _panel(chart: Chart, failed: Sequence[CostResult], alone: bool) -> Panel:
    work = chart.workloads[0] if len(chart.workloads) == 1 else ""
    title = ", ".join(filter(None, (chart.setting, work)))
    title = f"{chart.metric.words.capitalize()} by backbone: {title}"
    return Panel(
        stem("costs", chart.metric.name, chart.setting, "" if alone else chart.workloads[0]),
        style.clean(title, 120),
        _alt(chart),
        _caption(chart, failed),
        partial(style.drawn, make=partial(_figure, title, chart)),
    )


def _alt(chart: Chart) -> str:
    said = []
    pick = max if chart.metric.faster else min
    for workload in chart.workloads:
        here = {key: bar.value for key, bar in chart.bars.items() if key[0] == workload}
        best = pick(here, key=lambda key: here[key])
        worst = (min if chart.metric.faster else max)(here, key=lambda key: here[key])
        text = f"{workload}: {_told(chart, best, here[best])}"
        said.append(text if best == worst else f"{text} to {_told(chart, worst, here[worst])}")
    count = len({key[1] for key in chart.bars})
    return (
        f"{chart.metric.words.capitalize()} of {count} {'backbone' if count == 1 else 'backbones'} "
        f"at {chart.setting}, from the best to the worst. {'; '.join(said)}."
    )


def _told(chart: Chart, key: tuple[str, str, str], value: float) -> str:
    _, backbone, series = key
    name = style.clean(backbone) + (f" ({style.clean(series, 60)})" if series else "")
    return f"{name} {style.three_digits(value)} {chart.metric.unit}"


def _caption(chart: Chart, failed: Sequence[CostResult]) -> str:
    doubtful = sum(bar.doubtful for bar in chart.bars.values())
    return joined(
        f"{chart.metric.words.capitalize()} in {chart.metric.unit}, as bench measure found it on "
        "the stock model with random weights, which change no speed.",
        chart.metric.interval,
        f"{doubtful:,} in doubt, with a ? beside the number: other work on the machine, or bursts "
        "that differ."
        if doubtful
        else "",
        f"Not drawn for want of room: {style.clean(', '.join(chart.left), 200)}."
        if chart.left
        else "",
        f"Left out: {len(failed):,} that did not run." if failed else "",
    )


# -------------------------------------------------------------------------------------- drawing


def _places(chart: Chart) -> dict[tuple[str, str], float]:
    """Where each bar of a backbone and series is; none is kept free for what nobody measured."""
    places: dict[tuple[str, str], float] = {}
    at = 0.0
    for backbone in chart.backbones:
        for series in chart.series:
            if any((work, backbone, series) in chart.bars for work in chart.workloads):
                places[backbone, series] = at
                at += 1.0
        at += BETWEEN
    return places


def _figure(title: str, chart: Chart, colours: Colours) -> "Figure":
    from matplotlib.ticker import StrMethodFormatter

    places, works = _places(chart), chart.workloads
    last = max(places.values(), default=0.0)
    sheet = style.sheet(title, len(works), max(1.5, 0.85 + 0.2 * (last + 1)), sharey=True)
    looks = style.looks(chart.series, colours)
    for i, (axes, workload) in enumerate(zip(sheet.axes, works, strict=True)):
        _draw(axes, chart, workload, places, looks)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        if len(works) > 1:
            axes.set_title(style.clean(workload, 40))
        if sheet.lowest(i):
            axes.set_xlabel(f"{chart.metric.words}, {chart.metric.unit}")
    sheet.axes[0].set_ylim(last + 0.7, -0.7)
    of = {name: [y for (b, _), y in places.items() if b == name] for name in chart.backbones}
    middles = [sum(of[name]) / max(len(of[name]), 1) for name in chart.backbones]
    sheet.axes[0].set_yticks(middles, [style.wrapped(name) for name in chart.backbones])
    if len(chart.series) > 1:
        _legend(sheet, chart, looks)
    return sheet.figure


def _draw(
    axes: "Axes",
    chart: Chart,
    workload: str,
    places: Mapping[tuple[str, str], float],
    looks: style.Looks,
) -> None:
    found = {
        (backbone, series): bar
        for (work, backbone, series), bar in chart.bars.items()
        if work == workload and (backbone, series) in places
    }
    for (backbone, series), bar in found.items():
        y = places[backbone, series]
        axes.barh(y, bar.value, height=0.84, gid="bar", **_fill(chart, series, looks))
        if bar.high > bar.low:
            ends = (bar.low, bar.high)
            axes.plot(ends, (y, y), color=looks.colours.ink, linewidth=1.3, gid="range")
        axes.annotate(
            style.three_digits(bar.value) + (" ?" if bar.doubtful else ""),
            (max(bar.high, bar.value), y),
            xytext=(4, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=9,
        )
    axes.set_xlim(0, 1.2 * max((max(bar.high, bar.value) for bar in found.values()), default=1.0))
    axes.grid(axis="y", visible=False)
    axes.tick_params(left=False)


def _fill(chart: Chart, series: str, looks: style.Looks) -> dict[str, Any]:
    hatch = style.HATCHES[chart.series.index(series) % len(style.HATCHES)]
    colour = looks.of(series)[1]
    return {"facecolor": colour, "edgecolor": looks.colours.paper, "linewidth": 0, "hatch": hatch}


def _legend(sheet: style.Sheet, chart: Chart, looks: style.Looks) -> None:
    from matplotlib.patches import Patch

    keys = [(Patch(**_fill(chart, name, looks)), name) for name in chart.series]
    style.legend(sheet, [("measured with", keys)])


COSTS = Plot(
    "costs",
    "What backbones cost",
    "throughput of inference and both phases, latency and memory of each backbone",
    "measurements: bench measure SUITE",
    _panels,
)
