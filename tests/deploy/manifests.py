"""The overlays of deploy/kubernetes as Kubernetes would get them."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml_files

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = {
    **{path.name: path for path in (KUBERNETES / "overlays").iterdir()},
    **{path.name: path for path in (ROOT / "tests" / "deploy" / "kubernetes").iterdir()},
}
WORKLOADS = ("Deployment", "StatefulSet", "Job")


@cache
def rendered(overlay):
    """Return the objects of an overlay; skips where there is no kubectl."""
    kubectl = shutil.which("kubectl") or pytest.skip(
        "no kubectl on PATH: it renders the overlays, and needs no cluster"
    )
    command = [kubectl, "kustomize", str(OVERLAYS[overlay])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return yaml_files.documents(done.stdout)


def of(overlay, *kinds):
    """Return the objects of these kinds by kind and name."""
    return {each["metadata"]["name"]: each for each in rendered(overlay) if each["kind"] in kinds}


def workloads(overlay):
    return of(overlay, *WORKLOADS)


def pod(workload):
    return workload["spec"]["template"]["spec"]


def labels(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def containers(workload):
    """Return all containers of a workload, those that come first too."""
    return [*pod(workload).get("initContainers", ()), *pod(workload)["containers"]]


def environment(container):
    """Return the variables that a container is given directly."""
    return {each["name"]: each.get("value") for each in container.get("env", ())}


def config_map(overlay, name):
    """Return what a ConfigMap holds; its real name ends with a hash of that."""
    (found,) = (
        each for each in of(overlay, "ConfigMap").values() if each["metadata"]["name"].rpartition("-")[0] == name
    )
    return found["data"]
