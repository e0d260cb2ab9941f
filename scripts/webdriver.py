"""A headless Chromium, driven by WebDriver's HTTP interface: what is installed is enough, no package is needed."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Optional

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PORT = re.compile(r"started successfully on port (\d+)")


class Browser:
    """One page in a profile of its own, which is gone when left."""

    def __init__(self, chromium: str, driver: str) -> None:
        self.chromium, self.driver = chromium, driver
        self.session = ""

    def __enter__(self) -> Browser:
        self.profile = tempfile.TemporaryDirectory(prefix="temper-browser-", ignore_cleanup_errors=True)
        self.process = subprocess.Popen([self.driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        port = next((found.group(1) for found in map(PORT.search, self.process.stdout) if found), None)
        if port is None:
            raise RuntimeError("chromedriver does not start")
        self.base = f"http://127.0.0.1:{port}/session"
        options = {"binary": self.chromium, "args": [*OPTIONS, f"--user-data-dir={self.profile.name}"]}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        self.session = self.send("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def __exit__(self, *_: object) -> None:
        try:
            if self.session:
                self.send("DELETE", f"/{self.session}")
        finally:
            self.process.terminate()
            self.process.wait()
            self.profile.cleanup()

    def resize(self, width: int, height: int) -> None:
        """Windows have a least width; what is emulated has none."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, page: Path) -> None:
        """Loads a file."""
        self.send("POST", f"/{self.session}/url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """What a function's body returns."""
        return self.send("POST", f"/{self.session}/execute/sync", {"script": script, "args": []})

    def devtools(self, command: str, parameters: Dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        body = {"cmd": command, "params": parameters}
        return self.send("POST", f"/{self.session}/goog/cdp/execute", body)

    def log(self, kind: str) -> List[Dict[str, Any]]:
        """What was logged since it was last asked for."""
        return self.send("POST", f"/{self.session}/se/log", {"type": kind})

    def requests(self) -> List[str]:
        """URLs that were asked for since they were last asked for."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
        return [message["params"]["request"]["url"] for message in sent]

    def send(self, method: str, path: str, body: Optional[Dict[str, Any]] = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        # A proxy of the environment is for other hosts.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=120) as answer:
            return json.load(answer)["value"]
