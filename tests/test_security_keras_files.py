"""``.keras`` and HDF5 files are data: what is more than that is refused before Keras sees it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import crafted
import h5py
import numpy as np
import pytest

from bench import model_card
from bench.errors import WeightsError
from bench.zoo import content, hdf5_files, keras_files


def said(path: Path, *, backbone: bool = True) -> str:
    with pytest.raises(WeightsError) as caught:
        keras_files.check(path, backbone=backbone)
    assert str(caught.value).startswith(f"{path} ")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# ------------------------------------------------------------------------- what is let through

HARMLESS = (
    *("RandomFlip", "RandAugment", "AugMix", "AutoContrast", "Equalization", "Solarization"),
    *("MixUp", "CutMix", "Pipeline", "Bidirectional", "LSTM", "GRU", "RNN", "ConvLSTM2D"),
    *("CategoryEncoding", "Discretization"),
)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_layers_of_keras_are_let_through(tmp_path: Path, compression: int) -> None:
    convolution = crafted.layer(
        "Conv2D",
        "conv",
        "pixels",
        filters=4,
        dtype={
            "module": "keras",
            "class_name": "DTypePolicy",
            "config": {"name": "float32"},
            "registered_name": None,
        },
        activation={
            "module": "builtins",
            "class_name": "function",
            "config": "relu",
            "registered_name": "relu",
        },
        kernel_initializer={
            "module": "keras.initializers",
            "class_name": "GlorotUniform",
            "config": {"seed": None},
            "registered_name": None,
        },
    )
    added = crafted.layer("Add", "add", "pixels", module="keras.src.ops.numpy")
    scaled = crafted.layer("LayerScale", "s", "pixels", "keras.src.applications.convnext")
    inner = crafted.model() | {"name": "inner", "inbound_nodes": []}
    harmless = [crafted.layer(kind, kind.lower(), "pixels") for kind in HARMLESS]
    config = crafted.model(convolution, added, scaled, inner, *harmless)
    config["compile_config"] = {"loss": {"class_name": "Mine", "config": {}}}  # Keras ignores it
    path = crafted.keras_file(
        tmp_path / "good.keras", config, {"bench.json": b"{}"}, compression=compression
    )
    keras_files.check(path, backbone=True)
    keras_files.check(path, backbone=False)


@pytest.mark.slow
def test_keras_loads_the_good_file_made_by_hand(tmp_path: Path) -> None:
    # Otherwise what is refused of its like would prove nothing.
    import keras

    path = crafted.keras_file(tmp_path / "good.keras")
    loaded = keras.models.load_model(path, safe_mode=True, compile=False)
    assert [layer.name for layer in loaded.layers] == ["pixels", "rescaling"]


# ---------------------------------------------------------------------------- what it may name


@pytest.mark.parametrize("kind", crafted.DANGEROUS)
@pytest.mark.parametrize("backbone", [True, False])
def test_nothing_but_layers_of_keras_is_built(tmp_path: Path, kind: str, backbone: bool) -> None:
    config = crafted.model(crafted.DANGEROUS[kind])
    text = said(crafted.keras_file(tmp_path / "evil.keras", config), backbone=backbone)
    assert "expected " in text
    assert ("Lambda" in text) == kind.startswith("lambda")


@pytest.mark.parametrize("key", ["config", "build_config", "anything"])
def test_it_is_found_wherever_it_stands(tmp_path: Path, key: str) -> None:
    config = crafted.model()
    found = config["config"] if key == "config" else config.setdefault(key, {})
    found["deep"] = [[{"er": [crafted.DANGEROUS["function-that-downloads"]]}]]
    text = said(crafted.keras_file(tmp_path / "evil.keras", config))
    assert "its part 'trick'" in text or "keras.utils.get_file" in text


def test_the_model_itself_must_be_of_keras(tmp_path: Path) -> None:
    for kind, module in (("Mine", "mine"), ("Functional", "mine"), ("load_model", "keras.models")):
        config = crafted.model() | {"class_name": kind, "module": module, "registered_name": None}
        assert kind in said(crafted.keras_file(tmp_path / "evil.keras", config))


def test_checking_imports_no_framework_and_runs_nothing(tmp_path: Path) -> None:
    path = crafted.keras_file(tmp_path / "evil.keras", crafted.model(crafted.LAMBDA))
    code = f"""
import sys
from pathlib import Path
from bench import model_card
from bench.errors import WeightsError
from bench.zoo import content
try:
    content.check(Path({str(path)!r}), "mine")
except WeightsError as error:
    print(error)
assert not {{"keras", "tensorflow", "jax", "torch"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "is a Lambda, Python code of its own, which is never run" in done.stdout


# ------------------------------------------------------------------------------ the archive


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "assets/../evil", "..\\evil", "C:evil", "a\x1b[2Jb", "assets/", "a"],
)
def test_there_is_no_member_but_those_of_a_model(tmp_path: Path, name: str) -> None:
    path = crafted.keras_file(tmp_path / "evil.keras", members={name: b"x"})
    assert "is none that layers of Keras have" in said(path)
    assert "\x1b" not in said(path)


def test_what_bench_puts_beside_a_model_is_let_through() -> None:
    assert model_card.NAME in keras_files.MEMBERS


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_member_is_there_twice(tmp_path: Path) -> None:
    path = crafted.keras_file(tmp_path / "evil.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", json.dumps(crafted.model(crafted.LAMBDA)))
    assert "two members 'config.json'" in said(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = crafted.keras_file(
        tmp_path / "bomb.keras",
        members={"model.weights.h5": b"\0" * 2**24},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert bomb.stat().st_size < 2**16
    assert "'model.weights.h5' claims 16,777,216 bytes" in said(bomb)
    huge = crafted.claiming(crafted.keras_file(tmp_path / "h.keras"), "config.json", 2**32 - 2)
    assert "'config.json' claims 4,294,967,294 bytes" in said(huge)


def test_members_of_zeros_are_not_unpacked(tmp_path: Path) -> None:
    # Keras unpacks an archive of more than three members as a whole.
    many: dict[str, bytes | None] = {f"assets/{i}": bytes(2**20) for i in range(30)}
    path = crafted.keras_file(
        tmp_path / "many.keras", members=many, compression=zipfile.ZIP_DEFLATED
    )
    assert "'assets/0' is none" in said(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"class_name": 1}', "names a class 1"),
        (b"[]", "of no model"),
        (b"{", "damaged"),
        (b"\xff\xfe", "damaged"),
    ],
)
def test_a_configuration_that_is_none(tmp_path: Path, text: bytes, reason: str) -> None:
    assert reason in said(crafted.keras_file(tmp_path / "odd.keras", text))


@pytest.mark.parametrize("lost", ["config.json", "model.weights.h5"])
def test_a_part_that_is_lost_is_named(tmp_path: Path, lost: str) -> None:
    path = crafted.keras_file(tmp_path / "part.keras", members={lost: None})
    assert f"{path} cannot be loaded: it has no {lost}" in said(path)


def test_a_damaged_archive_is_one_kind_of_error(tmp_path: Path) -> None:
    whole = np.frombuffer(crafted.keras_file(tmp_path / "whole.keras").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    path, refused = tmp_path / "bad.keras", 0
    for _ in range(200):
        damaged = whole.copy()
        damaged[rng.integers(0, whole.size, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes()[: rng.integers(1, whole.size)])
        try:
            keras_files.check(path, backbone=True)
        except WeightsError:
            refused += 1
    assert refused > 150


# ------------------------------------------------------------------------------- the signature


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (crafted.model(gives=2), "2 outputs: expected one feature map"),
        (
            crafted.model(input_layers=[["pixels", 0, 0], ["pixels", 0, 0]]),
            "2 inputs: expected one input of pictures",
        ),
        (crafted.model(crafted.pictures(None, 32, 32, 1)), r"(None, 32, 32, 1)"),
        (crafted.model(crafted.pictures(None, 32)), r"(None, 32)"),
    ],
)
def test_what_is_no_backbone_is_seen_before_a_run(
    tmp_path: Path, config: crafted.Config, reason: str
) -> None:
    path = crafted.keras_file(tmp_path / "odd.keras", config)
    assert reason in said(path)
    keras_files.check(path, backbone=False)  # predicting asks for something else


# -------------------------------------------------------------------------------------- HDF5


def link_out(file: h5py.File) -> None:
    file["stolen"] = h5py.ExternalLink("/etc/passwd", "/")


def link_within(file: h5py.File) -> None:
    file["again"] = h5py.SoftLink("/layers")


def circle(file: h5py.File) -> None:
    file["layers/circle"] = file.require_group("layers")


def two_names(file: h5py.File) -> None:
    file["a"] = np.zeros(4)
    file["b"] = file["a"]


def external(file: h5py.File) -> None:
    file.create_dataset("stolen", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
    file.create_virtual_dataset("stolen", layout)


def bomb(file: h5py.File) -> None:
    file.create_dataset("huge", (2**40,), "f4", chunks=(2**16,), compression="gzip")


def whole_model(file: h5py.File) -> None:
    file.attrs["model_config"] = "{}"


HDF5 = {
    link_out: "is a link",
    link_within: "is a link",
    circle: "has two names",
    two_names: "has two names",
    external: "read from other files",
    virtual: "read from other files",
    bomb: "far more than the file holds",
    whole_model: "a whole model in the old HDF5 format",
}


@pytest.mark.parametrize(("fill", "reason"), HDF5.items(), ids=[f.__name__ for f in HDF5])
@pytest.mark.parametrize("inside", [True, False], ids=["in .keras", "alone"])
def test_hdf5_reads_no_other_file_and_claims_no_more_than_it_has(
    tmp_path: Path, fill: object, reason: str, inside: bool
) -> None:
    if inside:
        stored = {"model.weights.h5": crafted.weights(fill)}  # type: ignore[arg-type]
        assert reason in said(crafted.keras_file(tmp_path / "evil.keras", members=stored))
        return
    path = crafted.hdf5(tmp_path / "evil.h5", fill)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=reason):
        content.check(path, "MobileNetV2")


def test_hdf5_in_an_archive_that_is_packed_is_looked_into(tmp_path: Path) -> None:
    path = crafted.keras_file(
        tmp_path / "evil.keras",
        members={"model.weights.h5": crafted.weights(link_out)},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert "is a link" in said(path)


def test_weights_of_another_backbone_are_seen_before_a_run(tmp_path: Path) -> None:
    path = crafted.hdf5(tmp_path / "w.h5", lambda _: None, numbers=2_257_984)
    content.check(path, "MobileNetV2")
    with pytest.raises(WeightsError, match="expected weights of ResNet50 without its top"):
        content.check(path, "ResNet50")


def test_an_optimizer_beside_the_weights_is_not_counted(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["optimizer/vars/0"] = np.zeros(500)
        file["layers/x"] = np.zeros(7)

    assert hdf5_files.check(crafted.hdf5(tmp_path / "w.h5", fill), 1000) == 7


def test_a_file_is_looked_into_again_once_it_changed(tmp_path: Path) -> None:
    path = crafted.keras_file(tmp_path / "m.keras")
    content.check(path, "mine")
    crafted.keras_file(path, crafted.model(crafted.LAMBDA))
    with pytest.raises(WeightsError, match="Lambda"):
        content.check(path, "mine")


def test_a_part_of_a_file_reads_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(100)))
    with (tmp_path / "f").open("rb") as file:
        part = hdf5_files.Part(file, 10, 20)
        assert part.read() == bytes(range(10, 30))
        assert part.seek(-5, 2) == 15
        assert part.read(50) == bytes(range(25, 30))
        assert part.read(1) == b""
        assert (part.seek(2), part.read(2), part.tell()) == (2, b"\x0c\x0d", 4)
        part.seek(90)
        assert part.read() == b""
