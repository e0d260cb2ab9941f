"""Checks the chart: Helm's linter, what it renders for each file of `ci/` against the schemas of Kubernetes, KEDA and
Prometheus's operator, that wrong values are refused, and what is promised of every pod."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List

from environment import enter
from house import CHECKOUT, Complaints, run, unknown

CHART = CHECKOUT / "deploy" / "helm" / "temper"
# The oldest that the chart takes, and the newest whose schemas there are.
RELEASES = ("1.30.0", "1.37.0")
# Values that must be refused, each on top of a file that is right, and a word of the reason.
REFUSED = (
    ("least.yaml", "coordinator.replica=2", "replica"),
    ("least.yaml", "objectStore.url=/tmp", "objectStore"),
    ("least.yaml", "objectStore.url=file:///var/lib/temper/store", "objectStore.existingClaim"),
    ("least.yaml", "database.existingSecret=", "database.existingSecret"),
    ("least.yaml", "workers.classes.cpu.replicas=1", "workers.token.existingSecret"),
    ("gpus.yaml", "workers.classes.cpu.device=gpu", "device"),
    ("least.yaml", "serviceMonitor.enabled=true", "metrics.existingSecret"),
    ("keda.yaml", "serviceMonitor.port=http", "serviceMonitor"),
    ("keda.yaml", "keda.exitWhenIdle=", "exitWhenIdle"),
    ("keda.yaml", "migration.resultsPasswordKey=", "resultsPasswordKey"),
    ("keda.yaml", "migration.password=secret", "password"),
)


def main() -> int:
    """Checks all of it, and tells how much that was."""
    crds = enter()
    complaints, resources = Complaints(), 0
    values = sorted((CHART / "ci").glob("*.yaml"))
    for file in values:
        done = run(["helm", "lint", "--strict", CHART, "--values", file])
        complaints.demand(done.returncode == 0, f"{file.name}: {done.stdout}{done.stderr}")
        done = run(template(file))
        complaints.demand(done.returncode == 0, f"{file.name}: {done.stderr.strip()}")
        found = list(documents(done.stdout))
        complaints.demand(len(found) > 0, f"{file.name}: it renders nothing")
        resources += len(found)
        check(complaints, file.name, found, crds)
        roles(complaints, file.name, found)
    for file, setting, reason in REFUSED:
        done = run([*template(CHART / "ci" / file), "--set", setting])
        refused = done.returncode != 0 and reason in done.stderr
        complaints.demand(refused, f"{file}: {setting} is not refused for {reason}")
    installed(complaints)
    return complaints.verdict(f"chart: {len(values)} values, {resources} resources, {len(REFUSED)} refusals")


def template(file: Path) -> List[object]:
    """The command that renders the chart."""
    return ["helm", "template", "lab", CHART, "--namespace", "temper", "--values", file]


def documents(text: str) -> Iterator[dict]:
    """The resources of a stream of YAML."""
    import yaml

    return (document for document in yaml.safe_load_all(text) if document)


def check(complaints: Complaints, name: str, resources: List[dict], crds: Path) -> None:
    """Holds resources against schemas, and pods against what is promised."""
    import kubernetes_validate

    foreign = [resource for resource in resources if is_foreign(resource)]
    own = [resource for resource in resources if not is_foreign(resource)]
    # A ScaledJob's schema leaves its pods out.
    own += [job_of(resource) for resource in foreign if resource["kind"] == "ScaledJob"]
    for release in RELEASES:
        for resource in own:
            try:
                kubernetes_validate.validate(resource, release, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                place = ".".join(str(step) for step in getattr(error, "path", ()))
                complaints.demand(False, f"{name}: {title(resource)} in {release}: {place}: {error.message}")
    command = [shutil.which("node") or "node", crds / "check.mjs"]
    done = subprocess.run(command, input=json.dumps(foreign), capture_output=True, text=True, check=False)
    complaints.demand(done.returncode == 0, f"{name}: {done.stderr.strip()}")
    for resource in foreign:
        if resource["kind"] == "ScaledJob":
            scaled(complaints, f"{name}: {title(resource)}", resource["spec"])
    for resource in own:
        if "template" in resource.get("spec", {}):
            if resource["kind"] == "Job" and resource["metadata"]["name"].endswith("-migration"):
                migration(complaints, f"{name}: {title(resource)}", resource["spec"]["template"]["spec"])
            pod(complaints, f"{name}: {title(resource)}", resource["spec"]["template"]["spec"])


def is_foreign(resource: dict) -> bool:
    return resource["apiVersion"].startswith(("keda.sh/", "monitoring.coreos.com/"))


def job_of(scaled: dict) -> dict:
    template = scaled["spec"]["jobTargetRef"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": scaled["metadata"], "spec": template}


def scaled(complaints: Complaints, name: str, spec: dict) -> None:
    """KEDA asks for the class that its pods are of, by a token that they have, and they end when there is nothing to do."""
    (container,) = spec["jobTargetRef"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    (trigger,) = spec["triggers"]
    asked, bears = trigger["metadata"]["labels"], variables["TEMPER_WORKER_LABELS"]["value"]
    complaints.demand(asked == bears, f"{name}: KEDA asks for {asked}, and its workers bear {bears}")
    kind, device = trigger["metadata"]["deviceKind"], variables["TEMPER_DEVICE"]["value"]
    complaints.demand(device.split(":")[0] == kind, f"{name}: KEDA asks for {kind}, and its workers have {device}")
    token = variables.get(trigger["metadata"]["tokenFromEnv"], {})
    complaints.demand("secretKeyRef" in token.get("valueFrom", {}), f"{name}: KEDA finds no token")
    complaints.demand("TEMPER_EXIT_WHEN_IDLE" in variables, f"{name}: its workers never end")


def roles(complaints: Complaints, name: str, resources: List[dict]) -> None:
    """Coordinators and the migration are the owner, the results service is not, as long as nobody says so."""
    urls = {}
    for resource in resources:
        for container in resource.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            for variable in container["env"]:
                if variable["name"] == "TEMPER_DATABASE_URL":
                    urls[container["name"]] = variable["valueFrom"]["secretKeyRef"]["key"]
    complaints.demand({"coordinator", "migrate", "results"} == urls.keys(), f"{name}: who knows the database is {sorted(urls)}")
    complaints.demand(urls.get("coordinator") == urls.get("migrate"), f"{name}: coordinators do not own what they migrate")
    complaints.demand(urls.get("results") != urls.get("coordinator"), f"{name}: the results service is the owner")


def migration(complaints: Complaints, name: str, spec: dict) -> None:
    """Roles are made where their passwords are given, both of them, from files that are there."""
    (container,) = spec["containers"]
    args = container.get("args", [])
    files = {v["name"]: v["value"] for v in container["env"] if v["name"].endswith("_PASSWORD_FILE")}
    wanted = {"TEMPER_READER_PASSWORD_FILE", "TEMPER_RESULTS_PASSWORD_FILE"} if "--roles" in args else set()
    complaints.demand(files.keys() == wanted, f"{name}: {args} with the passwords {sorted(files)}")
    complaints.demand(len(args) == len(set(args)), f"{name}: {args} says something twice, which is refused")
    mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
    there = {
        f"{mounts[volume['name']]}/{item['path']}" for volume in spec.get("volumes", []) for item in volume["secret"]["items"]
    }
    complaints.demand(set(files.values()) == there, f"{name}: passwords are read from {files}, and there are {sorted(there)}")


def title(resource: dict) -> str:
    return f"{resource['kind']} {resource['metadata']['name']}"


def pod(complaints: Complaints, name: str, spec: dict) -> None:
    """What holds for every pod of the chart."""
    complaints.demand(spec["securityContext"]["runAsNonRoot"] is True, f"{name}: it may run as root")
    complaints.demand(spec["automountServiceAccountToken"] is False, f"{name}: it has a token of Kubernetes")
    for container in spec["containers"]:
        context = container["securityContext"]
        confined = context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        complaints.demand(confined and context["capabilities"]["drop"] == ["ALL"], f"{name}: it is not confined")
        names = [variable["name"] for variable in container["env"]]
        for variable in unknown(names):
            complaints.demand(False, f"{name}: no program reads {variable}")
        complaints.demand(len(names) == len(set(names)), f"{name}: a variable is named twice")
        worker = container["name"] == "worker"
        if worker:
            graces = [int(v["value"].rstrip("s")) for v in container["env"] if v["name"] == "TEMPER_GRACE"]
            # SIGTERM comes after the preStop, whose time counts.
            before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            fits = len(graces) == 1 and 0 < before + 2 * graces[0] < spec["terminationGracePeriodSeconds"]
            complaints.demand(fits, f"{name}: SIGKILL comes before twice the worker's grace {graces}")
        complaints.demand(not worker or "TEMPER_DATABASE_URL" not in names, f"{name}: a worker knows the database")
        probed = worker or container["name"] == "migrate" or {"readinessProbe", "livenessProbe"} <= container.keys()
        complaints.demand(probed, f"{name}: nobody asks for its health")
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        complaints.demand(mounts == volumes, f"{name}: volumes {sorted(mounts ^ volumes)} are half there")


def installed(complaints: Complaints) -> None:
    """A chart packs into an archive that renders as its folder does."""
    with tempfile.TemporaryDirectory() as folder:
        done = run(["helm", "package", CHART, "--destination", folder])
        complaints.demand(done.returncode == 0, f"helm package: {done.stderr.strip()}")
        for archive in Path(folder).glob("*.tgz"):
            done = run(["helm", "template", "lab", archive, "--values", CHART / "ci" / "least.yaml"])
            complaints.demand(done.returncode == 0, f"{archive.name}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
