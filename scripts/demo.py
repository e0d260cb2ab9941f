"""Runs a real sweep, end to end, and draws its curves: `make demo`.

usage: demo.py [--kill-worker]

Starts `temper up` on free ports over a fresh demo/data, submits examples/demo.json (by grpcurl where it is there),
shows its progress, prints its table, writes demo/curves.svg, stops everything and looks whether anything is left.
With --kill-worker a worker is killed by SIGKILL in the middle of a training; the sweep has to succeed all the same.
The last line is `demo: ok key=value …` or `demo: FAILED reason`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "examples/demo.json"
OUT = ROOT / "demo"
DATA = OUT / "data"
TEMPER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/temper"

STANDARD_CLEAN_AT_LEAST = 0.60
ROBUST_GAIN_AT_LEAST = 0.10
# `temper up` gives its workers 30 s to finish, and its calls 10 s.
STOP_LIMIT = 60
EPOCH = re.compile(r"^(jobs/\d+) .*: epoch [1-9]")


class Failed(Exception):
    """The demo did not show what it should."""


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
    prepare()
    up = start()
    try:
        urls = wait_ready(up)
        environment = {**os.environ, "TEMPER_COORDINATOR": urls["coordinator"], "TEMPER_RESULTS": urls["results"]}
        sweep = submit(urls["coordinator"], environment)
        killed = watch(sweep, environment, kill_worker)
        figures = results(sweep, environment)
        if killed:
            figures.update(show_killed(killed, environment))
    except BaseException:
        stop(up)
        raise
    stop(up)
    check_nothing_left()
    print(f"\nlook at demo/curves.svg; the data stays for `{TEMPER.name} up --data demo/data`")
    return figures


def prepare() -> None:
    """Empties demo/data, unless somebody is using it."""
    if not TEMPER.exists():
        raise Failed(f"{TEMPER} is not built: run `make demo`")
    OUT.mkdir(exist_ok=True)
    lock = DATA / "lock"
    if lock.exists():
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Failed("another `temper up` is running on demo/data: stop it first") from None
        shutil.rmtree(DATA)


def start() -> subprocess.Popen:
    """`temper up` in the background, in a session of its own: Ctrl-C is for us, who then stop it in order."""
    say("temper up (its log: demo/up.log)")
    environment = {key: value for key, value in os.environ.items() if key not in ("TEMPER_DATABASE_URL", "TEMPER_DATA")}
    environment.setdefault("TEMPER_MIRROR", str(ROOT / ".local/mirror"))
    environment.setdefault("TEMPER_POSTGRES", str(ROOT / ".local/postgres/bin"))
    workers = max(1, min(os.cpu_count() or 1, 4))
    command = [str(TEMPER), "up", "--data", str(DATA), "--workers", str(workers)]
    command += ["--listen-coordinator", "127.0.0.1:0", "--listen-results", "127.0.0.1:0"]
    with (OUT / "up.log").open("w") as log:
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )


def wait_ready(up: subprocess.Popen) -> Dict[str, str]:
    """Where the services are, once `temper up` says that they are ready."""
    told: Dict[str, str] = {}
    for line in up.stdout:
        print(line, end="", flush=True)
        key, _, value = line.strip().partition(" ")
        if key == "ready":
            return told
        told[key] = value
    up.wait()
    raise Failed(f"temper up ended before it was ready: {last_line(OUT / 'up.log')}")


def submit(coordinator: str, environment: Dict[str, str]) -> str:
    """Submits the spec; returns the sweep's name."""
    local = ROOT / ".local/tools/bin/grpcurl"
    grpcurl = str(local) if local.exists() else shutil.which("grpcurl")
    if not grpcurl:
        say("temper submit examples/demo.json")
        return capture([str(TEMPER), "submit", str(SPEC)], environment).strip()
    host = coordinator.replace("http://", "")
    method = "temper.v1.SweepService/CreateSweep"
    say(f"grpcurl -plaintext -d @ {host} {method} < examples/demo.json")
    answer = capture([grpcurl, "-plaintext", "-d", "@", host, method], environment, SPEC.read_text())
    sweep = json.loads(answer)
    print(f"{sweep['name']}: {sweep['cells']} cells")
    return sweep["name"]


def watch(sweep: str, environment: Dict[str, str], kill_worker: bool) -> Optional[str]:
    """Follows the sweep to its end; returns the job whose worker was killed, if one was."""
    say(f"temper watch {sweep}")
    command = [str(TEMPER), "watch", sweep]
    if not kill_worker:
        run_to_end(subprocess.Popen(command, env=environment))
        return None
    killed = None
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        print(line, end="", flush=True)
        epoch = EPOCH.match(line)
        if epoch and not killed:
            killed = epoch.group(1)
            kill_worker_of(killed, environment)
    run_to_end(process)
    if not killed:
        raise Failed("no training reported an epoch: no worker was killed")
    return killed


def run_to_end(process: subprocess.Popen) -> None:
    """Waits for `temper watch`. A sweep that failed is told by its counts afterwards."""
    try:
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def kill_worker_of(job: str, environment: Dict[str, str]) -> None:
    """Kills the worker that holds `job`: workers of `temper up` are called HOST:PID."""
    worker = json.loads(capture([str(TEMPER), "job", job, "--json"], environment))["attempts"][-1]["worker"]
    pid = int(worker.rpartition(":")[2])
    if pid not in json.loads((DATA / "up.json").read_text())["workers"]:
        raise Failed(f"{worker}, which holds {job}, is none of ours")
    say(f"SIGKILL to {worker}, which holds {job}")
    os.kill(pid, signal.SIGKILL)


def show_killed(job: str, environment: Dict[str, str]) -> Dict[str, str]:
    """Shows the attempts of the job whose worker was killed."""
    say(f"temper job {job}")
    print(capture([str(TEMPER), "job", job], environment))
    attempts = json.loads(capture([str(TEMPER), "job", job, "--json"], environment))["attempts"]
    outcomes = [attempt["outcome"].replace("ATTEMPT_OUTCOME_", "").lower() for attempt in attempts]
    if "lost" not in outcomes or outcomes[-1] != "succeeded":
        raise Failed(f"the attempts of {job} do not show its worker's death: {', '.join(outcomes)}")
    return {"killed": job, "attempts": ",".join(outcomes)}


def results(sweep: str, environment: Dict[str, str]) -> Dict[str, str]:
    """Shows and judges what the sweep found."""
    command = [str(TEMPER), "results", sweep]
    say(f"temper results {sweep} --svg demo/curves.svg")
    listed = json.loads(capture([str(TEMPER), "sweeps", "--json"], environment))["sweeps"]
    ended = next(entry for entry in listed if entry["name"] == sweep)
    cells, succeeded = ended["cells"], ended.get("cellsSucceeded", 0)
    if succeeded != cells:
        print(capture([str(TEMPER), "jobs", sweep], environment))
        raise Failed(f"{succeeded} of {cells} cells succeeded")
    print(capture([*command, "--svg", str(OUT / "curves.svg")], environment), end="")
    groups = json.loads(capture([*command, "--json"], environment))["groups"]
    return {"cells": cells, "succeeded": succeeded, **judge({group["schedule"]: group for group in groups})}


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


def mean(group: dict, figure: str) -> float:
    """A mean; JSON of protobuf leaves zeros out."""
    return float(group[figure].get("mean", 0.0))


def stop(up: subprocess.Popen) -> None:
    """Stops `temper up` in order, whatever interrupts; kills it when it does not stop."""
    say("stopping")
    status = None
    # The second signal cuts.
    for _ in range(2):
        up.terminate()
        try:
            status = up.wait(timeout=STOP_LIMIT)
            break
        except subprocess.TimeoutExpired:
            print(f"temper up did not stop within {STOP_LIMIT} s")
        except KeyboardInterrupt:
            print("cutting")
    if status is None:
        up.kill()
        up.wait()
        raise Failed("temper up had to be killed")
    if status != 0:
        raise Failed(f"temper up ended with status {status}: {last_line(OUT / 'up.log')}")


def check_nothing_left() -> None:
    """Fails when a process that has to do with demo/data still runs."""
    left = [f"{pid} ({command.split()[0]})" for pid, command in processes() if str(DATA) in command]
    if left:
        raise Failed(f"still running: {', '.join(left)}")
    if (DATA / "up.json").exists():
        raise Failed("demo/data/up.json is still there")


def processes() -> List[Tuple[int, str]]:
    """Every process that can be seen, with its command line and working folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(folder / "cwd")
        except OSError:  # Ended meanwhile, or somebody else's.
            continue
        if command and int(folder.name) != os.getpid():
            found.append((int(folder.name), f"{command} {where}"))
    return found


def capture(command: List[str], environment: Dict[str, str], given: Optional[str] = None) -> str:
    """What a command prints; its errors go to the terminal."""
    done = subprocess.run(command, env=environment, input=given, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"`{Path(command[0]).name} {command[1]}` ended with status {done.returncode}")
    return done.stdout


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "its log is empty"


def say(step: str) -> None:
    """Announces a step."""
    print(f"== {step}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--kill-worker"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:] == ["--kill-worker"]))
