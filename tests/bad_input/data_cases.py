"""Datasets that are wrong: folders, and names of TensorFlow Datasets without a network."""

# ruff: noqa: E501 - one case a line

from pathlib import Path

from bench.data.tfds_reader import TfdsSource

from .cases import Accepted, Case
from .making import Make, also, both, empty, encoded, linked, pictures, suite, text

AREA = "datasets"
LOOK = ("data", "pets", "--backbone", "none")
GOOD = pictures("cat", "dog")


def _look(
    id_: str,
    make: Make,
    names: str,
    remedy: str,
    what: str = "pets",
    denied: tuple[str, ...] = (),
    caches: bool = False,
) -> Case:
    words = ("data", what, "--backbone", "none")
    said = tuple(names.split("|"))
    return Case(id_, AREA, words, said, (remedy,), make, denied=denied, caches=caches)


def _odd(id_: str, make: Make, *says: str) -> Accepted:
    return Accepted(id_, AREA, LOOK, says, make)


def _own(line: str) -> Make:
    """A suite on a dataset of its own."""
    return suite('["digits"]', '["pets"]', f'[[datasets]]\nname = "pets"\n{line}\n')


def _tfds(id_: str, tfds: str, names: str, remedy: str) -> Case:
    """A name of TensorFlow Datasets that cannot be had; the network is the one of this process."""

    def read(folder: Path) -> object:
        return TfdsSource(tfds.partition("/")[0], tfds, folder / "tfds").open()

    words = ("data", f"tfds:{tfds}")
    return Case(id_, AREA, words, (tfds.partition("/")[0], names), (remedy,), call=read, slow=True)


def _odd_bytes(folder: Path) -> None:
    """A class whose name is no Unicode, and one of every character a shell minds."""
    pictures("cat", "a 'b' \"c\" $d;\\e\n\x1b[31m", "=1+1", "ünïcode 猫")(folder)
    (folder / "pets" / "cat").rename(Path(str(folder / "pets" / "caf") + "\udce9"))


CASES = (
    _look("no-such-folder", empty(), "'photos/pets'", "a folder of class folders", "photos/pets"),
    _look("file-for-folder", text("pets", "x"), "'pets' is a file", "a folder of class folders"),
    _look("empty-name", empty(), "dataset ''", "a folder of class folders", ""),
    _look("null-byte-in-name", empty(), "null", "a folder of class folders", "pe\0ts"),
    _look("name-too-long", empty(), "File name too long", "a folder of class folders", "a" * 300),
    _look("empty-folder", empty("pets"), "no pictures in|pets", "expected class/picture"),
    _look("files-in-the-root", both(text("pets/a.png", encoded()), text("pets/b.png", encoded())), "pets", "expected class/picture"),
    _look("one-class", pictures("cat", "", top="pets"), "'pets'", "at least two", caches=True),
    _look("folder-in-a-folder", pictures("cat", "dog", top="pets/inner"), "'inner'", "give that one?"),
    _look("no-pictures-by-name", both(text("pets/cat/a.txt", "x"), text("pets/dog/b.raw", "x")), "no pictures in", ".jpg"),
    _look("no-readable-picture", both(text("pets/cat/a.png", "x"), text("pets/dog/b.png", "")), "none of its pictures can be read", "not a picture", caches=True),
    _look("one-picture-each", pictures("cat", "dog", count=1), "2 pictures are too few to split", "at least three different pictures", caches=True),
    _look("no-permission", GOOD, "Permission denied", "a folder that you may read", denied=("pets",)),
    _look("no-permission-in-a-class", GOOD, "Permission denied|cat", "a folder that you may read", denied=("pets/cat",)),
    _look("link-to-itself", linked("pets", "pets"), "'pets'", "a folder of class folders"),
    _look("dangling-link", linked("pets", "gone"), "'./pets' does not exist", "a folder of class folders", "./pets"),
    _look("splits-with-other-classes", both(pictures("cat", "dog", top="pets/train"), pictures("cat", "bird", top="pets/test")), "only in train: dog|only in test: bird", "the same class folders in each split"),
    _look("two-folders-for-val", both(*(pictures("cat", "dog", top=f"pets/{s}") for s in ("train", "val", "valid"))), "more than one folder for val", "expected one"),
    Case("suite-folder-is-not-there", AREA, ("run", "suite.toml"), ("'pets'", "gone"), ("not there",), _own('folder = "gone"')),
    Case("suite-folder-empty-text", AREA, ("run", "suite.toml"), ("folder",), ("the path of a folder of pictures",), _own('folder = ""')),
    Case("suite-tfds-empty-text", AREA, ("run", "suite.toml"), ("tfds",), ("a name of TensorFlow Datasets",), _own('tfds = ""')),
    Case("suite-tfds-a-path", AREA, ("run", "suite.toml"), ("'../../x'",), ("a name of TensorFlow Datasets",), _own('tfds = "../../x"')),
    _tfds("unknown-to-tfds", "beens", "no 'beens'", "did you mean beans?"),
    _tfds("tfds-without-network", "beans", "no network", "set TFDS_DATA_DIR to a folder that holds it"),
    _tfds("tfds-configuration-unknown", "beans/nosuch", "'nosuch'", "leave it out"),
    _tfds("tfds-configuration-misspelt", "imagenet_resized/32x23", "'32x23'", "did you mean 32x32"),
    Case("data-image-size", AREA, ("data", "pets", "--image-size", "5"), ("--image-size 5",), ("greater than or equal to 32",), GOOD),
    Case("data-unknown-backbone", AREA, ("data", "pets", "--backbone", "MobileNetV4"), ("'MobileNetV4'",), ("did you mean MobileNetV2",), GOOD),
    Case("data-file-without-preprocessing", AREA, ("data", "pets", "--backbone", "my.keras"), ("my.keras",), ("--preprocessing",), GOOD),
    Case("data-file-not-there", AREA, ("data", "pets", "--backbone", "my.keras", "--preprocessing", "raw"), ("my.keras",), ("BENCH_WEIGHTS_DIR",), GOOD),
)  # fmt: skip

ACCEPTED = (
    _odd("class-names-of-odd-characters", _odd_bytes, "caf\\xe9", "=1+1", "ünïcode 猫"),
    _odd("loop-of-links", both(GOOD, linked("pets/cat/again", "../..")), "not used: again: a linked folder"),
    _odd("link-out-of-the-folder", both(GOOD, text("secret.png", encoded()), linked("pets/cat/x.png", "../../secret.png")), "not used: x.png: a link out of the folder"),
    _odd("dangling-link-to-a-picture", both(GOOD, linked("pets/cat/x.png", "gone.png")), "not used: x.png: a link to nothing"),
    _odd("class-without-pictures", both(GOOD, empty("pets/bird")), "bird"),
    _odd("files-beside-the-classes", also("stray.png", encoded()), "in no class folder: 1"),
    _odd("hidden-files", both(GOOD, text("pets/cat/.DS_Store", "x"), text("pets/.git/x.png", "x")), "8 pictures"),
    _odd("files-of-other-kinds", also("cat/notes.txt", b"x"), ".txt (1)"),
)  # fmt: skip
