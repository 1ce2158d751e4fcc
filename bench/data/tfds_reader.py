"""TensorFlow Datasets: any of its image-classification datasets, pictures left encoded.

Only ``open`` imports TensorFlow. What is prepared on disk is found by its folders alone
(``name/[config/]version/dataset_info.json``), so that a filled image cache needs no TensorFlow.
"""

import hashlib
import importlib
import json
import os
import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.examples import Contents, Example
from bench.errors import DatasetError, suggestion
from bench.records import SplitName

OFFICIAL: dict[str, SplitName] = {"train": "train", "validation": "val", "test": "test"}
"""TFDS split names with a meaning of their own; pictures of every other split join the pool."""

_NAME = re.compile(
    r"(?P<name>\w+)(/(?P<config>\w[\w.+-]*))?(:(?P<version>[\d*]+\.[\d*]+\.[\d*]+))?"
)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_DOWNLOAD_HOST = "storage.googleapis.com"


@dataclass(frozen=True)
class TfdsSource:
    """One TFDS dataset.

    Attributes:
        dataset: its name in the suite, for messages.
        tfds_name: ``name``, ``name/config``, each with ``:version`` or not.
        data_dir: the TFDS folder; None for TFDS' own default.
    """

    dataset: str
    tfds_name: str
    data_dir: Path | None

    @property
    def name(self) -> str:
        """The TFDS name."""
        return self.tfds_name

    @property
    def identity(self) -> str:
        """The TFDS name: the same on every machine."""
        return f"tfds:{self.tfds_name}"

    @property
    def where(self) -> str:
        """The TFDS folder."""
        return str(self._data_dir)

    @property
    def _data_dir(self) -> Path:
        return self.data_dir or Path("~/tensorflow_datasets").expanduser()

    def signature(self) -> str | None:
        """Hash of the prepared folder's descriptions and of its files' names and sizes."""
        folder = prepared_folder(self.tfds_name, self._data_dir)
        return None if folder is None else _signature(folder)

    def open(self) -> Contents:
        """Open it with TFDS, downloaded and prepared first where it must be.

        Raises:
            DatasetError: TFDS is not installed or does not know it; it is neither here nor can it
                be downloaded; or it is not a dataset for image classification.
        """
        try:
            tfds: Any = importlib.import_module("tensorflow_datasets")
        except ImportError as error:
            raise DatasetError(
                f"dataset {self.dataset!r}: reading {self.tfds_name} needs tensorflow-datasets "
                f"and TensorFlow ({error}), and no image cache holds it at this size"
            ) from error
        _leave_the_gpu_alone()
        builder = self._builder(tfds)
        keys = self._keys(tfds, builder.info.features)
        label = builder.info.features[keys.label]
        class_names = label.names or [str(i) for i in range(label.num_classes)]
        return Contents(
            class_names=tuple(class_names),
            count=sum(s.num_examples for s in builder.info.splits.values()),
            signature=_signature(Path(builder.data_path)),
            examples=self._examples(tfds, builder, keys),
        )

    def _builder(self, tfds: Any) -> Any:
        folder = prepared_folder(self.tfds_name, self._data_dir)
        try:
            if folder is not None:
                return tfds.builder_from_directory(folder)
            builder = tfds.builder(self.tfds_name, data_dir=self._data_dir)
            if not builder.is_prepared():
                self._check_network()
                builder.download_and_prepare()
            return builder
        except DatasetError:
            raise
        except tfds.core.registered.DatasetNotFoundError as error:
            base = re.split("[/:]", self.tfds_name)[0]
            near = suggestion(base, tfds.list_builders(with_community_datasets=False))
            hint = "see tensorflow.org/datasets/catalog" if near.startswith("known:") else near
            raise DatasetError(
                f"dataset {self.dataset!r}: TensorFlow Datasets has no {base!r}: {hint}"
            ) from error
        # TFDS, its downloads and each dataset's own code raise nearly anything.
        except Exception as error:
            self._check_configuration(tfds)
            raise self._not_here(f"{type(error).__name__}: {str(error)[:300]}") from error

    def _check_configuration(self, tfds: Any) -> None:
        """Say what TFDS takes forty lines to say: that there is no such configuration."""
        named = _NAME.fullmatch(self.tfds_name)
        config = named["config"] if named else None
        if named is None or config is None:
            return
        try:
            known = list(tfds.builder_cls(named["name"]).builder_configs)
        except Exception:  # each dataset's own code raises nearly anything
            return
        if config not in known:
            hint = suggestion(config, known) if known else "it has none: leave it out"
            raise DatasetError(
                f"dataset {self.dataset!r}: {named['name']} of TensorFlow Datasets has no "
                f"configuration {config!r}: {hint}"
            )

    def _check_network(self) -> None:
        """TFDS retries for minutes without a network; say so at once instead."""
        downloads = self._data_dir / "downloads"
        if urllib.request.getproxies() or (downloads.is_dir() and any(downloads.iterdir())):
            return
        try:
            socket.getaddrinfo(_DOWNLOAD_HOST, 443)
        except OSError as error:
            raise self._not_here(f"no network: {_DOWNLOAD_HOST}: {error}") from error

    def _not_here(self, reason: str) -> DatasetError:
        return DatasetError(
            f"dataset {self.dataset!r}: no readable {self.tfds_name} in {self._data_dir}, and it "
            f"could not be prepared there ({reason}): set TFDS_DATA_DIR to a folder that holds "
            "it, run once with a network, or use another dataset (digits needs no download)"
        )

    def _keys(self, tfds: Any, features: Any) -> "_Keys":
        found = dict(features.items()) if hasattr(features, "items") else {}
        plain = tfds.features.Image
        images = [k for k, f in found.items() if type(f) is plain and _is_integer(f)]
        labels = [k for k, f in found.items() if isinstance(f, tfds.features.ClassLabel)]
        image, label = _the_one(images, "image"), _the_one(labels, "label")
        if image is None or label is None:
            raise DatasetError(
                f"dataset {self.dataset!r}: {self.tfds_name} is not for image classification: "
                "expected one 8- or 16-bit image and one class label, found "
                f"{len(images)} image(s) and {len(labels)} label(s) in {sorted(found)}"
            )
        return _Keys(image, label, "image/filename" if "image/filename" in found else None)

    def _examples(self, tfds: Any, builder: Any, keys: "_Keys") -> Iterator[Example]:
        wanted = {key for key in (keys.image, keys.label, keys.filename) if key is not None}
        decoders = tfds.decode.PartialDecoding(
            wanted, decoders={keys.image: tfds.decode.SkipDecoding()}
        )
        reading = tfds.ReadConfig(
            interleave_cycle_length=1, add_tfds_id=True, try_autocache=False, shuffle_seed=None
        )
        for split in sorted(builder.info.splits):
            try:
                rows = builder.as_dataset(
                    split=split, decoders=decoders, shuffle_files=False, read_config=reading
                )
                for row in tfds.as_numpy(rows):
                    name = row[keys.filename] if keys.filename else row["tfds_id"]
                    yield Example(
                        id=name.decode("utf-8", "backslashreplace"),
                        encoded=row[keys.image],
                        label=int(row[keys.label]),
                        official=OFFICIAL.get(split),
                    )
            except Exception as error:
                raise DatasetError(
                    f"dataset {self.dataset!r}: cannot read split {split!r} in "
                    f"{builder.data_path}: {type(error).__name__}: {str(error)[:300]}"
                ) from error


@dataclass(frozen=True)
class _Keys:
    image: str
    label: str
    filename: str | None


def is_name(text: str) -> bool:
    """Whether TFDS could know a dataset of this name: ``name[/config][:version]``."""
    return _NAME.fullmatch(text) is not None


def prepared_folder(tfds_name: str, data_dir: Path) -> Path | None:
    """The folder of the newest prepared version that fits the name; None where there is none."""
    match = _NAME.fullmatch(tfds_name)
    if match is None:
        return None
    folder = data_dir / match["name"]
    config = match["config"] or _default_config(folder)
    if config:
        folder = folder / config
    versions = [f for f in folder.glob("*.*.*") if _fits(f, match["version"])]
    return max(versions, key=lambda f: [int(n) for n in f.name.split(".")], default=None)


def _default_config(folder: Path) -> str | None:
    """TFDS notes it beside the configurations; without that note only its code knows."""
    with suppress(OSError, ValueError, KeyError):
        described = json.loads((folder / ".config" / "metadata.json").read_text("utf-8"))
        return str(described["default_config_name"])
    return None


def _fits(folder: Path, wanted: str | None) -> bool:
    if not _VERSION.fullmatch(folder.name):
        return False
    pairs = zip(folder.name.split("."), (wanted or "*.*.*").split("."), strict=True)
    complete = (folder / "dataset_info.json").is_file() and (folder / "features.json").is_file()
    return complete and all(want in ("*", have) for have, want in pairs)


def _signature(folder: Path) -> str:
    """Sizes but not times: a copy on another machine is the same dataset."""
    digest = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.is_file() and f.name[0] != "."):
        digest.update(f"{file.name}\t{file.stat().st_size}\n".encode())
        if file.suffix in (".json", ".txt"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _the_one(keys: list[str], usual: str) -> str | None:
    if usual in keys:
        return usual
    return keys[0] if len(keys) == 1 else None


def _is_integer(feature: Any) -> bool:
    """TFDS stores floating-point images in bytes that no picture format can tell."""
    return str(getattr(feature.np_dtype, "__name__", feature.np_dtype)) in ("uint8", "uint16")


def _leave_the_gpu_alone() -> None:
    """TensorFlow, here only to read files, would take the memory that JAX or PyTorch needs."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        return
    tf: Any = importlib.import_module("tensorflow")
    with suppress(RuntimeError):  # it has started already: too late, and no reason to stop
        tf.config.set_visible_devices([], "GPU")
