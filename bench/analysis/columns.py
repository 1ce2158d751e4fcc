"""The columns of `bench.analysis.frames`: what each holds, in which unit.

`TRIALS`, `EPOCHS` and `COSTS` are tables, a line for each column, in the order of a frame.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from bench.analysis.stats import Interval, wilson
from bench.costs import CostResult
from bench.records import DatasetUsed, Epoch, PhaseResult, Stack, TrialResult
from bench.zoo import traps

Kind = Literal["string", "Int64", "float64", "boolean", "time"]
"""Types of a column; ``time`` is ``datetime64[us, UTC]``."""

Value = str | int | float | bool | None
Item = TypeVar("Item")


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column: its name, its type, its value for a line, its unit, and what it is."""

    name: str
    kind: Kind
    of: Callable[[Item], Value]
    unit: str = ""
    meaning: str = ""


class Trial(NamedTuple):
    """A line of `TRIALS`: a row, the folder it is from, and what it is taken together with."""

    results: str
    row: TrialResult
    group: str
    line: str


class Trained(NamedTuple):
    """A line of `EPOCHS`."""

    trial: Trial
    phase: int
    epoch: Epoch


class Cost(NamedTuple):
    """A line of `COSTS`."""

    results: str
    row: CostResult


def _score(trial: Trial) -> Interval | None:
    """Wilson's interval of this very model; None where nobody knows, or the row is no share."""
    accuracy, pictures = trial.row.test_accuracy, trial.row.dataset and trial.row.dataset.test
    if accuracy is None or not pictures or not 0 <= accuracy <= 1:
        return None
    return wilson(accuracy * pictures, pictures)


def _guards(trial: Trial) -> str | None:
    """None where none ran."""
    return ", ".join(trial.row.failed_guards) if trial.row.guards else None


def _stack(of: Callable[[Item], Stack]) -> tuple[Column[Item], ...]:
    return (
        Column("stack", "string", lambda i: of(i).id, meaning="everything that ran it"),
        Column("backend", "string", lambda i: of(i).backend, meaning="Keras' backend"),
        Column("backend_version", "string", lambda i: of(i).backend_version, meaning="its version"),
        Column("keras_version", "string", lambda i: of(i).keras_version, meaning="Keras' version"),
        Column("device", "string", lambda i: of(i).device, meaning="what it ran on"),
        Column("precision", "string", lambda i: of(i).precision, meaning="what auto came to"),
    )


def _asked_of(number: int) -> tuple[Column[Trial], ...]:
    """Settings of a phase as the trial runs it; empty where it has no such phase."""
    name, phase = f"phase{number}", f"of phase {number}"

    def setting(title: str) -> Callable[[Trial], Value]:
        return lambda t: getattr(traps.phases(t.row.spec)[number - 1], title, None)

    return (
        Column(f"{name}_epochs", "Int64", setting("epochs"), "", f"most epochs {phase}"),
        Column(
            f"{name}_learning_rate", "float64", setting("learning_rate"), "", f"rate asked {phase}"
        ),
        Column(f"{name}_optimizer", "string", setting("optimizer"), "", f"optimizer {phase}"),
    )


def _ran(number: int, of: Callable[[TrialResult], PhaseResult | None]) -> tuple[Column[Trial], ...]:
    """What a phase came to; empty where it never ran."""
    name, end = f"phase{number}", f"after phase {number}"

    def value(title: str) -> Callable[[Trial], Value]:
        return lambda t: getattr(of(t.row), title, None)

    def trained(trial: Trial) -> int | None:
        phase = of(trial.row)
        return len(phase.epochs) if phase else None

    def column(title: str, kind: Kind, unit: str, meaning: str) -> Column[Trial]:
        return Column(f"{name}_{title}", kind, value(title), unit, meaning)

    return (
        Column(f"{name}_epochs_run", "Int64", trained, "epochs", "trained, early stopping heeded"),
        column("val_accuracy", "float64", "share", f"on val, {end}"),
        column("val_loss", "float64", "nats", f"on val, {end}"),
        column("trainable_parameters", "Int64", "numbers", "that trained, the head's included"),
        column("images_per_second", "float64", "images/s", "its own steps; empty if shared"),
        column("seconds", "float64", "s", "wall time, validation included"),
        column("input_wait", "float64", "share", "of training time waiting for pictures"),
    )


def _pictures(title: str, of: Callable[[DatasetUsed], Value], meaning: str) -> Column[Trial]:
    def value(trial: Trial) -> Value:
        return of(trial.row.dataset) if trial.row.dataset else None

    return Column(title, "Int64", value, "pictures", meaning)


WHICH: tuple[Column[Trial], ...] = (
    Column("results", "string", lambda t: t.results, "", "folder, as it was given"),
    Column("trial", "string", lambda t: t.row.key, "", "key of trial and seed"),
    Column(
        "group",
        "string",
        lambda t: t.group,
        meaning="key of the trial without its seed, whatever ran it and on which pictures",
    ),
    Column(
        "line",
        "string",
        lambda t: t.line,
        meaning="equal for seeds that may be averaged: those of one line of a table, from one "
        "folder, of one trial on one stack, with the same pictures, weights and protocol",
    ),
)

SETTING: tuple[Column[Trial], ...] = (
    Column("backbone", "string", lambda t: t.row.spec.backbone.name, "", "its name"),
    Column(
        "weights", "string", lambda t: t.row.spec.backbone.weights, "", "imagenet, random, file"
    ),
    Column("dataset", "string", lambda t: t.row.spec.data.dataset.name, "", "its name"),
    Column("image_size", "Int64", lambda t: t.row.spec.data.image_size, "pixels", "side"),
    Column("head", "string", lambda t: t.row.spec.head.name, "", "what is on top"),
    Column("freeze", "string", lambda t: t.row.spec.freeze.label, "", "strategy as asked for"),
    Column(
        "freeze_resolved",
        "string",
        lambda t: t.row.freeze_resolved.label if t.row.freeze_resolved else None,
        meaning="strategy as it ran: what auto came to",
    ),
    Column("batch_norm", "string", lambda t: t.row.spec.batch_norm, "", "mode in phase 2"),
    Column(
        "augmentation",
        "string",
        lambda t: ", ".join(f"{a.kind} {a.amount}" for a in t.row.spec.augmentation),
        meaning="layers and amounts, empty without",
    ),
    Column(
        "views",
        "string",
        lambda t: None if t.row.spec.views is None else str(t.row.spec.views),
        meaning="augmented views of the train pictures",
    ),
    Column("trap", "string", lambda t: t.row.spec.trap, "", "mistake made on purpose"),
    Column("batch_size", "Int64", lambda t: t.row.spec.execution.batch_size, "pictures", "a step"),
    Column("seed", "Int64", lambda t: t.row.spec.seed, "", "what tells trials of a group apart"),
)

OUTCOME: tuple[Column[Trial], ...] = (
    Column("status", "string", lambda t: t.row.status, "", "ok, or how it ended"),
    Column("reason", "string", lambda t: t.row.reason, "", "why it has no result"),
    Column("test_accuracy", "float64", lambda t: t.row.test_accuracy, "share", "on test"),
    Column(
        "test_accuracy_low",
        "float64",
        lambda t: s.low if (s := _score(t)) else None,
        "share",
        "Wilson's 95% interval of this seed: sampling of pictures alone",
    ),
    Column(
        "test_accuracy_high",
        "float64",
        lambda t: s.high if (s := _score(t)) else None,
        "share",
        "the other end of it",
    ),
    Column("test_loss", "float64", lambda t: t.row.test_loss, "nats", "on test"),
    Column("total_parameters", "Int64", lambda t: t.row.total_parameters, "numbers", "of all"),
    Column("guards_failed", "string", _guards, "", "names; missing where no guard ran"),
    Column("way", "string", lambda t: t.row.way, "", "literal, or with work shared"),
    Column("reruns", "string", lambda t: t.row.reruns, "", "bit for bit: equal or not promised"),
    _pictures("train_pictures", lambda d: d.train, "in the train split"),
    _pictures("val_pictures", lambda d: d.val, "in the val split"),
    _pictures("test_pictures", lambda d: d.test, "in the test split"),
    Column(
        "fingerprint",
        "string",
        lambda t: t.row.dataset.fingerprint if t.row.dataset else None,
        meaning="SHA-256 of the split manifest: equal pictures",
    ),
    Column(
        "weights_sha256",
        "string",
        lambda t: t.row.weights.sha256 if t.row.weights else None,
        meaning="of the arrays loaded: equal weights",
    ),
    Column("protocol", "Int64", lambda t: t.row.protocol, "", "version of the protocol"),
    Column("started_at", "time", lambda t: t.row.started_at, "UTC", "when it began"),
    Column("seconds", "float64", lambda t: t.row.seconds, "s", "wall time without decoding"),
    Column("pictures_seconds", "float64", lambda t: t.row.pictures_seconds, "s", "decoding"),
)

TRIALS: tuple[Column[Trial], ...] = (
    *WHICH,
    *_stack(lambda t: t.row.stack),
    *SETTING,
    *_asked_of(1),
    *_asked_of(2),
    *_ran(1, lambda r: r.phase1),
    *_ran(2, lambda r: r.phase2),
    *OUTCOME,
)
"""Columns of `bench.analysis.frames.trials`."""

_OF_EPOCHS = (
    "results",
    "trial",
    "group",
    "line",
    "stack",
    "backbone",
    "dataset",
    "freeze",
    "head",
    "trap",
    "seed",
)


def _of_trial(column: Column[Trial]) -> Column[Trained]:
    return Column(
        column.name, column.kind, lambda e: column.of(e.trial), column.unit, column.meaning
    )


def _of_epoch(name: str, unit: str, meaning: str) -> Column[Trained]:
    return Column(name, "float64", lambda e: getattr(e.epoch, name), unit, meaning)


EPOCHS: tuple[Column[Trained], ...] = (
    *(_of_trial(c) for c in TRIALS if c.name in _OF_EPOCHS),
    Column("phase", "Int64", lambda e: e.phase, "", "1 or 2"),
    Column("epoch", "Int64", lambda e: e.epoch.index, "epochs", "from 0, on into phase 2"),
    _of_epoch("loss", "nats", "while training, mean over the epoch"),
    _of_epoch("accuracy", "share", "while training, mean over the epoch"),
    _of_epoch("val_loss", "nats", "on val, after the epoch"),
    _of_epoch("val_accuracy", "share", "on val, after the epoch"),
    _of_epoch("learning_rate", "", "at its first step"),
    _of_epoch("seconds", "s", "wall time, validation included"),
    _of_epoch("images_per_second", "images/s", "its own steps; empty if shared"),
)
"""Columns of `bench.analysis.frames.epochs`."""


def _asked(title: str, kind: Kind, meaning: str, unit: str = "") -> Column[Cost]:
    return Column(title, kind, lambda c: getattr(c.row.spec, title), unit, meaning)


def _found(title: str, kind: Kind, meaning: str, unit: str = "") -> Column[Cost]:
    return Column(title, kind, lambda c: getattr(c.row, title), unit, meaning)


def _part(
    title: str, kind: Kind, of: str, meaning: str, unit: str, field: str = ""
) -> Column[Cost]:
    """A field of a part of the row; empty where the row has no such part."""
    name = field or title
    return Column(title, kind, lambda c: getattr(getattr(c.row, of), name, None), unit, meaning)


def _rate(name: str, meaning: str) -> tuple[Column[Cost], ...]:
    unit, title = "images/s", f"{name}_images_per_second"
    return (
        _part(title, "float64", name, f"median of the bursts, {meaning}", unit, "median"),
        _part(f"{title}_low", "float64", name, "97.5% of the bursts lay above", unit, "low"),
        _part(f"{title}_high", "float64", name, "97.5% of the bursts lay below", unit, "high"),
    )


COSTS: tuple[Column[Cost], ...] = (
    Column("results", "string", lambda c: c.results, "", "folder, as it was given"),
    Column("case", "string", lambda c: c.row.key, "", "key of the measurement"),
    *_stack(lambda c: c.row.stack),
    Column("backbone", "string", lambda c: c.row.spec.backbone.name, "", "its name"),
    _asked("image_size", "Int64", "side", "pixels"),
    Column("head", "string", lambda c: c.row.spec.head.name, "", "what is on top"),
    _asked("classes", "Int64", "outputs of a head with one per class"),
    _asked("workload", "string", "inference, phase 1, phase 2"),
    Column(
        "freeze",
        "string",
        lambda c: c.row.spec.freeze.label if c.row.spec.freeze else None,
        meaning="strategy, in phase 2",
    ),
    _asked("batch_norm", "string", "mode in phase 2"),
    _asked("optimizer", "string", "of a training step"),
    _asked("mode", "string", "default: out of the box; best: the fastest way"),
    Column(
        "batch_size_asked",
        "Int64",
        lambda c: c.row.spec.batch_size,
        "pictures",
        "missing for the largest that fits",
    ),
    _found("batch_size", "Int64", "in a step, as run", "pictures"),
    _found("status", "string", "ok, or how it ended"),
    _found("reason", "string", "why it has no result"),
    *_rate("device", "the batch on the device already"),
    *_rate("end_to_end", "pictures read batch by batch"),
    _part("latency_ms", "float64", "latency", "median, one picture", "ms", "median"),
    _part("latency_ms_p90", "float64", "latency", "90% of calls are faster", "ms", "p90"),
    _part("latency_ms_p99", "float64", "latency", "99% of calls are faster", "ms", "p99"),
    _part("memory_peak_bytes", "Int64", "memory", "at its most, all included", "bytes", "peak"),
    _part("memory_before_bytes", "Int64", "memory", "before the first step", "bytes", "before"),
    _part("memory_kind", "string", "memory", "device, or resident in a process", "", "kind"),
    _part("parameters", "Int64", "size", "in backbone and head", "numbers"),
    _part("trainable_parameters", "Int64", "size", "that train", "numbers", "trainable"),
    _part("disk_bytes", "Int64", "size", "of the .keras file, no optimizer", "bytes"),
    _part("forward_macs", "Int64", "size", "one picture forward", "multiply-accumulates"),
    _part("step_macs", "Int64", "size", "one picture in a step", "multiply-accumulates"),
    _found("flops_per_second", "float64", "achieved", "FLOP/s"),
    _found("peak_flops_per_second", "float64", "of a large matrix product", "FLOP/s"),
    Column("mfu", "float64", lambda c: c.row.utilisation, "share", "achieved over that peak"),
    _found("joules_per_image", "float64", "that the accelerator drew", "J"),
    _found("compile_seconds", "float64", "of the first step, beyond a later one", "s"),
    _found("execution", "string", "graph, xla or eager, and why"),
    _found("rewrites", "string", "done to operations, to the same effect"),
    _found("input_bound", "boolean", "whether steps wait for pictures"),
    _found("doubtful", "boolean", "better measured again on a quiet machine"),
    _found("elsewhere", "float64", "of the cores' time used by other work", "share"),
    _found("drift", "float64", "its last bursts were so much faster than its first", "share"),
    _found("gpu_processes", "Int64", "others on the same GPU"),
    _found("runs", "Int64", "processes taken together"),
    _found("timed_seconds", "float64", "asked for, of timing", "s"),
    _found("started_at", "time", "when it began", "UTC"),
    _found("seconds", "float64", "wall time of the whole measurement", "s"),
)
"""Columns of `bench.analysis.frames.costs`."""
