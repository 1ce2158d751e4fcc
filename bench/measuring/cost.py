"""One measurement from end to end: CostSpec -> CostResult. Whatever goes wrong becomes a status."""

import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.costs import COST_VERSION, CostResult, CostSpec, Latency, Rate, Size
from bench.measuring import (
    apart,
    energy,
    fastest,
    flops,
    load,
    memory,
    peak,
    sizing,
    subject,
    timing,
    tried,
)
from bench.measuring.sizing import Found
from bench.measuring.steps import Batch, Bursts, Step, to_device
from bench.measuring.subject import Subject
from bench.measuring.timing import Pace, Timed, Turn
from bench.progress import Progress
from bench.training import ahead
from bench.training.batches import Batches, targets
from bench.training.grounds import Workplace
from bench.training.modes import Mode, only_way
from bench.training.recording import Report
from bench.training.trial import explained

_apart = apart.run

ENERGY_SECONDS = 2.0
"""NVML's counter is renewed some ten times a second."""

BURSTS_FROM_FILE = 4
"""In a turn, where processes take turns: about a second."""


def measure(spec: CostSpec, place: Workplace, report: Report) -> CostResult:
    """Measure one workload; never raises for what is its own fault.

    Args:
        spec: what to measure.
        place: the process it is measured in.
        report: told of its progress.
    """
    began = time.perf_counter()
    row = place.row_of(spec, COST_VERSION) | {"timed_seconds": place.timed_seconds}
    try:
        _measure(spec, place, report, row)
        row |= {"status": "ok"}
    except Exception as error:
        status, reason = explained(error)
        row |= {"status": status, "reason": reason}
    return CostResult(**row, seconds=time.perf_counter() - began)


def _measure(spec: CostSpec, place: Workplace, report: Report, row: dict[str, Any]) -> None:
    """Fill the row as far as it goes."""
    report(Progress(stage="batch size"))
    found = _batch_size(spec, place)
    row |= {"batch_size": found.size, "batch_reason": found.reason}
    report(Progress(stage="weights"))
    if spec.mode == "best":
        _turn(place)  # what is faster is tried by the clock, too
    what = subject.load(spec, place)
    row |= {"rewrites": what.rewrite.text, "size": _size(what, place)}
    batch = what.batch(found.size)
    mode = _mode(what, found.size, place)
    row["execution"] = mode.text
    what.compile(mode.jit if spec.mode == "best" else "auto")
    report(Progress(stage=spec.workload))
    before = _foreign_processes(place)
    elsewhere = [_throughput(what, batch, place, row)]
    if spec.workload == "inference":
        with load.Watch() as machine:
            turn = machine.leaving_out(place.turns)
            row["latency"] = _latency(what, place.timed_seconds, turn)
        elsewhere.append(machine.elsewhere)
    row["elsewhere"] = max((e for e in elsewhere if e is not None), default=None)
    counts = (before, _foreign_processes(place))
    row["gpu_processes"] = max((n for n in counts if n is not None), default=None)
    row["peak_flops_per_second"] = peak.peak_flops(place.stack.precision)  # last: it takes memory


def _turn(place: Workplace) -> int:
    """Wait for our turn, if there are turns; how many others wait while it is ours."""
    return place.turns() if place.turns else 0


def _foreign_processes(place: Workplace) -> int | None:
    """Others on our GPU that do not wait for us. What follows is in the same turn."""
    waiting = _turn(place)
    count = energy.foreign_processes(place.stack)
    return None if count is None else max(0, count - waiting)


def _batch_size(spec: CostSpec, place: Workplace) -> Found:
    """The one asked for, or the largest that fits."""
    if spec.batch_size is not None:
        return Found(spec.batch_size)
    device = "cpu" if place.stack.device == "cpu" else "accelerator"
    here = tried.Place(place.settings, place.folder)
    return sizing.largest(
        lambda size: _apart(tried.attempt, spec, here, size), sizing.LARGEST[device]
    )


def _mode(what: Subject, size: int, place: Workplace) -> Mode:
    """As the spec asks. What takes trying is tried elsewhere."""
    if what.spec.mode == "default":
        return fastest.default(what)
    if way := only_way():
        return way
    try:
        here = tried.Place(place.settings, place.folder)
        mode: Mode = _apart(tried.choose, what.spec, here, size)
    except apart.TriedError as error:
        return Mode("graph", f"finding out whether xla is faster failed ({error})")
    return mode


def _size(what: Subject, place: Workplace) -> Size:
    """What the model is made of, by arithmetic; and its file, by writing it."""
    model = what.model
    with tempfile.TemporaryDirectory(dir=place.scratch) as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        disk = path.stat().st_size
    training = what.kind == "training"
    forward = flops.forward_macs(model)
    return Size(
        parameters=model.count_params(),
        trainable=sum(math.prod(w.shape) for w in model.trainable_weights) if training else 0,
        disk_bytes=disk,
        forward_macs=forward.total,
        step_macs=(flops.step_macs(model) if training else forward).total,
        uncounted=forward.uncounted,
    )


def _throughput(what: Subject, batch: Batch, place: Workplace, row: dict[str, Any]) -> float | None:
    """Fill in what concerns the workload's steps.

    The device is timed before and after the way from the file, so that a slow spell of the machine
    does not make one of them look better; and never while batches are made ahead.

    Returns:
        Share of the cores' time that other work used meanwhile.
    """
    size = row["batch_size"]
    step = what.step(batch)
    run = Bursts(step, lambda: batch)
    with memory.Watch(place.stack) as held:
        pace = timing.warmed(run, place.timed_seconds, turn=place.turns)
    row["memory"] = held.memory
    with load.Watch() as machine:
        turn = machine.leaving_out(place.turns)
        first = timing.repeated(run, pace.steps, math.ceil(pace.bursts / 2), turn=turn)
        read = _from_file(what, step, size, pace, place, turn)
        last = timing.repeated(run, pace.steps, pace.bursts // 2, turn=turn)
    device = Timed((*first, *last), pace.steps, pace.first)
    row |= {"device": device.rate(size), "end_to_end": read.rate(size)}
    row["drift"] = row["device"].drift
    row["compile_seconds"] = device.compile_seconds
    row["flops_per_second"] = 2 * row["size"].step_macs * row["device"].median
    row["joules_per_image"] = _joules(step, batch, row["device"], place)
    step.close()
    return machine.elsewhere


def _from_file(
    what: Subject, step: Step, size: int, pace: Pace, place: Workplace, turn: Turn | None
) -> Timed:
    """Throughput from the pictures' file.

    What was made ahead while nobody looked would come for nothing: it is used up first, and bursts
    follow one another without a pause; in turns several of them, before and after which no batch is
    being made.
    """
    at_once = pace.bursts if turn is None else BURSTS_FROM_FILE
    taken: list[float] = []
    with subject.mapped_pictures(size, what.spec, place.scratch) as shown:
        epoch = subject.epoch_of(shown, what.spec, size)
        while left := pace.bursts - len(taken):
            if turn is not None:
                turn()
            stream = _endless(epoch, len(taken))
            run = Bursts(step, partial(next, stream))
            run(ahead.DEPTH + 1)
            taken += timing.repeated(run, pace.steps, min(left, at_once))
            epoch.start_epoch(0)  # which waits for what is being made
    return Timed(tuple(taken), pace.steps, pace.first)


def _endless(epoch: Batches, first: int) -> Iterator[Batch]:
    for number in itertools.count(first):
        epoch.start_epoch(number)
        for i in range(len(epoch)):
            pixels, labels = to_device(*epoch[i])
            yield pixels, labels


def _latency(what: Subject, seconds: float, turn: Turn | None) -> Latency:
    """From one picture in the host's memory to its result on the device."""
    spec = what.spec
    shown = subject.pictures(1, spec.image_size, spec.classes)
    picture = shown[np.arange(1)]
    pixels, labels = to_device(picture, targets(shown.labels, spec.head, spec.classes))
    step = what.step((pixels, labels))
    run = Bursts(step, lambda: (to_device(picture)[0], labels))
    found = timing.latency(run, seconds, turn=turn)
    step.close()
    return found


def _joules(step: Step, batch: Batch, device: Rate, place: Workplace) -> float | None:
    """What a picture costs in energy, while steps follow one another without a pause."""
    if place.stack.device == "cpu":
        return None
    _turn(place)
    size = len(batch[1])
    steps = max(1, round(ENERGY_SECONDS * device.median / size))
    with energy.Watch(place.stack) as drawn:
        Bursts(step, lambda: batch)(steps)
    return None if drawn.joules is None else drawn.joules / (steps * size)
