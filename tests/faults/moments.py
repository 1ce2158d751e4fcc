"""Moments at which a run is disturbed: what must be seen first, and how long after."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.running import store
from tests.faults.runs import Place, Run

PATIENCE = 60.0
"""Seconds that a moment may let wait; a run that is over sooner ends the waiting."""


@dataclass(frozen=True)
class Situation:
    """What the moment may depend on: where the chain stands.

    Attributes:
        place: of the chain.
        run: that goes on.
        left: trials that have no result yet.
    """

    place: Place
    run: Run
    left: int

    def building(self, kind: str) -> bool:
        """Whether an entry of the cache is being written."""
        return any(p.is_dir() for p in (self.place.cache / kind).glob(".*"))

    def has(self, kind: str) -> bool:
        """Whether the cache holds any of a kind."""
        return any((self.place.cache / kind).glob("[!.]*"))

    def saw(self, phase: int, epoch: int, since: int) -> bool:
        """Whether the end of an epoch was told of since a line."""
        words = f"phase {phase} epoch {epoch}/"
        return any(words in line for line in self.run.lines[since:])


Condition = Callable[[Situation, random.Random], Callable[[], object]]


@dataclass(frozen=True)
class Moment:
    """One kind of moment.

    Attributes:
        weight: how often it is chosen, against the others.
        possible: whether it can come in this situation.
        condition: makes what to wait for.
        seconds: up to how long after.
    """

    weight: float
    possible: Callable[[Situation], bool]
    condition: Condition
    seconds: float


def _starting(at: Situation, _: random.Random) -> Callable[[], object]:
    known = set(at.run.workers())
    return lambda: set(at.run.workers()) - known or known


def _program_up(at: Situation, _: random.Random) -> Callable[[], object]:
    return (at.place.folder / store.LOCK).exists


def _caching(kind: str) -> Condition:
    return lambda at, _: lambda: at.building(kind)


def _phase(phase: int, epochs: tuple[int, ...]) -> Condition:
    def condition(at: Situation, chance: random.Random) -> Callable[[], object]:
        since, epoch = len(at.run.lines), chance.choice(epochs)
        return lambda: at.saw(phase, epoch, since)

    return condition


def _writing(at: Situation, chance: random.Random) -> Callable[[], object]:
    """Predictions lie in the scratch folder: the next thing that happens is the row."""
    del chance
    return lambda: any(at.place.folder.glob(f"{store.SCRATCH}*/*.npz"))


def _between(at: Situation, chance: random.Random) -> Callable[[], object]:
    rows, more = at.place.rows(), chance.choice((1, 1, 2))
    return lambda: at.place.rows() >= rows + more


def _any_time(at: Situation, chance: random.Random) -> Callable[[], object]:
    end = time.monotonic() + chance.uniform(0, 15)
    return lambda: time.monotonic() >= end


def _always(at: Situation) -> bool:
    return True


def _fresh(at: Situation) -> bool:
    return not at.run.lines


MOMENTS: Mapping[str, Moment] = {
    "the program starts": Moment(0.5, _fresh, _program_up, 0.3),
    "a worker starts": Moment(1.5, _fresh, _starting, 7.0),
    "pictures are cached": Moment(3.0, lambda at: not at.has("images"), _caching("images"), 0.05),
    "activations are cached": Moment(
        2.0, lambda at: not at.has("activations"), _caching("activations"), 0.5
    ),
    "heads are cached": Moment(2.0, lambda at: not at.has("heads"), _caching("heads"), 0.02),
    "phase 1": Moment(1.0, _always, _phase(1, (1, 2, 3)), 0.2),
    "phase 2": Moment(1.5, _always, _phase(2, (4, 5, 6, 7)), 0.3),
    "a row is written": Moment(1.5, _always, _writing, 0.01),
    "between trials": Moment(1.0, _always, _between, 0.1),
    "any time": Moment(1.0, _always, _any_time, 0.0),
}


def wait(at: Situation, chance: random.Random, only: frozenset[str] = frozenset()) -> str | None:
    """Choose a moment that can come, and wait for it.

    Args:
        at: where the chain stands.
        chance: chooses.
        only: to choose from; empty for all.

    Returns:
        The moment's name; None where it did not come before the run was over.
    """
    order = sorted(MOMENTS, key=lambda name: -(chance.random() ** (1 / MOMENTS[name].weight)))
    order = [name for name in order if not only or name in only]
    name = next(n for n in order if MOMENTS[n].possible(at))
    moment = MOMENTS[name]
    condition, delay = moment.condition(at, chance), chance.uniform(0, moment.seconds)
    if not at.run.until(condition, PATIENCE):
        return None
    at.run.until(lambda: False, delay)
    return name if at.run.alive else None


def folders(place: Place) -> list[Path]:
    """Temporary files and folders that nobody should leave behind."""
    scratch = [*place.folder.glob(store.SCRATCH + "*"), *place.folder.glob(f"*/{store.SCRATCH}*")]
    cached = [p for p in place.cache.glob("*/.*") if p.is_dir()]
    return [*scratch, *cached, *place.temporary.iterdir()]
