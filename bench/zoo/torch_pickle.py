"""Reads the tensors of a file in PyTorch's old pickle format, without PyTorch and without trust.

The format (``torch.save`` before 1.6): three header pickles (magic number, protocol version, sizes
of the machine's types), the state dict, the list of storage keys, then each storage as an 8-byte
count and its raw values. Unpickling can run any code that the file names, so only the four kinds
of name that a state dict needs are admitted, and each stands for something inert.
"""

import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
}


@dataclass(frozen=True)
class _Storage:
    """A run of numbers whose values come after the pickles."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
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
            return lambda storage, offset, shape, strides, *_: _Tensor(
                storage, offset, tuple(shape), tuple(strides)
            )
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise WeightsError(f"refers to {module}.{name}, which no state dict needs; not read")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, view = pid
        if kind != "storage" or dtype not in _STORAGES.values() or view is not None:
            raise WeightsError("refers to something other than a plain storage; not read")
        return _Storage(key, dtype, count)


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
    magic, protocol, sizes, state, keys = (_StateDictUnpickler(stream).load() for _ in range(5))
    if magic != _MAGIC or protocol != _PROTOCOL or not sizes["little_endian"]:
        raise WeightsError("not in PyTorch's old format, or from a big-endian machine")
    wanted = {t.storage.key: t.storage for t in state.values() if isinstance(t, _Tensor)}
    arrays = _read_storages(content, stream.tell(), keys, wanted)
    return {str(name): _view(name, tensor, arrays) for name, tensor in state.items()}


def _read_storages(
    content: bytes, position: int, keys: list[str], wanted: dict[str, _Storage]
) -> dict[str, NDArray[Any]]:
    arrays = {}
    for key in keys:
        storage = wanted[key]
        count = int.from_bytes(content[position : position + 8], "little")
        if count != storage.count:
            raise WeightsError(f"storage {key} holds {count} numbers, its tensor {storage.count}")
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
