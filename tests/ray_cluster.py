"""Ray clusters of several nodes on this machine, for tests and measurements."""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.running import ray_worker


class Nodes:
    """A cluster; the first node is the one that a driver on this machine belongs to, the others
    have addresses of their own: 127.0.0.2 and so on.

    Args:
        environs: of each node, what its environment says besides ours.
        gpus: that each node says it has.

    Attributes:
        address: of the cluster.
    """

    def __init__(self, environs: Sequence[Mapping[str, str]], gpus: int = 0) -> None:
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(shutdown_at_exit=True)
        self._gpus, self._environs = gpus, environs
        self._nodes = [self._add(number) for number in range(len(environs))]
        self.address: str = self._cluster.address

    def _add(self, number: int) -> Any:
        """A node of one CPU."""
        address = {"node_ip_address": f"127.0.0.{number + 1}"} if number else {}
        before = dict(os.environ)
        os.environ.update(self._environs[number])  # of who starts a node, its workers have it
        try:
            return self._cluster.add_node(
                num_cpus=1, num_gpus=self._gpus, include_dashboard=False, **address
            )
        finally:
            os.environ.clear()
            os.environ.update(before)

    def lose(self, number: int) -> None:
        """Kill all that Ray runs on a node, and nothing else, as a power cut does."""
        node = self._nodes[number]
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        processes = [raylet, *raylet.children(recursive=False)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)

    def add_back(self, number: int) -> None:
        """Have a node again that was lost."""
        self._nodes[number] = self._add(number)

    def scratch_folders(self) -> list[Path]:
        """Of workers, whether they live or not."""
        folders = {Path(environ["TMPDIR"]) for environ in self._environs if "TMPDIR" in environ}
        return [path for each in folders for path in each.glob(f"{ray_worker.PREFIX}*")]

    def shutdown(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextmanager
def nodes(environs: Sequence[Mapping[str, str]], gpus: int = 0) -> Iterator[Nodes]:
    """A cluster for as long as the block takes."""
    cluster = Nodes(environs, gpus)
    try:
        yield cluster
    finally:
        cluster.shutdown()
