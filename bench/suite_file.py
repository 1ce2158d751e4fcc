"""The suite file (TOML) as it is written: its schema, how it is read, and how errors are worded.

Whatever is wrong with its keys and values is one `SuiteError` that names the file, the key, the
value and what would be valid. What the values mean together is `bench.suite`'s part.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from bench.errors import SuiteError, suggestion
from bench.records import (
    Augmentation,
    BatchNorm,
    Dataset,
    Execution,
    Freeze,
    Head,
    HeadLayer,
    Phase,
    Preprocessing,
    Record,
    Splits,
    Views,
)
from bench.zoo import augmentation as augmentation_table
from bench.zoo import backbones as backbone_table
from bench.zoo import freezing as freeze_table
from bench.zoo import heads as head_table

Backend = Literal["tensorflow", "jax", "torch"]
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
EVERY = "all"
SUFFIX = ".toml"
LARGEST_SEED = 2**32 - 1
"""NumPy's limit, and so that of ``keras.utils.set_random_seed``."""
WEIGHTS = ("imagenet", "random")
WEIGHTS_ENDINGS = (".h5", ".hdf5")


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
        article = "an" if kind[0] in "aeiou" else "a"
        raise ValueError(f"{article} {kind} that exists; {suggestion(name, names)}")


def _freeze(value: Any) -> Freeze:
    name, amount = _single_key(value, "a freeze strategy")
    _known("freeze strategy", name, freeze_table.FREEZES)
    row = freeze_table.FREEZES[name]
    if not row.valid(amount):
        raise ValueError(f"{name} to have as its amount: {row.amount}")
    # 1 and 1.0 are one fraction, and must be one trial.
    return Freeze(strategy=name, amount=float(amount) if name == "top_fraction" else amount)


def _augmentation(value: Any) -> Augmentation:
    name, amount = _single_key(value, "an augmentation")
    _known("augmentation", name, augmentation_table.AUGMENTATIONS)
    row = augmentation_table.AUGMENTATIONS[name]
    if amount is None or not row.accepts(amount):
        raise ValueError(f"{name} to have as its amount: {row.amount}")
    return Augmentation(kind=name, amount=amount)


def _views(value: Any) -> Any:
    count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not count and value not in ("per-epoch", "per-seed"):
        raise ValueError('"per-epoch", "per-seed", or a number of views, 1 or more')
    return value


def _optimizer(value: Any) -> Any:
    if isinstance(value, str):
        _known("optimizer", value, OPTIMIZERS)
    return value


def _weights(value: str) -> str:
    if value not in WEIGHTS and not value.endswith(WEIGHTS_ENDINGS):
        raise ValueError("imagenet, random, or the path of a .weights.h5 file")
    return value


def _blocks(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"a regular expression: {error}") from error
    if groups < 1:
        raise ValueError("a group around the block's name, as in block(\\d+)_")
    return pattern


def _activation(value: str) -> str:
    _known("activation", value, head_table.ACTIVATIONS)
    return value


def _filled(values: Any) -> Any:
    if values == []:
        raise ValueError("at least one")
    return values


def _distinct(values: Any) -> Any:
    """A list's items, each once. What is no list, the field's own type refuses."""
    _filled(values)
    if not isinstance(values, list):
        return values
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"each once, but {value!r} is there twice")
    return values


def _every_backbone(value: Any) -> Any:
    """``"all"`` for each row of the backbone table."""
    return list(backbone_table.BACKBONES) if value == EVERY else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class PhaseTable(Phase):
    """``[phase1]``."""

    optimizer: Annotated[str, BeforeValidator(_optimizer)] = "adam"


class Phase2Table(PhaseTable):
    """``[phase2]``."""

    batch_norm: BatchNorm = "frozen"


class DataTable(Record):
    """``[data]``."""

    image_size: int = Field(224, ge=16, le=2048)
    splits: Splits = Splits()
    train_examples: int | None = Field(None, ge=2)
    train_per_class: int | None = Field(None, ge=1)
    val_examples: int | None = Field(None, ge=2)
    test_examples: int | None = Field(None, ge=2)
    augmentation: tuple[Annotated[Augmentation, BeforeValidator(_augmentation)], ...] = ()
    views: Annotated[Views, BeforeValidator(_views)] = "per-epoch"

    @model_validator(mode="after")
    def _one_subset(self) -> Self:
        if self.train_examples and self.train_per_class:
            raise ValueError("either train_examples or train_per_class, not both")
        return self


class ExecutionTable(Execution):
    """``[execution]``. The backend is part of no trial: it belongs to the stack."""

    backend: Backend | None = None


class LimitsTable(Record):
    """``[limits]``."""

    trial_minutes: float | None = Field(None, gt=0, allow_inf_nan=False)
    activations_gib: float = Field(8.0, ge=0, allow_inf_nan=False)


class MatrixTable(Record):
    """One ``[[matrix]]``: every combination of its lists is a trial."""

    backbones: Annotated[list[str], BeforeValidator(_distinct), BeforeValidator(_every_backbone)]
    datasets: Annotated[list[str], BeforeValidator(_distinct)]
    freezes: Annotated[
        list[Annotated[Freeze, BeforeValidator(_freeze)]], BeforeValidator(_distinct)
    ]
    heads: Annotated[list[str], BeforeValidator(_distinct)] = ["linear"]
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]], BeforeValidator(_distinct)
    ] = [0]
    weights: Annotated[str, AfterValidator(_weights)] = "imagenet"


class BackboneTable(Record):
    """One ``[[backbones]]``: a model of the user's own, as a file."""

    name: str
    file: str
    preprocessing: Preprocessing
    blocks: Annotated[str, AfterValidator(_blocks)] | None = None


class DatasetTable(Dataset):
    """One ``[[datasets]]``."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.tfds is None) == (self.folder is None):
            raise ValueError("either tfds = NAME or folder = PATH")
        return self


class HeadLayerTable(HeadLayer):
    """One layer of a head."""

    activation: Annotated[str, AfterValidator(_activation)] = "relu"


class HeadTable(Head):
    """One ``[[heads]]``."""

    layers: tuple[HeadLayerTable, ...] = ()


class SuiteFile(Record):
    """The whole file but ``[smoke]``."""

    description: str
    data: DataTable = DataTable()
    phase1: PhaseTable
    phase2: Phase2Table
    execution: ExecutionTable = ExecutionTable()
    limits: LimitsTable = LimitsTable()
    matrix: Annotated[list[MatrixTable], BeforeValidator(_as_list), BeforeValidator(_filled)]
    backbones: list[BackboneTable] = []
    datasets: list[DatasetTable] = []
    heads: list[HeadTable] = []


# ------------------------------------------------------------------------------------- reading


def read(path: Path) -> dict[str, Any]:
    """The file's TOML.

    Raises:
        SuiteError: the file cannot be read, or is not TOML.
    """
    file, name = str(path), path.name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.glob("*" + SUFFIX))
        hint = suggestion(name, near) if near else "no suite lies in that folder"
        raise SuiteError(file, "file", name, f"a file that exists; {hint}") from error
    except OSError as error:
        raise SuiteError(file, "file", name, f"a readable file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SuiteError(file, "file", name, "UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(file, "file", name, f"valid TOML: {error}") from error


def overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the overrides merged in; those of ``matrix`` reach each matrix."""
    merged = dict(content)
    for key, value in overrides.items():
        old = merged.get(key)
        if key == "matrix" and isinstance(old, list) and isinstance(value, dict):
            merged[key] = [overridden(m, value) if isinstance(m, dict) else m for m in old]
        elif isinstance(old, dict) and isinstance(value, dict):
            merged[key] = overridden(old, value)
        else:
            merged[key] = value
    return merged


def parse(file: str, content: Mapping[str, Any]) -> SuiteFile:
    """The file as typed values.

    Args:
        file: its path as the user gave it, for messages.
        content: what `read` returned, without ``smoke``.

    Raises:
        SuiteError: a key or a value is wrong.
    """
    # By way of JSON, because only there does pydantic's strict mode (no true for 1, no "3" for 3)
    # take a list for a tuple and a table for a record.
    text = json.dumps(content, default=_never_valid)
    try:
        return SuiteFile.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _suite_error(file, error) from error


def _never_valid(value: object) -> dict[str, str]:
    """TOML's dates and times have no place in a suite: something that fits no field."""
    return {"date or time": str(value)}


_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a table",
    "dict_type": "a table",
}
"""For pydantic's kinds of error whose own text speaks of Python or JSON."""


def _suite_error(file: str, error: ValidationError) -> SuiteError:
    """One of the things pydantic found, in our words.

    A misspelt key goes first: it is often the reason why another one is missing.
    """
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    key = _dotted(first["loc"])
    kind, value = first["type"], first["input"]
    if kind == "missing":
        return SuiteError(file, key, None, "this key to be there")
    if kind == "extra_forbidden":
        expected = f"a key that exists; {suggestion(str(first['loc'][-1]), _keys(first['loc']))}"
    elif kind == "value_error":
        expected = str(first["ctx"]["error"])
    elif kind == "literal_error":
        options = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        expected = f"one of {', '.join(options)}{_nearest(value, options)}"
    else:
        expected = _WORDS.get(kind) or first["msg"].replace("Input should be", "a value")
    return SuiteError(file, key or "file", value, expected)


def _nearest(value: object, options: Sequence[str]) -> str:
    hint = suggestion(value, options) if isinstance(value, str) else ""
    return f"; {hint}" if hint.startswith("did you mean") else ""


def _dotted(location: Sequence[int | str]) -> str:
    """("matrix", 0, "seeds", 1) -> "matrix[0].seeds[1]"."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _keys(location: Sequence[int | str]) -> list[str]:
    """The keys that are valid where an unknown one was found."""
    model: Any = SuiteFile
    for part in location[:-1]:
        if isinstance(part, str) and isinstance(model, type) and issubclass(model, Record):
            model = _record_in(model.model_fields[part].annotation)
    return sorted([*model.model_fields, *(["smoke"] if model is SuiteFile else [])])


def _record_in(annotation: Any) -> Any:
    """The record type inside an annotation such as ``list[MatrixTable]`` or ``Splits | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((r for r in map(_record_in, inner) if r is not None), None)
