"""From a question and its rows to the answer: who stands how, and what to say of it."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bench.analysis import belief
from bench.analysis.accuracy_stats import accuracy
from bench.analysis.belief import Draws
from bench.analysis.candidates import (
    Known,
    excluded,
    gathered,
    near_limit,
    seen,
)
from bench.analysis.choice import Candidate, Choice, State, Step
from bench.analysis.pace import Pace
from bench.analysis.pareto import Point, pareto
from bench.analysis.stats import Estimate
from bench.analysis.summary import summarise
from bench.analysis.trades import MATTERS
from bench.choices import FILE, Objective, Question
from bench.errors import StoreError
from bench.probes import ProbeResult
from bench.records import TrialResult
from bench.running import store
from bench.strangers import LINK_OUT, inside
from bench.tasks import Row

DRAWS = 4000
TOLD = 0.05
"""A candidate that is better than the pick with a smaller probability is told from it."""
MORE_SEEDS = 3
"""What is worth suggesting at a time."""
UNKNOWN = 1e30
"""In place of a cost that was not measured: behind any other."""
FEW = 100
"""Val pictures, below which a choice is a guess whatever runs."""


@dataclass(frozen=True, eq=False)
class Standing:
    """What is believed of every candidate now.

    Attributes:
        draws: (draws, candidates) accuracies, 0 to 1.
        reasons: why a candidate cannot be the pick, empty where it can.
        best: (candidates,) probability of being the pick; 0 for those that cannot.
        close: (candidates,) probability of an accuracy within the margin of the best.
        leader: the most probable pick among those tried; None where nothing finished.
        ties: tried ones that are not told from the leader.
        clear: whether the leader is clear by the question's standard.
    """

    draws: Draws
    reasons: tuple[str, ...]
    best: NDArray[np.float64]
    close: NDArray[np.float64]
    leader: int | None
    ties: tuple[int, ...]
    clear: bool

    @property
    def eligible(self) -> tuple[bool, ...]:
        """Which of them can be the pick."""
        return tuple(not reason for reason in self.reasons)


def standing(question: Question, found: Sequence[Known]) -> Standing:
    """Work out who stands how.

    Args:
        question: what was asked.
        found: every candidate with its rows; at least one.
    """
    reasons = tuple(excluded(known, question.limits) for known in found)
    able = np.array([not reason for reason in reasons])
    draws = _believed(found)
    best, close = np.zeros(len(found)), np.zeros(len(found))
    if able.any():
        within = draws[:, able]
        close[able] = belief.close(within, question.margin)
        best[able] = _picked(question, within, [k for k, a in zip(found, able, strict=True) if a])
    tried = [i for i, known in enumerate(found) if able[i] and known.rows]
    leader = max(tried, key=lambda i: (best[i], close[i]), default=None)
    if leader is None:
        return Standing(draws, reasons, best, close, None, (), False)
    better = [i for i in tried if i != leader and best[i] >= TOLD]
    if question.objective == "accuracy":
        ahead = (draws > draws[:, [leader]]).mean(axis=0)
        better = [i for i in tried if i != leader and ahead[i] >= TOLD]
    clear = best[leader] >= question.sure
    if question.objective == "accuracy":
        clear = clear or close[leader] >= question.sure
    ordered = tuple(sorted(better, key=lambda i: -best[i]))
    return Standing(draws, reasons, best, close, leader, ordered, bool(clear))


def _believed(found: Sequence[Known]) -> Draws:
    """Of every candidate; of those whose accuracy means nothing, nothing."""
    sane = [i for i, known in enumerate(found) if not known.spec.meaningless]
    draws = np.full((DRAWS, len(found)), np.nan)
    if sane:
        draws[:, sane] = belief.believe([seen(found[i]) for i in sane], DRAWS)
    return draws


def _picked(question: Question, draws: Draws, found: Sequence[Known]) -> NDArray[np.float64]:
    """How often each would be the pick, if accuracies were as drawn."""
    if question.objective == "accuracy":
        return belief.best(draws)
    costs = np.array([_cost(question.objective, known) for known in found])
    enough = draws >= draws.max(axis=1, keepdims=True) - question.give_up
    cost = np.where(enough, costs[None, :], np.inf)
    cheapest = cost <= cost.min(axis=1, keepdims=True) * (1 + MATTERS)
    return belief.best(np.where(cheapest, draws, -np.inf))


def _cost(objective: Objective, known: Known) -> float:
    """What the objective wants little of; candidates without it come last, behind any cost."""
    cost = known.cost
    found: float | None = None
    if objective == "parameters":
        found = known.parameters
    elif objective == "latency" and cost and cost.latency:
        found = cost.latency.median
    elif objective == "memory" and cost and cost.memory:
        found = cost.memory.peak
    elif objective == "throughput" and cost and cost.device:
        found = 1 / cost.device.median
    return UNKNOWN if found is None else float(found)


# -------------------------------------------------------------------------------------- the answer


def answer(question: Question, rows: Iterable[Row]) -> Choice:
    """The answer that rows give.

    Args:
        question: what was asked.
        rows: of one stack; those of other trials than the question's do not count.
    """
    every = list(rows)
    found, notes = gathered(question, every)
    now = standing(question, found)
    front = _front(question, found, now)
    spans = belief.interval(now.draws)
    order = sorted(
        range(len(found)),
        key=lambda i: (bool(now.reasons[i]), i != now.leader, -now.best[i], -now.close[i]),
    )
    made = {i: _candidate(found[i], i, now, spans[i], i in front, question) for i in order}
    return Choice(
        question=question,
        candidates=tuple(made[i] for i in order),
        pick=None if now.leader is None else made[now.leader],
        ties=tuple(made[i] for i in now.ties),
        clear=now.clear,
        next=() if now.clear else tuple(_next(question, found, now)),
        seconds=_seconds(found),
        doubts=(*notes, *_doubts(found, now)),
    )


def _candidate(
    known: Known,
    i: int,
    now: Standing,
    span: tuple[float, float, float],
    front: bool,
    question: Question,
) -> Candidate:
    state: State = "unknown"
    if known.probe and known.probe.status == "ok":
        state = "probed"
    if known.rows:
        state = "tried"
    believed = (known.val is not None or state != "unknown") and not known.spec.meaningless
    if now.reasons[i]:
        state = "excluded"
    mean, low, high = span
    return Candidate(
        specs=known.specs,
        rows=known.rows,
        probe=known.probe,
        cost=known.cost,
        state=state,
        reason=now.reasons[i] or near_limit(known, question.limits),
        expected=mean if believed else None,
        low=low if believed else None,
        high=high if believed else None,
        best=float(now.best[i]),
        close=float(now.close[i]),
        test=_test(known),
        front=front,
    )


def _test(known: Known) -> Estimate | None:
    """Accuracy on test, over pictures and seeds."""
    group = next(iter(summarise(known.rows)), None)
    return accuracy(group.correct) if group and group.correct is not None else None


def _front(question: Question, found: Sequence[Known], now: Standing) -> set[int]:
    """Tried ones that nothing tried beats in accuracy and in cost: latency, else parameters."""
    tried = [i for i, known in enumerate(found) if known.rows and now.eligible[i]]
    quantity: Objective = "latency" if question.objective == "accuracy" else question.objective
    costs = _costs(quantity, [found[i] for i in tried])
    if costs is None:
        costs = _costs("parameters", [found[i] for i in tried])
    if costs is None:
        return set()
    means = now.draws.mean(axis=0)
    points = [Point(float(means[i]), c, float(means[i])) for i, c in zip(tried, costs, strict=True)]
    return {tried[i] for i in pareto(points, "lower").front}


def _costs(quantity: Objective, found: Sequence[Known]) -> list[float] | None:
    """Of each; None where one is not known."""
    costs = [_cost(quantity, known) for known in found]
    return None if any(c >= UNKNOWN for c in costs) else costs


def _next(question: Question, found: Sequence[Known], now: Standing) -> Iterable[Step]:
    """More seeds for those that may be the pick; first trials for the untried that may be."""
    pace = Pace(found, question.sizes)
    contenders = [] if now.leader is None else [now.leader, *now.ties[: MORE_SEEDS - 1]]
    more = [spec for i in contenders for spec in _more_seeds(found[i])]
    new = [
        known.specs[0]
        for i, known in enumerate(found)
        if now.eligible[i] and not known.rows and now.best[i] >= TOLD
    ]
    for specs in (more, new):
        if specs:
            seconds = [pace.trial(spec) for spec in specs]
            told = [s for s in seconds if s is not None]
            yield Step(tuple(specs), sum(told) if len(told) == len(specs) else None)


def _more_seeds(known: Known) -> list[Any]:
    """Seeds that have not run: the question's, then others."""
    last = known.specs[-1]
    others = (last.model_copy(update={"seed": last.seed + n}) for n in itertools.count(1))
    return list(itertools.islice(itertools.chain(known.untried, others), MORE_SEEDS))


def _seconds(found: Sequence[Known]) -> float:
    """Of every row, each once."""
    rows = {row.key: row for known in found for row in known.every_row}
    return sum(row.seconds + getattr(row, "pictures_seconds", 0.0) for row in rows.values())


def _doubts(found: Sequence[Known], now: Standing) -> Iterable[str]:
    if now.leader is None:
        return
    known = found[now.leader]
    if known.failed:
        ended = ", ".join(sorted({row.status for row in known.failed}))
        yield (
            f"{len(known.failed)} of the {known.attempts} trials of the pick did not finish "
            f"({ended}): its accuracy is that of the others"
        )
    if len(known.rows) == 1:
        yield "the pick ran once: how far another training would differ is assumed, not seen"
    failed = sorted({name for row in known.rows for name in row.failed_guards})
    if failed:
        yield f"guards of the pick failed: {', '.join(failed)}; its accuracy is not to be trusted"
    seen_by = known.rows[0].dataset
    if seen_by and seen_by.val < FEW:
        yield (f"only {seen_by.val} val pictures decide: more pictures would tell more than trials")


# ----------------------------------------------------------------------------------------- reading


def read(folder: Path) -> Choice | None:
    """The answer that a results folder holds; None where nothing was asked there.

    Of rows of several stacks, those of the stack with the most trials count.

    Raises:
        StoreError: its question cannot be read.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    if not inside(file, folder):
        raise StoreError(f"{file}: {LINK_OUT}")
    try:
        question = Question.model_validate(json.loads(file.read_bytes()))
    except (OSError, ValueError, ValidationError) as error:
        raise StoreError(f"{file}: not a question that can be read: {error}") from error
    return answer(question, _of_one_stack(question, folder))


def _of_one_stack(question: Question, folder: Path) -> list[Row]:
    """Rows of the stack that has most trials of the question; of several, the latest."""
    try:
        found = store.read(folder)
    except StoreError:
        return []
    asked = {spec.seedless for spec in question.trials}
    probes = {probe.key for probe in question.probes}
    trials = [row for row in found.rows if row.spec.seedless in asked]
    about: list[TrialResult | ProbeResult] = [*trials]
    about = about or [row for row in found.probes if row.key in probes]
    stacks = [row.stack.id for row in sorted(about, key=lambda row: row.started_at, reverse=True)]
    chosen = max(dict.fromkeys(stacks), key=stacks.count, default="")
    rows: list[Row] = [*found.probes, *trials, *found.costs]
    return [row for row in rows if row.stack.id == chosen]
