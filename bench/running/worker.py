"""The worker process: ``python -m bench.running.worker``. Measures what it is told, and says so.

Replies go out on what was standard output when the process began. Standard output itself is then
joined to standard error, so that whatever a framework prints cannot garble a reply.
"""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench import cache
from bench.costs import CostSpec
from bench.numerics import NumericsSpec
from bench.probes import ProbeSpec
from bench.progress import Progress
from bench.running.messages import (
    Finished,
    Go,
    Ready,
    Reply,
    Running,
    Setup,
    Share,
    Shared,
    Task,
    Waiting,
    Written,
)

if TYPE_CHECKING:
    from bench.training.grounds import Workplace


def main() -> None:
    """Serve tasks until the runner closes our standard input."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    lines = _lines_from_runner()
    setup = Setup.model_validate_json(lines.get())
    place = _workplace(setup)
    _say(replies, Ready(stack=place.stack, environment=place.environment))

    def wait_for_turn() -> int:
        _say(replies, Waiting())
        return Go.model_validate_json(lines.get()).others

    while True:
        task = Task.model_validate_json(lines.get())
        place.turns = wait_for_turn if task.in_turns else None
        cache.BUILT.clear()
        reply = _run(task, setup, place, replies)
        said = {"built": dict(cache.BUILT), "notes": cache.remarks()}
        _say(replies, reply.model_copy(update=said))


def _lines_from_runner() -> "queue.Queue[str]":
    """Lines of standard input, read by a thread that ends this process when the runner is gone."""
    lines: queue.Queue[str] = queue.Queue()
    source = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")  # whatever the locale

    def read() -> None:
        for line in source:
            lines.put(line)
        _end()

    threading.Thread(target=read, daemon=True).start()
    return lines


def _end() -> None:
    """End at once, and what we started with us: the runner is gone, and nobody else would."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _workplace(setup: Setup) -> "Workplace":
    from bench.training import execution
    from bench.training.grounds import Workplace

    stack = execution.configure(setup.execution, setup.devices)
    return Workplace(
        settings=setup.settings,
        folder=setup.folder,
        stack=stack,
        environment=execution.environment(),
        literal=setup.literal,
        trials=setup.trials,
        activations_bytes=setup.activations_gib * 2**30,
        scratch=setup.scratch,
        timed_seconds=setup.timed_seconds,
        earlier_weights=setup.earlier_weights,
    )


def _run(task: Task, setup: Setup, place: "Workplace", replies: TextIO) -> Finished | Shared:
    spec = task.work

    def report(progress: Progress) -> None:
        _say(replies, Running(progress=progress))

    if isinstance(spec, Share):
        return _shared(spec, place, report)
    if isinstance(spec, CostSpec):
        from bench.measuring.cost import measure

        return Finished(result=measure(spec, place, report))
    if isinstance(spec, NumericsSpec):
        from bench.measuring import numerics

        return Finished(result=numerics.measure(spec, place, report))
    if isinstance(spec, ProbeSpec):
        from bench.training.probe import run_probe

        return Finished(result=run_probe(spec, place, report))
    from bench.training.trial import run_trial

    place.keep_trained = task.save is not None
    result, predictions = run_trial(spec, place, report)
    if predictions is None:
        return Finished(result=result)
    path = setup.scratch / f"{spec.key}.npz"
    try:
        predictions.save(path)
    except OSError as error:  # a full disk, most likely: the next trial may find room
        reason = f"its predictions could not be written: {error}"
        failed = result.model_copy(update={"status": "failed", "reason": reason})
        return Finished(result=failed)
    if task.save is None:
        return Finished(result=result, predictions=path)
    written = _written(place, task.save, setup.scratch / f"{spec.key}.sample.npz")
    return Finished(result=result, predictions=path, model=written)


def _shared(step: Share, place: "Workplace", report: Callable[[Progress], None]) -> Shared:
    from bench.training import shared_steps
    from bench.training.trial import explained

    began, reason = time.monotonic(), ""
    try:
        if step.stage == "images":
            shared_steps.images(step.spec, place, report)
        elif step.stage == "heads":
            shared_steps.heads(step.spec, place, report)
        elif step.split is not None:
            shared_steps.activations(step.spec, step.split, step.view, place, report)
    except Exception as error:
        _, reason = explained(error)
    return Shared(seconds=time.monotonic() - began, reason=reason)


def _written(place: "Workplace", path: Path, sample: Path) -> Written:
    """Write the model of the trial that just ended; what is wrong with that is not the trial's."""
    from bench.training import exporting
    from bench.training.trial import explained

    trained, place.trained = place.trained, None
    if trained is None:
        return Written(reason="the trial left no model")
    try:
        exported = exporting.save(trained, path, sample)
    except Exception as error:
        return Written(reason=explained(error)[1])
    return Written(card=exported.card, sample=sample, rounding=exported.rounding)


def _say(replies: TextIO, reply: Reply) -> None:
    # A line end first: bytes that something else left on the channel garble no reply.
    replies.write("\n" + reply.model_dump_json() + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
