"""Runs a command against a PostgreSQL of its own, which it finds in DATABASE_URL.

usage: with_postgres.py COMMAND...

The cluster lives in a temporary folder, listens on a socket in there and nowhere else, and is gone when the
command ends. PostgreSQL refuses to run as root: root's clusters belong to an unprivileged user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List

CHECKOUT = Path(__file__).resolve().parents[1]
# Nothing in here outlives the command, so nothing has to survive a crash.
SETTINGS = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c synchronous_commit=off"


def main(command: List[str]) -> int:
    """Runs `command` and returns its exit status."""
    # Ending by SIGTERM has to unwind as well, or the server would stay behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with cluster() as url:
        environment = dict(os.environ, DATABASE_URL=url)
        return subprocess.run(command, env=environment, check=False).returncode


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """A running server; gives the URL of its empty database."""
    # The link may lie where the server's user cannot look; the installation it leads to does not.
    programs = (CHECKOUT / ".local" / "postgres").resolve() / "bin"
    if not programs.is_dir():
        sys.exit("with_postgres: no PostgreSQL in .local/postgres; run `make setup`")
    user = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="temper-pg-"))
    try:
        if user:
            shutil.chown(folder, user["user"], user["group"])
        data = folder / "data"
        initdb = ["initdb", "-D", data, "-U", "temper", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        server(programs, folder, user, initdb)
        start = ["pg_ctl", "start", "-w", "-D", data, "-l", folder / "log", "-o", f"{SETTINGS} -k {folder}"]
        server(programs, folder, user, start)
        try:
            yield f"postgres://temper@localhost/postgres?host={folder}"
        finally:
            server(programs, folder, user, ["pg_ctl", "stop", "-D", data, "-m", "immediate"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged() -> Dict[str, object]:
    """Whom the server runs as: nobody else than us, unless we are root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def server(programs: Path, folder: Path, user: Dict[str, object], command: List[object]) -> None:
    """Runs one of PostgreSQL's programs as `user`; its output is shown only if it fails."""
    program, *rest = map(str, command)
    output = folder / f"{program}.out"
    # A file, not a pipe: the server inherits it and would keep a pipe open for ever.
    with output.open("w") as file:
        done = subprocess.run(
            [str(programs / program), *rest], cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False, **user
        )
    if done.returncode != 0:
        log = folder / "log"
        shown = output.read_text() + (log.read_text() if log.exists() else "")
        sys.exit(f"with_postgres: {program} failed\n{shown}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
