"""Predicting pictures with an exported model, or with any other that takes pictures alike.

A ``.keras`` file is looked into first (`bench.zoo.keras_files`), then loaded in Keras' safe mode,
so that nothing in it runs code of its own or reads another file; nothing is unpickled. A SavedModel
is a TensorFlow program and can do what TensorFlow can: Bench loads one only where its folder is
named.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import model_card
from bench.data.decoding import LARGEST_FILE, UnreadablePictureError, decode
from bench.data.folders import EXTENSIONS
from bench.errors import BenchError
from bench.model_card import ModelCard
from bench.zoo import content, keras_files, weights

BATCH = 32

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Pixels (n, size, size, 3), 0 to 255 -> a number for each class (n, classes)."""


@dataclass(frozen=True)
class Classifier:
    """A model that is loaded.

    Attributes:
        card: what came with it; None for a model that Bench did not write.
        class_names: of its outputs, in order; numbers where nobody named them.
        image_size: side of the square pictures that it takes, in pixels.
        predict: runs it.
    """

    card: ModelCard | None
    class_names: tuple[str, ...]
    image_size: int
    predict: Predict


@dataclass(frozen=True)
class Guess:
    """What a model makes of a picture.

    Attributes:
        file: the picture.
        classes: names with their probabilities, the most probable first; None for a picture that
            cannot be read.
        reason: why it cannot.
    """

    file: Path
    classes: tuple[tuple[str, float], ...] | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Loaded:
    """A model of any format: the shapes it takes and gives, batch first, and how to run it."""

    takes: Sequence[Any]
    gives: Sequence[Any]
    predict: Predict
    card: ModelCard | None


def pictures(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The files named, and in folders every picture at any depth, sorted; each once.

    Hidden files and folders are passed over.

    Raises:
        BenchError: a path is not there, or a folder holds no picture.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if _is_picture(p, path)]
            if not inside:
                raise BenchError(f"{path}: no picture in it; expected {', '.join(_ENDINGS)}")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        else:
            raise BenchError(
                f"{path}: there is no such file or folder: expected pictures, or folders with them"
            )
    return tuple(found)


_ENDINGS = sorted(EXTENSIONS)


def _is_picture(file: Path, below: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(below).parts)
    return file.suffix.lower() in EXTENSIONS and not hidden and file.is_file()


def load(path: Path) -> Classifier:
    """Load a model.

    Args:
        path: a ``.keras`` or ``.onnx`` file, or a SavedModel's folder.

    Raises:
        BenchError: there is none, it cannot be loaded, or it is no model of pictures.
    """
    if not path.exists():
        raise BenchError(f"{path}: there is no such model: expected one that is there")
    kind = model_card.format_of(path)
    if path.is_dir() != (kind == "saved_model"):
        raise BenchError(
            f"{path}: expected a .keras or .onnx file, or a SavedModel's folder without an ending"
        )
    reader = {"keras": _keras, "saved_model": _saved_model, "onnx": _onnx}[kind]
    try:
        loaded = reader(path)
    except BenchError:
        raise
    except Exception as error:  # every reader has errors of its own
        said = f"{type(error).__name__}: {weights.cause(error)}"
        raise BenchError(f"{path}: cannot be loaded ({said})") from error
    size, classes = _shape(loaded, path)
    card = loaded.card
    if card is None:
        return Classifier(None, tuple(map(str, range(classes))), size, loaded.predict)
    if (card.image_size, len(card.class_names)) != (size, classes):
        raise BenchError(
            f"{path}: its {model_card.NAME} is of {len(card.class_names)} classes at "
            f"{card.image_size} px, but the model has {classes} at {size} px"
        )
    return Classifier(card, card.class_names, size, loaded.predict)


def guesses(model: Classifier, files: Sequence[Path], top: int) -> Iterator[Guess]:
    """Predict pictures, in their order; one that cannot be read is told as such.

    Args:
        model: with what.
        files: which.
        top: how many classes to name for each.
    """
    for first in range(0, len(files), BATCH):
        some = files[first : first + BATCH]
        decoded = [_decoded(file, model.image_size) for file in some]
        pixels = [d for d in decoded if not isinstance(d, str)]
        rows = iter(model.predict(np.stack(pixels).astype(np.float32)) if pixels else ())
        for file, found in zip(some, decoded, strict=True):
            if isinstance(found, str):
                yield Guess(file, reason=found)
            else:
                yield Guess(file, _best(next(rows), model.class_names, top))


def _decoded(file: Path, size: int) -> NDArray[np.uint8] | str:
    """Its pixels, or why there are none."""
    try:
        if (length := file.stat().st_size) > LARGEST_FILE:
            return f"{length:,} bytes, more than {LARGEST_FILE:,}"
        return decode(file.read_bytes(), size)
    except (OSError, UnreadablePictureError) as error:
        return str(error)


def _best(
    row: NDArray[np.float32], names: Sequence[str], top: int
) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-row, kind="stable")[:top]
    return tuple((names[i], float(row[i])) for i in order)


def _shape(loaded: _Loaded, path: Path) -> tuple[int, int]:
    """Side of the pictures, and number of classes.

    Raises:
        BenchError: it takes or gives something else.
    """
    takes, gives = list(loaded.takes), list(loaded.gives)
    if len(takes) != 4 or takes[3] != 3 or takes[1] != takes[2] or not isinstance(takes[1], int):
        raise BenchError(
            f"{path}: takes {takes}: expected square pictures of one size, [n, size, size, 3]"
        )
    if len(gives) != 2 or not isinstance(gives[1], int):
        raise BenchError(f"{path}: gives {gives}: expected a number for each class, [n, classes]")
    return takes[1], gives[1]


def _only(found: Sequence[Any], what: str, path: Path) -> Any:
    if len(found) != 1:
        raise BenchError(f"{path}: has {len(found)} {what}: expected one")
    return found[0]


# ----------------------------------------------------------------------------------------- readers


def _keras(path: Path) -> _Loaded:
    content.check_start(path)
    keras_files.check(path, backbone=False)

    import keras

    model = keras.models.load_model(path, safe_mode=True, compile=False)
    takes, gives = (
        _only(tensors or (), what, path)
        for tensors, what in ((model.inputs, "inputs"), (model.outputs, "outputs"))
    )
    return _Loaded(
        takes=tuple(takes.shape),
        gives=tuple(gives.shape),
        predict=lambda pixels: np.asarray(model.predict(pixels, verbose=0)),
        card=model_card.found(path),
    )


def _saved_model(path: Path) -> _Loaded:
    if not (path / "saved_model.pb").is_file():
        raise BenchError(f"{path}: is no SavedModel: expected a folder with saved_model.pb in it")

    import tensorflow as tf

    model: Any = tf.saved_model.load(str(path))
    run = model.signatures["serving_default"]
    takes = _only(list(run.structured_input_signature[1].items()), "inputs", path)
    gives = _only(list(run.structured_outputs.items()), "outputs", path)

    def predict(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        _ = model  # its variables live as long as it does
        return np.asarray(run(**{takes[0]: tf.cast(pixels, takes[1].dtype)})[gives[0]])

    return _Loaded(
        takes=tuple(takes[1].shape),
        gives=tuple(gives[1].shape),
        predict=predict,
        card=model_card.found(path),
    )


def _onnx(path: Path) -> _Loaded:
    try:
        import onnxruntime
    except ImportError:
        raise BenchError(f"{path}: reading ONNX needs pip install onnxruntime") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    takes = _only(session.get_inputs(), "inputs", path)
    gives = _only(session.get_outputs(), "outputs", path)
    if takes.type != "tensor(float)":
        raise BenchError(f"{path}: takes {takes.type}: expected float32 pixels")
    text = session.get_modelmeta().custom_metadata_map.get(model_card.ONNX_KEY)
    return _Loaded(
        takes=takes.shape,
        gives=gives.shape,
        predict=lambda pixels: np.asarray(session.run(None, {takes.name: pixels})[0]),
        card=model_card.parsed(text, path) if text else None,
    )
