"""What ``bench choose`` answers, as tables of its candidates and probes, and as JSON.

Every line names the rows that it is from: keys of trials, of the probe and of the cost.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.analysis import naming
from bench.analysis.choice import Candidate, Choice
from bench.analysis.evidence import Figure
from bench.probes import ProbeResult
from bench.reporting import choice_wording, choices
from bench.reporting.cost_tables import digits
from bench.reporting.forms import Cell, count, duration, foreign, printed, with_notes

JSON = "json"
PROBES_APART = "Probes: what simple classifiers make of each backbone's features, before any trial."


@dataclass(frozen=True)
class Column:
    """One column: its heading, and its cell for a candidate.

    Attributes:
        kept: shown even if no cell has anything.
    """

    title: str
    cell: Callable[[Candidate], Cell]
    kept: bool = False


def document(choice: Choice, form: str, command: str = "") -> str:
    """The whole answer: words, the table of candidates, its notes, and the probes.

    Args:
        choice: the answer.
        form: a key of `bench.reporting.forms.FORMATS`, or `JSON`. CSV and LaTeX hold the table of
            candidates alone.
        command: what goes on from here; empty if nobody knows.
    """
    if form == JSON:
        return to_json(choice, command)
    body = with_notes(render(choice, form), (foreign(n, form) for n in notes(choice)), form)
    if form in ("csv", "latex"):
        return body
    start = "* " if form == "markdown" else ""
    said = [start + foreign(s, form) for s in choices.sentences(choice, command)]
    known = probes_of(choice)
    probed = f"{PROBES_APART}\n\n{render_probes(known, form)}" if known else ""
    return "\n\n".join(filter(None, ["\n".join(said), body, probed]))


def render(choice: Choice, form: str) -> str:
    """The table of candidates in a form of `bench.reporting.forms.FORMATS`."""
    if form == "csv":
        columns = plain_columns(choice)
        lines = [[c.cell(candidate) for c in columns] for candidate in choice.candidates]
        return printed([c.title for c in columns], lines, form)
    titles, lines = table(choice)
    return printed(titles, fit(lines, form), form)


def fit(lines: Iterable[Sequence[Cell]], form: str) -> list[list[Cell]]:
    """Cells whose text, some of it somebody else's, means nothing in this form."""
    return [[foreign(c, form) if isinstance(c, str) else c for c in line] for line in lines]


# --------------------------------------------------------------------------------------- for people


def table(choice: Choice) -> tuple[list[str], list[list[Cell]]]:
    """Headings and lines for people; columns that nothing is known of are left out."""
    columns = _columns(choice)
    lines = {c.title: [c.cell(candidate) for candidate in choice.candidates] for c in columns}
    kept = [c for c in columns if c.kept or any(cell is not None for cell in lines[c.title])]
    titles = [c.title for c in kept]
    return titles, [list(line) for line in zip(*(lines[t] for t in titles), strict=True)]


def _columns(choice: Choice) -> tuple[Column, ...]:
    name, margin = (
        choice_wording.namer(choice.candidates),
        choice_wording.points(choice.question.margin),
    )
    return (
        Column("candidate", name, kept=True),
        Column("state", lambda c: state(c, choice), kept=True),
        Column("seeds", _seeds, kept=True),
        Column("believed %", lambda c: _percent(c.expected), kept=True),
        Column("between", lambda c: _span(c.low, c.high)),
        Column("test %", lambda c: _percent(c.test.value) if c.test else None),
        Column("95% of test", _test_interval),
        Column("best", lambda c: _chance(c, c.best), kept=True),
        Column(f"within {margin}", lambda c: _chance(c, c.close), kept=True),
        Column("latency ms", lambda c: _figure(c.latency, digits)),
        Column("images/s", lambda c: _figure(c.throughput, digits)),
        Column("memory GiB", lambda c: _figure(c.memory, lambda v: f"{v / 2**30:.2f}")),
        Column("parameters", lambda c: _figure(c.parameters, count)),
        Column("time", lambda c: duration(c.seconds) if c.rows else None),
        Column("front", lambda c: "front" if c.front else None),
        Column("reason", lambda c: _reason(c, choice)),
    )


def state(candidate: Candidate, choice: Choice) -> str:
    """``pick``, ``tie``, else how far it got."""
    if candidate is choice.pick:
        return "pick"
    if any(candidate is tie for tie in choice.ties):
        return "tie"
    return {"probed": "probe only", "unknown": "not tried"}.get(candidate.state, candidate.state)


def _seeds(candidate: Candidate) -> str:
    return f"{len(candidate.rows)} of {len(candidate.specs)}"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}"


def _span(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"


def _test_interval(candidate: Candidate) -> str | None:
    found = candidate.test
    return _span(found.interval.low, found.interval.high) if found else None


def _chance(candidate: Candidate, share: float) -> str | None:
    """None for who is excluded: nobody asks."""
    return None if candidate.state == "excluded" else choice_wording.probability(share)


def _figure(found: Figure | None, written: Callable[[float], str]) -> str | None:
    return f"{written(found.value)}{' ?' if found.doubtful else ''}" if found else None


def _reason(candidate: Candidate, choice: Choice) -> str | None:
    """What limit it breaks, else why it is excluded otherwise, or what is doubtful."""
    broken = (
        choice_wording.broken_limits(candidate, choice) if candidate.state == "excluded" else ""
    )
    return broken or candidate.reason or None


def notes(choice: Choice) -> list[str]:
    """What the columns of `table` mean."""
    found = [
        "believed, between: accuracy as val tells it, probes and other candidates taken into "
        "account; what it lies in with 95% probability. Test had no say in it",
        f"best: the probability that it is {choices.asked_for(choice.question)} of all that are "
        "not excluded",
    ]
    if any(c.test for c in choice.candidates):
        found.append("95% of test: interval of the test accuracy, over pictures and seeds")
    if any(c.front for c in choice.candidates):
        found.append("front: nothing else that was tried beats it in both accuracy and cost")
    if any(c.throughput and c.throughput.doubtful for c in choice.candidates):
        found.append("?: in doubt; better measured again on a quiet machine")
    return found


# ------------------------------------------------------------------------------------- for programs


def plain_columns(choice: Choice) -> tuple[Column, ...]:
    """Plain numbers: accuracies and probabilities from 0 to 1, ms, images/s, bytes, seconds."""
    name = choice_wording.namer(choice.candidates)
    return (
        Column("candidate", name),
        Column("backbone", lambda c: c.backbone.name),
        Column("weights", lambda c: naming.weights(c.backbone)),
        Column("dataset", lambda c: c.specs[0].data.dataset.name),
        Column("freeze", lambda c: c.freeze.label),
        Column("state", lambda c: state(c, choice)),
        Column("seeds", lambda c: len(c.specs)),
        Column("finished", lambda c: len(c.rows)),
        Column("believed_accuracy", lambda c: c.expected),
        Column("believed_accuracy_low", lambda c: c.low),
        Column("believed_accuracy_high", lambda c: c.high),
        Column("test_accuracy", lambda c: c.test.value if c.test else None),
        Column("test_accuracy_low", lambda c: c.test.interval.low if c.test else None),
        Column("test_accuracy_high", lambda c: c.test.interval.high if c.test else None),
        Column("probability_best", lambda c: c.best),
        Column("probability_within_margin", lambda c: c.close),
        *_figures("latency", "latency_ms", ("value", "high")),
        *_figures("throughput", "images_per_second", ("value", "low", "high")),
        *_figures("memory", "memory_bytes", ("value",)),
        *_figures("parameters", "parameters", ("value",)),
        Column("seconds", lambda c: c.seconds),
        Column("front", lambda c: str(c.front)),
        Column("reason", lambda c: _reason(c, choice)),
        Column("trials", lambda c: " ".join(row.key for row in c.rows)),
        Column("probe", lambda c: c.probe.key if c.probe else None),
        Column("cost", lambda c: c.cost.key if c.cost else None),
    )


WHOLE = ("memory", "parameters")
"""Costs that are counted."""


def _figures(cost: str, title: str, parts: Sequence[str]) -> list[Column]:
    def column(part: str) -> Column:
        def cell(candidate: Candidate) -> Cell:
            found = choice_wording.figure(candidate, cost)
            value: float | None = getattr(found, part) if found else None
            return int(value) if value is not None and cost in WHOLE else value

        names = {"value": title, "high": f"{title}_p90" if cost == "latency" else f"{title}_high"}
        return Column(names.get(part, f"{title}_{part}"), cell)

    return [column(part) for part in parts]


def to_json(choice: Choice, command: str = "") -> str:
    """The answer for programs: as `plain_columns`, and what was asked, and what to run next."""
    name, question = choice_wording.namer(choice.candidates), choice.question
    asked = question.model_dump(mode="json", exclude={"trials", "probes"})
    content = {
        "question": asked,
        "answer": choices.sentences(choice, command),
        "pick": name(choice.pick) if choice.pick else None,
        "ties": [name(c) for c in choice.ties],
        "clear": choice.clear,
        "candidates": [_candidate(c, choice) for c in choice.candidates],
        "probes": [_probe(p) for p in probes_of(choice)],
        "next": [_next(choice, n) for n in range(len(choice.next))],
        "command": command,
        "seconds": choice.seconds,
        "doubts": list(choice.doubts),
    }
    return json.dumps(_finite(content), indent=2, allow_nan=False)


def _candidate(candidate: Candidate, choice: Choice) -> dict[str, object]:
    found: dict[str, object] = {c.title: c.cell(candidate) for c in plain_columns(choice)}
    rows = [
        {"key": r.key, "seed": r.spec.seed, "stack": r.stack.id, "test_accuracy": r.test_accuracy}
        for r in candidate.rows
    ]
    return found | {"front": candidate.front, "trials": rows}


def _next(choice: Choice, number: int) -> dict[str, object]:
    step = choice.next[number]
    name = choice_wording.namer(choice.candidates)
    whose = {c.specs[0].seedless: name(c) for c in choice.candidates}
    trials = [
        {
            "candidate": whose.get(spec.seedless, spec.label),
            "seed": spec.seed,
            "key": spec.key,
        }
        for spec in step.specs
    ]
    return {"trials": trials, "seconds": step.seconds}


def _finite(content: object) -> object:
    """JSON has no NaN."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


# ------------------------------------------------------------------------------------------- probes


def probes_of(choice: Choice) -> list[ProbeResult]:
    """Each once, in the order of the candidates."""
    return list({c.probe.key: c.probe for c in choice.candidates if c.probe}.values())


def render_probes(probes: Sequence[ProbeResult], form: str) -> str:
    """The table of probes in a form of `bench.reporting.forms.FORMATS`."""
    titles, lines = probe_table(probes)
    if form != "csv":
        return printed(titles, fit(lines, form), form)
    found = [_probe(probe) for probe in probes]
    return printed(list(_probe_fields()), [list(line.values()) for line in found], form)


def probe_table(probes: Sequence[ProbeResult]) -> tuple[list[str], list[list[Cell]]]:
    """Headings and lines for people, the highest linear probe first."""
    order = sorted(probes, key=lambda p: -(_linear(p) or 0.0))
    several = len({p.stack.id for p in probes}) > 1
    columns: dict[str, list[Cell]] = {
        "stack": [p.stack.id if several else None for p in order],
        "backbone": [p.spec.backbone.name for p in order],
        "linear probe, val %": [_percent(_linear(p)) for p in order],
        "seeds": [len(p.linear) or None for p in order],
        "nearest neighbours, val %": [_percent(p.knn) for p in order],
        "LogME": [None if p.logme is None else f"{p.logme:.3f}" for p in order],
        "parameters": [count(p.total_parameters) if p.total_parameters else None for p in order],
        "time": [duration(p.seconds + p.pictures_seconds) for p in order],
        "status": [None if p.status == "ok" else f"{p.status}: {p.reason}" for p in order],
        "probe": [p.key[: naming.KEY_SHOWN] for p in order],
    }
    kept = {t: cells for t, cells in columns.items() if any(c is not None for c in cells)}
    return list(kept), [list(line) for line in zip(*kept.values(), strict=True)]


def _linear(probe: ProbeResult) -> float | None:
    return statistics.fmean(probe.linear) if probe.linear else None


def _probe(probe: ProbeResult) -> dict[str, Cell]:
    return {title: cell(probe) for title, cell in _probe_fields().items()}


def _probe_fields() -> dict[str, Callable[[ProbeResult], Cell]]:
    return {
        "probe": lambda p: p.key,
        "stack": lambda p: p.stack.id,
        "backbone": lambda p: p.spec.backbone.name,
        "weights": lambda p: naming.weights(p.spec.backbone),
        "dataset": lambda p: p.spec.data.dataset.name,
        "linear_accuracy": _linear,
        "seeds": lambda p: len(p.linear),
        "knn_accuracy": lambda p: p.knn,
        "logme": lambda p: p.logme,
        "parameters": lambda p: p.total_parameters,
        "seconds": lambda p: p.seconds + p.pictures_seconds,
        "status": lambda p: p.status,
        "reason": lambda p: p.reason,
    }
