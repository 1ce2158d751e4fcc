"""Several stacks measured together: a worker process of each, taking turns burst by burst.

A machine that others use drifts over seconds and minutes, by more than two stacks differ. What is
measured in turns drifts alike. Only one of the workers ever works while it times; all others wait.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from bench.costs import CostResult, CostSpec
from bench.errors import BenchError
from bench.progress import Progress
from bench.running.fleets import Ended, Joined, Said
from bench.running.isolation import LocalEngine
from bench.running.jobs import Job
from bench.running.local_fleet import LocalFleet
from bench.running.messages import Finished
from bench.running.runner import Stands, Summary, any_row
from bench.running.store import COSTS, SETTLED, Store, every
from bench.tasks import Row, Spec

WAIT_SECONDS = 1.0
"""How often to look up while nothing happens."""


class Turns:
    """Who may time something: the referee between the threads of several workers.

    A turn lasts until who has it asks for another or leaves, and none begins before everybody
    waits: while one times, nobody compiles, builds or times. Each lap gives everybody one turn, in
    the reverse order of the lap before (A B, B A, ...), so that a steady drift favours nobody.

    Args:
        players: in the order of the first lap.
    """

    def __init__(self, players: Sequence[str]) -> None:
        self._changed = threading.Condition()
        self._lap, self._left = list(players), deque(players)
        self._waiting: set[str] = set()
        self._turn: str | None = None

    def take(self, who: str) -> int:
        """End the turn of ``who``, if it is theirs, and wait for their next.

        Returns:
            How many others there are, who all wait; once ``who`` has left, at once.
        """
        with self._changed:
            if self._turn == who:
                self._turn = None
            self._waiting.add(who)
            self._grant()
            self._changed.wait_for(lambda: self._turn == who or who not in self._lap)
            self._waiting.discard(who)
            return len([other for other in self._lap if other != who])

    def leave(self, who: str) -> None:
        """Nobody waits for ``who`` any more. Leaving twice is leaving once."""
        with self._changed:
            if who in self._lap:
                self._lap.remove(who)
            if self._turn == who:
                self._turn = None
            self._grant()
            self._changed.notify_all()

    def _grant(self) -> None:
        if self._turn is not None or not self._lap or not self._waiting.issuperset(self._lap):
            return
        while self._turn is None:
            if not self._left:
                self._lap.reverse()
                self._left.extend(self._lap)
            following = self._left.popleft()
            self._turn = following if following in self._lap else None
        self._changed.notify_all()


@dataclass(frozen=True)
class Side:
    """One of the stacks that are measured together.

    Attributes:
        name: what tells it from the others.
        store: where its rows go, held for writing.
        engine: starts its workers.
    """

    name: str
    store: Store
    engine: LocalEngine


class Listener(Protocol):
    """Who is told how it goes: as `bench.running.listening.Listener`, of several sides."""

    def begins(self, sides: Sequence[Side], measurements: int, settled: int) -> None:
        """It starts: so many rows on all sides together, of which so many are there already."""

    def trial_begins(self, side: Side, spec: Spec) -> None:
        """A side begins to measure."""

    def progress(self, side: Side, spec: Spec, progress: Progress) -> None:
        """It goes on."""

    def trial_ends(self, side: Side, result: Row) -> None:
        """It has ended, and its row is on disk."""


def measure(
    cases: Sequence[CostSpec],
    sides: Sequence[Side],
    rounds: int,
    listener: Listener,
    stands: Stands = any_row,
) -> dict[str, Summary]:
    """Measure every case in turns on all sides, as often as asked for.

    A round that all sides have measured together before counts. Each round is a fresh process on
    each side; its rows share an id (`CostResult.together`). A side that fails gets the row that
    says so, and the others go on.

    Args:
        cases: in the order to measure, in each round.
        sides: the one that begins changes from round to round.
        rounds: of each case.
        listener: called by the calling thread only, which alone writes the stores.
        stands: asked of the rows that the stores hold.

    Returns:
        By side: the rows of this run, and those of earlier ones that were kept.

    Raises:
        BenchError: two sides cannot be told apart.
        StoreError: a row could not be read or written.
    """
    _check_apart(sides)
    kept = {side.name: _kept(side, stands) for side in sides}
    done = {spec.key: _joint(kept, spec.key)[:rounds] for spec in cases}
    listener.begins(sides, rounds * len(cases) * len(sides), len(sides) * _total(done))
    measured: dict[str, list[Row]] = {side.name: [] for side in sides}
    for number in range(rounds):
        order = sides if number % 2 == 0 else sides[::-1]
        for spec in cases:
            if number >= len(done[spec.key]):
                _measure_once(spec, order, number, listener, measured)
    return {
        side.name: Summary(tuple(measured[side.name]), _settled(kept[side.name], done))
        for side in sides
    }


def _measure_once(
    spec: CostSpec,
    sides: Sequence[Side],
    number: int,
    listener: Listener,
    measured: Mapping[str, list[Row]],
) -> None:
    """One case, once, on all sides; what has finished is stored, whatever ends it."""
    together = f"{datetime.now(UTC).isoformat(timespec='microseconds')} round {number + 1}"
    turns = Turns([side.name for side in sides])
    fleet = LocalFleet([_Player(side, turns) for side in sides])
    job = Job(spec.key, spec, spec.backbone.name)
    players: dict[str, Side] = {}

    def keep(event: Ended) -> None:
        side, finished = players[event.worker], event.outcome
        assert isinstance(finished, Finished)
        row = finished.result.model_copy(update={"together": together})
        row = side.store.append(row, finished.predictions)
        measured[side.name].append(row)
        listener.trial_ends(side, row)

    left = len(sides)
    try:
        with fleet:
            while left:
                event = fleet.next(WAIT_SECONDS)
                if isinstance(event, Joined):
                    side = players[event.worker.name] = sides[len(players)]
                    listener.trial_begins(side, spec)
                    fleet.start(event.worker.name, job)
                elif isinstance(event, Said):
                    listener.progress(players[event.worker], spec, event.progress)
                elif isinstance(event, Ended):
                    left -= 1
                    fleet.rest(event.worker)
                    keep(event)
    finally:
        for event in fleet.unheard():
            keep(event)


class _Player:
    """A side's engine, whose workers time in their turns. It leaves when its process is gone."""

    def __init__(self, side: Side, turns: Turns) -> None:
        self.stack = side.engine.stack
        self._engine, self._name, self._turns = side.engine, side.name, turns

    def execute(self, spec: Spec, report: Callable[[Progress], None]) -> Finished:
        try:
            return self._engine.execute(spec, report, partial(self._turns.take, self._name))
        finally:
            self._turns.leave(self._name)

    def close(self) -> None:
        self._engine.close()
        self._turns.leave(self._name)


def _check_apart(sides: Sequence[Side]) -> None:
    """Whether rows of every two sides can be told from each other."""
    for what, names in (
        ("name", [side.name for side in sides]),
        ("results folder", [str(side.store.folder / side.engine.stack.id) for side in sides]),
    ):
        name, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise BenchError(f"{times} sides have the {what} {name}: expected one for each")


def _kept(side: Side, stands: Stands) -> dict[str, dict[str, CostResult]]:
    """What a side holds of joint measurements: key -> id -> row."""
    found: dict[str, dict[str, CostResult]] = {}
    folder = side.store.folder / side.engine.stack.id
    for _, row in every(folder, []) if (folder / COSTS).exists() else ():
        if isinstance(row, CostResult) and row.together and row.status in SETTLED and stands(row):
            found.setdefault(row.key, {})[row.together] = row
    return found


def _joint(kept: Mapping[str, Mapping[str, Mapping[str, CostResult]]], key: str) -> list[str]:
    """Ids of the rounds that are complete on all sides, oldest first."""
    first, *others = (held.get(key, {}) for held in kept.values())
    return [name for name in first if all(name in held for held in others)]


def _settled(
    kept: Mapping[str, Mapping[str, CostResult]], done: Mapping[str, Sequence[str]]
) -> tuple[Row, ...]:
    return tuple(kept[key][name] for key, names in done.items() for name in names)


def _total(done: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, done.values()))
