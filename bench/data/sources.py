"""From a dataset of a suite to the source of its pictures."""

import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.data.datasets import ResolvedDataset
from bench.data.examples import Contents, Example, Source
from bench.data.folders import FolderSource
from bench.data.tfds_reader import TfdsSource
from bench.errors import DatasetError
from bench.settings import Settings


def find_source(resolved: ResolvedDataset, settings: Settings) -> Source:
    """The source of a dataset's pictures. Touches no file yet."""
    if resolved.reader == "folder":
        return FolderSource(resolved.name, resolved.source)
    if resolved.reader == "tfds":
        return TfdsSource(resolved.name, resolved.source, settings.tfds)
    return DigitsSource()


@dataclass(frozen=True)
class DigitsSource:
    """scikit-learn's handwritten digits: 1,797 grey pictures of 8x8 inside its package."""

    name: str = "digits"
    identity: str = "digits"
    where: str = "scikit-learn"

    def signature(self) -> str | None:
        """A constant: the pictures have never changed. None where scikit-learn is missing."""
        try:
            found = importlib.util.find_spec("sklearn")
        except (ImportError, ValueError):
            found = None
        return None if found is None else "digits-bmp-1"

    def open(self) -> Contents:
        """Read them.

        Raises:
            DatasetError: scikit-learn is not installed.
        """
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DatasetError(
                "dataset 'digits' comes with scikit-learn, which is not installed: "
                "pip install 'keras-zoo-bench[offline]'"
            ) from error
        digits: Any = load_digits()
        classes = tuple(str(name) for name in digits.target_names)
        return Contents(classes, len(digits.images), "digits-bmp-1", _encoded(digits))


def _encoded(digits: Any) -> Iterator[Example]:
    from PIL import Image

    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        grey = (image.astype("int64") * 255 + 8) // 16  # 0..16 ink -> 0..255
        file = io.BytesIO()
        # BMP is not compressed: the bytes, and so the split, hang on no library's version.
        Image.fromarray(grey.astype("uint8")).save(file, "BMP")
        yield Example(f"digits/{number}", file.getvalue(), int(label))
