"""A Ray cluster as a fleet needs it: what it has room for, actors, and what became of them.

The one place that speaks to Ray, which is imported when it is first needed (extra ``ray``).
"""

import importlib
import logging
import os
import signal
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.running import ray_worker

ADDRESS = "RAY_ADDRESS"
"""Where Ray itself looks for a cluster; `ray job submit` sets it."""
LOCAL, AUTO = "local", "auto"
"""Addresses that Ray has words for: a cluster of our own, and the one this machine belongs to."""
ANSWER_SECONDS = 10.0
"""A cluster's head accepts a connection within this time."""
LOCAL_STORE_BYTES = 256 * 2**20
"""For objects on their way, of which files of predictions are the largest."""
CPUS = 4.0
"""Of a worker on a cluster without GPUs, unless its nodes have fewer."""
METHODS_AT_A_TIME = 4
"""Of an actor: one that listens, one that starts something, one that ends it all."""
_TOLD_TO_END = (signal.SIGTERM, 128 + signal.SIGTERM)
"""What Ray, or whoever had the signal before it, exits with where SIGTERM came."""
_ENOUGH = 1e-9
"""Ray counts resources in ten-thousandths; sums of fractions need a little room."""

Handle = Any
"""An actor of Ray's."""
Ref = Any
"""What a call to one will give."""


class GoneError(Exception):
    """An actor has ended, or cannot be believed any more; the text says why, to people."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and all that it has (not what is free)."""

    id: str
    address: str
    resources: Mapping[str, float]


@dataclass(frozen=True)
class Needs:
    """What a worker asks of its node.

    Attributes:
        gpus, cpus: how many, or parts of one.
        memory: bytes; None to ask for none.
    """

    gpus: float
    cpus: float
    memory: int | None = None

    def __str__(self) -> str:
        memory = f" and {self.memory / 2**30:.1f} GiB" if self.memory else ""
        gpus = f"{_count(self.gpus, 'GPU')} and " if self.gpus else ""
        return f"{gpus}{_count(self.cpus, 'CPU')}{memory}"

    def fits(self, node: Node) -> int:
        """How many workers a node can hold."""
        asked = {"GPU": self.gpus, "CPU": self.cpus, "memory": float(self.memory or 0)}
        rooms = [node.resources.get(n, 0.0) / much for n, much in asked.items() if much]
        return int(min(rooms, default=0.0) + _ENOUGH)


def needs(
    nodes: Collection[Node],
    gpus: float | None,
    cpus: float | None,
    memory: int | None,
    workers: int | None = None,
) -> Needs:
    """What each worker asks for.

    Args:
        nodes: of the cluster.
        gpus: as the user says; None for one where the cluster has any.
        cpus: as the user says. None for an even share among the GPUs of a node, one CPU left to
            others; where there are no GPUs, `CPUS`, or fewer so that all workers find room.
        memory: limit of a worker's memory, in bytes.
        workers: how many the user wants; None for as many as there is room for.
    """
    owners = [node for node in nodes if node.resources.get("GPU", 0.0)]
    if gpus is None:
        gpus = 1.0 if owners else 0.0
    if cpus is None and gpus:
        shares = [(n.resources.get("CPU", 0.0) - 1) / n.resources["GPU"] for n in owners]
        cpus = max(1.0, float(int(gpus * min(shares, default=1.0))))
    elif cpus is None:
        each = [node.resources.get("CPU", 0.0) for node in nodes]
        share = sum(each) // workers if workers else CPUS
        cpus = max(1.0, min(CPUS, max(each, default=1.0), share))
    return Needs(gpus, cpus, memory)


def room(nodes: Collection[Node], of: Needs) -> int:
    """How many workers the nodes can hold if nobody else uses them."""
    return sum(map(of.fits, nodes))


def has_spare(nodes: Collection[Node], of: Needs) -> bool:
    """Whether a CPU is left over where workers with GPUs hold all that they can."""
    return any(
        node.resources.get("CPU", 0.0) - of.fits(node) * of.cpus >= 1 - _ENOUGH for node in nodes
    )


class RayCluster:
    """A cluster that this process is connected to.

    Args:
        ray: the module.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._shell = ray.remote(ray_worker.shell())

    def nodes(self) -> list[Node]:
        """Those that are alive."""
        return [
            Node(found["NodeID"], found["NodeManagerAddress"], found["Resources"])
            for found in self._ray.nodes()
            if found["Alive"]
        ]

    def ask(self, needed: Needs, avoid: Collection[str]) -> Handle:
        """An actor, as soon as a node has room for it.

        Args:
            needed: what it takes.
            avoid: ids of nodes not to put it on.
        """
        options: dict[str, Any] = {"num_gpus": needed.gpus, "num_cpus": needed.cpus}
        if needed.memory:
            options["memory"] = needed.memory
        if avoid:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoid))})"}
        return self._shell.options(
            max_restarts=0, max_task_retries=0, max_concurrency=METHODS_AT_A_TIME, **options
        ).remote()

    def arrive(self, actor: Handle, version: str) -> Ref:
        """Ask an actor where it is, see `ray_worker.shell`."""
        return actor.arrive.remote(version)

    def call(self, actor: Handle, method: str, *arguments: Any) -> Ref:
        """Have a `ray_worker.RemoteWorker` do something."""
        return actor.call.remote(method, *arguments)

    def put(self, text: str) -> Ref:
        """Have a text at hand for all of them."""
        return self._ray.put(text)

    def wait(self, refs: Sequence[Ref], seconds: float) -> list[Ref]:
        """Those that have come, or failed; waits for one of them, and as long for none."""
        if not refs:
            time.sleep(seconds)
            return []
        found, _ = self._ray.wait(list(refs), num_returns=1, timeout=seconds)
        more, _ = self._ray.wait(list(refs), num_returns=len(refs), timeout=0)
        return list(dict.fromkeys([*found, *more]))

    def get(self, ref: Ref) -> Any:
        """What a call gave.

        Raises:
            GoneError: it gave nothing, nor will the actor give anything else.
        """
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            raise GoneError(self._explained(error)) from error

    def kill(self, actor: Handle) -> None:
        """End an actor's process, or take back that it was asked for."""
        with suppress(Exception):  # it has ended, or the cluster has
            self._ray.kill(actor, no_restart=True)

    def _explained(self, error: Exception) -> str:
        """What Ray says of a lost actor, for people."""
        kinds, text = self._ray.exceptions, str(error)
        if isinstance(error, kinds.RayTaskError):
            return f"it failed: {_last_line(text)}"
        if "low on memory" in text:
            return "Ray ended its process, for the node was short of memory"
        if getattr(error, "preempted", False):
            return "its node was taken away"
        if isinstance(error, kinds.ActorUnavailableError):
            return "it does not answer any more"
        if "node" in text and "worker process has died" not in text:
            return "its node is gone"
        return "its process ended"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


# ------------------------------------------------------------------------------------ connecting


@contextmanager
def connected(address: str | None) -> Iterator[RayCluster]:
    """A cluster; one that was started here is gone afterwards.

    Args:
        address: of the cluster's head, or a word for one. None for what RAY_ADDRESS says, or else
            a cluster of this machine alone.

    Raises:
        BenchError: Ray is not installed, or nobody answers at the address.
    """
    stated = address or os.environ.get(ADDRESS) or LOCAL
    source = "--address" if address else ADDRESS
    _check(source, stated)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = imported()
    ending = signal.getsignal(signal.SIGTERM)
    here = {"object_store_memory": LOCAL_STORE_BYTES, "include_dashboard": False}
    options: dict[str, Any] = here if stated == LOCAL else {}
    try:
        try:
            ray.init(address=stated, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code in _TOLD_TO_END:
                signal.signal(signal.SIGTERM, ending)
                signal.raise_signal(signal.SIGTERM)  # to whoever would have had it
            raise BenchError(_not_connected(source, stated, str(error))) from error
        finally:
            with suppress(ValueError):  # not on the main thread, where Ray leaves it, too
                signal.signal(signal.SIGTERM, ending)
        _silence()
        yield RayCluster(ray)
    finally:
        ray.shutdown()


def _silence() -> None:
    """Keep news of nodes, which we tell in our own words, from standard output.

    ``log_to_driver`` does not cover them, nor is there a setting that does.
    """
    with suppress(ImportError):
        importlib.import_module("ray._private.worker").__dict__["_worker_logs_enabled"] = False


def imported() -> Any:
    """Ray.

    Raises:
        BenchError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise BenchError(
            f"--engine ray needs Ray, which cannot be imported ({error}): "
            'pip install "keras-zoo-bench[ray]", on every node of the cluster'
        ) from error


def place(source: str, address: str) -> tuple[str, int] | None:
    """Host and port that an address names; None for a word of Ray's own.

    Args:
        source: where it was given, for messages.
        address: as it was given.

    Raises:
        BenchError: it names neither.
    """
    if address in (LOCAL, AUTO):
        return None
    host, colon, port = address.rpartition(":")
    if host and colon and port.isascii() and port.isdigit() and "://" not in address:
        return host.strip("[]"), int(port)
    raise BenchError(
        f"{source} {address!r}: expected host:port of the cluster's head, like 10.0.0.1:6379, "
        "or auto for the cluster that this machine is a node of"
    )


def _check(source: str, address: str) -> None:
    """Whether anybody is there: Ray itself would try for minutes."""
    if (found := place(source, address)) is None:
        return
    try:
        with socket.create_connection(found, ANSWER_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise BenchError(
            f"{source} {address!r}: nobody answers there ({error}): "
            "`ray status` on a node tells a cluster's address"
        ) from error


def _not_connected(source: str, address: str, said: str) -> str:
    first = next((line.strip() for line in said.splitlines() if line.strip()), "no reason given")
    if address == LOCAL:
        return f"Ray could not start on this machine: {first}"
    if address == AUTO:
        return f"{source} {AUTO}: expected this machine to be a node of a Ray cluster: {first}"
    return (
        f"{source} {address!r}: Ray could not be reached there ({first}): run bench on a node of "
        "the cluster, with its versions of Ray and Python, and the token that it was started with, "
        "which RAY_AUTH_MODE=token has Ray show"
    )
