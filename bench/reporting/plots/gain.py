"""What phase 2 adds to phase 1."""

import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import naming
from bench.analysis.evidence import Evidence, Line
from bench.reporting.plots import chosen, rows, style
from bench.reporting.plots.chosen import Sound, joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.rows import Row
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _panels(evidence: Evidence) -> Iterator[Panel]:
    for field in chosen.sound(evidence):
        found = _rows(field)
        if found:
            yield _panel(field, found)


def gains(line: Line) -> list[float]:
    """Of each seed with both phases: points of val accuracy that phase 2 added."""
    return [
        100 * (row.phase2.val_accuracy - row.phase1.val_accuracy)
        for row in line.group.finished
        if row.phase1 and row.phase2
    ]


def _rows(field: Sound) -> list[Row]:
    name = naming.namer(field.lines)
    found = []
    for line in field.lines:
        seeds = gains(line)
        if seeds:
            mean = statistics.fmean(seeds)
            found.append(Row(name(line), mean, dots=tuple(seeds), series=line.backbone))
    return found


def _panel(field: Sound, found: Sequence[Row]) -> Panel:
    title = f"{field.name}: gain of phase 2 over phase 1"
    shown = rows.shown(found)
    return Panel(
        stem("gain", field.name),
        style.clean(title, 120),
        _alt(field, found),
        _caption(field, found, shown),
        partial(style.drawn, make=partial(_figure, title, shown)),
    )


def _alt(field: Sound, found: Sequence[Row]) -> str:
    first, last = max(found, key=lambda r: r.value), min(found, key=lambda r: r.value)
    less = sum(row.value < 0 for row in found)
    more = f", the smallest {last.value:+.1f} points ({style.clean(last.label, 80)})"
    return (
        f"Gain in val accuracy from phase 1 to phase 2 on {style.clean(field.name, 60)}, mean "
        f"over seeds: the largest is {first.value:+.1f} points ({style.clean(first.label, 80)})"
        f"{more if len(found) > 1 else ''}; {less:,} of {len(found):,} lost accuracy."
    )


def _caption(field: Sound, found: Sequence[Row], shown: Sequence[Row]) -> str:
    single = len(field.lines) - len(found)
    return joined(
        "Val accuracy at the end of phase 2 less that at the end of phase 1: the mean over seeds, "
        "and a dot for each seed. No interval: seeds are few, and val is small.",
        f"Of {len(found):,} trials those {len(shown):,} with the largest and smallest gains are "
        "drawn."
        if len(shown) < len(found)
        else "",
        f"Left out: {single:,} {chosen.trials(single)} with one phase only." if single else "",
        field.left_out,
        field.doubts,
    )


def _figure(title: str, shown: Sequence[Row], colours: Colours) -> "Figure":
    unit = "val accuracy, points over phase 1"
    return rows.figure(title, shown, unit, "backbone", "", colours)


GAIN = Plot(
    "gain",
    "Gain of phase 2 over phase 1",
    "points of val accuracy that fine-tuning added, for each trial and seed",
    "trials with both phases that ended well",
    _panels,
)
