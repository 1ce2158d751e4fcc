"""The reload check: a model that was written is loaded in a new process where Bench cannot be
imported, and must predict what the trial predicted.

A ``.keras`` file is tried on every backend that is installed. All of it runs on the CPU, where such
a file must work too, whatever it was trained on; a GPU may be full of the worker that trained it.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field

from bench import model_card
from bench.records import Record, Stack
from bench.running.backends import BACKENDS, VARIABLE
from bench.running.devices import VARIABLE as GPUS

SCRIPT = Path(__file__).parents[1] / "training" / "alone.py"
SECONDS = 600.0
"""How long one process may take."""
CLOSE = 1e-4
"""How far a probability may be from what was predicted on a CPU in float32."""
ROUNDED = 0.01
"""The same from what was predicted on an accelerator, whose products may have fewer bits."""


class Reloaded(Record):
    """How a written model did in a process of its own.

    Attributes:
        backend: what loaded it: a backend of Keras, or ``onnxruntime``.
        ok: whether it predicted what the sample says.
        pictures: that it was tried on.
        largest_difference: between two probabilities; None where it predicted nothing.
        tolerance: the largest allowed.
        changed: pictures whose most probable class is another one, though within the tolerance.
        reason: why it is not ok.
    """

    backend: str
    ok: bool
    pictures: int
    largest_difference: float | None = None
    tolerance: float
    changed: int = 0
    reason: str = ""


class _Said(Record):
    """What the process wrote."""

    pictures: int = 0
    largest_difference: float | None = Field(None, allow_inf_nan=True)
    changed: int = 0
    reason: str = ""


def tolerance(stack: Stack) -> float:
    """How far probabilities may be from those that go with a sample of this stack."""
    return CLOSE if stack.device == "cpu" else ROUNDED


def check(
    path: Path,
    sample: Path,
    allowed: float,
    begins: Callable[[str], None] = lambda _: None,
) -> tuple[Reloaded, ...]:
    """Load a model by whatever can load it on this machine, each time in a new process.

    Args:
        path: the model.
        sample: test pictures and the trial's probabilities (`bench.training.exporting.save`).
        allowed: largest difference between two probabilities.
        begins: told what is about to load it.

    Returns:
        One for each reader that is installed.
    """
    found = []
    for reader in readers(path):
        begins(reader)
        found.append(_tried(reader, path, sample, allowed))
    return tuple(found)


def readers(path: Path) -> tuple[str, ...]:
    """What can load this model here: backends of Keras, TensorFlow itself, or onnxruntime."""
    able = {
        "keras": BACKENDS,
        "saved_model": ("tensorflow",),
        "onnx": ("onnxruntime",),
    }[model_card.format_of(path)]
    return tuple(name for name in able if importlib.util.find_spec(name) is not None)


def _tried(reader: str, path: Path, sample: Path, allowed: float) -> Reloaded:
    said = _run(reader, path, sample)
    apart = said.largest_difference
    reason = said.reason
    if not reason and (apart is None or not said.pictures):
        reason = "it said nothing of any picture"
    elif not reason and apart is not None and not apart <= allowed:  # nan is no answer
        reason = f"a probability is off by {apart:.2g}: expected at most {allowed}"
    return Reloaded(
        backend=reader,
        ok=not reason,
        pictures=said.pictures,
        largest_difference=apart,
        tolerance=allowed,
        changed=said.changed,
        reason=reason,
    )


def _run(reader: str, path: Path, sample: Path) -> _Said:
    environ = {**os.environ, GPUS: "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if reader in BACKENDS:
        environ[VARIABLE] = reader
    with TemporaryDirectory(prefix="reload-") as folder:
        answer = Path(folder) / "answer.json"
        # -P, and a folder of its own: nothing that lies about here stands in for a package.
        paths = (str(p.absolute()) for p in (path, sample, answer))
        command = (sys.executable, "-P", str(SCRIPT), *paths)
        try:
            done = subprocess.run(
                command, cwd=folder, env=environ, capture_output=True, timeout=SECONDS
            )
            return _Said.model_validate_json(answer.read_bytes())
        except subprocess.TimeoutExpired:
            return _Said(reason=f"no answer after {SECONDS:g} s")
        except FileNotFoundError:  # the answer
            words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return _Said(reason=f"its process ended with {done.returncode}. {' '.join(words)}")
