"""Where things are kept: one cache folder for every checkout, and links to it in the checkout's `.local`."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from console import SetupError, say

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Layout:
    """The folders of one set-up."""

    cache: Path
    local: Path

    @staticmethod
    def from_environment() -> Layout:
        """`TEMPER_CACHE`, else the user's cache folder."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = os.environ.get("TEMPER_CACHE") or Path(home) / "temper"
        return Layout(Path(cache).expanduser().absolute(), CHECKOUT / ".local")

    @property
    def downloads(self) -> Path:
        """Archives on their way to becoming something else; empty after a complete set-up."""
        return self.cache / "downloads"

    @property
    def mirror(self) -> Path:
        """Weights and datasets, laid out as the hub's repositories are."""
        return self.cache / "mirror"

    @property
    def tools(self) -> Path:
        """Programs, one folder a version, with `bin` linking to the current ones."""
        return self.cache / "tools"

    def link(self, name: str, target: Path) -> None:
        """Makes `.local/<name>` point at `target`; nothing is touched when it already does."""
        self.local.mkdir(exist_ok=True)
        replace_link(self.local / name, target)


def replace_link(link: Path, target: Path) -> None:
    """Points `link` at `target` in one step, so that no build ever sees it missing."""
    if link.is_symlink() and os.readlink(link) == str(target):
        return
    if link.exists() and not link.is_symlink():
        raise SetupError(f"{link} is in the way", "it is not a link made by the set-up: move it elsewhere")
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


@contextlib.contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A `.part` folder that becomes `folder` when the block succeeds: what bears its final name is whole."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes a file that bears its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.chmod(mode)
    part.replace(path)


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """One set-up at a time on a cache that several checkouts share."""
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("cache", f"waiting for another set-up that uses {layout.cache}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
