"""Looks into a ``.keras`` file before Keras does: what it would load must be layers of Keras alone.

Keras' safe mode refuses code that is in the file. A file may still name what is on the machine:
functions that read or fetch files, layers that load other models, vocabularies by their path. So
everything that a file names must be on the lists below; Keras is not needed to see that.
"""

import json
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from bench.errors import WeightsError
from bench.zoo import hdf5_files

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
LARGEST_CONFIG = 32 * 2**20
"""Bytes; that of a backbone of a thousand layers is one of some hundred thousand."""
MEMBERS = frozenset(("metadata.json", CONFIG, WEIGHTS, "bench.json"))
"""What a model of Keras' own layers is saved as, and what `bench.model_card` puts beside it. Keras
unpacks an archive of more than three members to a folder, so there must be no other."""
ROOM = 2**20
"""Bytes that any member may have."""
EXPANSION = 100
"""How many times larger than what is stored of it a member may be, beyond that."""

_LAYERS = re.compile(
    "|".join(
        (
            "InputLayer|Activation|(P|Leaky|Thresholded)?ReLU|ELU|Softmax|Identity|Masking",
            "(Separable|Depthwise)?Conv[123]D(Transpose)?|Dense|EinsumDense|Embedding",
            "(Global|Adaptive)?(Average|Max)Pooling[123]D|(UpSampling|ZeroPadding|Cropping)[123]D",
            "(Batch|Layer|Group|RMS|Unit|Spectral)?Normalization|ActivityRegularization",
            "(Alpha|Gaussian)?Dropout|SpatialDropout[123]D|GaussianNoise",
            "Add|Average|Concatenate|Dot|Maximum|Minimum|Multiply|Subtract",
            "Flatten|Permute|RepeatVector|Reshape|TimeDistributed",
            "(Additive|MultiHead|GroupQuery|GroupedQuery)?Attention",
            "Rescaling|Resizing|CenterCrop|Random[A-Z][A-Za-z]+|Pipeline",
            "RandAugment|AugMix|AutoContrast|Equalization|Solarization|MixUp|CutMix",
            "Bidirectional|(LSTM|GRU|SimpleRNN)(Cell)?|RNN|StackedRNNCells|ConvLSTM[123]D",
            "CategoryEncoding|Discretization|Hashing|HashedCrossing",
        )
    )
)
"""Not among them: what runs Python (Lambda), what loads another model (TFSMLayer,
TorchModuleWrapper, JaxLayer, FlaxLayer), what reads a vocabulary (TextVectorization, StringLookup,
IntegerLookup)."""
_MODELS = re.compile("Functional|Sequential|Model")
_POLICIES = re.compile("(Float|Quantized|QuantizedFloat8)?DTypePolicy|DTypePolicyMap|Policy")
_OF_APPLICATIONS = re.compile("StochasticDepth|LayerScale|CustomScaleLayer")
_ANY = re.compile("[A-Z][A-Za-z0-9]*")
"""Any class of the module: it computes with tensors, and nothing in it reads a file."""

_CLASSES: Mapping[str, tuple[re.Pattern[str], ...]] = {
    "keras": (_MODELS, _POLICIES),
    "keras.models": (_MODELS,),
    "keras.engine": (_MODELS,),
    "keras.layers": (_LAYERS,),
    "keras.applications": (_OF_APPLICATIONS,),
    "keras.dtype_policies": (_POLICIES,),
    "keras.mixed_precision": (_POLICIES,),
    "keras.random": (re.compile("SeedGenerator"),),
    **dict.fromkeys(
        (
            *("keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations"),
            *("keras.ops", "keras.quantizers", "keras.losses", "keras.metrics", "keras.optimizers"),
        ),
        (_ANY,),
    ),
}
"""What may be built, by the module that it is said to be of (``keras.src`` counts as ``keras``)."""
_FUNCTIONS = frozenset(
    ("builtins", "keras.activations", "keras.initializers", "keras.losses", "keras.metrics")
)
_VALUES = frozenset(
    ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
)
"""Not classes: how Keras writes a value down."""
_MODULE, _FUNCTION = re.compile(r"keras(\.[a-z0-9_]+)*"), re.compile(r"[a-z][a-z0-9_]*")
_GENERIC = frozenset(("get", "serialize", "deserialize"))
_DAMAGED = (OSError, ValueError, LookupError, RuntimeError, NotImplementedError, EOFError)


def check(path: Path, *, backbone: bool) -> None:
    """See that a file is whole, and that loading it builds layers of Keras and nothing else.

    Args:
        path: a ``.keras`` file.
        backbone: whether it must take pictures and give one feature map, as far as that shows.

    Raises:
        WeightsError: it is not, or not whole; names the path and what is in the way.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise WeightsError(f"is not a whole .keras file, a zip archive: {_MEMBERS}")
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            _check_members(archive, path.stat().st_size)
            config = _config(archive)
            for found in _objects(config):
                _check_object(found)
            _check_weights(archive, file)
            other = _other_signature(config) if backbone else ""
    except WeightsError as error:
        said = str(error) if str(error).startswith("is ") else f"cannot be loaded: {error}"
        raise WeightsError(f"{path} {said}") from error
    except (*_DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        short = " ".join(str(error).split())[:300] or type(error).__name__
        raise WeightsError(
            f"{path} cannot be loaded: it is damaged ({short}): {_MEMBERS}"
        ) from error
    if other:
        raise WeightsError(f"{path} is no backbone: {other}")


# --------------------------------------------------------------------------------- the archive


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    names: set[str] = set()
    for member in members:
        name = member.filename
        if name not in MEMBERS:
            raise WeightsError(
                f"its member {name[:100]!r} is none that layers of Keras have: {_MEMBERS}"
            )
        if name in names:
            raise WeightsError(f"it has two members {name!r}: {_MEMBERS}")
        names.add(name)
        if member.flag_bits & 1:
            raise WeightsError(f"its member {name!r} is encrypted: {_MEMBERS}")
        if member.file_size > max(ROOM, EXPANSION * member.compress_size):
            raise WeightsError(
                f"its member {name!r} claims {member.file_size:,} bytes, and "
                f"{member.compress_size:,} are stored of it: {_MEMBERS}"
            )
    if sum(member.compress_size for member in members) > size:
        raise WeightsError(f"its members overlap: {_MEMBERS}")
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise WeightsError(f"it has no {name}: {_MEMBERS}")


_MEMBERS = "expected what model.save('NAME.keras') of Keras 3 writes"


def _config(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    if archive.getinfo(CONFIG).file_size > LARGEST_CONFIG:
        raise WeightsError(f"its {CONFIG} is larger than {LARGEST_CONFIG:,} bytes: {_MEMBERS}")
    try:
        config = json.loads(archive.read(CONFIG))
    except RecursionError:
        raise WeightsError(f"its {CONFIG} is nested too deeply: {_MEMBERS}") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise WeightsError(f"its {CONFIG} is of no model: {_MEMBERS}")
    config["compile_config"] = None  # Keras is told not to look at it
    return config


def _check_weights(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    member = archive.getinfo(WEIGHTS)
    with tempfile.TemporaryFile() as whole:
        if member.compress_type == zipfile.ZIP_STORED:
            part = hdf5_files.Part(file, _start(member, file), member.file_size)
            weights = cast(BinaryIO, part)
        else:
            with archive.open(WEIGHTS) as packed:
                while block := packed.read(2**20):
                    whole.write(block)
            weights = cast(BinaryIO, whole)
        try:
            hdf5_files.check(weights, member.file_size)
        except WeightsError as error:
            raise WeightsError(f"its {WEIGHTS} {error}") from error


def _start(member: zipfile.ZipInfo, file: BinaryIO) -> int:
    """Where a member's bytes begin: behind its own header of 30 bytes, a name and what is extra."""
    file.seek(member.header_offset)
    header = file.read(30)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return member.header_offset + 30 + name + extra


# ------------------------------------------------------------------------------ the configuration


def _objects(config: Any) -> Iterator[Mapping[str, Any]]:
    """Everything in it that Keras would look up by a name, at any depth."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _check_object(found: Mapping[str, Any]) -> None:
    kind, module = found["class_name"], found.get("module")
    if not isinstance(kind, str) or not isinstance(module, str | None):
        raise WeightsError(f"its {CONFIG} names a class {kind!r} of {module!r}: {_MEMBERS}")
    if kind in _VALUES and module is None:
        return
    if kind in ("Lambda", "__lambda__"):
        raise WeightsError(
            f"{_called(found)} is a Lambda, Python code of its own, which is never run: expected "
            "layers of Keras alone; write it with keras.ops or a layer like Rescaling, save again"
        )
    registered = found.get("registered_name")
    own = found.get("config") if kind == "function" else kind
    if module is None or registered not in (None, own):
        raise WeightsError(f"{_called(found)} is of the class {registered or kind!r}, {_NOT_OURS}")
    if not _is_known(kind, module, found.get("config")):
        raise WeightsError(f"{_called(found)} is {f'{module}.{own}'[:200]!r}, {_NOT_OURS}")


_NOT_OURS = (
    "which Bench does not know to be harmless: expected layers and operations of Keras alone, "
    "which compute and read no other file"
)


def _is_known(kind: str, module: str, config: object) -> bool:
    if kind == "function":
        named = isinstance(config, str) and _FUNCTION.fullmatch(config)
        return _part(module) in _FUNCTIONS and bool(named) and config not in _GENERIC
    return any(allowed.fullmatch(kind) for allowed in _CLASSES.get(_part(module), ()))


def _part(module: str) -> str:
    """``keras.layers`` of ``keras.src.layers.core.dense``; empty for what is no module of Keras."""
    if not _MODULE.fullmatch(module):
        return "builtins" if module == "builtins" else ""
    # Keras' package brings its tests, and those import a module that anybody's folder may hold.
    if any(name == "conftest" or name.endswith("_test") for name in module.split(".")):
        return ""
    names = [name for at, name in enumerate(module.split(".")) if (at, name) != (1, "src")]
    return ".".join(names[:2])


def _called(found: Mapping[str, Any]) -> str:
    config = found.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return f"its part {name[:100]!r}" if isinstance(name, str) else "a part of it"


def _other_signature(config: Mapping[str, Any]) -> str:
    """What it has in place of a backbone's; empty where nothing is known to be wrong.

    As far as a functional model's own configuration tells; the rest is for Keras to see.
    """
    inner = config.get("config")
    if config["class_name"] != "Functional" or not isinstance(inner, dict):
        return ""
    takes, gives = (_tensors(inner.get(key)) for key in ("input_layers", "output_layers"))
    if takes is not None and len(takes) != 1:
        return f"it has {len(takes)} inputs: expected one input of pictures"
    if gives is not None and len(gives) != 1:
        return f"it has {len(gives)} outputs: expected one feature map"
    shape = _shape(inner, takes[0]) if takes else None
    if shape is not None and (len(shape) != 4 or shape[3] != 3):
        return f"it has inputs [{tuple(shape)}]: expected one input of pictures (None, y, x, 3)"
    return ""


def _tensors(stated: Any) -> list[str] | None:
    """Names of the layers that tensors come from, in any nesting; None where it cannot be told."""
    if isinstance(stated, dict):
        stated = list(stated.values())
    if not isinstance(stated, list):
        return None
    if len(stated) == 3 and isinstance(stated[0], str):
        return [stated[0]]
    found = [_tensors(each) for each in stated]
    return None if None in found else [name for names in found for name in names or ()]


def _shape(inner: Mapping[str, Any], name: str) -> list[Any] | None:
    layers = inner.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        config = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(config, dict) and config.get("name") == name:
            shape = config.get("batch_shape")
            return shape if isinstance(shape, list) else None
    return None
