"""Files out of Debian packages, without root: apt with a state of its own, dpkg-deb to unpack."""

from __future__ import annotations

import getpass
import shutil
from pathlib import Path
from typing import List

from cache import Layout, building
from console import SetupError, run, say


def unpack(layout: Layout, package: str, inside: str, target: Path, hint: str) -> None:
    """Makes `target` the folder `inside` of Debian's `package`; `hint` says what to do where there is no apt."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SetupError(f"{package} is a Debian package, and this system has no apt-get and dpkg-deb", hint)
    work = layout.downloads / package
    deb = _download(work, package, hint)
    run(["dpkg-deb", "--extract", str(deb), str(work / "tree")], hint)
    found = work / "tree" / inside
    if not found.is_dir():
        raise SetupError(f"{deb.name} holds no folder {inside}", hint)
    with building(target) as part:
        shutil.copytree(found, part, dirs_exist_ok=True)
    shutil.rmtree(work)


def _download(work: Path, package: str, hint: str) -> Path:
    say(package, "fetching the Debian package")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    apt = ["apt-get", "--quiet=2", *_private(work)]
    try:
        run([*apt, "-o", "Dir::State::Lists=/var/lib/apt/lists", "download", package], cwd=work)
    except SetupError:
        # A fresh image has no package lists, and an old machine stale ones: read our own.
        run([*apt, "update"], hint, "reading the package lists by apt")
        run([*apt, "download", package], hint, f"fetching {package} by apt", cwd=work)
    return next(work.glob(f"{package}_*.deb"))


def _private(work: Path) -> List[str]:
    """Options that keep apt away from the system's locks and folders, so that any user may run it."""
    state, cache = work / "state", work / "cache"
    for folder in (state / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True)
    settings = {
        "Dir::State::Lists": state,
        "Dir::Cache": cache,
        "Debug::NoLocking": 1,
        "Acquire::Retries": 3,
        # Root's apt drops to a user who cannot read our folders; it then only warns, and fetches as root.
        "APT::Sandbox::User": getpass.getuser(),
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
