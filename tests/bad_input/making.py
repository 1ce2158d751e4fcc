"""What wrong input is made of: files, pictures, rows."""

import io
import os
from collections.abc import Callable
from pathlib import Path

from conftest import make_result, make_spec
from PIL import Image

from bench.records import Freeze, Stack
from bench.running import store

Make = Callable[[Path], object]

SUITE = """\
description = "a small suite"
[data]
image_size = 96
[phase1]
epochs = 1
learning_rate = 1e-3
[phase2]
epochs = 1
learning_rate = 1e-5
[execution]
batch_size = 32
[limits]
trial_minutes = 10
[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
freezes = ["head_only", "all"]
heads = ["linear"]
seeds = [0, 1]
[smoke]
matrix = {seeds = [0]}
"""
"""A suite of four trials in which nothing is wrong."""


def text(name: str, content: str | bytes) -> Make:
    """A file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: _written(folder / name, data)


def both(*makes: Make) -> Make:
    """One after another."""
    return lambda folder: [make(folder) for make in makes]


def empty(*names: str) -> Make:
    """Empty folders."""
    return lambda folder: [(folder / n).mkdir(parents=True, exist_ok=True) for n in names]


def suite(old: str = "", new: str = "", more: str = "") -> Make:
    """``suite.toml``: `SUITE` with one text in place of another, and more at its end."""
    assert SUITE.count(old) == 1 or not old, old
    return text("suite.toml", (SUITE.replace(old, new) if old else SUITE) + more)


# --------------------------------------------------------------------------------- pictures


def encoded(
    form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (24, 24), **how: object
) -> bytes:
    """A picture of one colour in Pillow's format and mode."""
    stream = io.BytesIO()
    colour = how.pop("colour", 100)
    Image.new(mode, size, colour).save(stream, form, **how)
    return stream.getvalue()


def pictures(*classes: str, count: int = 4, top: str = "pets") -> Make:
    """A folder of good pictures, no two alike, in folders of these names."""

    def make(folder: Path) -> None:
        for k, name in enumerate(classes):
            for i in range(count):
                colour = (40 * k % 256, 20 * i % 256, 60)
                content = encoded(mode="RGB", colour=colour)
                _written(folder / top / name / f"{i}.png", content)

    return make


def also(name: str, content: bytes, top: str = "pets") -> Make:
    """The folder of good pictures with one file more."""
    return both(pictures("cat", "dog"), text(f"{top}/{name}", content))


def linked(name: str, target: str) -> Make:
    """A symbolic link."""

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)

    return make


def pipe(name: str) -> Make:
    """A named pipe that nobody writes to: whoever opens it waits for ever."""

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)

    return make


# ---------------------------------------------------------------------------------- results

STACK = Stack(
    backend="tensorflow",
    backend_version="2.20.0",
    keras_version="3.12.0",
    device="cpu",
    precision="float32",
)
"""Another stack than that of `conftest.STACK`."""


def results(name: str = "run", stack: Stack | None = None) -> Make:
    """A results folder of two trials."""

    def make(folder: Path) -> None:
        changes = {"stack": stack} if stack else {}
        with store.writing(folder / name) as held:
            held.append(make_result(**changes), None)
            held.append(make_result(make_spec(Freeze(strategy="head_only")), **changes), None)
        (folder / name / store.LOCK).unlink(missing_ok=True)

    return make


def rows(content: bytes, name: str = "run") -> Make:
    """A results folder whose one file of trials holds this."""
    return text(f"{name}/some-stack/{store.TRIALS}", content)


def _written(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
