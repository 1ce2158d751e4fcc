"""Tasks of a suite on several stacks in turns: A B, B A, A B ..., group by group.

Whatever drifts on a machine over hours (its load, its heat, its pictures' download) then drifts for
all stacks alike. What is timed takes turns more finely (`bench.running.lockstep`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial

from bench.probes import ProbeSpec
from bench.records import TrialSpec
from bench.running.lockstep import Listener, Side
from bench.running.runner import Stands, Summary, any_row
from bench.steps import ground_of
from bench.tasks import Row, Spec


def run(
    tasks: Sequence[Spec],
    sides: Sequence[Side],
    listener: Listener,
    stands: Callable[[Side], Stands] = lambda _: any_row,
) -> dict[str, Summary]:
    """Run every task on every side that does not hold its row yet; a failed one stops nothing.

    A group (`groups`) is done on one side, then on the next; of the next group the side that
    was last is first. A worker ends with its turn: idle, it would hold memory that others need.

    Args:
        tasks: in the order to run.
        sides: with distinct names.
        listener: told how it goes.
        stands: for each side, which of the rows that its store holds need not be measured again.

    Returns:
        By side: the rows of this run, and those of earlier ones that were kept.

    Raises:
        StoreError: a row could not be read or written.
    """
    kept = {side.name: _kept(tasks, side, stands(side)) for side in sides}
    listener.begins(sides, len(tasks) * len(sides), sum(map(len, kept.values())))
    measured: dict[str, list[Row]] = {side.name: [] for side in sides}
    for number, group in enumerate(groups(tasks)):
        for side in sides if number % 2 == 0 else sides[::-1]:
            for spec in group:
                if spec.key not in kept[side.name]:
                    measured[side.name].append(_done(spec, side, listener))
            side.engine.close()
    return {
        side.name: Summary(tuple(measured[side.name]), tuple(kept[side.name].values()))
        for side in sides
    }


def groups(trials: Sequence[Spec]) -> list[list[Spec]]:
    """Trials and probes by the ground they stand on, measurements by backbone; in order of their
    first."""
    found: dict[Hashable, list[Spec]] = {}
    for spec in trials:
        trial = spec.trials[0] if isinstance(spec, ProbeSpec) else spec
        alike = ground_of(trial) if isinstance(trial, TrialSpec) else trial.backbone.name
        found.setdefault(alike, []).append(spec)
    return list(found.values())


def _kept(tasks: Sequence[Spec], side: Side, stands: Stands) -> Mapping[str, Row]:
    """Rows that a side holds already, by key, in the order of the tasks."""
    known = side.store.settled(side.engine.stack)
    return {t.key: known[t.key] for t in tasks if t.key in known and stands(known[t.key])}


def _done(spec: Spec, side: Side, listener: Listener) -> Row:
    """Do one task, and keep its row."""
    listener.trial_begins(side, spec)
    finished = side.engine.execute(spec, partial(listener.progress, side, spec))
    row = side.store.append(finished.result, finished.predictions)
    listener.trial_ends(side, row)
    return row
