"""One trial in full, for below the table: its seeds, its mistakes, its settings, its command.

    Source, Line -> the rows of its seeds, and what the store kept of their predictions -> Detail

Nothing is read before `detail` is called, and then the predictions of that one trial alone.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis import naming
from bench.analysis.accuracy_stats import accuracy
from bench.analysis.evidence import Evidence, Line, Source
from bench.analysis.predictions import Predictions, found
from bench.analysis.stats import Interval
from bench.records import Environment, Epoch, Guard, Phase, Stack, TrialResult, Way
from bench.zoo import heads
from bench.zoo.traps import TRAPS, phases

MOST_MISTAKES = 12
"""More pictures than this are not looked at."""

AGAIN = "again"
"""Where a command that runs rows again puts its results, beside those of before."""

TO_RUN = (
    "Folders of results are named as counted from where the report was made, and others by their "
    "name alone; the commands run where they lie. Relative paths of own pictures and weights count "
    "from the working directory."
)
"""What to know of commands."""

USUAL_BACKEND = "tensorflow"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SeedDetail:
    """One seed as it ran; fields as in `bench.records.TrialResult`.

    Attributes:
        phase1_epochs, phase2_epochs: empty where a phase was not run.
    """

    seed: int
    key: str
    status: str
    reason: str
    test_accuracy: float | None
    started_at: str
    seconds: float
    phase1_epochs: tuple[Epoch, ...]
    phase2_epochs: tuple[Epoch, ...]
    guards: tuple[Guard, ...]
    execution: str
    way: Way
    rewrites: str


@dataclass(frozen=True)
class ClassDetail:
    """How well one class is recognised.

    Attributes:
        name: of the class.
        pictures: of it, in the test split.
        accuracy: share of them that is right, 0 to 1, mean over seeds.
        interval: of it.
        most_taken_for: the class that it is most often taken for, and the share of its pictures
            that are; None where it never is taken for another.
    """

    name: str
    pictures: int
    accuracy: float
    interval: Interval
    most_taken_for: tuple[str, float] | None


@dataclass(frozen=True)
class Mistake:
    """A test picture that was not recognised.

    Attributes:
        picture: the first 16 hex digits of its content's SHA-256.
        truth: name of its class.
        predicted: name of the class that it was most often taken for.
        probability: of that class, 0 to 1, mean over the seeds that took it for one.
        seeds_wrong: how many seeds had it wrong.
        seeds: of how many.
    """

    picture: str
    truth: str
    predicted: str
    probability: float
    seeds_wrong: int
    seeds: int


@dataclass(frozen=True, eq=False)
class Detail:
    """Everything about one trial.

    Attributes:
        line: which.
        seeds: each, whatever its status.
        class_names: in label order, as rows and columns of ``confusion``.
        confusion: int64 (classes, classes), test pictures summed over the finished seeds whose
            predictions are stored, rows are the truth; None where none are, and ``notes`` say why.
        classes: worst first; empty without ``confusion``.
        mistakes: wrong in most seeds first, then the most confident; `MOST_MISTAKES` at the most.
        settings: what defines the trial, as (name, value).
        environment: what ran it, as (name, value).
        command: runs its rows again.
        notes: what a reader must know.
    """

    line: Line
    seeds: tuple[SeedDetail, ...]
    class_names: tuple[str, ...]
    confusion: NDArray[np.int64] | None
    classes: tuple[ClassDetail, ...]
    mistakes: tuple[Mistake, ...]
    settings: Pairs
    environment: Pairs
    command: str
    notes: tuple[str, ...]


def detail(source: Source, line: Line) -> Detail:
    """Everything about a line.

    Args:
        source: the folder that it is from.
        line: one of `Evidence.lines`.
    """
    predictions, missing = found(source.folder, line.group.finished)
    names = _class_names(line)
    return Detail(
        line=line,
        seeds=tuple(map(_seed, line.group.rows)),
        class_names=names,
        confusion=_confusion(predictions),
        classes=_classes(predictions, names),
        mistakes=_mistakes(predictions, names),
        settings=tuple(_settings(line)),
        environment=tuple(described(line.group.stack, _environment(line))),
        command=command(line, source),
        notes=(*_notes(line), *missing),
    )


def chosen_for_detail(evidence: Evidence, limit: int = 200) -> tuple[tuple[Line, ...], int]:
    """The lines to show in full: the best, ties and failures first, then others.

    Args:
        evidence: of the report.
        limit: how many at the most.

    Returns:
        Them, in the order of the evidence, and how many were left out.
    """

    def matters(line: Line) -> int:
        group = line.group
        failed = group.status != "ok" or any(r.failed_guards for r in group.rows)
        return 0 if line.standing == "best" else 1 if line.standing else 2 if failed else 3

    first = sorted(evidence.lines, key=matters)[:limit]
    return tuple(sorted(first, key=lambda x: x.number)), len(evidence.lines) - len(first)


def command(line: Line, source: Source) -> str:
    """What runs the rows of a line again, and no others, quoted for a shell.

    A folder's rows run on their own backend; it is named where that is not what readers expect,
    or where the folder holds rows of several.

    Args:
        line: which.
        source: the folder that it is from.
    """
    backend = line.group.stack.backend
    usual = {backend, *(r.stack.backend for r in source.rows)} == {USUAL_BACKEND}
    words = [w for r in line.group.rows for w in ("--only", r.key[: naming.KEY_SHOWN])]
    command = shlex.join(["bench", "run", shown(source.folder), *words, "--results", AGAIN])
    return command if usual else f"KERAS_BACKEND={shlex.quote(backend)} {command}"


def shown(folder: Path) -> str:
    """A folder without this machine's paths: as counted from here, its name alone elsewhere."""
    here, there = Path.cwd(), folder.resolve() if ".." in folder.parts else folder.absolute()
    inside = there.is_relative_to(here)
    name = there.relative_to(here).as_posix() if inside else there.name
    return f"./{name}" if name.startswith("-") else name


def _seed(row: TrialResult) -> SeedDetail:
    return SeedDetail(
        seed=row.spec.seed,
        key=row.key,
        status=row.status,
        reason=row.reason,
        test_accuracy=row.test_accuracy,
        started_at=row.started_at,
        seconds=row.seconds,
        phase1_epochs=row.phase1.epochs if row.phase1 else (),
        phase2_epochs=row.phase2.epochs if row.phase2 else (),
        guards=row.guards,
        execution=row.execution_mode,
        way=row.way,
        rewrites=row.rewrites,
    )


# ------------------------------------------------------------------------------------ predictions


def _class_names(line: Line) -> tuple[str, ...]:
    return next((r.dataset.class_names for r in line.group.finished if r.dataset), ())


def _confusion(seeds: Sequence[Predictions]) -> NDArray[np.int64] | None:
    if not seeds:
        return None
    classes = seeds[0].probabilities.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    for seed in seeds:
        np.add.at(counts, (seed.labels, seed.predicted), 1)
    return counts


def _classes(seeds: Sequence[Predictions], names: Sequence[str]) -> tuple[ClassDetail, ...]:
    counts = _confusion(seeds)
    if counts is None:
        return ()
    labels = seeds[0].labels
    right = np.stack([seed.predicted == labels for seed in seeds])
    shown = []
    for label, name in enumerate(names):
        of_class = labels == label
        if not of_class.any():
            continue
        estimate = accuracy(right[:, of_class])
        others = np.where(np.arange(len(names)) == label, 0, counts[label])
        most = int(others.argmax())
        taken = (names[most], float(others[most] / counts[label].sum())) if others[most] else None
        pictures = int(of_class.sum())
        shown.append(ClassDetail(name, pictures, estimate.value, estimate.interval, taken))
    return tuple(sorted(shown, key=lambda c: c.accuracy))


def _mistakes(seeds: Sequence[Predictions], names: Sequence[str]) -> tuple[Mistake, ...]:
    if not seeds:
        return ()
    labels, pictures = seeds[0].labels, seeds[0].pictures
    predicted = np.stack([seed.predicted for seed in seeds])
    probabilities = np.stack([seed.probabilities for seed in seeds])
    wrong = (predicted != labels).sum(axis=0)
    found = []
    for i in np.flatnonzero(wrong):
        votes = np.bincount(predicted[predicted[:, i] != labels[i], i], minlength=len(names))
        most = int(votes.argmax())
        sure = float(probabilities[predicted[:, i] == most, i, most].mean())
        truth = names[labels[i]]
        times = int(wrong[i])
        found.append(Mistake(pictures[i], truth, names[most], sure, times, len(seeds)))
    found.sort(key=lambda m: (-m.seeds_wrong, -m.probability, m.picture))
    return tuple(found[:MOST_MISTAKES])


# ------------------------------------------------------------------------------- in people's words


def _settings(line: Line) -> Iterator[tuple[str, str]]:
    spec, rows = line.group.spec, line.group.rows
    weights = next((r.weights for r in rows if r.weights), None)
    yield "backbone", _named(spec.backbone.name, spec.backbone.file)
    yield "weights", weights.source if weights else Path(spec.backbone.weights).name
    if weights:
        yield "SHA-256 of the weights", weights.sha256
    yield "head", heads.describe(spec.head)
    resolved = dict.fromkeys(r.freeze_resolved.label for r in rows if r.freeze_resolved)
    yield "freeze", " → ".join(dict.fromkeys((spec.freeze.label, *resolved)))
    yield "batch norm", spec.batch_norm
    kinds = ", ".join(f"{a.kind} {a.amount}" for a in spec.augmentation)
    yield "augmentation", kinds or "none"
    if spec.views is not None:
        yield "views", str(spec.views)
    for number, phase in enumerate(phases(spec), start=1):
        yield f"phase {number}", _phase(phase) if phase else "none"
    yield "batch size", str(spec.execution.batch_size)
    yield "precision", line.group.stack.precision
    yield "deterministic", "yes" if spec.execution.deterministic else "no"
    yield from _reruns(rows)
    if spec.trap:
        known = TRAPS.get(spec.trap)
        yield "trap", f"{spec.trap}: {known.description}" if known else spec.trap
    yield from _pictures(line)
    yield "seeds", ", ".join(str(r.spec.seed) for r in rows)


def _reruns(rows: Sequence[TrialResult]) -> Iterator[tuple[str, str]]:
    """What running it again gives; nothing of rows that do not tell."""
    told = dict.fromkeys(f"{r.reruns}: {r.reruns_reason}" for r in rows if r.reruns)
    if told:
        yield "reruns, bit for bit", "; ".join(told)


def _phase(phase: Phase) -> str:
    epochs = f"{phase.epochs} epoch" + ("s" if phase.epochs > 1 else "")
    parts = [f"{epochs}, {phase.optimizer} at {phase.learning_rate:g}"]
    if stopping := phase.early_stopping:
        parts.append(f"stops after {stopping.patience} without a better val loss")
    if reducing := phase.reduce_learning_rate:
        parts.append(f"rate x {reducing.factor:g} after {reducing.patience} without one")
    return "; ".join(parts)


def _pictures(line: Line) -> Iterator[tuple[str, str]]:
    data = line.group.spec.data
    yield "dataset", _named(data.dataset.name, data.dataset.tfds or data.dataset.folder)
    yield "image size", f"{data.image_size} x {data.image_size} pixels"
    used = next((r.dataset for r in line.group.rows if r.dataset), None)
    if used:
        splits = f"{used.train:,} train, {used.val:,} val, {used.test:,} test"
        yield "pictures", splits
        yield "classes", str(len(used.class_names))
        yield "fingerprint of the pictures", used.fingerprint


def _named(name: str, source: str | None) -> str:
    """What a suite calls something, and what it is there; of a path the last part alone."""
    last = Path(source).name if source else name
    return name if last == name else f"{name} ({last})"


def described(stack: Stack, environment: Environment | None) -> Iterator[tuple[str, str]]:
    """What ran a trial, as (name, value); of an environment that is not known, the stack alone."""
    yield "backend", f"{stack.backend} {stack.backend_version}"
    yield "Keras", stack.keras_version
    yield "device", stack.device
    yield "precision", stack.precision
    if environment is None:
        return
    yield "Bench", environment.bench_version
    yield "Python", environment.python_version
    yield "platform", environment.platform
    yield "processor", f"{environment.processor}, {environment.cores} cores"
    yield "memory", f"{environment.memory_gib:.0f} GiB"
    yield from sorted(environment.packages.items())


def _environment(line: Line) -> Environment | None:
    """Of the last seed that has one."""
    return next((r.environment for r in reversed(line.group.rows) if r.environment), None)


def _notes(line: Line) -> Iterator[str]:
    group = line.group
    if line.random:
        yield naming.MEANINGLESS
    if group.apart:
        yield f"other seeds measured something else; these: {group.apart}"
    for row in group.rows:
        if row.status != "ok":
            yield f"seed {row.spec.seed}: {row.status}: {row.reason or 'no reason given'}"
        for guard in row.guards:
            if guard.passed is False:
                yield f"seed {row.spec.seed}: guard {guard.name} failed: {guard.evidence}"
    said = [(*r.dataset.caveats, *r.dataset.notes) for r in group.rows if r.dataset]
    yield from dict.fromkeys(remark for remarks in said for remark in remarks)
    machines = {r.environment.model_dump_json() for r in group.rows if r.environment}
    if len(machines) > 1:
        yield "seeds ran in different environments; the last one is shown"
