"""A folder of images: ``class/picture.jpg``, or ``train/ val/ test/`` above the classes."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.data.examples import Contents, Example
from bench.errors import DatasetError
from bench.records import SplitName

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class FolderSource:
    """Pictures in a folder.

    The folder is split by itself where it holds ``train`` with folders inside, and beside it
    nothing or one of ``val``, ``valid``, ``validation``, ``test``; otherwise each folder in it is
    a class, pictures below it at any depth. Hidden files and linked folders are passed over, and
    so are links that lead out of the folder.

    Attributes:
        dataset: its name in the suite, for messages.
        folder: as the suite gives it; relative to the working directory.
    """

    dataset: str
    folder: str

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self._root.name

    @property
    def identity(self) -> str:
        """The path, so that a carried cache is found where the same path holds no folder."""
        return f"folder:{os.path.normpath(self.folder)}"

    @property
    def where(self) -> str:
        """The absolute path."""
        return str(self._root)

    @property
    def _root(self) -> Path:
        return Path(self.folder).expanduser().absolute()

    def signature(self) -> str | None:
        """Hash of every picture's path, size and time; None where the folder is not there."""
        return self._listing.signature if self._root.is_dir() else None

    def open(self) -> Contents:
        """List the pictures.

        Raises:
            DatasetError: no folder, no pictures, or classes that differ between its splits.
        """
        if not self._root.is_dir():
            what = "is not a folder" if self._root.exists() else "does not exist"
            raise DatasetError(f"dataset {self.dataset!r}: folder {self._root} {what}")
        listing = self._listing
        if not listing.pictures:
            raise DatasetError(
                f"dataset {self.dataset!r}: no pictures in {self._root}: expected "
                f"class/picture with one of {' '.join(sorted(EXTENSIONS))}, or train/ val/ test/ "
                "above the classes"
            )
        classes = self._classes(listing)
        labels = {name: label for label, name in enumerate(classes)}
        examples = [
            Example(p.id, p.path, labels[p.class_name], p.official) for p in listing.pictures
        ]
        return Contents(classes, len(examples), listing.signature, examples, listing.problems)

    @cached_property
    def _listing(self) -> "_Listing":
        try:
            return _list(self._root)
        except OSError as error:
            where, reason = error.filename or self._root, error.strerror or error
            raise DatasetError(
                f"dataset {self.dataset!r}: {where} cannot be read: {reason}: expected a folder "
                "that you may read, with all that is in it"
            ) from error

    def _classes(self, listing: "_Listing") -> tuple[str, ...]:
        expected = listing.classes["train"]
        for split, found in listing.classes.items():
            missing, extra = sorted(expected - found), sorted(found - expected)
            if missing or extra:
                raise DatasetError(
                    f"dataset {self.dataset!r}: the classes in {self._root} differ: "
                    f"only in train: {', '.join(missing) or 'none'}; "
                    f"only in {split}: {', '.join(extra) or 'none'}; "
                    "expected the same class folders in each split"
                )
        return tuple(sorted(expected))


@dataclass(frozen=True)
class _Picture:
    id: str
    path: Path
    class_name: str
    official: SplitName | None


@dataclass(frozen=True)
class _Listing:
    pictures: tuple[_Picture, ...]
    classes: dict[SplitName, frozenset[str]]  # of a folder that is not split: under "train"
    signature: str
    problems: tuple[str, ...]


def _list(root: Path) -> _Listing:
    walk = _Walk(root.resolve())
    pictures: list[_Picture] = []
    classes: dict[SplitName, frozenset[str]] = {}
    for top, official in _tops(root, walk):
        folders = walk.folders(top)
        walk.count_loose(top)
        classes[official or "train"] = frozenset(_text(f.name) for f in folders)
        for folder in folders:
            name = _text(folder.name)
            found = walk.pictures(folder)
            pictures += [
                _Picture(_text(p.relative_to(root).as_posix()), p, name, official) for p in found
            ]
    stats = ((p.id, p.path.stat()) for p in pictures)
    lines = [f"{i}\t{s.st_size}\t{s.st_mtime_ns}" for i, s in stats]
    # Class folders without pictures are part of what the folder says.
    lines += [f"{split}\t{name}" for split, found in classes.items() for name in sorted(found)]
    signature = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return _Listing(tuple(pictures), classes, signature, walk.problems())


def _tops(root: Path, walk: "_Walk") -> list[tuple[Path, SplitName | None]]:
    """The folders above the classes: the splits, or the folder itself."""
    visible = walk.folders(root)
    splits = {f: SPLIT_FOLDERS[f.name.lower()] for f in visible if f.name.lower() in SPLIT_FOLDERS}
    train = [f for f, split in splits.items() if split == "train"]
    # "train" is also a class of vehicles: only with company, or alone, does it mean the split.
    if not train or (len(splits) == 1 and len(visible) > 1) or not walk.folders(train[0]):
        return [(root, None)]
    for split, times in Counter(splits.values()).items():
        if times > 1:
            same = ", ".join(f.name for f, s in splits.items() if s == split)
            raise DatasetError(f"{root}: more than one folder for {split}: {same}: expected one")
    for folder in visible:
        if folder not in splits:
            walk.passed_over(folder.name, "a folder beside train")
    return list(splits.items())


class _Walk:
    """Lists what is visible in folders, and remembers what it passed over."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._passed_over: dict[str, str] = {}
        self._other_files: Counter[str] = Counter()
        self._loose: dict[str, int] = {}

    def folders(self, top: Path) -> list[Path]:
        """Folders directly in ``top``, sorted."""
        names = sorted(f.name for f in top.iterdir() if f.is_dir())
        return [top / name for name in self._own(top, names)]

    def pictures(self, folder: Path) -> Iterator[Path]:
        """Files below ``folder`` whose names say that they are pictures, sorted."""
        for here, folders, files in os.walk(folder, onerror=_raise):
            folders[:] = self._own(Path(here), sorted(folders))
            for name in sorted(f for f in files if not f.startswith(".")):
                path = Path(here, name)
                if path.suffix.lower() not in EXTENSIONS:
                    self._other_files[path.suffix.lower() or "no extension"] += 1
                elif path.is_symlink() and not path.exists():
                    self.passed_over(name, "a link to nothing")
                elif self._leads_out(path):
                    self.passed_over(name, "a link out of the folder")
                elif not path.is_file():  # whoever opens a pipe waits for somebody to write to it
                    self.passed_over(name, "not a regular file")
                else:
                    yield path

    def count_loose(self, top: Path) -> None:
        """Pictures directly in ``top``, beside the classes: nothing says what is on them."""
        files = (f for f in top.iterdir() if f.is_file() and not f.name.startswith("."))
        if loose := sum(f.suffix.lower() in EXTENSIONS for f in files):
            self._loose[_text(top.name)] = loose

    def passed_over(self, name: str, why: str) -> None:
        self._passed_over[_text(name)] = why

    def problems(self) -> tuple[str, ...]:
        lines = [f"{name}: {why}: not read" for name, why in self._passed_over.items()]
        for name, count in self._loose.items():
            lines.append(f"pictures in {name} that are in no class folder, not read: {count}")
        if self._other_files:
            kinds = ", ".join(f"{kind} ({n})" for kind, n in sorted(self._other_files.items()))
            lines.append(f"files that are not pictures by their names, not read: {kinds}")
        return tuple(lines)

    def _own(self, here: Path, names: list[str]) -> list[str]:
        visible = [n for n in names if not n.startswith(".")]
        for name in visible:
            if (here / name).is_symlink():
                self.passed_over(name, "a linked folder")
        return [n for n in visible if not (here / n).is_symlink()]

    def _leads_out(self, path: Path) -> bool:
        if not path.is_symlink():
            return False
        target = path.resolve()
        return not (target.is_relative_to(self._root) and target.is_file())


def _raise(error: OSError) -> None:
    raise error


def _text(name: str) -> str:
    """File names need not be valid Unicode; JSON and hashes do."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
