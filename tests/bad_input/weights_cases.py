"""Weights and ``.keras`` files that are wrong."""

# ruff: noqa: E501 - one case a line

import os
import zipfile
from pathlib import Path

import crafted
import h5py

from .cases import Accepted, Case
from .making import Make, both, empty, encoded, linked, suite, text

AREA = "weights"
RUN = ("run", "suite.toml")
NUMBERS = 2_257_984
"""Of MobileNetV2 without its top."""
OURS = "expected layers and operations of Keras alone"
FOREIGN = "weights of other frameworks are not read: set them in Keras once"
SAVED = "model.save('NAME.keras')"
ALONE = "model.save_weights('NAME.weights.h5')"


def _stated(name: str) -> Make:
    """A suite whose backbone's weights are that file."""
    return suite("seeds = [0, 1]\n", f"seeds = [0, 1]\nweights = {name!r}\n")


def _own(name: str = "mine.keras", more: str = 'preprocessing = "raw"') -> Make:
    """A suite whose backbone is that file."""
    table = f'[[backbones]]\nname = "mine"\nfile = {name!r}\n{more}\n'
    return suite('["MobileNetV2"]', '["mine"]', table)


def _weights(
    id_: str,
    make: Make,
    names: str,
    remedy: str,
    stated: str = "w.h5",
    words: tuple[str, ...] = RUN,
) -> Case:
    return Case(id_, AREA, words, tuple(names.split("|")), (remedy,), both(_stated(stated), make))


def _file(
    id_: str,
    make: Make,
    names: str,
    remedy: str,
    words: tuple[str, ...] = RUN,
    caches: bool = False,
) -> Case:
    return Case(
        id_,
        AREA,
        words,
        ("mine.keras", *names.split("|")),
        (remedy,),
        both(_own(), make),
        caches=caches,
    )


def _keras(config: crafted.Config | bytes | None = None, **how: object) -> Make:
    return lambda folder: crafted.keras_file(folder / "mine.keras", config, **how)


def _holding(kind: str) -> Make:
    return _keras(crafted.model(crafted.DANGEROUS[kind]))


def _h5(fill: object = lambda _: None, numbers: int = NUMBERS, name: str = "w.h5") -> Make:
    return lambda folder: crafted.hdf5(folder / name, fill, numbers)


def _cut(make: Make, name: str, kept: float) -> Make:
    """A file without its end."""

    def cut(folder: Path) -> None:
        make(folder)
        path = folder / name
        os.truncate(path, int(path.stat().st_size * kept))

    return cut


def _external(file: h5py.File) -> None:
    file.create_dataset("stolen", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def _link(file: h5py.File) -> None:
    file["stolen"] = h5py.ExternalLink("/etc/passwd", "/")


def _huge(file: h5py.File) -> None:
    file.create_dataset("huge", (2**40,), "f4", chunks=(2**16,), compression="gzip")


def _whole(file: h5py.File) -> None:
    file.attrs["model_config"] = "{}"


def _lying(folder: Path) -> None:
    crafted.claiming(crafted.keras_file(folder / "mine.keras"), "config.json", 2**32 - 2)


def _predict(id_: str, make: Make, names: str, remedy: str, model: str = "mine.keras") -> Case:
    words = ("predict", model, "a.png")
    also = both(text("a.png", encoded()), make)
    return Case(id_, AREA, words, (model, *names.split("|")), (remedy,), also)


HTML = "<!DOCTYPE html><html><title>404</title></html>"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
CHOOSE = ("choose", "digits", "--backbones", "mine.keras")
DATA = (
    "data",
    "digits",
    "--backbone",
    "mine.keras",
    "--preprocessing",
    "raw",
    "--image-size",
    "64",
)

CASES = (
    # weights alone
    _weights("file-not-there", empty(), "'w.h5'|looked for", "BENCH_WEIGHTS_DIR"),
    _weights("file-is-a-folder", empty("w.h5"), "'w.h5'", "BENCH_WEIGHTS_DIR"),
    _weights("dangling-link", linked("w.h5", "gone"), "'w.h5'", "BENCH_WEIGHTS_DIR"),
    _weights("empty-file", text("w.h5", ""), "w.h5 is empty", "expected"),
    _weights("web-page-as-h5", text("w.h5", HTML), "w.h5 is a web page", "download it again"),
    _weights("lfs-pointer", text("w.h5", LFS), "w.h5 is a Git LFS pointer", "git lfs pull"),
    _weights("zip-as-h5", text("w.h5", b"PK\x03\x04 and more"), "w.h5 is not a whole HDF5 file", "expected"),
    _weights("h5-truncated", _cut(_h5(), "w.h5", 0.5), "w.h5 is not a whole HDF5 file|truncated", "expected"),
    _weights("of-another-backbone", _h5(numbers=23_587_712), "w.h5 does not fit MobileNetV2|23,587,712", "weights of MobileNetV2 without its top"),
    _weights("with-a-top", _h5(numbers=3_538_984), "w.h5 does not fit MobileNetV2", "without its top"),
    _weights("without-numbers", _h5(numbers=0), "holds 0 numbers", "weights of MobileNetV2"),
    _weights("whole-model-in-old-format", _h5(_whole), "w.h5 is a whole model in the old HDF5 format", ALONE),
    _weights("link-to-another-file", _h5(_link), "w.h5 has an entry 'stolen' that is a link", ALONE),
    _weights("array-in-another-file", _h5(_external), "w.h5 has an array 'stolen' that is read from other files", ALONE),
    _weights("claims-terabytes", _h5(_huge), "far more than the file holds", ALONE),
    _weights("pytorch-pt", text("w.pt", b"x"), "'w.pt'|.h5", FOREIGN, "w.pt"),
    _weights("pytorch-pth", text("w.pth", b"x"), "'w.pth'", FOREIGN, "w.pth"),
    _weights("pytorch-bin", text("w.bin", b"x"), "'w.bin'", FOREIGN, "w.bin"),
    _weights("safetensors", text("w.safetensors", b"x"), "'w.safetensors'", FOREIGN, "w.safetensors"),
    _weights("pickle", text("w.pkl", b"cos\nsystem\n(S'true'\ntR."), "'w.pkl'", FOREIGN, "w.pkl"),
    _weights("numpy", text("w.npz", b"x"), "'w.npz'", FOREIGN, "w.npz"),
    _weights("keras-file-as-weights", _keras(), "'mine.keras'", ".h5", "mine.keras"),
    _weights("unknown-word", empty(), "'imagnet'", "imagenet, random", "imagnet"),
    _weights("name-too-long", empty(), "File name too long", "expected the name of a file", "a" * 300 + ".h5"),
    _weights("home-of-nobody", empty(), "'~nobody-of-that-name/w.h5'", "expected the name of a file", "~nobody-of-that-name/w.h5"),
    Case("bad-file-in-the-weights-folder", AREA, RUN, ("kept/MobileNetV2.weights.h5 is a web page",), ("download it again",), both(suite(), text("kept/MobileNetV2.weights.h5", HTML)), {"BENCH_WEIGHTS_DIR": "kept"}),
    # .keras files
    Case("keras-without-preprocessing", AREA, RUN, ("backbones[0].preprocessing",), ("minus_one_to_one",), both(_own(more=""), _keras())),
    Case("keras-of-another-ending", AREA, RUN, ("'mine.h5'",), ("ending in .keras",), both(_own("mine.h5"), _h5(name="mine.h5"))),
    _file("keras-not-there", empty(), "looked for", "BENCH_WEIGHTS_DIR"),
    _file("keras-empty", text("mine.keras", ""), "is empty", "expected"),
    _file("web-page-as-keras", text("mine.keras", HTML), "is a web page", "download it again"),
    _file("h5-as-keras", _h5(name="mine.keras"), "is not a whole .keras file", SAVED),
    _file("keras-truncated", _cut(_keras(), "mine.keras", 0.7), "is not a whole .keras file", SAVED),
    _file("keras-without-config", _keras(members={"config.json": None}), "no config.json", SAVED),
    _file("keras-without-weights", _keras(members={"model.weights.h5": None}), "no model.weights.h5", SAVED),
    _file("keras-config-no-json", _keras(b"{"), "damaged", SAVED),
    _file("keras-config-deep", _keras(b"[" * 100_000), "nested too deeply", SAVED),
    _file("keras-weights-damaged", _keras(members={"model.weights.h5": b"x"}), "model.weights.h5 is not a whole HDF5 file", "expected"),
    _file("keras-weights-link-out", _keras(members={"model.weights.h5": crafted.weights(_link)}), "model.weights.h5 has an entry 'stolen' that is a link", ALONE),
    _file("keras-climbs-out", _keras(members={"../evil.py": b"x"}), "'../evil.py' is none that layers of Keras have", SAVED),
    _file("keras-bomb", _keras(members={"model.weights.h5": b"\0" * 2**24}, compression=zipfile.ZIP_DEFLATED), "claims 16,777,216 bytes", SAVED),
    _file("keras-lies-of-its-size", _lying, "claims 4,294,967,294 bytes", SAVED),
    _file("keras-with-assets", _keras(members={"assets/0": bytes(2**20)}, compression=zipfile.ZIP_DEFLATED), "'assets/0' is none that layers of Keras have", SAVED),
    _file("keras-imports-its-tests", _keras(crafted.model(crafted.DANGEROUS["class-of-a-test-of-keras"])), "flatten_test", OURS),
    _file("keras-lambda", _holding("lambda"), "'trick' is a Lambda", "write it with keras.ops"),
    _file("keras-lambda-hidden", _holding("lambda-in-a-model-in-a-model"), "'trick' is a Lambda", "write it with keras.ops"),
    _file("keras-class-of-its-own", _holding("unregistered-class"), "'trick'|'mine>Scale'", OURS),
    _file("keras-of-another-package", _holding("class-of-another-package"), "'subprocess.Popen'", OURS),
    _file("keras-downloads", _holding("function-that-downloads"), "'keras.utils.get_file'", OURS),
    _file("keras-reads-a-vocabulary", _holding("vocabulary-file"), "'keras.layers.StringLookup'", OURS),
    _file("keras-loads-a-saved-model", _holding("another-saved-model"), "'keras.layers.TFSMLayer'", OURS),
    _file("keras-unpickles", _holding("a-torch-module"), "'keras.layers.TorchModuleWrapper'", OURS),
    _file("keras-two-outputs", _keras(crafted.model(gives=2)), "is no backbone: it has 2 outputs", "expected one feature map"),
    _file("keras-grey", _keras(crafted.model(crafted.pictures(None, 32, 32, 1))), "is no backbone: it has inputs [(None, 32, 32, 1)]", "expected one input of pictures"),
    # _file("keras-lambda-measured", _holding("lambda"), "'trick' is a Lambda", "write it with keras.ops", ("measure", "suite.toml")),
    _file("keras-lambda-chosen", _holding("lambda"), "'trick' is a Lambda", "write it with keras.ops", CHOOSE, caches=True),
    _file("keras-lambda-looked-with", _holding("lambda"), "'trick' is a Lambda", "write it with keras.ops", DATA, caches=True),
    # predicting
    _predict("predict-lambda", _holding("lambda"), "'trick' is a Lambda", "write it with keras.ops"),
    _predict("predict-downloads", _holding("function-that-downloads"), "'keras.utils.get_file'", OURS),
    _predict("predict-climbs-out", _keras(members={"/etc/evil": b"x"}), "'/etc/evil' is none that layers of Keras have", SAVED),
    _predict("predict-web-page", text("mine.keras", HTML), "is a web page", "download it again"),
    _predict("predict-not-there", empty(), "there is no such model", "expected", "gone.keras"),
    _predict("predict-pickle", text("m.pkl", b"cos\nsystem\n(S'true'\ntR."), "by its ending", ".keras, .onnx", "m.pkl"),
    _predict("predict-h5", _h5(_whole, name="m.h5"), "by its ending", ".keras, .onnx", "m.h5"),
    _predict("predict-empty-folder", empty("model"), "SavedModel", "expected", "model"),
)  # fmt: skip

ACCEPTED: tuple[Accepted, ...] = ()
