"""The answer, computed: which trial is the best on each dataset, at what price, and how sure.

    Evidence -> an Answer for each field (`bench.reporting.answers` words it)

Trials that made a mistake on purpose, and those that froze random weights, are never the best.
Those whose guards failed may be, and `Answer.doubts` says so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis import fields
from bench.analysis import trades as prices
from bench.analysis.evidence import Evidence, Line
from bench.analysis.fields import Field
from bench.analysis.stats import Effect
from bench.analysis.trades import TRADED, Choice, Trade, effect_of, height, mean
from bench.records import Freeze, TrialResult

WIDE = 0.05
"""An accuracy whose interval is wider than this is in doubt."""

DoubtKind = Literal[
    "guards",
    "single_seed",
    "wide",
    "no_interval",
    "no_test",
    "busy",
    "failed",
    "random",
    "traps",
    "apart",
]
"""``guards``: of the best failed; ``single_seed``: of the best; ``wide``: interval of the best;
``no_interval``: accuracy is known, but not picture by picture; ``no_test``: finished without a test
accuracy; ``busy``: costs measured on a busy machine; ``failed``: seeds without a result;
``random``: frozen random weights; ``traps``: mistakes on purpose; ``apart``: seeds that measured
something else than others of their trial."""


@dataclass(frozen=True)
class Doubt:
    """What a reader must know before believing the answer.

    Attributes:
        kind: of doubt.
        lines: that it is about.
    """

    kind: DoubtKind
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Gain:
    """What pretraining, or phase 2, buys.

    Attributes:
        kind: which of the two.
        line: with it: the highest of those that compare.
        against: without it: from scratch, or the head alone with all else alike.
        tried: of how many ``line`` is the highest.
        effect: accuracy of the one minus that of the other.
    """

    kind: Literal["pretraining", "phase 2"]
    line: Line
    against: Line
    tried: int
    effect: Effect


@dataclass(frozen=True)
class Failure:
    """A way in which seeds ended without a result, and how many did."""

    status: str
    reason: str
    count: int


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known about one field.

    Attributes:
        field: what it is about, and every trial in it.
        best: the best, or those not told from the highest, the highest first; empty where none has
            a test accuracy that means something.
        is_tie: whether ``best`` are several.
        rivals: how many trials ``best`` was chosen from, by intervals where any is known.
        choices: of a tie, the cheapest by this and that.
        trades: for each cost that is known.
        gains: that of the best's backbone first.
        failures: the most frequent first.
        doubts: in the order of their weight.
        caveats: of the dataset.
    """

    field: Field
    best: tuple[Line, ...]
    is_tie: bool
    rivals: int
    choices: tuple[Choice, ...]
    trades: tuple[Trade, ...]
    gains: tuple[Gain, ...]
    failures: tuple[Failure, ...]
    doubts: tuple[Doubt, ...]
    caveats: tuple[str, ...]

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.field.dataset

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every trial of the field, failed ones too."""
        return self.field.lines

    @property
    def finished(self) -> tuple[Line, ...]:
        """Those with a seed that ended ``ok``."""
        return tuple(line for line in self.lines if line.group.finished)


def of(evidence: Evidence) -> tuple[Answer, ...]:
    """An answer for each field, in the order first met."""
    return tuple(map(_answer, fields.of(evidence.lines)))


def _answer(field: Field) -> Answer:
    lines = field.lines
    eligible = [line for line in lines if not line.random and not line.group.spec.trap]
    rivals = [line for line in eligible if mean(line) is not None]
    best = _best(rivals)
    rows = [row for line in lines for row in line.group.rows]
    return Answer(
        field=field,
        best=best,
        is_tie=len(best) > 1,
        rivals=len([line for line in rivals if line.accuracy] or rivals),
        choices=tuple(prices.choices(best)),
        trades=tuple(prices.trades(best, rivals)),
        gains=tuple(_gains(best, rivals)),
        failures=_failures(rows),
        doubts=tuple(_doubts(lines, best, rivals)),
        caveats=tuple(dict.fromkeys(c for row in rows if row.dataset for c in row.dataset.caveats)),
    )


def _best(rivals: Sequence[Line]) -> tuple[Line, ...]:
    """By `Line.standing`, which one alone has none of."""
    known = [line for line in rivals if line.accuracy] or rivals
    ordered = sorted(known, key=height, reverse=True)
    return tuple([line for line in ordered if line.standing] or ordered[:1])


# ------------------------------------------------------------------------------------------- gains


def _gains(best: Sequence[Line], rivals: Sequence[Line]) -> Iterator[Gain]:
    known = [line for line in rivals if line.accuracy]
    scratch = [line for line in known if _strategy(line) == "scratch"]
    others = [line for line in known if _strategy(line) != "scratch"]
    found = list(_pairs("pretraining", others, scratch, lambda x: x.backbone))
    if others and scratch and not found:
        found = list(_pairs("pretraining", others, scratch, lambda _: ""))
    heads = [line for line in others if _strategy(line) == "head_only"]
    tuned = [line for line in others if _strategy(line) != "head_only"]
    found += _pairs("phase 2", tuned, heads, _headed)

    def weight(gain: Gain) -> tuple[bool, bool, float]:
        about = bool(best) and best[0] in (gain.line, gain.against)
        alike = bool(best) and gain.line.backbone == best[0].backbone
        return not about, not alike, -height(gain.line)

    yield from sorted(found, key=weight)


def _pairs(
    kind: Literal["pretraining", "phase 2"],
    with_it: Sequence[Line],
    without: Sequence[Line],
    alike: Callable[[Line], object],
) -> Iterator[Gain]:
    """For each sort of line the highest with it against the highest without."""
    sides: dict[object, tuple[list[Line], list[Line]]] = {}
    for side, lines in enumerate((with_it, without)):
        for line in lines:
            sides.setdefault(alike(line), ([], []))[side].append(line)
    for tried, against in sides.values():
        if tried and against:
            high, low = max(tried, key=height), max(against, key=height)
            if effect := effect_of(low, high):
                yield Gain(kind, high, low, len(tried), effect)


def _strategy(line: Line) -> str:
    return line.group.spec.freeze.strategy


def _headed(line: Line) -> str:
    """The key of the same trial with its head alone."""
    alone = {
        "freeze": Freeze(strategy="head_only"),
        "phase2": None,
        "batch_norm": "frozen",
        "seed": 0,
    }
    return line.group.spec.model_copy(update=alone).key


# ------------------------------------------------------------------------------------------ doubts


def _failures(rows: Sequence[TrialResult]) -> tuple[Failure, ...]:
    counts = Counter((r.status, r.reason) for r in rows if r.status != "ok")
    return tuple(Failure(status, why, n) for (status, why), n in counts.most_common())


def _doubts(lines: Sequence[Line], best: Sequence[Line], rivals: Sequence[Line]) -> Iterator[Doubt]:
    finished = [line for line in lines if line.group.finished]
    found: tuple[tuple[DoubtKind, list[Line]], ...] = (
        ("guards", [x for x in best if any(r.failed_guards for r in x.group.finished)]),
        ("no_interval", [x for x in finished if mean(x) is not None and not x.accuracy]),
        ("no_test", [x for x in finished if mean(x) is None]),
        ("single_seed", [x for x in best if len(x.group.finished) == 1]),
        ("wide", [x for x in best if _width(x) > WIDE]),
        ("busy", _busy(best, rivals)),
        ("failed", [x for x in lines if len(x.group.finished) < len(x.group.rows)]),
        ("random", [x for x in lines if x.random]),
        ("traps", [x for x in lines if x.group.spec.trap]),
        ("apart", [x for x in lines if x.group.apart]),
    )
    yield from (Doubt(kind, tuple(about)) for kind, about in found if about)


def _busy(best: Sequence[Line], rivals: Sequence[Line]) -> list[Line]:
    """Those whose costs, in doubt, were compared: a front is no surer than what is on it."""
    sides = (best, [line for line in rivals if line.accuracy])
    found = {
        line.number: line
        for quantity in TRADED
        for side in sides
        for line, figure in prices.compared(side, quantity).items()
        if figure.doubtful
    }
    return [found[number] for number in sorted(found)]


def _width(line: Line) -> float:
    interval = line.accuracy.interval if line.accuracy else None
    return interval.high - interval.low if interval else 0.0
