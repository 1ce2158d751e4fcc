"""From effects to verdicts, all of a comparison together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.analysis.comparison import Finding
from bench.analysis.margins import Rules
from bench.analysis.stats import Effect, holm, needed, verdict

WORDS = {"trial": "seed", "workload": "round", "overall": "round"}
"""What there would have to be more of."""


@dataclass(frozen=True)
class Draft:
    """A finding whose verdict waits until everything that is tested is known.

    Attributes:
        finding: but for verdict, effect and margin.
        effect_at: the effect at a level of confidence.
        higher_is_better: False for latency and memory.
    """

    finding: Finding
    effect_at: Callable[[float], Effect]
    higher_is_better: bool = True


def judged(drafts: Sequence[Draft], rules: Rules) -> list[Finding]:
    """Their findings, p-values adjusted by Holm's method.

    Intervals are of the level asked for, each for itself. The smallest change that could have been
    seen is stated for the level at which the first of so many tests is made, so for the worst case.
    """
    effects = [draft.effect_at(rules.level) for draft in drafts]
    adjusted = holm([e.p_value for e in effects])
    tests = max(1, sum(not math.isnan(p) for p in adjusted))
    strict = 1 - (1 - rules.level) / tests
    found = []
    for draft, effect, p_value in zip(drafts, effects, adjusted, strict=True):
        detectable = draft.effect_at(strict).detectable
        whole = replace(effect, p_value=p_value, detectable=detectable)
        found.append(_finding(draft, whole, rules))
    return found


def _finding(draft: Draft, effect: Effect, rules: Rules) -> Finding:
    finding, level = draft.finding, rules.level
    margin = float(getattr(rules.margins, finding.quantity))
    said = verdict(effect, margin, higher_is_better=draft.higher_is_better, level=level)
    doubts = list(finding.doubts)
    if effect.assumed:
        word = WORDS[finding.kind]
        doubts.append(
            f"{effect.repeats} {word}{'s' if effect.repeats > 1 else ''} on a side: the spread is "
            f"assumed, not seen; measure 3 or more"
        )
    if said == "unclear":
        doubts.append(_more(effect, margin, WORDS[finding.kind]))
    return replace(finding, verdict=said, effect=effect, margin=margin, doubts=tuple(doubts))


def _more(effect: Effect, margin: float, word: str) -> str:
    """What would settle it."""
    count = needed(effect, margin)
    if count is None:
        many = "test pictures" if word == "seed" else "quiet minutes"
        return f"no number of {word}s would settle it: it takes more {many}"
    more = count - effect.repeats
    if more <= 0:
        return "beyond the margin by estimate, but not by enough to be sure among so many tests"
    return f"about {more} more {word}{'s' if more > 1 else ''} on each side would settle it"
