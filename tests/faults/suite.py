"""The suite that is disturbed: real weights, real pictures; and what it finds undisturbed.

MobileNetV2 with its ImageNet weights learns handwritten digits (and photographs of flowers, where
TFDS_DATA_DIR has them) out of 64 pictures: few, so that its eight trials take seconds and share
features, frontiers and heads through the cache. What it scores says nothing; that a disturbed run
scores the same, to the last bit, is what the campaign is about.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.running import store
from bench.zoo import offline
from benchmarks.essence import essence
from tests.faults.runs import REPOSITORY, Place, Run, emptied

NAME = "disturbed"
TEXT = """
description = "MobileNetV2 with its ImageNet weights on real pictures, disturbed"
[data]
image_size = 32
train_examples = 64
val_examples = 32
test_examples = 64
[phase1]
epochs = 3
learning_rate = 5e-3
[phase2]
epochs = 4
learning_rate = 1e-4
[execution]
batch_size = 16
[matrix]
backbones = ["MobileNetV2"]
datasets = [{datasets}]
freezes = ["head_only", {{ top_blocks = 2 }}]
seeds = [0, 1]
"""
WEIGHTS = "MobileNetV2.weights.h5"
WRITE_WEIGHTS = """
import sys; from pathlib import Path
from bench.records import Backbone
from bench.settings import Settings
from bench.zoo import weights
nowhere = Settings(cache=Path(sys.argv[1]).parent)
model = weights.load(Backbone(name="MobileNetV2"), 96, nowhere).model
model.save_weights(sys.argv[1])
"""


@dataclass(frozen=True)
class Undisturbed:
    """What a run finds that nobody disturbs.

    Attributes:
        folder: with the suite file, weights and a full cache.
        rows: what each trial measured, by key.
        table: as printed, without times.
        environment: of its rows, for the report.
        stack: id of its stack.
        datasets: that it has.
    """

    folder: Path
    rows: dict[str, Any]
    table: str
    environment: dict[str, Any]
    stack: str
    datasets: tuple[str, ...]

    def place(self, name: str) -> Place:
        """A fresh place for a chain."""
        folder = emptied(self.folder / name)
        for part in ("results", "temporary"):
            (folder / part).mkdir()
        place = _place(self.folder, folder)
        shutil.copytree(self.folder / "weights", place.weights)
        return place

    def renew(self, place: Place, kept: tuple[str, ...]) -> None:
        """Fresh results, and a cache that holds these kinds of work."""
        emptied(place.results)
        emptied(place.cache)
        for kind in kept:
            source = self.folder / "undisturbed" / "cache" / kind
            if source.is_dir():
                shutil.copytree(source, place.cache / kind)


def available() -> bool:
    """Whether weights and pictures are at hand."""
    from importlib.util import find_spec

    return offline.find() is not None and find_spec("sklearn") is not None


def datasets() -> tuple[str, ...]:
    """Digits, which a package brings, and flowers where they are."""
    flowers = Path(os.environ.get("TFDS_DATA_DIR") or "nowhere") / "tf_flowers"
    return ("digits", "tf_flowers") if flowers.is_dir() else ("digits",)


def prepare(folder: Path, *, short: bool) -> Undisturbed:
    """Write suite and weights, and run once.

    Args:
        folder: for all of it.
        short: digits alone.
    """
    names = ("digits",) if short else datasets()
    quoted = ", ".join(f'"{name}"' for name in names)
    (folder / f"{NAME}.toml").write_text(TEXT.format(datasets=quoted))
    place = _place(folder, emptied(folder / "undisturbed"))
    for made in (place.temporary, place.cache, folder / "weights"):
        made.mkdir()
    file = folder / "weights" / WEIGHTS
    subprocess.run(
        [sys.executable, "-c", WRITE_WEIGHTS, str(file)],
        cwd=REPOSITORY,
        env=place.environ() | {"PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
    )
    shutil.copytree(folder / "weights", place.weights)
    remembered = folder / "modes.jsonl"
    remembered.touch()
    run = Run(place, fault=json.dumps({"kind": "note modes", "file": str(remembered)}))
    if run.ended() != 0:
        raise RuntimeError(f"the undisturbed run failed:\n{run.said}")
    _keep_modes(place, remembered)
    rows = store.read(place.folder).rows
    first = rows[0]
    assert first.environment is not None
    return Undisturbed(
        folder=folder,
        rows=measured(place.folder),
        table=table(run),
        environment=first.environment.model_dump(mode="json"),
        stack=first.stack.id,
        datasets=names,
    )


def _place(home: Path, folder: Path) -> Place:
    return Place(
        suite=home / f"{NAME}.toml",
        results=folder / "results",
        cache=folder / "cache",
        weights=folder / "weights",
        temporary=folder / "temporary",
    )


def _keep_modes(place: Place, remembered: Path) -> None:
    """Put answers into the cache that runs ask for: in so short a suite, none is worth finding."""
    from bench import cache
    from bench.settings import Settings

    settings = Settings(cache=place.cache)
    for line in sorted(set(remembered.read_text().splitlines())):
        with cache.building(settings, "modes", json.loads(line), "graph") as writer:
            if writer is not None:
                writer.content |= {"name": "graph", "evidence": "measured: long ago"}


def measured(folder: Path, garbage: int = 0) -> dict[str, Any]:
    """Everything that a table or a comparison could show, by key; every row ``ok``.

    Args:
        folder: of results.
        garbage: how many lines are known to be no rows.
    """
    seen = store.read(folder)
    if len(seen.problems) != garbage:
        raise AssertionError(f"{garbage} lines are no rows, but: {seen.problems}")
    return {row.key: essence(row, folder) for row in seen.rows}


def table(run: Run) -> str:
    """The table that a run printed at its end, and the notes below it, without its times."""
    lines = "".join(run.lines).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("backbone "))
    columns = [found.span() for found in re.finditer("-+", lines[start + 1])]
    end = next((i for i in range(start, len(lines)) if not lines[i].strip()), len(lines))
    kept = []
    for first, last in columns:
        title = lines[start][first:last].strip()
        if title != "time" and "img/s" not in title:
            kept.append([line[first:last].strip() for line in lines[start:end]])
    notes = [line for line in lines[end:] if not line.startswith("results:")]
    return "\n".join([*map(" | ".join, zip(*kept, strict=True)), *notes])
