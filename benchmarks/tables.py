"""The table of a speed comparison, for a terminal or a document."""

from collections.abc import Callable

from tabulate import tabulate

from benchmarks.cases import Case
from benchmarks.measured import Comparison, Measured, Ratio

FORMATS = {"console": "simple", "markdown": "github"}
NOTHING = "–"

_Cell = Callable[[Comparison, Measured], str]


def document(comparison: Comparison, form: str = "console") -> str:
    """The table, on what it was measured, and every doubt about it.

    Args:
        comparison: what was measured.
        form: a key of `FORMATS`.
    """
    columns = dict(_COLUMNS)
    if not any(m.of("literal") for m in comparison.measured):
        del columns["Bench literally, s"]
    lines = [[cell(comparison, m) for cell in columns.values()] for m in comparison.measured]
    table = tabulate(lines, list(columns), tablefmt=FORMATS[form], disable_numparse=True)
    machine = comparison.environment
    where = f"{comparison.stack.id}, {machine.processor}, {machine.cores} cores"
    notes = [f"Measured on {where}.", *_doubts(comparison)]
    return "\n\n".join([table, *notes])


def seconds(value: float | None) -> str:
    """``312``, ``9.8``: three digits or so."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def times(ratio: Ratio | None) -> str:
    """``5.3x (5.1–5.4)``: a ratio and its bounds."""
    if ratio is None:
        return NOTHING
    value = f"{ratio.value:.1f}x"
    return value if ratio.low == ratio.high else f"{value} ({ratio.low:.1f}–{ratio.high:.1f})"


def mib(size: float) -> str:
    """``2,043 MiB``, of bytes."""
    return f"{size / 2**20:,.0f} MiB"


def percent(accuracy: float | None) -> str:
    """``97.3``."""
    return NOTHING if accuracy is None else f"{100 * accuracy:.1f}"


def _target(case: Case) -> str:
    return f"{case.target:g}x" + (f" over {case.over}" if case.over else "")


def _reached(comparison: Comparison, measured: Measured) -> str:
    reached = comparison.reached(measured)
    if reached is None:
        return NOTHING
    word = "yes" if reached else "no"
    return f"{word}: {times(comparison.counted(measured))}" if measured.case.over else word


_COLUMNS: dict[str, _Cell] = {
    "": lambda _, m: m.case.name,
    "job": lambda _, m: m.case.job,
    "plain Keras, s": lambda _, m: seconds(m.seconds("plain")),
    "Bench literally, s": lambda _, m: seconds(m.seconds("literal")),
    "Bench, s": lambda _, m: seconds(m.seconds("bench")),
    "faster": lambda _, m: times(m.ratio()),
    "target": lambda _, m: _target(m.case),
    "reached": _reached,
    "with start-up": lambda _, m: times(m.ratio(whole=True)),
    "test % plain / Bench": lambda _, m: " / ".join(
        percent(m.accuracy(side)) for side in ("plain", "bench")
    ),
}


def _doubts(comparison: Comparison) -> list[str]:
    """What a reader must know before trusting a line."""
    cases = comparison.measured
    single = [m for m in cases if len(m.of("bench")) + len(m.of("plain")) < 3]
    doubts = {
        "one pair of runs, so no spread: run it again before relying on it": single,
        "the sides trained different numbers of weights": [
            m for m in cases if m.same_parameters is False
        ],
        "random weights, so accuracies mean nothing": [
            m for m in cases if m.case.weights == "random"
        ],
    }
    return [f"{', '.join(m.case.name for m in ms)}: {text}." for text, ms in doubts.items() if ms]
