"""What earlier runs leave behind, without running any: entries as a workbench writes them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import cache, steps
from bench.data import images
from bench.records import Dataset, SplitName, TrialSpec
from bench.running.known import frameworks
from bench.settings import Settings
from bench.steps import View

PICTURES = {"train": 100, "val": 20, "test": 30}


@dataclass
class Earlier:
    """An earlier run on the ground of a trial.

    Attributes:
        spec: that trial.
        settings: whose cache.
        frontiers: what it found crossing, by freeze strategy: name of the cut and numbers.
        pictures: in each split.
        stack: that it ran on; by default this one's, on a CPU.
        numbers: in the pooled features of a picture.
        says_deterministic: whether entries say how they were executed, as older ones do not.
    """

    spec: TrialSpec
    settings: Settings
    frontiers: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, int] = field(default_factory=lambda: dict(PICTURES))
    stack: str = f"{frameworks()}cpu_float32"
    numbers: int = 1
    says_deterministic: bool = True

    def activations(
        self, cut: str, split: SplitName, views: Iterable[View | None] = (None,)
    ) -> None:
        """Leave a split's activations at a cut, for each of the views."""
        for view in views:
            identity = self._features(cut, split, view)
            crossing = dict(filter(None, self.frontiers.values()))
            numbers = crossing.get(cut, self.numbers)
            self._leave("activations", identity, {"numbers": numbers, "split": split})

    def head(self, spec: TrialSpec | None = None) -> None:
        """Leave the trained head of a trial."""
        spec = spec or self.spec
        step = steps.head_step(spec)
        view = View(augmentation=step.augmentation, number=0) if step.augmentation else None
        identity = {
            "features": self._features(f"pooled {spec.head.pooling}", "train", view),
            "step": step.model_dump(mode="json"),
            "version": steps.HEADS_VERSION,
        }
        self._leave("heads", identity, {"weights": 0})

    def _features(self, cut: str, split: str, view: View | None) -> dict[str, Any]:
        how = {"deterministic": self.spec.execution.deterministic}
        return {
            "stack": self.stack,
            **(how if self.says_deterministic else {}),
            "architecture": "a" * 64,
            "image_size": self.spec.data.image_size,
            "weights": "w" * 64,
            "pictures": hashlib.sha256(f"{self.spec.data} {split}".encode()).hexdigest(),
            "cut": cut,
            "split": "train" if view else "any",
            "view": view.model_dump(mode="json") if view else None,
            "version": steps.ACTIVATIONS_VERSION,
            "views_version": steps.VIEWS_VERSION if view else None,
            "seed": steps.ground_of(self.spec).seed,
        }

    def _leave(self, kind: str, identity: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        ground = steps.ground_of(self.spec).model_dump(mode="json", exclude_defaults=True)
        about = {"ground": ground, "frontiers": self.frontiers, "pictures": self.pictures}
        with cache.building(self.settings, kind, identity, "left over") as writer:
            assert writer is not None, "the same twice"
            writer.put("tensor0", np.zeros(3, np.float32))
            writer.content |= {**about, **content}


def digits(settings: Settings, size: int) -> None:
    """Leave scikit-learn's digits in the image cache."""
    images.open_images(Dataset(name="digits"), size, settings)


def folder_of_pictures(root: Path, classes: Mapping[str, int]) -> Path:
    """A folder of tiny pictures, each another one."""
    from PIL import Image

    number = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            number += 1
            Image.new("RGB", (16, 16), (number, 0, 0)).save(root / name / f"{i}.png")
    return root
