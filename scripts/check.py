"""Runs the steps of a check and ends with one line: `NAME: ok key=value …` or `NAME: FAILED steps`.

usage: check.py NAME STEP...

A step is the make target NAME-STEP. Every step runs, even after a failure: one look shows all there is to mend.
Tests that the steps report as passed are counted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import List, Tuple

# The summaries of nextest and libtest ("12 passed"), and of unittest ("Ran 12 tests in 0.1s").
PASSED = re.compile(r"\b(\d+) passed\b|^Ran (\d+) tests? in ")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main(name: str, steps: List[str]) -> int:
    """Runs `steps` and prints the verdict; returns the exit status."""
    started = time.monotonic()
    failed, tests = [], 0
    for step in steps:
        print(f"== {name}: {step}", flush=True)
        status, passed = run(f"{name}-{step}")
        tests += passed
        if status != 0:
            failed.append(step)
    seconds = round(time.monotonic() - started)
    if failed:
        print(f"{name}: FAILED {','.join(failed)}")
        return 1
    counted = [f"passed={tests}"] if tests else []
    print(f"{name}: ok", f"steps={len(steps)}", *counted, f"seconds={seconds}")
    return 0


def run(target: str) -> Tuple[int, int]:
    """Makes `target`, shows its output, and returns its status and how many tests passed."""
    environment = dict(os.environ)
    if sys.stdout.isatty():
        environment.setdefault("CARGO_TERM_COLOR", "always")
    process = subprocess.Popen(
        [os.environ.get("MAKE", "make"), "--no-print-directory", target],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    passed = 0
    for line in process.stdout:
        print(line, end="", flush=True)
        found = PASSED.search(COLOUR.sub("", line))
        passed += int(found.group(1) or found.group(2)) if found else 0
    return process.wait(), passed


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
