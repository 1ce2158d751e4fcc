"""Workers on a Ray cluster, each an actor with an engine of its own; see `ray_worker`.

Ray decides which node has room for a worker, this fleet how many are asked for, and
`bench.running.dispatching` what each of them does. An actor that is gone is gone with its job: Ray
retries nothing, for the dispatcher counts what a job has cost.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from bench import __version__
from bench.errors import StoreError
from bench.progress import Progress
from bench.records import Stack
from bench.running import appending, process, ray_cluster
from bench.running.fleets import Ended, Event, Joined, Left, Said, Worker
from bench.running.jobs import Job
from bench.running.messages import REPLY, Finished, Setup, Shared, Task
from bench.running.ray_cluster import GoneError, Node, RayCluster, Ref
from bench.running.ray_staff import Member, Staff, Tell
from bench.running.ray_worker import Heard

LOOK_SECONDS = 5.0
"""So often the fleet looks what the cluster has, and asks for workers or lets some go."""
HEAR_SECONDS = 10.0
"""A worker that has nothing to say says so after this time."""
END_SECONDS = 10.0
"""What workers get to end what they do and tidy up, before their processes are killed."""


@dataclass(frozen=True)
class Options:
    """What a user asks of Ray.

    Attributes:
        address: of a cluster; None for what RAY_ADDRESS says, or one of this machine alone.
        workers: at most; None for as many as the cluster has room for.
        gpus, cpus: of each worker; None for what suits the cluster (`ray_cluster.needs`).
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    cpus: float | None = None


@contextmanager
def ray_fleet(
    setup: Setup,
    trial_seconds: float | None,
    options: Options,
    tell: Tell,
    command: tuple[str, ...] = process.COMMAND,
) -> Iterator["RayFleet"]:
    """Workers on Ray, the first of which is ready; at the end all are gone.

    Args:
        setup: how workers run their trials, with the folders of this machine.
        trial_seconds: time limit of a trial.
        options: which cluster, and how much of it.
        tell: told what people should know.
        command: what to start as a worker process.

    Raises:
        BenchError: no Ray, no cluster, or no worker that could start.
    """
    with ray_cluster.connected(options.address) as cluster:
        if options.gpus is None and setup.devices > 1 and _has_gpus(cluster.nodes()):
            options = Options(options.address, options.workers, setup.devices, options.cpus)
        fleet = RayFleet(cluster, setup, trial_seconds, options, tell, command)
        try:
            fleet.begin()
            yield fleet
        finally:
            fleet.close()


def _has_gpus(nodes: list[Node]) -> bool:
    return any(node.resources.get("GPU", 0.0) for node in nodes)


_Call = Literal["arrive", "begin", "start", "hear", "end"]


class RayFleet:
    """A `bench.running.fleets.Fleet` of actors.

    Args:
        cluster: to run on.
        setup, trial_seconds, options, tell, command: see `ray_fleet`.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        cluster: RayCluster,
        setup: Setup,
        trial_seconds: float | None,
        options: Options,
        tell: Tell,
        command: tuple[str, ...] = process.COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._scratch, self._clock = cluster, setup.scratch, clock
        self._begun_with = (cluster.put(setup.model_dump_json()), trial_seconds, command)
        needs = ray_cluster.needs(
            cluster.nodes(), options.gpus, options.cpus, setup.memory_limit, options.workers
        )
        self._staff = Staff(cluster, needs, options.workers, tell, clock)
        self._calls: dict[Ref, tuple[Member, _Call]] = {}
        self._events: deque[Event] = deque()
        self._stack: Stack | None = None
        self._wanted = 1
        self._ending = self._closed = False
        self._looked = -LOOK_SECONDS

    # -------------------------------------------------------------------------- as a `Fleet`

    @property
    def stack(self) -> Stack:
        """Of the first worker; no other is taken on."""
        assert self._stack is not None
        return self._stack

    def begin(self) -> None:
        """Wait for the first worker.

        Raises:
            BenchError: there is none, nor will there be.
        """
        while self._stack is None:
            self._step(LOOK_SECONDS)

    def __enter__(self) -> "RayFleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, worker: str, job: Job) -> None:
        """Give a worker its next job; too late for one whose loss is still to be told of."""
        member = self._named(worker)
        if member is None:
            return
        member.job, member.number, member.idle = job, member.number + 1, None
        self._call(member, "start", member.number, Task(work=job.work).model_dump_json())

    def next(self, seconds: float) -> Event | None:
        """What a worker says, or what became of it."""
        end = self._clock() + seconds
        while not self._events:
            self._step(max(0.0, min(end - self._clock(), LOOK_SECONDS)))
            if not self._events and self._clock() >= end:
                return None
        return self._events.popleft()

    def want(self, workers: int) -> None:
        """So many are asked for, as far as there is room."""
        if workers > self._wanted:
            self._looked = -LOOK_SECONDS
        self._wanted = workers

    def rest(self, worker: str) -> None:
        """It may be let go soon."""
        member = self._named(worker)
        if member is not None and member.idle is None:
            member.idle = self._clock()

    def _named(self, worker: str) -> Member | None:
        return next((m for m in self._staff.members if m.worker and m.name == worker), None)

    def unheard(self) -> Iterator[Ended]:
        """What ended, and nobody asked for."""
        waiting, self._events = self._events, deque()
        yield from (event for event in waiting if isinstance(event, Ended))

    def now(self) -> float:
        """Of this machine's clock that never jumps."""
        return self._clock()

    def close(self) -> None:
        """End all that runs; what had come to its end by then can still be heard of."""
        if self._closed:
            return
        self._ending = True
        try:
            self._take_leave()
        finally:
            self._closed = True
            for member in self._staff.members:
                self._cluster.kill(member.handle)

    def _take_leave(self) -> None:
        arrived = [member for member in self._staff.members if member.node]
        for member in arrived:
            self._call(member, "end")
        end = self._clock() + END_SECONDS
        while (left := end - self._clock()) > 0:
            waiting = [r for r, (m, what) in self._calls.items() if m in arrived and not m.gone]
            if not any(self._calls[ref][1] == "end" for ref in waiting):
                break
            self._listen(waiting, left)
        self._listen([ref for ref, (_, what) in self._calls.items() if what == "hear"], 0.0)

    # ------------------------------------------------------------------------ what they say

    def _step(self, seconds: float) -> None:
        """Ask for workers if need be, and take in what happens within so many seconds."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            begun = self._stack is not None
            for member in self._staff.ask(self._wanted if begun else 1, helper=begun):
                ref = self._cluster.arrive(member.handle, __version__)
                self._calls[ref] = member, "arrive"
            self._staff.mind_solitude()
            if (parted := self._staff.let_go(self._wanted)) is not None:
                # Told of before anything else, or it would be given something to do.
                self._events.append(Left(parted.name, ""))
                return
        self._listen(list(self._calls), seconds)

    def _call(self, member: Member, method: _Call, *arguments: Any) -> None:
        ref = self._cluster.call(member.handle, method, *arguments)
        self._calls[ref] = member, method

    def _listen(self, refs: list[Ref], seconds: float) -> None:
        """Take in what came of calls, waiting for one of them."""
        for ref in self._cluster.wait(refs, seconds):
            member, method = self._calls.pop(ref)
            if member.gone:
                continue
            try:
                answer = self._cluster.get(ref)
            except GoneError as error:
                self._lose(member, str(error))
            else:
                self._take(member, method, answer)

    def _take(self, member: Member, method: _Call, answer: Any) -> None:
        if method == "arrive":
            self._arrived(member, answer)
        elif method == "begin":
            self._began(member, answer)
        elif method == "hear":
            for heard in answer:
                self._heard(member, heard)
            if not self._ending:
                self._call(member, "hear", HEAR_SECONDS)

    def _arrived(self, member: Member, where: dict[str, Any]) -> None:
        if not self._staff.arrived(member, where["node"], where["address"], where["gpus"]):
            return
        if where["problem"]:
            self._staff.refuse(member, where["problem"])
        else:
            self._call(member, "begin", *self._begun_with, bool(member.needs.gpus))

    def _began(self, member: Member, answer: dict[str, str]) -> None:
        """A worker joins, unless it could not begin, or came up on another stack."""
        if problem := answer.get("problem"):
            self._staff.fail(member, problem)
            return
        stack = Stack.model_validate_json(answer["stack"])
        if member.needs.gpus and stack.device == "cpu":
            self._staff.refuse(member, f"it was given a GPU, and {stack.backend} sees none there")
        elif not member.only_cpu and self._stack not in (None, stack):
            assert self._stack is not None
            self._staff.refuse(
                member, f"it came up as {stack.id}, and this run is {self._stack.id}"
            )
        else:
            if not member.only_cpu:
                self._stack = stack
            member.worker = Worker(member.name, member.address, answer["cache"], member.only_cpu)
            self._events.append(Joined(member.worker))
            self._call(member, "hear", HEAR_SECONDS)

    def _heard(self, member: Member, heard: Heard) -> None:
        number, ends, text, predictions = heard
        if number != member.number or member.job is None:
            return
        if not ends:
            progress = Progress.model_validate_json(text)
            self._events.append(Said(member.name, member.job, progress))
            return
        outcome = REPLY.validate_json(text)
        assert isinstance(outcome, Finished | Shared)
        if isinstance(outcome, Finished) and predictions is not None:
            outcome = self._with_file(outcome, predictions)
        self._events.append(Ended(member.name, member.job, outcome))
        member.job = None

    def _with_file(self, outcome: Finished, predictions: bytes) -> Finished:
        """Predictions come to lie where a local worker would have put them."""
        path = self._scratch / f"{outcome.result.spec.key}.npz"
        try:
            path.write_bytes(predictions)
        except OSError as error:
            remedy = appending.remedy(error)
            raise StoreError(f"{path}: cannot be written: {error}{remedy}") from error
        return outcome.model_copy(update={"predictions": path})

    def _lose(self, member: Member, why: str) -> None:
        """Its process is gone, or is to be: nobody can tell what it still does."""
        if self._ending:
            return
        if member.worker is not None:
            self._staff.drop(member)
            self._looked = -LOOK_SECONDS
            self._events.append(Left(member.name, why, busy=member.job is not None))
        elif member.node:
            self._staff.fail(member, why)
        else:
            self._staff.drop(member)
            self._staff.trouble = why
