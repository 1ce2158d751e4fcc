"""Files of weights and ``.keras`` files made by hand, good and malicious, without Keras."""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]


def layer(
    kind: str,
    name: str,
    after: str | None = None,
    module: str | None = "keras.layers",
    **config: Any,
) -> Config:
    """A layer as ``config.json`` has it."""
    tensor = {
        "class_name": "__keras_tensor__",
        "config": {
            "shape": [None, None, None, 3],
            "dtype": "float32",
            "keras_history": [after, 0, 0],
        },
    }
    return {
        "module": module,
        "class_name": kind,
        "config": {"name": name} | config,
        "registered_name": None,
        "name": name,
        "inbound_nodes": [{"args": [tensor], "kwargs": {}}] if after else [],
    }


def pictures(*shape: int | None) -> Config:
    """What the model takes."""
    return layer("InputLayer", "pixels", batch_shape=list(shape or (None, None, None, 3)))


def model(*layers: Config, gives: int = 1, **more: Any) -> Config:
    """A functional model: pixels -> rescaled pixels, and layers that are in nobody's way."""
    rescaling = layer("Rescaling", "rescaling", "pixels", scale=0.5, offset=0.0)
    stated = layers if any(each["name"] == "pixels" for each in layers) else (pictures(), *layers)
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": "functional",
            "trainable": True,
            "layers": [*stated, rescaling],
            "input_layers": [["pixels", 0, 0]],
            "output_layers": [["rescaling", 0, 0]] * gives,
        }
        | more,
        "registered_name": "Functional",
        "build_config": {"input_shape": [None, None, None, 3]},
    }


def weights(fill: Callable[[h5py.File], object] = lambda _: None) -> bytes:
    """An HDF5 file as Keras writes one for a model without weights, and what is put into it."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_group("layers/rescaling/vars")
        fill(file)
    return stream.getvalue()


def hdf5(path: Path, fill: Callable[[h5py.File], object], numbers: int = 0) -> Path:
    """A file of weights: that many zeros, and what is put into it."""
    with h5py.File(path, "w") as file:
        if numbers:
            file["layers/conv/vars/0"] = np.zeros(numbers, np.int8)
        fill(file)
    return path


def keras_file(
    path: Path,
    config: Config | bytes | None = None,
    members: Mapping[str, bytes | None] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """A ``.keras`` file.

    Args:
        path: of it.
        config: of its model; `model` where there is none.
        members: more of the archive, or other contents; None leaves one out.
        compression: of the archive.
    """
    text = config if isinstance(config, bytes) else json.dumps(config or model()).encode()
    found: dict[str, bytes | None] = {
        "metadata.json": b'{"keras_version": "3.12.0"}',
        "config.json": text,
        "model.weights.h5": weights(),
    }
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (found | dict(members or {})).items():
            if content is not None:
                archive.writestr(name, content)
    return path


def claiming(path: Path, name: str, size: int) -> Path:
    """Change what an archive's directory says of a member's size once it is unpacked."""
    content = bytearray(path.read_bytes())
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        length = struct.unpack_from("<H", content, at + 28)[0]
        if content[at + 46 : at + 46 + length] == name.encode():
            struct.pack_into("<I", content, at + 24, size)
        at += 4
    path.write_bytes(bytes(content))
    return path


LAMBDA = layer(
    "Lambda",
    "trick",
    "pixels",
    function={"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None}},
)
DANGEROUS: Mapping[str, Config] = {
    "lambda": LAMBDA,
    "lambda-of-another-module": layer(
        "Lambda", "trick", "pixels", module="keras.src.layers.core.lambda_layer"
    ),
    "lambda-in-a-wrapper": layer("TimeDistributed", "trick", "pixels", layer=LAMBDA),
    "lambda-in-a-model-in-a-model": model(LAMBDA) | {"name": "inner", "inbound_nodes": []},
    "lambda-without-module": layer("Lambda", "trick", "pixels", module=None),
    "lambda-as-a-value": layer(
        "Activation",
        "trick",
        "pixels",
        activation={"class_name": "__lambda__", "config": {"value": "4wAA"}},
    ),
    "another-saved-model": layer("TFSMLayer", "trick", "pixels", filepath="/tmp/model"),
    "a-torch-module": layer("TorchModuleWrapper", "trick", "pixels", module_="gASV"),
    "a-jax-function": layer("JaxLayer", "trick", "pixels"),
    "vocabulary-file": layer("StringLookup", "trick", "pixels", vocabulary="/etc/passwd"),
    "text-vocabulary-file": layer("TextVectorization", "trick", "pixels", vocabulary="/etc/passwd"),
    "integer-vocabulary-file": layer("IntegerLookup", "trick", "pixels", vocabulary="/etc/passwd"),
    "function-that-downloads": layer(
        "Activation",
        "trick",
        "pixels",
        activation={
            "class_name": "function",
            "module": "keras.utils",
            "config": "get_file",
            "registered_name": "get_file",
        },
    ),
    "function-of-the-system": layer(
        "Activation",
        "trick",
        "pixels",
        activation={
            "class_name": "function",
            "module": "os",
            "config": "system",
            "registered_name": "system",
        },
    ),
    "function-that-deserializes": layer(
        "Activation",
        "trick",
        "pixels",
        activation={
            "class_name": "function",
            "module": "keras.activations",
            "config": "deserialize",
            "registered_name": "deserialize",
        },
    ),
    "function-eval": layer(
        "Activation",
        "trick",
        "pixels",
        activation={"class_name": "function", "module": "builtins", "config": "eval()"},
    ),
    "class-of-another-package": layer("Popen", "trick", "pixels", module="subprocess"),
    "class-of-a-lookalike": layer("Dense", "trick", "pixels", module="keras_hub.layers"),
    "class-of-a-submodule-of-saving": layer("load_model", "trick", "pixels", module="keras.saving"),
    "unregistered-class": layer("Scale", "trick", "pixels", module=None)
    | {"registered_name": "mine>Scale"},
    "registered-under-another-name": layer("Dense", "trick", "pixels", units=3)
    | {"registered_name": "mine>Dense"},
    "type-spec": layer(
        "Activation",
        "trick",
        "pixels",
        activation={
            "class_name": "__typespec__",
            "spec_name": "TensorSpec",
            "module": "tensorflow",
            "registered_name": None,
            "config": [],
        },
    ),
    "class-of-a-test-of-keras": layer(
        "Dense", "trick", "pixels", module="keras.src.layers.reshaping.flatten_test"
    ),
    "class-of-what-tests-import": layer(
        "Dense", "trick", "pixels", module="keras.src.layers.conftest"
    ),
    "class-registered-as-its-configuration": layer("Dense", "trick", "pixels")
    | {"config": "mine>Dense", "registered_name": "mine>Dense"},
    "class-that-is-no-text": layer("Dense", "trick", "pixels") | {"class_name": ["Dense"]},
}
"""Layers that must not be built, by what is wrong with them."""
