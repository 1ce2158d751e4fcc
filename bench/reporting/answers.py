"""The answer in words: the same for the page, the document and the terminal."""

from collections.abc import Mapping, Sequence

from bench.analysis import mistakes, naming
from bench.analysis.answer import Answer, Doubt, DoubtKind, Gain, of
from bench.analysis.evidence import Evidence, Figure, Line, Quantity
from bench.analysis.naming import Namer
from bench.analysis.stats import Effect, Estimate
from bench.analysis.trades import HIGHER_IS_CHEAPER, TWOFOLD, Cheaper, Choice, Trade
from bench.records import Freeze
from bench.reporting.forms import count

NAMED = 3
"""So many trials are named; more are counted."""

NOTHING = "Nothing was measured: these results are empty."
NO_TRIALS = "These results hold measurements of cost and no trial, so no accuracy."

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

CHEAPEST: Mapping[Quantity, str] = {
    "train_speed": "trains fastest",
    "latency": "answers soonest",
    "memory": "needs the least memory",
    "parameters": "is the smallest",
}
CHEAPER: Mapping[Quantity, str] = {
    "train_speed": "Faster to train",
    "latency": "Sooner to answer",
    "memory": "With less memory",
    "parameters": "Smaller",
}

OWN = "by the trials' own steps"
"""Where throughput was not measured apart from the trials."""


def every(evidence: Evidence) -> list[tuple[str, list[str]]]:
    """What each answer is about, and its `sentences`; one without a subject if nothing is there."""
    answers = of(evidence)
    if not answers:
        return [("", [NO_TRIALS if evidence.costs else NOTHING])]
    return [(a.field.name, [*sentences(a), *_elsewhere(a, answers)]) for a in answers]


def _elsewhere(answer: Answer, answers: Sequence[Answer]) -> list[str]:
    """That other folders or stacks saw the same pictures, where they did."""
    seen = answer.field.pictures
    same = [
        other
        for other in answers
        if seen and other.field.pictures
        if other.field.pictures.fingerprint == seen.fingerprint
    ]
    if len(same) < 2:
        return []
    names = naming.sides((a.lines[0].source, a.lines[0].group.stack) for a in same)
    others = [name for side, name in names.items() if side != answer.field.side]
    which = ", ".join(others) if len(others) <= NAMED else f"{_number(len(others))} times"
    return [
        f"The same pictures were used elsewhere, too ({which}); nothing is said here across "
        "folders and stacks, which bench compare does."
    ]


def sentences(answer: Answer) -> list[str]:
    """Plain English with numbers: the best first, then prices, gains, and what is in doubt."""
    name = namer(answer.lines)
    found = [_verdict(answer, name)]
    if answer.choices:
        found.append(_chosen(answer.choices, name))
    found += [_traded(trade, name) for trade in answer.trades if _tells(trade, answer)]
    for kind in ("pretraining", "phase 2"):
        if gains := [gain for gain in answer.gains if gain.kind == kind]:
            found.append(_gained(gains, name))
    found += _mistaken(answer)
    found += [_doubted(doubt, name) for doubt in answer.doubts]
    return [*found, *answer.caveats]


# ----------------------------------------------------------------------------------------- names


def namer(lines: Sequence[Line]) -> Namer:
    """Calls each line by its backbone, what of it trained, and whatever else tells it apart."""
    others = naming.differing(lines)

    def name(line: Line) -> str:
        more = naming.said(others.get(line.number, {}))
        plain = f"{line.backbone} {frozen(line.group.spec.freeze)}"
        return f"{plain} ({', '.join(more)})" if more else plain

    return name


def frozen(freeze: Freeze) -> str:
    """What of the backbone trained: ``with its top two blocks unfrozen``."""
    n, name = freeze.amount, freeze.strategy
    if name in PLAIN:
        return PLAIN[name]
    if name == "top_blocks":
        return f"with its {_top('block', n)} unfrozen"
    if name == "last_layers":
        return f"with its {_top('layer', n, 'last')} unfrozen"
    if name == "from_layer":
        return f"with everything from layer {n} on unfrozen"
    if name == "top_fraction" and isinstance(n, int | float):
        return f"with the top {100 * n:g}% of its layers unfrozen"
    return f"with freeze {freeze.label}"


PLAIN: Mapping[str, str] = {
    "head_only": "with its head alone trained",
    "all": "with all of it unfrozen",
    "scratch": "trained from scratch",
    "auto": "unfrozen by the rule of thumb",
}


def _top(what: str, amount: object, which: str = "top") -> str:
    return f"{which} {what}" if amount == 1 else f"{which} {_number(amount)} {what}s"


def _number(amount: object) -> str:
    """Small whole numbers in words."""
    if isinstance(amount, int) and 0 <= amount < len(NUMBERS):
        return NUMBERS[amount]
    return f"{amount:,}" if isinstance(amount, int) else str(amount)


def _several(lines: Sequence[Line], name: Namer) -> str:
    """Their names, or how many there are."""
    if len(lines) > NAMED:
        return f"{_number(len(lines))} trials"
    names = [name(line) for line in lines]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# --------------------------------------------------------------------------------------- numbers


def _reached(line: Line) -> str:
    """``89.6% (85.8–92.5)``."""
    if line.accuracy:
        return estimate(line.accuracy)
    return f"{100 * line.test_accuracy.mean:.1f}%" if line.test_accuracy else "no test accuracy"


def estimate(value: Estimate) -> str:
    """``89.6% (85.8–92.5)``: an accuracy and its interval."""
    low, high = 100 * value.interval.low, 100 * value.interval.high
    return f"{100 * value.value:.1f}% ({low:.1f}–{high:.1f})"


def points(effect: Effect) -> str:
    """``+3.3 points (-0.7 to +7.6)``: a difference in accuracy and its interval."""
    low, high = 100 * effect.interval.low, 100 * effect.interval.high
    return f"{100 * effect.estimate:+.1f} points ({low:+.1f} to {high:+.1f})"


def cost(quantity: Quantity, figure: Figure) -> str:
    """A cost with its unit: ``250 images/s``, ``8.0 ms``, ``1.2 GiB``, ``2.41 M parameters``."""
    value = figure.value
    if quantity in ("train_speed", "inference_speed"):
        return f"{value:,.0f} images/s" if value >= 10 else f"{value:.2g} images/s"
    if quantity == "latency":
        return f"{value:.1f} ms"
    if quantity == "memory":
        return f"{value / 2**30:.2f} GiB"
    return f"{count(value)} parameters"


# ------------------------------------------------------------------------------------- sentences


def _verdict(answer: Answer, name: Namer) -> str:
    if not answer.best:
        return _nothing(answer)
    best, others = answer.best[0], answer.rivals - len(answer.best)
    said = f"{name(best)} reaches {_reached(best)} on {answer.dataset}"
    if answer.rivals == 1:
        return f"{said}; nothing else there compares with it."
    if best.accuracy is None:
        return f"{said}, the highest of {_number(answer.rivals)}; nothing tells how sure that is."
    if not answer.is_tie:
        return f"{said}: the best of {_number(answer.rivals)}, told from every other."
    ties = answer.best[1:]
    which = f": {_several(ties, name)}" if len(ties) <= NAMED else ""
    are = "other is" if len(ties) == 1 else "others are"
    rest = f" The remaining {_number(others)} are lower." if others > 1 else ""
    return f"{said}; {_number(len(ties))} {are} not told from it{which}.{rest}"


def _nothing(answer: Answer) -> str:
    """Why there is no best."""
    if answer.finished:
        return f"Nothing can be said of {answer.dataset}: no trial there has an accuracy to go by."
    tried = sum(len(line.group.rows) for line in answer.lines)
    said = f"No trial on {answer.dataset} finished ({_number(tried)} tried)."
    if not answer.failures:
        return said
    most = answer.failures[0]
    reason = " ".join(most.reason.split()).rstrip(".")
    why = f": {reason}" if reason else ""
    return f"{said} Most often, {_number(most.count)} times, {_status(most.status)}{why}."


def _status(status: str) -> str:
    return status.replace("_", " ")


def _chosen(choices: Sequence[Choice], name: Namer) -> str:
    said = []
    for choice in choices:
        quantity = choice.quantity
        which = f"{name(choice.line)} {CHEAPEST[quantity]}"
        which += f" {OWN}" if _own(quantity, choice.figure) else ""
        way = "down" if quantity in HIGHER_IS_CHEAPER else "up"
        others = f"others {way} to {cost(quantity, choice.most)}"
        said.append(f"{which} ({cost(quantity, choice.figure)}, {others})")
    return f"Of these, {'; '.join(said)}."


def _own(quantity: Quantity, figure: Figure) -> bool:
    """Whether a reader must be told that it was not measured apart."""
    return quantity in TWOFOLD and not figure.apart


def _tells(trade: Trade, answer: Answer) -> bool:
    """Whether more can be saved than by choosing among a tie."""
    return any(step.line not in answer.best for step in trade.steps)


def _traded(trade: Trade, name: Namer) -> str:
    """The cheapest, and the highest that is cheaper than the best."""
    steps = dict.fromkeys((trade.steps[0], trade.steps[-1]))
    said = [_step(step, trade, name) for step in steps]
    what = CHEAPER[trade.quantity] + (f", {OWN}" if _own(trade.quantity, trade.figure) else "")
    return f"{what}: {'; or '.join(said)}."


def _step(step: Cheaper, trade: Trade, name: Namer) -> str:
    own, best = cost(trade.quantity, step.figure), cost(trade.quantity, trade.figure)
    return f"{name(step.line)}, {own} instead of {best}, at {points(step.effect)}"


def _gained(gains: Sequence[Gain], name: Namer) -> str:
    first, *others = gains
    low, high = first.effect.interval.low, first.effect.interval.high
    what = "Pretraining" if first.kind == "pretraining" else "Phase 2"
    best_of = f", the highest of {_number(first.tried)}" if first.tried > 1 else ""
    reached = f"{name(first.line)}{best_of}, against {name(first.against)}"
    sure = ", which may be nothing" if low <= 0 <= high else ""
    more = ""
    if others:
        all_of = sorted((f"{100 * gain.effect.estimate:+.1f}" for gain in others), key=float)
        span = " to ".join(dict.fromkeys((all_of[0], all_of[-1])))
        which = "other such pairs" if len(others) > 1 else "other such pair"
        more = f" {_number(len(others)).capitalize()} {which}: {span} points."
    return f"{what} is worth {points(first.effect)}{sure}: {reached}.{more}"


def _mistaken(answer: Answer) -> list[str]:
    """What each mistake made on purpose cost, and which guards noticed it; the worst first."""
    told = [
        (effect.estimate, pair, points(effect))
        for pair in mistakes.of(answer.lines)
        if (effect := pair.effect)
    ]
    said = [
        f"{pair.trapped.group.spec.trap} {cost_of} ({', '.join(pair.guards) or 'no guard'})"
        for _, pair, cost_of in sorted(told, key=lambda one: one[0])[:MISTAKES_NAMED]
    ]
    more = f", and {len(told) - len(said)} more" if len(told) > len(said) else ""
    listed = "; ".join(said)
    return [f"Mistakes on purpose and the guards that noticed: {listed}{more}."] if said else []


MISTAKES_NAMED = 8

DOUBTS: Mapping[DoubtKind, str] = {
    "guards": "Take care: guards failed in {which}, so its number may not mean what it says.",
    "no_interval": "How sure the accuracy of {which} is cannot be told: which test pictures were "
    "right is not stored.",
    "no_test": "There is no test accuracy of {which}.",
    "single_seed": "From a single seed: {which}; the spread over seeds is not in the interval.",
    "wide": "In doubt, by an interval wider than 5 points: {which}; more test pictures or seeds "
    "would narrow it.",
    "busy": "Measured on a busy machine, better measured again: costs of {which}.",
    "failed": "Without a result in one seed or more: {which}.",
    "random": "Random weights, so that accuracy is meaningless: {which}.",
    "traps": "Mistakes made on purpose, which take no part: {which}.",
    "apart": "Not averaged with other seeds of the same trial, which measured something else: "
    "{which}.",
}


def _doubted(doubt: Doubt, name: Namer) -> str:
    if doubt.kind == "guards":
        failed = {n for x in doubt.lines for r in x.group.finished for n in r.failed_guards}
        which = f"{_several(doubt.lines, name)} ({', '.join(sorted(failed))})"
        return DOUBTS["guards"].format(which=which)
    return DOUBTS[doubt.kind].format(which=_several(doubt.lines, name))
