"""What changed in a trial: how it ended, its guards, what trains, its accuracy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import NamedTuple

from bench.analysis.accuracy_stats import accuracy_difference
from bench.analysis.comparison import Finding
from bench.analysis.judging import Draft
from bench.analysis.results import Seeds, Tried, stacked
from bench.analysis.stats import Effect, Verdict
from bench.errors import BenchError

BY_CHANCE = {"no_cliff"}
"""Guards that no mistake need make fail: now and then the seed does."""

SAME_LOSS = 1e-3
"""Trials that are right about the same pictures, with losses that differ by a smaller share,
predict the same but for rounding."""


class Pair(NamedTuple):
    """Finished trials of both sides.

    Attributes:
        a, b: of the same seeds, in the same order, where they share any.
        shared: whether they do.
    """

    a: Sequence[Tried]
    b: Sequence[Tried]
    shared: bool

    @property
    def turned(self) -> "Pair":
        """B first."""
        return Pair(self.b, self.a, self.shared)


def changes(key: str, a: Seeds, b: Seeds) -> Iterator[Finding | Draft]:
    """Every quantity of one trial that both sides tried.

    Args:
        key: of the trial without its seed.
        a, b: its seeds.
    """
    blank = Finding("trial", a.label, key, "status", "same")
    yield from _status(blank, a, b)
    pair = _paired(a, b)
    if pair.a and pair.b:
        yield _guards(blank, pair)
        yield _trainable(blank, pair)
        yield _accuracy(blank, pair)
    elif pair.a:
        lost = "no finished trial in B"
        yield replace(blank, quantity="accuracy", verdict="unclear", text=lost)


def _paired(a: Seeds, b: Seeds) -> Pair:
    before, after = a.finished(), b.finished()
    shared = sorted(before.keys() & after.keys())
    if shared:
        return Pair([before[s] for s in shared], [after[s] for s in shared], True)
    return Pair(list(before.values()), list(after.values()), False)


# ------------------------------------------------------------------------------------ how it ended


def _status(blank: Finding, a: Seeds, b: Seeds) -> Iterator[Finding]:
    """Nothing to say where every seed has a result on both sides."""
    ended = replace(blank, a=_counted(a), b=_counted(b))
    shared = a.tried.keys() & b.tried.keys()
    if not shared:
        yield from _status_of_others(ended, a, b)
        return
    absent = sorted(a.tried.keys() - shared)
    if absent:
        text = f"seed {', '.join(map(str, absent))} not in B"
        yield replace(ended, verdict="unclear", text=text)
    failed = {s: b.tried[s] for s in sorted(shared) if b.tried[s].status != "ok"}
    before = {s: a.tried[s] for s in sorted(shared) if a.tried[s].status != "ok"}
    new = {s: t for s, t in failed.items() if s not in before}
    gone = {s: t for s, t in before.items() if s not in failed}
    if failed or before:
        verdict: Verdict = "worse" if new else "better" if gone else "same"
        yield replace(ended, verdict=verdict, text=_why(new or gone or failed))


def _status_of_others(ended: Finding, a: Seeds, b: Seeds) -> Iterator[Finding]:
    """The same where the sides have no seed in common."""
    failed = [{s: t for s, t in side.tried.items() if t.status != "ok"} for side in (a, b)]
    if failed[1]:
        yield replace(ended, verdict="unclear" if failed[0] else "worse", text=_why(failed[1]))
    elif failed[0]:
        yield replace(ended, verdict="better", text=_why(failed[0]))


def _why(failed: Mapping[int, Tried]) -> str:
    seed, tried = next(iter(failed.items()))
    return f"seed {seed} {tried.status}: {tried.reason}"


def _counted(seeds: Seeds) -> str:
    return f"{len(seeds.finished())} of {len(seeds.tried)} ok"


# -------------------------------------------------------------------------------------- its guards


def _guards(blank: Finding, pair: Pair) -> Finding:
    """What fails in A, too, fails for the recipe's sake; what fails in B only is the stack's."""
    new, gone = _newly(pair), _newly(pair.turned)
    verdict: Verdict = "worse" if new else "better" if gone else "same"
    doubts: tuple[str, ...] = ()
    if verdict != "same" and (new or gone) <= BY_CHANCE:
        verdict = "unclear"
        doubts = ("this guard weighs accuracies and may fail by chance; accuracy itself tells",)
    return replace(
        blank,
        quantity="guards",
        verdict=verdict,
        a=_failing(pair.a),
        b=_failing(pair.b),
        text=", ".join(
            [f"{n} fails now" for n in sorted(new)] + [f"{n} holds now" for n in sorted(gone)]
        ),
        doubts=doubts,
    )


def _newly(pair: Pair) -> set[str]:
    """Guards that fail with a seed of the second side, and not with the same of the first."""
    if pair.shared:
        together = zip(pair.a, pair.b, strict=True)
        return set().union(*(set(y.failed_guards) - set(x.failed_guards) for x, y in together))
    before, after = ({n for t in side for n in t.failed_guards} for side in (pair.a, pair.b))
    return after - before


def _failing(side: Sequence[Tried]) -> str:
    failed = sorted({name for t in side for name in t.failed_guards})
    counts = (sum(name in t.failed_guards for t in side) for name in failed)
    said = [f"{name} {n} of {len(side)}" for name, n in zip(failed, counts, strict=True)]
    return f"fail: {', '.join(said)}" if said else "all pass"


# ------------------------------------------------------------------------------------- what trains


def _trainable(blank: Finding, pair: Pair) -> Finding:
    """Of the spec alone: where it differs, something else is trained than before."""
    before, after = ({t.trainable for t in side} for side in (pair.a, pair.b))
    a, b = (" or ".join(sorted(map(_count, side))) for side in (before, after))
    finding = replace(blank, quantity="parameters", a=a, b=b)
    if before == after:
        return finding
    return replace(finding, verdict="worse", text="something else trains now")


def _count(trainable: tuple[int | None, int | None]) -> str:
    return " / ".join("–" if n is None else f"{n:,}" for n in trainable)


# ------------------------------------------------------------------------------------ its accuracy


def _accuracy(blank: Finding, pair: Pair) -> Finding | Draft:
    finding = replace(
        blank,
        quantity="accuracy",
        a=fmean(t.accuracy or 0.0 for t in pair.a),
        b=fmean(t.accuracy or 0.0 for t in pair.b),
    )
    kinds = {t.measured_on for t in (*pair.a, *pair.b)}
    if len(kinds) > 1:
        first, second = sorted(kinds)[:2]
        differ = "; ".join(f"{x} and {y}" for x, y in zip(first, second, strict=True) if x != y)
        return replace(finding, verdict="unclear", text=f"not comparable: {differ}")
    sides = [stacked(side) for side in (pair.a, pair.b)]
    if sides[0] is None or sides[1] is None:
        lost = "not comparable: the predictions of a trial are missing"
        return replace(finding, verdict="unclear", text=lost)
    if pair.shared and (sides[0] == sides[1]).all() and _same_losses(pair):
        return replace(finding, text="the same predictions but for rounding")
    return Draft(finding, partial(_difference, pair))


def _same_losses(pair: Pair) -> bool:
    losses = [(x.loss, y.loss) for x, y in zip(pair.a, pair.b, strict=True)]
    return all(
        x is not None and y is not None and abs(x - y) <= SAME_LOSS * max(abs(x), abs(y))
        for x, y in losses
    )


def _difference(pair: Pair, level: float) -> Effect:
    """Unpacked anew each time: of thousands of trials, few are in memory at once."""
    a, b = stacked(pair.a), stacked(pair.b)
    if a is None or b is None:
        raise BenchError("predictions went away while they were compared")
    return accuracy_difference(a, b, level)
