"""Runs the long forms of the fuzz tests one after another, each for its share of the time, and ends with one line:
`fuzz: ok requests=… specs=… seconds=… seed=…` or `fuzz: FAILED reason`.

usage: fuzz.py SECONDS SEED
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import Dict, List, NamedTuple

# What a test says of itself when it is through.
TOLD = re.compile(r"^fuzzed: (\w+)=(\d+) ")


class Part(NamedTuple):
    """A test, and how much of the time it gets."""

    share: float
    package: str
    target: List[str]
    test: str


PARTS = [
    Part(0.3, "temper-coordinator", ["--lib"], "grpc::tests::any_spec_is_laid_out_or_refused_by_its_fields"),
    Part(
        0.6,
        "temper-coordinator",
        ["--test", "protocol"],
        "fuzz::any_bytes_are_answered_and_what_is_refused_leaves_no_trace",
    ),
    Part(0.1, "temper-results", ["--test", "fuzz"], "any_bytes_are_answered_and_nothing_is_stored"),
]


def main(seconds: int, seed: int) -> int:
    """Runs every part and prints the verdict; returns the exit status."""
    started = time.monotonic()
    done: Dict[str, int] = {}
    failed = []
    for part in PARTS:
        told = run(part, max(1, round(seconds * part.share)), seed)
        if not told:
            failed.append(f"{part.package}:{part.test}")
        for name, count in told.items():
            done[name] = done.get(name, 0) + count
    if failed:
        print(f"fuzz: FAILED {','.join(failed)} seed={seed}")
        return 1
    counted = " ".join(f"{name}={done[name]}" for name in sorted(done))
    print(f"fuzz: ok {counted} seconds={round(time.monotonic() - started)} seed={seed}")
    return 0


def run(part: Part, seconds: int, seed: int) -> Dict[str, int]:
    """Runs a part, shows its output, and returns how much of what it did; nothing where it failed."""
    command = ["cargo", "test", "--locked", "--package", part.package, *part.target, "--"]
    process = subprocess.Popen(
        [*command, "--exact", "--nocapture", part.test],
        env={**os.environ, "TEMPER_FUZZ_SECONDS": str(seconds), "TEMPER_FUZZ_SEED": str(seed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    told = {}
    for line in process.stdout:
        print(line, end="", flush=True)
        found = TOLD.match(line)
        if found:
            told[found.group(1)] = int(found.group(2))
    return told if process.wait() == 0 else {}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
