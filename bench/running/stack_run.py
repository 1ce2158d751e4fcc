"""A suite on several stacks: their environments, workers, and rows, one results folder for each.

    <results>/stacks/<suite>/<stack name>/stack.json                  what became of the stack
    <results>/stacks/<suite>/<stack name>/<stack id>/trials.jsonl ... its rows, as everywhere

A stack that cannot be installed, or whose worker cannot start, is a note with its reason; the
others go on. Weights and decoded pictures are shared, other intermediate work is not.
"""

import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import cache
from bench.costs import CostSpec
from bench.errors import BenchError, WorkerError
from bench.records import Stack
from bench.running import (
    backends,
    cases,
    devices,
    environments,
    interleaved,
    isolation,
    lockstep,
    numerics_cases,
    process,
    recipes,
    stacks,
    store,
)
from bench.running.lockstep import Listener, Side
from bench.running.messages import Setup
from bench.running.recipes import Recipe
from bench.running.runner import Stands
from bench.running.stacks import StackNote, StackRequest
from bench.running.store import Store
from bench.settings import Settings
from bench.suite import Suite
from bench.tasks import Spec

Tell = Callable[[str], None]
Listening = Callable[[str], AbstractContextManager[Listener]]
"""A listener to tasks, given what one is called."""
SHORTEST_SECRET = 4


@dataclass(frozen=True)
class Job:
    """What to do on every stack.

    Attributes:
        suite: whose trials, and whose costs.
        requests: the stacks.
        settings: of this machine.
        folder: of the results: each stack has one of its name in it.
        rounds: times to measure each cost.
        seconds: to time each kind of step.
        trials, costs: whether to do these.
        refresh: make environments anew whose requirements may mean other versions by now.
        memory_limit: of a worker and its children, in bytes; None for none.
    """

    suite: Suite
    requests: tuple[StackRequest, ...]
    settings: Settings
    folder: Path
    rounds: int = 6
    seconds: float = 3.0
    trials: bool = True
    costs: bool = True
    refresh: bool = False
    memory_limit: int | None = None

    @property
    def names(self) -> dict[str, str]:
        """What to write in place of this machine's folders, and of secrets; longest first."""
        named = {sys.prefix: "<python>", sys.base_prefix: "<python>"}
        named |= self.settings.names(self.suite.folder)
        # A shorter value may be part of a word, and tells little.
        found = (value for request in self.requests for value in request.secrets)
        named |= {value: stacks.HIDDEN for value in found if len(value) >= SHORTEST_SECRET}
        return {text: named[text] for text in sorted(named, key=len, reverse=True)}

    @property
    def numerics(self) -> tuple[Spec, ...]:
        """What to probe before anything is trained."""
        return numerics_cases.of_suite(self.suite).cases

    @property
    def cases(self) -> tuple[CostSpec, ...]:
        """The costs to measure."""
        return cases.of_suite(self.suite, cases.Choice()).cases if self.costs else ()


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        stacks: of the requests that could run, by name, in their order.
        complete: every stack could run. What its tasks came to is for the comparison to say.
    """

    stacks: Mapping[str, Stack]
    complete: bool


@dataclass(frozen=True)
class _Party:
    """A stack that has an environment."""

    request: StackRequest
    ready: environments.Ready
    store: Store
    setup: Setup

    @property
    def command(self) -> tuple[str, ...]:
        return (str(self.ready.python), *process.COMMAND[1:])


def backend_of(request: StackRequest, suite: Suite) -> str:
    """What a stack computes with.

    Raises:
        BenchError: the stack and the suite contradict each other.
    """
    if request.backend and suite.backend and request.backend != suite.backend:
        raise BenchError(
            f"--stack {request.written!r}: computes with {request.backend}, but the suite has "
            f"execution.backend = {suite.backend!r}: take it out of the suite"
        )
    return request.backend or backends.chosen(suite.backend)


def run(job: Job, tell: Tell, listening: Listening) -> Outcome:
    """Make what has to be made, run everything in turns, and note what became of each stack.

    Args:
        job: what to do.
        tell: told what happens before and between tasks.
        listening: gives who is told of the tasks.

    Raises:
        BenchError: the job cannot be done on any stack, or results of others are in the way.
    """
    wanted = {r.name: _recipe(r, job.suite) for r in job.requests}
    with ExitStack() as opened:
        held = {name: opened.enter_context(_writing(job, name)) for name in wanted}
        cache.sweep(job.settings)
        for request in job.requests:
            _check_same(job, request)
        parties = list(_parties(job, wanted, held, opened, tell))
        timing = _started(parties, job, tell, opened, _timing(job))
        if timing and job.numerics:
            with listening("fingerprint") as listener:
                interleaved.run(job.numerics, timing, listener, _same_packages)
        _close(timing)
        able = [party for party in parties if party.request.name in {s.name for s in timing}]
        sides = _started(able, job, tell, opened, {}) if job.trials else timing
        if sides and job.trials:
            with listening("trial") as listener:
                interleaved.run(job.suite.trials, sides, listener)
        _close(sides)
        if timing and job.costs:
            with listening("measurement") as listener:
                _costs(timing, job, listener)
        found = {side.name: side.engine.stack for side in sides}
    return Outcome(found, len(sides) == len(job.requests))


def _writing(job: Job, name: str) -> AbstractContextManager[Store]:
    return store.writing(job.folder / name, job.names)


def _recipe(request: StackRequest, suite: Suite) -> Recipe | None:
    backend = backend_of(request, suite)
    return None if request.is_current else recipes.recipe(request, backend)


def _check_same(job: Job, request: StackRequest) -> None:
    """Rows of two different stacks under one name would be taken for one stack's."""
    folder = job.folder / request.name
    before = stacks.read(folder)
    if before is None or not any(any(folder.glob(f"*/{name}")) for name in store.KINDS):
        return
    known, now = before.request, _masked(request, job.names)
    same = sorted(known.requirements) == sorted(now.requirements)
    if not same or (known.backend, known.environ) != (now.backend, now.environ):
        raise BenchError(
            f"--stack {now.written!r}: {folder} holds results of "
            f"{known.written!r}: expected another name in front, or another --results"
        )


# -------------------------------------------------------------------------------- environments


def _parties(
    job: Job,
    wanted: Mapping[str, Recipe | None],
    held: Mapping[str, Store],
    opened: ExitStack,
    tell: Tell,
) -> Iterator[_Party]:
    """The stacks that have an environment; of the others, the reason is kept."""
    code: Path | None = None
    fresh: set[str] = set()
    for request in job.requests:
        own, recipe = held[request.name], wanted[request.name]
        for note in own.notes:
            tell(note)
        refresh = (
            job.refresh and request.floating and (recipe is None or recipe.folder not in fresh)
        )
        made = _made(request, recipe, job.settings, tell, opened, refresh)
        fresh |= {recipe.folder} if recipe else set()
        if isinstance(made, environments.NotMade):
            _keep(job, request, tell, "not installable", made.reason)
            continue
        scratch = opened.enter_context(own.scratch())
        code = code or environments.code(scratch)
        settings = opened.enter_context(environments.apart(job.settings))
        setup = Setup.of(job.suite, settings, scratch).model_copy(
            update={
                "backend": backend_of(request, job.suite),
                "environ": environments.environ(request, code),
                "memory_limit": job.memory_limit,
            }
        )
        yield _Party(request, made, own, setup)


def _made(
    request: StackRequest,
    recipe: Recipe | None,
    settings: Settings,
    tell: Tell,
    opened: ExitStack,
    refresh: bool,
) -> environments.Made:
    if recipe is None:
        return environments.here()

    def say(text: str) -> None:
        tell(f"{request.name}: {text}")

    made = environments.made(recipe, settings, say, opened, refresh=refresh)
    if isinstance(made, environments.Ready):
        packages = environments.main_packages(made)
        versions = ", ".join(f"{name} {version}" for name, version in packages.items())
        what = f"there already, made {made.age}" if made.reused else "made"
        newer = "; --refresh looks for newer versions" if made.reused and request.floating else ""
        say(f"environment {what}{newer}: {versions}")
        for dropped in made.dropped:
            say(f"not as it is here, because the stack does not allow it: {dropped}")
    return made


def _keep(
    job: Job,
    request: StackRequest,
    tell: Tell,
    status: stacks.Status,
    reason: str = "",
    ready: environments.Ready | None = None,
    stack: Stack | None = None,
) -> None:
    """Write ``stack.json``, and say what is wrong."""
    reason = stacks.masked(reason, job.names)
    note = StackNote(
        request=_masked(request, job.names),
        status=status,
        reason=reason,
        python=platform.python_version(),
        packages=environments.main_packages(ready) if ready else {},
        dropped=ready.dropped if ready else (),
        stack=stack,
    )
    folder = job.folder / request.name
    before = stacks.read(folder)
    if before and before.packages and note.packages and before.packages != note.packages:
        tell(f"{request.name}: other packages than with its earlier rows, which are kept")
    stacks.write(folder, note)
    if status != "ok":
        tell(f"{request.name}: {status}: {reason}; the others go on")


def _masked(request: StackRequest, names: Mapping[str, str]) -> StackRequest:
    return request.model_copy(
        update={
            "requirements": tuple(stacks.masked(r, names) for r in request.requirements),
            "environ": {k: stacks.masked(v, names) for k, v in request.shown.items()},
            "written": stacks.masked(request.written, names),
        }
    )


# --------------------------------------------------------------------------------------- workers


def _timing(job: Job) -> dict[str, object]:
    """How workers differ that measure or probe: what they find is no trial's."""
    return {
        # Deterministic kernels are slower ones, and no result needs to be equal twice.
        "execution": job.suite.trials[0].execution.model_copy(update={"deterministic": False}),
        "timed_seconds": job.seconds,
        # One GPU, and the same each time. None leaves a machine without any to its framework.
        "gpu": (*devices.visible(), None)[0],
        "devices": 1,
    }


def _started(
    parties: Sequence[_Party],
    job: Job,
    tell: Tell,
    opened: ExitStack,
    changes: Mapping[str, object],
) -> list[Side]:
    """Engines of those stacks whose worker starts; of the others, the reason is kept."""
    sides: list[Side] = []
    minutes = job.suite.trial_minutes or (cases.MINUTES if changes else None)
    for party in parties:
        name, setup = party.request.name, party.setup.model_copy(update=changes)
        try:
            engine = isolation.LocalEngine(setup, minutes and 60 * minutes, party.command)
        except WorkerError as error:
            _keep(job, party.request, tell, "not importable", str(error), party.ready)
            continue
        opened.callback(engine.close)
        if sides:
            engine.close()  # idle, it would hold memory while others work; a new one starts then
        sides.append(Side(name, party.store, engine))
        _keep(job, party.request, tell, "ok", ready=party.ready, stack=engine.stack)
    return sides


def _close(sides: Sequence[Side]) -> None:
    """End workers that wait: they hold memory that others need. A new one starts when asked for."""
    for side in sides:
        side.engine.close()


def _same_packages(side: Side) -> Stands:
    packages = side.engine.environment.packages
    return lambda row: numerics_cases.stands(row, packages)


def _costs(sides: Sequence[Side], job: Job, listener: Listener) -> None:
    lockstep.measure(
        job.cases,
        sides,
        job.rounds,
        listener,
        lambda row: cases.stands(row, job.seconds, again=False),
    )
