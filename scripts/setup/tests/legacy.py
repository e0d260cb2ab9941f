"""Writes files in PyTorch's legacy format, to test the reader with."""

from __future__ import annotations

import pickle
import struct
import sys
import types
from array import array
from collections import OrderedDict
from contextlib import contextmanager
from io import BytesIO

import torchfile


class FloatStorage:
    """Stands for torch.FloatStorage."""


class LongStorage:
    """Stands for torch.LongStorage."""


TYPECODES = {FloatStorage: "f", LongStorage: "q"}


class View:
    """A tensor to write: a view of the storage `key`."""

    def __init__(self, kind, key, count, offset, shape, strides):
        self.arguments = (Key(kind, key, count), offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Key:
    """A storage's persistent id."""

    def __init__(self, kind, key, count):
        self.pid = ("storage", kind, key, "cpu", count, None)


class Pickler(pickle.Pickler):
    """Writes keys of storages as persistent ids, as torch does."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Key) else None


@contextmanager
def torch_names():
    """Lends the stand-ins the module names that a file refers to them by."""

    def _rebuild_tensor_v2(*_arguments):
        raise NotImplementedError

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in TYPECODES:
        setattr(torch, kind.__name__, kind)
        kind.__module__ = "torch"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield
    finally:
        for name, module in saved.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})


def legacy_file(state, storages, magic=torchfile.MAGIC) -> bytes:
    """A legacy file of `state`, with `storages` as {key: (kind, elements)}."""
    out = BytesIO()
    with torch_names():
        for part in (magic, torchfile.PROTOCOL, {"little_endian": True}, state, sorted(storages)):
            Pickler(out, protocol=2).dump(part)
    for key in sorted(storages):
        kind, elements = storages[key]
        packed = array(TYPECODES[kind], elements)
        if sys.byteorder == "big":
            packed.byteswap()
        out.write(struct.pack("<q", len(elements)) + packed.tobytes())
    return out.getvalue()
