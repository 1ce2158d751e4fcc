"""Several devices: the numbers of one, to rounding, on both backends that can; refusals."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import spread
import tiny

from bench import suite
from bench.errors import BenchError, FileError, ImpossibleTrialError
from bench.records import Execution, Freeze
from bench.training import execution, fitting, parallel
from bench.training.batches import Batches
from benchmarks import devices

HERE = Path(__file__).parent
ROUNDING = 2e-6
"""Absolute; what was seen is ten times less."""
LEAST = 1e-4
"""How far the weights of a trial must move, or nothing is compared."""
BACKENDS = ("tensorflow", "jax")
TIMES_ROUNDING = 10.0
"""Additions in another order round more often than a single change of each weight does."""


# --------------------------------------------------------------------- against one device


Left = dict[str, np.ndarray]


def started(backend: str, devices: int, file: Path, names: tuple[str, ...]) -> Any:
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])
    environ = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": paths}
    words = (sys.executable, str(HERE / "spread.py"), str(devices), str(file), *names)
    return subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True)


def left(folder: Path, backend: str, devices: tuple[int, ...], *names: str) -> dict[int, Left]:
    """What trials leave, on each number of devices; side by side, one process each."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    files = {n: folder / f"{n}.npz" for n in devices}
    running = [started(backend, n, file, names) for n, file in files.items()]
    for process in running:
        said = process.communicate(timeout=600)[1]
        assert process.returncode == 0, said[-3000:]
    return {n: dict(np.load(file)) for n, file in files.items()}


def assert_same(several: Left, one: Left, name: str, devices: int) -> None:
    found, wanted = (
        {k.removeprefix(f"{name}|"): v for k, v in x.items() if k.startswith(f"{name}|")}
        for x in (several, one)
    )
    assert found.keys() == wanted.keys()
    assert list(found["failing"]) == list(wanted["failing"])
    moved = 0.0
    for key, value in wanted.items():
        if key.startswith(("start", "state")):
            np.testing.assert_array_equal(found[key], value, err_msg=key)
        elif key.startswith("weight"):
            start = wanted[key.replace("weight", "start", 1)]
            moved = max(moved, float(np.abs(value - start).max()))
    for key in (k for k in wanted if k.startswith(("weight", "epochs", "rates", "test"))):
        np.testing.assert_allclose(found[key], wanted[key], rtol=0, atol=ROUNDING, err_msg=key)
    assert moved > LEAST
    assert f", on {devices} devices" in found["execution"][-1]


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def test_two_devices_give_the_numbers_of_one(backend: str, tmp_path: Path) -> None:
    """The quickest: phase 2 from the frontier, dropout, batches that do not divide."""
    found = left(tmp_path, backend, (1, 2), "quick shared")
    assert str(found[1].pop("stack")) == "cpu"
    assert str(found[2].pop("stack")) == "cpu x2"
    assert_same(found[2], found[1], "quick shared", 2)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_several_devices_give_the_numbers_of_one(backend: str, tmp_path: Path) -> None:
    """Literal and shared, optimizers, views, early stopping; on JAX, BatchNorm that trains.

    A few of them, which take a minute; all with BENCH_TEST_EVERY_DEVICE=1.
    """
    refused = ("quick", "training mode") if backend == "tensorflow" else ("quick",)
    names = [name for name in spread.trials() if not name.startswith(refused)]
    if not os.environ.get("BENCH_TEST_EVERY_DEVICE"):
        names = [n for n in names if n in ("everything literal", "stopped shared", names[-1])]
    found = left(tmp_path, backend, (1, 3), *names)
    for name in names:
        assert_same(found[3], found[1], name, 3)


def test_what_was_measured_of_a_real_backbone_is_no_further_apart_than_rounding() -> None:
    """MobileNetV2 with its ImageNet weights, as `benchmarks/devices.py` trained it."""
    report = devices.read(HERE.parent / devices.OUTPUT)
    assert {on.stack.backend for on in report.stacks.values()} == set(BACKENDS)
    for on in report.stacks.values():
        for name, apart in on.seen.items():
            alone = on.rounding[name]
            for what in ("losses", "weights", "probabilities"):
                far, rounding = getattr(apart, what), getattr(alone, what)
                assert far <= max(TIMES_ROUNDING * rounding, 1e-6), f"{on.stack.id} {name}: {what}"


# ------------------------------------------------------------------------------ its parts


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were three devices, for what asks for no more than their number."""
    monkeypatch.setattr(parallel._Process, "count", 3)
    monkeypatch.setattr(parallel._Process, "active", 3)


def test_on_one_device_nothing_is_filled_up_and_nothing_has_weights() -> None:
    batches = Batches(lambda _: (np.arange(7.0),), np.zeros(7, np.int64), 4, tiny.spec().head, 3)
    assert [len(batches[i]) for i in (0, 1)] == [2, 2]
    assert [len(batches[i][0]) for i in (0, 1)] == [4, 3]


@pytest.mark.usefixtures("three")
def test_a_batch_is_filled_up_with_pictures_that_count_nothing() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    batches = Batches(lambda _: (np.arange(7.0),), labels, 4, tiny.spec().head, 3)
    (first, _, weights), (last, targets, weights_last) = batches[0], batches[1]
    assert first.tolist() == [0, 1, 2, 3, 0, 1]
    assert weights.tolist() == [1.5, 1.5, 1.5, 1.5, 0, 0]
    assert last.tolist() == [4, 5, 6]
    assert targets.tolist() == [1, 2, 0]
    assert weights_last.tolist() == [1, 1, 1]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("pictures", "size"), [(7, 4), (8, 4), (2, 5), (9, 3), (10, 3)])
def test_outputs_of_what_fills_batches_up_are_left_out(pictures: int, size: int) -> None:
    order = np.arange(pictures)
    filled = [
        np.resize(order[i : i + size], parallel.padded(len(order[i : i + size])))
        for i in range(0, pictures, size)
    ]
    outputs = np.concatenate(filled)[:, None]
    model = SimpleNamespace(predict=lambda batches, verbose: outputs)
    batches = Batches(lambda _: (order,), np.zeros(pictures, np.int64), size, tiny.spec().head, 3)
    assert fitting.predict(model, batches)[:, 0].tolist() == order.tolist()


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("counts", [(7, 5), (8, 4), (3, 3), (9, 11)])
def test_means_count_each_picture_once(
    counts: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras' own means, of batches of 4 filled up to 6, put right."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")  # where logs are what they say
    callback = parallel.Unpadded(*counts, 4)
    rng = np.random.default_rng(0)
    logs, wanted = {}, {}
    steps: tuple[tuple[str, Callable[..., None]], ...] = (
        ("", callback.on_train_batch_end),
        ("val_", callback.on_test_batch_end),
    )
    for (split, step_ends), pictures in zip(steps, counts, strict=True):
        values, total, weight = rng.random(pictures), 0.0, 0
        for number, first in enumerate(range(0, pictures, 4)):
            batch = values[first : first + 4]
            filled = parallel.padded(len(batch))
            total, weight = total + filled * batch.mean(), weight + filled
            step_ends(number, {"loss": total / weight})
        logs[f"{split}loss"], wanted[f"{split}loss"] = total / weight, values.mean()
    callback.on_epoch_end(0, logs)
    assert logs == pytest.approx(wanted, rel=1e-12)


# ----------------------------------------------------------------------------- refusals


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("changes", "train", "said"),
    [
        ({"trap": "unpinned"}, 48, "execution.devices = 3: expected 1 for trap unpinned"),
        (
            {"batch_norm": "train"},
            48,
            r"expected a number that divides every batch.*have 16 pictures, the last one 16",
        ),
        (
            {"batch_norm": "train", "execution": Execution(batch_size=15)},
            47,
            r"have 15 pictures, the last one 2",
        ),
        ({"batch_norm": "train", "execution": Execution(batch_size=15)}, 48, None),
        ({"batch_norm": "affine"}, 47, None),
        ({"batch_norm": "train", "phase2": None}, 47, None),
    ],
)
def test_what_several_devices_cannot_keep_is_refused(
    changes: dict[str, Any], train: int, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    spec, backbone = tiny.spec(Freeze(strategy="top_blocks", amount=1), **changes), tiny.backbone()
    if said is None:
        parallel.check(spec, backbone, train)
        return
    with pytest.raises(ImpossibleTrialError, match=said):
        parallel.check(spec, backbone, train)


@pytest.mark.usefixtures("three")
def test_on_tensorflow_batch_norm_trains_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    even = tiny.spec(batch_norm="train", execution=Execution(batch_size=12))
    with pytest.raises(ImpossibleTrialError, match="expected 1 where BatchNorm trains on tensor"):
        parallel.check(even, tiny.backbone(), 48)
    parallel.check(even.model_copy(update={"batch_norm": "affine"}), tiny.backbone(), 48)


def test_random_layers_that_replicas_would_draw_alike_are_refused(
    three: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = keras.Input((4,))
    noisy = keras.Model(inputs, keras.layers.GaussianNoise(0.1)(inputs))
    spec = tiny.spec(batch_norm="train")
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(ImpossibleTrialError, match="its layers GaussianNoise would draw"):
        parallel.check(spec, noisy, 48)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    parallel.check(spec, noisy, 48)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """As if a backend had so many GPUs."""

    def pretend(backend: str, count: int) -> None:
        monkeypatch.setattr(keras.backend, "backend", lambda: backend)
        found = [SimpleNamespace(name=f"GPU:{i}") for i in range(count)]
        config = SimpleNamespace(list_physical_devices=lambda kind: found)
        jax_config = SimpleNamespace(update=lambda name, value: None)
        fake = SimpleNamespace(config=config)
        if backend == "jax":
            fake = SimpleNamespace(config=jax_config, devices=lambda: found)
        monkeypatch.setitem(sys.modules, backend, fake)

    return pretend


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_devices_than_there_are_is_one_clear_error(
    backend: str, gpus: Callable[[str, int], None]
) -> None:
    gpus(backend, 2)
    parallel.prepare(2)
    said = f"execution.devices = 3: expected at most 2, the accelerators that {backend} has here"
    with pytest.raises(BenchError, match=said):
        execution.configure(Execution(), 3)


def test_pytorch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(BenchError, match=r"execution\.devices = 2: expected 1 on torch"):
        execution.configure(Execution(), 2)


@pytest.mark.parametrize(
    ("backend", "devices", "refused"),
    [("tensorflow", 2, True), ("tensorflow", 1, False), ("jax", 2, False)],
)
def test_scaled_losses_are_refused_where_an_overflow_would_be_missed(
    backend: str, devices: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    parallel.check_precision("mixed_bfloat16", devices)
    if not refused:
        parallel.check_precision("mixed_float16", devices)
        return
    with pytest.raises(BenchError, match=r"execution\.devices = 2: expected 1 in mixed_float16"):
        parallel.check_precision("mixed_float16", devices)


def test_a_process_that_has_begun_with_another_number_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(devices: int) -> int:
        raise RuntimeError("already initialised")

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(parallel, "_jax_there", fail)
    with pytest.raises(BenchError, match="jax has begun with another number: already"):
        parallel.prepare(2)


def test_reruns_on_several_gpus_are_not_promised(three: None) -> None:
    on_gpus = execution.detect(Execution()).model_copy(
        update={"backend": "tensorflow", "device": "NVIDIA H200 x3"}
    )
    promise, reason = execution.reruns(Execution(), on_gpus)
    assert promise == "not promised"
    assert "NVIDIA H200 x3" in reason
    on_cpu = on_gpus.model_copy(update={"device": "cpu x3"})
    assert execution.reruns(Execution(), on_cpu)[0] == "equal"


def test_the_stack_names_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_device", lambda backend: ("NVIDIA H200", True))
    one, two = (execution.detect(Execution(), n) for n in (1, 2))
    assert (one.device, two.device) == ("NVIDIA H200", "NVIDIA H200 x2")
    assert two.id.endswith("_NVIDIA-H200-x2_mixed_bfloat16")
    assert one.id != two.id


# ------------------------------------------------------------------------------ in a suite


SUITE = """
description = "one head"
phase1 = {{ epochs = 1, learning_rate = 1e-3 }}
phase2 = {{ epochs = 1, learning_rate = 1e-5 }}
execution = {{ {execution} }}
[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only"]
{more}
"""


def loaded(folder: Path, execution: str, more: str = "") -> suite.Suite:
    file = folder / "a.toml"
    file.write_text(SUITE.format(execution=execution, more=more))
    return suite.load(file)


def test_devices_are_the_suites_and_change_no_key(tmp_path: Path) -> None:
    one, two = (loaded(tmp_path, f"devices = {n}") for n in (1, 2))
    assert (one.devices, two.devices, loaded(tmp_path, "").devices) == (1, 2, 1)
    assert [t.key for t in one.trials] == [t.key for t in two.trials]


@pytest.mark.parametrize(
    ("execution", "more", "said"),
    [
        ("devices = 0", "", "execution.devices = 0: expected"),
        ("devices = 65", "", "execution.devices = 65: expected"),
        ('devices = "two"', "", "execution.devices = 'two': expected"),
        ("devices = 4, batch_size = 3", "", "at most execution.batch_size, 3"),
        (
            'devices = 2, backend = "torch"',
            "",
            'expected 1, since Keras spreads .* on "tensorflow"',
        ),
        ("devices = 2", 'traps = ["none", "unpinned"]', r"expected 1, since matrix\[0\] has traps"),
    ],
)
def test_a_wrong_number_of_devices_in_a_suite(
    execution: str, more: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=said) as caught:
        loaded(tmp_path, execution, more)
    assert caught.value.key == "execution.devices"
