"""The cache: entries are complete or absent, shared by processes, and never more than the cap."""

import errno
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench import cache
from bench.cache import checksums, folders
from bench.data import picture_cache
from bench.data.examples import Example
from bench.errors import CacheError, UnknownNameError
from bench.settings import Settings

IDENTITY: dict[str, Any] = {"weights": "ab12", "image_size": 96, "boundary": ["block_3", "block_4"]}
KIB = 1024


def write(
    settings: Settings, identity: dict[str, Any] = IDENTITY, kib: int = 4, kind: str = "activations"
) -> cache.Arrays:
    """An entry of about so many KiB: exactly that much in its one array."""
    with cache.building(settings, kind, identity, f"label {identity.get('n', '')}") as writer:
        assert writer is not None
        writer.create("x", (kib, KIB), "uint8")[:] = 7
        writer.content["n"] = identity.get("n")
    return found(settings, identity, kind)


def build(settings: Settings, fill: Callable[[cache.ArraysWriter], object]) -> None:
    with cache.building(settings, "heads", IDENTITY, "x") as writer:
        assert writer is not None
        fill(writer)


def found(
    settings: Settings, identity: dict[str, Any] = IDENTITY, kind: str = "activations"
) -> cache.Arrays:
    arrays = cache.read(settings, kind, identity)
    assert arrays is not None
    return arrays


def write_pictures(settings: Settings, name: str, size: int = 16) -> Path:
    path = settings.cache / "images" / f"{name}-{size}-0123456789abcdef"
    with picture_cache.building(settings, path) as writer:
        assert writer is not None
        for i in range(4):
            writer.add(Example(str(i), b"", 0), f"{i:064x}", np.zeros((size, size, 3), np.uint8))
        writer.finish(
            picture_cache.Manifest(
                decoding=1,
                name=name,
                identity=name,
                signature="s",
                size=size,
                pictures=4,
                class_names=("a",),
                problems=(),
                created=folders.now(),
            )
        )
    return path


def used(path: Path, seconds_ago: float) -> None:
    moment = time.time() - seconds_ago
    os.utime(path / "manifest.json", (moment, moment))


def stray(settings: Settings) -> list[Path]:
    return [p for p in settings.cache.glob("*/.*") if p.is_dir()]


def there(settings: Settings) -> list[Path]:
    return sorted(p for p in settings.cache.glob("*/[!.]*") if p.is_dir())


# -------------------------------------------------------------------------------------- content


def test_what_is_written_is_read(settings: Settings) -> None:
    assert cache.read(settings, "activations", IDENTITY) is None
    with cache.building(settings, "activations", IDENTITY, "MobileNetV2 at block 3/4") as writer:
        assert writer is not None
        rows = writer.create("features", (100, 8), "float16")
        for start in range(0, 100, 30):
            rows[start : start + 30] = start
        writer.put("labels", np.arange(100))
        writer.content |= {"epochs": [1, 2], "best": {"loss": 0.25}, "bad": float("nan")}
    opened = found(settings)
    assert set(opened.arrays) == {"features", "labels"}
    features = opened.arrays["features"]
    assert isinstance(features, np.memmap)
    assert not features.flags.writeable
    assert (features.dtype, features.shape) == (np.float16, (100, 8))
    assert features[:, 3].tolist() == [i // 30 * 30 for i in range(100)]
    assert opened.arrays["labels"].tolist() == list(range(100))
    assert opened.content["epochs"] == [1, 2]
    assert opened.content["best"] == {"loss": 0.25}
    assert np.isnan(opened.content["bad"])
    assert opened.path.parent == settings.cache / "activations"
    assert opened.path.name == f"MobileNetV2-at-block-3-4-{cache.key(IDENTITY)}"
    assert sorted(p.name for p in opened.path.iterdir()) == [
        "features.npy",
        "labels.npy",
        "manifest.json",
    ]
    manifest = checksums.manifest(opened.path)
    assert manifest["kind"] == "activations"
    assert manifest["identity"] == IDENTITY
    assert manifest["arrays"]["features"] == {"shape": [100, 8], "dtype": "<f2"}


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "int64", "float16", "float32", "bool", "<U5", ">f8"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
@examples(max_examples=30)
def test_every_array_comes_back(array: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(cache=Path(folder))
        with cache.building(settings, "heads", {}, "") as writer:
            assert writer is not None
            writer.put("put", array)
            writer.create("filled", array.shape, array.dtype.str)[...] = array
        for back in found(settings, {}, "heads").arrays.values():
            assert back.dtype == array.dtype
            np.testing.assert_array_equal(back, array)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
@example({"a": 1, "b": {"c": (1, 2), "d": 2}}, {"b": {"d": 2, "c": [1, 2]}, "a": 1})
@example({"a": 1}, {"a": "1"})
def test_a_key_stands_for_the_values_whatever_their_order(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert cache.key(dict(reversed(one.items()))) == cache.key(one)
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (cache.key(one) == cache.key(other)) == same


def test_a_key_is_what_it_was() -> None:
    # Entries written by one version of Bench are found by the next.
    assert cache.key(IDENTITY) == "0e95b117e545f2daf33253530dfc8dab"


def test_the_label_is_no_part_of_the_key(settings: Settings) -> None:
    write(settings)
    with cache.building(settings, "activations", IDENTITY, "another label") as writer:
        assert writer is None
    assert len(there(settings)) == 1


def test_kinds_are_apart(settings: Settings) -> None:
    write(settings)
    assert cache.read(settings, "heads", IDENTITY) is None


@pytest.mark.parametrize(
    "use",
    [
        lambda s: cache.read(s, "head", {}),
        lambda s: cache.building(s, "head", {}, "").__enter__(),
        lambda s: cache.manifests(s, "head"),
        lambda s: cache.entries(s, ["head"]),
        lambda s: cache.clear(s, ["head"]),
    ],
)
def test_an_unknown_kind(settings: Settings, use: Callable[[Settings], object]) -> None:
    with pytest.raises(UnknownNameError, match="'head': did you mean heads"):
        use(settings)


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "../up", "taken"])
def test_array_names_are_new_file_names(settings: Settings, name: str) -> None:
    def fill(writer: cache.ArraysWriter) -> None:
        writer.put("taken", [1])
        writer.put(name, [1])

    with pytest.raises(ValueError, match="array name"):
        build(settings, fill)
    assert there(settings) == stray(settings) == []


@pytest.mark.parametrize("array", [np.array([object()]), np.zeros(2, "V2")])
def test_arrays_that_no_file_can_hold(settings: Settings, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"'x' is .*expected a dtype that \.npy files can hold"):
        build(settings, lambda writer: writer.put("x", array))


def test_manifests_open_no_array_and_note_no_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        used(write(settings, {"n": n}, kib=n + 1).path, 5000)
    (there(settings)[0].parent / f"damaged-{'0' * 32}").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an array was opened")

    monkeypatch.setattr(np, "load", refuse)
    known = sorted(cache.manifests(settings, "activations"), key=lambda m: m[2])
    assert known == [({"n": n}, {"n": n}, (n + 1) * KIB) for n in range(3)]
    assert cache.manifests(settings, "heads") == []
    assert all(time.time() - e.last_used.timestamp() > 4000 for e in cache.entries(settings))


# --------------------------------------------------------------------------- complete or absent


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt, OSError])
def test_a_block_that_raises_leaves_nothing(
    settings: Settings, ending: type[BaseException]
) -> None:
    def fill(writer: cache.ArraysWriter) -> None:
        writer.create("x", (4, 4), "float32")[:2] = 1
        assert len(stray(settings)) == 1
        assert there(settings) == []
        raise ending("mid-way")

    with pytest.raises(ending, match="mid-way"):
        build(settings, fill)
    assert there(settings) == stray(settings) == []
    assert cache.read(settings, "heads", IDENTITY) is None


def test_content_that_json_cannot_say_leaves_nothing(settings: Settings) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        build(settings, lambda writer: writer.content.update(loss=np.float32(1)))
    assert there(settings) == stray(settings) == []


BUILD = """
    import os, pathlib, sys, time
    from bench import cache
    from bench.settings import Settings
    settings = Settings(cache=pathlib.Path(sys.argv[1]))
    with cache.building(settings, "activations", {"n": 1}, "x") as writer:
        if writer is not None:
            writer.create("x", (1000,), "float32")[:] = 3
            if sys.argv[2] == "die":
                os._exit(9)
            time.sleep(0.2)
            print("built")
    print(float(cache.read(settings, "activations", {"n": 1}).arrays["x"].sum()))
"""


def build_elsewhere(settings: Settings, how: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(BUILD), str(settings.cache), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def killed(settings: Settings) -> Settings:
    """A cache in which a builder of {"n": 1} was killed."""
    assert build_elsewhere(settings, "die").wait() == 9
    assert len(stray(settings)) == 1
    assert there(settings) == []
    return settings


def test_what_a_killed_builder_left_goes_with_the_next_build(killed: Settings) -> None:
    assert cache.read(killed, "activations", {"n": 1}) is None
    assert cache.entries(killed) == []
    write(killed, {"n": 1})
    assert stray(killed) == []


def test_what_a_killed_builder_left_goes_when_anything_is_written(killed: Settings) -> None:
    write_pictures(killed, "beans")
    assert stray(killed) == []


def test_what_a_killed_builder_left_is_cleared(killed: Settings) -> None:
    assert cache.clear(killed) >= 4000
    assert stray(killed) == []


def test_processes_build_an_entry_once(settings: Settings) -> None:
    both = [build_elsewhere(settings, "live") for _ in range(2)]
    said = sorted(process.communicate()[0] for process in both)
    assert said == ["3000.0\n", "built\n3000.0\n"]
    assert len(there(settings)) == 1
    assert stray(settings) == []


def test_a_second_builder_waits_and_reads(settings: Settings) -> None:
    got: list[object] = []

    def second() -> None:
        with cache.building(settings, "heads", IDENTITY, "x") as writer:
            got.append(writer)
        got.append(found(settings, IDENTITY, "heads").arrays["x"].tolist())

    thread = threading.Thread(target=second)
    with cache.building(settings, "heads", IDENTITY, "x") as writer:
        assert writer is not None
        thread.start()
        time.sleep(0.1)
        assert got == []
        writer.put("x", [1, 2])
    thread.join(10)
    assert got == [None, [1, 2]]


def cut(entry: Path) -> None:
    with (entry / "x.npy").open("r+b") as file:
        file.truncate(300)


def lengthen(entry: Path) -> None:
    with (entry / "x.npy").open("ab") as file:
        file.write(b"more")


def misplace(entry: Path) -> None:
    resealed(entry, {"identity": {"n": 5}})


def unsealed(entry: Path) -> None:
    """As an older Bench wrote it: without checksums."""
    manifest = checksums.manifest(entry) | {"format": 1}
    (entry / "manifest.json").write_text(json.dumps(manifest))


def resealed(entry: Path, changes: dict[str, Any]) -> None:
    (entry / "manifest.json").write_text(json.dumps(checksums.manifest(entry) | changes))
    checksums.seal(entry)


def put(array: np.ndarray) -> Callable[[Path], None]:
    """Another array in its place, under a checksum that fits."""

    def damage(entry: Path) -> None:
        np.save(entry / "x.npy", array)
        resealed(entry, {})

    return damage


DAMAGE = [
    pytest.param(cut, id="truncated"),
    pytest.param(lengthen, id="too long"),
    pytest.param(misplace, id="of another identity"),
    pytest.param(unsealed, id="of an older Bench"),
    pytest.param(put(np.zeros((4, KIB))), id="another dtype"),
    pytest.param(put(np.zeros((4, 9), "u1")), id="another shape"),
    pytest.param(put(np.array([object()])), id="a pickle"),
    pytest.param(lambda e: np.save(e / "x.npy", np.zeros((4, KIB), "u1")), id="other numbers"),
    pytest.param(lambda e: (e / "x.npy").write_bytes(b""), id="empty"),
    pytest.param(lambda e: (e / "x.npy").unlink(), id="no array"),
    pytest.param(lambda e: (e / "manifest.json").unlink(), id="no manifest"),
    pytest.param(lambda e: (e / "manifest.json").write_text("{"), id="half a manifest"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_none_and_rebuilt(
    settings: Settings, damage: Callable[[Path], object]
) -> None:
    damage(write(settings).path)
    assert cache.read(settings, "activations", IDENTITY) is None
    assert write(settings).arrays["x"].sum() == 7 * 4 * KIB
    assert len(there(settings)) == 1
    assert stray(settings) == []


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    """What the process remembers of files; empty, as in a new one."""
    seen: set[Any] = set()
    monkeypatch.setattr(checksums, "_seen", seen)
    return seen


def flips(file: Path, step: int) -> Iterator[int]:
    """A file with one bit flipped, here and there in turn; whole again afterwards."""
    content = file.read_bytes()
    for at in range(0, len(content), step):
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        yield at
    file.write_bytes(content)


@pytest.mark.parametrize(("name", "step"), [("x.npy", 83), ("manifest.json", 5)])
def test_a_flipped_bit_anywhere_is_found(
    settings: Settings, forgetful: set[Any], name: str, step: int
) -> None:
    entry = write(settings).path
    forgetful.clear()
    for at in flips(entry / name, step):
        assert cache.read(settings, "activations", IDENTITY) is None, at
    assert found(settings).arrays["x"].sum() == 7 * 4 * KIB


@pytest.mark.parametrize("name", ["pixels.npy", "examples.npz", "manifest.json"])
def test_a_flipped_bit_among_pictures_is_found(
    settings: Settings, forgetful: set[Any], name: str
) -> None:
    path = write_pictures(settings, "beans")
    forgetful.clear()
    for at in flips(path / name, 37):
        with pytest.raises(cache.DamagedEntryError, match=r"not as it was written|no checksum"):
            assert picture_cache.read(path), at
        if name == "pixels.npy" and at > 200:
            assert picture_cache.read(path, sure=False) is not None
            assert picture_cache.newest(settings, "beans", 16, sure=False) is not None
    assert picture_cache.read(path) is not None


def test_a_flip_is_rebuilt_by_the_next_builder(settings: Settings, forgetful: set[Any]) -> None:
    entry = write(settings).path
    with (entry / "x.npy").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0")
    forgetful.clear()
    assert write(settings).arrays["x"].sum() == 7 * 4 * KIB


def test_a_file_is_read_for_its_checksum_once(
    settings: Settings, forgetful: set[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    of = checksums.of

    def spy(file: Path) -> str:
        read.append(file.name)
        return of(file)

    monkeypatch.setattr(checksums, "of", spy)
    entry = write(settings).path
    assert read == ["x.npy"], "when it was built, and not again when it was opened"
    forgetful.clear()
    for _ in range(3):
        found(settings)
    assert read == ["x.npy"] * 2
    os.utime(entry / "x.npy")
    found(settings)
    assert read == ["x.npy"] * 3
    monkeypatch.setattr(checksums, "_REMEMBERED", 1)
    write(settings, {"n": 1})
    write(settings, {"n": 2})
    assert len(forgetful) == 1


def test_large_files_are_read_in_chunks(tmp_path: Path) -> None:
    content = os.urandom(3 * checksums.CHUNK + 17)
    (tmp_path / "x").write_bytes(content)
    assert checksums.of(tmp_path / "x") == f"{zlib.crc32(content):08x}"
    (tmp_path / "x").write_bytes(b"")
    assert checksums.of(tmp_path / "x") == "00000000"


# -------------------------------------------------------------------------- leftovers and the clock


def locks(settings: Settings) -> list[str]:
    return sorted(p.name for p in settings.cache.glob("*/.*.lock"))


def test_a_sweep_removes_what_the_dead_left_and_no_more(killed: Settings) -> None:
    kept = write(killed, {"n": 2}, kind="heads").path
    with cache.building(killed, "heads", {"n": 3}, "x") as writer:
        assert writer is not None
        cache.sweep(killed)
        assert len(stray(killed)) == 1, "what is being built stays"
    cache.sweep(killed)
    assert stray(killed) == []
    assert kept in there(killed)
    assert locks(killed) == sorted(f".{p.name}.lock" for p in there(killed))


def test_locks_do_not_pile_up(settings: Settings) -> None:
    small = capped(settings, 30)
    for n in range(12):
        write(small, {"n": n}, kib=8)
    assert len(locks(settings)) == len(there(settings)) <= 4
    cache.clear(settings)
    assert locks(settings) == []


def test_a_sweep_of_no_cache_does_nothing(tmp_path: Path) -> None:
    cache.sweep(Settings(cache=tmp_path / "absent"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("years", [-60, -1, 1, 300])
def test_a_clock_that_jumps_breaks_nothing(settings: Settings, years: float) -> None:
    for n in range(3):
        used(write(settings, {"n": n}, kib=10).path, 86400 * 365 * years)
    newest = write(capped(settings, 25), {"n": 3}, kib=10).path
    assert newest in there(settings)
    assert len(there(settings)) == 2
    assert [e.bytes > 10 * KIB for e in cache.entries(settings)] == [True, True]
    assert found(settings, {"n": 3}).arrays["x"].sum() == 7 * 10 * KIB


# ------------------------------------------------------------------------------- no room, no rights


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_met_before_the_array_is_filled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CacheError, match=r"No space left.*make room or set BENCH_CACHE_DIR"):
        write(settings)
    assert there(settings) == stray(settings) == []


def test_a_disk_that_cannot_reserve_is_used_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    assert write(settings).arrays["x"].sum() == 7 * 4 * KIB


@pytest.mark.parametrize("build", [write, lambda s: write_pictures(s, "beans")])
def test_a_disk_that_is_full_at_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, build: Callable[[Settings], object]
) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match=r"cannot write the cache .*No space left"):
        build(settings)
    assert there(settings) == stray(settings) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings(cache=tmp_path / "file")
    assert cache.read(settings, "activations", IDENTITY) is None
    with pytest.raises(CacheError, match="BENCH_CACHE_DIR"):
        write(settings)


# ------------------------------------------------------------------------------------------ the cap


@pytest.fixture
def ample(settings: Settings) -> Iterator[Settings]:
    yield settings
    assert stray(settings) == []


def capped(settings: Settings, kib: float) -> Settings:
    return settings.model_copy(update={"cache_bytes": int(kib * KIB)})


def test_the_least_recently_used_goes_first_of_whatever_kind(ample: Settings) -> None:
    old_head = write(ample, {"n": 1}, kib=8, kind="heads").path
    pictures = write_pictures(ample, "beans", size=52)  # 32 KiB
    older = write(ample, {"n": 2}, kib=8).path
    used(older, 9000)
    used(pictures, 8000)
    used(old_head, 7000)
    newest = write(capped(ample, 60), {"n": 3}, kib=10).path
    assert there(ample) == sorted([pictures, old_head, newest])
    newer = write(capped(ample, 50), {"n": 4}, kib=10).path
    assert there(ample) == sorted([old_head, newest, newer])
    used(newest, 8000)
    found(ample, {"n": 3})  # a use
    pictures = write_pictures(capped(ample, 50), "beans", size=48)  # 27 KiB
    assert there(ample) == sorted([pictures, newest, newer])


@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 10**6)), max_size=6),
    st.integers(1, 12),
    st.integers(1, 40),
)
@examples(max_examples=20)
def test_the_cap_holds(others: list[tuple[int, int]], last: int, cap: int) -> None:
    """Against a model: uses in order, and an entry over the cap costs no other its place."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(cache=Path(folder))
        sizes: dict[int, tuple[int, int]] = {}
        for n, (kib, ago) in enumerate(others):
            path = write(settings, {"n": n}, kib).path
            used(path, ago := ago * 10 + n)
            sizes[n] = (sum(f.stat().st_size for f in path.iterdir()), ago)
        written = write(capped(settings, cap), {"n": -1}, last).path
        room, size = cap * KIB, sum(f.stat().st_size for f in written.iterdir())
        room -= size if size <= room else 0
        fits = sorted(sizes, key=lambda n: (sizes[n][0] <= cap * KIB, -sizes[n][1]))
        while fits and sum(sizes[n][0] for n in fits) > room:
            fits.pop(0)
        left = {identity["n"] for identity, _, _ in cache.manifests(settings, "activations")}
        assert left == {*fits, -1}


def test_an_entry_over_the_cap_costs_no_other_its_place(ample: Settings) -> None:
    small = write(ample, {"n": 1}, kib=4).path
    used(small, 9000)
    large = write(capped(ample, 20), {"n": 2}, kib=50).path
    assert there(ample) == sorted([small, large])
    third = write(capped(ample, 20), {"n": 3}, kib=4).path
    assert there(ample) == sorted([small, third])


def test_what_is_in_use_goes_last(ample: Settings) -> None:
    recent = [write(ample, {"n": n}, kib=10).path for n in range(3)]
    used(recent[0], 60)
    old = write(ample, {"n": 3}, kib=10).path
    used(old, 700)
    write(capped(ample, 45), {"n": 4}, kib=10)
    assert not old.exists()
    assert all(p.exists() for p in recent)
    write(capped(ample, 25), {"n": 5}, kib=10)  # nothing older is left
    assert not recent[0].exists()


def test_arrays_stay_readable_when_their_entry_is_removed(ample: Settings) -> None:
    held = write(ample, {"n": 1}, kib=100)
    used(held.path, 9000)
    write(capped(ample, 20), {"n": 2})
    assert not held.path.exists()
    assert held.arrays["x"].sum() == 7 * 100 * KIB
    assert cache.read(ample, "activations", {"n": 1}) is None


def test_readers_find_all_or_nothing_while_entries_come_and_go(ample: Settings) -> None:
    done, wrong = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            opened = cache.read(ample, "activations", {"n": 0})
            if opened is not None and opened.arrays["x"].sum() != 7 * 4 * KIB:
                wrong.append(opened)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(20):
        with cache.building(ample, "activations", {"n": 0}, "x") as writer:
            if writer is not None:
                writer.create("x", (4, KIB), "uint8")[:] = 7
        cache.clear(ample) if n % 2 else write(capped(ample, 1), {"n": n + 1}, kib=2)
    done.set()
    for reader in readers:
        reader.join(10)
    assert wrong == []


def test_what_is_being_built_is_neither_trimmed_nor_cleared(ample: Settings) -> None:
    with cache.building(ample, "heads", IDENTITY, "x") as writer:
        assert writer is not None
        writer.put("x", [1])
        write(capped(ample, 1), {"n": 1}, kib=20)
        assert cache.clear(ample) > 20 * KIB
        writer.put("y", [2])
    assert set(found(ample, IDENTITY, "heads").arrays) == {"x", "y"}


def test_what_cannot_be_removed_fails_no_build(
    ample: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(write(ample, {"n": 1}).path, 9000)

    def refuse(*_: object) -> int:
        raise PermissionError("of another user")

    monkeypatch.setattr(folders, "_remove_unless_held", refuse)
    write(capped(ample, 5), {"n": 2})
    assert len(there(ample)) == 2
    with pytest.raises(CacheError, match=r"cannot clear the cache .*of another user"):
        cache.clear(ample)


# ------------------------------------------------------------------------------- lists and clearing


def test_entries_of_all_kinds_are_listed(settings: Settings) -> None:
    assert cache.entries(settings) == []
    write(settings, {"n": 1}, kind="heads")
    pictures = write_pictures(settings, "beans")
    head, activations = write(settings, {"n": 2}, kind="heads").path, write(settings).path
    listed = cache.entries(settings)
    assert [(e.kind, e.name, e.size, e.items) for e in listed] == [
        ("images", "beans", 16, 4),
        ("activations", "label ", None, 1),
        ("heads", "label 1", None, 1),
        ("heads", "label 2", None, 1),
    ]
    assert [listed[i].path for i in (0, 1, 3)] == [pictures, activations, head]
    for entry in listed:
        assert entry.bytes == sum(f.stat().st_size for f in entry.path.iterdir())
        assert abs(time.time() - entry.last_used.timestamp()) < 60
    assert cache.entries(settings, ["heads"]) == listed[2:]


def test_one_kind_is_cleared(settings: Settings) -> None:
    write(settings, kind="heads")
    kept = write(settings).path
    assert cache.clear(settings, ["heads"]) > 4 * KIB
    assert there(settings) == [kept]
    assert cache.clear(settings) > 4 * KIB
    assert there(settings) == []
    assert cache.clear(settings) == 0


def test_nothing_but_entries_is_ever_removed(settings: Settings) -> None:
    # BENCH_CACHE_DIR may be somebody's home by mistake.
    mine = [settings.cache / p for p in ("images/holiday", f"photos/a-{'0' * 32}", ".config/x")]
    for folder in mine:
        folder.mkdir(parents=True)
        (folder / "large").write_bytes(bytes(10_000))
    write(capped(settings, 1))
    cache.clear(settings)
    assert all((folder / "large").exists() for folder in mine)
    assert cache.entries(settings) == []


def test_an_array_that_is_let_go_still_reads(settings: Settings) -> None:
    with cache.building(settings, "activations", {"a": 1}, "x") as writer:
        writer.create("numbers", (1000, 1000), "float32")[:] = 7.0
    found = cache.read(settings, "activations", {"a": 1}).arrays["numbers"]
    assert found.sum() == 7e6
    cache.let_go(found)
    assert found.sum() == 7e6
    cache.let_go(np.zeros(3))  # and what is not mapped is left alone
