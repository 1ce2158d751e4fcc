"""Tasks of a suite on several stacks in turns: A B, B A, A B ..., group by group.

Whatever drifts on a machine over hours (its load, its heat, its pictures' download) then drifts for
all stacks alike. What is timed takes turns more finely (`bench.running.lockstep`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.records import Progress, Stack
from bench.running import runner
from bench.running.lockstep import Listener, Side
from bench.running.runner import Stands, Summary, any_row
from bench.tasks import Row, Spec


def run(
    tasks: Sequence[Spec],
    sides: Sequence[Side],
    listener: Listener,
    stands: Callable[[Side], Stands] = lambda _: any_row,
) -> dict[str, Summary]:
    """Run every task on every side that does not hold its row yet; a failed one stops nothing.

    A group (`runner.groups`) is done on one side, then on the next; of the next group the side that
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
    rules = {side.name: stands(side) for side in sides}
    settled = sum(_settled(tasks, side, rules[side.name]) for side in sides)
    listener.begins(sides, len(tasks) * len(sides), settled)
    parts: dict[str, list[Summary]] = {side.name: [] for side in sides}
    for number, group in enumerate(runner.groups(tasks)):
        for side in sides if number % 2 == 0 else sides[::-1]:
            telling = _Telling(side, listener)
            done = runner.run(group, side.store, side.engine, telling, rules[side.name])
            parts[side.name].append(done)
            side.engine.close()
    return {
        name: Summary(
            tuple(row for part in own for row in part.measured),
            tuple(row for part in own for row in part.settled),
        )
        for name, own in parts.items()
    }


def _settled(tasks: Sequence[Spec], side: Side, stands: Stands) -> int:
    known = side.store.settled(side.engine.stack)
    return sum(task.key in known and stands(known[task.key]) for task in tasks)


@dataclass(frozen=True)
class _Telling:
    """A listener to one side, who passes on what it hears."""

    side: Side
    listener: Listener

    def begins(self, stack: Stack, trials: int, settled: int) -> None:
        """The whole has begun before."""

    def trial_begins(self, spec: Spec) -> None:
        self.listener.trial_begins(self.side, spec)

    def progress(self, spec: Spec, progress: Progress) -> None:
        self.listener.progress(self.side, spec, progress)

    def trial_ends(self, result: Row) -> None:
        self.listener.trial_ends(self.side, result)
