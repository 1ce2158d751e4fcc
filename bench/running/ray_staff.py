"""Who works for a fleet on Ray: whom it asks for, lets go, and does not want.

Ray decides where there is room. Of the nodes, this keeps those that are no good: with another
version of Bench, another kind of device, or on which workers do not start.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import BenchError
from bench.running import ray_cluster
from bench.running.fleets import Worker
from bench.running.jobs import Job
from bench.running.ray_cluster import Handle, Needs, Node, RayCluster

REST_SECONDS = 30.0
"""A worker that had nothing to do for so long is let go, if fewer are useful."""
NOTE_SECONDS, PATIENCE_SECONDS = 30.0, 600.0
"""Without any worker: when to say so, and when to give up."""
MOST_FAILURES = 2
"""A node on which so many workers did not start gets no more."""

Tell = Callable[[str], None]
"""Told what people should know."""


@dataclass(eq=False)
class Member:
    """One actor, from when it is asked for.

    Attributes:
        handle: Ray's.
        needs: what it takes.
        only_cpu: see `Worker`.
        asked: when, on the fleet's clock.
        node, address, name: once it has arrived; ``node`` is Ray's id of it.
        worker: once it has joined.
        job, number: what it does, and the number of its newest job.
        idle: since when it has had nothing to do; None while it has.
        gone: nothing of what it says counts any more.
    """

    handle: Handle
    needs: Needs
    only_cpu: bool
    asked: float
    node: str = ""
    address: str = ""
    name: str = ""
    worker: Worker | None = None
    job: Job | None = None
    number: int = 0
    idle: float | None = None
    gone: bool = False


class Staff:
    """The members of a fleet.

    Args:
        cluster: to ask.
        needs: of each of them.
        most: how many there may be; None for as many as the cluster has room for.
        tell: told what people should know.
        clock: seconds.

    Attributes:
        members: that are there, or asked for.
        trouble: why the last one was lost that nobody knew yet.
    """

    def __init__(
        self,
        cluster: RayCluster,
        needs: Needs,
        most: int | None,
        tell: Tell,
        clock: Callable[[], float],
    ) -> None:
        self._cluster, self._needs, self._most = cluster, needs, most
        self._tell, self._clock = tell, clock
        self.members: list[Member] = []
        self.trouble = ""
        self._nodes: list[Node] = []
        self._helped = self._said_alone = self._said_room = False
        self._names: set[str] = set()
        self._refused: dict[str, str] = {}
        self._failures: Counter[str] = Counter()
        self._alone: float | None = clock()

    @property
    def _usable(self) -> list[Node]:
        return [node for node in self._nodes if node.id not in self._refused]

    @property
    def _computing(self) -> list[Member]:
        return [member for member in self.members if not member.only_cpu]

    def ask(self, wanted: int, helper: bool) -> list[Member]:
        """Ask for as many workers as are useful; gives the new ones.

        Args:
            wanted: how many there should be.
            helper: whether one without a GPU would be of use, too.
        """
        self._nodes = self._cluster.nodes()
        room = max(1, ray_cluster.room(self._usable, self._needs))
        target = min(room if self._most is None else self._most, max(wanted, 1))
        if target > room and not self._said_room:
            self._said_room = True
            self._tell(
                f"Ray has room for {room} of {self._most} workers, of {self._needs} each: the "
                "others begin when there is more"
            )
        new = [self._one(self._needs) for _ in range(len(self._computing), target)]
        if helper and self._needs.gpus and not self._helped:
            self._helped = True
            if ray_cluster.has_spare(self._usable, self._needs):
                new.append(self._one(Needs(0.0, 1.0, self._needs.memory), only_cpu=True))
        return new

    def _one(self, needs: Needs, only_cpu: bool = False) -> Member:
        handle = self._cluster.ask(needs, self._refused)
        member = Member(handle, needs, only_cpu, self._clock())
        self.members.append(member)
        return member

    def let_go(self, wanted: int) -> Member | None:
        """Part with whom nobody needs: those for whom there was no room for a while, and one of
        those that had nothing to do, which is given."""
        now = self._clock()
        for member in reversed(list(self.members)):
            if not (member.only_cpu or len(self._computing) > max(wanted, 1)):
                continue
            waits = not member.node and now - member.asked > REST_SECONDS
            rests = member.idle is not None and now - member.idle > REST_SECONDS
            if waits:
                self.drop(member)
            elif rests and (member.only_cpu or self._has_company(member)):
                self.drop(member)
                return member
        return None

    def _has_company(self, member: Member) -> bool:
        """Whether what lies in its cache can still be read by somebody who computes."""
        others = [other.worker for other in self._computing if other is not member]
        mine = member.worker.cache if member.worker else ""
        return any(other is not None and other.cache == mine for other in others)

    def mind_solitude(self) -> None:
        """Say that there is no worker, and at last give up.

        Raises:
            BenchError: nobody comes.
        """
        if any(member.node for member in self._computing):
            self._alone, self._said_alone = None, False
            return
        if self._refused and not ray_cluster.room(self._usable, self._needs):
            why = "; ".join(dict.fromkeys(self._refused.values()))
            raise BenchError(f"no node of the Ray cluster can run a worker: {why}")
        now = self._clock()
        if self._alone is None:
            self._alone = now
        waited = now - self._alone
        lack = f"each worker asks for {self._needs}, and {self._cluster_has()}"
        if waited > PATIENCE_SECONDS:
            last = f" (the last one: {self.trouble})" if self.trouble else ""
            raise BenchError(
                f"no worker for {waited / 60:.0f} min: {lack}{last}: what was measured is kept"
            )
        if waited > NOTE_SECONDS and not self._said_alone:
            self._said_alone = True
            self._tell(
                f"Ray has had no room for a worker for {waited:.0f} s: {lack}; waiting for "
                f"{PATIENCE_SECONDS / 60:.0f} min at most"
            )

    def _cluster_has(self) -> str:
        def total(kind: str) -> float:
            return sum(node.resources.get(kind, 0.0) for node in self._nodes)

        count = len(self._nodes)
        memory = f"{total('memory') / 2**30:.0f} GiB"
        has = f"has {total('GPU'):g} GPUs, {total('CPU'):g} CPUs and {memory}"
        return f"the cluster of {count} node{'' if count == 1 else 's'} {has} in all"

    def arrived(self, member: Member, node: str, address: str, gpus: list[str]) -> bool:
        """A member is on a node; whether it may stay."""
        member.node, member.address = node, address
        gpu = f" GPU {','.join(map(str, gpus))}" if gpus else ""
        member.name = _unlike(self._names, address, gpu)
        self._names.add(member.name)
        if node in self._refused:
            self.drop(member)
        return not member.gone

    def fail(self, member: Member, why: str) -> None:
        """A worker did not start, which may be chance, or its node."""
        self._failures[member.node] += 1
        if self._failures[member.node] >= MOST_FAILURES:
            self.refuse(member, why)
            return
        self.drop(member)
        self._tell(f"a worker on {member.address} did not start: {why}")

    def refuse(self, member: Member, why: str) -> None:
        """No worker of ours goes to its node any more."""
        self.drop(member)
        if member.node not in self._refused:
            self._refused[member.node] = f"{member.address}: {why}"
            self._tell(f"node {member.address} is not used: {why}")

    def drop(self, member: Member) -> None:
        """It is none of us any more."""
        member.gone = True
        if member in self.members:
            self.members.remove(member)
        self._cluster.kill(member.handle)


def _unlike(taken: set[str], address: str, gpu: str) -> str:
    """A name that no other worker has, or had: what is still to be told of it is its own."""
    if gpu and f"{address}{gpu}" not in taken:
        return f"{address}{gpu}"
    number = 2 if gpu else 1
    while (name := f"{address}{gpu} #{number}") in taken:
        number += 1
    return name
