"""Runs a script of this folder in a Python environment with the peers, made in the cache folder when it is missing.

usage: run.py NAME SCRIPT [ARGUMENT...]; when the environment cannot be made, the last line is `NAME: FAILED reason`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent / "scripts" / "setup"))

from cache import Layout, exclusive  # noqa: E402
from console import SetupError, run, say  # noqa: E402

REQUIREMENTS = FOLDER / "requirements.txt"
# Peers that pin versions of requests which others refuse, and run without them: installed without what they ask for.
ALONE = ("torchattacks==3.5.1", "pyautoattack==0.2.0")
# What is built for a target, and handed to its script with a folder of its own.
EXAMPLES = {
    "parity-models": ["parity_models"],
    "parity": ["parity_attacks", "training"],
    "bench-train": ["training"],
}
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3")


def main(name: str, script: str, arguments: list[str]) -> int:
    layout = Layout.from_environment()
    os.umask(0o022)
    try:
        with exclusive(layout):
            python = environment(layout)
        if name in EXAMPLES:
            arguments = [*map(built, EXAMPLES[name]), str(layout.cache / f"{name}-scratch"), *arguments]
    except (SetupError, OSError) as error:
        print(f"{name}: FAILED {str(error).splitlines()[0]}")
        return 1
    return subprocess.run([python, "-W", "ignore", FOLDER / script, *arguments], check=False).returncode


def environment(layout: Layout) -> Path:
    """The interpreter of an environment that holds exactly what `requirements.txt` and `ALONE` name."""
    version = hashlib.sha256(REQUIREMENTS.read_bytes() + " ".join(ALONE).encode()).hexdigest()[:12]
    folder = layout.cache / "parity" / version
    whole = folder / "complete"
    if not whole.exists():
        say("parity", f"making {folder} (3 GB to fetch)")
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)
        whole.touch()
    return folder / "bin" / "python"


def make(folder: Path) -> None:
    """An environment knows its own path, so that it has to be made in place."""
    interpreter = next((found for found in map(shutil.which, PYTHONS) if found and is_new_enough(found)), None)
    if interpreter is None:
        raise SetupError("no Python from 3.11 on was found")
    run([interpreter, "-m", "venv", str(folder)], purpose="making a Python environment")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    for what in (["--requirement", str(REQUIREMENTS)], ["--no-deps", *ALONE]):
        run([*pip, *what], purpose="fetching the peers by pip", show=True)


def is_new_enough(interpreter: str) -> bool:
    """Whether the pinned packages run on it."""
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([interpreter, "-c", check], check=False).returncode == 0


def built(example: str) -> str:
    """Path of an example of temper-torch, built."""
    command = ["cargo", "build", "--locked", "--package", "temper-torch", "--example", example]
    run(command, purpose="building the Rust side", show=True, cwd=FOLDER.parent)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or FOLDER.parent / "target")
    return str(target / "debug" / "examples" / example)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
