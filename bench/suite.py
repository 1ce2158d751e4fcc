"""A suite file (TOML) -> a validated Suite -> its trials.

The whole file is checked before anything runs: every key, every name, every value. What is wrong
is one `SuiteError` that names the file, the key, the value and what would be valid.

    [data] [phase1] [phase2] [execution] [limits]     how every trial of the suite runs
    [[matrix]]                                        backbones x datasets x freezes x heads x seeds
    [[backbones]] [[datasets]] [[heads]]              what the tables of Bench do not hold
    [smoke]                                           overrides for a tiny run (bench run --smoke)
"""

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from bench.data import datasets as dataset_table
from bench.errors import SuiteError, suggestion
from bench.records import (
    Augmentation,
    Backbone,
    BatchNorm,
    Data,
    Dataset,
    Execution,
    Freeze,
    Head,
    Phase,
    Preprocessing,
    Record,
    Splits,
    TrialSpec,
)
from bench.zoo import augmentation as augmentation_table
from bench.zoo import backbones as backbone_table
from bench.zoo import freezing as freeze_table
from bench.zoo import heads as head_table

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
SUFFIX = ".toml"


class Suite(Record):
    """A suite, ready to run.

    Attributes:
        name: the file's name without its ending; results go to a folder of this name.
        description: one line.
        folder: the suite file's folder; relative paths inside the suite start there.
        trials: in the order they run, distinct.
        trial_minutes: wall time after which a trial is stopped, None for no limit.
        warnings: what is valid but unusual.
    """

    name: str
    description: str
    folder: Path
    trials: tuple[TrialSpec, ...]
    trial_minutes: float | None = None
    warnings: tuple[str, ...] = ()


# ------------------------------------------------------------------------- the file as it is


def _single_key(value: Any, what: str) -> tuple[str, Any]:
    """``"all"`` or ``{top_blocks = 2}`` -> (name, amount)."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    raise ValueError(f"{what}: a name, or a table of one key such as {{name = amount}}")


def _known(kind: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        raise ValueError(f"a {kind} that exists; {suggestion(name, names)}")


def _freeze(value: Any) -> Freeze:
    name, amount = _single_key(value, "a freeze strategy")
    _known("freeze strategy", name, freeze_table.FREEZES)
    row = freeze_table.FREEZES[name]
    if not row.valid(amount):
        raise ValueError(f"{name} to have as its amount: {row.amount}")
    return Freeze(strategy=name, amount=amount)


def _augmentation(value: Any) -> Augmentation:
    name, amount = _single_key(value, "an augmentation")
    _known("augmentation", name, augmentation_table.AUGMENTATIONS)
    row = augmentation_table.AUGMENTATIONS[name]
    if amount is None or not row.accepts(amount):
        raise ValueError(f"{name} to have as its amount: {row.amount}")
    return Augmentation(kind=name, amount=amount)


def _optimizer(value: Any) -> Any:
    if isinstance(value, str):
        _known("optimizer", value, OPTIMIZERS)
    return value


def _distinct(values: list[Any]) -> list[Any]:
    if not values:
        raise ValueError("at least one")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"each once, but {value!r} is there twice")
    return values


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class _Phase(Phase):
    optimizer: Annotated[str, BeforeValidator(_optimizer)] = "adam"


class _Phase2(_Phase):
    batch_norm: BatchNorm = "frozen"


class _Data(Record):
    image_size: int = Field(224, ge=16, le=2048)
    splits: Splits = Splits()
    train_examples: int | None = Field(None, ge=2)
    train_per_class: int | None = Field(None, ge=1)
    val_examples: int | None = Field(None, ge=2)
    test_examples: int | None = Field(None, ge=2)
    augmentation: tuple[Annotated[Augmentation, BeforeValidator(_augmentation)], ...] = ()

    @model_validator(mode="after")
    def _one_subset(self) -> Self:
        if self.train_examples and self.train_per_class:
            raise ValueError("either train_examples or train_per_class, not both")
        return self


class _Limits(Record):
    trial_minutes: float | None = Field(None, gt=0)


class _Matrix(Record):
    backbones: Annotated[list[str], BeforeValidator(_distinct)]
    datasets: Annotated[list[str], BeforeValidator(_distinct)]
    freezes: Annotated[
        list[Annotated[Freeze, BeforeValidator(_freeze)]], BeforeValidator(_distinct)
    ]
    heads: Annotated[list[str], BeforeValidator(_distinct)] = ["linear"]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_distinct)] = [0]
    weights: str = "imagenet"


class _BackboneFile(Record):
    name: str
    file: str
    preprocessing: Preprocessing
    blocks: str | None = None

    @model_validator(mode="after")
    def _pattern(self) -> Self:
        try:
            groups = re.compile(self.blocks or "()").groups
        except re.error as error:
            raise ValueError(f"blocks to be a regular expression: {error}") from error
        if groups < 1:
            raise ValueError("blocks to hold a group around the block's name, as in block(\\d+)_")
        return self


class _Dataset(Dataset):
    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.tfds is None) == (self.folder is None):
            raise ValueError("either tfds = NAME or folder = PATH")
        return self


class _File(Record):
    description: str
    data: _Data = _Data()
    phase1: _Phase
    phase2: _Phase2
    execution: Execution = Execution()
    limits: _Limits = _Limits()
    matrix: Annotated[list[_Matrix], BeforeValidator(_as_list)] = Field(min_length=1)
    backbones: list[_BackboneFile] = []
    datasets: list[_Dataset] = []
    heads: list[Head] = []


# ------------------------------------------------------------------------------------- loading


def load(path: Path, *, smoke: bool = False) -> Suite:
    """Read and check a suite file.

    Args:
        path: the TOML file.
        smoke: apply its ``[smoke]`` table.

    Raises:
        SuiteError: the file cannot be read, or anything in it is wrong.
    """
    content = _read(path)
    overrides = content.pop("smoke", {})
    if not isinstance(overrides, dict):
        raise SuiteError(str(path), "smoke", overrides, "a table of overrides")
    if smoke and not overrides:
        raise SuiteError(str(path), "smoke", None, "a [smoke] table, since --smoke was given")
    _parse(
        path, _overridden(content, overrides)
    )  # a smoke run must not be the first to find errors
    parsed = _parse(path, _overridden(content, overrides) if smoke else content)
    _check_names(str(path), parsed)
    _check_pairs(str(path), parsed)
    return Suite(
        name=path.stem + ("-smoke" if smoke else ""),
        description=parsed.description,
        folder=path.absolute().parent,
        trials=tuple(dict.fromkeys(_trials(parsed))),
        trial_minutes=parsed.limits.trial_minutes,
        warnings=tuple(_warnings(parsed)),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.glob("*" + SUFFIX))
        hint = suggestion(path.name, near) if near else "no suite lies in that folder"
        raise SuiteError(str(path), "file", path.name, f"a file that exists; {hint}") from error
    except OSError as error:
        raise SuiteError(str(path), "file", path.name, f"a readable file: {error}") from error
    except UnicodeDecodeError as error:
        raise SuiteError(str(path), "file", path.name, "UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(str(path), "file", path.name, f"valid TOML: {error}") from error


def _overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the overrides merged in; those of ``matrix`` reach each matrix."""
    merged = dict(content)
    for key, value in overrides.items():
        old = merged.get(key)
        if key == "matrix" and isinstance(old, list) and isinstance(value, dict):
            merged[key] = [_overridden(m, value) if isinstance(m, dict) else m for m in old]
        elif isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _overridden(old, value)
        else:
            merged[key] = value
    return merged


def _parse(path: Path, content: Mapping[str, Any]) -> _File:
    try:
        return _File.model_validate(content)
    except ValidationError as error:
        raise _suite_error(str(path), error) from error


def _suite_error(file: str, error: ValidationError) -> SuiteError:
    """The first thing pydantic found, in our words."""
    first = error.errors()[0]
    key = _dotted(first["loc"])
    kind, value = first["type"], first["input"]
    if kind == "extra_forbidden":
        expected = f"a key that exists; {suggestion(str(first['loc'][-1]), _keys(first['loc']))}"
    elif kind == "missing":
        return SuiteError(file, key, None, "this key to be there")
    elif kind == "value_error":
        expected = str(first["ctx"]["error"])
    else:
        text = first["msg"].removeprefix("Input should be ")
        expected = text[:1].lower() + text[1:]
    return SuiteError(file, key or "file", value, expected)


def _dotted(location: Sequence[int | str]) -> str:
    """("matrix", 0, "seeds", 1) -> "matrix[0].seeds[1]"."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _keys(location: Sequence[int | str]) -> list[str]:
    """The keys that are valid where an unknown one was found."""
    model: Any = _File
    for part in location[:-1]:
        if isinstance(part, str) and isinstance(model, type) and issubclass(model, Record):
            model = _record_in(model.model_fields[part].annotation)
    return sorted([*model.model_fields, *(["smoke"] if model is _File else [])])


def _record_in(annotation: Any) -> Any:
    """The record type inside an annotation such as ``list[_Matrix]`` or ``Splits | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((r for r in map(_record_in, inner) if r is not None), None)


# -------------------------------------------------------------------------------------- checks


def _check_names(file: str, parsed: _File) -> None:
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
                raise SuiteError(file, f"{key}[{i}].name", name, valid)
            if name in table or own.count(name) > 1:
                raise SuiteError(file, f"{key}[{i}].name", name, f"a {kind} name not yet taken")
        for i, matrix in enumerate(parsed.matrix):
            for j, name in enumerate(getattr(matrix, key)):
                if name not in table and name not in own:
                    hint = suggestion(name, [*own, *table])
                    place = f"matrix[{i}].{key}[{j}]"
                    raise SuiteError(file, place, name, f"a {kind} that exists; {hint}")


def _check_pairs(file: str, parsed: _File) -> None:
    """What cannot work together, as far as the tables know."""
    own_heads = {h.name: h for h in parsed.heads}
    files = {b.name: b for b in parsed.backbones}
    for i, matrix in enumerate(parsed.matrix):
        for name in matrix.backbones:
            row = backbone_table.BACKBONES.get(name)
            if row and parsed.data.image_size < row.min_size:
                need = f"at least {row.min_size} for {name}"
                raise SuiteError(file, "data.image_size", parsed.data.image_size, need)
            blocks = row is not None or files[name].blocks is not None
            if not blocks and any(f.strategy == "top_blocks" for f in matrix.freezes):
                valid = f"a 'blocks' expression for {name}, since matrix[{i}] uses top_blocks"
                raise SuiteError(file, "backbones.blocks", None, valid)
        for j, name in enumerate(matrix.heads):
            head = own_heads.get(name) or head_table.HEADS[name]
            for dataset in matrix.datasets:
                classes = _classes(dataset)
                if head.loss == "binary" and classes not in (None, 2):
                    valid = f"a head without binary loss, since {dataset} has {classes} classes"
                    raise SuiteError(file, f"matrix[{i}].heads[{j}]", name, valid)


def _classes(dataset: str) -> int | None:
    row = dataset_table.DATASETS.get(dataset)
    return row.classes if row else None


def _warnings(parsed: _File) -> list[str]:
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


def _trials(parsed: _File) -> list[TrialSpec]:
    own = (
        {b.name: b for b in parsed.backbones},
        {d.name: d for d in parsed.datasets},
        {h.name: h for h in parsed.heads},
    )
    trials = []
    for m in parsed.matrix:
        axes = itertools.product(m.backbones, m.datasets, m.heads, m.freezes, m.seeds)
        for backbone, dataset, head, freeze, seed in axes:
            spec = TrialSpec(
                backbone=_backbone(backbone, own[0], m.weights),
                data=_data(parsed.data, _dataset(dataset, own[1])),
                head=own[2].get(head) or head_table.row(head),
                freeze=freeze,
                phase1=Phase(**_fields(parsed.phase1, Phase)),
                phase2=Phase(**_fields(parsed.phase2, Phase)),
                augmentation=parsed.data.augmentation,
                batch_norm=parsed.phase2.batch_norm,
                execution=parsed.execution,
                seed=seed,
            )
            trials.append(_without_unused(spec))
    return trials


def _without_unused(spec: TrialSpec) -> TrialSpec:
    """Leave out what the freeze strategy makes irrelevant, so that equal trials have equal keys."""
    if spec.freeze.strategy == "head_only":
        return spec.model_copy(update={"phase2": None, "batch_norm": "frozen"})
    if spec.freeze.strategy == "scratch" and spec.phase1 and spec.phase2:
        whole = {
            "epochs": spec.phase1.epochs + spec.phase2.epochs,
            "learning_rate": spec.phase1.learning_rate,
        }
        return spec.model_copy(
            update={
                "backbone": spec.backbone.model_copy(update={"weights": "random"}),
                "phase1": None,
                "phase2": spec.phase2.model_copy(update=whole),
                "batch_norm": "train",
            }
        )
    return spec


def _backbone(name: str, files: Mapping[str, _BackboneFile], weights: str) -> Backbone:
    if name not in files:
        return Backbone(name=name, weights=weights)
    return Backbone(**files[name].model_dump(), weights=weights)


def _dataset(name: str, own: Mapping[str, _Dataset]) -> Dataset:
    return Dataset(**own[name].model_dump()) if name in own else Dataset(name=name)


def _data(data: _Data, dataset: Dataset) -> Data:
    return Data(dataset=dataset, **_fields(data, Data))


def _fields(source: Record, target: type[Record]) -> dict[str, Any]:
    """The fields two records share, as they are."""
    return {k: getattr(source, k) for k in type(source).model_fields if k in target.model_fields}
