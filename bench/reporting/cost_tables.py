"""The table of what backbones cost, for a terminal, a document or a spreadsheet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.costs import BUSY, WIDE, CostResult, Rate
from bench.reporting.forms import Cell, count, duration, printed, with_notes


@dataclass(frozen=True)
class Column:
    """One column: its heading, and its cell for a row."""

    title: str
    cell: Callable[[CostResult], Cell]


NAMED = 4
"""Fewer rows than this are named in a note, more are counted."""


def rate(found: Rate | None) -> str | None:
    """``93.1 (88–96)``: median images/s, and what 95% of the bursts lay between."""
    if found is None:
        return None
    return f"{digits(found.median)} ({digits(found.low)}–{digits(found.high)})"


def _marked(row: CostResult, short: bool = False) -> str | None:
    """Throughput with a ? where it is in doubt."""
    found = digits(row.device.median) if short and row.device else rate(row.device)
    return f"{found} ?" if found and row.doubtful else found


def _end_to_end(row: CostResult) -> str | None:
    """The same from the file, with a word where the device waited for it."""
    found = rate(row.end_to_end)
    return f"{found} input-bound" if found and row.input_bound else found


def digits(number: float) -> str:
    """Three significant digits, without an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def _latency(row: CostResult) -> str | None:
    found = row.latency
    if found is None:
        return None
    last = "–" if found.p99 is None else digits(found.p99)
    return f"{digits(found.median)} / {digits(found.p90)} / {last}"


def _size(title: str, field: str, written: Callable[[float], str]) -> Column:
    """A column of `bench.costs.Size`."""

    def cell(row: CostResult) -> str | None:
        return written(getattr(row.size, field)) if row.size else None

    return Column(title, cell)


def _fields(record: str, prefix: str, *fields: str) -> list[Column]:
    """A column for each of these fields of one of a row's records."""

    def column(field: str) -> Column:
        def cell(row: CostResult) -> Cell:
            found = getattr(row, record)
            value: Cell = None if found is None else getattr(found, field)
            return value

        return Column(prefix + field, cell)

    return [column(field) for field in fields]


def _mode(row: CostResult) -> str:
    """``best: xla``, and whether operations were rewritten."""
    name = row.execution.partition(":")[0]
    ran = name + (" rewritten" if row.rewrites and not row.rewrites.startswith("0 ") else "")
    return f"{row.spec.mode}: {ran}" if name else row.spec.mode


def _batch(row: CostResult) -> str:
    found = str(row.batch_size or "–")
    return found if row.spec.batch_size else f"largest: {found}"


def _gib(row: CostResult) -> str | None:
    return f"{row.memory.peak / 2**30:.2f}" if row.memory else None


def _utilisation(row: CostResult) -> str | None:
    return None if row.utilisation is None else f"{100 * row.utilisation:.0f}"


def _joules(row: CostResult) -> str | None:
    return None if row.joules_per_image is None else digits(row.joules_per_image)


STACK = Column("stack", lambda r: r.stack.id)
PIXELS = Column("pixels", lambda r: r.spec.image_size)
HEAD = Column("head", lambda r: r.spec.head.name)
PRECISION = Column("precision", lambda r: r.spec.precision)
OPTIMIZER = Column("optimizer", lambda r: r.spec.optimizer)
BATCH_NORM = Column("batch norm", lambda r: r.spec.batch_norm)
CASE = Column("case", lambda r: r.key[:12])
RUNS = Column("runs", lambda r: r.runs)
STATUS = Column("status", lambda r: r.status)

COLUMNS = (
    Column("backbone", lambda r: r.spec.backbone.name),
    Column("work", lambda r: r.spec.work),
    Column("batch", _batch),
    Column("mode", _mode),
    Column("images/s", _marked),
    Column("end to end", _end_to_end),
    Column("latency ms 50 / 90 / 99%", _latency),
    Column("first step", lambda r: duration(r.compile_seconds) if r.compile_seconds else None),
    Column("memory GiB", _gib),
    _size("trainable", "trainable", count),
    _size("parameters", "parameters", count),
    _size("disk MB", "disk_bytes", lambda n: f"{n / 1e6:.0f}"),
    _size("GMACs", "step_macs", lambda n: digits(n / 1e9)),
    Column("MFU %", _utilisation),
    Column("J/image", _joules),
)
"""For people. GMACs are of a step on one picture, gradients included."""

TIDY = (
    Column("case", lambda r: r.key),
    STACK,
    Column("backbone", lambda r: r.spec.backbone.name),
    Column("image_size", lambda r: r.spec.image_size),
    Column("workload", lambda r: r.spec.workload),
    Column("freeze", lambda r: r.spec.freeze.label if r.spec.freeze else None),
    Column("batch_norm", lambda r: r.spec.batch_norm),
    Column("head", lambda r: r.spec.head.name),
    Column("optimizer", lambda r: r.spec.optimizer),
    Column("precision", lambda r: r.spec.precision),
    Column("mode", lambda r: r.spec.mode),
    Column("execution", lambda r: r.execution),
    Column("rewrites", lambda r: r.rewrites),
    Column("batch_size", lambda r: r.batch_size),
    Column("batch_reason", lambda r: r.batch_reason),
    *_fields("device", "device_images_per_second_", "median", "low", "high"),
    *_fields("end_to_end", "end_to_end_images_per_second_", "median", "low", "high"),
    *_fields("latency", "latency_ms_", "median", "p90", "p99", "count"),
    Column("compile_seconds", lambda r: r.compile_seconds),
    *_fields("memory", "memory_", "peak", "before", "kind"),
    *_fields("size", "", "parameters", "trainable", "disk_bytes", "forward_macs", "step_macs"),
    Column("flops_per_second", lambda r: r.flops_per_second),
    Column("peak_flops_per_second", lambda r: r.peak_flops_per_second),
    Column("utilisation", lambda r: r.utilisation),
    Column("joules_per_image", lambda r: r.joules_per_image),
    Column("input_bound", lambda r: str(r.input_bound)),
    Column("runs", lambda r: r.runs),
    Column("elsewhere", lambda r: r.elsewhere),
    Column("gpu_processes", lambda r: r.gpu_processes),
    Column("status", lambda r: r.status),
    Column("reason", lambda r: r.reason),
)
"""For programs: plain numbers, memory and sizes in bytes, latencies in milliseconds."""


def render(rows: Sequence[CostResult], form: str) -> str:
    """The table of these rows, in a form of `bench.reporting.forms`."""
    shown: Sequence[Column] = TIDY if form == "csv" else columns(rows)
    return printed([c.title for c in shown], [[c.cell(r) for c in shown] for r in rows], form)


def overview(rows: Sequence[CostResult], form: str) -> str:
    """One line for each way to run a backbone: images/s of every workload side by side.

    Args:
        rows: of any stacks and workloads; those without a result leave a dash.
        form: of `bench.reporting.forms`.
    """
    works = _works(rows)
    titled = list(dict.fromkeys(works.values()))
    lines: dict[tuple[Cell, ...], dict[str, CostResult]] = {}
    apart = _apart(rows)
    for row in rows:
        asked = row.spec.batch_size or "largest"
        name = (*(c.cell(row) for c in apart), row.spec.backbone.name, row.spec.mode, asked)
        lines.setdefault(name, {})[works[row.key]] = row
    titles = [*(c.title for c in apart), "backbone", "mode", "batch"]
    titles += [f"{work}, images/s" for work in titled]
    titles += ["latency ms", "memory GiB", "parameters", "GMACs", "disk MB"]
    cells: list[list[Cell]] = []
    for name, found in lines.items():
        speeds = [_marked(found[w], short=True) if w in found else None for w in titled]
        cells.append([*name, *speeds, *_of_backbone(list(found.values()))])
    return printed(titles, cells, form)


def _of_backbone(rows: Sequence[CostResult]) -> list[Cell]:
    """Latency; the most memory of any workload; and what does not depend on the workload."""
    latency = next((digits(r.latency.median) for r in rows if r.latency), None)
    known = [r for r in rows if r.memory]
    memory = _gib(max(known, key=lambda r: r.memory.peak if r.memory else 0)) if known else None
    size = next((r.size for r in rows if r.size), None)
    if size is None:
        return [latency, memory, None, None, None]
    macs, disk = digits(size.forward_macs / 1e9), f"{size.disk_bytes / 1e6:.0f}"
    return [latency, memory, count(size.parameters), macs, disk]


def _apart(rows: Sequence[CostResult]) -> list[Column]:
    """What lines of an overview differ in, besides backbone, mode and batch."""
    return [c for c in (STACK, PIXELS, HEAD, PRECISION) if len({c.cell(r) for r in rows}) > 1]


def _works(rows: Sequence[CostResult]) -> dict[str, str]:
    """The work of each row by its key; with its optimizer where one work was done with several."""
    several = len({(r.spec.work, r.spec.optimizer) for r in rows}) > len(
        {r.spec.work for r in rows}
    )
    return {r.key: f"{r.spec.work} {r.spec.optimizer}" if several else r.spec.work for r in rows}


def columns(rows: Sequence[CostResult]) -> list[Column]:
    """What tells the rows apart, what was measured of any of them, and what went wrong."""
    measured = [c for c in COLUMNS if any(c.cell(r) is not None for r in rows)]
    found = [*_apart(rows), *measured]
    names = ("backbone", "work", "batch", "mode")
    for more in (OPTIMIZER, BATCH_NORM, CASE):  # as far as needed to tell every two rows apart
        telling = [c for c in found if c.title in names or c not in measured]
        if len({tuple(c.cell(r) for c in telling) for r in rows}) < len(rows):
            found.insert(len(_apart(rows)), more)
    if any(r.runs > 1 for r in rows):
        found.append(RUNS)
    return [*found, STATUS] if any(r.status != "ok" for r in rows) else found


def notes(rows: Sequence[CostResult]) -> Iterator[str]:
    """What a reader must know about these numbers."""
    yield from _failures(rows)
    yield from _doubts(rows)
    for row in rows:
        if row.batch_reason:
            yield f"{row.spec.label}: batch {row.batch_reason}"
    ran = [r for r in rows if r.device]
    if ran:
        yield from _legend(ran)


def _failures(rows: Sequence[CostResult]) -> Iterator[str]:
    for row in rows:
        if row.status != "ok":
            yield f"{row.spec.label}: {row.status}: {row.reason}"
        elif row.size and row.size.uncounted:
            yield f"{row.spec.label}: multiply-accumulates of {', '.join(row.size.uncounted)} apart"


def _doubts(rows: Sequence[CostResult]) -> Iterator[str]:
    """What is marked with a ? in the table, each kind of doubt in one line."""
    busy = [r for r in rows if (r.elsewhere or 0.0) >= BUSY]
    if busy:
        most = max(r.elsewhere or 0.0 for r in busy)
        yield (
            f"? other work used up to {most:.0%} of the cores while {_which(busy, rows)} was "
            "measured: repeat it on an idle machine (--again)"
        )
    if shared := [r for r in rows if r.gpu_processes]:
        yield (
            f"? other processes computed on the GPU while {_which(shared, rows)} was measured: "
            "repeat it on a GPU of its own"
        )
    if unsteady := [r for r in rows if r.unsteady]:
        yield (
            f"? the middle half of the bursts spans over {WIDE:.0%} of the median in "
            f"{_which(unsteady, rows)}: repeat it on a quiet machine (--again), or in several "
            "processes (--runs)"
        )
    if drifted := [r for r in rows if r.drifted]:
        most = max((r.drift or 0.0 for r in drifted), key=abs)
        yield (
            f"? the last bursts were up to {abs(most):.0%} {'faster' if most > 0 else 'slower'} "
            f"than the first in {_which(drifted, rows)}: the machine grew warm, or something else "
            "began or ended; let it cool and repeat it (--again)"
        )
    if bound := [r for r in rows if r.input_bound]:
        yield f"input-bound, the device waits for pictures: {_which(bound, rows)}"


def _which(some: Sequence[CostResult], rows: Sequence[CostResult]) -> str:
    """Rows by name, as far as a reader wants to read."""
    if len(some) == len(rows) > 1:
        return "every row"
    names = [r.spec.label for r in some]
    return " and ".join(names) if len(names) < NAMED else f"{len(names)} of {len(rows)} rows"


def _legend(ran: Sequence[CostResult]) -> Iterator[str]:
    yield (
        "images/s: the stock model's steps, the batch on the device already, median of bursts "
        "(95% of them lay between)"
    )
    if any(r.end_to_end for r in ran):
        yield (
            "end to end: shuffled batches from a mapped file that is in memory, as trials read "
            "pictures from the cache after their first epoch"
        )
    for kind, said in (("resident", "the process held"), ("device", "tensors took there")):
        if any(r.memory and r.memory.kind == kind for r in ran):
            yield f"memory: the most that {said}"
    if any(r.size for r in ran):
        yield (
            "GMACs: multiply-accumulates for one picture, in a step's row gradients included; MFU: "
            "twice that, against a large matrix product in the same precision on the same machine"
        )
    if all(r.runs == 1 for r in ran):
        yield (
            "measured in one process each, which does not show what processes differ in: --runs 3 "
            "does, and `python -m benchmarks.repeat` says how much"
        )
    yield "weights are random, which changes no speed"


def brief(rows: Sequence[CostResult], form: str = "markdown") -> str:
    """The overview and `notes`, for a page that has no room for every workload's figures."""
    return with_notes(overview(rows, form), notes(rows), form)


def document(rows: Sequence[CostResult], form: str = "markdown") -> str:
    """What ``bench show`` prints of measurements: backbones, each workload, and `notes`."""
    several = len({r.spec.work for r in rows}) > 1
    first = f"{overview(rows, form)}\n\n" if several and form != "csv" else ""
    return first + with_notes(render(rows, form), notes(rows), form)
