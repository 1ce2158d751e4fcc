"""What answers of ``bench choose`` call candidates, and how they write numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.analysis import naming
from bench.analysis.choice import Candidate, Choice
from bench.analysis.evidence import Figure, Quantity
from bench.analysis.stats import Estimate
from bench.records import TrialSpec
from bench.reporting import answers
from bench.reporting.forms import listed

NAMED = 3
"""So many candidates are named; more are counted."""

COSTS: Mapping[str, Quantity] = {
    "latency": "latency",
    "throughput": "inference_speed",
    "memory": "memory",
    "parameters": "parameters",
}
"""Costs of a candidate, and what they are called elsewhere."""

OF: Mapping[str, str] = {"latency": " a picture", "memory": " of memory"}
"""Of what a cost with a plain unit is."""

BREAKS: Mapping[str, str] = {
    "latency": "takes {value}, where at most {limit} are allowed",
    "throughput": "does {value}, where at least {limit} are asked for",
    "memory": "holds {value}, where at most {limit} are allowed",
    "parameters": "has {value}, where at most {limit} are allowed",
}


@dataclass(frozen=True)
class Names:
    """What candidates are called: each unlike every other."""

    of: Mapping[Candidate, str]

    def __call__(self, candidate: Candidate) -> str:
        """Its name."""
        return self.of[candidate]

    def several(self, candidates: Sequence[Candidate]) -> str:
        """``A``, ``A and B``, ``A, B, C and 4 more``."""
        names = [self(c) for c in candidates[:NAMED]]
        more = len(candidates) - len(names)
        return listed([*names, f"{more:,} more"] if more else names)


def namer(candidates: Sequence[Candidate]) -> Names:
    """Calls each by its label, and by whatever else its trials differ in from others' of that."""
    alike: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        alike.setdefault(candidate.label, []).append(candidate)
    found: dict[Candidate, str] = {}
    for label, same in alike.items():
        for candidate, more in zip(same, _told_apart(same), strict=True):
            found[candidate] = " · ".join([label, *more])
    return Names(found)


def _told_apart(same: Sequence[Candidate]) -> list[list[str]]:
    """What each has that others have not; the key of its first trial where nothing tells."""
    if len(same) == 1:
        return [[]]
    traits = [_traits(c.specs[0]) for c in same]
    told = [trait for trait in traits[0] if len({t[trait] for t in traits}) > 1]
    found = [naming.said({trait: t[trait] for trait in told}) for t in traits]
    if len(set(map(tuple, found))) == len(same):
        return found
    return [[f"trial {c.specs[0].key[: naming.KEY_SHOWN]}"] for c in same]


def _traits(spec: TrialSpec) -> dict[str, str]:
    return {
        "weights": naming.weights(spec.backbone),
        "head": spec.head.name,
        "pixels": str(spec.data.image_size),
        "batch norm": spec.batch_norm,
    }


def frozen(candidate: Candidate, name: Names) -> str:
    """``MobileNetV2 with the top 20% of its layers unfrozen (top_fraction=0.2)``."""
    backbone = candidate.backbone.name
    more = name(candidate).removeprefix(f"{backbone} · ")
    return f"{backbone} {answers.frozen(candidate.freeze)} ({more})"


# ----------------------------------------------------------------------------------------- numbers


def probability(share: float) -> str:
    """``97%``; never none and never all, for it is counted from draws."""
    if share < 0.005:
        return "under 1%"
    return "over 99%" if share > 0.995 else f"{100 * share:.0f}%"


def estimated(found: Estimate) -> str:
    """``84.2% on test (81.9 to 86.3)``."""
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return f"{100 * found.value:.1f}% on test ({low:.1f} to {high:.1f})"


def believed(candidate: Candidate) -> str:
    """``about 84.2% (81.9 to 86.3)``; empty where nothing is."""
    if candidate.expected is None:
        return ""
    middle = f"about {100 * candidate.expected:.1f}%"
    if candidate.low is None or candidate.high is None:
        return middle
    return f"{middle} ({100 * candidate.low:.1f} to {100 * candidate.high:.1f})"


def points(share: float) -> str:
    """``1 point``, ``0.5 points``."""
    number = f"{100 * share:.3g}"
    return f"{number} point{'' if number == '1' else 's'}"


def about(seconds: float | None) -> str:
    """``about 12 minutes``: as exact as a forecast can be."""
    if seconds is None:
        return "nobody can tell yet how long that takes"
    if seconds < 55:
        return f"about {max(5, 5 * round(seconds / 5))} seconds"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} minutes" if minutes > 1 else "about a minute"
    return f"about {seconds / 3600:.2g} hours"


def figure(candidate: Candidate, cost: str) -> Figure | None:
    """What it costs, by a key of `COSTS`."""
    found: Figure | None = getattr(candidate, cost)
    return found


def priced(candidate: Candidate, cost: str) -> str:
    """``7.1 ms a picture (90% of calls within 7.9)``; empty if it was not measured."""
    found = figure(candidate, cost)
    if found is None:
        return ""
    said = answers.cost(COSTS[cost], found) + OF.get(cost, "")
    if cost == "latency" and found.high is not None:
        said += f" (90% of calls within {found.high:.1f})"
    if cost == "throughput" and found.low is not None and found.high is not None:
        said += f" ({found.low:,.0f} to {found.high:,.0f})"
    return f"{said}, in doubt" if found.doubtful else said


def exactly(cost: str, value: float) -> str:
    """A value with all its digits, as far as somebody typed them."""
    if cost == "parameters":
        return f"{value:,.0f} parameters"
    if cost == "memory":
        return f"{value / 2**30:.6g} GiB" if value >= 2**30 else f"{value / 2**20:.6g} MiB"
    return f"{value:,.6g} {'ms' if cost == 'latency' else 'images/s'}"


def broken_limits(candidate: Candidate, choice: Choice) -> str:
    """``takes 7.1 ms a picture, where at most 5 ms are allowed``; empty if it keeps to them all."""
    said = []
    for cost, words in BREAKS.items():
        found, limit = figure(candidate, cost), getattr(choice.question.limits, cost)
        if found is None or limit is None:
            continue
        if found.value < limit if cost == "throughput" else found.value > limit:
            rounded = Figure(float(limit)), found
            alike = len({answers.cost(COSTS[cost], f) for f in rounded}) == 1
            value = exactly(cost, found.value) if alike else priced(candidate, cost)
            said.append(words.format(value=value, limit=exactly(cost, limit)))
    return " and ".join(said)
