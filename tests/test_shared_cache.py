"""The cache that machines share: fetched whole or not at all, published once, never in the way."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import SecretStr

from bench import cache
from bench.cache import checksums, shared, waiting, which
from bench.data import images, picture_cache
from bench.data.datasets import resolve
from bench.data.examples import Example
from bench.data.sources import find_source
from bench.errors import BenchError
from bench.records import Dataset
from bench.settings import Settings, redacted, without_credentials

IDENTITY: dict[str, Any] = {"weights": "ab12", "image_size": 96}
SECRET = "wJalrXUtnFEMI/K7MDENG"
Machine = Callable[[str], Settings]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that knows no store, and has verified no file."""
    monkeypatch.setattr(shared, "_stores", {})
    monkeypatch.setattr(shared, "_remarks", [])
    monkeypatch.setattr(checksums, "_seen", set())
    cache.BUILT.clear()
    yield
    cache.BUILT.clear()
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def to(url: str, tmp_path: Path, name: str) -> Settings:
    """A machine with a cache of its own, and a store."""
    return Settings(cache=tmp_path / name, shared=SecretStr(url))


@pytest.fixture(params=["file", "memory"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """Machines by name, with one store behind them."""
    (tmp_path / "store").mkdir()
    url = "memory://bucket/bench" if request.param == "memory" else f"file://{tmp_path}/store"
    return lambda name: to(url, tmp_path, name)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Of machines that `on_disk` makes."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def on_disk(tmp_path: Path, store: Path) -> Machine:
    return lambda name: to(f"file://{store}/", tmp_path, name)


def made(settings: Settings, kind: str = "activations", value: int = 7) -> cache.Arrays:
    """What is in the cache; built where it is not, and counted in `cache.BUILT`."""
    with cache.building(settings, kind, IDENTITY, "some work") as writer:
        if writer is not None:
            writer.create("x", (50, 100), "float32")[:] = np.arange(100) * value
            writer.put("y", np.array([1.5, np.nan]))
            writer.content["value"] = value
    found = cache.read(settings, kind, IDENTITY)
    assert found is not None
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def stray(settings: Settings) -> list[Path]:
    return [p for p in settings.cache.glob("*/.*") if p.is_dir()]


def forget() -> None:
    """As in another process."""
    shared._stores.clear()
    checksums._seen.clear()


# -------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("kind", ["activations", "heads"])
def test_what_one_machine_built_another_reads_bit_for_bit(machine: Machine, kind: str) -> None:
    one, other = machine("one"), machine("other")
    first = made(one, kind)
    second = cache.read(other, kind, IDENTITY)
    assert second is not None
    assert second.path == other.cache / kind / first.path.name
    assert contents(second.path) == contents(first.path)
    assert made(other, kind).content == {"value": 7}
    assert Counter({kind: 1}) == cache.BUILT
    assert cache.remarks() == ()
    assert stray(other) == []
    assert [e.name for e in cache.entries(other)] == ["some work"]


def test_a_builder_is_given_what_the_store_has(machine: Machine) -> None:
    made(machine("one"))
    with cache.building(machine("other"), "activations", IDENTITY, "another label") as writer:
        assert writer is None
    assert Counter(activations=1) == cache.BUILT


def test_what_depends_on_the_machine_stays_there(machine: Machine) -> None:
    made(machine("one"), "modes")
    assert cache.read(machine("other"), "modes", IDENTITY) is None
    made(machine("other"), "modes")
    assert Counter(modes=2) == cache.BUILT


def test_what_is_there_is_not_written_again(on_disk: Machine, store: Path) -> None:
    made(on_disk("one"), value=1)
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*")}
    alone = Settings(cache=on_disk("other").cache)
    made(alone, value=2)
    shared.publish(on_disk("other"), cache.read(alone, "activations", IDENTITY).path)
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*")} == before


def test_the_slower_of_two_that_publish_leaves_nothing(
    on_disk: Machine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(on_disk("one"), value=1)
    (there,) = store.glob("activations/*")
    files = sorted(p.name for p in there.iterdir())
    alone = Settings(cache=on_disk("other").cache)
    path = made(alone, value=2).path
    looks = iter([False, True])
    monkeypatch.setattr(shared._Store, "_stands", lambda *_: next(looks))
    shared.publish(on_disk("other"), path)
    assert sorted(p.name for p in there.iterdir()) == files


def test_the_manifest_is_written_last(
    on_disk: Machine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[bool] = []
    real = LocalFileSystem.put_file

    def spy(self: Any, *words: Any, **named: Any) -> Any:
        put.append(any(store.glob("*/*/manifest.json")))
        return real(self, *words, **named)

    monkeypatch.setattr(LocalFileSystem, "put_file", spy)
    made(on_disk("one"))
    assert put == [False, False]
    assert len(list(store.glob("*/*/manifest.json"))) == 1
    assert len(list(store.glob("*/*/*/*"))) == 2


def test_the_cap_of_the_cache_holds_for_what_is_fetched(machine: Machine) -> None:
    made(machine("one"))
    small = machine("other").model_copy(update={"cache_bytes": 22_000})
    made(Settings(cache=small.cache, cache_bytes=22_000), "heads")
    os.utime(next(small.cache.glob("heads/[!.]*/manifest.json")), (1, 1))
    assert cache.read(small, "activations", IDENTITY) is not None
    assert [e.kind for e in cache.entries(small)] == ["activations"]


BUILD = """
    import pathlib, sys, time
    from pydantic import SecretStr
    from bench import cache
    from bench.settings import Settings
    settings = Settings(cache=pathlib.Path(sys.argv[1]), shared=SecretStr(sys.argv[2]))
    from fsspec.implementations.local import LocalFileSystem
    real = LocalFileSystem.get_file
    def slow(self, *words, **named):
        print("fetched")
        time.sleep(0.3)
        return real(self, *words, **named)
    LocalFileSystem.get_file = slow
    found = cache.read(settings, "activations", {"weights": "ab12", "image_size": 96})
    print(found.content["value"], float(found.arrays["x"].sum()), cache.remarks())
"""


def test_processes_of_a_machine_fetch_an_entry_once(on_disk: Machine, store: Path) -> None:
    total = float(made(on_disk("one")).arrays["x"].sum())
    other = on_disk("other")
    command = [sys.executable, "-c", textwrap.dedent(BUILD), str(other.cache), f"file://{store}"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate()[0] for process in both).splitlines()
    assert sorted(said) == [f"7 {total} ()"] * 2 + ["fetched"] * 2  # of two files
    assert stray(other) == []


# ---------------------------------------------------------------------------------- pictures


def pictures(settings: Settings, path: Path) -> picture_cache.Entry:
    """What is in the cache; decoded where it is not."""
    with picture_cache.building(settings, path) as writer:
        if writer is not None:
            for i in range(4):
                pixels = np.full((16, 16, 3), i, np.uint8)
                writer.add(Example(str(i), b"", i % 2), f"{i:064x}", pixels)
            size = int(path.name.split("-")[-2])
            writer.finish(manifest_of("s", size))
    entry = picture_cache.read(path)
    assert entry is not None
    return entry


def manifest_of(signature: str, size: int = 16, identity: str = "pets") -> picture_cache.Manifest:
    return picture_cache.Manifest(
        decoding=picture_cache.DECODING_VERSION,
        name="pets",
        identity=identity,
        signature=signature,
        size=size,
        pictures=4,
        class_names=("cat", "dog"),
        problems=(),
        created=f"2026-01-01T00:00:0{len(signature)}",
    )


def placed(settings: Settings, signature: str = "s") -> Path:
    return picture_cache._path(settings, "pets", "pets", signature, 16)


def test_pictures_are_fetched(machine: Machine) -> None:
    one, other = machine("one"), machine("other")
    first = pictures(one, placed(one))
    assert picture_cache.read(placed(other)) is None
    second = picture_cache.fetched(other, placed(other))
    assert second is not None
    assert contents(placed(other)) == contents(placed(one))
    assert second.hashes == first.hashes
    assert pictures(other, placed(other)).ids == ("0", "1", "2", "3")
    assert Counter(images=1) == cache.BUILT
    assert picture_cache.fetched(other, placed(other, "another")) is None


def test_pictures_under_the_key_of_others_are_left_alone(on_disk: Machine, store: Path) -> None:
    one, other = on_disk("one"), on_disk("other")
    pictures(one, placed(one))
    (there,) = store.glob("images/*")
    there.rename(there.with_name(shared.key_of(placed(one, "another"))))
    assert picture_cache.fetched(other, placed(other, "another")) is None
    assert list(other.cache.glob("*/[!.]*")) == [], "not even for a moment"
    (remark,) = cache.remarks()
    assert "is left alone: not what its key says" in remark


def test_pictures_of_a_dataset_that_is_not_on_this_machine(machine: Machine) -> None:
    one, other = machine("one"), machine("other")
    pictures(one, placed(one))
    assert picture_cache.newest(other, "pets", 16, sure=False) is None, "who looks, fetches nothing"
    assert picture_cache.newest(other, "birds", 16) is None
    assert picture_cache.newest(other, "pets", 32) is None
    assert list(other.cache.glob("*/*")) == []
    found = picture_cache.newest(other, "pets", 16)
    assert found is not None
    assert found.manifest.signature == "s"
    assert picture_cache.newest(other, "pets", 16, sure=False) is not None


def test_a_folder_of_pictures_that_only_one_machine_has(machine: Machine, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (20, 20), (i * 90, 7, 9)).save(tmp_path / "pets" / name / f"{i}.png")
    dataset = Dataset(name="pets", folder=str(tmp_path / "pets"))
    first = images.open_images(dataset, 16, machine("one"))
    (tmp_path / "pets").rename(tmp_path / "elsewhere")
    assert find_source(resolve(dataset), machine("other")).signature() is None
    second = images.open_images(dataset, 16, machine("other"))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert second.hashes == first.hashes
    assert Counter(images=1) == cache.BUILT


# --------------------------------------------------------------------------- damaged in the store


def only(store: Path, pattern: str) -> Path:
    (file,) = store.glob(pattern)
    return file


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(bytes(content))


def renamed_file(manifest: Path) -> None:
    """A name that leads out of the entry, under a checksum that fits."""
    stated = json.loads(manifest.read_bytes())
    stated["files"]["../../../out"] = stated["files"].pop("x.npy")
    del stated["check"]
    text = json.dumps(stated, indent=1).encode()[1:]
    manifest.write_bytes(b'{\n "check": "%08x",' % checksums.zlib.crc32(text) + text)
    old = only(manifest.parent, "*/x.npy").parent
    old.rename(manifest.parent / shared._digest(manifest.read_bytes()))


X, MANIFEST = "*/*/*/x.npy", "*/*/manifest.json"
DAMAGE = [
    pytest.param(X, flip, "x.npy is not as it was written", id="a bit flipped"),
    pytest.param(X, lambda f: os.truncate(f, 300), "x.npy has 300 bytes", id="cut"),
    pytest.param(X, lambda f: f.unlink(), "x.npy is not there", id="a file is missing"),
    pytest.param(MANIFEST, flip, "does not fit", id="a bit of the manifest flipped"),
    pytest.param(MANIFEST, lambda f: os.truncate(f, 300), "not fit", id="half a manifest"),
    pytest.param(MANIFEST, lambda f: os.truncate(f, 0), "no checksum", id="an empty manifest"),
    pytest.param(MANIFEST, renamed_file, "no name of a file", id="a way out"),
]


@pytest.mark.parametrize(("where", "damage", "said"), DAMAGE)
def test_a_damaged_copy_is_told_of_once_rebuilt_and_replaced(
    on_disk: Machine, store: Path, where: str, damage: Callable[[Path], object], said: str
) -> None:
    made(on_disk("one"))
    damage(only(store, where))
    forget()
    other = on_disk("other")
    for _ in range(2):
        assert cache.read(other, "activations", IDENTITY) is None
    assert stray(other) == []
    assert list(other.cache.glob("*/[!.]*")) == []
    assert made(other, value=8).content == {"value": 8}
    (remark,) = cache.remarks()
    assert remark.startswith(f"shared cache file://{store}/: activations/")
    assert "is damaged and built again: " in remark
    assert said in remark
    forget()
    third = cache.read(on_disk("third"), "activations", IDENTITY)
    assert third is not None
    assert third.content == {"value": 8}
    assert cache.remarks() == ()
    if where == X:  # a damaged manifest does not tell where its files are
        assert len(list(store.glob("*/*/*/y.npy"))) == 1, "what was damaged is gone"
    assert not (store.parent / "out").exists()


@pytest.mark.parametrize("marked", [True, False], ids=["half an entry", "of another identity"])
def test_what_is_not_to_be_used_is_left_alone(on_disk: Machine, store: Path, marked: bool) -> None:
    made(on_disk("one"))
    manifest = only(store, MANIFEST)
    if marked:
        manifest.unlink()
    else:
        manifest.parent.rename(manifest.parent.with_name(cache.key({"n": 2})))
    forget()
    other = on_disk("other")
    identity = IDENTITY if marked else {"n": 2}
    for _ in range(2):
        assert cache.read(other, "activations", identity) is None
    assert list(other.cache.glob("*/[!.]*")) == []
    with cache.building(other, "activations", identity, "x") as writer:
        assert writer is not None
        writer.put("x", [1])
    assert cache.read(other, "activations", identity) is not None
    assert len(cache.remarks()) == (0 if marked else 1)


def test_what_a_newer_bench_wrote_is_neither_used_nor_replaced(
    on_disk: Machine, store: Path
) -> None:
    made(on_disk("one"))
    manifest = only(store, MANIFEST)
    text = b'\n "files": {}, "entry": {}, "new": 1}'
    manifest.write_bytes(b'{\n "check": "%08x",' % checksums.zlib.crc32(text) + text)
    content = manifest.read_bytes()
    forget()
    assert made(on_disk("other"), value=8).content == {"value": 8}
    assert manifest.read_bytes() == content
    (remark,) = cache.remarks()
    assert "is left alone: not what its key says" in remark


def test_a_damaged_local_entry_is_mended_from_the_store(on_disk: Machine) -> None:
    path = made(on_disk("one")).path
    flip(path / "x.npy")
    forget()
    assert made(on_disk("one"), value=8).content == {"value": 7}
    assert Counter(activations=1) == cache.BUILT


# ------------------------------------------------------------------------------ out of reach


class Broken(MemoryFileSystem):
    """A store that fails in what `fails` names."""

    protocol = "broken"
    store, pseudo_dirs = {}, [""]
    fails: set[str] = set()
    asked: Counter[str] = Counter()

    def _ask(self, what: str) -> None:
        self.asked[what] += 1
        if what in self.fails:
            raise RuntimeError(f"403 for broken://KEY:{SECRET}@bucket/bench at host")

    def cat_file(self, *words: Any, **named: Any) -> Any:
        self._ask("cat_file")
        return super().cat_file(*words, **named)

    def get_file(self, *words: Any, **named: Any) -> Any:
        self._ask("get_file")
        return super().get_file(*words, **named)

    def put_file(self, *words: Any, **named: Any) -> Any:
        self._ask("put_file")
        return super().put_file(*words, **named)

    def pipe_file(self, *words: Any, **named: Any) -> Any:
        self._ask("pipe_file")
        return super().pipe_file(*words, **named)

    def ls(self, *words: Any, **named: Any) -> Any:
        self._ask("ls")
        return super().ls(*words, **named)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Machine]:
    fsspec.register_implementation("broken", Broken, clobber=True)
    yield lambda name: to(f"broken://KEY:{SECRET}@bucket/bench", tmp_path, name)
    Broken.fails.clear()
    Broken.asked.clear()
    Broken.store.clear()


@pytest.mark.parametrize(
    ("fails", "way"),
    [
        (("cat_file",), "read"),
        (("get_file",), "read"),
        (("put_file",), "written"),
        (("pipe_file",), "written"),
    ],
)
def test_a_store_out_of_reach_stops_nothing(
    broken: Machine, fails: Sequence[str], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(broken("one"))
    assert cache.remarks() == ()
    if way == "written":
        Broken.store.clear()
    Broken.fails.update(fails)
    for name in ("a", "b", "c"):
        made(broken(name))
    remarks = cache.remarks()
    assert f"cannot be {way}: 403 for" in remarks[0]
    assert "work goes on with the cache of this machine" in remarks[0]
    assert len(remarks) == len({way, "written" if "cat_file" in fails else way})
    assert Broken.asked[fails[0]] <= (5 if way == "read" else 3), "it is left alone for a while"
    assert Counter(activations=4) == cache.BUILT
    assert not any(SECRET in remark or "KEY" in remark for remark in remarks)
    Broken.fails.clear()
    monkeypatch.setattr(shared, "REST_SECONDS", 0.0)
    later = time.monotonic() + 1000
    monkeypatch.setattr(shared.time, "monotonic", lambda: later)
    assert made(broken("d")).content == {"value": 7}
    made(broken("e"))
    assert Counter(activations=4 if way == "read" else 5) == cache.BUILT
    assert cache.remarks() == ()


def test_a_full_store_is_not_filled_further(
    on_disk: Machine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, lpath: str, rpath: str, **named: Any) -> None:
        Path(rpath).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "put_file", full)
    made(on_disk("one"))
    (remark,) = cache.remarks()
    assert "cannot be written: [Errno 28] No space left on device" in remark
    assert [p for p in store.rglob("*") if p.is_file()] == []


def test_an_entry_that_is_removed_while_it_is_published(
    on_disk: Machine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalFileSystem.put_file

    def trimmed(self: Any, lpath: str, rpath: str, **named: Any) -> None:
        if lpath.endswith("y.npy"):
            cache.clear(on_disk("one"))
        real(self, lpath, rpath, **named)

    monkeypatch.setattr(LocalFileSystem, "put_file", trimmed)
    with cache.building(on_disk("one"), "activations", IDENTITY, "some work") as writer:
        assert writer is not None
        writer.put("x", [1])
        writer.put("y", [2])
    assert [p for p in store.rglob("*") if p.is_file()] == []
    monkeypatch.setattr(LocalFileSystem, "put_file", real)
    made(on_disk("one"))
    assert len(list(store.glob("*/*/manifest.json"))) == 1, "the store does not rest for it"
    assert cache.remarks() == ()


def test_a_missing_mount_is_never_made(on_disk: Machine, store: Path) -> None:
    store.rmdir()
    made(on_disk("one"))
    cache.identity(on_disk("one"))
    assert not store.exists()
    (remark,) = cache.remarks()
    assert f"cannot be written: {store} is not there: make the folder, or mount it" in remark
    said = shared.problem(on_disk("one"))
    assert said == f"cannot be read: {store} is not there: make the folder, or mount it"


def test_a_full_disk_of_this_machine_is_not_the_stores_fault(
    on_disk: Machine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(on_disk("one"))
    other = on_disk("other")

    def full(self: Any, rpath: str, lpath: str, **named: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", rpath)

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "get_file", full)
        for _ in range(2):
            assert cache.read(other, "activations", IDENTITY) is None
    (remark,) = cache.remarks()
    assert f"for {other.cache / 'activations'} has no room: make room, or set BENCH_CACHE" in remark
    assert stray(other) == []
    assert cache.read(other, "activations", IDENTITY) is not None, "it is asked at once"


@pytest.fixture
def hangs(on_disk: Machine, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A manifest in a store of one entry that whoever reads it waits for, until the test ends."""
    monkeypatch.setattr(waiting, "SECONDS", 0.2)
    monkeypatch.setattr(shared, "DOCTOR_SECONDS", 0.2)
    made(on_disk("one"))
    manifest = only(store, MANIFEST)
    manifest.unlink()
    os.mkfifo(manifest)
    forget()
    yield manifest
    os.close(os.open(manifest, os.O_WRONLY | os.O_NONBLOCK))  # ends the threads that wait


def test_a_store_that_hangs_stops_nothing(on_disk: Machine, hangs: Path) -> None:
    start = time.monotonic()
    assert made(on_disk("other"), value=8).content == {"value": 8}
    assert time.monotonic() - start < 5
    read, written = cache.remarks()
    assert "cannot be read: no answer within 0 s: work goes on with the cache of this" in read
    assert "cannot be written: no answer within 0 s" in written


def test_doctor_does_not_wait_for_a_store_that_hangs(
    on_disk: Machine, hangs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hangs.parent.parent.parent / shared.SHARED[0] / ("0" * 16) / "manifest.json"
    asked.parent.mkdir(parents=True)
    hangs.rename(asked)
    said = shared.problem(on_disk("one"))
    asked.rename(hangs)
    assert said == "cannot be read: no answer within 0 s"


def test_a_folder_that_hangs_has_an_identity(
    on_disk: Machine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(store / which.FILE)
    monkeypatch.setattr(waiting, "SECONDS", 0.2)
    one = cache.identity(on_disk("one"))
    os.close(os.open(store / which.FILE, os.O_WRONLY | os.O_NONBLOCK))
    assert len(one) == 32


def test_large_files_are_waited_for_longer(
    broken: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    real = waiting.within

    def noted(seconds: float, ask: Callable[[], Any]) -> Any:
        limits.append(seconds)
        return real(seconds, ask)

    monkeypatch.setattr(waiting, "within", noted)
    made(broken("one"))
    put = max(limits)
    limits.clear()
    assert cache.read(broken("other"), "activations", IDENTITY) is not None
    assert put == max(limits) == pytest.approx(60 + 20_128 / 1e6)
    assert min(limits) == 60


def test_pictures_elsewhere_that_cannot_be_listed(broken: Machine) -> None:
    Broken.fails.add("ls")
    assert picture_cache.newest(broken("one"), "pets", 16) is None
    assert len(cache.remarks()) == 1


def test_a_cache_that_cannot_be_written_fetches_nothing(on_disk: Machine) -> None:
    made(on_disk("one"))
    other = on_disk("other")
    other.cache.write_text("in the way")
    assert cache.read(other, "activations", IDENTITY) is None


def test_doctor_asks_whether_it_can_be_read(broken: Machine, tmp_path: Path) -> None:
    assert shared.problem(Settings(cache=tmp_path)) is None
    assert shared.problem(broken("one")) is None
    Broken.fails.add("cat_file")
    said = shared.problem(broken("one"))
    assert said is not None
    assert said.startswith("cannot be read: 403 for broken://bucket/bench")
    assert cache.remarks() == ()


# --------------------------------------------------------------------------------- the setting


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        (f"s3://KEY:{SECRET}@bucket/b", "s3://bucket/b"),
        ("sftp://me@host:22/b", "sftp://host:22/b"),
        ("sftp://host:22/a@b", "sftp://host:22/a@b"),
        ("sftp://me:p%40ss@host/b", "sftp://host/b"),
        ("sftp://me:p@ss?x@host/b", "sftp://host/b"),
        ("https://host/b?sig=abcdef&x=1", "https://host/b"),
        ("abfs://container@account.example/b", "abfs://container@account.example/b"),
        ("abfs://u:pass@account.example/b?x", "abfs://account.example/b"),
        (f"KEY:{SECRET}@bucket", "bucket"),
        (f"s3://KEY:{SECRET}", "s3://***"),
        ("file:///mnt/a b", "file:///mnt/a b"),
        ("file:///mnt/a#b?c@d", "file:///mnt/a#b?c@d"),
        ("https://host/b#token=abcdef", "https://host/b"),
        ("https://host/b#abcdef", "https://host/b"),
        ("az://container@account:key1234@x/b", "az://x/b"),
        ("az://container@account/k:1@x", "az://x"),
        ("az://container@account:443/b", "az://container@account:443/b"),
    ],
)
def test_credentials_are_never_shown(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
    assert redacted(f"no {url}!", url) == f"no {shown}!"
    if not url.startswith("file"):
        identity = which.identity(Settings(cache=Path("x"), shared=SecretStr(url)))
        assert identity.partition("?")[0] == shown


def test_parts_of_a_url_in_a_message() -> None:
    url = f"s3://KEYID:{SECRET}@bucket/b?token=a%2Fbcd"
    text = f"{SECRET} of KEYID:{SECRET} with a%2Fbcd or a/bcd in s3://bucket/b"
    assert redacted(text, url) == "*** of *** with *** or *** in s3://bucket/b"
    start, _, end = SECRET.partition("/")
    assert redacted(f"no bucket {start!r}, nor {end}", url) == "no bucket '***', nor ***"


def test_parts_after_a_hash_are_secret_too() -> None:
    url = "https://host/b?x=1#token=abcdef"
    assert redacted("403 for abcdef at host", url) == "403 for *** at host"


def test_settings_keep_the_secret_and_hand_it_to_a_worker(tmp_path: Path) -> None:
    settings = to(f"s3://KEY:{SECRET}@bucket/b", tmp_path, "one")
    assert SECRET not in repr(settings) + str(settings)
    again = Settings.model_validate_json(settings.model_dump_json())
    assert again == settings
    assert again.shared is not None
    assert again.shared.get_secret_value() == f"s3://KEY:{SECRET}@bucket/b"
    assert Settings.model_validate_json(Settings(cache=tmp_path).model_dump_json()).shared is None


def test_rows_name_the_setting(tmp_path: Path) -> None:
    names = to(f"s3://KEY:{SECRET}@bucket/b", tmp_path, "one").names(tmp_path)
    text = f"s3://KEY:{SECRET}@bucket/b, s3://bucket/b and {SECRET}"
    for place, name in names.items():
        text = text.replace(place, name)
    assert text == "<BENCH_SHARED_CACHE>, <BENCH_SHARED_CACHE> and <BENCH_SHARED_CACHE>"


@pytest.mark.parametrize("url", ["hdfs://bench:secret1@node/x", "sftp://bench@host/x?for=bench"])
def test_names_of_users_are_words_of_rows(url: str, tmp_path: Path) -> None:
    names = to(url, tmp_path, "one").names(tmp_path)
    assert "bench" not in names
    assert ("secret1" in names) == ("bench:secret1" in names) == ("secret1" in url)


def test_long_values_of_a_query_are_no_words(tmp_path: Path) -> None:
    names = to("https://host/b?sig=aB3%2Fdefghi", tmp_path, "one").names(tmp_path)
    assert {"aB3%2Fdefghi", "aB3/defghi"} < set(names)


def test_manifests_in_the_store_hold_no_credentials(broken: Machine) -> None:
    made(broken("one"))
    kept = b"".join(bytes(f.getbuffer()) for f in Broken.store.values())
    assert b"some work" in kept
    assert SECRET.encode() not in kept


def test_the_setting_is_read(tmp_path: Path) -> None:
    read = Settings.from_environment({"BENCH_SHARED_CACHE": f"file://{tmp_path}"})
    assert read.shared == SecretStr(f"file://{tmp_path}")
    assert Settings.from_environment({"BENCH_SHARED_CACHE": ""}).shared is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/mnt/bench", "'/mnt/bench': expected a URL of a folder, like s3://bucket/bench or file:"),
        ("s3://", "expected a URL of a folder"),
        ("simplecache::s3://bucket", "expected a URL of a folder"),
        ("file://mnt/bench", "expected an absolute path after file://, so a third slash"),
        (
            f"s3://KEY:{SECRET}@bucket/b",
            "expected no credentials in a URL of s3://, which are taken",
        ),
        (f"s4://KEY:{SECRET}@bucket/b", "'s4://bucket/b': expected a scheme that fsspec knows"),
    ],
)
def test_a_url_that_cannot_be_opened(url: str, said: str) -> None:
    with pytest.raises(BenchError) as error:
        Settings.from_environment({"BENCH_SHARED_CACHE": url})
    assert said in str(error.value)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(("scheme", "is_file"), [("file", False), ("local", True)])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, scheme: str, is_file: bool) -> None:
    if is_file:
        (tmp_path / "mnt").write_text("")
    with pytest.raises(BenchError) as error:
        Settings.from_environment({"BENCH_SHARED_CACHE": f"{scheme}://{tmp_path}/mnt"})
    reason = "it is a file" if is_file else "it is not there"
    assert str(error.value).startswith(
        f"BENCH_SHARED_CACHE = '{scheme}://{tmp_path}/mnt': expected a folder, but {reason}: make"
    )


@pytest.mark.parametrize(
    ("missing", "url", "said"),
    [
        ("s3fs", "s3://bucket/b", "the package s3fs, which opens s3://: pip install s3fs"),
        ("gcsfs", "gs://bucket/b", "the package gcsfs, which opens gs://: pip install gcsfs"),
        ("paramiko", "sftp://host/b", 'SFTPFileSystem requires "paramiko" to be installed'),
        ("fsspec", "s3://bucket/b", "the package fsspec, which opens it: pip install -e '.[sh"),
    ],
)
def test_a_package_that_is_missing(
    missing: str, url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    if missing != "fsspec":
        for name in ("s3", "gs", "sftp"):
            monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, name, raising=False)
    with pytest.raises(BenchError) as error:
        Settings.from_environment({"BENCH_SHARED_CACHE": url})
    assert said in str(error.value)


def test_without_the_setting_fsspec_is_not_imported(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from bench import cache\n"
        "from bench.settings import Settings\n"
        "s = Settings.from_environment({'BENCH_CACHE_DIR': sys.argv[1]})\n"
        "with cache.building(s, 'heads', {}, 'x') as w: w.put('x', [1])\n"
        "assert cache.read(s, 'heads', {}) and cache.identity(s)\n"
        "print('fsspec' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ------------------------------------------------------------------------------ which cache it is


def test_machines_that_see_one_cache_agree(tmp_path: Path) -> None:
    one = cache.identity(Settings(cache=tmp_path / "cache"))
    assert cache.identity(Settings(cache=tmp_path / "cache")) == one
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    assert cache.identity(Settings(cache=tmp_path / "link")) == one
    assert cache.identity(Settings(cache=tmp_path / "another")) != one
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [which.FILE]


def _ask(cache_dir: Path, start: Any, answers: Any) -> None:
    start.wait()
    answers.put(cache.identity(Settings(cache=cache_dir)))


def test_makers_at_the_same_time_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for n in range(5):
        start, answers = context.Barrier(4), context.Queue()
        makers = [
            context.Process(target=_ask, args=(tmp_path / str(n), start, answers)) for _ in range(4)
        ]
        for maker in makers:
            maker.start()
        assert len({answers.get(timeout=20) for _ in makers}) == 1
        for maker in makers:
            maker.join()
        assert [p.name for p in (tmp_path / str(n)).iterdir()] == [which.FILE]


def test_a_disk_without_links_has_an_identity_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    one = cache.identity(Settings(cache=tmp_path))
    assert (tmp_path / which.FILE).is_file()
    assert cache.identity(Settings(cache=tmp_path)) == one


@pytest.mark.parametrize("content", [b"", b"0" * 32, b"x" * 33, b"0" * 90])
def test_a_file_that_was_torn_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / which.FILE).write_bytes(content)
    one = cache.identity(Settings(cache=tmp_path))
    assert cache.identity(Settings(cache=tmp_path)) == one
    assert len((tmp_path / which.FILE).read_bytes()) == 33


def test_a_copied_cache_is_another_one(tmp_path: Path) -> None:
    one = cache.identity(Settings(cache=tmp_path / "one"))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / which.FILE).write_bytes((tmp_path / "one" / which.FILE).read_bytes())
    assert cache.identity(Settings(cache=tmp_path / "two")) != one


def test_who_may_only_read_is_told_which_cache_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cache.identity(Settings(cache=tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "write_text", "hardlink_to", "replace"):
        monkeypatch.setattr(Path, name, refuse)
    assert cache.identity(Settings(cache=tmp_path)) == one
    absent = Settings(cache=tmp_path / "absent")
    alone = cache.identity(absent)
    assert cache.identity(absent) == alone
    assert cache.identity(Settings(cache=tmp_path / "other")) != alone
    monkeypatch.setattr(which.os, "getpid", lambda: 1)
    assert cache.identity(absent) != alone


def test_the_identity_of_a_store(tmp_path: Path, store: Path) -> None:
    bucket = f"s3://KEY:{SECRET}@bucket/bench/"
    assert cache.identity(to(bucket, tmp_path, "one")) == "s3://bucket/bench"
    assert cache.identity(to("s3://bucket/bench", tmp_path, "two")) == "s3://bucket/bench"
    queries = [cache.identity(to(f"https://host/b?{q}", tmp_path, "one")) for q in "xxy"]
    assert queries[0] == queries[1] != queries[2]
    assert queries[0].startswith("https://host/b?")
    folder = f"file://{store}"
    here = cache.identity(to(folder, tmp_path, "one"))
    assert here == cache.identity(to(folder, tmp_path, "two"))
    assert here == cache.identity(Settings(cache=store))
    assert cache.identity(to("memory://x", tmp_path, "one")) != here


# ------------------------------------------------------------------- one folder that many nodes see


def test_what_another_node_has_just_put_there_is_as_good(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network file system has it that shows names late: this node saw nothing there."""
    from bench.cache import folders

    path = made(settings, value=1).path
    monkeypatch.setattr(folders, "_remove", lambda _: None)
    monkeypatch.setattr(folders, "_complete", lambda *_: False)
    with cache.building(settings, "activations", IDENTITY, "some work") as writer:
        assert writer is not None
        writer.put("x", [1])
    monkeypatch.undo()
    assert checksums.manifest(path)["content"] == {"value": 1}
    assert stray(settings) == []


def test_files_that_nfs_keeps_for_who_maps_them_stop_no_removal(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.cache import folders

    made(settings)
    real = os.rmdir

    def busy(path: Any, *words: Any, **named: Any) -> None:
        if str(path).endswith("entry"):
            raise OSError(39, "Directory not empty")
        real(path, *words, **named)

    monkeypatch.setattr(folders.shutil.os, "rmdir", busy)
    assert cache.clear(settings) > 20_000
    assert cache.entries(settings) == []
    assert len(stray(settings)) == 1
    monkeypatch.undo()
    cache.sweep(settings)
    assert stray(settings) == []


def test_doctor_lists_the_store(broken: Machine, tmp_path: Path) -> None:
    from bench.reporting import doctor

    settings = broken("one")
    assert list(doctor._shared(Settings(cache=tmp_path))) == []
    (fine,) = doctor._shared(settings)
    assert (fine.state, fine.problem) == ("broken://bucket/bench: can be read", None)
    Broken.fails.add("cat_file")
    (wrong,) = doctor._shared(settings)
    assert wrong.state == "broken://bucket/bench: cannot be read"
    assert wrong.problem is not None
    assert "correct BENCH_SHARED_CACHE, or unset it" in wrong.problem
    assert SECRET not in wrong.problem
