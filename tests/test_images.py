import io
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import cache
from bench.cache import checksums
from bench.cache.folders import now
from bench.data import images, picture_cache
from bench.data.decoding import UnreadablePictureError, decode
from bench.data.examples import Contents, Example
from bench.data.images import Images, open_images
from bench.errors import CacheError, DatasetError
from bench.records import Dataset
from bench.settings import Settings

# ------------------------------------------------------------------------------------ decoding


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def colour(pixels: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in np.round(pixels.reshape(-1, 3).mean(0)))


RED = Image.new("RGB", (40, 30), (255, 0, 0))
PALETTE = Image.new("RGB", (40, 30), (255, 0, 0)).convert("P")
FRAMES = [Image.new("RGB", (40, 30), c) for c in ("red", "blue")]
GREY_16 = Image.fromarray(np.full((30, 40), 128 * 257, np.uint16))


def palette_with_hole() -> bytes:
    image = Image.new("P", (40, 30), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    return encoded(image, "GIF", transparency=0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(encoded(RED), (255, 0, 0), id="rgb"),
        pytest.param(encoded(RED, "JPEG", quality=95), (254, 0, 0), id="jpeg"),
        pytest.param(encoded(RED, "BMP"), (255, 0, 0), id="bmp"),
        pytest.param(encoded(RED, "TIFF"), (255, 0, 0), id="tiff"),
        pytest.param(encoded(RED, "WEBP", lossless=True), (255, 0, 0), id="webp"),
        pytest.param(encoded(PALETTE), (255, 0, 0), id="palette"),
        pytest.param(encoded(PALETTE, "GIF"), (255, 0, 0), id="gif"),
        pytest.param(encoded(Image.new("L", (9, 9), 77)), (77, 77, 77), id="grey"),
        pytest.param(encoded(Image.new("1", (9, 9), 1)), (255, 255, 255), id="one bit"),
        pytest.param(encoded(GREY_16), (128, 128, 128), id="16-bit grey"),
        pytest.param(encoded(GREY_16, "TIFF"), (128, 128, 128), id="16-bit tiff"),
        pytest.param(
            encoded(Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "JPEG", quality=95),
            (254, 0, 0),
            id="cmyk",
        ),
        pytest.param(
            encoded(Image.new("RGBA", (9, 9), (255, 0, 0, 0))), (255, 255, 255), id="transparent"
        ),
        pytest.param(
            encoded(Image.new("RGBA", (9, 9), (0, 0, 0, 128))), (127, 127, 127), id="half"
        ),
        pytest.param(encoded(Image.new("LA", (9, 9), (0, 0))), (255, 255, 255), id="grey alpha"),
        pytest.param(palette_with_hole(), (255, 255, 255), id="palette with a hole"),
        pytest.param(
            encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
            (255, 0, 0),
            id="animated gif",
        ),
        pytest.param(
            encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]),
            (255, 0, 0),
            id="animated png",
        ),
        pytest.param(encoded(Image.new("RGB", (1, 1), (9, 8, 7))), (9, 8, 7), id="one pixel"),
        pytest.param(encoded(Image.new("RGB", (1, 900), (9, 8, 7))), (9, 8, 7), id="one column"),
    ],
)
def test_every_kind_of_picture_becomes_rgb(content: bytes, expected: tuple[int, ...]) -> None:
    pixels = decode(content, 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(np.subtract(colour(pixels), expected)).max() <= 1


HALVES = Image.new("RGB", (64, 32), "black")
HALVES.paste((255, 255, 255), (0, 0, 32, 32))  # white left half


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("orientation", "white"),
    [(1, "left"), (2, "right"), (3, "right"), (6, "top"), (8, "bottom")],
)
def test_exif_orientation_is_applied(kind: str, orientation: int, white: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(encoded(HALVES, kind, exif=exif), 8).astype(int)
    halves = {
        "left": pixels[:, :3],
        "right": pixels[:, 5:],
        "top": pixels[:3],
        "bottom": pixels[5:],
    }
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[white]
    assert halves[white].mean() > 240
    assert halves[opposite].mean() < 15


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_costs_no_picture() -> None:
    content = encoded(
        RED, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12garbage"
    )
    assert decode(content, 8).shape == (8, 8, 3)


def test_large_jpegs_stay_close_to_a_full_decode() -> None:
    y, x = np.mgrid[0:1200, 0:1600]
    waves = np.stack([np.sin(x / 37), np.sin(y / 23), np.sin((x + y) / 51)], -1)
    picture = Image.fromarray((127 + 120 * waves).astype(np.uint8))
    content = encoded(picture, "JPEG", quality=95)
    full = Image.open(io.BytesIO(content)).resize((64, 64), Image.Resampling.BILINEAR)
    difference = np.abs(decode(content, 64).astype(int) - np.asarray(full).astype(int))
    assert difference.mean() < 1.5


def test_reduction_is_antialiased() -> None:
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = decode(encoded(Image.fromarray(checks)), 16)
    assert np.abs(pixels.astype(int) - 127).max() <= 2


def bomb() -> bytes:
    return encoded(Image.new("1", (10_000, 10_000)))


BROKEN = {
    "empty.jpg": (b"", "empty"),
    "html.jpg": (b"<!DOCTYPE html><html>not found</html>", "not a picture.*DOCTYPE"),
    "cut.jpg": (encoded(HALVES.resize((300, 300)), "JPEG")[:900], "truncated"),
    "cut.png": (encoded(Image.effect_noise((64, 64), 50))[:900], "OSError|SyntaxError|truncated"),
    "noise.jpg": (bytes(range(256)) * 8, "not a picture"),
    "bomb.png": (bomb(), "exceed Pillow's limit"),
    "float.tif": (encoded(Image.new("F", (8, 8), 0.5), "TIFF"), "no known range"),
    "eps.jpg": (encoded(RED, "EPS"), "not a picture"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_decoded_says_why(name: str) -> None:
    content, reason = BROKEN[name]
    with pytest.raises(UnreadablePictureError, match=reason):
        decode(content, 16)


def test_a_bomb_that_pillow_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadablePictureError, match="decompression bomb"):
        decode(encoded(RED), 16)


# --------------------------------------------------------------------------------- open_images


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache", tfds=tmp_path / "tfds")


@pytest.fixture
def mine(tmp_path: Path) -> Dataset:
    return folder_of_pictures(tmp_path / "mine")


def folder_of_pictures(root: Path, per_class: int = 10) -> Dataset:
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            shade = (label * 200, number * 20 % 256, number)
            Image.new("RGB", (30, 20), shade).save(root / name / f"{number}.png")
    return Dataset(name="mine", folder=str(root))


class CountedDecode:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self._lock = 0, threading.Lock()
        monkeypatch.setattr(images, "decode", self)

    def __call__(self, content: bytes, size: int) -> Any:
        with self._lock:
            self.calls += 1
        return decode(content, size)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> CountedDecode:
    return CountedDecode(monkeypatch)


def entry_folders(settings: Settings) -> list[Path]:
    return sorted(p for p in (settings.cache / "images").glob("[!.]*") if p.is_dir())


def leftovers(settings: Settings) -> list[Path]:
    return [p for p in (settings.cache / "images").glob(".*") if p.is_dir()]


def same(one: Images, other: Images) -> bool:
    return bool(
        np.array_equal(one.pixels, other.pixels)
        and np.array_equal(one.labels, other.labels)
        and (one.hashes, one.ids, one.official, one.class_names, one.problems)
        == (other.hashes, other.ids, other.official, other.class_names, other.problems)
    )


def test_what_is_opened(mine: Dataset, settings: Settings) -> None:
    seen: list[tuple[int, int]] = []
    opened = open_images(mine, 16, settings, lambda done, of: seen.append((done, of)))
    assert opened.pixels.shape == (20, 16, 16, 3)
    assert isinstance(opened.pixels, np.memmap)
    assert not opened.pixels.flags.writeable
    assert opened.pixels.dtype == np.uint8
    assert opened.labels.tolist() == [0] * 10 + [1] * 10
    assert opened.class_names == ("cat", "dog")
    assert opened.ids[10] == "dog/0.png"
    assert colour(opened.pixels[12]) == (200, 40, 2)
    assert opened.official == (None,) * 20
    assert len(set(opened.hashes)) == 20
    assert all(len(h) == 64 for h in opened.hashes)
    assert opened.problems == opened.notes == opened.caveats == ()
    assert seen == [(n, 20) for n in range(1, 21)]


def test_the_second_time_nothing_is_decoded(
    mine: Dataset, settings: Settings, counted: CountedDecode
) -> None:
    first = open_images(mine, 16, settings)
    assert counted.calls == 20
    second = open_images(mine.model_copy(update={"name": "other"}), 16, settings)
    assert counted.calls == 20
    assert same(first, second)
    open_images(mine, 24, settings)
    assert counted.calls == 40
    assert len(entry_folders(settings)) == 2


def test_a_changed_source_is_decoded_again(mine: Dataset, settings: Settings) -> None:
    open_images(mine, 16, settings)
    assert mine.folder
    Image.new("RGB", (30, 20), "blue").save(Path(mine.folder) / "cat" / "new.png")
    assert len(open_images(mine, 16, settings).labels) == 21


def test_another_decoding_version_is_another_entry(
    mine: Dataset, settings: Settings, counted: CountedDecode, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_images(mine, 16, settings)
    monkeypatch.setattr(picture_cache, "DECODING_VERSION", 999)
    open_images(mine, 16, settings)
    assert counted.calls == 40


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_pictures_are_left_out_and_named(mine: Dataset, settings: Settings) -> None:
    assert mine.folder
    for name, (content, _) in BROKEN.items():
        (Path(mine.folder) / "cat" / name).write_bytes(content)
    for _ in range(2):
        opened = open_images(mine, 16, settings)
        assert len(opened.labels) == len(opened.pixels) == len(opened.ids) == 20
        assert {p.split(":")[0] for p in opened.problems} == {f"cat/{name}" for name in BROKEN}
        assert colour(opened.pixels[12]) == (200, 40, 2)


def made_source(monkeypatch: pytest.MonkeyPatch, examples: list[Example]) -> None:
    class Made:
        name = identity = where = "made"

        def signature(self) -> str:
            return "s"

        def open(self) -> Contents:
            return Contents(("a", "b"), len(examples), "s", examples)

    monkeypatch.setattr(images, "find_source", lambda *_: Made())


def test_a_file_that_vanishes_before_it_is_read(
    mine: Dataset, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [Example(str(i), encoded(RED), i % 2) for i in range(4)]
    made_source(monkeypatch, [*good, Example("gone.png", tmp_path / "gone.png", 0)])
    opened = open_images(mine, 16, settings)
    assert opened.ids == ("0", "1", "2", "3")
    assert opened.problems == ("gone.png: cannot be read: No such file or directory",)


def test_nothing_readable(tmp_path: Path, settings: Settings) -> None:
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "x.jpg").write_bytes(b"nope")
    with pytest.raises(DatasetError, match=r"none of its pictures can be read: a/x.jpg: not a"):
        open_images(Dataset(name="bad", folder=str(tmp_path / "bad")), 16, settings)
    assert entry_folders(settings) == leftovers(settings) == []


def test_pictures_without_a_label_are_counted(
    mine: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [Example(str(i), encoded(RED), i % 2) for i in range(4)]
    examples += [Example(f"t{i}", encoded(RED), -1, "test") for i in range(3)]
    made_source(monkeypatch, examples)
    opened = open_images(mine, 16, settings)
    assert len(opened.labels) == 4
    assert "test" not in opened.official
    assert opened.problems == ("test: 3 pictures without a label",)


def test_a_build_that_is_cut_off_leaves_no_entry(
    mine: Dataset, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, of: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_images(mine, 16, settings, interrupt)
    assert entry_folders(settings) == leftovers(settings) == []
    assert len(open_images(mine, 16, settings).labels) == 20


def test_a_killed_build_is_never_used_and_cleaned_up(tmp_path: Path, settings: Settings) -> None:
    dataset = folder_of_pictures(tmp_path / "mine")
    code = f"""
        import os, pathlib
        from bench.data.images import open_images
        from bench.records import Dataset
        from bench.settings import Settings
        def die(done, of):
            if done == 12: os._exit(9)
        open_images(Dataset(name="mine", folder={dataset.folder!r}), 16,
                    Settings(cache=pathlib.Path({str(settings.cache)!r})), die)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
    assert done.returncode == 9
    assert len(leftovers(settings)) == 1
    assert entry_folders(settings) == []
    assert cache.entries(settings) == []
    assert len(open_images(dataset, 16, settings).labels) == 20
    assert leftovers(settings) == []


def test_two_processes_build_one_entry(tmp_path: Path, settings: Settings) -> None:
    dataset = folder_of_pictures(tmp_path / "mine", per_class=100)
    code = f"""
        import pathlib
        from bench.data.images import open_images
        from bench.records import Dataset
        from bench.settings import Settings
        opened = open_images(Dataset(name="mine", folder={dataset.folder!r}), 64,
                             Settings(cache=pathlib.Path({str(settings.cache)!r})))
        print(opened.pixels.shape, int(opened.pixels.sum()))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0, 0]
    assert len(said) == 1
    assert len(entry_folders(settings)) == 1
    assert leftovers(settings) == []


def truncate(entry: Path) -> None:
    with (entry / "pixels.npy").open("r+b") as file:
        file.truncate(1000)


def lengthen(entry: Path) -> None:
    with (entry / "pixels.npy").open("ab") as file:
        file.write(b"more")


def other_size(entry: Path) -> None:
    np.save(entry / "pixels.npy", np.zeros((20, 8, 8, 3), np.uint8))


def pickled(entry: Path) -> None:
    np.save(entry / "pixels.npy", np.array([object()]), allow_pickle=True)


def fewer_labels(entry: Path) -> None:
    with np.load(entry / "examples.npz") as arrays:
        kept = {key: arrays[key] for key in arrays.files}
    np.savez(entry / "examples.npz", **{**kept, "labels": kept["labels"][:-1]})


DAMAGE = [
    pytest.param(truncate, id="truncated pixels"),
    pytest.param(lengthen, id="pixels too long"),
    pytest.param(other_size, id="pixels of another size"),
    pytest.param(pickled, id="a pickle"),
    pytest.param(fewer_labels, id="labels missing"),
    pytest.param(lambda e: (e / "pixels.npy").write_bytes(b""), id="empty pixels"),
    pytest.param(lambda e: (e / "pixels.npy").unlink(), id="no pixels"),
    pytest.param(lambda e: (e / "examples.npz").unlink(), id="no examples"),
    pytest.param(lambda e: (e / "examples.npz").write_bytes(b"PK"), id="damaged examples"),
    pytest.param(lambda e: (e / "manifest.json").write_text("{"), id="damaged manifest"),
    pytest.param(lambda e: (e / "manifest.json").unlink(), id="no manifest"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_rebuilt(
    mine: Dataset, settings: Settings, counted: CountedDecode, damage: Any
) -> None:
    before = open_images(mine, 16, settings)
    kept = np.array(before.pixels)
    [entry] = entry_folders(settings)
    damage(entry)
    after = open_images(mine, 16, settings)
    assert counted.calls == 40
    assert np.array_equal(after.pixels, kept)
    assert leftovers(settings) == []


def test_no_pickle_is_ever_written(mine: Dataset, settings: Settings) -> None:
    open_images(mine, 16, settings)
    [entry] = entry_folders(settings)
    assert sorted(p.name for p in entry.iterdir()) == [
        "examples.npz",
        "manifest.json",
        "pixels.npy",
    ]
    assert np.load(entry / "pixels.npy", allow_pickle=False).shape == (20, 16, 16, 3)
    assert checksums.manifest(entry)["pictures"] == 20


def test_a_cache_that_cannot_be_written(mine: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match="BENCH_CACHE_DIR"):
        open_images(mine, 16, Settings(cache=tmp_path / "file"))


# ---------------------------------------------------------------------- without the source


def test_a_carried_cache_serves_where_the_folder_is_not(mine: Dataset, settings: Settings) -> None:
    before = open_images(mine, 16, settings)
    assert mine.folder
    shutil.move(mine.folder, mine.folder + "-gone")
    after = open_images(mine, 16, settings)
    assert same(before, after)
    assert after.notes == (
        "read from the image cache alone: the dataset itself is not on this machine",
    )
    with pytest.raises(DatasetError, match="does not exist"):
        open_images(mine, 24, settings)


def test_the_newest_good_entry_is_taken(mine: Dataset, settings: Settings) -> None:
    assert mine.folder
    open_images(mine, 16, settings)
    (Path(mine.folder) / "cat" / "0.png").unlink()
    open_images(mine, 16, settings)
    shutil.move(mine.folder, mine.folder + "-gone")
    assert len(open_images(mine, 16, settings).labels) == 19
    [newest] = [e.path for e in cache.entries(settings) if e.items == 19]
    truncate(newest)
    assert len(open_images(mine, 16, settings).labels) == 20


def test_a_damaged_entry_without_its_source(mine: Dataset, settings: Settings) -> None:
    open_images(mine, 16, settings)
    assert mine.folder
    shutil.move(mine.folder, mine.folder + "-gone")
    truncate(entry_folders(settings)[0])
    with pytest.raises(CacheError, match=r"'mine' are damaged.*cannot be rebuilt here"):
        open_images(mine, 16, settings)


WITHOUT_TENSORFLOW = """
    import pathlib, sys
    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("tensorflow", "tensorflow_datasets", "sklearn"):
                raise ImportError(f"{name} is blocked")
    sys.meta_path.insert(0, Block())
    from bench.data.images import open_images
    from bench.data.splits import split
    from bench.errors import DatasetError
    from bench.records import Data, Dataset
    from bench.settings import Settings
    settings = Settings(cache=pathlib.Path(sys.argv[1]), tfds=pathlib.Path(sys.argv[2]))
    dataset = Dataset(name=sys.argv[3])
    try:
        opened = open_images(dataset, 32, settings)
        print(len(opened.labels), split(opened, Data(dataset=dataset, image_size=32)).fingerprint)
    except DatasetError as error:
        print(error)
"""


def without_tensorflow(settings: Settings, tfds: Path, name: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(WITHOUT_TENSORFLOW), str(settings.cache)]
    done = subprocess.run([*command, str(tfds), name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def carried(settings: Settings, name: str, identity: str) -> None:
    """Write an entry as another machine would have."""
    path = settings.cache / "images" / f"{name}-32-0123456789abcdef"
    with picture_cache.building(settings, path) as writer:
        assert writer is not None
        for i in range(40):
            pixels = np.full((32, 32, 3), i, np.uint8)
            writer.add(Example(f"{i}.jpg", b"", i % 5), f"{i:064x}", pixels)
        writer.finish(
            picture_cache.Manifest(
                decoding=picture_cache.DECODING_VERSION,
                name=name,
                identity=identity,
                signature="elsewhere",
                size=32,
                pictures=40,
                class_names=tuple("abcde"),
                problems=(),
                created=now(),
            )
        )


def test_a_carried_cache_serves_without_tensorflow(settings: Settings, tmp_path: Path) -> None:
    carried(settings, "tf_flowers", "tfds:tf_flowers")
    assert without_tensorflow(settings, tmp_path / "none", "tf_flowers").startswith("40 ")


def test_neither_cache_nor_tensorflow(settings: Settings, tmp_path: Path) -> None:
    carried(settings, "tf_flowers", "tfds:tf_flowers")
    said = without_tensorflow(settings, tmp_path / "none", "cats_vs_dogs")
    assert "'cats_vs_dogs': reading cats_vs_dogs needs tensorflow-datasets" in said
    assert "keras-zoo-bench[offline]" in without_tensorflow(settings, tmp_path, "digits")


@pytest.mark.real
def test_real_pictures_without_tensorflow_once_they_are_cached(settings: Settings) -> None:
    tfds = Settings.from_environment().tfds
    if tfds is None:
        pytest.skip("TFDS_DATA_DIR is not set")
    dataset = Dataset(name="cats_vs_dogs")
    opened = open_images(dataset, 32, settings.model_copy(update={"tfds": tfds}))
    assert len(opened.labels) == 1400
    beside_the_data = without_tensorflow(settings, tfds, "cats_vs_dogs")
    elsewhere = without_tensorflow(settings, tfds / "nowhere", "cats_vs_dogs")
    assert beside_the_data == elsewhere
    assert elsewhere.startswith("1400 ")


# ---------------------------------------------------------------------------- bench cache


def test_entries_are_listed_and_cleared(mine: Dataset, settings: Settings) -> None:
    assert cache.entries(settings) == []
    assert cache.clear(settings) == 0
    for size in (24, 16):
        open_images(mine, size, settings)
    small, large = cache.entries(settings)
    assert (small.name, small.size, small.items) == ("mine", 16, 20)
    assert large.size == 24
    assert small.bytes > 20 * 16 * 16 * 3
    old = small.last_used.timestamp() - 1e6
    os.utime(small.path / "manifest.json", (old, old))
    assert cache.entries(settings)[0].last_used.timestamp() == pytest.approx(old)
    open_images(mine, 16, settings)
    assert cache.entries(settings)[0].last_used > small.last_used
    freed = cache.clear(settings)
    assert freed == small.bytes + large.bytes
    assert cache.entries(settings) == entry_folders(settings) == leftovers(settings) == []


def test_clearing_spares_what_is_being_built(mine: Dataset, settings: Settings) -> None:
    open_images(mine, 16, settings)
    other = settings.cache / "images" / "other-16-0123456789abcdef"
    with picture_cache.building(settings, other) as writer:
        assert writer is not None
        assert cache.clear(settings) > 0
        assert len(leftovers(settings)) == 1
    assert entry_folders(settings) == []
