"""What `bench.measuring.apart` tries: a batch size, and the fastest way to run a step."""

from dataclasses import dataclass
from pathlib import Path

from bench.costs import CostSpec
from bench.measuring import fastest, subject
from bench.measuring.steps import Bursts
from bench.records import Execution
from bench.settings import Settings
from bench.training import execution
from bench.training.grounds import Workplace
from bench.training.modes import Mode


@dataclass(frozen=True)
class Place:
    """What a process needs to know to build a model: see `bench.training.grounds.Workplace`."""

    settings: Settings
    folder: Path


def attempt(spec: CostSpec, place: Place, size: int) -> None:
    """One step out of the box on a batch of so many pictures."""
    what = subject.load(spec, _workplace(spec, place))
    batch = what.batch(size)
    what.compile("auto")
    Bursts(what.step(batch), lambda: batch)(1)


def choose(spec: CostSpec, place: Place, size: int) -> Mode:
    """The fastest way to run a step on such a batch."""
    what = subject.load(spec, _workplace(spec, place))
    return fastest.best(what, what.batch(size))


def _workplace(spec: CostSpec, place: Place) -> Workplace:
    stack = execution.configure(Execution(precision=spec.precision, deterministic=False))
    return Workplace(place.settings, place.folder, stack, execution.environment())
