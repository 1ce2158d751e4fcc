"""A suite file (TOML) -> a validated Suite -> its trials.

The whole file is checked before anything runs: every key, every name, every value. What is wrong
is one `FileError` that names the file, the key, the value and what would be valid.

    [data] [phase1] [phase2] [execution] [limits]     how every trial of the suite runs
    [[matrix]]                 backbones x datasets x sizes x heads x freezes x traps x seeds
    [[backbones]] [[datasets]] [[heads]]              what the tables of Bench do not hold
    [[claims]]                                        what was published about these trials
    [smoke]                                           overrides for a tiny run (bench run --smoke)
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import suite_file, toml_file
from bench.claims import Claim, first_wrong
from bench.data import datasets as dataset_table
from bench.errors import FileError, suggestion
from bench.records import (
    Backbone,
    Data,
    Dataset,
    EarlyStopping,
    Execution,
    Head,
    Phase,
    Record,
    TrialSpec,
)
from bench.suite_file import BackboneTable, Backend, DatasetTable, DataTable, SuiteFile
from bench.zoo import backbones as backbone_table
from bench.zoo import heads as head_table
from bench.zoo import traps as trap_table

MOST_TRIALS = 100_000
"""In one matrix; more would take a year at five minutes each."""
SMOKE = "-smoke"
"""Ends the name of a suite's tiny version, and so of the folder of its results."""


class Suite(Record):
    """A suite, ready to run.

    Attributes:
        name: the file's name without its ending; results go to a folder of this name.
        description: one line.
        folder: the suite file's folder; relative paths inside the suite start there.
        trials: in the order they run, distinct.
        trial_minutes: wall time after which a trial is stopped, None for no limit.
        activations_gib: room for the tensors that phase 2 trains from; larger ones are recomputed.
        backend: what Keras computes with; None for what the environment says.
        devices: over how many devices a trial spreads its batches.
        warnings: what is valid but unusual.
        claims: what somebody published about these trials.
    """

    name: str
    description: str
    folder: Path
    trials: tuple[TrialSpec, ...]
    trial_minutes: float | None = None
    activations_gib: float = 8.0
    backend: Backend | None = None
    devices: int = 1
    warnings: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


# ------------------------------------------------------------------------------------- loading


def load(path: Path, *, smoke: bool = False, changes: Sequence[str] = ()) -> Suite:
    """Read and check a suite file.

    Args:
        path: the TOML file.
        smoke: apply its ``[smoke]`` table.
        changes: values to put in place of the file's, each ``KEY=VALUE`` (`suite_file.change`);
            they come after ``[smoke]``.

    Raises:
        FileError: the file cannot be read, or anything in it or in the changes is wrong.
        BenchError: a change has no key.
    """
    file = str(path)
    content = toml_file.read(path)
    overrides = content.pop("smoke", {})
    if not isinstance(overrides, dict):
        raise FileError(file, "smoke", overrides, "a table of overrides")
    if smoke and not overrides:
        raise FileError(file, "smoke", None, "a [smoke] table, since --smoke was given")
    parsed = _checked(file, content)
    claims = _claims(file, parsed)
    small = _smoke(file, content, overrides)
    if changes:
        parsed = _changed(file, suite_file.overridden(content, overrides if smoke else {}), changes)
    elif smoke:
        parsed = small
    trials, left_out = _trials(file, parsed)
    return Suite(
        name=path.stem + (SMOKE if smoke else ""),
        description=parsed.description,
        folder=path.absolute().parent,
        trials=trials,
        trial_minutes=parsed.limits.trial_minutes,
        activations_gib=parsed.limits.activations_gib,
        backend=parsed.execution.backend,
        devices=parsed.execution.devices,
        warnings=(*_warnings(parsed), *left_out),
        claims=claims,
    )


def _smoke(file: str, content: Mapping[str, Any], overrides: Mapping[str, Any]) -> SuiteFile:
    """The file with its overrides. What is wrong now is theirs, for without them it was right."""
    try:
        return _checked(file, suite_file.overridden(content, overrides))
    except FileError as error:
        key = f"smoke.{error.key}" if error.key else "smoke"
        raise FileError(file, key, error.value, error.expected) from error


def _changed(file: str, content: Mapping[str, Any], changes: Sequence[str]) -> SuiteFile:
    """The file with changes from the command line, which all that is wrong now is due to."""
    pairs = [suite_file.change(text) for text in changes]
    for _, overrides in pairs:
        content = suite_file.overridden(content, overrides)
    try:
        return _checked(file, content)
    except FileError as error:
        wrong = re.sub(r"\[\d+\]", "", error.key)
        named = [
            k for k, _ in pairs if f"{wrong}.".startswith(f"{k}.") or k.startswith(wrong + ".")
        ]
        place = error.key if named else f"{' '.join(k for k, _ in pairs)}: {error.key}"
        raise FileError(file, f"--set {place}", error.value, error.expected) from error


# -------------------------------------------------------------------------------------- checks


def _checked(file: str, content: Mapping[str, Any]) -> SuiteFile:
    parsed = toml_file.parse(file, content, SuiteFile, others=["smoke"])
    _check_names(file, parsed)
    _check_pairs(file, parsed)
    _check_sizes(file, parsed)
    _check_devices(file, parsed)
    _check_count(file, parsed)
    return parsed


def _claims(file: str, parsed: SuiteFile) -> tuple[Claim, ...]:
    """The claims, which are about the trials of the file as it is, without overrides."""
    claims = tuple(Claim.model_validate(table.model_dump()) for table in parsed.claims)
    if claims and (found := first_wrong(claims, _trials(file, parsed)[0])):
        number, what = found
        raise FileError(file, f"claims[{number}].{what.key}", what.value, what.expected)
    return claims


def _check_sizes(file: str, parsed: SuiteFile) -> None:
    """How many pictures to train on is said in one place."""
    axes = [i for i, matrix in enumerate(parsed.matrix) if matrix.train_examples]
    for key in ("train_examples", "train_per_class"):
        value = getattr(parsed.data, key)
        if axes and value is not None:
            valid = f"nothing here, since matrix[{axes[0]}] has train_examples of its own"
            raise FileError(file, f"data.{key}", value, valid)


def _check_devices(file: str, parsed: SuiteFile) -> None:
    """What several devices can do at all; whether the machine has them is not the file's matter."""
    execution, count = parsed.execution, parsed.execution.devices
    if count > execution.batch_size:
        valid = f"at most execution.batch_size, {execution.batch_size}: each has a part of a batch"
        raise FileError(file, "execution.devices", count, valid)
    if count > 1 and execution.backend == "torch":
        valid = '1, since Keras spreads a batch over devices on "tensorflow" and "jax" only'
        raise FileError(file, "execution.devices", count, valid)
    for i, matrix in enumerate(parsed.matrix):
        if count > 1 and any(trap != trap_table.NONE for trap in matrix.traps):
            valid = f"1, since matrix[{i}] has traps, which are made on one device"
            raise FileError(file, "execution.devices", count, valid)


def _check_count(file: str, parsed: SuiteFile) -> None:
    """A slip in a list of numbers is said at once, not after hours of spanning its matrix."""
    for i, m in enumerate(parsed.matrix):
        axes: list[Sequence[object]] = [m.backbones, m.datasets, m.train_examples or [0]]
        axes += [m.heads, m.freezes, m.traps, m.seeds]
        count = math.prod(len(axis) for axis in axes)
        if count > MOST_TRIALS:
            valid = f"at most {MOST_TRIALS:,} trials, but the lists of matrix[{i}] make {count:,}"
            raise FileError(file, "", None, valid)


def _check_names(file: str, parsed: SuiteFile) -> None:
    """Every name a matrix uses is a row of its table, or defined in the suite."""
    tables: dict[str, tuple[str, list[str], list[str]]] = {
        "backbones": (
            "backbone",
            [b.name for b in parsed.backbones],
            list(backbone_table.BACKBONES),
        ),
        "datasets": ("dataset", [d.name for d in parsed.datasets], list(dataset_table.DATASETS)),
        "heads": ("head", [h.name for h in parsed.heads], list(head_table.HEADS)),
    }
    for key, (kind, own, table) in tables.items():
        for i, name in enumerate(own):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]*", name):
                valid = "a name of letters, digits, spaces and . _ - (a letter or digit first)"
                raise FileError(file, f"{key}[{i}].name", name, valid)
            if name in table or own.count(name) > 1:
                raise FileError(file, f"{key}[{i}].name", name, f"a {kind} name not yet taken")
        for i, matrix in enumerate(parsed.matrix):
            for j, name in enumerate(getattr(matrix, key)):
                if name not in table and name not in own:
                    hint = suggestion(name, [*own, *table])
                    place = f"matrix[{i}].{key}[{j}]"
                    raise FileError(file, place, name, f"a {kind} that exists; {hint}")


def _check_pairs(file: str, parsed: SuiteFile) -> None:
    """What cannot work together, as far as the tables know."""
    own_heads = {h.name: h for h in parsed.heads}
    files = {b.name: b for b in parsed.backbones}
    for i, matrix in enumerate(parsed.matrix):
        for name in matrix.backbones:
            row = backbone_table.BACKBONES.get(name)
            if row and parsed.data.image_size < row.min_size:
                need = f"at least {row.min_size} for {name}"
                raise FileError(file, "data.image_size", parsed.data.image_size, need)
            blocks = row is not None or files[name].blocks is not None
            if not blocks and any(f.strategy == "top_blocks" for f in matrix.freezes):
                valid = f"a 'blocks' expression for {name}, since matrix[{i}] uses top_blocks"
                raise FileError(file, "backbones.blocks", None, valid)
        for j, name in enumerate(matrix.heads):
            head = own_heads.get(name) or head_table.HEADS[name]
            for dataset in matrix.datasets:
                classes = _classes(dataset)
                if head.loss == "binary" and classes not in (None, 2):
                    valid = f"a head without binary loss, since {dataset} has {classes} classes"
                    raise FileError(file, f"matrix[{i}].heads[{j}]", name, valid)


def _classes(dataset: str) -> int | None:
    row = dataset_table.DATASETS.get(dataset)
    return row.classes if row else None


def _warnings(parsed: SuiteFile) -> list[str]:
    ratio = parsed.phase1.learning_rate / parsed.phase2.learning_rate
    found = []
    if not 9.99 < ratio < 100.01:
        found.append(
            f"phase 2's learning rate is phase 1's divided by {ratio:.3g}; "
            "the protocol's usual range is 10 to 100"
        )
    if parsed.execution.batch_size < 8:
        found.append(f"batch size {parsed.execution.batch_size}: throughput will be poor")
    return found


# -------------------------------------------------------------------------------------- trials


def _trials(file: str, parsed: SuiteFile) -> tuple[tuple[TrialSpec, ...], list[str]]:
    """The distinct trials, and what is said of those left out because their trap is no mistake."""
    trials: dict[TrialSpec, None] = {}
    left_out: dict[str, None] = {}
    for spec in _every(parsed):
        reason = trap_table.impossible(spec)
        if reason:
            left_out[f"trap {spec.trap} is left out with {spec.freeze.label}: {reason}"] = None
        else:
            trials[spec] = None
    if not trials:
        traps = next(m.traps for m in parsed.matrix)
        valid = f"a trap that is a mistake in some trial; {'; '.join(left_out)}"
        raise FileError(file, "matrix[0].traps", traps, valid)
    return tuple(trials), list(left_out)


def _every(parsed: SuiteFile) -> Iterator[TrialSpec]:
    """Every combination of every matrix."""
    own = (
        {b.name: b for b in parsed.backbones},
        {d.name: d for d in parsed.datasets},
        {h.name: Head(**h.model_dump()) for h in parsed.heads},
    )
    for m in parsed.matrix:
        sizes: Sequence[int | None] = m.train_examples or [parsed.data.train_examples]
        kinds = (m.heads, m.freezes, m.traps, m.seeds)
        for backbone, dataset, size, head, freeze, trap, seed in itertools.product(
            m.backbones, m.datasets, sizes, *kinds
        ):
            spec = TrialSpec(
                backbone=_backbone(backbone, own[0], m.weights),
                data=_data(parsed.data, _dataset(dataset, own[1]), size),
                head=own[2].get(head) or head_table.row(head),
                freeze=freeze,
                phase1=Phase(**_fields(parsed.phase1, Phase)),
                phase2=Phase(**_fields(parsed.phase2, Phase)),
                augmentation=parsed.data.augmentation,
                **({"views": parsed.data.views} if parsed.data.augmentation else {}),
                batch_norm=parsed.phase2.batch_norm,
                execution=Execution(**_fields(parsed.execution, Execution)),
                seed=seed,
                trap=None if trap == trap_table.NONE else trap,
            )
            yield _without_unused(spec)


def _without_unused(spec: TrialSpec) -> TrialSpec:
    """Leave out what the freeze strategy makes irrelevant, so that equal trials have equal keys."""
    if spec.freeze.strategy == "head_only":
        return spec.model_copy(update={"phase2": None, "batch_norm": "frozen"})
    if spec.freeze.strategy == "scratch" and spec.phase1 and spec.phase2:
        whole: dict[str, Any] = {
            "epochs": spec.phase1.epochs + spec.phase2.epochs,
            "learning_rate": spec.phase1.learning_rate,
            "optimizer": spec.phase1.optimizer,
        }
        if spec.phase2.early_stopping:
            # Val is noisy at the start: keep the best weights, but let every epoch run.
            whole["early_stopping"] = EarlyStopping(patience=whole["epochs"])
        return spec.model_copy(
            update={
                "backbone": spec.backbone.model_copy(update={"weights": "random"}),
                "phase1": None,
                "phase2": spec.phase2.model_copy(update=whole),
                "batch_norm": "train",
            }
        )
    return spec


def _backbone(name: str, files: Mapping[str, BackboneTable], weights: str) -> Backbone:
    if name not in files:
        return Backbone(name=name, weights=weights)
    return Backbone(**files[name].model_dump(), weights=weights)


def _dataset(name: str, own: Mapping[str, DatasetTable]) -> Dataset:
    return Dataset(**own[name].model_dump()) if name in own else Dataset(name=name)


def _data(data: DataTable, dataset: Dataset, train_examples: int | None) -> Data:
    return Data(dataset=dataset, **_fields(data, Data) | {"train_examples": train_examples})


def _fields(source: Record, target: type[Record]) -> dict[str, Any]:
    """The fields two records share, as they are."""
    return {k: getattr(source, k) for k in type(source).model_fields if k in target.model_fields}
