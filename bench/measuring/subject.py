"""What is measured: the stock model of a backbone, frozen and compiled as a workload has it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from bench.costs import CostSpec
from bench.measuring.steps import Batch, Kind, Step, compiled, to_device
from bench.records import Phase
from bench.training import protocol
from bench.training.batches import Batches, Pictures, targets
from bench.training.fitting import compile_model
from bench.training.grounds import Workplace
from bench.training.model import PinnedBackbone, TrialModel, build
from bench.zoo import backbones, freezing, rewriting, weights

EPOCH_BATCHES = 1000
FILE_BATCHES, FILE_BYTES = 64, 2**30
"""More than a processor's caches hold; what was just written is in memory all the same, as the
pictures of a trial are after its first epoch."""
LEARNING_RATE = 1e-5
"""It changes no speed; a small one keeps the numbers of a long measurement finite."""


@dataclass(frozen=True)
class Subject:
    """A model ready to be compiled and measured.

    Attributes:
        spec: what is measured of it.
        trial: the whole model, frozen as the workload has it.
        rewrite: what was done to the backbone's operations.
    """

    spec: CostSpec
    trial: TrialModel
    rewrite: rewriting.Rewrite

    @property
    def model(self) -> Any:
        """uint8 pictures -> the head's outputs."""
        return self.trial.model

    @property
    def kind(self) -> Kind:
        """What a step does."""
        return "inference" if self.spec.workload == "inference" else "training"

    def compile(self, jit: bool | Literal["auto"]) -> None:
        """Have Keras compile it, with XLA or not."""
        phase = Phase(epochs=1, learning_rate=LEARNING_RATE, optimizer=self.spec.optimizer)
        compile_model(self.model, phase, self.spec.head, jit)

    def step(self, example: Batch) -> Step:
        """The step of the model as it was compiled last."""
        return compiled(self.model, self.kind, example)

    def batch(self, size: int) -> Batch:
        """A batch on the device."""
        shown = pictures(size, self.spec.image_size, self.spec.classes)
        rows = np.arange(size)
        wanted = targets(shown.labels, self.spec.head, self.spec.classes)
        pixels, labels = to_device(shown[rows], wanted)
        return pixels, labels


def load(spec: CostSpec, place: Workplace) -> Subject:
    """Build the model of a measurement; whatever was built before is let go.

    Raises:
        BenchError: backbone, file or freeze strategy are not what they must be.
    """
    keras.backend.clear_session()
    keras.config.set_dtype_policy(place.stack.precision)  # which clear_session has just forgotten
    keras.utils.set_random_seed(0)
    loaded = weights.load(spec.backbone, spec.image_size, place.settings, place.folder)
    rewrite = rewriting.depthwise(loaded.model) if spec.mode == "best" else rewriting.Rewrite()
    trial = build(
        loaded.model,
        loaded.preprocessing,
        spec.head,
        image_size=spec.image_size,
        classes=spec.classes,
        pin=PinnedBackbone,
    )
    names = tuple(layer.name for layer in loaded.model.layers)
    starts = backbones.block_starts(loaded.blocks, names) if loaded.blocks else ()
    _freeze(spec, trial, freezing.BackboneLayers(names, tuple(starts)))
    return Subject(spec, trial, rewrite)


def _freeze(spec: CostSpec, trial: TrialModel, layers: freezing.BackboneLayers) -> None:
    """As the protocol does before the phase."""
    if spec.workload != "phase 2":
        protocol.freeze_all(trial.backbone)
        return
    assert spec.freeze is not None
    start = freezing.first_trainable(spec.freeze, layers)
    protocol.unfreeze(trial, start, spec.batch_norm)


def pictures(count: int, size: int, classes: int) -> Pictures:
    """Noise in place of pictures: no step is faster or slower for what it shows.

    Args:
        count: how many.
        size: side, in pixels.
        classes: labels go round in them.
    """
    return _labelled(_noise(count, size), classes)


@contextmanager
def mapped_pictures(batch_size: int, spec: CostSpec, folder: Path | None) -> Iterator[Pictures]:
    """The same in a file that is mapped, as trials map theirs from the cache.

    Args:
        batch_size: pictures in a step. There are `FILE_BATCHES` of them, as far as `FILE_BYTES` go.
        spec: whose pictures.
        folder: where the file lies for the while; None for the system's own.
    """
    size = spec.image_size
    fits = max(2 * batch_size, FILE_BYTES // (3 * size * size))
    count = min(FILE_BATCHES * batch_size, fits)
    with tempfile.TemporaryFile(dir=folder) as file:
        for start in range(0, count, batch_size):
            file.write(_noise(min(batch_size, count - start), size, seed=start).tobytes())
        file.flush()
        yield _labelled(np.memmap(file, np.uint8, "r", shape=(count, size, size, 3)), spec.classes)


def _noise(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    shape = (count, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _labelled(pixels: NDArray[np.uint8], classes: int) -> Pictures:
    indices = np.arange(len(pixels))
    return Pictures(pixels, indices, indices % classes, ("",) * len(pixels))


def epoch_of(
    shown: Pictures, spec: CostSpec, batch_size: int, batches: int = EPOCH_BATCHES
) -> Batches:
    """An epoch of whole batches over a few pictures, read and shuffled as in a trial."""
    rows = np.arange(batches * batch_size) % len(shown)
    again = Pictures(shown.pixels, rows, shown.labels[rows], ("",) * len(rows))
    return Batches(lambda _: (again,), again.labels, batch_size, spec.head, spec.classes, seed=0)
