"""What changed in a trial: how it ended, its guards, what trains, its accuracy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean

from bench.analysis.accuracy_stats import accuracy_difference
from bench.analysis.comparison import Finding
from bench.analysis.judging import Draft
from bench.analysis.results import Seeds, Tried, stacked
from bench.analysis.stats import Effect, Verdict
from bench.errors import BenchError

BY_CHANCE = {"no_cliff"}
"""Guards that no mistake need make fail: now and then the seed does."""

Pair = tuple[Sequence[Tried], Sequence[Tried]]
"""Finished trials of A and of B; of the same seeds, in the same order, where they share any."""


def changes(key: str, a: Seeds, b: Seeds) -> Iterator[Finding | Draft]:
    """Every quantity of one trial that both sides tried.

    Args:
        key: of the trial without its seed.
        a, b: its seeds.
    """
    blank = Finding("trial", a.label, key, "status", "same")
    yield from _status(blank, a, b)
    pair = _paired(a, b)
    if pair[0] and pair[1]:
        yield _guards(blank, pair)
        yield _trainable(blank, pair)
        yield _accuracy(blank, pair)


def _paired(a: Seeds, b: Seeds) -> Pair:
    before, after = a.finished(), b.finished()
    shared = sorted(before.keys() & after.keys())
    if shared:
        return [before[s] for s in shared], [after[s] for s in shared]
    return list(before.values()), list(after.values())


def _status(blank: Finding, a: Seeds, b: Seeds) -> Iterator[Finding]:
    """Nothing to say where every seed has a result on both sides."""
    failed = [_failed(a), _failed(b)]
    if not any(failed):
        return
    verdict: Verdict = "same"
    if len(failed[0]) != len(failed[1]):
        verdict = "worse" if len(failed[1]) > len(failed[0]) else "better"
    last = failed[1] or failed[0]
    seed, tried = next(iter(last.items()))
    yield replace(
        blank,
        verdict=verdict,
        a=_counted(a, failed[0]),
        b=_counted(b, failed[1]),
        text=f"seed {seed} {tried.status}: {tried.reason}",
    )


def _failed(seeds: Seeds) -> dict[int, Tried]:
    return {seed: t for seed, t in seeds.tried.items() if t.status != "ok"}


def _counted(seeds: Seeds, failed: dict[int, Tried]) -> str:
    return f"{len(seeds.tried) - len(failed)} of {len(seeds.tried)} ok"


def _guards(blank: Finding, pair: Pair) -> Finding:
    """What fails in A, too, fails for the recipe's sake; what fails in B only is the stack's."""
    before, after = ({name for t in side for name in t.failed_guards} for side in pair)
    new, gone = after - before, before - after
    verdict: Verdict = "worse" if new else "better" if gone else "same"
    doubts: tuple[str, ...] = ()
    if verdict != "same" and (new or gone) <= BY_CHANCE:
        verdict = "unclear"
        doubts = ("this guard weighs accuracies and may fail by chance; accuracy itself tells",)
    return replace(
        blank,
        quantity="guards",
        verdict=verdict,
        a=_names(before),
        b=_names(after),
        text=", ".join(
            [f"{n} fails now" for n in sorted(new)] + [f"{n} holds now" for n in sorted(gone)]
        ),
        doubts=doubts,
    )


def _names(failed: set[str]) -> str:
    return "fail: " + ", ".join(sorted(failed)) if failed else "all pass"


def _trainable(blank: Finding, pair: Pair) -> Finding:
    """Of the spec alone: where it differs, something else is trained than before."""
    before, after = ({t.trainable for t in side} for side in pair)
    a, b = (_count(max(side, key=str)) for side in (before, after))
    if before == after:
        return replace(blank, quantity="parameters", a=a, b=b)
    return replace(
        blank, quantity="parameters", verdict="worse", a=a, b=b, text="something else trains now"
    )


def _count(trainable: tuple[int | None, int | None]) -> str:
    return " / ".join("–" if n is None else f"{n:,}" for n in trainable)


def _accuracy(blank: Finding, pair: Pair) -> Finding | Draft:
    finding = replace(
        blank,
        quantity="accuracy",
        a=fmean(t.accuracy or 0.0 for t in pair[0]),
        b=fmean(t.accuracy or 0.0 for t in pair[1]),
    )
    kinds = {t.measured_on for side in pair for t in side}
    if len(kinds) > 1:
        first, second = sorted(kinds)[:2]
        differ = "; ".join(f"{x} and {y}" for x, y in zip(first, second, strict=True) if x != y)
        return replace(finding, verdict="unclear", text=f"not comparable: {differ}")
    sides = [stacked(side) for side in pair]
    if sides[0] is None or sides[1] is None:
        lost = "not comparable: the predictions of a trial are missing"
        return replace(finding, verdict="unclear", text=lost)
    if sides[0].shape == sides[1].shape and (sides[0] == sides[1]).all():
        return replace(finding, text="the same answer for every picture")
    return Draft(finding, partial(_difference, pair))


def _difference(pair: Pair, level: float) -> Effect:
    """Unpacked anew each time: of thousands of trials, few are in memory at once."""
    a, b = (stacked(side) for side in pair)
    if a is None or b is None:
        raise BenchError("predictions went away while they were compared")
    return accuracy_difference(a, b, level)
