"""What this machine has already, as far as manifests and rows tell. Needs no weights, no Keras.

The cache's keys hold the digests of weights and pictures, which only a run knows. So work is
recognised by what its manifest says of itself: backbone, data and seed as suites write them, the
cut, the view, and the framework versions. What is recognised so may still be computed again (the
file behind a weights path has changed, say; the model's architecture is not compared either); what
is not may turn out to be there after all.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import cache, steps
from bench.cache import DamagedEntryError
from bench.data import datasets, picture_cache, splits
from bench.data.images import Images, of_entry
from bench.data.sources import find_source
from bench.errors import BenchError
from bench.records import Data, Dataset, SplitName, Stack, TrialResult
from bench.running import backends, store
from bench.running.devices import of_stack
from bench.settings import Settings
from bench.steps import Ground, HeadStep, View


@dataclass(frozen=True)
class Counts:
    """Pictures in each split; None where nothing on this machine tells."""

    train: int | None = None
    val: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class Boundary:
    """The frontier of a freeze strategy in some backbone, as an earlier run found it.

    Attributes:
        cut: its name; None where the strategy leaves nothing constant below it.
        numbers: that cross for one picture.
    """

    cut: str | None = None
    numbers: int = 0


def frameworks(backend: str | None = None) -> str | None:
    """How the id of every stack here begins: ``tensorflow-2.21.0_keras-3.15.1_``.

    None where they are not installed.

    Args:
        backend: the suite's; None for what the environment says.
    """
    try:
        backend = backends.chosen(backend)
        stack = Stack(
            backend=backend,
            backend_version=metadata.version(backend),
            keras_version=metadata.version("keras"),
            device="",
            precision="",
        )
    except (metadata.PackageNotFoundError, BenchError):
        return None
    return stack.id.removesuffix("_")


class Known:
    """The cache and a suite's results, read once.

    Args:
        settings: where the cache lies.
        base: of the suite file; relative folders of pictures start there.
        results: the suite's results folder; None to look at no rows.
        backend: the suite's; None for what the environment says.
        devices: over how many each trial spreads its batches.

    Attributes:
        measured: settled rows under the installed framework versions, by trial key.

    Raises:
        StoreError: the rows were written by a newer Bench.
        CacheError: the cache cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        base: Path,
        results: Path | None = None,
        backend: str | None = None,
        devices: int = 1,
    ) -> None:
        self._settings, self._base, self._devices = settings, base, devices
        self._begins = frameworks(backend)
        self.measured = {
            key: row
            for key, row in _measured(results, self._begins).items()
            if of_stack(row.stack.device) == devices
        }
        self._work: set[str] = set()
        self._boundaries: dict[str, dict[str, Boundary]] = {}
        self._numbers: dict[str, dict[str, int]] = {}
        self._counts: dict[str, Counts] = {}
        self._images: dict[tuple[Dataset, int], Images | None] = {}
        for row in self.measured.values():
            if row.dataset:
                seen = Counts(row.dataset.train, row.dataset.val, row.dataset.test)
                self._counts[_text(_dumped(row.spec.data))] = seen
        for kind, note in (("activations", self._note_activations), ("heads", self._note_head)):
            for identity, content, _ in cache.manifests(settings, kind):
                with suppress(KeyError, TypeError, AttributeError, ValueError):  # not as we write
                    note(identity, content)

    # ------------------------------------------------------------------------------- questions

    def activations(self, ground: Ground, split: SplitName, view: View | None, cut: str) -> bool:
        """Whether a split's activations at a cut are in the cache."""
        shown = view.model_dump(mode="json") if view else None
        return _text([_asked(ground), split, shown, cut]) in self._work

    def head(self, ground: Ground, step: HeadStep) -> bool:
        """Whether a trained head is in the cache."""
        return _text([_asked(ground), step.model_dump(mode="json")]) in self._work

    def boundaries(self, ground: Ground) -> Mapping[str, Boundary]:
        """Frontiers that runs of this backbone at this size have found, by freeze strategy."""
        return self._boundaries.get(_model(_dumped(ground), ground.data.image_size), {})

    def numbers(self, ground: Ground) -> Mapping[str, int]:
        """How many numbers cross a cut for one picture, by the cut's name, where runs found out."""
        return self._numbers.get(_model(_dumped(ground), ground.data.image_size), {})

    def images(self, data: Data) -> bool:
        """Whether the decoded pictures are in the cache."""
        return self._opened(data) is not None

    def counts(self, data: Data) -> Counts:
        """How many pictures a trial sees: from the pictures themselves, or from earlier work."""
        text = _text(_dumped(data))
        if text not in self._counts and (images := self._opened(data)) is not None:
            with suppress(BenchError):  # what cannot be split so, the run itself refuses
                found = splits.split(images, data)
                counts = Counts(len(found.train), len(found.val), len(found.test))
                self._counts[text] = counts
        asked = Counts(data.train_examples, data.val_examples, data.test_examples)
        return self._counts.get(text, asked)

    # ----------------------------------------------------------------------------------- notes

    def _note_activations(self, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        if self._another(identity):
            return
        place = _place(content["ground"], identity.get("deterministic"))
        numbers = self._note_about(identity["image_size"], content)
        numbers[identity["cut"]] = content["numbers"]
        self._work.add(_text([place, content["split"], identity["view"], identity["cut"]]))

    def _note_head(self, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        features = identity["features"]
        if self._another(features) or identity["version"] != steps.HEADS_VERSION:
            return
        place = _place(content["ground"], features.get("deterministic"))
        self._note_about(features["image_size"], content)
        self._work.add(_text([place, identity["step"]]))

    def _note_about(self, image_size: int, content: Mapping[str, Any]) -> dict[str, int]:
        """Note what every entry says; returns the numbers of its model's cuts, to be added to."""
        model = _model(content["ground"], image_size)
        found = self._boundaries.setdefault(model, {})
        numbers = self._numbers.setdefault(model, {})
        for label, boundary in content["frontiers"].items():
            found[label] = Boundary(*boundary) if boundary else Boundary()
            if boundary:
                numbers[found[label].cut or ""] = found[label].numbers
        self._counts[_text(content["ground"]["data"])] = Counts(**content["pictures"])
        return numbers

    def _another(self, activations: Mapping[str, Any]) -> bool:
        """Whether activations are of other framework versions, or of another Bench."""
        versions = activations["version"], activations["views_version"]
        views = steps.VIEWS_VERSION if activations["view"] else None
        same = versions == (steps.ACTIVATIONS_VERSION, views)
        stack = activations["stack"]
        here = self._begins is not None and stack.startswith(self._begins)
        return not same or not here or _devices_of(stack) != self._devices

    def _opened(self, data: Data) -> Images | None:
        name = (data.dataset, data.image_size)
        if name not in self._images:
            self._images[name] = _cached_images(data, self._settings, self._base)
        return self._images[name]


def _devices_of(stack: str) -> int:
    """Of the id of a stack: ``tensorflow-2.21.0_keras-3.15.1_cpu-x2_float32`` has 2."""
    found = re.search(r"-x(\d+)_[a-z0-9_]+$", stack)
    return int(found[1]) if found else 1


def _measured(results: Path | None, begins: str | None) -> dict[str, TrialResult]:
    if results is None or begins is None or not any(results.glob(f"*/{store.TRIALS}")):
        return {}
    return {
        row.key: row
        for row in store.read(results).rows
        if row.status in store.SETTLED and row.stack.id.startswith(begins)
    }


def _cached_images(data: Data, settings: Settings, base: Path) -> Images | None:
    """Decoded pictures as the cache has them, whether or not their source has changed since."""
    try:
        resolved = datasets.resolve(datasets.located(data.dataset, base))
        identity = find_source(resolved, settings).identity
        entry = picture_cache.newest(settings, identity, data.image_size, sure=False)
    except (BenchError, DamagedEntryError):
        return None
    return None if entry is None else of_entry(resolved, entry)


def _dumped(record: Ground | Data) -> dict[str, Any]:
    """As entries of the cache say it of themselves."""
    return record.model_dump(mode="json", exclude_defaults=True)


def _asked(ground: Ground) -> str:
    return _place(_dumped(ground), ground.execution.deterministic)


def _place(ground: Mapping[str, Any], deterministic: bool | None) -> str:
    """What activations depend on in a ground; of its execution, not the batch size.

    Args:
        ground: as `_dumped` gives it.
        deterministic: as the execution was; None in entries that do not say, which match nothing.
    """
    how = [ground["execution"].get("precision"), deterministic]
    return _text([ground["backbone"], ground["data"], ground.get("seed"), how])


def _model(ground: Mapping[str, Any], image_size: int) -> str:
    """What a frontier's shape depends on."""
    return _text([ground["backbone"], image_size])


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True)
