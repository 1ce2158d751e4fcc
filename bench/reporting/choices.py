"""What ``bench choose`` answers, in words: the same for the terminal, a document and a page.

Choice -> sentences, the first one the answer   (its tables: `bench.reporting.choice_tables`)
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bench.analysis.choice import Candidate, Choice
from bench.choices import Objective, Question
from bench.records import TrialSpec
from bench.reporting import answers, forms
from bench.reporting.choice_wording import (
    COSTS,
    NAMED,
    Names,
    about,
    believed,
    broken_limits,
    estimated,
    exactly,
    figure,
    frozen,
    namer,
    points,
    priced,
    probability,
)
from bench.reporting.forms import listed

NOTHING = "Nothing was measured yet: no probe and no trial has finished, so there is no pick."

BEST_AT: Mapping[Objective, str] = {
    "accuracy": "the best",
    "throughput": "the fastest",
    "latency": "the one that answers soonest",
    "memory": "the one with the least memory",
    "parameters": "the smallest",
}


def sentences(choice: Choice, command: str = "") -> list[str]:
    """Plain English with numbers: the pick first, then how sure that is, and what is left.

    Args:
        choice: the answer.
        command: what goes on from here; it is not spelt out if empty.
    """
    name = namer(choice.candidates)
    found = [*_pick(choice, name), *_given_up(choice, name), *_front(choice, name)]
    found += [*_in_doubt(choice, name), *_excluded(choice, name), *_untried(choice, name)]
    found += [*_next(choice, name, command), *_spent(choice), *map(_sentence, choice.doubts)]
    return found


def _sentence(doubt: str) -> str:
    """With a capital letter and a full stop, whoever wrote it."""
    plain = _plain(doubt)
    return f"{plain[:1].upper()}{plain[1:]}."


def _pick(choice: Choice, name: Names) -> Iterator[str]:
    """The answer, how sure it is, and what cannot be told from it."""
    if choice.pick is None:
        yield from _no_pick(choice, name)
        return
    pick = choice.pick
    reached = estimated(pick.test) if pick.test else "its accuracy on test is not known"
    costs = [text for cost in COSTS if (text := priced(pick, cost))]
    yield f"Take {frozen(pick, name)}: {'; '.join([reached, *costs])}."
    yield _sure(choice, pick)
    if choice.ties:
        told = [f"{name(c)} ({probability(c.best)})" for c in choice.ties[:NAMED]]
        more = len(choice.ties) - len(told)
        said = listed([*told, f"{more:,} more"] if more else told)
        yield f"Not told from it, each with the probability that it is the best: {said}."


def _sure(choice: Choice, pick: Candidate) -> str:
    eligible = [c for c in choice.candidates if c.state != "excluded"]
    within = _limits(choice)
    if len(eligible) == 1:
        return f"It is the only candidate{within}, so nothing is compared."
    question = choice.question
    what = f"{asked_for(question)} of {len(eligible):,} candidates{within}"
    said = (
        f"With a probability of {probability(pick.best)} it is {what}, and with "
        f"{probability(pick.close)} it is within {points(question.margin)} of the best"
    )
    sure = f"{100 * question.sure:g}%"
    if choice.clear:
        return f"{said}."
    either = " of either" if question.objective == "accuracy" else " of the former"
    return f"{said}: not clear yet, which takes {sure}{either}."


def asked_for(question: Question) -> str:
    """What the pick is meant to be: ``the best``, or ``the smallest of those ...,``."""
    asked = BEST_AT[question.objective]
    if question.objective == "accuracy":
        return asked
    return f"{asked} of those at most {points(question.give_up)} below the best accuracy,"


def _limits(choice: Choice) -> str:
    """`` within the limits (at most 5 ms)``; empty where there are none."""
    said = [
        f"at {'least' if cost == 'throughput' else 'most'} {exactly(cost, limit)}"
        for cost in COSTS
        if (limit := getattr(choice.question.limits, cost)) is not None
    ]
    return f" within the limits ({', '.join(said)})" if said else ""


def _no_pick(choice: Choice, name: Names) -> Iterator[str]:
    """Why there is none, and what is known without a trial."""
    eligible = [c for c in choice.candidates if c.state != "excluded"]
    probed = [c for c in eligible if c.expected is not None]
    if choice.candidates and not eligible:
        count = len(choice.candidates)
        yield (
            "There is no pick: the only candidate is excluded."
            if count == 1
            else f"There is no pick: all {count:,} candidates are excluded."
        )
    elif not probed:
        yield NOTHING
    else:
        first = max(probed, key=lambda c: (c.best, c.expected or 0.0))
        yield (
            "There is no pick yet: no trial has finished. By the probes alone "
            f"{name(first)} is ahead: {believed(first)} on val, the best of {len(eligible):,} "
            f"candidates{_limits(choice)} with a probability of {probability(first.best)}."
        )


def _given_up(choice: Choice, name: Names) -> Iterator[str]:
    """What another objective than accuracy costs in accuracy."""
    objective, pick = choice.question.objective, choice.pick
    if objective == "accuracy" or pick is None or pick.expected is None:
        return
    known = [c for c in choice.candidates if c.state != "excluded" and c.expected is not None]
    top = max(known, key=lambda c: c.expected or 0.0)
    lost = (top.expected or 0.0) - pick.expected
    if top is pick or lost <= 0:
        yield f"The objective was {objective}, and no accuracy was given up for it."
        return
    instead = priced(top, objective)
    against = f"{name(top)}, which has {instead}" if instead else name(top)
    yield (
        f"The objective was {objective}: for it about {points(round(lost, 3))} of accuracy were "
        f"given up, by val, against {against}."
    )


def _front(choice: Choice, name: Names) -> Iterator[str]:
    """Who else is not beaten in both accuracy and cost."""
    others = [c for c in choice.candidates if c.front and c is not choice.pick]
    if not others or choice.pick is None:
        return
    said = []
    for candidate in others[:NAMED]:
        costs = [text for cost in COSTS if (text := _brief(candidate, cost))]
        known = ", ".join(filter(None, [believed(candidate), *costs]))
        said.append(f"{name(candidate)} ({known})")
    said += [f"{len(others) - NAMED:,} more"] if len(others) > NAMED else []
    yield f"For another balance of accuracy and cost, on the Pareto front: {listed(said)}."


def _brief(candidate: Candidate, cost: str) -> str:
    found = figure(candidate, cost)
    return answers.cost(COSTS[cost], found) if found else ""


def _in_doubt(choice: Choice, name: Names) -> Iterator[str]:
    """What is doubtful about the limits of those that count."""
    for candidate in filter(None, (choice.pick, *choice.ties[:NAMED])):
        if candidate.reason:
            yield f"In doubt, {name(candidate)}: {_plain(candidate.reason)}."


def _plain(reason: str) -> str:
    return " ".join(reason.split()).rstrip(".")


def _excluded(choice: Choice, name: Names) -> Iterator[str]:
    """Who takes no part and why; candidates of a backbone in one."""
    found: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in choice.candidates:
        if candidate.state == "excluded":
            broken = broken_limits(candidate, choice)
            why = (
                f" {broken}" if broken else f": {_plain(candidate.reason) or 'no reason is known'}"
            )
            found.setdefault((candidate.backbone.name, why), []).append(candidate)
    said = []
    for (backbone, why), same in found.items():
        who = f"{backbone} ({len(same)} candidates)" if len(same) > 1 else name(same[0])
        said.append(f"{who}{why}")
    more = [f"and {len(said) - MOST_EXCLUDED:,} more"] if len(said) > MOST_EXCLUDED else []
    if said:
        yield f"Excluded: {'; '.join([*said[:MOST_EXCLUDED], *more])}."


MOST_EXCLUDED = 6
"""Backbones that a sentence names; the table has them all."""


def _untried(choice: Choice, name: Names) -> Iterator[str]:
    """Who was not tried, and how probable it is that the best is among them."""
    left = [c for c in choice.candidates if c.state in ("probed", "unknown")]
    if not left or choice.pick is None:
        return
    together = probability(sum(c.best for c in left))
    first = max(left, key=lambda c: c.best)
    more = ", which is more than the pick has" if first.best > choice.pick.best else ""
    if len(left) == 1:
        yield f"Not tried: {name(first)}, the best with a probability of {together}{more}."
        return
    yield (
        f"Not tried: {len(left):,} candidates. The best is among them with a probability of "
        f"{together}; most probable is {name(first)} ({probability(first.best)}{more})."
    )


def _next(choice: Choice, name: Names, command: str) -> Iterator[str]:
    """What to run to be surer, how long it takes, and how."""
    steps = [said for step in choice.next if (said := _step(choice, step.specs, name))]
    if not steps:
        return
    timed = [
        f"{said}: {about(step.seconds)}" for said, step in zip(steps, choice.next, strict=True)
    ]
    what = "To be surer" if choice.pick else "To get an answer"
    yield f"{what}: {'; then '.join(timed)}."
    yield (
        f"This goes on from here, and keeps what was measured: {command}"
        if command
        else "The same bench choose command goes on from here, and keeps what was measured."
    )


def _step(choice: Choice, specs: Sequence[TrialSpec], name: Names) -> str:
    """``3 more seeds of each of A and B; 1 seed of C``."""
    asked = Counter(spec.seedless for spec in specs)
    found: dict[tuple[int, bool], list[Candidate]] = {}
    for candidate in choice.candidates:
        count = asked[candidate.specs[0].seedless]
        if count:
            found.setdefault((count, bool(candidate.rows)), []).append(candidate)
    said = []
    for (count, more), same in found.items():
        what = f"{count} {'more ' if more else ''}seed{'' if count == 1 else 's'}"
        each = "each of " if len(same) > 1 else ""
        said.append(f"{what} of {each}{name.several(same)}")
    return " and ".join(said) or (f"{len(specs)} trials" if specs else "")


def _spent(choice: Choice) -> Iterator[str]:
    """What it took so far, of what a full sweep would take."""
    tried = sum(len(c.rows) for c in choice.candidates)
    probed = len({c.probe.key for c in choice.candidates if c.probe})
    if not (tried or probed):
        return
    every = sum(len(c.specs) for c in choice.candidates)
    probes = f" and {probed:,} probe{'' if probed == 1 else 's'}" if probed else ""
    trials = f"{tried:,} of {every:,} trial{'' if every == 1 else 's'}"
    yield f"Spent: {forms.duration(choice.seconds)} in all, on {trials}{probes}."
