"""The vocabulary of Bench as frozen values, JSON both ways.

What goes in:   Backbone, Dataset, Data, Augmentation, Head, Freeze, Phase, Execution -> TrialSpec
What comes out: Epoch -> PhaseResult; Guard, WeightsUsed, DatasetUsed, Stack -> TrialResult
On the way:     Progress, in `bench.progress`

A record's defaults never change, because a trial's key leaves defaults out: a field that is added
later gets the default that means "as before", and every row measured before keeps its key.
"""

import hashlib
import json
import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PROTOCOL_VERSION = 1
"""Part of every trial's key. Raised when the protocol changes what a spec measures."""

Preprocessing = Literal["raw", "minus_one_to_one", "zero_to_one", "caffe", "torch"]
"""What the backbone expects of pixels in [0, 255]:
``raw`` as they are (the backbone rescales inside), ``minus_one_to_one`` x / 127.5 - 1,
``zero_to_one`` x / 255, ``caffe`` BGR minus the ImageNet mean, ``torch`` x / 255 standardised
with the ImageNet mean and deviation."""

BatchNorm = Literal["frozen", "affine", "train"]
"""BatchNormalization in phase 2: ``frozen`` nothing of it trains, ``affine`` scale and shift train
while the statistics stay, ``train`` statistics move too (and the backbone is in training mode)."""

Views = Annotated[int, Field(ge=1)] | Literal["per-epoch", "per-seed"]
"""Augmented views of the train pictures. ``per-epoch``: epoch e of every seed and strategy sees
view e, which leaves augmentation's own randomness out of the spread over seeds; a number n: view
e mod n; ``per-seed``: each seed has views of its own."""

Way = Literal["literal", "shared"]
"""How a trial was computed: step by step, or with work shared between trials."""

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
Status = Literal["ok", "failed", "out_of_memory", "timeout", "diverged", "skipped"]
SplitName = Literal["train", "val", "test"]


class Record(BaseModel):
    """Base of every record: frozen, compared by value, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Backbone(Record):
    """A pretrained image model without its top.

    Attributes:
        name: a row of the backbone table, or any name for a model given as a file.
        weights: ``imagenet``, ``random``, or the path of a ``.weights.h5`` file.
        file: path of a ``.keras`` file holding the whole backbone, weights included.
        preprocessing: what the model expects of pixels. A file must state it; for a row of the
            table it goes before what the table says.
        blocks: a regular expression matching the layer names inside blocks, its first group the
            block's name; for a file, ``top_blocks`` needs it.
    """

    name: str
    weights: str = "imagenet"
    file: str | None = None
    preprocessing: Preprocessing | None = None
    blocks: str | None = None


class Dataset(Record):
    """Where pictures come from: a row of the dataset table, any TFDS name, or a folder.

    Attributes:
        name: a row of the dataset table, or any name together with ``tfds`` or ``folder``.
        tfds: a TensorFlow Datasets name (``beans``, ``oxford_flowers102:2.1.1``).
        folder: a folder of images: ``class/picture.jpg``, or ``train/ val/ test/`` above that.
    """

    name: str
    tfds: str | None = None
    folder: str | None = None


class Splits(Record):
    """Fractions of a dataset for train, val and test; a dataset's own test split is kept."""

    train: float = Field(0.8, gt=0, lt=1)
    val: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train, val and test fractions that add up to 1")
        return self


class Data(Record):
    """Which pictures a trial sees. Subsets are stratified and nested: 1,000 contain the 500."""

    dataset: Dataset
    image_size: int = Field(224, ge=16, le=2048)
    splits: Splits = Splits()
    train_examples: int | None = Field(None, ge=2)
    train_per_class: int | None = Field(None, ge=1)
    val_examples: int | None = Field(None, ge=2)
    test_examples: int | None = Field(None, ge=2)


class Augmentation(Record):
    """One random layer, active in training only.

    Attributes:
        kind: a row of the augmentation table.
        amount: ``horizontal``, ``vertical`` or ``horizontal_and_vertical`` for ``flip``; otherwise
            the Keras layer's factor (``rotation`` in turns: 10 degrees are 0.0278).
    """

    kind: str
    amount: float | str


class HeadLayer(Record):
    """One layer of a head between pooling and output: Dense units, or a Dropout rate."""

    dense: int | None = Field(None, ge=1)
    activation: str = "relu"
    dropout: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.dense is None) == (self.dropout is None):
            raise ValueError("either dense = UNITS or dropout = RATE")
        return self


class Head(Record):
    """What sits on the backbone: pooling, layers, and an output layer with its loss.

    Attributes:
        name: a row of the head table, or a name of the suite's own.
        pooling: global average (``avg``), global maximum (``max``), or ``flatten``.
        layers: Dense and Dropout layers, in order.
        output: ``logits`` or ``probabilities`` (a softmax, or a sigmoid for a binary loss).
        loss: ``sparse`` or ``one_hot`` categorical cross-entropy over one output per class, or
            ``binary`` cross-entropy over a single output (two classes only).
    """

    name: str
    pooling: Literal["avg", "max", "flatten"] = "avg"
    layers: tuple[HeadLayer, ...] = ()
    output: Literal["logits", "probabilities"] = "logits"
    loss: Literal["sparse", "one_hot", "binary"] = "sparse"


class Freeze(Record):
    """How much of the backbone trains in phase 2.

    Attributes:
        strategy: a row of the freeze table.
        amount: layers, blocks, a fraction, or a layer's index or name, as the strategy asks.
    """

    strategy: str
    amount: int | float | str | None = None

    @property
    def label(self) -> str:
        """For tables: ``head_only``, ``last_layers=30``."""
        return self.strategy if self.amount is None else f"{self.strategy}={self.amount}"


class EarlyStopping(Record):
    """Stop when the val loss has not improved for ``patience`` epochs; keep the best weights."""

    patience: int = Field(3, ge=1)


class ReduceLearningRate(Record):
    """Multiply the rate by ``factor`` after ``patience`` epochs without a better val loss."""

    factor: float = Field(0.2, gt=0, lt=1)
    patience: int = Field(2, ge=1)
    min_learning_rate: float = Field(0.0, ge=0, allow_inf_nan=False)


class Phase(Record):
    """How one phase trains."""

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    optimizer: str = "adam"
    early_stopping: EarlyStopping | None = None
    reduce_learning_rate: ReduceLearningRate | None = None


class Execution(Record):
    """How a trial runs. ``deterministic`` buys equal reruns; where it cannot, rows say so."""

    batch_size: int = Field(32, ge=1)
    precision: Precision = "auto"
    deterministic: bool = True


class TrialSpec(Record):
    """Everything that decides what one trial measures; its key is a hash of this and no more.

    It holds nothing that its trial does not use: ``phase1`` is None from scratch, ``phase2`` for a
    head alone, ``views`` where there is no augmentation. ``trap``: the mistake of the trap table
    that is made on purpose; the rest of the spec stays the right protocol's.
    """

    backbone: Backbone
    data: Data
    head: Head
    freeze: Freeze
    phase1: Phase | None
    phase2: Phase | None
    augmentation: tuple[Augmentation, ...] = ()
    views: Views | None = None
    batch_norm: BatchNorm = "frozen"
    execution: Execution = Execution()
    seed: int = Field(0, ge=0)
    trap: str | None = None

    @property
    def key(self) -> str:
        """32 hex digits: SHA-256 of the canonical JSON of this spec and the protocol version."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps([PROTOCOL_VERSION, content], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def seedless(self) -> "TrialSpec":
        """Equal for trials that differ in nothing but the seed: its own with seed 0."""
        return self.model_copy(update={"seed": 0})

    @property
    def meaningless(self) -> bool:
        """Whether it freezes a backbone of random weights: its accuracy means nothing."""
        return self.backbone.weights == "random" and self.freeze.strategy != "scratch"

    @property
    def label(self) -> str:
        """One line for people: what distinguishes this trial inside a suite."""
        parts = (self.backbone.name, self.data.dataset.name, self.freeze.label, self.head.name)
        size = (f"{self.data.train_examples} train",) if self.data.train_examples else ()
        trap = (f"trap {self.trap}",) if self.trap else ()
        return " · ".join((*parts, *size, *trap, f"seed {self.seed}"))


class Stack(Record):
    """What ran the trial: the frameworks, the device and the precision it resolved to."""

    backend: str
    backend_version: str
    keras_version: str
    device: str
    precision: str

    @property
    def id(self) -> str:
        """A folder name, for example ``tensorflow-2.21.0_keras-3.15.1_cpu_float32``."""
        frameworks = f"{self.backend}-{self.backend_version}_keras-{self.keras_version}"
        return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{frameworks}_{self.device}_{self.precision}")


class Environment(Record):
    """The machine and the packages behind a row, for whoever asks why two rows differ."""

    bench_version: str
    python_version: str
    platform: str
    processor: str
    cores: int
    memory_gib: float
    packages: dict[str, str]


class WeightsUsed(Record):
    """Where the backbone's weights came from, and the SHA-256 of the arrays actually loaded."""

    source: str
    sha256: str


class DatasetUsed(Record):
    """The pictures a trial saw, after splitting and subsetting.

    Attributes:
        fingerprint: SHA-256 of the split manifest (content hash, class and split of each picture).
        class_names: in label order.
        train, val, test: pictures in each split.
        caveats: what a reader must know about numbers on this dataset.
        notes: what was found while reading: duplicates, pictures left out and why.
    """

    fingerprint: str
    class_names: tuple[str, ...]
    train: int
    val: int
    test: int
    caveats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Epoch(Record):
    """One epoch. ``index`` counts from 0 and goes on from phase 1 into phase 2."""

    index: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float | None = None


class PhaseResult(Record):
    """One phase as it ran.

    Attributes:
        epochs: one row each.
        trainable_parameters: numbers (not tensors) that trained, the head's included.
        learning_rate: in force at the phase's first step.
        val_accuracy, val_loss: of the weights that the phase ended with, over every val picture.
        val_correct: `bench.marks.packed` of the same, in the val split's order.
        images_per_second: of the phase's own steps, median over epochs, without the first of each
            and a smaller last one; None where too few are left, or not the stock model trained.
        seconds: wall time, validation included.
        input_wait: share of its training time (0 to 1) that it waited for pictures.
        execution: ``graph``, ``xla`` or ``eager``, and how that was decided.
    """

    epochs: tuple[Epoch, ...]
    trainable_parameters: int
    learning_rate: float
    val_accuracy: float
    val_loss: float
    images_per_second: float | None
    seconds: float
    input_wait: float | None = None
    execution: str = ""
    val_correct: str | None = None


class Guard(Record):
    """A check that a trial made on itself. ``passed`` is None where it does not apply."""

    name: str
    passed: bool | None
    evidence: str


class TrialResult(Record):
    """One row of the store. A trial that did not end ``ok`` keeps what it had, and a reason.

    ``seconds`` is wall time without ``pictures_seconds`` (reading and decoding). Shared work counts
    in the trial that did it, or first waited for it; ``way`` says whether this one took part,
    ``rewrites`` what was done to the backbone's operations. ``test_correct``: `bench.marks.packed`,
    in the test split's order. ``reruns``: bits that the same suite gives again; None: not noted.
    """

    key: str
    spec: TrialSpec
    stack: Stack
    status: Status
    reason: str = ""
    started_at: str
    seconds: float
    pictures_seconds: float = 0.0
    protocol: int = 1
    phase1: PhaseResult | None = None
    phase2: PhaseResult | None = None
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_correct: str | None = None
    total_parameters: int | None = None
    freeze_resolved: Freeze | None = None
    guards: tuple[Guard, ...] = ()
    weights: WeightsUsed | None = None
    dataset: DatasetUsed | None = None
    execution_mode: str = ""
    way: Way = "literal"
    rewrites: str = ""
    environment: Environment | None = None
    predictions: str | None = None
    reruns: Literal["equal", "not promised"] | None = None
    reruns_reason: str = ""

    @property
    def last_phase(self) -> PhaseResult | None:
        """Phase 2 where there was one, else phase 1."""
        return self.phase2 or self.phase1

    @property
    def failed_guards(self) -> tuple[str, ...]:
        """Names of the guards that did not hold."""
        return tuple(g.name for g in self.guards if g.passed is False)
