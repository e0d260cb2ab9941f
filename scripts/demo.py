"""Runs a real sweep, end to end, and draws its curves: `make demo`.

usage: demo.py [--kill-worker]

Starts `temper up` on free ports over a fresh demo/data, submits examples/demo.json (by grpcurl where it is there),
shows its progress, prints its table, writes demo/curves.svg, stops everything and looks whether anything is left.
With --kill-worker a worker is killed by SIGKILL in the middle of a training; the sweep has to succeed all the same.
The last line is `demo: ok key=value …` or `demo: FAILED reason`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Optional

from local_mode import ROOT, TEMPER, Failed, LocalMode, capture, mean, run_to_end, say

SPEC = ROOT / "examples/demo.json"
OUT = ROOT / "demo"

STANDARD_CLEAN_AT_LEAST = 0.60
ROBUST_GAIN_AT_LEAST = 0.10
EPOCH = re.compile(r"^(jobs/\d+) .*: epoch [1-9]")


def main(kill_worker: bool) -> int:
    """Runs the demo; returns the exit status."""
    name = "demo-killed-worker" if kill_worker else "demo"
    # `kill` ends it as Ctrl-C does, so that all is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        figures = demo(kill_worker)
    except Failed as failure:
        print(f"{name}: FAILED {failure}")
        return 1
    except KeyboardInterrupt:
        print(f"{name}: FAILED interrupted")
        return 130
    figures["seconds"] = str(round(time.monotonic() - started))
    print(f"{name}: ok", *(f"{key}={value}" for key, value in figures.items()))
    return 0


def demo(kill_worker: bool) -> Dict[str, str]:
    """All of it; returns the figures of the last line."""
    local = LocalMode(OUT)
    local.empty()
    with local:
        sweep = submit(local)
        killed = watch(sweep, local, kill_worker)
        figures = results(sweep, local)
        if killed:
            figures.update(show_killed(killed, local))
    print(f"\nlook at demo/curves.svg; the data stays for `{TEMPER.name} up --data demo/data`")
    return figures


def submit(local: LocalMode) -> str:
    """Submits the spec; returns the sweep's name."""
    ours = ROOT / ".local/tools/bin/grpcurl"
    grpcurl = str(ours) if ours.exists() else shutil.which("grpcurl")
    if not grpcurl:
        say("temper submit examples/demo.json")
        return local.temper("submit", str(SPEC)).strip()
    host = local.environment["TEMPER_COORDINATOR"].replace("http://", "")
    method = "temper.v1.SweepService/CreateSweep"
    # From the environment: a command line is everybody's to see.
    header = ["-expand-headers", "-H", "authorization: Bearer ${TEMPER_TOKEN}"]
    token = Path(local.environment["TEMPER_TOKEN_FILE"]).read_text().strip()
    say(f"grpcurl -plaintext {' '.join(header[:2])} '{header[2]}' -d @ {host} {method} < examples/demo.json")
    command = [grpcurl, "-plaintext", *header, "-d", "@", host, method]
    answer = capture(command, {**local.environment, "TEMPER_TOKEN": token}, SPEC.read_text())
    sweep = json.loads(answer)
    print(f"{sweep['name']}: {sweep['cells']} cells")
    return sweep["name"]


def watch(sweep: str, local: LocalMode, kill_worker: bool) -> Optional[str]:
    """Follows the sweep to its end; returns the job whose worker was killed, if one was."""
    say(f"temper watch {sweep}")
    command = [str(TEMPER), "watch", sweep]
    if not kill_worker:
        run_to_end(subprocess.Popen(command, env=local.environment))
        return None
    killed = None
    process = subprocess.Popen(command, env=local.environment, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        print(line, end="", flush=True)
        epoch = EPOCH.match(line)
        if epoch and not killed:
            killed = epoch.group(1)
            kill_worker_of(killed, local)
    run_to_end(process)
    if not killed:
        raise Failed("no training reported an epoch: no worker was killed")
    return killed


def kill_worker_of(job: str, local: LocalMode) -> None:
    """Kills the worker that holds `job`: workers of `temper up` are called HOST:PID."""
    worker = local.json("job", job)["attempts"][-1]["worker"]
    pid = int(worker.rpartition(":")[2])
    if pid not in json.loads((local.data / "up.json").read_text())["workers"]:
        raise Failed(f"{worker}, which holds {job}, is none of ours")
    say(f"SIGKILL to {worker}, which holds {job}")
    os.kill(pid, signal.SIGKILL)


def show_killed(job: str, local: LocalMode) -> Dict[str, str]:
    """Shows the attempts of the job whose worker was killed."""
    say(f"temper job {job}")
    print(local.temper("job", job))
    attempts = local.json("job", job)["attempts"]
    outcomes = [attempt["outcome"].replace("ATTEMPT_OUTCOME_", "").lower() for attempt in attempts]
    if "lost" not in outcomes or outcomes[-1] != "succeeded":
        raise Failed(f"the attempts of {job} do not show its worker's death: {', '.join(outcomes)}")
    return {"killed": job, "attempts": ",".join(outcomes)}


def results(sweep: str, local: LocalMode) -> Dict[str, str]:
    """Shows and judges what the sweep found."""
    say(f"temper results {sweep} --svg demo/curves.svg")
    cells = local.require_whole(sweep)
    print(local.temper("results", sweep, "--svg", str(OUT / "curves.svg")), end="")
    groups = local.json("results", sweep)["groups"]
    return {"cells": cells, "succeeded": cells, **judge({group["schedule"]: group for group in groups})}


def judge(schedules: Dict[str, dict]) -> Dict[str, str]:
    """The figures of the last line; fails where nothing was learned."""
    standard, fixed, two_hinge = (schedules[name] for name in ("standard", "fixed", "two-hinge"))
    clean, robust = mean(standard, "cleanAccuracy"), mean(fixed, "robustAccuracy")
    if clean < STANDARD_CLEAN_AT_LEAST:
        raise Failed(f"standard clean accuracy is {clean:.3f}, not at least {STANDARD_CLEAN_AT_LEAST}")
    needed = mean(standard, "robustAccuracy") + ROBUST_GAIN_AT_LEAST
    if robust < needed:
        raise Failed(f"fixed robust accuracy is {robust:.3f}, not at least {needed:.3f}")
    figures = {
        "standard_clean": clean,
        "fixed_clean": mean(fixed, "cleanAccuracy"),
        "fixed_robust": robust,
        "expected_fixed": mean(fixed, "expectedRobustness"),
        "expected_two_hinge": mean(two_hinge, "expectedRobustness"),
    }
    return {key: f"{value:.3f}" for key, value in figures.items()}


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--kill-worker"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:] == ["--kill-worker"]))
