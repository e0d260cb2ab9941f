"""Real images that can be had without the hub: Fashion-MNIST, and the photos of the golden test."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import debian
import mirror
import pypi
from cache import Layout, building, write_whole
from console import say

FASHION = "datasets/zalando-datasets/fashion_mnist"
PHOTOS = "photos/imagenet"

FOOLBOX = pypi.Package(
    "foolbox", "3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb", 2
)


def prepare(layout: Layout) -> None:
    """Puts the datasets into the mirror."""
    _fashion_mnist(layout)
    _photos(layout)


def _fashion_mnist(layout: Layout) -> None:
    missing = mirror.missing(layout, FASHION)
    if not missing:
        return
    names = ", ".join(Path(entry.path).name for entry in missing)
    hint = f"put {names} of Fashion-MNIST into {layout.mirror / FASHION} and try again"
    unpacked = layout.downloads / "fashion-mnist"
    debian.unpack(layout, "dataset-fashion-mnist", "usr/share", unpacked, hint)
    for entry in missing:
        source = unpacked / "datasets" / "fashion-mnist" / Path(entry.path).name
        write_whole(layout.mirror / entry.path, source.read_bytes())
        entry.check(layout.mirror)
    licence = unpacked / "doc" / "dataset-fashion-mnist" / "copyright"
    write_whole(layout.mirror / FASHION / "LICENSE", licence.read_bytes())
    shutil.rmtree(unpacked)


def _photos(layout: Layout) -> None:
    """Twenty ImageNet photos, named `imagenet_<number>_<class>.jpg`."""
    if not mirror.missing(layout, PHOTOS):
        return
    with pypi.wheel(layout, FOOLBOX) as opened:
        say("photos", f"taking 20 ImageNet photos out of {FOOLBOX}")
        with building(layout.mirror / PHOTOS) as part:
            for name in opened.namelist():
                if re.fullmatch(r"foolbox/data/imagenet_\d+_\d+\.jpg", name):
                    write_whole(part / Path(name).name, opened.read(name))
            pypi.keep_licences(opened, part)
    for entry in mirror.entries(PHOTOS):
        entry.check(layout.mirror)
