"""Both phases end to end: accuracy over epochs, with the start of fine-tuning marked."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.analysis import naming
from bench.analysis.evidence import Evidence, Line
from bench.records import Epoch, TrialResult
from bench.reporting.plots import chosen, style
from bench.reporting.plots.chosen import Sound, joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.strategies import ordered
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEPARATE = 3
"""Up to so many seeds each have a line of their own; of more, a mean with a band is drawn."""

MOST_SERIES, MOST_STRATEGIES = 6, 9
TOLD = 2
"""Trials of a strategy whose course is told in words."""
DOTTED = 25
"""Up to so many epochs each of them has a dot."""


@dataclass(frozen=True)
class Curve:
    """One seed's accuracy, in percent, over where it is drawn.

    Attributes:
        epochs: from 1; where phase 2 is drawn from the end of the longest phase 1, some are left
            out in a seed that stopped before.
        val, train: of each.
    """

    epochs: tuple[int, ...]
    val: tuple[float, ...]
    train: tuple[float, ...]


@dataclass(frozen=True)
class Course:
    """The seeds of one line.

    Attributes:
        name: what tells it from other lines of its backbone and strategy.
        start: after so many epochs fine-tuning starts, in the longest phase 1; None where there is
            only one phase.
        ragged: whether its seeds ended a phase after different epochs.
        curves: one for each seed.
    """

    name: str
    start: int | None
    ragged: bool
    curves: tuple[Curve, ...]

    @property
    def epochs(self) -> tuple[int, ...]:
        """All epochs that any seed has."""
        return tuple(sorted({epoch for curve in self.curves for epoch in curve.epochs}))

    def over_seeds(self, train: bool = False) -> tuple[list[float], list[float], list[float]]:
        """Mean, lowest and highest val (or train) accuracy of the seeds that ran each epoch."""
        at = [dict(zip(c.epochs, c.train if train else c.val, strict=True)) for c in self.curves]
        found = [[c[epoch] for c in at if epoch in c] for epoch in self.epochs]
        return (
            [statistics.fmean(v) for v in found],
            [min(v) for v in found],
            [max(v) for v in found],
        )


def course(line: Line, name: str = "") -> Course | None:
    """The epochs of a line's finished seeds; None where they have none."""
    rows = [r for r in line.group.finished if _epochs(r, 1) or _epochs(r, 2)]
    if not rows:
        return None
    first = [len(_epochs(row, 1)) for row in rows]
    second = [len(_epochs(row, 2)) for row in rows]
    start = max(first)
    return Course(
        name,
        start if start and max(second) else None,
        len({*first}) > 1 or len({*second}) > 1,
        tuple(_curve(row, start) for row in rows),
    )


def _epochs(row: TrialResult, number: int) -> tuple[Epoch, ...]:
    phase = row.phase1 if number == 1 else row.phase2
    return phase.epochs if phase else ()


def _curve(row: TrialResult, start: int) -> Curve:
    one, two = _epochs(row, 1), _epochs(row, 2)
    return Curve(
        (*range(1, len(one) + 1), *range(start + 1, start + len(two) + 1)),
        tuple(100 * e.val_accuracy for e in (*one, *two)),
        tuple(100 * e.accuracy for e in (*one, *two)),
    )


# --------------------------------------------------------------------------------------- panels

Courses = Mapping[str, Sequence[Course]]
"""By freeze strategy."""


def _panels(evidence: Evidence) -> Iterator[Panel]:
    for field in chosen.sound(evidence):
        best = _ranked(field)
        for backbone in dict.fromkeys(line.backbone for line in field.lines):
            lines = [line for line in field.lines if line.backbone == backbone]
            courses = {label: _courses(label, lines) for label in ordered(lines)}
            known = {label: found for label, found in courses.items() if found}
            if known:
                yield _panel(field, backbone, known, best.index(backbone))


def _ranked(field: Sound) -> list[str]:
    """Backbones, the one with the highest accuracy first."""
    highest: dict[str, float] = {}
    for line in field.lines:
        value = field.accuracies[line.number].value
        highest[line.backbone] = max(value, highest.get(line.backbone, value))
    return sorted(highest, key=lambda name: -highest[name])


def _courses(label: str, lines: Sequence[Line]) -> list[Course]:
    here = [line for line in lines if line.group.spec.freeze.label == label]
    others = naming.differing(here)
    names = [", ".join(naming.said(others.get(line.number, {}))) for line in here]
    found = (course(line, name) for line, name in zip(here, names, strict=True))
    return [one for one in found if one]


def _panel(field: Sound, backbone: str, courses: Courses, rank: int) -> Panel:
    title = f"{backbone} on {field.name}: both phases"
    shown = {k: found[:MOST_SERIES] for k, found in list(courses.items())[:MOST_STRATEGIES]}
    return Panel(
        stem("history", field.name, backbone),
        style.clean(title, 120),
        _alt(field, backbone, shown),
        _caption(field, courses, shown),
        partial(style.drawn, make=partial(_figure, title, shown)),
        rank,
    )


def _alt(field: Sound, backbone: str, shown: Courses) -> str:
    said = [
        f"{style.clean(label)}{f' ({style.clean(one.name, 60)})' if one.name else ''} {_went(one)}"
        for label, found in shown.items()
        for one in found[:TOLD]
    ]
    names = f"{style.clean(backbone, 60)} on {style.clean(field.name, 60)}"
    return f"Val accuracy over epochs of {names}, mean over seeds: {'; '.join(said)}."


def _went(one: Course) -> str:
    """``from 71.0% to 90.2% in 6 epochs, fine-tuning from epoch 4 on (84.1% before)``."""
    means, _, _ = one.over_seeds()
    text = f"from {means[0]:.1f}% to {means[-1]:.1f}% in {one.epochs[-1]} epochs"
    if one.start is None:
        return text
    before = means[one.epochs.index(one.start)]
    return f"{text}, fine-tuning from epoch {one.start + 1} on ({before:.1f}% before)"


def _caption(field: Sound, courses: Courses, shown: Courses) -> str:
    drawn = [one for found in shown.values() for one in found]
    left = sum(map(len, courses.values())) - len(drawn)
    several = any(len(found) > 1 for found in shown.values())
    banded = any(len(one.curves) > SEPARATE for one in drawn)
    single = any(len(one.curves) <= SEPARATE for one in drawn)
    return joined(
        "Val accuracy over epochs."
        if several
        else "Val accuracy over epochs, train accuracy faint.",
        "A line for each seed." if single else "",
        "The mean over seeds, and a band from the lowest to the highest seed." if banded else "",
        "The vertical line is where fine-tuning (phase 2) starts."
        if any(one.start for one in drawn)
        else "",
        "Seeds stopped after different epochs: phase 2 is drawn from the end of the longest "
        "phase 1, and a mean is of the seeds that ran that epoch."
        if any(one.ragged for one in drawn)
        else "",
        ""
        if several
        else "Train accuracy is of the epoch as it ran, augmented and with dropout, so it may lie "
        "lower.",
        f"{left:,} more {chosen.trials(left)} of this backbone are not drawn." if left else "",
        field.left_out,
    )


# -------------------------------------------------------------------------------------- drawing


def _figure(title: str, shown: Courses, colours: Colours) -> "Figure":
    height = 3.9 if len(shown) <= 3 else 2.8
    sheet = style.sheet(title, len(shown), height, most_columns=3, sharex=True, sharey=True)
    names = list(dict.fromkeys(one.name for found in shown.values() for one in found))
    looks = style.looks(names, colours)
    several = any(len(found) > 1 for found in shown.values())
    for axis, (label, found) in zip(sheet.axes, shown.items(), strict=True):
        for one in found:
            _draw(axis, one, looks, train=not several)
        _start(axis, found, colours)
        axis.set_title(style.clean(label))
    _labels(sheet, "val accuracy, %" if several else "accuracy, %")
    _legend(sheet, shown, looks, several, colours)
    return sheet.figure


def _dash(one: str, looks: style.Looks) -> Any:
    place = looks.names.index(one) if one in looks else 0
    return style.DASHES[place % len(style.DASHES)]


def _draw(axes: "Axes", one: Course, looks: style.Looks, train: bool) -> None:
    marker, colour, fill = looks.of(one.name)
    dots: dict[str, Any] = {"marker": marker, "fillstyle": fill, "markersize": 4.5}
    dots = dots if one.epochs[-1] <= DOTTED else {}
    line: dict[str, Any] = {"color": colour, "linestyle": _dash(one.name, looks), "gid": "val"}
    dots = {**dots, "markerfacecoloralt": looks.colours.paper} if dots else dots
    if len(one.curves) > SEPARATE:
        means, lows, highs = one.over_seeds()
        for epochs, values in _parts(one.epochs, means, one.start):
            axes.plot(epochs, values, linewidth=1.8, **line, **dots)
        axes.fill_between(
            one.epochs, lows, highs, color=colour, alpha=0.18, linewidth=0, gid="band"
        )
    else:
        for curve in one.curves:
            for epochs, values in _parts(curve.epochs, curve.val, one.start):
                axes.plot(epochs, values, linewidth=1.5, alpha=0.9, **line, **dots)
    if train:
        mean = Curve(one.epochs, (), tuple(one.over_seeds(train=True)[0]))
        for curve in (mean,) if len(one.curves) > SEPARATE else one.curves:
            for epochs, values in _parts(curve.epochs, curve.train, one.start):
                axes.plot(
                    *(epochs, values),
                    color=looks.colours.faint,
                    linestyle=":",
                    linewidth=1.1,
                    marker="." if dots else "",
                    markersize=3,
                    alpha=0.8,
                    zorder=1.5,
                    gid="train",
                )


def _parts(
    epochs: Sequence[int], values: Sequence[float], start: int | None
) -> Iterable[tuple[Sequence[int], Sequence[float]]]:
    """One line, or two where a seed stopped before the longest phase 1 ended."""
    cut = next(
        (i for i in range(1, len(epochs)) if epochs[i] > epochs[i - 1] + 1 and start is not None),
        None,
    )
    if cut is None:
        return [(epochs, values)]
    return [(epochs[:cut], values[:cut]), (epochs[cut:], values[cut:])]


def _start(axes: "Axes", found: Sequence[Course], colours: Colours) -> None:
    starts = sorted({one.start for one in found if one.start is not None})
    for i, start in enumerate(starts):
        axes.axvline(start + 0.5, color=colours.ink, linewidth=1.1, alpha=0.7, gid="fine-tuning")
        if i == len(starts) - 1:
            axes.annotate(
                "fine-tuning",
                (start + 0.5, 0.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, 5),
                textcoords="offset points",
                fontsize=9,
                color=colours.ink,
            )


def _labels(sheet: style.Sheet, what: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = sheet.axes
    for i, one in enumerate(axes):
        one.tick_params(labelbottom=sheet.lowest(i))
        if sheet.lowest(i):
            one.set_xlabel("epoch")
        if sheet.leftmost(i):
            one.set_ylabel(what)
    axes[0].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    low, high = axes[0].get_xlim()
    if high - low < 1:
        axes[0].set_xlim(0.5, 1.5)


def _legend(
    sheet: style.Sheet, shown: Courses, looks: style.Looks, several: bool, colours: Colours
) -> None:
    from matplotlib.lines import Line2D

    def entry(name: str) -> Line2D:
        marker, colour, fill = looks.of(name)
        return Line2D(
            *([], []),
            color=colour,
            linestyle=_dash(name, looks),
            marker=marker,
            fillstyle=fill,
            markersize=5,
            markerfacecoloralt=colours.paper,
        )

    banded = any(len(o.curves) > SEPARATE for found in shown.values() for o in found)
    seeds = sorted({min(len(o.curves), 2) for found in shown.values() for o in found})
    val = "val, mean and range" if banded else "val" if seeds == [1] else "val, each seed"
    entries = [(entry(name), name or val) for name in looks.names]
    if several:
        style.legend(sheet, [("val accuracy", entries)])
        return
    train = Line2D([], [], color=colours.faint, linestyle=":", linewidth=1.1)
    style.legend(sheet, [("accuracy", [*entries, (train, "train, mean" if banded else "train")])])


HISTORY = Plot(
    "history",
    "Both phases end to end",
    "val accuracy over the epochs of both phases, the start of fine-tuning marked",
    "trials that ended well",
    _panels,
)
