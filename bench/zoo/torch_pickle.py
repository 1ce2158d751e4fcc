"""Reads the tensors of a file in PyTorch's old pickle format, without PyTorch and without trust.

The format (``torch.save`` before 1.6): three header pickles (magic number, protocol version, sizes
of the machine's types), the state dict, the list of storage keys, then each storage as an 8-byte
count and its raw values. Unpickling can run any code that the file names, so only the four kinds
of name that a state dict needs are admitted, and each stands for something inert. Before that, the
instructions are read without being followed: those that a state dict never needs, and amounts that
no file of its size can mean, are refused, so that reading takes memory in proportion to the file.
"""

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MOST_AXES = 32
LARGEST = 2**25
"""Bytes of a file; that of the package has nine million."""
MOST_OBJECTS = 20_000
"""Tuples, lists, dictionaries and what is built of them; a tensor takes ten. One byte can stand for
a hundred of memory, and what hashes or frees a deep nest overflows the machine's stack."""
_MAKING = ("TUPLE", "EMPTY", "REDUCE", "BINPERSID")
_INSTRUCTIONS = frozenset(
    (
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
        *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("SETITEM", "SETITEMS", "APPEND", "APPENDS", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    )
)
"""What PyTorch writes, in version 2 of pickle."""
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
}


class _Storage(NamedTuple):
    """A run of numbers whose values come after the pickles.

    No attribute of a named tuple can be set, as a pickle may try after it was checked.
    """

    key: str
    dtype: str
    numbers: int


class _Tensor(NamedTuple):
    """A view of a storage: where it begins, and its shape and strides in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateDictUnpickler(pickle.Unpickler):
    """Knows the names of a state dict; any other name is an error before anything is called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            # Made anew at each use: a pickle may set attributes of what it is given.
            return lambda *given: _tensor(*given)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise WeightsError(f"refers to {module}.{name}, which no state dict needs; not read")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, view = pid
        plain = isinstance(dtype, str) and isinstance(key, str) and type(count) is int
        if kind != "storage" or not plain or dtype not in _STORAGES.values() or view is not None:
            raise WeightsError("refers to something other than a plain storage; not read")
        return _Storage(key, dtype, count)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    # Multiplied later: what is no number, or a huge one, must not get that far.
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(
        type(n) is int and abs(n) <= LARGEST for n in numbers
    ):
        raise WeightsError("has a tensor that is no view of a storage; not read")
    if len(shape) > _MOST_AXES:
        raise WeightsError(f"has a tensor of more than {_MOST_AXES} axes; not read")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _checked(content: bytes, begin: int) -> int:
    """Read a pickle's instructions without following them; where the next pickle begins.

    Raises:
        WeightsError: an instruction or an amount that no state dict needs.
        ValueError: it is cut short or damaged.
    """
    stream = io.BytesIO(content)
    stream.seek(begin)
    made = 0
    for instruction, argument, _ in pickletools.genops(stream):
        name = instruction.name
        made += name.startswith(_MAKING)
        if name not in _INSTRUCTIONS:
            raise WeightsError(f"uses pickle's {name}, which no state dict needs; not read")
        if made > MOST_OBJECTS:
            raise WeightsError(
                f"has more than {MOST_OBJECTS:,} tuples, lists and the like; not read"
            )
        if name == "LONG_BINPUT" and int(argument or 0) > len(content):
            raise WeightsError("numbers more objects than it has bytes; not read")
    return stream.tell()


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read a state dict.

    Args:
        path: a file written by PyTorch before 1.6, or with its old serialization since.

    Returns:
        The tensors as arrays of their own shape and type, in the file's order.

    Raises:
        WeightsError: the file cannot be read, is not in this format, is cut short, or names
            anything that a state dict has no need of (nothing of it is run).
    """
    try:
        if path.stat().st_size > LARGEST:
            raise WeightsError(f"is larger than {LARGEST:,} bytes; not read")
        return _read(path.read_bytes())
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error}") from error
    # A damaged pickle can raise nearly anything, and whatever it is, it means a damaged file.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise WeightsError(
            f"{path.name}: not a whole file in PyTorch's old format ({reason})"
        ) from error


def _read(content: bytes) -> dict[str, NDArray[Any]]:
    if content.startswith(b"PK"):
        raise WeightsError("in PyTorch's zip format; only the old pickle format is read")
    stream = io.BytesIO(content)
    magic, protocol, sizes, state, keys = (_loaded(content, stream) for _ in range(5))
    if magic != _MAGIC or protocol != _PROTOCOL or not sizes["little_endian"]:
        raise WeightsError("not in PyTorch's old format, or from a big-endian machine")
    wanted = {t.storage.key: t.storage for t in state.values() if isinstance(t, _Tensor)}
    arrays = _read_storages(content, stream.tell(), keys, wanted)
    return {str(name): _view(name, tensor, arrays) for name, tensor in state.items()}


def _loaded(content: bytes, stream: io.BytesIO) -> Any:
    end = _checked(content, stream.tell())
    loaded = _StateDictUnpickler(stream).load()
    stream.seek(end)
    return loaded


def _read_storages(
    content: bytes, position: int, keys: list[str], wanted: dict[str, _Storage]
) -> dict[str, NDArray[Any]]:
    arrays = {}
    for key in keys:
        storage = wanted[key]
        count = int.from_bytes(content[position : position + 8], "little")
        if count != storage.numbers:
            raise WeightsError(f"storage {key} holds {count} numbers, its tensor {storage.numbers}")
        arrays[key] = np.frombuffer(content, storage.dtype, count, position + 8)
        position += 8 + arrays[key].nbytes
    return arrays


def _view(name: str, tensor: Any, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    if not isinstance(tensor, _Tensor):
        raise WeightsError(f"{name} is not a tensor")
    size, shape = math.prod(tensor.shape), tensor.shape
    inner_sizes = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    row_major = all(
        length == 1 or stride == inner
        for length, stride, inner in zip(shape, tensor.strides, inner_sizes, strict=True)
    )
    values = arrays[tensor.storage.key][tensor.offset : tensor.offset + size]
    if tensor.offset < 0 or min(shape, default=1) < 0 or not row_major or values.size != size:
        raise WeightsError(f"tensor {name} does not lie row by row inside its storage")
    return values.reshape(shape)
