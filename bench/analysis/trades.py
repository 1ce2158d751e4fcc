"""What accuracy it takes to save time, memory or parameters.

the best, its rivals -> Choice ... among those not told apart; Trade ... for each known cost
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.accuracy_stats import accuracy_difference
from bench.analysis.evidence import Figure, Line, Quantity
from bench.analysis.pareto import Better, Point, pareto
from bench.analysis.stats import Effect

MATTERS = 0.05
"""A cost that is lower by a smaller share than this saves nothing worth a word."""

HIGHER_IS_CHEAPER: frozenset[Quantity] = frozenset({"train_speed", "inference_speed"})
TRADED: tuple[Quantity, ...] = ("train_speed", "latency", "memory", "parameters")
"""What may be saved."""

TWOFOLD: frozenset[Quantity] = frozenset({"train_speed"})
"""Known from the trial itself, and as measured apart."""


@dataclass(frozen=True)
class Choice:
    """The cheapest of those that are not told apart.

    Attributes:
        quantity: by which.
        line: which.
        figure: what it costs.
        most: what the most expensive of the others costs.
    """

    quantity: Quantity
    line: Line
    figure: Figure
    most: Figure


@dataclass(frozen=True)
class Cheaper:
    """A trial that is cheaper than any with a higher accuracy.

    Attributes:
        line: which.
        figure: what it costs.
        effect: its accuracy minus that of the best.
    """

    line: Line
    figure: Figure
    effect: Effect


@dataclass(frozen=True)
class Trade:
    """What accuracy it takes to save a cost.

    Attributes:
        quantity: which cost.
        against: the best.
        figure: what the best costs.
        steps: the cheapest first; each costs more, and reaches more, than the one before.
    """

    quantity: Quantity
    against: Line
    figure: Figure
    steps: tuple[Cheaper, ...]


def mean(line: Line) -> float | None:
    """Test accuracy, with or without an interval."""
    if line.accuracy:
        return line.accuracy.value
    return line.test_accuracy.mean if line.test_accuracy else None


def height(line: Line) -> float:
    """The same to sort by: below every accuracy where none is known."""
    known = mean(line)
    return -1.0 if known is None else known


def _price(figure: Figure, quantity: Quantity) -> float:
    """Smaller is cheaper; of a speed, the time that a picture takes."""
    value = max(figure.value, 1e-9)
    return 1 / value if quantity in HIGHER_IS_CHEAPER else value


def compared(lines: Sequence[Line], quantity: Quantity) -> dict[Line, Figure]:
    """What these lines cost, as far as that can be compared.

    Throughput measured apart and the trial's own are never mixed: it is the former of all, or the
    latter of all, or nothing. Other costs are of the lines where they are known.

    Args:
        lines: of one field (`bench.analysis.fields`).
        quantity: which cost.
    """
    if quantity not in TWOFOLD:
        return _known(lines, quantity)
    for apart in (True, False):
        found = _known(lines, quantity, apart)
        if len(found) == len(lines):
            return found
    return {}


def _known(
    lines: Sequence[Line], quantity: Quantity, apart: bool | None = None
) -> dict[Line, Figure]:
    return {line: figure for line in lines if (figure := line.cost(quantity, apart))}


def _priced(lines: Sequence[Line], quantity: Quantity) -> list[tuple[float, Line, Figure]]:
    """What can be compared, the cheapest first, the highest of equal ones first."""
    found = compared(lines, quantity)
    priced = [(_price(figure, quantity), line, figure) for line, figure in found.items()]
    return sorted(priced, key=lambda p: (p[0], -height(p[1]), p[1].number))


def _saves(price: float, other: float) -> bool:
    return price < (1 - MATTERS) * other


def choices(best: Sequence[Line]) -> Iterator[Choice]:
    """Of several that are not told apart, the one to take for each cost; none of a single one."""
    for quantity in TRADED if len(best) > 1 else ():
        priced = _priced(best, quantity)
        if len(priced) == len(best) and _saves(priced[0][0], priced[1][0]):
            yield Choice(quantity, priced[0][1], priced[0][2], priced[-1][2])


def trades(best: Sequence[Line], rivals: Sequence[Line]) -> Iterator[Trade]:
    """What is to be saved against the first of the best.

    Args:
        best: the highest first.
        rivals: what to choose from, the best included; of one field.
    """
    if not best or best[0].accuracy is None:
        return
    known = [line for line in rivals if line.accuracy]
    for quantity in TRADED:
        priced = _priced(known, quantity)
        own = next((figure for _, line, figure in priced if line is best[0]), None)
        steps = tuple(_steps(best[0], own, priced, quantity)) if own else ()
        if own and steps:
            yield Trade(quantity, best[0], own, steps)


def _steps(
    best: Line, own: Figure, priced: Sequence[tuple[float, Line, Figure]], quantity: Quantity
) -> Iterator[Cheaper]:
    """The front of accuracy and cost, as far as it is cheaper than the best."""
    points = [Point(height(line), figure.value, height(line)) for _, line, figure in priced]
    better: Better = "higher" if quantity in HIGHER_IS_CHEAPER else "lower"
    reached = -1.0
    for i in pareto(points, better).front:
        price, line, figure = priced[i]
        saves = _saves(price, _price(own, quantity)) and height(line) > reached
        if saves and (effect := effect_of(best, line)):
            reached = height(line)
            yield Cheaper(line, figure, effect)


def effect_of(a: Line, b: Line) -> Effect | None:
    """Accuracy of B minus that of A; None where that is not known picture by picture."""
    before, after = a.group.correct, b.group.correct
    if before is None or after is None or before.shape[1] != after.shape[1]:
        return None
    return accuracy_difference(before, after)
