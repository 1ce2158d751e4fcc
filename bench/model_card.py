"""What goes with an exported model, so that whoever has the file needs nothing else: class names,
what its pixels must be, and where it comes from.

    model.keras    a zip archive; the card is one more member of it
    folder/        TensorFlow's SavedModel; the card lies where such folders keep what is extra
    model.onnx     the card is in its metadata

A card is found without Keras or TensorFlow; an ONNX file's is its reader's to hand over.
"""

import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from bench.errors import BenchError
from bench.records import Record, Stack, WeightsUsed

NAME = "bench.json"
"""Of the card in a ``.keras`` archive."""
FOLDER = "assets.extra"
"""Of a SavedModel: where the card lies."""
LARGEST = 2**20
"""Bytes of a card; a thousand class names are some twenty thousand."""
ONNX_KEY = "bench"
"""Of an ONNX model's metadata: the card."""

ONNX_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "tensorflow": ("tf2onnx", "onnx", "onnxruntime"),
    "jax": ("jax2onnx", "onnx", "onnxruntime"),
    "torch": ("onnxscript", "onnx", "onnxruntime"),
}
"""What Keras needs to write an ONNX file, and we to add the card and to try it, by backend."""

Format = Literal["keras", "onnx", "saved_model"]

PIXELS = (
    "RGB, channels last, 0 to 255 as they come out of the decoder (preprocessing is inside), "
    "float32: (pictures, size, size, 3)"
)
DECODING = (
    "Pillow, upright by EXIF, transparency on white; stretched to a square, not cropped, by "
    "antialiased bilinear interpolation (Image.Resampling.BILINEAR); a JPEG far larger than that "
    "is first reduced by its decoder (draft mode, to twice the size or more)"
)


class ModelCard(Record):
    """What a user of an exported model must know.

    Attributes:
        class_names: of the outputs, in order.
        image_size: side of the square pictures, in pixels.
        pixels: what goes in.
        decoding: how files became pixels when it was trained.
        decoding_version: of that, `bench.data.decoding.DECODING_VERSION`.
        outputs: what comes out.
        backbone: its name.
        dataset: its name.
        strategy: label of the freeze strategy.
        seed: of the trial.
        trial: key of the trial.
        weights: what training began from.
        stack: what it was trained on.
        test_accuracy: of the trial, 0 to 1.
        test_pictures: that it was measured on.
        bench_version: that wrote the file.
    """

    class_names: tuple[str, ...]
    image_size: int
    pixels: str = PIXELS
    decoding: str = DECODING
    decoding_version: int
    outputs: str = "a probability for each class, float32: (pictures, classes)"
    backbone: str
    dataset: str
    strategy: str
    seed: int
    trial: str
    weights: WeightsUsed
    stack: Stack
    test_accuracy: float
    test_pictures: int
    bench_version: str


def format_of(path: Path) -> Format:
    """What a file or folder of this name holds.

    Args:
        path: ``.keras`` and ``.onnx`` files; without an ending, a SavedModel's folder.

    Raises:
        BenchError: another ending.
    """
    known: dict[str, Format] = {".keras": "keras", ".onnx": "onnx", "": "saved_model"}
    if path.suffix not in known:
        raise BenchError(
            f"{path}: a model's format is told by its ending: expected .keras, .onnx, or a folder "
            "without ending (TensorFlow's SavedModel)"
        )
    return known[path.suffix]


def problem(kind: Format, backend: str) -> str | None:
    """Why a model of this kind could not be written here; None where nothing is in the way.

    Args:
        kind: of file.
        backend: that Keras would compute with.
    """
    if kind == "saved_model" and backend != "tensorflow":
        return (
            f"only the TensorFlow backend writes a SavedModel, and this one is {backend}: expected "
            "a name that ends in .keras"
        )
    if kind == "onnx":
        missing = [name for name in ONNX_PACKAGES[backend] if find_spec(name) is None]
        if missing:
            return f"ONNX needs what is not installed: pip install {' '.join(missing)}"
    return None


def found(path: Path) -> ModelCard | None:
    """The card of a ``.keras`` file or of a SavedModel's folder; None where it has none.

    Raises:
        BenchError: there is one that cannot be read.
    """
    text = _in_folder(path) if path.is_dir() else _in_archive(path)
    return None if text is None else parsed(text, path)


def parsed(text: str | bytes, path: Path) -> ModelCard:
    """A card from its JSON.

    Args:
        text: JSON.
        path: of the model, for the error.

    Raises:
        BenchError: it is no card.
    """
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "no JSON"
        raise BenchError(
            f"{path}: its {NAME} is not what this version of Bench writes ({where})"
        ) from error


def _in_folder(path: Path) -> bytes | None:
    card = path / FOLDER / NAME
    if not card.is_file():
        return None
    if card.stat().st_size > LARGEST:
        raise _too_large(path)
    return card.read_bytes()


def _in_archive(path: Path) -> bytes | None:
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if NAME not in archive.namelist():
            return None
        if archive.getinfo(NAME).file_size > LARGEST:
            raise _too_large(path)
        return archive.read(NAME)


def _too_large(path: Path) -> BenchError:
    return BenchError(f"{path}: its {NAME} is larger than any card: {LARGEST:,} bytes")
