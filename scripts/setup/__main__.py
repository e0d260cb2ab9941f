"""Fetches what Temper's build, tests and demo need, into the user's cache folder. See docs/setup.md."""

from __future__ import annotations

import argparse
import os
import sys

import datasets
import libtorch
import postgres
import tools
import weights
from cache import Layout, exclusive
from console import SetupError

VARIABLES = """
What is there is not fetched again, and an interrupted run goes on where it stopped. Nothing needs root,
nothing is installed into the system. Variables that point it at what you have:

  TEMPER_CACHE          the cache folder (default: $XDG_CACHE_HOME/temper, ~/.cache/temper)
  LIBTORCH              a libtorch 2.13.0 of your own, for instance one with CUDA
  LIBTORCH_USE_PYTORCH  1: the libtorch of the active Python environment (torch 2.13.0)
  TEMPER_POSTGRES       the bin folder of a PostgreSQL >= 15; the word `fetch` passes over the system's
  TEMPER_MIRROR         folders of weights and datasets, laid out as the hub, separated by colons
  PIP_INDEX_URL         and pip's other settings: where Python packages come from
"""


def main() -> int:
    """Runs the steps and ends with one line that says how it went."""
    parser = argparse.ArgumentParser(
        prog="scripts/setup",
        description=__doc__,
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lint", action="store_true", help="the programs of `make lint` as well")
    parser.add_argument("--deploy", action="store_true", help="the programs of `make lint-deploy`, and nothing else")
    arguments = parser.parse_args()
    layout = Layout.from_environment()
    # All of it is public, and some is for other users: root's PostgreSQL runs as one.
    os.umask(0o022)
    try:
        with exclusive(layout):
            facts = prepare_deploy(layout) if arguments.deploy else prepare(layout, arguments.lint)
    except SetupError as error:
        return _failed(error, error.hint)
    except OSError as error:
        return _failed(error, "is the disk full, or the cache folder another user's?")
    print("setup: ok", *(f"{name}={value}" for name, value in facts.items()))
    return 0


def prepare(layout: Layout, lint: bool) -> dict:
    """Every step in turn, the smallest first; returns what the last line tells."""
    tools.prepare(layout)
    weights.prepare(layout)
    datasets.prepare(layout)
    facts = {"postgres": postgres.prepare(layout), "libtorch": libtorch.prepare(layout)}
    if lint:
        tools.prepare_lint(layout)
    layout.mirror.mkdir(parents=True, exist_ok=True)
    layout.link("mirror", layout.mirror)
    layout.link("tools", layout.tools)
    return {**facts, "cache": layout.cache}


def prepare_deploy(layout: Layout) -> dict:
    """What looks at `deploy/`, which needs nothing that is built."""
    tools.prepare_deploy(layout)
    layout.link("tools", layout.tools)
    return {"cache": layout.cache}


def _failed(error: Exception, hint: str) -> int:
    first, *rest = str(error).splitlines()
    for line in rest:
        print(line, file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    print(f"setup: FAILED {first}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
