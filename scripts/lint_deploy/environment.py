"""The Python environment and npm's packages of the checks, made in the cache folder when they are missing."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent / "setup"))

from cache import Layout, exclusive  # noqa: E402
from console import run, say  # noqa: E402

REQUIREMENTS = FOLDER / "requirements.txt"
CRDS = FOLDER / "crds"
HINT = "docs/setup.md says how to point pip and npm at what you have"


def enter() -> Path:
    """Goes on in the environment, which holds exactly what `requirements.txt` names; returns the folder that has the
    packages of `crds/` as `node_modules`."""
    layout = Layout.from_environment()
    with exclusive(layout):
        python, crds = _python(layout), _crds(layout)
    if Path(sys.prefix) != python:
        interpreter = str(python / "bin" / "python")
        os.execv(interpreter, [interpreter, "-B", *sys.argv])
    return crds


def _python(layout: Layout) -> Path:
    folder = layout.cache / "lint-deploy" / f"python-{_version(REQUIREMENTS)}"
    if not (folder / "complete").exists():
        say("lint-deploy", f"making {folder} (25 MB to fetch)")
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)], purpose="making a Python environment")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
        run([*pip, "--requirement", str(REQUIREMENTS)], HINT, "fetching the schemas by pip")
        (folder / "complete").touch()
    return folder


def _crds(layout: Layout) -> Path:
    folder = layout.cache / "lint-deploy" / f"npm-{_version(CRDS / 'package-lock.json')}"
    if not (folder / "complete").exists():
        say("lint-deploy", f"making {folder} (5 MB to fetch)")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(CRDS, folder)
        run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], HINT, "fetching types by npm", cwd=folder)
        (folder / "complete").touch()
    return folder


def _version(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
