"""The suite file (TOML) as it is written: its schema.

`bench.toml_file` reads it and words what is wrong. What the values mean together is `bench.suite`'s
part.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bench.claims import Claim, Selection
from bench.data import tfds_reader
from bench.errors import BenchError, suggestion
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
from bench.zoo import content as weights_content
from bench.zoo import freezing as freeze_table
from bench.zoo import heads as head_table
from bench.zoo import traps as trap_table

Backend = Literal["tensorflow", "jax", "torch"]
OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
EVERY = "all"
MOST_DEVICES = 64
"""Of one machine, which is as far as a trial reaches."""
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
    return freeze_table.stated(name, amount)


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
        endings = " or ".join(WEIGHTS_ENDINGS)
        raise ValueError(
            f"imagenet, random, or the path of a file of weights that ends in {endings}"
            f"{weights_content.how(value)}"
        )
    return value


def _blocks(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a regular expression: {error}") from error
    if groups < 1:
        raise ValueError("a group around the block's name, as in block(\\d+)_")
    return pattern


def _activation(value: str) -> str:
    _known("activation", value, head_table.ACTIVATIONS)
    return value


def _trap(value: str) -> str:
    _known("trap", value, (trap_table.NONE, *trap_table.TRAPS))
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
    seen: set[str] = set()
    for value in values:
        said = repr(value)
        if said in seen:
            raise ValueError(f"each once, but {value!r} is there twice")
        seen.add(said)
    return values


def _every_backbone(value: Any) -> Any:
    """``"all"`` for each row of the backbone table."""
    return list(backbone_table.BACKBONES) if value == EVERY else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class PhaseTable(Phase):
    """``[phase1]``."""

    epochs: int = Field(ge=1, le=100_000)
    learning_rate: float = Field(gt=0, le=1000, allow_inf_nan=False)
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
    """``[execution]``. Backend and devices are part of no trial: they belong to the stack."""

    batch_size: int = Field(32, ge=1, le=1_000_000)
    backend: Backend | None = None
    devices: int = Field(1, ge=1, le=MOST_DEVICES)


class LimitsTable(Record):
    """``[limits]``."""

    trial_minutes: float | None = Field(None, gt=0, le=1_000_000, allow_inf_nan=False)
    activations_gib: float = Field(8.0, ge=0, le=1_000_000, allow_inf_nan=False)


class MatrixTable(Record):
    """One ``[[matrix]]``: every combination of its lists is a trial.

    ``train_examples`` is what ``[data]`` says where it is left out.
    """

    backbones: Annotated[list[str], BeforeValidator(_distinct), BeforeValidator(_every_backbone)]
    datasets: Annotated[list[str], BeforeValidator(_distinct)]
    freezes: Annotated[
        list[Annotated[Freeze, BeforeValidator(_freeze)]], BeforeValidator(_distinct)
    ]
    heads: Annotated[list[str], BeforeValidator(_distinct)] = ["linear"]
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, le=LARGEST_SEED)]], BeforeValidator(_distinct)
    ] = [0]
    traps: Annotated[list[Annotated[str, AfterValidator(_trap)]], BeforeValidator(_distinct)] = [
        trap_table.NONE
    ]
    weights: Annotated[str, AfterValidator(_weights)] = "imagenet"
    train_examples: Annotated[list[Annotated[int, Field(ge=2)]], BeforeValidator(_distinct)] = []


class BackboneTable(Record):
    """One ``[[backbones]]``: a model of the user's own, as a file."""

    name: str
    file: str
    preprocessing: Preprocessing
    blocks: Annotated[str, AfterValidator(_blocks)] | None = None


def _tfds(name: str) -> str:
    if not tfds_reader.is_name(name):
        raise ValueError("a name of TensorFlow Datasets, such as beans or oxford_flowers102:2.1.1")
    return name


def _folder(path: str) -> str:
    if not path.strip() or "\0" in path:
        raise ValueError("the path of a folder of pictures")
    return path


class DatasetTable(Dataset):
    """One ``[[datasets]]``."""

    tfds: Annotated[str, AfterValidator(_tfds)] | None = None
    folder: Annotated[str, AfterValidator(_folder)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.tfds is None) == (self.folder is None):
            raise ValueError("either tfds = NAME or folder = PATH")
        return self


class HeadLayerTable(HeadLayer):
    """One layer of a head."""

    dense: int | None = Field(None, ge=1, le=1_000_000)
    activation: Annotated[str, AfterValidator(_activation)] = "relu"


class HeadTable(Head):
    """One ``[[heads]]``."""

    layers: tuple[HeadLayerTable, ...] = ()


class SelectionTable(Selection):
    """``of`` or ``over`` of a claim."""

    freeze: Annotated[Freeze, BeforeValidator(_freeze)] | None = None


class ClaimTable(Claim):
    """One ``[[claims]]``."""

    of: SelectionTable = SelectionTable()
    over: SelectionTable | None = None


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
    claims: list[ClaimTable] = []


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


def change(text: str) -> tuple[str, dict[str, Any]]:
    """An override as the command line takes it: ``KEY=VALUE``.

    Args:
        text: the key is a dotted path into a suite file, the value TOML; what is no TOML is taken
            as a text.

    Returns:
        The key, and the overrides that `overridden` takes.

    Raises:
        BenchError: it has no key.
    """
    key, equals, value = text.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names):
        raise BenchError(f"--set {text}: expected KEY=VALUE, such as phase2.epochs=3")
    inner: Any = _toml_value(value.strip())
    for name in reversed(names):
        inner = {name: inner}
    return ".".join(names), inner


def _toml_value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text
