"""One measurement from end to end: CostSpec -> CostResult. Whatever goes wrong becomes a status."""

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from bench.costs import COST_VERSION, CostResult, CostSpec, Latency, Memory, Rate, Size
from bench.measuring import energy, fastest, flops, load, memory, peak, sizing, subject, timing
from bench.measuring.steps import Batch, Bursts, Step, to_device
from bench.measuring.subject import Subject
from bench.records import Progress, Stack
from bench.training.modes import Mode
from bench.training.recording import Report
from bench.training.trial import Workplace, explained

ENERGY_SECONDS = 2.0
"""NVML's counter is renewed some ten times a second."""
DISTINCT_BATCHES = 2
"""Of pictures to read from: more would measure the disk of a cold machine."""


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
    report(Progress(stage="weights"))
    what = subject.load(spec, place)
    row |= {"rewrites": what.rewrite.text, "size": _size(what, place)}
    report(Progress(stage="batch size"))
    size = _batch_size(what, place, row)
    batch = what.batch(size)
    mode = fastest.best(what, batch) if spec.mode == "best" else fastest.default(what)
    row["execution"] = mode.text
    what.compile(mode.jit if spec.mode == "best" else "auto")
    report(Progress(stage=spec.workload))
    step = what.step(batch)
    with load.Watch() as machine:
        with memory.Watch(place.stack) as held:
            _time(what, step, batch, place, row)
        row["memory"] = _memory(held.memory, mode, row)
        row["joules_per_image"] = _joules(step, batch, row["device"], place.stack)
        step.close()
        if spec.workload == "inference":
            row["latency"] = _latency(what, place.timed_seconds)
        row["peak_flops_per_second"] = _peak(place.stack.precision)  # last: it takes memory, too
    row["elsewhere"] = machine.elsewhere
    row["gpu_processes"] = energy.foreign_processes(place.stack)


_peak = cache(peak.peak_flops)


def _memory(found: Memory | None, mode: Mode, row: dict[str, Any]) -> Memory | None:
    """Frameworks keep what they were once given, so what was tried before counts as well."""
    tried = "did not fit" in row["batch_reason"] or "measured" in mode.evidence
    return found.model_copy(update={"bound": tried}) if found else None


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


def _batch_size(what: Subject, place: Workplace, row: dict[str, Any]) -> int:
    """The one asked for, or the largest that fits."""
    size, how = what.spec.batch_size, ""
    if size is None:
        begin = sizing.LARGEST["cpu" if place.stack.device == "cpu" else "accelerator"]
        size, how = sizing.largest(_attempt(what), begin)
    row |= {"batch_size": size, "batch_reason": how}
    return size


def _attempt(what: Subject) -> Callable[[int], None]:
    """One step out of the box on a batch of so many pictures."""

    def attempt(size: int) -> None:
        batch = what.batch(size)
        what.compile("auto")
        step = what.step(batch)
        Bursts(step, lambda: batch)(1)
        step.close()

    return attempt


def _time(what: Subject, step: Step, batch: Batch, place: Workplace, row: dict[str, Any]) -> None:
    """Throughput of the device alone, and of the way from the pictures' file, in turns."""
    spec, size = what.spec, row["batch_size"]
    count = DISTINCT_BATCHES * size
    with tempfile.TemporaryFile(dir=place.scratch) as file:
        shown = subject.pictures(count, spec.image_size, spec.classes, file)
        stream = _endless(subject.epoch_of(shown, spec, size))
        runs = {
            "device": Bursts(step, lambda: batch),
            "end_to_end": Bursts(step, lambda: next(stream)),
        }
        found = timing.bursts(runs, place.timed_seconds)
    row |= {name: timed.rate(size) for name, timed in found.items()}
    row["compile_seconds"] = found["device"].compile_seconds
    row["flops_per_second"] = 2 * row["size"].step_macs * row["device"].median


def _endless(epoch: Any) -> Iterator[Batch]:
    for number in itertools.count():
        epoch.start_epoch(number)
        for i in range(len(epoch)):
            yield to_device(*epoch[i])


def _latency(what: Subject, seconds: float) -> Latency:
    """From one picture in the host's memory to its result."""
    shown = subject.pictures(1, what.spec.image_size, what.spec.classes)
    picture, target = shown.pixels, shown.labels.astype("float32")
    step = what.step(to_device(picture, target))
    found = timing.latency(Bursts(step, lambda: to_device(picture, target)), seconds)
    step.close()
    return found


def _joules(step: Step, batch: Batch, device: Rate, stack: Stack) -> float | None:
    """What a picture costs in energy, while steps follow one another without a pause."""
    size = len(batch[1])
    steps = max(1, round(ENERGY_SECONDS * device.median / size))
    if stack.device == "cpu":
        return None
    with energy.Watch(stack) as drawn:
        Bursts(step, lambda: batch)(steps)
    return None if drawn.joules is None else drawn.joules / (steps * size)
