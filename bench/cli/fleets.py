"""Where the trials of a run go: to workers of this machine, or of a Ray cluster."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import notes
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.running.fleets import Fleet
    from bench.running.isolation import LocalEngine
    from bench.running.messages import Setup
    from bench.running.ray_fleet import Options


class EngineName(StrEnum):
    """What runs the workers."""

    LOCAL = "local"
    RAY = "ray"


Engine = Annotated[EngineName, typer.Option(help="Workers on this machine, or on a Ray cluster.")]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Trials at a time; auto: one on each GPU; with Ray, as many as there is room for.",
        show_default="1; with Ray auto",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Of the Ray cluster's head, or auto; else RAY_ADDRESS, or a Ray of this machine.",
    ),
]
GpusPerWorker = Annotated[
    str | None,
    typer.Option(metavar="N", help="Of a Ray worker, 0.5 for two on a GPU; 1 where there are any."),
]
CpusPerWorker = Annotated[
    str | None, typer.Option(metavar="N", help="Of a Ray worker; else what suits the cluster.")
]


@dataclass(frozen=True)
class Where:
    """Where trials go.

    Attributes:
        gpus: of each worker of this machine (`bench.running.devices.places`).
        ray: what is asked of Ray instead; None where nothing is.
    """

    gpus: tuple[str | None, ...]
    ray: "Options | None" = None


def where(
    engine: EngineName,
    workers: str | None,
    address: str | None,
    gpus: str | None,
    cpus: str | None,
    devices: int,
) -> Where:
    """What the options of the command line come to.

    Args:
        engine, workers, address, gpus, cpus: as they were given.
        devices: of each trial, as the suite says.

    Raises:
        BenchError: a value is not valid, or options do not go together.
    """
    from bench.running import devices as places

    if engine is EngineName.LOCAL:
        given = {"--address": address, "--gpus-per-worker": gpus, "--cpus-per-worker": cpus}
        for option, value in given.items():
            if value is not None:
                raise BenchError(f"{option} {value!r}: expected --engine ray beside it")
        return Where(places.places("1" if workers is None else workers, each=devices))
    from bench.running import ray_cluster
    from bench.running.ray_fleet import Options

    if address:
        ray_cluster.place("--address", address)
    number = _count(workers, places.AUTO)
    share = _positive("--gpus-per-worker", gpus)
    if share is not None and share != devices and max(share, devices) > 1:
        several = f"{devices}, as the suite says devices = {devices}"
        one = "at most 1; for several GPUs a trial the suite says [execution] devices"
        raise BenchError(f"--gpus-per-worker {gpus}: expected {several if devices > 1 else one}")
    options = Options(address or None, number, share, _positive("--cpus-per-worker", cpus))
    return Where((None,), options)


def _count(workers: str | None, auto: str) -> int | None:
    if workers is None or workers == auto:
        return None
    if not (workers.isascii() and workers.isdigit() and int(workers)):
        raise BenchError(f"--workers {workers!r}: expected a number, 1 or more, or {auto}")
    return int(workers)


def _positive(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise BenchError(f"{option} {text!r}: expected a number above 0")
    return value


@dataclass(frozen=True)
class Opened:
    """Who is at work.

    Attributes:
        engines: those of this machine.
        fleet: takes jobs; None for a single engine, which takes one trial after the other.
    """

    engines: "tuple[LocalEngine, ...]"
    fleet: "Fleet | None"


@contextmanager
def opened(there: Where, setup: "Setup", trial_seconds: float | None) -> Iterator[Opened]:
    """Have workers start; they are gone at the end.

    Args:
        there: where they should be.
        setup: how they run their trials.
        trial_seconds: time limit of a trial.

    Raises:
        BenchError: none could start.
    """
    from bench.running.engines import local_engines
    from bench.running.local_fleet import LocalFleet

    if there.ray is not None:
        from bench.running.ray_fleet import ray_fleet

        with ray_fleet(setup, trial_seconds, there.ray, lambda text: notes([text])) as fleet:
            yield Opened((), fleet)
        return
    with local_engines(setup, trial_seconds, there.gpus) as engines:
        yield Opened(tuple(engines), LocalFleet(engines) if len(engines) > 1 else None)
