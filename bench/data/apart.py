"""Opening a dataset where this process must not import TensorFlow: a child reads what needs it.

A process that goes on to start workers would otherwise hold the memory of the GPU that they need,
and TensorFlow never lets go of what it read.
"""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context

from bench.cache.folders import DamagedEntryError
from bench.data import picture_cache
from bench.data.datasets import resolve
from bench.data.images import Images, Progress, open_images
from bench.data.sources import find_source
from bench.errors import DatasetError
from bench.records import Dataset
from bench.settings import Settings


def open_apart(
    dataset: Dataset, image_size: int, settings: Settings, progress: Progress | None = None
) -> Images:
    """`bench.data.images.open_images`, without TensorFlow in this process.

    Args:
        dataset: as there.
        image_size: as there.
        settings: as there.
        progress: as there; not told of what a child decodes.

    Raises:
        BenchError: as there.
    """
    if resolve(dataset).reader == "tfds" and not _cached(dataset, image_size, settings):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            try:
                pool.submit(_fill, dataset, image_size, settings).result()
            except BrokenProcessPool as error:
                raise DatasetError(
                    f"dataset {dataset.name!r}: the process that read it died: out of memory?"
                ) from error
    return open_images(dataset, image_size, settings, progress)


def _cached(dataset: Dataset, image_size: int, settings: Settings) -> bool:
    source = find_source(resolve(dataset), settings)
    signature = source.signature()
    with suppress(DamagedEntryError):
        if signature is None:
            found = picture_cache.newest(settings, source.identity, image_size, sure=False)
            return found is not None
        path = picture_cache.entry_path(settings, source, signature, image_size)
        return picture_cache.read(path, sure=False) is not None
    return False


def _fill(dataset: Dataset, image_size: int, settings: Settings) -> None:
    """In the child: decode into the cache."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the parent's to speak of
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    open_images(dataset, image_size, settings)
