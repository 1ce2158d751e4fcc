"""Shared fixtures: the command line, settings of a temporary machine, rows measured by nobody."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from bench import cli
from bench.costs import CostResult, CostSpec, Latency, Memory, Rate, Size
from bench.model_card import ModelCard
from bench.numerics import NumericsResult, NumericsSpec, Pass
from bench.probes import ProbeResult, ProbeSpec, Suspect
from bench.progress import Progress
from bench.records import (
    Backbone,
    Data,
    Dataset,
    DatasetUsed,
    Environment,
    Epoch,
    Freeze,
    Guard,
    Head,
    Phase,
    PhaseResult,
    Stack,
    TrialResult,
    TrialSpec,
    WeightsUsed,
)
from bench.running.jobs import Job
from bench.running.messages import Shared
from bench.settings import Settings
from bench.tasks import Row, Spec

# A busy machine is no failure.
hypothesis.settings.register_profile("bench", deadline=None)
hypothesis.settings.load_profile("bench")

STACK = Stack(
    backend="tensorflow",
    backend_version="2.21.0",
    keras_version="3.15.1",
    device="cpu",
    precision="float32",
)

NOWHERE = Environment(
    bench_version="0",
    python_version="3.11",
    platform="Linux",
    processor="a processor",
    cores=2,
    memory_gib=16,
    packages={},
)
"""A machine that no test asks about."""


class Silence:
    """A listener that says nothing; a test overrides what it wants to hear."""

    def begins(self, stack: Stack, trials: int, settled: int) -> None: ...

    def trial_begins(self, spec: Spec) -> None: ...

    def progress(self, spec: Spec, progress: Progress) -> None: ...

    def trial_ends(self, result: Row) -> None: ...

    def trial_is_lost(self, spec: Spec) -> None: ...

    def step_begins(self, job: Job) -> None: ...

    def step_goes_on(self, job: Job, progress: Progress) -> None: ...

    def step_ends(self, job: Job, shared: Shared) -> None: ...

    def noted(self, text: str) -> None: ...


def make_spec(freeze: Freeze | None = None, seed: int = 0, dataset: str = "digits") -> TrialSpec:
    """A valid spec that differs from the others only in what is asked for."""
    return TrialSpec(
        backbone=Backbone(name="MobileNetV2"),
        data=Data(dataset=Dataset(name=dataset), image_size=96),
        head=Head(name="linear"),
        freeze=freeze or Freeze(strategy="top_blocks", amount=2),
        phase1=Phase(epochs=2, learning_rate=1e-3),
        phase2=Phase(epochs=1, learning_rate=1e-5),
        seed=seed,
    )


def make_phase(accuracy: float, parameters: int = 12_810, first_epoch: int = 0) -> PhaseResult:
    """One epoch of a phase."""
    epoch = Epoch(
        index=first_epoch,
        loss=0.5,
        accuracy=accuracy,
        val_loss=0.6,
        val_accuracy=accuracy,
        learning_rate=1e-3,
        seconds=2.0,
        images_per_second=300.0,
    )
    return PhaseResult(
        epochs=(epoch,),
        trainable_parameters=parameters,
        learning_rate=1e-3,
        val_accuracy=accuracy,
        val_loss=0.6,
        images_per_second=300.0,
        seconds=2.5,
    )


def make_dataset(fingerprint: str = "f" * 64, **changes: object) -> DatasetUsed:
    """What a trial on the digits saw."""
    fields: dict[str, object] = {
        "fingerprint": fingerprint,
        "class_names": tuple("0123456789"),
        "train": 600,
        "val": 180,
        "test": 179,
    }
    return DatasetUsed.model_validate(fields | changes)


def make_result(spec: TrialSpec | None = None, **changes: object) -> TrialResult:
    """A row that ended ``ok``, with any field replaced."""
    spec = spec or make_spec()
    fields: dict[str, object] = {
        "key": spec.key,
        "spec": spec,
        "stack": STACK,
        "status": "ok",
        "started_at": "2026-01-01T00:00:00+00:00",
        "seconds": 5.0,
        "phase1": make_phase(0.9),
        "phase2": make_phase(0.95, 1_200_000, first_epoch=1),
        "test_accuracy": 0.94,
        "test_loss": 0.2,
        "total_parameters": 2_270_794,
        "guards": (Guard(name="loss_finite", passed=True, evidence="every loss finite"),),
    }
    return TrialResult.model_validate(fields | changes)


def make_rate(median: float, low: float, high: float) -> Rate:
    """Throughput of three bursts."""
    return Rate(samples=(low, median, high), steps=1, median=median, low=low, high=high)


def make_cost(spec: CostSpec | None = None, **changes: object) -> CostResult:
    """A measurement of inference that ended ``ok``, with any field replaced."""
    spec = spec or CostSpec(
        backbone=Backbone(name="MobileNetV2", weights="random"), workload="inference"
    )
    rate = make_rate(100.0, 98.0, 102.0)
    fields: dict[str, object] = {
        "key": spec.key,
        "spec": spec,
        "stack": STACK,
        "status": "ok",
        "started_at": "2026-01-01T00:00:00+00:00",
        "seconds": 30.0,
        "batch_size": 32,
        "execution": "graph: Keras' default",
        "compile_seconds": 1.5,
        "device": rate,
        "end_to_end": rate,
        "latency": Latency(median=8.0, p90=9.0, p99=12.0, count=500),
        "memory": Memory(peak=1_000_000_000, before=800_000_000, kind="resident"),
        "size": Size(
            parameters=2_270_794,
            trainable=0,
            disk_bytes=9_700_000,
            forward_macs=300_000_000,
            step_macs=300_000_000,
        ),
        "flops_per_second": 6e10,
        "peak_flops_per_second": 4e11,
        "elsewhere": 0.0,
    }
    return CostResult.model_validate(fields | changes)


def make_numerics(spec: NumericsSpec | None = None, **changes: object) -> NumericsResult:
    """A fingerprint of four probes in two modes that ended ``ok``, with any field replaced."""
    spec = spec or NumericsSpec(backbone=Backbone(name="MobileNetV2", weights="random"))
    ways = [
        Pass(
            mode=mode,
            unit=2.0**-24,
            norms=(1.0, 2.0, 3.0, 4.0),
            roundings=(6e-8, 1e-6, 1e-6, 1e-5),
            sketches=tuple(float(i) / 8 for i in range(16)),
        )
        for mode in ("graph", "xla")
    ]
    fields: dict[str, object] = {
        "key": spec.key,
        "spec": spec,
        "stack": STACK,
        "status": "ok",
        "started_at": "2026-01-01T00:00:00+00:00",
        "seconds": 20.0,
        "weights": WeightsUsed(source="random", sha256="a" * 64),
        "inputs": "b" * 64,
        "probes": ("preprocessing", "layer conv", "layer bn", "gradient conv/kernel"),
        "sizes": (48, 48, 48, 9),
        "passes": tuple(ways),
    }
    return NumericsResult.model_validate(fields | changes)


def make_probe(spec: ProbeSpec | None = None, **changes: object) -> ProbeResult:
    """A probe of the digits that ended ``ok``, with any field replaced."""
    spec = spec or ProbeSpec(
        backbone=Backbone(name="MobileNetV2"),
        data=Data(dataset=Dataset(name="digits"), image_size=96, train_examples=500),
        head=Head(name="linear"),
        phase1=Phase(epochs=2, learning_rate=1e-3),
    )
    suspect = Suspect(
        picture="0" * 16, name="a/1.jpg", split="train", label=3, neighbours_say=5, share=0.98
    )
    fields: dict[str, object] = {
        "key": spec.key,
        "spec": spec,
        "stack": STACK,
        "status": "ok",
        "started_at": "2026-01-01T00:00:00+00:00",
        "seconds": 9.0,
        "dataset": make_dataset(),
        "total_parameters": 2_270_794,
        "width": 1280,
        "linear": (0.8, 0.82, 0.84),
        "knn": 0.75,
        "logme": 0.43,
        "features_seconds": 0.005,
        "suspects": (suspect,),
    }
    return ProbeResult.model_validate(fields | changes)


def make_card(**changes: object) -> ModelCard:
    """What goes with a model of two classes, with any field replaced."""
    fields: dict[str, object] = {
        "class_names": ("cat", "dog"),
        "image_size": 96,
        "decoding_version": 1,
        "backbone": "MobileNetV2",
        "dataset": "pets",
        "strategy": "head_only",
        "seed": 0,
        "trial": "0" * 32,
        "weights": WeightsUsed(source="random", sha256="a" * 64),
        "stack": STACK,
        "test_accuracy": 0.9,
        "test_pictures": 40,
        "bench_version": "0",
    }
    return ModelCard.model_validate(fields | changes)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A machine with an empty cache and nothing else."""
    return Settings(cache=tmp_path / "cache")


ROOT = Path(__file__).parents[1]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SUITE = """\
description = "a small suite"
[phase1]
epochs = 1
learning_rate = 1e-3
[phase2]
epochs = 1
learning_rate = 1e-5
[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only", "all"]
"""
"""A suite of two trials."""


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str


Bench = Callable[..., Answer]


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """Run `bench` in this process, from the repository, with no settings but a cache."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    for name in (
        *("BENCH_WEIGHTS_DIR", "TFDS_DATA_DIR", "BENCH_CACHE_GIB", "BENCH_SHARED_CACHE"),
        "FORCE_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = ended.value.code
        # Typer colours its own messages where a CI service asks for colours.
        plain = (COLOURS.sub("", text) for text in (said.out, said.err))
        return Answer(code if isinstance(code, int) else 0, *plain)

    return run


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return path


def refused(answer: Answer) -> str:
    """The one line on standard error of a command that found something wrong."""
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("bench: ")
    return line
