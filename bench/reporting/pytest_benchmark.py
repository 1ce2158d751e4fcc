"""Measurements of cost in the JSON of pytest-benchmark, both ways.

``pytest-benchmark compare A.json B.json`` sets such files side by side, and ``bench show A.json``
prints the table of costs. A round is a burst, an iteration a step, and every time is in seconds per
step. The format holds throughput on the device and nothing else of a row; what a round needs to
become a row again (spec, stack, batch size) lies in ``extra_info`` of its entry.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from bench import __version__
from bench.costs import CostResult, CostSpec, Rate
from bench.errors import BenchError, StoreError
from bench.records import Environment, Record, Stack

FENCE = 1.5
"""Tukey's: a datum farther from the quartiles than so many interquartile ranges is an outlier."""

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Extra(Record):
    """What an entry holds in ``extra_info``, besides what anyone else puts there.

    Attributes:
        spec: what was measured.
        batch_size: pictures in a step, as run.
        execution: ``graph``, ``xla`` or ``eager``, and how that was decided.
        compile_seconds: of the first step, over what a later one takes.
        elsewhere, gpu_processes: what puts it in doubt, as in `bench.costs.CostResult`.
    """

    spec: CostSpec
    stack: Stack
    batch_size: int = Field(ge=1)
    execution: str = ""
    compile_seconds: float | None = None
    elsewhere: float | None = None
    gpu_processes: int | None = None

    def written(self) -> dict[str, Any]:
        """As JSON has it."""
        return self.model_dump(mode="json")


class _Stats(BaseModel):
    median: _Seconds
    data: list[_Seconds] | None = None
    iterations: int = Field(1, ge=1)

    @property
    def seconds(self) -> list[float]:
        """Per step, of every burst; ``--benchmark-save`` keeps no more than their median."""
        return self.data or [self.median]


class _Entry(BaseModel):
    name: str
    stats: _Stats
    extra_info: dict[str, Any] = {}


class _File(BaseModel):
    benchmarks: list[_Entry] = Field(min_length=1)
    datetime: str = ""


def document(rows: Sequence[CostResult]) -> str:
    """The JSON of these measurements.

    Raises:
        BenchError: as `content`.
    """
    return json.dumps(content(rows), indent=1)


def content(rows: Sequence[CostResult]) -> dict[str, Any]:
    """What pytest-benchmark's JSON holds of these measurements.

    Rows without a throughput are left out: the format has no place for a failure.

    Raises:
        BenchError: no row has one.
    """
    timed = [r for r in rows if r.device and r.batch_size]
    if not timed:
        raise BenchError(
            "--format pytest-benchmark: expected measurements of cost with a throughput, and "
            f"{f'none of {len(rows)} has one' if rows else 'there are none'}; bench measure makes "
            "them"
        )
    several = len({r.stack.id for r in timed}) > 1
    return {
        "machine_info": _machine(timed[-1].environment),
        "commit_info": {},
        "benchmarks": [_entry(row, several) for row in timed],
        "datetime": max(r.started_at for r in timed),
        "version": f"bench {__version__}",
    }


def _machine(environment: Environment | None) -> dict[str, Any]:
    if environment is None:
        return {}
    system, _, machine = environment.platform.partition(" ")
    return {
        "system": system,
        "machine": machine,
        "processor": environment.processor,
        "python_version": environment.python_version,
        "cpu": {"brand_raw": environment.processor, "count": environment.cores},
    }


def _entry(row: CostResult, several: bool) -> dict[str, Any]:
    """One row. Its name tells the stack only where the file holds several of them, so that files
    of one stack each can be compared name by name."""
    assert row.device is not None
    assert row.batch_size is not None
    extra = Extra(
        spec=row.spec,
        stack=row.stack,
        batch_size=row.batch_size,
        execution=row.execution,
        compile_seconds=row.compile_seconds,
        elsewhere=row.elsewhere,
        gpu_processes=row.gpu_processes,
    )
    name = f"{row.spec.label} · {row.stack.id}" if several else row.spec.label
    seconds = [row.batch_size / sample for sample in row.device.samples]
    return {
        "group": row.spec.label,
        "name": name,
        "fullname": f"bench measure::{name}",
        "params": {"backbone": row.spec.backbone.name, "work": row.spec.work},
        "param": None,
        "extra_info": extra.written(),
        "options": {},
        "stats": statistics_of(seconds, row.device.steps),
    }


def statistics_of(seconds: Sequence[float], iterations: int) -> dict[str, Any]:
    """What pytest-benchmark says of a case, by its own definitions.

    Args:
        seconds: per step, of every burst.
        iterations: steps in a burst.
    """
    mean = statistics.fmean(seconds)
    spread = statistics.stdev(seconds) if len(seconds) > 1 else 0.0
    q1, q3 = quartiles(seconds)
    low, high = q1 - FENCE * (q3 - q1), q3 + FENCE * (q3 - q1)
    far = sum(not low <= s <= high for s in seconds)
    apart = sum(not mean - spread <= s <= mean + spread for s in seconds)
    return {
        "min": min(seconds),
        "max": max(seconds),
        "mean": mean,
        "stddev": spread,
        "rounds": len(seconds),
        "median": statistics.median(seconds),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": far,
        "stddev_outliers": apart,
        "outliers": f"{apart};{far}",
        "ld15iqr": min(s for s in seconds if s >= low),
        "hd15iqr": max(s for s in seconds if s <= high),
        "ops": 1 / mean,
        "total": math.fsum(seconds),
        "data": list(seconds),
        "iterations": iterations,
    }


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third: medians of the halves, the mean of counting the middle datum in and out."""
    found = sorted(values)
    if len(found) == 1:
        return found[0], found[0]
    without, within = len(found) // 2, (len(found) + 1) // 2
    first = (statistics.median(found[:without]) + statistics.median(found[:within])) / 2
    third = (statistics.median(found[-without:]) + statistics.median(found[-within:])) / 2
    return first, third


def read(file: Path) -> tuple[CostResult, ...]:
    """The measurements in a JSON file that pytest-benchmark, or `document`, wrote.

    Raises:
        StoreError: it cannot be read, is no such file, or an entry says too little of itself.
    """
    try:
        found = _File.model_validate_json(file.read_bytes())
    except OSError as error:
        raise StoreError(
            f"{file}: cannot be read: {error.strerror}: expected a results folder, or a JSON file "
            "of pytest-benchmark"
        ) from error
    except ValidationError as error:
        raise StoreError(f"{file}: expected JSON of pytest-benchmark: {_first(error)}") from error
    return tuple(_row(entry, found.datetime, file) for entry in found.benchmarks)


def _row(entry: _Entry, when: str, file: Path) -> CostResult:
    known = {name: v for name, v in entry.extra_info.items() if name in Extra.model_fields}
    try:
        extra = Extra.model_validate(known)
    except ValidationError as error:
        raise StoreError(
            f"{file}: {entry.name}: expected extra_info as benchmarks/ and bench show write it: "
            f"{_first(error)}"
        ) from error
    stats = entry.stats
    return CostResult(
        key=extra.spec.key,
        spec=extra.spec,
        stack=extra.stack,
        status="ok",
        started_at=when,
        seconds=math.fsum(stats.seconds) * stats.iterations,
        batch_size=extra.batch_size,
        execution=extra.execution,
        compile_seconds=extra.compile_seconds,
        elsewhere=extra.elsewhere,
        gpu_processes=extra.gpu_processes,
        device=Rate.of([extra.batch_size / s for s in stats.seconds], stats.iterations),
    )


def _first(error: ValidationError) -> str:
    """Where the first thing lies that is wrong, and what."""
    details: Mapping[str, Any] = error.errors()[0]
    where = ".".join(map(str, details["loc"]))
    return f"{where}: {details['msg']}" if where else str(details["msg"])
