"""What a reader must know about the table of trials: doubts, caveats, failures, guards."""

from collections.abc import Iterator, Sequence

from bench.analysis import naming
from bench.analysis.ranking import Ranked, ranked
from bench.records import TrialResult
from bench.reporting.forms import kept
from bench.zoo.traps import noticing

INTERVAL, BEST = "95%", "best"
"""Headings that notes explain."""

WAIT_SHARE, WAIT_SECONDS = 0.1, 10.0
"""A phase that waits for input in a larger share, and is no shorter, is worth a note."""


def notes(rows: Sequence[TrialResult], known: Ranked | None = None) -> list[str]:
    """What a reader must know about these numbers: doubts, caveats, failures, guards.

    Args:
        rows: that the numbers are of.
        known: what `ranking.ranked` makes of them, where that was done already.
    """
    found = known or ranked(rows)
    return kept(
        [
            *(*_sampling(rows, found), *_sharing(rows, found), *_failures(rows), *_traps(rows)),
            *(*_waiting(rows), *_caveats(rows)),
        ]
    )


def _caveats(rows: Sequence[TrialResult]) -> Iterator[str]:
    for row in rows:
        for remark in (*row.dataset.caveats, *row.dataset.notes) if row.dataset else ():
            yield f"{row.spec.data.dataset.name}: {remark}"
    for row in rows:
        random = row.spec.backbone.weights == "random"
        if random and row.spec.freeze.strategy != "scratch":
            yield f"{row.spec.backbone.name}: {naming.MEANINGLESS}"
        elif row.weights and row.weights.source.startswith("package"):
            yield f"{row.spec.backbone.name}: weights from {row.weights.source}"


def _sampling(rows: Sequence[TrialResult], found: Ranked) -> Iterator[str]:
    """What the interval is of, and what it is not."""
    tests = {(r.spec.data.dataset.name, r.dataset.test) for r in rows if r.dataset}
    groups = [g for g in found.groups if g.correct is not None]
    if groups:
        pictures = ", ".join(f"{name} {count:,}" for name, count in sorted(tests))
        single = any(len(g.finished) == 1 for g in groups)
        without = "; from a single seed, the spread over seeds is not in it" if single else ""
        yield (
            f"{INTERVAL}: interval of the test accuracy, over pictures and seeds like these "
            f"(test pictures: {pictures}){without}"
        )
    if any(found.standings):
        stack = " of its stack," if len({g.stack.id for g in found.groups}) > 1 else ""
        yield (
            f"{BEST}: told from every other trial{stack} on the same test pictures; tie: not told "
            "from the highest (paired by picture, adjusted for their number)"
        )


def _sharing(rows: Sequence[TrialResult], found: Ranked) -> Iterator[str]:
    """What spread and times leave out where trials saw the same views, or shared work."""
    several = [g for g in found.groups if len(g.finished) > 1]
    same = dict.fromkeys(v for g in several if (v := naming.views(g)) not in (None, "per-seed"))
    if same:
        yield (
            "± over seeds leaves augmentation's own randomness out: all seeds saw the same views "
            f"(views = {', '.join(map(str, same))})"
        )
    if any(row.way == "shared" for row in rows):
        yield (
            "time: work that trials share counts in the trial that did it; img/s is left out "
            "where it is not the stock model's"
        )


def _waiting(rows: Sequence[TrialResult]) -> Iterator[str]:
    """Phases whose device stood idle for want of pictures."""
    for row in rows:
        for name, phase in (("phase 1", row.phase1), ("phase 2", row.phase2)):
            share = phase.input_wait if phase and phase.seconds > WAIT_SECONDS else None
            if share is not None and share > WAIT_SHARE:
                yield f"{row.spec.label}: {name} waited for input {100 * share:.0f}% of its time"


def _failures(rows: Sequence[TrialResult]) -> Iterator[str]:
    for row in rows:
        if row.status != "ok":
            yield f"{row.spec.label}: {row.status}: {row.reason}"
        for guard in row.guards:
            if guard.passed is False and guard.name not in noticing(row.spec.trap):
                yield f"{row.spec.label}: guard {guard.name} failed: {guard.evidence}"


def _traps(rows: Sequence[TrialResult]) -> Iterator[str]:
    """Whether each trap was noticed: in one line where it was, by trial where it was not."""
    tried = [r for r in rows if r.spec.trap and r.guards]
    for trap in dict.fromkeys(r.spec.trap for r in tried):
        trials = [r for r in tried if r.spec.trap == trap]
        found = [
            g for r in trials for g in r.guards if g.passed is False and g.name in noticing(trap)
        ]
        noticed = [r for r in trials if noticing(trap) & set(r.failed_guards)]
        if noticed:
            names = " and ".join(dict.fromkeys(g.name for g in found))
            yield (
                f"trap {trap}: noticed by the guard {names} in {len(noticed)} of {len(trials)} "
                f"trials, such as: {found[0].evidence}"
            )
        for row in trials:
            if row not in noticed:
                yield f"{row.spec.label}: trap {trap} was noticed by no guard"


def on_time(rows: Sequence[TrialResult]) -> Iterator[str]:
    """What times to an accuracy are of."""
    yield "time to an accuracy: of the epochs as they ran, val included"
    if any(row.way == "shared" for row in rows):
        yield (
            "time to an accuracy, where work was shared: training alone, at the stock model's "
            "throughput as `bench measure` found it on this suite; – where it was not measured"
        )
