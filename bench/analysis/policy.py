"""What ``bench choose`` runs next: successive halving, its rungs filled by what is believed.

First what tells about all: costs where a limit or the objective asks for them, then a probe of each
backbone. Then rung by rung: in rung k half as many candidates as in the one before get a kth
seed, always the one that is most probably the pick among those with fewer (with a budget: for the
time that it takes); belief moves with each row, so that a candidate that was passed over can come
back. With a budget, the time that is left when the rungs are full goes to the most probable
candidates that have seeds left. It ends when the leader is clear, when no candidate is worth
another trial, when the rungs are full and there is no budget to spend, or when nothing more fits
the time. Everything follows from rows, so that a run that was stopped goes on where it was.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.candidates import Known, cost_of, excluded, gathered
from bench.analysis.choosing import Standing, standing
from bench.analysis.pace import PROCESS_SECONDS, Pace
from bench.choices import Question
from bench.records import TrialSpec
from bench.running.adaptive import Next
from bench.tasks import Row

WORTH = 0.02
"""A candidate that is the pick with a smaller probability gets no further trial."""
FEWEST = 2
"""Candidates in the last rungs: one alone shows nothing."""
LEAST_SECONDS = 10.0
"""Cheaper trials are all taken for as cheap as this."""
ENOUGH = 0.6
"""Of what a measurement of cost should take: with less than that it is not tried at the end."""
PROBE_SHARE = 0.5
"""Of the time, for probes: one that would take more than what is left of it is given up."""
PROBE_SECONDS = PROCESS_SECONDS + 20.0
"""No probe is given up before, while there are so many: the first one waits for its process."""


@dataclass(frozen=True, eq=False)
class _View:
    """How things stand after some rows."""

    found: Sequence[Known]
    pace: Pace
    now: Standing


class Policy:
    """Asked before every task; see `bench.running.adaptive.run`.

    Args:
        question: what was asked.
        saves: the pick is to be trained once more at the end, to save its model.

    Attributes:
        why: why nothing more runs, once it has said so.
    """

    def __init__(self, question: Question, saves: bool = False) -> None:
        self._question, self._saves = question, saves
        self._last: tuple[list[str], _View] | None = None
        self.why = ""

    def __call__(self, rows: Sequence[Row], left: float | None) -> Next | None:
        """What to run next; None when enough is known, or nothing more fits.

        Args:
            rows: all so far.
            left: seconds of the budget, None without one.
        """
        if left is not None and left <= 0:
            self.why = "the time is up"
            return None
        view = self._view(rows)
        if first := _before_trials(self._question, view.found, left):
            return first
        spare = math.inf if left is None else left - self._reserve(view)
        if view.now.clear:
            self.why = "the leader is clear"
        elif spec := _next_trial(view, spare):
            return Next(spec, None if left is None else spare)
        else:
            self.why = self._stuck(view, spare)
        return _last(view, left)

    def leader(self, rows: Sequence[Row]) -> str:
        """How things stand, in a line."""
        view = self._view(rows)
        if view.now.leader is None:
            return "no trial has finished yet"
        spec, others = view.found[view.now.leader].spec, len(view.now.ties)
        name = f"{spec.backbone.name} · {spec.freeze.label}"
        rivals = f", {others} not told from it" if others else ""
        return f"leads: {name}, the best with {100 * view.now.best[view.now.leader]:.0f}%{rivals}"

    def _stuck(self, view: _View, spare: float) -> str:
        """Why no trial runs though the leader is not clear."""
        waiting = [i for climbers in _climbers(view, math.isfinite(spare)) for i in climbers]
        if not waiting:
            return "no other trial is worth its time, or the halving is at its end"
        seconds = [view.pace.trial(view.found[i].untried[0]) or 0.0 for i in waiting]
        return (
            f"the next trial would take about {min(seconds):.0f} s, and of the time there are "
            f"{max(spare, 0.0):.0f} s for it, what the pick costs and what comes after apart"
        )

    def _view(self, rows: Sequence[Row]) -> _View:
        """Worked out once for the same rows."""
        keys = [row.key for row in rows]
        if self._last is None or self._last[0] != keys:
            found, _ = gathered(self._question, rows)
            pace = Pace(found, self._question.sizes)
            self._last = keys, _View(found, pace, standing(self._question, found))
        return self._last[1]

    def _reserve(self, view: _View) -> float:
        """Seconds to keep: for what the pick costs, and for training it once more."""
        leaders = [k for k in view.found if k.rows]
        costed = needs_costs(self._question) or (leaders and all(k.cost for k in leaders))
        seconds = 0.0 if costed else view.pace.cost()
        if self._saves and view.now.leader is not None:
            seconds += view.pace.trial(view.found[view.now.leader].spec) or 0.0
        return seconds


# ---------------------------------------------------------------------------------- before trials


def _before_trials(question: Question, found: Sequence[Known], left: float | None) -> Next | None:
    able = [known for known in found if not excluded(known, question.limits)]
    for known in able:
        if needs_costs(question) and known.cost is None:
            return Next(cost_of(known.spec), left)
    probes = {known.spec.backbone: known.probe for known in able}
    wanted = [p for p in question.probes if p.backbone in probes and probes[p.backbone] is None]
    if not wanted:
        return None
    if left is None:
        return Next(wanted[0])
    share = max(PROBE_SHARE * left / len(wanted), PROBE_SECONDS)
    return Next(wanted[0], min(share, max(PROBE_SHARE * left, 1.0)))


def needs_costs(question: Question) -> bool:
    """Whether costs of every backbone must be measured before there can be a pick."""
    return question.limits.measured or question.objective in ("throughput", "latency", "memory")


# ----------------------------------------------------------------------------------------- rungs


def _next_trial(view: _View, spare: float) -> TrialSpec | None:
    """Of the lowest rung that is not full, the most probable candidate's; where time is short, the
    one with most probability for its time. None if nobody is worth it, or nothing fits."""
    short = math.isfinite(spare)
    for climbers in _climbers(view, with_more=short):
        costs = {i: view.pace.trial(view.found[i].untried[0]) for i in climbers}
        fitting = [i for i, s in costs.items() if (spare > 0 if s is None else s <= spare)]
        if fitting:
            worth = {i: _worth(view.now.best[i], costs[i] if short else None) for i in fitting}
            return view.found[max(fitting, key=lambda i: worth[i])].untried[0]
    return None


def _worth(best: float, seconds: float | None) -> float:
    """How soon a candidate should run: where time is short, its probability for the time."""
    return float(best) if seconds is None else float(best) / max(seconds, LEAST_SECONDS)


def _climbers(view: _View, with_more: bool) -> Iterator[list[int]]:
    """Who may get a trial: of each rung with places left, the lowest first; then whoever may."""
    found, now = view.found, view.now
    eligible = [i for i in range(len(found)) if now.eligible[i]]
    nothing = not any(known.rows for known in found)
    worth = [i for i in eligible if found[i].untried and (nothing or now.best[i] >= WORTH)]
    for rung, places in enumerate(rungs(found, len(eligible)), start=1):
        if sum(found[i].attempts >= rung for i in eligible) < places:
            yield [i for i in worth if found[i].attempts < rung]
    if with_more:
        yield worth


def rungs(found: Sequence[Known], eligible: int) -> list[int]:
    """How many candidates get a first trial, a second, and so on."""
    seeds = max((len(k.specs) for k in found), default=0)
    halves = [max(math.ceil(eligible / 2**k), FEWEST) for k in range(1, seeds + 1)]
    return [min(n, eligible) for n in halves]


# ------------------------------------------------------------------------------------- at the end


def _last(view: _View, left: float | None) -> Next | None:
    """What the pick costs, then what its ties cost, while there is time."""
    found, now = view.found, view.now
    tried = [i for i in np.argsort(-now.best, kind="stable") if found[i].rows and now.eligible[i]]
    for i in [*tried[:1], *(i for i in tried[1:] if i in now.ties)]:
        known = found[i]
        if known.cost is None and (left is None or left >= ENOUGH * view.pace.cost()):
            return Next(cost_of(known.spec), left)
    return None
