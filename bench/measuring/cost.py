"""One measurement from end to end: CostSpec -> CostResult. Whatever goes wrong becomes a status."""

import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
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
)
from bench.measuring.sizing import Found
from bench.measuring.steps import Batch, Bursts, Step, to_device
from bench.measuring.subject import Subject
from bench.measuring.timing import Pace, Timed
from bench.records import Progress, Stack
from bench.training import ahead
from bench.training.batches import Batches, targets
from bench.training.modes import Mode, only_way
from bench.training.recording import Report
from bench.training.trial import Workplace, explained

_apart = apart.run

ENERGY_SECONDS = 2.0
"""NVML's counter is renewed some ten times a second."""


def measure(spec: CostSpec, place: Workplace, report: Report) -> CostResult:
    """Measure one workload; never raises for what is its own fault.

    Args:
        spec: what to measure.
        place: the process it is measured in.
        report: told of its progress.
    """
    began = time.perf_counter()
    row: dict[str, Any] = {
        "key": spec.key,
        "spec": spec,
        "stack": place.stack,
        "environment": place.environment,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": COST_VERSION,
        "timed_seconds": place.timed_seconds,
    }
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
    what = subject.load(spec, place)
    row |= {"rewrites": what.rewrite.text, "size": _size(what, place)}
    batch = what.batch(found.size)
    mode = _mode(what, found.size, place)
    row["execution"] = mode.text
    what.compile(mode.jit if spec.mode == "best" else "auto")
    report(Progress(stage=spec.workload))
    before = energy.foreign_processes(place.stack)
    elsewhere = [_throughput(what, batch, place, row)]
    if spec.workload == "inference":
        with load.Watch() as machine:
            row["latency"] = _latency(what, place.timed_seconds)
        elsewhere.append(machine.elsewhere)
    row["elsewhere"] = max((e for e in elsewhere if e is not None), default=None)
    counts = (before, energy.foreign_processes(place.stack))
    row["gpu_processes"] = max((n for n in counts if n is not None), default=None)
    row["peak_flops_per_second"] = peak.peak_flops(place.stack.precision)  # last: it takes memory


def _batch_size(spec: CostSpec, place: Workplace) -> Found:
    """The one asked for, or the largest that fits."""
    if spec.batch_size is not None:
        return Found(spec.batch_size)
    device = "cpu" if place.stack.device == "cpu" else "accelerator"
    here = apart.Place(place.settings, place.folder)
    return sizing.largest(
        lambda size: _apart(apart.attempt, spec, here, size), sizing.LARGEST[device]
    )


def _mode(what: Subject, size: int, place: Workplace) -> Mode:
    """As the spec asks. What takes trying is tried elsewhere."""
    if what.spec.mode == "default":
        return fastest.default(what)
    if way := only_way():
        return way
    try:
        here = apart.Place(place.settings, place.folder)
        mode: Mode = _apart(apart.choose, what.spec, here, size)
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
        pace = timing.warmed(run, place.timed_seconds)
    row["memory"] = held.memory
    with load.Watch() as machine:
        first = timing.repeated(run, pace.steps, math.ceil(pace.bursts / 2))
        read = _from_file(what, step, size, pace, place)
        last = timing.repeated(run, pace.steps, pace.bursts // 2)
    device = Timed((*first, *last), pace.steps, pace.first)
    row |= {"device": device.rate(size), "end_to_end": read.rate(size)}
    row["compile_seconds"] = device.compile_seconds
    row["flops_per_second"] = 2 * row["size"].step_macs * row["device"].median
    row["joules_per_image"] = _joules(step, batch, row["device"], place.stack)
    step.close()
    return machine.elsewhere


def _from_file(what: Subject, step: Step, size: int, pace: Pace, place: Workplace) -> Timed:
    """Throughput from the pictures' file.

    What was made ahead while nobody looked would come for nothing: it is used up first, and bursts
    follow one another without a pause.
    """
    with subject.mapped_pictures(size, what.spec, place.scratch) as shown:
        epoch = subject.epoch_of(shown, what.spec, size)
        stream = _endless(epoch)
        run = Bursts(step, lambda: next(stream))
        run(ahead.DEPTH + 1)
        taken = timing.repeated(run, pace.steps, pace.bursts)
        epoch.start_epoch(0)  # which waits for what is being made
    return Timed(taken, pace.steps, pace.first)


def _endless(epoch: Batches) -> Iterator[Batch]:
    for number in itertools.count():
        epoch.start_epoch(number)
        for i in range(len(epoch)):
            pixels, labels = to_device(*epoch[i])
            yield pixels, labels


def _latency(what: Subject, seconds: float) -> Latency:
    """From one picture in the host's memory to its result on the device."""
    spec = what.spec
    shown = subject.pictures(1, spec.image_size, spec.classes)
    picture = shown[np.arange(1)]
    pixels, labels = to_device(picture, targets(shown.labels, spec.head, spec.classes))
    step = what.step((pixels, labels))
    found = timing.latency(Bursts(step, lambda: (to_device(picture)[0], labels)), seconds)
    step.close()
    return found


def _joules(step: Step, batch: Batch, device: Rate, stack: Stack) -> float | None:
    """What a picture costs in energy, while steps follow one another without a pause."""
    if stack.device == "cpu":
        return None
    size = len(batch[1])
    steps = max(1, round(ENERGY_SECONDS * device.median / size))
    with energy.Watch(stack) as drawn:
        Bursts(step, lambda: batch)(steps)
    return None if drawn.joules is None else drawn.joules / (steps * size)
