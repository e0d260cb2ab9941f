"""How soon a worker that has done nothing yet has its first batch, and what loading takes: `make bench-cold-start`.

usage: bench_cold_start.py MIRROR

MIRROR holds random weights of vit-base (`parity/export_mirror.py`). A first system trains mobilenetv2 on Fashion-MNIST
at 224 pixels, which fills the pixel cache. Then, three times: a fresh system, and once its worker is idle a training
of vit-base on the same images, batch 64. Measured by the worker's own log: from `leased` to `first batch`; and every few
milliseconds between the two the worker's anonymous memory (RssAnon) above what it had when idle. The last line is
`bench-cold-start: ok key=value ...` with the slowest and the largest of the three, or `bench-cold-start: FAILED reason`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
TEMPER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/temper"
WEIGHTS = "models/timm/vit_base_patch16_224.augreg_in1k/model.safetensors"

BATCH, SIZE, RUNS = 64, 224, 3
SECONDS_AT_MOST, RATIO_AT_MOST = 3.0, 1.3
PATIENCE = 300


class Failed(Exception):
    """What went wrong, or which bar was missed."""


def main(mirror: Path) -> int:
    try:
        with tempfile.TemporaryDirectory() as folder:
            facts = measure(mirror, Path(folder))
    except (Failed, OSError, subprocess.CalledProcessError) as failure:
        print(f"bench-cold-start: FAILED {failure}")
        return 1
    print("bench-cold-start: ok", *(f"{key}={value}" for key, value in facts.items()))
    return 0


def measure(mirror: Path, folder: Path) -> Dict[str, str]:
    weights = (mirror / WEIGHTS).stat().st_size
    batch = BATCH * 3 * SIZE * SIZE * 4
    warm = System(mirror, folder, "warm")
    with warm:
        warm.submit("mobilenetv2")
        warm.wait_for("completed")
    found: List[Tuple[float, float]] = []
    for run in range(RUNS):
        system = System(mirror, folder, f"cold-{run}")
        with system:
            seconds, growth = system.first_batch()
        found.append((seconds, (growth - batch) / weights))
        print(f"run {run}: first batch {seconds:.2f} s after the lease, memory {found[-1][1]:.2f}x weights + batch")
    slowest, largest = (max(values) for values in zip(*found))
    facts = {
        "first_batch_seconds": f"{slowest:.2f}",
        "memory_ratio": f"{largest:.2f}",
        "weights_mb": str(weights // 1_000_000),
        "batch_mb": str(batch // 1_000_000),
    }
    if slowest > SECONDS_AT_MOST or largest > RATIO_AT_MOST:
        raise Failed(f"bars {SECONDS_AT_MOST} s, {RATIO_AT_MOST}: " + " ".join(f"{k}={v}" for k, v in facts.items()))
    return facts


class System:
    """`temper up` with one worker, on a data folder of its own and a cache that all of them share."""

    def __init__(self, mirror: Path, folder: Path, name: str) -> None:
        self.data = folder / name
        self.log = self.data / "logs/worker-0.log"
        self.environment = {
            **os.environ,
            "TEMPER_MIRROR": f"{ROOT / '.local/mirror'}:{mirror}",
            "TEMPER_POSTGRES": str(ROOT / ".local/postgres/bin"),
            "TEMPER_CACHE": str(folder / "cache"),
            "TEMPER_LOG_FORMAT": "json",
            "HF_HUB_OFFLINE": "1",
        }
        self.errors = folder / f"{name}.log"

    def __enter__(self) -> System:
        command = [str(TEMPER), "up", "--data", str(self.data), "--workers", "1"]
        command += ["--listen-coordinator", "127.0.0.1:0", "--listen-results", "127.0.0.1:0"]
        with self.errors.open("w") as errors:
            self.up = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        for line in self.up.stdout:
            key, _, value = line.strip().partition(" ")
            if key == "coordinator":
                self.environment["TEMPER_COORDINATOR"] = value
            if key == "token":
                self.environment["TEMPER_TOKEN_FILE"] = value
            if key == "ready":
                self.wait_for("registered")
                return self
        raise Failed(f"temper up did not start: {self.errors.read_text()[-500:]}")

    def __exit__(self, *_: object) -> None:
        # What runs is not wanted any more: a second signal cuts.
        self.up.send_signal(signal.SIGTERM)
        try:
            self.up.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.up.send_signal(signal.SIGTERM)
            self.up.wait(timeout=60)
        shutil.rmtree(self.data)

    def submit(self, model: str) -> None:
        spec = {
            "models": [model],
            "datasets": ["fashion-mnist"],
            "schedules": [{"standard": {}}],
            "targetEpsilons": ["4/255"],
            "seeds": [0],
            "hyperparameters": [{"batchSize": BATCH}],
            "training": {"epochs": 1},
            "data": {"imageSize": SIZE, "trainSamples": 256, "validationSamples": 32},
            "evaluations": [{"attack": {"steps": 1}, "samples": 16}],
        }
        path = self.data / "spec.json"
        path.write_text(json.dumps({"sweep": {"spec": spec}}))
        subprocess.run([str(TEMPER), "submit", str(path)], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def first_batch(self) -> Tuple[float, int]:
        """Seconds from lease to first batch, and how far anonymous memory rose above idle in between."""
        worker = json.loads((self.data / "up.json").read_text())["workers"][0]
        idle = anonymous(worker)
        self.submit("vit-base")
        peak, until = 0, time.monotonic() + PATIENCE
        while not self.told("first batch"):
            peak = max(peak, anonymous(worker))
            if time.monotonic() > until:
                raise Failed(f"no first batch: {self.log.read_text()[-500:]}")
            time.sleep(0.003)
        seconds = (self.told("first batch")[0] - self.told("leased")[0]).total_seconds()
        return seconds, peak - idle

    def told(self, message: str) -> List[datetime]:
        """When the worker's log said so."""
        return [time for time, said in self.lines() if said == message]

    def lines(self) -> Iterator[Tuple[datetime, str]]:
        text = self.log.read_text() if self.log.exists() else ""
        for line in text.splitlines():
            if line.startswith("{") and line.endswith("}"):
                event = json.loads(line)
                stamp = event["timestamp"].replace("Z", "+00:00")
                yield datetime.fromisoformat(stamp), event["fields"].get("message", "")

    def wait_for(self, message: str) -> None:
        until = time.monotonic() + PATIENCE
        while not self.told(message):
            if time.monotonic() > until:
                raise Failed(f"the worker never said `{message}`: {self.log.read_text()[-500:]}")
            time.sleep(0.1)


def anonymous(process: int) -> int:
    """Anonymous resident memory in bytes: what is mapped from files is the page cache's."""
    status = Path(f"/proc/{process}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))
    return 1024 * int(kilobytes)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
