"""The table of a results folder, for a terminal, a document or a spreadsheet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.analysis import naming
from bench.analysis.accuracy_stats import accuracy
from bench.analysis.ranking import Ranked, Standing, ranked
from bench.analysis.speeds import Speeds
from bench.analysis.stats import Estimate
from bench.analysis.summary import Group, Spread
from bench.analysis.time_to_accuracy import spent
from bench.costs import CostResult
from bench.records import TrialResult
from bench.reporting.forms import Cell, count, duration, printed, with_notes
from bench.reporting.notes import BEST, INTERVAL, notes, on_time


@dataclass(frozen=True)
class Column:
    """One column: its heading, and its cell for a group."""

    title: str
    cell: Callable[[Group], Cell]


def percent(spread: Spread | None) -> str:
    """``97.1 ± 0.3``: accuracy in percent, mean and deviation over seeds."""
    if spread is None:
        return "–"
    mean = f"{100 * spread.mean:.1f}"
    return mean if spread.deviation is None else f"{mean} ± {100 * spread.deviation:.1f}"


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def _speed(group: Group, speeds: Speeds) -> str:
    """Of both phases: of the trials' own steps, or else as it was measured apart."""

    def of(phase: int) -> str:
        own = _mean(group.phase(phase, lambda p: p.images_per_second))
        if own is not None:
            return f"{own:.0f}"
        apart = speeds.row(group.spec, group.stack, phase)
        if apart is None or apart.device is None:
            return "–"
        return f"{apart.device.median:.0f}{APART}{'?' if apart.doubtful else ''}"

    return f"{of(1)} / {of(2)}"


def trainable(group: Group) -> str:
    """``12,810 / 1.20 M``: how many parameters train in phase 1 and 2."""
    counts = [_mean(group.phase(n, lambda p: p.trainable_parameters)) for n in (1, 2)]
    return " / ".join(count(c) for c in counts)


APART = "*"
"""Marks throughput that was measured apart from the trial."""


def seeds(group: Group) -> str:
    """``3``; ``2 of 3`` where one has no result and so is in no mean."""
    finished, tried = len(group.finished), len(group.rows)
    return str(tried) if finished == tried else f"{finished} of {tried}"


IDENTITY = (
    Column("backbone", lambda g: g.spec.backbone.name),
    Column("dataset", lambda g: g.spec.data.dataset.name),
    Column("freeze", naming.freeze),
)
"""For people: which trial a line is about."""


def interval(estimate: Estimate | None) -> str | None:
    """``95.1–98.8``: where the recipe's accuracy lies."""
    if estimate is None:
        return None
    return f"{100 * estimate.interval.low:.1f}–{100 * estimate.interval.high:.1f}"


def _estimate(group: Group) -> Estimate | None:
    correct = group.correct
    return None if correct is None else accuracy(correct)


Standings = Mapping[int, Standing]
"""Of each group, by its ``id``."""


def measured(speeds: Speeds, standings: Standings) -> tuple[Column, ...]:
    """For people: what came out. Time is wall time per trial, mean over seeds."""
    return (
        Column("seeds", seeds),
        Column("val % phase 1", lambda g: percent(g.phase(1, lambda p: p.val_accuracy))),
        Column("val % phase 2", lambda g: percent(g.phase(2, lambda p: p.val_accuracy))),
        Column("test %", lambda g: percent(g.spread(lambda r: r.test_accuracy))),
        Column(INTERVAL, lambda g: interval(_estimate(g))),
        Column(BEST, lambda g: standings[id(g)]),
        Column("trainable phase 1 / 2", trainable),
        Column("parameters", lambda g: count(_mean(g.spread(lambda r: r.total_parameters)))),
        Column("train img/s 1 / 2", lambda g: _speed(g, speeds)),
        Column("time", lambda g: duration(_mean(g.spread(lambda r: r.seconds)))),
        Column("status", lambda g: g.status),
        Column("guards", lambda g: g.guards),
    )


def _spread_columns(title: str, of: Callable[[Group], Spread | None]) -> list[Column]:
    def deviation(group: Group) -> float | None:
        spread = of(group)
        return spread.deviation if spread else None

    return [
        Column(f"{title}_mean", lambda g: _mean(of(g))),
        Column(f"{title}_deviation", deviation),
    ]


def _phase_mean(number: int, title: str) -> Column:
    return Column(
        f"phase{number}_{title}", lambda g: _mean(g.phase(number, lambda p: getattr(p, title)))
    )


TIDY = (
    Column("trial", lambda g: g.spec.key),
    Column("stack", lambda g: g.stack.id),
    Column("backbone", lambda g: g.spec.backbone.name),
    Column("weights", lambda g: naming.weights(g.spec.backbone)),
    Column("dataset", lambda g: g.spec.data.dataset.name),
    Column("image_size", lambda g: g.spec.data.image_size),
    Column("train_examples", lambda g: g.spec.data.train_examples),
    Column("train_per_class", lambda g: g.spec.data.train_per_class),
    Column("head", lambda g: g.spec.head.name),
    Column("freeze", lambda g: g.spec.freeze.label),
    Column("freeze_resolved", lambda g: naming.freeze(g).rpartition(" → ")[2]),
    Column("batch_norm", lambda g: g.spec.batch_norm),
    Column("views", naming.views),
    Column("trap", lambda g: g.spec.trap),
    Column("seeds", lambda g: len(g.rows)),
    Column("finished", lambda g: len(g.finished)),
    *_spread_columns("phase1_val_accuracy", lambda g: g.phase(1, lambda p: p.val_accuracy)),
    *_spread_columns("phase2_val_accuracy", lambda g: g.phase(2, lambda p: p.val_accuracy)),
    *_spread_columns("test_accuracy", lambda g: g.spread(lambda r: r.test_accuracy)),
    Column("test_accuracy_low", lambda g: e.interval.low if (e := _estimate(g)) else None),
    Column("test_accuracy_high", lambda g: e.interval.high if (e := _estimate(g)) else None),
    _phase_mean(1, "trainable_parameters"),
    _phase_mean(2, "trainable_parameters"),
    Column("total_parameters", lambda g: _mean(g.spread(lambda r: r.total_parameters))),
    _phase_mean(1, "images_per_second"),
    _phase_mean(2, "images_per_second"),
    _phase_mean(1, "input_wait"),
    _phase_mean(2, "input_wait"),
    Column("ways", lambda g: " or ".join(sorted({r.way for r in g.rows}))),
    Column("seconds", lambda g: _mean(g.spread(lambda r: r.seconds))),
    Column("status", lambda g: g.status),
    Column("reasons", lambda g: g.reasons),
    Column("guards", lambda g: g.guards),
)
"""For programs: plain numbers, accuracies from 0 to 1. ``trial`` is the key of the lowest seed;
means and deviations are over the ``finished`` seeds."""


def _measured_apart(speeds: Speeds) -> tuple[Column, ...]:
    return (
        Column("phase1_stock_images_per_second", lambda g: speeds.of(g.spec, g.stack, 1)),
        Column("phase2_stock_images_per_second", lambda g: speeds.of(g.spec, g.stack, 2)),
    )


def _time_to(target: float, speeds: Speeds) -> tuple[Column, ...]:
    """For people: epochs and time until val reached an accuracy, on average over seeds."""

    def epochs(group: Group) -> str | None:
        found = spent(group, target, speeds)
        if found.epochs is None:
            return "never" if found.finished else None
        some = f" ({found.reached} of {found.finished})" if found.reached < found.finished else ""
        return f"{found.epochs:.3g}{some}"

    title = f"val {100 * target:g}%"
    return (
        Column(f"epochs to {title}", epochs),
        Column(f"time to {title}", lambda g: duration(spent(g, target, speeds).seconds)),
    )


def _plain_time_to(target: float, speeds: Speeds) -> tuple[Column, ...]:
    """For programs."""
    return (
        Column("target_val_accuracy", lambda _: target),
        Column("target_reached", lambda g: spent(g, target, speeds).reached),
        Column("epochs_to_target", lambda g: spent(g, target, speeds).epochs),
        Column("seconds_to_target", lambda g: spent(g, target, speeds).seconds),
    )


def render(
    rows: Sequence[TrialResult],
    form: str,
    costs: Sequence[CostResult] = (),
    target: float | None = None,
    known: Ranked | None = None,
) -> str:
    """The table of these rows.

    Args:
        rows: of one or several stacks.
        form: a key of `bench.reporting.forms.FORMATS`.
        costs: measured apart; they fill the columns of throughput.
        target: a val accuracy, 0 to 1, to show the time to; None for no such columns.
        known: what `ranking.ranked` makes of the rows, where that was done already.
    """
    found, speeds = known or ranked(rows), Speeds(costs)
    groups = found.groups
    standings = dict(zip(map(id, groups), found.standings, strict=True))
    if form == "csv":
        columns = [*TIDY, Column("standing", lambda g: standings[id(g)])]
        columns += _measured_apart(speeds) if costs else ()
        columns += _plain_time_to(target, speeds) if target else ()
    else:
        columns = [*identity(groups), *_told(measured(speeds, standings), groups)]
        columns += _time_to(target, speeds) if target else ()
    cells = [[c.cell(g) for c in columns] for g in groups]
    return printed([c.title for c in columns], cells, form)


def _told(columns: Sequence[Column], groups: Sequence[Group]) -> list[Column]:
    """Without an interval, and who is best, where no row tells."""
    return [c for c in columns if c.title not in (INTERVAL, BEST) or any(map(c.cell, groups))]


def identity(groups: Sequence[Group]) -> list[Column]:
    """Columns that tell the lines apart; the trial's key where nothing else does."""
    differ = [_column(trait, groups) for trait in naming.traits(groups)]
    columns = [*(c for c in differ if c.title == "stack"), *IDENTITY]
    columns += [c for c in differ if c.title != "stack"]
    if len({tuple(c.cell(g) for c in columns) for g in groups}) < len(groups):
        columns.append(Column("trial", lambda g: g.spec.key[: naming.KEY_SHOWN]))
    return columns


def _column(trait: naming.Trait, groups: Sequence[Group]) -> Column:
    """A trait; stacks are called by what they differ in."""
    if trait is not naming.STACK:
        return Column(trait.name, trait.of)
    short = naming.stacks(group.stack for group in groups)
    return Column(trait.name, lambda g: short[g.stack.id])


def document(
    rows: Sequence[TrialResult],
    form: str = "markdown",
    costs: Sequence[CostResult] = (),
    target: float | None = None,
) -> str:
    """What ``bench show`` prints of trials: the table as in `render`, and below it `notes`."""
    found = ranked(rows)
    told = [*notes(rows, found), *(on_time(rows) if target else ())]
    table = render(rows, form, costs, target, found)
    if APART in table and form != "csv":
        told.append(
            f"img/s{APART}: of the stock model, as `bench measure` found it on this suite (kernels "
            "need not be deterministic there); ?: in doubt, see there"
        )
    return with_notes(table, told, form)
