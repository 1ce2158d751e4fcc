"""``bench fingerprint`` with an engine of straw."""

from pathlib import Path

import pytest
from conftest import STACK, Bench, make_numerics, refused

from bench.numerics import NumericsSpec
from bench.records import Environment
from bench.running import isolation, store
from bench.running.messages import Finished, Setup

BEFORE = Environment(
    bench_version="1.0",
    python_version="3.12.0",
    platform="Linux x86_64",
    processor="a processor",
    cores=2,
    memory_gib=8.0,
    packages={"pillow": "12.0.0"},
)


class Engine:
    """Takes any fingerprint at once."""

    stack = STACK
    environment = BEFORE
    setups: list[tuple[Setup, float | None]] = []
    asked: list[NumericsSpec] = []

    def __init__(self, setup: Setup, seconds: float | None, *_: object) -> None:
        self.setups.append((setup, seconds))

    def execute(self, spec: NumericsSpec, report: object) -> Finished:
        self.asked.append(spec)
        return Finished(result=make_numerics(spec, environment=self.environment))

    def wait(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    monkeypatch.setattr(isolation, "LocalEngine", Engine)
    for name in ("setups", "asked"):
        monkeypatch.setattr(Engine, name, [])
    return Engine


def test_a_dry_run_prints_what_would_be_taken(bench: Bench, tmp_path: Path) -> None:
    words = ("--precision", "float32", "--precision", "mixed_float16", "--dry-run")
    answer = bench("fingerprint", "VGG16", *words, "--results", tmp_path / "r")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "VGG16 · 96 px · numerics · float32",
        "VGG16 · 96 px · numerics · mixed_float16",
    ]
    assert not (tmp_path / "r").exists()


def test_fingerprints_are_taken_and_kept(
    bench: Bench, tmp_path: Path, engine: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("fingerprint", "VGG16", "ResNet50", "--results", tmp_path / "r")
    answer = bench(*words)
    assert answer.code == 0
    assert "fingerprint: 2 fingerprints" in answer.out
    assert "[2/2] ResNet50 · 96 px · numerics · float32 · 4 probes (graph, xla)" in answer.out
    assert answer.out.endswith(f"results: {tmp_path / 'r' / 'fingerprint'}\n")
    ((setup, seconds),) = engine.setups
    assert (setup.execution.precision, seconds) == ("auto", 3600.0)
    assert len(store.read(tmp_path / "r").numerics) == 2
    assert "2 measured before" in bench(*words).out
    newer = BEFORE.model_copy(update={"packages": {"pillow": "99.0"}})
    monkeypatch.setattr(Engine, "environment", newer)
    assert "measured before" not in bench(*words).out
    assert len(engine.asked) == 4
    assert [r.environment for r in store.read(tmp_path / "r").numerics] == [newer] * 2


def test_a_suite_gives_its_backbones(
    bench: Bench, suite: Path, tmp_path: Path, engine: type[Engine]
) -> None:
    assert bench("fingerprint", suite, "--results", tmp_path / "r").code == 0
    assert [s.backbone.name for s in engine.asked] == ["MobileNetV2"]
    assert (tmp_path / "r" / "small" / STACK.id / "numerics.jsonl").is_file()


def test_what_is_neither_a_suite_nor_a_backbone_is_refused(bench: Bench) -> None:
    assert "did you mean VGG19 or VGG16?" in refused(bench("fingerprint", "VGG1"))
