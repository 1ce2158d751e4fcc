"""A folder of pictures as people have them, made from nothing: for tests of the look at data."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from test_twins import drawn

PER_CLASS = 6


def write(path: Path, image: Image.Image, **options: Any) -> None:
    """In the format of the name, or in ``format``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def messy_folder(root: Path) -> Path:
    """Cats and dogs in every format, ``<script>`` for a class, and what is wrong with them.

    Two unreadable files, an empty class, one picture under two classes, one file with a wrong
    name, notes and a link beside the pictures.
    """
    for number, name in enumerate(("cat", "dog", "<script>")):
        for i, ending in enumerate(("png", "jpg", "gif", "webp", "bmp", "tif")):
            write(root / name / f"{i}.{ending}", drawn(10 * number + i).resize((96, 64)))
    cmyk = drawn(40).convert("CMYK")
    write(root / "cat/cmyk.jpg", cmyk)
    write(root / "cat/deep/er/grey16.png", Image.fromarray(_grey_16(41)))
    write(root / "dog/really.png", drawn(42), format="JPEG")
    write(root / "dog/long.png", drawn(43).resize((400, 90)))
    (root / "dog/broken.jpg").write_bytes((root / "dog/1.jpg").read_bytes()[:300])
    (root / "dog/page.jpg").write_text("<html>")
    (root / "cat/copy.png").write_bytes((root / "dog/0.png").read_bytes())
    (root / "bird").mkdir()
    (root / "cat/notes.txt").write_text("mine")
    (root / "cat/elsewhere.jpg").symlink_to("/etc/hostname")
    return root


def split_folder(root: Path) -> Path:
    """train, val and test with leaks: test holds a copy and a near copy of train, val another."""
    for number, name in enumerate(("cat", "dog")):
        for part, count in (("train", 4), ("val", 2), ("test", 2)):
            for i in range(count):
                seed = 100 * number + 10 * len(part) + i
                write(root / part / name / f"{i}.png", drawn(seed))
    (root / "test/cat/copy.png").write_bytes((root / "train/cat/0.png").read_bytes())
    with Image.open(root / "train/dog/1.png") as image:
        write(root / "test/dog/again.jpg", image.convert("RGB"), quality=60)
    with Image.open(root / "train/dog/2.png") as image:
        write(root / "val/dog/again.jpg", image.convert("RGB"), quality=60)
    with Image.open(root / "train/dog/3.png") as image:  # in its own split: no harm
        write(root / "train/dog/again.jpg", image.convert("RGB"), quality=60)
    return root


def _grey_16(seed: int) -> np.ndarray:
    return np.asarray(drawn(seed).convert("L")).astype(np.uint16) * 257
