"""What classic mistakes cost: each trap against the right protocol."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import fields, mistakes, naming
from bench.analysis.evidence import Evidence, Line
from bench.analysis.mistakes import Mistake
from bench.reporting.plots import chosen, rows, style
from bench.reporting.plots.chosen import joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.rows import Row
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _panels(evidence: Evidence) -> Iterator[Panel]:
    for field in fields.of(evidence.lines):
        pairs = list(mistakes.of(field.lines))
        if pairs:
            yield _panel(field.name, pairs, len(mistakes.trapped(field.lines)) - len(pairs))


def _panel(field: str, pairs: Sequence[Mistake], alone: int) -> Panel:
    title = f"{field}: what classic mistakes cost"
    lines = [pair.trapped for pair in pairs]
    found = sorted((_row(pair, lines) for pair in pairs), key=lambda row: row.value)
    shown = found[: rows.MOST]
    return Panel(
        stem("traps", field),
        style.clean(title, 120),
        _alt(field, found),
        joined(
            "Test accuracy with one mistake made on purpose, less that of the right protocol, "
            "paired on the test pictures; bars: 95% interval, over pictures and seeds. At the "
            "right: the guards that failed.",
            f"The {len(shown)} worst of {len(found):,} are drawn."
            if len(shown) < len(found)
            else "",
            f"Left out: {alone:,} {chosen.trials(alone)} without a result, or without the right "
            "protocol beside it."
            if alone
            else "",
        ),
        partial(style.drawn, make=partial(_figure, title, shown)),
    )


def _row(pair: Mistake, among: Sequence[Line]) -> Row:
    right, trapped = pair
    spec = trapped.group.spec
    several = {x.backbone for x in among}, {x.group.spec.freeze.label for x in among}
    parts = [str(spec.trap)]
    parts += [trapped.backbone] if len(several[0]) > 1 else []
    parts += [spec.freeze.label] if len(several[1]) > 1 else []
    same = [x for x in among if x.group.spec.trap == spec.trap]
    told = naming.differing(same).get(trapped.number, {})
    parts += naming.said({name: value for name, value in told.items() if name != "trap"})
    label = ", ".join(parts)
    note = ", ".join(pair.guards) or "no guard failed"
    if effect := pair.effect:
        value, low, high = (
            100 * v for v in (effect.estimate, effect.interval.low, effect.interval.high)
        )
        return Row(label, value, low, high, series=str(spec.trap), note=note)
    means = [line.test_accuracy for line in (right, trapped)]
    before, after = (mean.mean if mean else 0.0 for mean in means)
    return Row(label, 100 * (after - before), series=str(spec.trap), note=note)


def _alt(field: str, found: Sequence[Row]) -> str:
    worst = [f"{style.clean(row.label, 60)} {row.value:+.1f} points" for row in found[:8]]
    unseen = sum(row.note == "no guard failed" for row in found)
    return (
        f"Change of test accuracy on {style.clean(field, 60)} by mistakes made on purpose, "
        f"against the right protocol, the worst first: {', '.join(worst)}. "
        f"{unseen:,} of {len(found):,} were noticed by no guard."
    )


def _figure(title: str, shown: Sequence[Row], colours: Colours) -> "Figure":
    unit = "test accuracy, points against the right protocol"
    return rows.figure(title, shown, unit, "", "guards that failed", colours)


TRAPS = Plot(
    "traps",
    "What classic mistakes cost",
    "points of test accuracy that each trap costs, and the guards that noticed it",
    "trials of a suite with `traps`, the right protocol (none) among them",
    _panels,
)
