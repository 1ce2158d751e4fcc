"""Several engines on this machine at once, one GPU each; see `local_fleet`."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.errors import WorkerError
from bench.running import devices, isolation, process
from bench.running.isolation import LocalEngine
from bench.running.messages import Setup


@contextmanager
def local_engines(
    setup: Setup,
    trial_seconds: float | None,
    gpus: Sequence[str | None],
    command: tuple[str, ...] = process.COMMAND,
) -> Iterator[list[LocalEngine]]:
    """Engines that work side by side, closed at the end; their first workers start together.

    Args:
        setup: how workers run their trials.
        trial_seconds: time limit of a trial.
        gpus: of each engine (`Setup.gpu`).
        command: what to start as a worker.

    Raises:
        WorkerError: a first worker did not start, or they came up on different stacks.
    """
    with ExitStack() as opened:
        engines = []
        for gpu in gpus:
            here = setup.model_copy(update={"gpu": gpu})
            engine = isolation.LocalEngine(here, trial_seconds, command, len(gpus) == 1)
            opened.callback(engine.close)
            engines.append(engine)
        if len(engines) > 1:
            for engine in engines:
                engine.wait()
            _check_alike(engines, gpus)
        yield engines


def _check_alike(engines: Sequence[LocalEngine], gpus: Sequence[str | None]) -> None:
    first = engines[0].stack.id
    for engine, gpu in zip(engines, gpus, strict=True):
        if engine.stack.id != first:
            raise WorkerError(
                f"the worker on GPU {gpu} came up as {engine.stack.id}, that on GPU {gpus[0]} as "
                f"{first}: choose GPUs of one kind by {devices.VARIABLE}"
            )
