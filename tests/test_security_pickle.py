"""A file in PyTorch's format is read without running anything, in memory bounded by its size."""

import pickle
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench.errors import WeightsError
from bench.zoo import torch_pickle

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
SIZES = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
HEADER = MAGIC + PROTOCOL + SIZES
EMPTY = HEADER + b"\x80\x02}.\x80\x02]."
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04NtQ"
)


def state(pickled: bytes, keys: bytes = b"\x80\x02].") -> bytes:
    """A file whose state dict is that pickle."""
    return HEADER + pickled + keys


def tensor(arguments: bytes) -> bytes:
    """A file of one tensor that is rebuilt from these arguments, without its storage."""
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + arguments + b"tR"
    return state(b"\x80\x02}X\x01\x00\x00\x00w" + call + b"s.")


def said(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        torch_pickle.read_tensors(path)
    assert str(caught.value).startswith(path.name)
    return str(caught.value)


def test_the_frame_of_these_tests_is_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "empty.pt").write_bytes(EMPTY)
    assert torch_pickle.read_tensors(tmp_path / "empty.pt") == {}
    good = tensor(b"K\x00K\x04\x85K\x01\x85").replace(
        b"s.\x80\x02].", b"s.\x80\x02]X\x01\x00\x00\x000a."
    )
    numbers = (4).to_bytes(8, "little") + b"\x00\x00\x80\x3f" * 4
    (tmp_path / "good.pt").write_bytes(good + numbers)
    assert torch_pickle.read_tensors(tmp_path / "good.pt")["w"].tolist() == [1.0] * 4


ATTACKS = {
    "system": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "eval": b"\x80\x02c__builtin__\neval\nX\x03\x00\x00\x001+1\x85R.",
    "builtins": b"\x80\x02cbuiltins\nexec\nX\x01\x00\x00\x001\x85R.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\n.",
    "dotted": b"\x80\x02ccollections\nOrderedDict.__init__\n.",
    "torch": b"\x80\x02ctorch\nload\n.",
    "rebuild of a parameter": b"\x80\x02ctorch._utils\n_rebuild_parameter\n.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "a class of version 1": b"(cos\nsystem\no.",
    "an instance of version 0": b"(S'true'\nios\nsystem\n.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "a new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "nested": b"\x80\x02}X\x01\x00\x00\x00a}X\x01\x00\x00\x00bcos\nsystem\n)Rss.",
    "set state": b"\x80\x02ccollections\nOrderedDict\n)Rcos\nsystem\nb.",
    "buffers of outside": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("place", ["first", "state", "keys"])
def test_nothing_is_run(
    tmp_path: Path, kind: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr("os.system", fail)
    attack = ATTACKS[kind]
    content = {
        "first": attack + HEADER,
        "state": state(attack),
        "keys": state(b"\x80\x02}.", attack),
    }[place]
    text = said(tmp_path / "evil.pt", content)
    assert "no state dict needs" in text
    assert "it ran" not in text


def test_state_that_is_set_stays_on_the_object(tmp_path: Path) -> None:
    # An OrderedDict takes attributes; one that is called like a method answers for it.
    attack = (
        b"\x80\x02ccollections\nOrderedDict\n)R"
        b"N}X\x06\x00\x00\x00valuesctorch._utils\n_rebuild_tensor_v2\ns\x86b."
    )
    assert "evil.pt" in said(tmp_path / "evil.pt", state(attack))
    (tmp_path / "empty.pt").write_bytes(EMPTY)
    assert torch_pickle.read_tensors(tmp_path / "empty.pt") == {}


BOMBS = {
    "a huge place in the memo": state(b"\x80\x02}r\xff\xff\xff\x7f."),
    "bytes that are not there": state(b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00."),
    "text that is not there": state(b"\x80\x02X\xff\xff\xff\x7fa."),
    "a number that is not there": state(b"\x80\x02\x8b\xff\xff\xff\x7f\x01."),
    "text for a shape": tensor(b"K\x00(X\x04\x00\x00\x00aaaaJ\xff\xff\xff\x0ftK\x01\x85"),
    "a list for a shape": tensor(b"K\x00(]J\xff\xff\xff\x0ftK\x01\x85"),
    "huge numbers for a shape": tensor(
        b"K\x00(" + (b"\x8a\xff" + b"\x7f" * 255) * 2000 + b"tK\x01\x85"
    ),
    "many axes": tensor(
        b"K\x00(" + b"J\xff\xff\xff\x00" * 10_000 + b"t(" + b"K\x01" * 10_000 + b"t"
    ),
    "truth for a number": tensor(b"\x88K\x04\x85K\x01\x85"),
    "a nest of tuples": state(b"\x80\x02})" + b"\x85" * 3_000_000 + b"K\x00s."),
    "a shape that is set later": state(
        b"\x80\x02}X\x01\x00\x00\x00w"
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x00K\x04\x85K\x01\x85tR"
        b"}X\x05\x00\x00\x00shape(" + (b"\x8a\xff" + b"\x7f" * 255) * 300 + b"tsbs."
    ),
    "a storage whose count is set later": tensor(b"K\x00K\x04\x85K\x01\x85").replace(
        b"tQ", b"tQ}X\x07\x00\x00\x00numbersJ\xff\xff\xff\x7fsb"
    ),
    "lists without end": state(b"\x80\x02" + b"]" * 2**22 + b"."),
    "dictionaries without end": state(
        b"\x80\x02ccollections\nOrderedDict\nq\x00)q\x01" + b"h\x00h\x01R" * 2**18 + b"."
    ),
    "a nest of marks": state(b"\x80\x02" + b"(" * 3_000_000 + b"."),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_takes_no_more_memory_than_a_few_times_its_size(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb.pt"
    path.write_bytes(BOMBS[kind])
    code = f"""
import resource
from pathlib import Path
from bench.errors import WeightsError
from bench.zoo import torch_pickle
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = used()
try:
    torch_pickle.read_tensors(Path({str(path)!r}))
except WeightsError as error:
    print(error)
print(used() - before)
"""
    limit = 4 * 2**30  # enough for NumPy's reservations, and not for the bomb

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, preexec_fn=limited
    )
    assert done.returncode == 0, done.stderr[-500:]
    *text, kib = done.stdout.splitlines()
    assert text[0].startswith("bomb.pt: "), done.stdout
    assert "MemoryError" not in done.stdout
    assert int(kib) < 64 * 2**10 + 20 * path.stat().st_size // 2**10


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.pt"
    with path.open("wb") as file:
        file.truncate(torch_pickle.LARGEST + 1)  # takes no room on disk
    with pytest.raises(WeightsError, match=r"huge\.pt: is larger than 33,554,432 bytes"):
        torch_pickle.read_tensors(path)


def test_the_zip_format_is_not_even_opened(tmp_path: Path) -> None:
    path = tmp_path / "new.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", ATTACKS["system"])
    with pytest.raises(WeightsError, match="in PyTorch's zip format"):
        torch_pickle.read_tensors(path)


def test_a_plain_pickle_is_no_weights(tmp_path: Path) -> None:
    assert "evil.pt" in said(tmp_path / "evil.pt", pickle.dumps({"a": 1}))
