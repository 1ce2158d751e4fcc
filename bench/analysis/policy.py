"""What ``bench choose`` runs next: successive halving, its rungs filled by what is believed.

First what tells about all: costs where a limit or the objective asks for them, then a probe of each
backbone. Then rung by rung: in rung k half as many candidates as in the one before get a kth
seed, always the one that is most probably the pick among those with fewer; belief moves with each
row, so that a candidate that was passed over can come back. It ends when the leader is clear, when
no candidate is worth another trial, or when nothing more fits the time left. Everything follows
from rows, so that a run that was stopped goes on where it was.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from bench.analysis.candidates import Known, cost_of, excluded, gathered
from bench.analysis.choosing import Standing, standing
from bench.analysis.pace import Pace
from bench.choices import Question
from bench.records import TrialSpec
from bench.running.adaptive import Next
from bench.tasks import Row

WORTH = 0.02
"""A candidate that is the pick with a smaller probability gets no further trial."""
FEWEST = 2
"""Candidates in the last rungs: one alone shows nothing."""
PROBE_SHARE = 0.5
"""Of the time, for probes: one that would take more than what is left of it is given up."""


def next_task(question: Question, rows: Iterable[Row], left: float | None) -> Next | None:
    """What to run next; None when enough is known, or nothing more fits.

    Args:
        question: what was asked.
        rows: all so far, the latest last.
        left: seconds of the budget, None without one.
    """
    found, _ = gathered(question, rows)
    pace = Pace(found)
    if first := _before_trials(question, found, left):
        return first
    now = standing(question, found)
    spare = math.inf if left is None else left - _reserve(question, found, pace)
    if not now.clear and (spec := _next_trial(found, now, pace, spare)):
        return Next(spec, None if left is None else max(spare, 0.0))
    return _last(question, found, now, left)


# ---------------------------------------------------------------------------------- before trials


def _before_trials(question: Question, found: Sequence[Known], left: float | None) -> Next | None:
    for known in found:
        if needs_costs(question) and known.cost is None and not excluded(known, question.limits):
            return Next(cost_of(known.spec), left)
    probes = {k.spec.backbone: k for k in found if not excluded(k, question.limits)}
    done = sum(k.probe is not None for k in probes.values())
    for spec in question.probes:
        candidate = probes.get(spec.backbone)
        if candidate is not None and candidate.probe is None:
            share = None if left is None else max(1.0, PROBE_SHARE * left / (len(probes) - done))
            return Next(spec, share if done else left)
    return None


def needs_costs(question: Question) -> bool:
    """Whether costs of every backbone must be measured before there can be a pick."""
    return question.limits.measured or question.objective in ("throughput", "latency", "memory")


# ----------------------------------------------------------------------------------------- rungs


def _next_trial(
    found: Sequence[Known], now: Standing, pace: Pace, spare: float
) -> TrialSpec | None:
    """The next trial of the rung that is not full, if anybody is worth it."""
    eligible = [i for i in range(len(found)) if now.eligible[i]]
    for rung, places in enumerate(rungs(found, len(eligible)), start=1):
        climbed = sum(found[i].attempts >= rung for i in eligible)
        if climbed >= places:
            continue
        below = [i for i in eligible if found[i].attempts < rung and found[i].untried]
        worth = [i for i in below if now.best[i] >= WORTH or not any(k.rows for k in found)]
        for i in sorted(worth, key=lambda i: -now.best[i]):
            spec = found[i].untried[0]
            seconds = pace.trial(spec)
            if spare > 0 if seconds is None else seconds <= spare:
                return spec
    return None


def rungs(found: Sequence[Known], eligible: int) -> list[int]:
    """How many candidates get a first trial, a second, and so on."""
    seeds = max((len(k.specs) for k in found), default=0)
    halves = [max(math.ceil(eligible / 2**k), FEWEST) for k in range(1, seeds + 1)]
    return [min(n, eligible) for n in halves]


# ------------------------------------------------------------------------------------- at the end


def _reserve(question: Question, found: Sequence[Known], pace: Pace) -> float:
    """Seconds to keep for what the pick costs, as far as it may not be known yet."""
    leaders = [k for k in found if k.rows]
    if needs_costs(question) or (leaders and all(k.cost for k in leaders)):
        return 0.0
    return pace.cost()


def _last(
    question: Question, found: Sequence[Known], now: Standing, left: float | None
) -> Next | None:
    """What the pick costs, then what its ties cost, while there is time."""
    tried = [i for i in np.argsort(-now.best, kind="stable") if found[i].rows and now.eligible[i]]
    wanted = [i for i in tried if i == tried[0] or i in now.ties]
    for i in wanted:
        known = found[i]
        if known.cost is None and (left is None or left >= Pace(found).cost()):
            return Next(cost_of(known.spec), left)
    return None


def leader(question: Question, rows: Iterable[Row]) -> str:
    """How things stand, in a line."""
    found, _ = gathered(question, rows)
    now = standing(question, found)
    if now.leader is None:
        return "no trial has finished yet"
    spec, others = found[now.leader].spec, len(now.ties)
    name = f"{spec.backbone.name} · {spec.freeze.label}"
    rivals = f", {others} not told from it" if others else ""
    return f"leads: {name}, the best with {100 * now.best[now.leader]:.0f}%{rivals}"
