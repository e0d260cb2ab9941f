"""The mirror folder: which files it must hold, and which are there.

`mirror.sha256` lists them as `<sha256> <bytes> <path>`, the path relative to the mirror and laid out as the
hub is: `models/<owner>/<name>/<file>`, `datasets/<owner>/<name>/<file>`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import List

from cache import Layout, sha256
from console import SetupError

MANIFEST = Path(__file__).with_name("mirror.sha256")


@dataclass(frozen=True)
class Entry:
    """One pinned file."""

    sha256: str
    size: int
    path: str

    def present(self, mirror: Path) -> bool:
        """Whether the file is there with its size; files of our own mirror are named only when whole."""
        file = mirror / self.path
        return file.is_file() and file.stat().st_size == self.size

    def check(self, mirror: Path) -> None:
        """Demands the pinned content."""
        file = mirror / self.path
        if not self.present(mirror) or sha256(file) != self.sha256:
            file.unlink(missing_ok=True)
            raise SetupError(f"{self.path} is not the file that was pinned ({self.sha256}); removed it")


def entries(prefix: str) -> List[Entry]:
    """The pinned files whose path starts with `prefix`."""
    listed = (line.split() for line in MANIFEST.read_text(encoding="ascii").splitlines())
    found = [Entry(digest, int(size), path) for digest, size, path in listed]
    return [entry for entry in found if entry.path.startswith(prefix)]


def missing(layout: Layout, prefix: str) -> List[Entry]:
    """The files of `prefix` that neither our mirror nor one of `TEMPER_MIRROR` holds."""
    return [entry for entry in entries(prefix) if not _held(layout, entry)]


def _held(layout: Layout, entry: Entry) -> bool:
    if entry.present(layout.mirror):
        return True
    others = [Path(folder) for folder in os.environ.get("TEMPER_MIRROR", "").split(":") if folder]
    return any(entry.present(other) and sha256(other / entry.path) == entry.sha256 for other in others)
