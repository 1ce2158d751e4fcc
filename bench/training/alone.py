"""Try an exported model where there is no Bench. Run by its path, never imported:

    python -P alone.py MODEL SAMPLE.npz ANSWER.json

Only Keras (or what else reads the format) and NumPy are used, as by somebody who was given the
file. `import bench` is made impossible first: an editable install must not lend the model a class.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BATCH = 8


class NoBench:
    """Refuses to find Bench, wherever it may be installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Nothing of other modules; of Bench, that it is not there."""
        if name.split(".")[0] == "bench":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(model: str, sample: str, answer: str) -> None:
    """Predict the sample's pixels, and write how far from its probabilities that is."""
    sys.meta_path.insert(0, NoBench())
    import numpy as np

    with np.load(sample, allow_pickle=False) as stored:
        pixels, wanted = stored["pixels"], stored["probabilities"]
    try:
        predict = reader(Path(model))
        found = np.concatenate(
            [predict(pixels[i : i + BATCH].astype("float32")) for i in range(0, len(pixels), BATCH)]
        )
        said: dict[str, Any] = compared(found, wanted)
    except Exception as error:  # every reader has errors of its own
        said = {"reason": in_short(error)}
    Path(answer).write_text(json.dumps({"pictures": len(pixels), **said}), encoding="utf-8")


def compared(found: Any, wanted: Any) -> dict[str, Any]:
    """Both are (pictures, classes); ``changed`` counts pictures of another most probable class."""
    if found.shape != wanted.shape:
        return {"reason": f"outputs of shape {found.shape}: expected {wanted.shape}"}
    return {
        "largest_difference": float(abs(found - wanted).max()),
        "changed": int((found.argmax(axis=1) != wanted.argmax(axis=1)).sum()),
    }


def in_short(error: Exception) -> str:
    """One line. Keras says what was wrong only after the whole configuration."""
    text = " ".join(str(error).split()).rpartition("Exception encountered: ")[2]
    return f"{type(error).__name__}: {text[:400]}"


def reader(path: Path) -> Callable[[Any], Any]:
    """Load a model: float32 pixels (n, size, size, 3) -> probabilities (n, classes)."""
    if path.is_dir():
        return _saved_model(path)
    return _onnx(path) if path.suffix == ".onnx" else _keras(path)


def _keras(path: Path) -> Callable[[Any], Any]:
    import keras

    model = keras.models.load_model(path, safe_mode=True)
    return lambda pixels: model.predict(pixels, verbose=0)


def _saved_model(path: Path) -> Callable[[Any], Any]:
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    return lambda pixels: model.serve(pixels).numpy()


def _onnx(path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (pixels_in,) = session.get_inputs()
    return lambda pixels: session.run(None, {pixels_in.name: pixels})[0]


def arguments(given: Sequence[str]) -> tuple[str, str, str]:
    """Model, sample, answer."""
    model, sample, answer = given
    return model, sample, answer


if __name__ == "__main__":
    main(*arguments(sys.argv[1:]))
