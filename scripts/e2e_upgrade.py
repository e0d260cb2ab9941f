"""Builds an older release beside this one, and runs sweeps by an old worker and a new coordinator and the reverse.

usage: e2e_upgrade.py [COMMIT]

COMMIT is, unless named, the newest tag, or else the commit that made today's protocol baseline; where that one's results
are of another version, which no worker of today yields, it is the first commit whose results are of today's. It is
built in a worktree of the cache folder, with a target folder of its own (TEMPER_UPGRADE_TARGET names another). The last line is
`e2e-upgrade: ok old=COMMIT jobs=N lost=0 duplicates=0` or `e2e-upgrade: FAILED reason`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Optional

CHECKOUT = Path(__file__).resolve().parent.parent
SPEC = "crates/temper-core/src/spec.rs"
VERSION = re.compile(r"RESULT_VERSION: u32 = (\d+)")
PROGRAMS = ["temper-coordinator", "temper-worker"]


def main(wanted: Optional[str]) -> int:
    """Builds both, runs the harness, and returns its status."""
    try:
        old = git("rev-parse", "--short", f"{wanted or default()}^{{commit}}")
        if old == git("rev-parse", "--short", "HEAD"):
            raise RuntimeError(f"{old} is what is checked out: name an older commit")
        if version(old) != version("HEAD"):
            raise RuntimeError(f"results of {old} are of version {version(old)}, today's of {version('HEAD')}")
        programs = build(old)
        cargo(CHECKOUT, {}, *PROGRAMS)
        harness = ["cargo", "run", "--locked", "--quiet", "--bin", "e2e-upgrade", "--"]
        return subprocess.call([*harness, "--old", str(programs), "--name", old], cwd=CHECKOUT)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        print(f"e2e-upgrade: FAILED {error}")
        return 1


def default() -> str:
    """The release before this one, as far as the repository tells."""
    # At a release HEAD bears its tag, and made the baseline.
    tags = git("tag", "--sort=-creatordate", "--merged", "HEAD~1").splitlines()
    old = tags[0] if tags else git("log", "-1", "--format=%H", "HEAD~1", "--", "proto/baseline.binpb")
    if version(old) == version("HEAD"):
        return old
    text = f"RESULT_VERSION: u32 = {version('HEAD')}"
    return git("log", "--format=%H", f"-S{text}", "--", SPEC).splitlines()[-1]


def version(commit: str) -> str:
    """Version of the results that a commit yields."""
    found = VERSION.search(git("show", f"{commit}:{SPEC}"))
    return found.group(1) if found else "none"


def build(old: str) -> Path:
    """Builds the programs of a commit, and returns their folder."""
    cache = Path(os.environ.get("TEMPER_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "temper")
    tree = cache / "upgrade" / "checkout"
    target = Path(os.environ.get("TEMPER_UPGRADE_TARGET") or cache / "upgrade" / "target")
    git("worktree", "prune")
    if tree.exists():
        git("worktree", "remove", "--force", str(tree))
    tree.parent.mkdir(parents=True, exist_ok=True)
    git("worktree", "add", "--detach", str(tree), old)
    try:
        cargo(tree, {"CARGO_TARGET_DIR": str(target)}, *PROGRAMS)
    finally:
        git("worktree", "remove", "--force", str(tree))
    return target / "debug"


def cargo(folder: Path, environment: dict, *programs: str) -> None:
    """Builds programs of a checkout, against the libtorch of this one."""
    names = [part for program in programs for part in ("--bin", program)]
    libtorch = os.environ.get("LIBTORCH") or str((CHECKOUT / ".local/libtorch").resolve())
    settings = {**os.environ, "LIBTORCH": libtorch, **environment}
    subprocess.run(["cargo", "build", "--locked", *names], cwd=folder, env=settings, check=True)


def git(*arguments: str) -> str:
    """What git says."""
    said = subprocess.run(["git", *arguments], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else None))
