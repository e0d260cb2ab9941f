"""`temper up` on a folder, and commands against it: what the demo and the experiment share."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
TEMPER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/temper"

# `temper up` gives its workers 30 s to finish, and its calls 10 s.
STOP_LIMIT = 60


class Failed(Exception):
    """What did not go as it should."""


class LocalMode:
    """A running `temper up` with its data and its log in `folder`; stopped in order when left."""

    def __init__(self, folder: Path, settings: Optional[Dict[str, str]] = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "up.log"
        self.settings = settings or {}
        self.environment: Dict[str, str] = {}
        self.up: Optional[subprocess.Popen] = None

    def empty(self) -> None:
        """Empties the data, unless somebody is using it."""
        lock = self.data / "lock"
        if not lock.exists():
            return
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Failed(f"another `temper up` is running on {self.data}: stop it first") from None
        shutil.rmtree(self.data)

    def __enter__(self) -> LocalMode:
        """Starts it in a session of its own: Ctrl-C is for us, who then stop it in order."""
        if not TEMPER.exists():
            raise Failed(f"{TEMPER} is not built: run this by make")
        self.folder.mkdir(exist_ok=True)
        say(f"temper up (its log: {self.log.relative_to(ROOT)})")
        environment = {key: value for key, value in os.environ.items() if key not in ("TEMPER_DATABASE_URL", "TEMPER_DATA")}
        environment.setdefault("TEMPER_MIRROR", str(ROOT / ".local/mirror"))
        environment.setdefault("TEMPER_POSTGRES", str(ROOT / ".local/postgres/bin"))
        environment.update(self.settings)
        workers = max(1, min(os.cpu_count() or 1, 4))
        command = [str(TEMPER), "up", "--data", str(self.data), "--workers", str(workers)]
        command += ["--listen-coordinator", "127.0.0.1:0", "--listen-results", "127.0.0.1:0"]
        with self.log.open("w") as log:
            self.up = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        try:
            urls = self.wait_ready()
        except BaseException:
            self.stop()
            raise
        where = {"TEMPER_COORDINATOR": urls["coordinator"], "TEMPER_RESULTS": urls["results"]}
        where["TEMPER_TOKEN_FILE"] = urls["token"]
        self.environment = {**environment, **where}
        return self

    def wait_ready(self) -> Dict[str, str]:
        """Where the services are, once `temper up` says that they are ready."""
        told: Dict[str, str] = {}
        for line in self.up.stdout:
            print(line, end="", flush=True)
            key, _, value = line.strip().partition(" ")
            if key == "ready":
                return told
            told[key] = value
        self.up.wait()
        raise Failed(f"temper up ended before it was ready: {last_line(self.log)}")

    def temper(self, *arguments: str) -> str:
        """What a command prints; its errors go to the terminal."""
        return capture([str(TEMPER), *arguments], self.environment)

    def json(self, *arguments: str) -> dict:
        """The same of a command that can print JSON."""
        return json.loads(self.temper(*arguments, "--json"))

    def require_whole(self, sweep: str) -> int:
        """The cells of a sweep that has ended; fails unless all of them succeeded."""
        ended = next(entry for entry in self.json("sweeps")["sweeps"] if entry["name"] == sweep)
        cells, succeeded = ended["cells"], ended.get("cellsSucceeded", 0)
        if succeeded != cells:
            print(self.temper("jobs", sweep))
            raise Failed(f"{succeeded} of {cells} cells succeeded")
        return cells

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None:
            self.check_nothing_left()

    def stop(self) -> None:
        """Stops it in order, whatever interrupts; kills it when it does not stop."""
        say("stopping")
        status = None
        # The second signal cuts.
        for _ in range(2):
            self.up.terminate()
            try:
                status = self.up.wait(timeout=STOP_LIMIT)
                break
            except subprocess.TimeoutExpired:
                print(f"temper up did not stop within {STOP_LIMIT} s")
            except KeyboardInterrupt:
                print("cutting")
        if status is None:
            self.up.kill()
            self.up.wait()
            raise Failed("temper up had to be killed")
        if status != 0:
            raise Failed(f"temper up ended with status {status}: {last_line(self.log)}")

    def check_nothing_left(self) -> None:
        """Fails when a process that has to do with the data still runs."""
        left = [f"{pid} ({command.split()[0]})" for pid, command in processes() if str(self.data) in command]
        if left:
            raise Failed(f"still running: {', '.join(left)}")
        if (self.data / "up.json").exists():
            raise Failed(f"{self.data}/up.json is still there")


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


def run_to_end(process: subprocess.Popen) -> None:
    """Waits for `temper watch`. A sweep that failed is told by its counts afterwards."""
    try:
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def mean(group: dict, figure: str) -> float:
    """A mean; JSON of protobuf leaves zeros out."""
    return float(group[figure].get("mean", 0.0))


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "its log is empty"


def say(step: str) -> None:
    """Announces a step."""
    print(f"== {step}", flush=True)
