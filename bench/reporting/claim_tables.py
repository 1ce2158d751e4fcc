"""Claims beside what was measured, as a table with what to know of each."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

from bench.analysis.claim_verdicts import Judged, Verdict
from bench.claims import BETWEEN_TRIALS, MARGINS, RANGES, Claim, Quantity
from bench.reporting.forms import Cell, foreign, printed, with_notes

JSON = "json"
WOULD: Mapping[Verdict, str] = {
    "holds": "would hold",
    "below": "would be below",
    "above": "would be above",
    "unclear": "would be unclear",
}
Claims = Sequence[tuple[str, Judged]]
"""Judged claims, each with the name of the results that it was held against."""


def document(claims: Claims, form: str) -> str:
    """All of it in a form of `bench.reporting.forms`, or as JSON."""
    if form == JSON:
        return json.dumps([_plain(name, one) for name, one in claims], indent=2)
    if form == "csv":
        return _for_programs(claims)
    titles, lines = table(claims)
    fit = [[foreign(c, form) if isinstance(c, str) else c for c in line] for line in lines]
    told = [foreign(note, form) for note in notes(claims)]
    return with_notes(printed(titles, fit, form), told, form)


def table(claims: Claims) -> tuple[list[str], list[list[Cell]]]:
    """Headings and lines for people: what all lines have in common is left out."""
    columns: dict[str, list[Cell]] = {
        "": list(range(1, len(claims) + 1)),
        "results": [name for name, _ in claims],
        "claim": [one.claim.text for _, one in claims],
        "trials": [one.about for _, one in claims],
        "run": [one.run or None for _, one in claims],
        "claimed": [claimed(one.claim) for _, one in claims],
        "measured": [measured(one) for _, one in claims],
        "95%": [interval(one) for _, one in claims],
        "seeds": [one.seeds for _, one in claims],
        "verdict": [verdict(one) for _, one in claims],
        "guards failed": [", ".join(one.guards) or None for _, one in claims],
        "stack": [one.stack or None for _, one in claims],
    }
    told = [{one.stack for _, one in claims if one.stack}, {name for name, _ in claims}]
    for title, kinds in zip(("stack", "results"), told, strict=True):
        if len(kinds) < 2:
            del columns[title]
    if not any(one.run and one.run != "as meant" for _, one in claims):
        del columns["run"]
    kept = {t: cells for t, cells in columns.items() if any(c is not None for c in cells)}
    return list(kept), [list(line) for line in zip(*kept.values(), strict=True)]


def verdict(one: Judged) -> str:
    """``holds``, ``not comparable (would hold)``."""
    return f"{one.verdict} ({WOULD[one.would]})" if one.would else one.verdict


def claimed(claim: Claim) -> str:
    """``93–96%``, ``at most +0 points``, ``1,281``: with no more digits than were published."""
    quantity = claim.quantity
    low, high = (number(quantity, value, ".4g") for value in (claim.low, claim.high))
    if quantity == "accuracy_gain" and claim.low == -1:
        return f"at most {high} points"
    if quantity == "accuracy_gain" and claim.high == 1:
        return f"at least {low} points"
    return with_unit(quantity, low if low == high else _range(quantity, low, high))


def measured(one: Judged) -> str | None:
    """What was measured, in the claim's unit; None where nothing was."""
    if one.measured is None:
        return None
    quantity = one.claim.quantity
    return with_unit(quantity, number(quantity, one.measured.value))


def interval(one: Judged) -> str | None:
    """``95.1–98.8``, without the unit, which stands beside the value."""
    found = one.measured.interval if one.measured else None
    if found is None:
        return None
    quantity = one.claim.quantity
    return _range(quantity, number(quantity, found.low), number(quantity, found.high))


def _range(quantity: Quantity, low: str, high: str) -> str:
    return f"{low} to {high}" if quantity == "accuracy_gain" else f"{low}–{high}"


def number(quantity: Quantity, value: float, digits: str = ".1f") -> str:
    """A value without its unit."""
    if quantity == "trainable_parameters":
        return f"{value:,.0f}"
    if quantity == "throughput_ratio":
        return f"{value:{digits}}"
    sign = "+" if quantity in BETWEEN_TRIALS else ""
    return f"{100 * value:{sign}{digits}}"


def with_unit(quantity: Quantity, text: str) -> str:
    """The text with the quantity's unit."""
    units = {"accuracy": "%", "accuracy_gain": " points", "throughput_ratio": " times"}
    return text + units.get(quantity, "")


def notes(claims: Claims) -> list[str]:
    """Reasons and doubts, each once, with the numbers of the lines that it is about."""
    found: dict[str, list[int]] = {}
    for line, (_, one) in enumerate(claims, start=1):
        for text in (*one.reasons, *one.doubts, *_own_margin(one.claim)):
            found.setdefault(text, []).append(line)
    sources = dict.fromkeys(one.claim.source for _, one in claims)
    return [
        *(f"{_lines(numbers)}: {text}" for text, numbers in found.items()),
        f"claims as published by: {'; '.join(sources)}",
        *_rules({one.claim.quantity for _, one in claims}),
    ]


def _own_margin(claim: Claim) -> Iterator[str]:
    margin, quantity = claim.near_enough, claim.quantity
    if margin == MARGINS.get(quantity, 0.0):
        return
    least, most = RANGES[quantity]
    ends = max(least, claim.low - margin), min(most, claim.high + margin)
    low, high = (number(quantity, value, ".4g") for value in ends)
    yield f"near enough is {with_unit(quantity, _range(quantity, low, high))}"


def _rules(quantities: Collection[Quantity]) -> Iterator[str]:
    """What verdicts and intervals mean, for quantities that are there."""
    if set(quantities) <= {"trainable_parameters"}:
        return
    points = f"{100 * MARGINS['accuracy']:g} points"
    least = f" (for an accuracy: or at most {points} beyond)" if "accuracy" in quantities else ""
    yield (
        f"a claim holds if the whole interval lies in what was claimed{least}; it is above or "
        "below if the whole interval lies beyond; all else is unclear"
    )
    kinds = ["of accuracies over test pictures and seeds"] if _sampled(quantities) else []
    kinds += ["of throughput over processes"] if "throughput_ratio" in quantities else []
    yield f"intervals are of 95%, {', '.join(kinds)}"


def _sampled(quantities: Collection[Quantity]) -> bool:
    return not {"accuracy", "accuracy_gain"}.isdisjoint(quantities)


def _lines(numbers: Sequence[int]) -> str:
    return f"{'line' if len(numbers) == 1 else 'lines'} {', '.join(map(str, numbers))}"


def _plain(name: str, one: Judged) -> dict[str, object]:
    """A judged claim as JSON."""
    found = one.measured
    return {
        "results": name,
        "claim": one.claim.model_dump(mode="json", exclude_none=True),
        "margin": one.claim.near_enough,
        "trials": one.about,
        "run": one.run,
        "stack": one.stack,
        "verdict": one.verdict,
        "would": one.would,
        "measured": found.value if found else None,
        "low": found.interval.low if found and found.interval else None,
        "high": found.interval.high if found and found.interval else None,
        "seeds": one.seeds,
        "guards_failed": list(one.guards),
        "reasons": list(one.reasons),
        "doubts": list(one.doubts),
    }


def _for_programs(claims: Claims) -> str:
    """CSV: plain numbers, every column in every file."""
    lines = list(_flat(claims))
    return printed(list(TIDY), lines, "csv")


TIDY = (
    *("results", "claim", "quantity", "source", "trials", "run", "stack", "claimed_low"),
    *(
        "claimed_high",
        "margin",
        "measured",
        "low",
        "high",
        "seeds",
        "verdict",
        "would",
        "guards_failed",
    ),
    *("reasons", "doubts"),
)
"""Columns of the CSV."""


def _flat(claims: Claims) -> Iterator[list[Cell]]:
    for name, one in claims:
        plain = _plain(name, one)
        own = {
            "claim": one.claim.text,
            "quantity": one.claim.quantity,
            "source": one.claim.source,
            "claimed_low": one.claim.low,
            "claimed_high": one.claim.high,
            "guards_failed": "; ".join(one.guards),
            "reasons": "; ".join(one.reasons),
            "doubts": "; ".join(one.doubts),
        }
        yield [_cell((plain | own)[title]) for title in TIDY]


def _cell(value: object) -> Cell:
    return value if isinstance(value, str | float | int) else None
