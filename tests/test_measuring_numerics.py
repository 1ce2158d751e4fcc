"""A fingerprint from spec to row, on a small network: equal twice; changes found where they are."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny
from conftest import ROOT, STACK

from bench.analysis import numerics_stats
from bench.analysis.numerics_stats import NumericsChange
from bench.measuring import numerics, probing
from bench.numerics import NumericsResult, NumericsSpec
from bench.progress import Progress
from bench.records import Backbone, WeightsUsed
from bench.running import store
from bench.settings import Settings
from bench.training import execution, fitting
from bench.training.grounds import Workplace
from bench.zoo import preprocessing, weights

SPEC = NumericsSpec(backbone=Backbone(name="MobileNetV2", weights="random"), image_size=16)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("numerics")
    return Workplace(Settings(cache=folder / "cache"), folder, STACK, execution.environment())


Take = Callable[..., NumericsResult]


@pytest.fixture
def take(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Take the tiny backbone's fingerprint, changed or not; as a graph only."""
    monkeypatch.setattr(probing, "modes", lambda: ("graph",))

    def measure(change: Callable[[Any], None] = lambda _: None, **fields: Any) -> NumericsResult:
        def load(*_: object) -> weights.LoadedBackbone:
            model = tiny.backbone()
            change(model)
            used = WeightsUsed(source="random", sha256="0" * 64)
            return weights.LoadedBackbone(model, "minus_one_to_one", used, r"block(\d)_")

        monkeypatch.setattr(weights, "load", load)
        row = numerics.measure(SPEC.model_copy(update=fields), place, lambda _: None)
        assert (row.status, row.reason) == ("ok", "")
        return row

    return measure


@pytest.fixture(scope="module")
def kept() -> dict[str, NumericsResult]:
    return {}


@pytest.fixture
def stock(take: Take, kept: dict[str, NumericsResult]) -> NumericsResult:
    """As it is; taken once."""
    if not kept:
        kept["stock"] = take()
    return kept["stock"]


def first(change: NumericsChange) -> str:
    (only,) = change.passes
    return only.first.probe if only.first else ""


def test_a_row_names_every_tensor_in_the_order_of_computation(stock: NumericsResult) -> None:
    kinds = list(dict.fromkeys(name.split(" ")[0] for name in stock.probes))
    assert kinds == [
        *("decoding", "preprocessing", "layer", "features", "logits", "loss"),
        *("gradient", "optimizer", "statistics"),
    ]
    layers = [name.removeprefix("layer ") for name in stock.probes if name.startswith("layer ")]
    assert layers == [layer.name for layer in tiny.backbone().layers[1:]]
    sizes = dict(zip(stock.probes, stock.sizes, strict=True))
    assert sizes["decoding png"] == 16 * 16 * 3
    assert sizes["layer block0_conv"] == 4 * 7 * 7 * 4
    assert sizes["statistics block1_bn"] == 12
    assert (
        sum(n for name, n in sizes.items() if name.startswith("gradient "))
        == 18 + sum(w.numpy().size for w in tiny.backbone().trainable_weights) + 8 * 10 - 8
    )
    assert all(norm > 0 for norm in stock.passes[0].norms)
    assert all(2.0**-24 * 0.99 <= r < 1e-3 for r in stock.passes[0].roundings)
    assert NumericsResult.model_validate_json(stock.model_dump_json()) == stock


def test_the_same_twice_is_identical(take: Take, stock: NumericsResult) -> None:
    assert numerics_stats.compare(stock, take()).kind == "identical"


@pytest.mark.parametrize(
    ("layer", "attributes", "named"),
    [
        ("block1_bn", {"epsilon": 1.1e-3}, "layer block1_bn"),
        ("block2_conv", {"padding": "same"}, "layer block2_conv"),
        ("block0_relu", {"max_value": 1.0}, "layer block0_relu"),
        ("block2_bn", {"momentum": 0.9}, "statistics block2_bn"),
    ],
)
def test_a_changed_layer_is_found_and_named(
    take: Take, stock: NumericsResult, layer: str, attributes: dict[str, Any], named: str
) -> None:
    changed = take(lambda model: vars(model.get_layer(layer)).update(attributes))
    assert first(numerics_stats.compare(stock, changed)) == named


def test_other_preprocessing_is_found(
    take: Take, stock: NumericsResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocessing, "apply", lambda _, pixels: pixels)
    assert first(numerics_stats.compare(stock, take())) == "preprocessing"


def test_another_epsilon_of_adam_is_found(
    take: Take, stock: NumericsResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(rate: float) -> Any:
        return keras.optimizers.Adam(rate, epsilon=1e-8)

    monkeypatch.setitem(fitting.OPTIMIZERS, "adam", changed)
    assert first(numerics_stats.compare(stock, take())) == "optimizer adam"


def test_other_weights_cannot_be_compared(take: Take, stock: NumericsResult) -> None:
    def heavier(model: Any) -> None:
        model.get_layer("block0_conv").kernel.assign_add(np.full((3, 3, 3, 4), 1e-3))

    given = {"backbone": Backbone(name="MobileNetV2", weights="imagenet")}
    # Weights that were loaded are taken as they are; random ones are always the same numbers.
    assert numerics_stats.compare(stock, take(heavier)).kind == "identical"
    own = [take(change, **given) for change in (lambda _: None, heavier)]
    assert first(numerics_stats.compare(*own)) == "layer block0_conv"


def test_precision_is_local_to_a_fingerprint(take: Take) -> None:
    row = take(precision="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    (way,) = row.passes
    assert way.unit == 2.0**-8
    roundings = dict(zip(row.probes, way.roundings, strict=True))
    assert roundings["layer block0_conv"] > 1e-4
    assert roundings["optimizer adam"] < 1e-6


def test_a_mode_that_fails_is_left_out_and_the_default_is_not(
    place: Workplace, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = probing.Probed.compiled

    def broken(self: probing.Probed, mode: Any) -> Any:
        if mode != "graph":
            raise ValueError("no\nXLA")
        return compiled(self, mode)

    monkeypatch.setattr(probing.Probed, "compiled", broken)
    monkeypatch.setattr(probing, "modes", lambda: ("graph", "xla"))
    row = take()
    assert [way.mode for way in row.passes] == ["graph"]
    assert row.skipped[0].startswith("xla: ValueError: no XLA")
    monkeypatch.setattr(probing, "modes", lambda: ("xla",))
    said: list[Progress] = []
    failed = numerics.measure(SPEC, place, said.append)
    assert (failed.status, failed.passes) == ("failed", ())
    assert failed.reason.startswith("ValueError: no XLA")
    assert [p.stage for p in said] == ["weights", "xla"]


@pytest.mark.slow
def test_backends_differ_by_rounding(place: Workplace, tmp_path: Path) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs the extra 'jax'")
    command = [sys.executable, "-m", "bench", "fingerprint", "MobileNetV2", "--results", tmp_path]
    environ = os.environ | {"KERAS_BACKEND": "jax", "BENCH_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run(command, check=True, env=environ, cwd=ROOT, stdout=subprocess.DEVNULL)
    (there,) = store.read(tmp_path).numerics
    here = numerics.measure(there.spec, place, lambda _: None)
    assert [p.mode for p in here.passes] == ["graph", "xla"]
    assert len(here.model_dump_json()) < 70_000
    change = numerics_stats.compare(here, there)
    assert (change.kind, change.passes[0].modes) == ("rounding", ("graph", "xla"))
