"""From effects to verdicts, all of a comparison together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.analysis.comparison import Finding
from bench.analysis.margins import Rules
from bench.analysis.stats import Effect, called, holm, needed, verdict

WORDS = {"trial": "seed", "workload": "round", "overall": "round"}
"""What there would have to be more of."""


@dataclass(frozen=True)
class Draft:
    """A finding whose verdict waits until everything that is tested is known.

    Attributes:
        finding: but for verdict, effect and margin.
        effect_at: the effect at a level of confidence.
        higher_is_better: False for latency and memory.
        disturbed: whether other work makes the measurement too doubtful to call it better or worse.
    """

    finding: Finding
    effect_at: Callable[[float], Effect]
    higher_is_better: bool = True
    disturbed: bool = False


def judged(drafts: Sequence[Draft], rules: Rules) -> list[Finding]:
    """Their findings, p-values adjusted by Holm's method.

    Intervals are of the level asked for, each for itself. The smallest change that could have been
    seen is one that would have been called better or worse with a chance of `stats.POWER`: beyond
    the margin by estimate, and told from none at the level at which the first of so many tests is
    made.
    """
    effects = [draft.effect_at(rules.level) for draft in drafts]
    adjusted = holm([e.p_value for e in effects])
    tests = max(1, sum(not math.isnan(p) for p in adjusted))
    strict = 1 - (1 - rules.level) / tests
    found = []
    for draft, effect, p_value in zip(drafts, effects, adjusted, strict=True):
        margin = float(getattr(rules.margins, draft.finding.quantity))
        first = draft.effect_at(strict)
        seen = max(first.detectable, called(effect, margin), key=effect.size)
        whole = replace(effect, p_value=p_value, detectable=seen)
        found.append(_finding(draft, whole, margin, first, rules.level))
    return found


def _finding(draft: Draft, effect: Effect, margin: float, first: Effect, level: float) -> Finding:
    """One of them.

    Args:
        draft: what it is of.
        effect: with its adjusted p-value.
        margin: that the verdict goes by.
        first: the effect at the level of the first of all tests.
        level: of confidence.
    """
    said = verdict(effect, margin, higher_is_better=draft.higher_is_better, level=level)
    word = WORDS[draft.finding.kind]
    doubts = list(draft.finding.doubts)
    if effect.assumed:
        many = f"{effect.repeats} {word}{'s' if effect.repeats > 1 else ''} on a side"
        doubts.append(f"{many}: the spread is assumed, not seen; measure 3 or more")
    if said in ("better", "worse") and (draft.disturbed or (effect.assumed and word == "round")):
        said = "unclear"  # an assumption about this machine is no evidence
    elif said == "unclear":
        doubts.append(_advice(effect, margin, first, word))
    return replace(draft.finding, verdict=said, effect=effect, margin=margin, doubts=tuple(doubts))


NEAR = 0.1
"""An estimate within this share of the margin from it is too near for more repeats to settle."""


def _advice(effect: Effect, margin: float, first: Effect, word: str) -> str:
    """What would settle what is unclear."""
    limit, middle = effect.size(effect.no_change + margin), effect.size(effect.estimate)
    room = limit - middle
    if room < 0:  # then the first test's interval should leave out no change
        room = middle * effect.half_width / first.half_width
    elif room < NEAR * limit:
        return f"close to the margin: more {word}s may never settle it"
    count = needed(effect, math.expm1(room) if effect.no_change else room)
    if count is None:
        many = "test pictures" if word == "seed" else "measuring in turns, on a quiet machine"
        return f"no number of {word}s would settle it: it takes more {many}"
    more = count - effect.repeats
    if more <= 0:
        return f"nearly settled: a few more {word}s on each side"
    return f"about {more} more {word}{'s' if more > 1 else ''} on each side would settle it"
