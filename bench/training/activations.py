"""What a frozen backbone makes of the pictures: computed once, and kept on disk under its content.

A cut is a place in the backbone: the pooled features that a head learns from, or the frontier
below a freeze boundary. One pass of a split (as one augmented view shows it) through the backbone
gives every cut that is asked for.
"""

import hashlib
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench import cache, steps
from bench.errors import CacheError
from bench.progress import Progress
from bench.records import Preprocessing, SplitName
from bench.settings import Settings
from bench.steps import View
from bench.training import modes, parallel, replicas, views
from bench.training.batches import Pictures
from bench.training.modes import Mode
from bench.training.recording import Report
from bench.zoo import preprocessing

KIND = "activations"
_TOO_FEW = "in too few steps to measure"
Found = tuple[NDArray[np.float32], ...]
"""The tensors of one cut, each (pictures, ...), memory-mapped."""


@dataclass(frozen=True)
class Cut:
    """A place in the backbone.

    Attributes:
        name: ``pooled avg``, ``frontier 100``.
        tensors: what crosses there, symbolic, batch first.
    """

    name: str
    tensors: tuple[Any, ...]

    @property
    def numbers(self) -> int:
        """How many cross for one picture."""
        return sum(math.prod(t.shape[1:]) for t in self.tensors)


@dataclass(frozen=True)
class Source:
    """The backbone and the pictures that activations come from.

    Attributes:
        backbone: Keras model.
        contract: what it expects of pixels.
        splits: the pictures.
        identity: of weights, stack, size and whatever else the numbers depend on; JSON values.
        about: what an entry of the cache says of itself besides; JSON values.
        label: for lists.
        settings: whose cache keeps them.
        jit: compile with XLA, where that is not for measuring to say.
        machine: what the speed of a pass depends on, as `modes.choose` wants it.
        untrained: while its context is open, the backbone has the weights that the identity names.
    """

    backbone: Any
    contract: Preprocessing
    splits: Mapping[SplitName, Pictures]
    identity: Mapping[str, Any]
    about: Mapping[str, Any]
    label: str
    settings: Settings
    jit: bool
    machine: Mapping[str, Any]
    untrained: Callable[[], AbstractContextManager[None]]


class Activations:
    """Activations of one backbone at some cuts.

    Args:
        source: where they come from.
        cuts: all that may be asked for, by name; they are computed in one model.
        passes: how many of the train pictures there may be.
    """

    def __init__(self, source: Source, cuts: Sequence[Cut], passes: int = 1) -> None:
        self._passes = passes
        self.cuts = {c.name: c for c in cuts}
        self.seconds_per_picture: float | None = None  # of a pass, where one was timed
        self._source = source
        self.execution = ""
        self._model: Any = None
        self._predictor: replicas.Predictor
        self._mode: Mode | None = None
        self._digests: dict[SplitName, str] = {}
        self._opened: dict[str, Found] = {}

    def get(
        self, name: str, split: SplitName, view: View | None, along: Sequence[str], report: Report
    ) -> Found:
        """The activations of a split at a cut.

        Args:
            name: of the cut.
            split: which pictures.
            view: how augmentation shows them.
            along: cuts worth computing in the same pass, should there have to be one.
            report: told of the pass.
        """
        identity = self.identity(name, split, view)
        key = cache.key(identity)
        for _ in range(3):  # another process may clear what this one has just built
            if key not in self._opened and (found := self._read(name, identity)):
                self._opened[key] = found
            if key in self._opened:
                return self._opened[key]
            wanted = [name, *(n for n in along if n != name)]
            self._compute([self.cuts[n] for n in wanted], split, view, report)
        raise CacheError(
            f"activations vanish from {self._source.settings.cache} as soon as they are written: "
            "is another process clearing it, or BENCH_CACHE_GIB too small?"
        )

    def identity(self, name: str, split: SplitName, view: View | None) -> dict[str, Any]:
        """All that these activations depend on."""
        return {
            **self._source.identity,
            "version": steps.ACTIVATIONS_VERSION,
            "cut": name,
            "pictures": self.digest(split),
            "split": "train" if view else "any",
            "view": view.model_dump(mode="json") if view else None,
            "views_version": steps.VIEWS_VERSION if view else None,
        }

    def digest(self, split: SplitName) -> str:
        """Of a split's pictures, in order."""
        if split not in self._digests:
            digest = hashlib.sha256()
            for content in self._source.splits[split].hashes:
                digest.update(content.encode())
            self._digests[split] = digest.hexdigest()
        return self._digests[split]

    def _read(self, name: str, identity: Mapping[str, Any]) -> Found | None:
        entry = cache.read(self._source.settings, KIND, identity)
        if entry is None:
            return None
        self.execution = str(entry.content.get("execution", ""))
        self.seconds_per_picture = (
            entry.content.get("seconds_per_picture") or self.seconds_per_picture
        )
        return tuple(entry.arrays[f"tensor{i}"] for i in range(len(self.cuts[name].tensors)))

    def _compute(
        self, cuts: Sequence[Cut], split: SplitName, view: View | None, report: Report
    ) -> None:
        """One pass of the split, keeping those of the cuts that the cache does not hold."""
        pictures = self._source.splits[split]
        with ExitStack() as entries:
            written: dict[str, list[NDArray[np.float32]]] = {}
            writers = []
            for cut in sorted(cuts, key=lambda c: c.name):  # everybody locks in the same order
                writer = entries.enter_context(self._building(cut, split, view))
                if writer is not None:
                    writers.append(writer)
                    about = {"numbers": cut.numbers, "split": split}
                    writer.content |= {**self._source.about, **about}
                    written[cut.name] = [
                        writer.create(f"tensor{i}", (len(pictures), *t.shape[1:]), "float32")
                        for i, t in enumerate(cut.tensors)
                    ]
            if not written:
                return
            with self._source.untrained():
                how = self._pass(pictures, view, written, report)
            for writer in writers:
                writer.content |= how

    def _building(self, cut: Cut, split: SplitName, view: View | None) -> Any:
        shown = f" view {view.number}" if view else ""
        label = f"{self._source.label} {cut.name} {split}{shown}"
        identity = self.identity(cut.name, split, view)
        return cache.building(self._source.settings, KIND, identity, label)

    def _pass(
        self,
        pictures: Pictures,
        view: View | None,
        written: Mapping[str, Sequence[NDArray[np.float32]]],
        report: Report,
    ) -> dict[str, Any]:
        """Fill the arrays; returns how that went, as JSON values."""
        model, times = self._whole(), list[float]()
        size = parallel.count() * views.CHUNK
        for rows, pixels in _pieces(views.chunks(pictures, view), parallel.count()):
            if self._mode is None and len(times) > 1:
                left = 1 + (len(pictures) - rows.stop) // size
                self._mode = self._chosen(pixels, left * self._passes, times[-1])
                if self._mode.jit != self._source.jit:
                    model.compile(jit_compile=self._mode.jit)
            began = time.perf_counter()
            found = _predict(self._predictor, pixels)
            times.append(time.perf_counter() - began)
            for name, arrays in written.items():
                for array, value in zip(arrays, found[name], strict=True):
                    array[rows] = value
            cache.let_go(pictures.pixels)
            report(Progress(stage=KIND, step=rows.stop, steps=len(pictures)))
        if len(times) > 1:
            self.seconds_per_picture = statistics.median(times[1:]) / size
        self.execution = self._mode.text if self._mode else parallel.noted(_TOO_FEW)
        return {"seconds_per_picture": self.seconds_per_picture, "execution": self.execution}

    def _chosen(self, pixels: NDArray[np.uint8], count: int, seconds: float) -> Mode:
        """Graph or XLA for so many more chunks, in this pass and those to come."""
        model = self._whole()

        def run(jit: bool) -> Callable[[], object]:
            model.compile(jit_compile=jit)
            return lambda: _predict(self._predictor, pixels)

        identity = {**self._source.machine, "work": "activations", "cuts": sorted(self.cuts)}
        return modes.choose(identity, run, count, self._source.settings, seconds)

    def _whole(self) -> Any:
        """Pixels -> every cut's tensors, the backbone in inference mode."""
        if self._model is None:
            backbone = self._source.backbone
            tensors = {n: list(c.tensors) for n, c in self.cuts.items()}
            inside = keras.Model(backbone.inputs[0], tensors)
            pixels = keras.Input(backbone.inputs[0].shape[1:], dtype="uint8")
            prepared = preprocessing.apply(self._source.contract, keras.ops.cast(pixels, "float32"))
            self._model = keras.Model(pixels, inside(prepared, training=False))
            self._model.compile(jit_compile=self._source.jit)
            self._predictor = replicas.predictor(self._model)
        return self._model


def _predict(
    run: replicas.Predictor, pixels: NDArray[np.uint8]
) -> dict[str, list[NDArray[np.float32]]]:
    """Of some pictures, filled up to `views.CHUNK` a device so that one shape is compiled."""
    missing = parallel.count() * views.CHUNK - len(pixels)
    filled = np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)])
    return {
        name: [np.asarray(v, np.float32)[: len(pixels)] for v in values]
        for name, values in run(filled).items()
    }


def _pieces(
    chunks: Iterable[tuple[slice, NDArray[np.uint8]]], size: int
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """So many chunks at a time."""
    left = iter(chunks)
    while several := list(itertools.islice(left, size)):
        rows = slice(several[0][0].start, several[-1][0].stop)
        yield rows, several[0][1] if size == 1 else np.concatenate([p for _, p in several])
