"""Checks docker-compose.yml and its overrides: by Docker's own reader, and by what is promised of it.

The reader resolves every file and profile as `docker compose` does; no engine is asked.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Dict, List
from urllib.parse import urlsplit

from house import CHECKOUT, Complaints, run, unknown

# Files and profiles, as people start them.
CASES: Dict[str, List[str]] = {
    "alone": ["-f", "docker-compose.yml"],
    "all profiles": ["-f", "docker-compose.yml", "--profile", "*"],
    "gpus": ["-f", "docker-compose.yml", "-f", "docker-compose.gpu.yml", "--profile", "*"],
}
OURS = ("temper-services", "temper-worker", "temper-worker-cuda")


def main() -> int:
    """Checks every case, and tells how many services there are."""
    complaints, services = Complaints(), 0
    for case, arguments in CASES.items():
        done = run(["docker-compose", *arguments, "config", "--format", "json"])
        complaints.demand(done.returncode == 0, f"{case}: {done.stderr.strip()}")
        if done.returncode == 0:
            model = json.loads(done.stdout)
            services = max(services, len(model["services"]))
            for name, service in model["services"].items():
                check(complaints, f"{case}: {name}", service)
            roles(complaints, case, model["services"])
            scraped(complaints, case, model["services"])
    return complaints.verdict(f"compose: {len(CASES)} cases, {services} services")


def check(complaints: Complaints, name: str, service: dict) -> None:
    """What holds for each service."""
    for port in service.get("ports", []):
        complaints.demand(port.get("host_ip") == "127.0.0.1", f"{name}: port {port.get('published')} is open to the network")
    image = service["image"]
    ours = image in OURS
    pinned = ours or (":" in image and not image.endswith(":latest")) or "@sha256:" in image
    complaints.demand(pinned, f"{name}: {image} names no release")
    words = service.get("healthcheck", {}).get("test", ["NONE"])
    complaints.demand(words[0] in ("CMD", "NONE"), f"{name}: its health check needs a shell")
    for volume in service.get("volumes", []):
        bind = volume["type"] == "bind"
        there = not bind or os.path.exists(volume["source"])
        complaints.demand(there, f"{name}: {volume.get('source')} is not in the repository")
        complaints.demand(not bind or volume.get("read_only", False), f"{name}: {volume.get('source')} may be written")
    if ours:
        confined(complaints, name, service)


def roles(complaints: Complaints, case: str, services: Dict[str, dict]) -> None:
    """The results service is a role that only reads, whose password the migration sets, and has not the owner's password."""
    owner, results, migrate = (services[name] for name in ("postgres", "results", "migrate"))
    name = owner["environment"]["POSTGRES_USER"]
    role = urlsplit(results["environment"]["TEMPER_DATABASE_URL"]).username
    complaints.demand(role == "temper_results" != name, f"{case}: results connects as {role}, and {name} is the owner")
    owners = {secret["source"] for secret in owner["secrets"]}
    has = {secret["source"] for secret in results["secrets"]}
    complaints.demand(not owners & has, f"{case}: results has the owner's password {sorted(owners & has)}")
    password = results["environment"]["TEMPER_DATABASE_PASSWORD_FILE"]
    makes = "--roles" in migrate["command"] and migrate["environment"].get("TEMPER_RESULTS_PASSWORD_FILE") == password
    complaints.demand(makes, f"{case}: the migration makes no role with the password {password}")
    for place, given in (("results", has), ("migrate", {secret["source"] for secret in migrate["secrets"]})):
        complaints.demand(password in {f"/run/secrets/{secret}" for secret in given}, f"{case}: {place} has no {password}")


def scraped(complaints: Complaints, case: str, services: Dict[str, dict]) -> None:
    """Prometheus looks for everything that tells metrics."""
    text = (CHECKOUT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    names = {name.strip() for listed in re.findall(r"names: \[([^]]*)\]", text) for name in listed.split(",")}
    for name, service in services.items():
        tells = "TEMPER_METRICS" in (service.get("environment") or {})
        complaints.demand(not tells or name in names, f"{case}: Prometheus does not look for {name}")


def confined(complaints: Complaints, name: str, service: dict) -> None:
    """What holds for Temper's own."""
    complaints.demand(service.get("read_only", False), f"{name}: its root file system may be written")
    complaints.demand(service.get("cap_drop") == ["ALL"], f"{name}: it keeps capabilities")
    complaints.demand("no-new-privileges:true" in service.get("security_opt", []), f"{name}: it may gain privileges")
    environment = service.get("environment", {})
    for variable in unknown(environment):
        complaints.demand(False, f"{name}: no program reads {variable}")
    if service["image"].startswith("temper-worker"):
        complaints.demand("database" not in service["networks"], f"{name}: a worker reaches the database")
        complaints.demand("TEMPER_DATABASE_URL" not in environment, f"{name}: a worker knows the database")
    dockerfile = CHECKOUT / service["build"]["dockerfile"]
    complaints.demand(dockerfile.is_file(), f"{name}: no {dockerfile}")


if __name__ == "__main__":
    sys.exit(main())
