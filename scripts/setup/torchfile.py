"""Reads tensors from PyTorch's legacy files without PyTorch, and without running what the file says.

The format: pickles of a magic number, a protocol number, facts of the machine, the state and the list of
storage keys; then every storage in that order, as an 8-byte count and raw little-endian elements.
A tensor in the state is a view of a storage: offset, shape and strides, all in elements.
"""

from __future__ import annotations

import itertools
import pickle
import struct
import sys
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, Tuple

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class BadTorchFile(Exception):
    """The file is not of the legacy format, or wants more than plain tensors."""


@dataclass
class Storage:
    """A flat run of elements; `typecode` is the `array` module's."""

    typecode: str
    count: int
    elements: array = field(default_factory=lambda: array("b"))


@dataclass(frozen=True)
class Tensor:
    """A strided view of a storage."""

    storage: Storage
    offset: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]

    @property
    def is_float32(self) -> bool:
        """Whether the elements are 32-bit floats."""
        return self.storage.typecode == "f"

    def contiguous(self) -> bytes:
        """The elements in row-major order, little-endian."""
        axes = [(extent, stride) for extent, stride in zip(self.shape, self.strides) if extent != 1]
        if self.offset < 0 or any(extent < 1 or stride < 1 for extent, stride in axes):
            raise BadTorchFile(f"a view of shape {self.shape} and strides {self.strides}")
        if self.offset + sum((extent - 1) * stride for extent, stride in axes) >= self.storage.count:
            raise BadTorchFile(f"a view of shape {self.shape} reaches past its storage")
        gathered = array(self.storage.typecode)
        for start, stop, step in _rows(axes, self.offset):
            gathered.extend(self.storage.elements[start:stop:step])
        if sys.byteorder == "big":
            gathered.byteswap()
        return gathered.tobytes()


def _rows(axes, offset: int) -> Iterator[Tuple[int, int, int]]:
    """The slices of the storage that, one after another, are the view in row-major order."""
    *outer, (extent, stride) = axes or [(1, 1)]
    for starts in itertools.product(*(range(0, n * s, s) for n, s in outer)):
        start = offset + sum(starts)
        yield start, start + (extent - 1) * stride + 1, stride


def read(path: Path) -> Dict[str, Tensor]:
    """The file's tensors by name, in the file's order."""
    with path.open("rb") as file:
        reader = _Reader(file)
        if reader.next() != MAGIC or reader.next() != PROTOCOL:
            raise BadTorchFile(f"{path.name} is not in PyTorch's legacy format")
        if not reader.next().get("little_endian"):
            raise BadTorchFile(f"{path.name} is not little-endian")
        state, keys = reader.next(), reader.next()
        for key in keys:
            _fill(file, reader.storages[key])
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise BadTorchFile(f"{path.name} holds more than tensors")
    return state


def _fill(file: BinaryIO, storage: Storage) -> None:
    (count,) = struct.unpack("<q", file.read(8))
    if count != storage.count:
        raise BadTorchFile(f"a storage of {count} elements where {storage.count} were announced")
    storage.elements = array(storage.typecode)
    raw = file.read(count * storage.elements.itemsize)
    if len(raw) != count * storage.elements.itemsize:
        raise BadTorchFile("the file ends inside a storage")
    storage.elements.frombytes(raw)
    if sys.byteorder == "big":
        storage.elements.byteswap()


class _Reader:
    """Loads one pickle after another, all by the same short list of allowed names."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.storages: Dict[str, Storage] = {}

    def next(self):
        """The next pickled object."""
        return _Unpickler(self.file, self.storages).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, storages: Dict[str, Storage]) -> None:
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str):
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): "f",
            ("torch", "LongStorage"): "q",
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
        }
        if (module, name) not in allowed:
            raise BadTorchFile(f"the file asks for {module}.{name}, which is not allowed")
        return allowed[module, name]

    def persistent_load(self, pid):
        kind, typecode, key, _device, count, view = pid
        if kind != "storage" or view is not None:
            raise BadTorchFile(f"a persistent object of kind {kind}")
        return self.storages.setdefault(key, Storage(typecode, count))


def _rebuild(storage, offset, shape, strides, _requires_grad, _hooks) -> Tensor:
    return Tensor(storage, offset, tuple(shape), tuple(strides))
