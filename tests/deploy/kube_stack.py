"""An overlay in a real Kubernetes, as a namespace of its own, driven from outside by kubectl."""

import json
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import aiormq
import pytest
from manifests import OVERLAYS, of
from waiting import eventually, patience

WANTED = "FAIRPRICE_TEST_KUBECONFIG"
START = 400
"""Seconds from nothing, with volumes and a cluster of three nodes that wait for each other, on a small machine."""

opener = build_opener(ProxyHandler({}))


def kubeconfig():
    path = os.environ.get(WANTED) or pytest.skip(f"{WANTED} names no kubeconfig of a cluster that has our images")
    assert shutil.which("kubectl"), "no kubectl on PATH"
    return Path(path)


class Stack:
    """What one overlay runs; `seen` keeps what its pods have logged."""

    def __init__(self, overlay):
        self.overlay = overlay
        (self.namespace,) = of(overlay, "Namespace")
        self._kubectl = ("kubectl", "--kubeconfig", str(kubeconfig()))

    def cluster(self, *arguments, seconds=60, check=True, text=None):
        """Run kubectl and return what it printed."""
        command = [*self._kubectl, *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds, input=text)
        assert done.returncode == 0 or not check, (
            f"kubectl {' '.join(arguments)}:\n{done.stdout[-1000:]}\n{done.stderr[-1000:]}"
        )
        return done.stdout

    def kubectl(self, *arguments, **options):
        """Run kubectl in the namespace."""
        return self.cluster("--namespace", self.namespace, *arguments, **options)

    def apply(self, overlay=None):
        self.cluster("apply", "-k", str(OVERLAYS[overlay or self.overlay]))

    def remove(self):
        """Take away all of it, volumes too."""
        self.cluster("delete", "namespace", self.namespace, "--ignore-not-found", "--wait", seconds=300)

    def get(self, kind, *options):
        return json.loads(self.kubectl("get", kind, "--output", "json", *options))["items"]

    def pods(self, **selector):
        """Return the names of the pods that belong to what runs for good."""
        chosen = ("--selector", ",".join(f"{key}={value}" for key, value in selector.items())) if selector else ()
        return sorted(
            pod["metadata"]["name"]
            for pod in self.get("pods", *chosen)
            if not pod["metadata"].get("deletionTimestamp") and owner(pod) != "Job"
        )

    def not_ready(self):
        """Return the workloads that are not what they should be, with the number that is."""
        found = {}
        for each in self.get("deployments,statefulsets"):
            spec, status = each["spec"], each.get("status", {})
            numbers = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
            is_seen = status.get("observedGeneration") == each["metadata"]["generation"]
            if not is_seen or numbers != [spec["replicas"]] * 3:
                found[each["metadata"]["name"]] = numbers
        return found

    def until_ready(self, seconds=START):
        """Wait until all of it is ready; return how long it took."""
        began = time.monotonic()
        eventually(lambda: not self.not_ready(), seconds, lambda: f"{self.not_ready()}\n{self.story()}", pause=0.5)
        return time.monotonic() - began

    def story(self):
        """Return how the pods are and what happened last."""
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False).splitlines()
        return "\n".join([self.kubectl("get", "pods", check=False), *events[-25:]])

    def secret(self, name, key):
        """Return what a Secret holds."""
        template = f'{{{{index .data "{key}" | base64decode}}}}'
        return self.kubectl("get", "secret", name, "--output", f"go-template={template}")

    @contextmanager
    def forward(self, target, port):
        """Yield the host and port by which a pod is reached that is behind a name."""
        command = [*self._kubectl, "--namespace", self.namespace, "port-forward", target, f":{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            assert "Forwarding from 127.0.0.1:" in line, f"{target}: {process.stderr.read()}"
            yield line.split()[2]
        finally:
            process.kill()
            process.communicate()

    def influxdb(self, query):
        """Return the rows of an InfluxQL query, asked as Grafana does; a field without a value is left out."""
        login = {"u": "grafana", "p": self.secret("grafana", "influxdb-password")}
        with self.forward("service/influxdb", 8086) as host:
            url = f"http://{host}/query?{urlencode({'db': 'ticks', 'epoch': 'u', 'q': query, **login})}"
            with opener.open(Request(url), timeout=60) as answer:
                (result,) = json.loads(answer.read())["results"]
        assert "error" not in result, result["error"]
        return [
            {name: value for name, value in zip(series["columns"], row, strict=True) if value is not None}
            for series in result.get("series", ())
            for row in series["values"]
        ]

    def newest(self):
        """Return the time of each symbol's newest price, in seconds; nothing while the database is away."""
        try:
            rows = self.influxdb("SELECT last(update_id) AS update_id FROM fair_price GROUP BY symbol")
        except (AssertionError, OSError):
            return []
        return [row["time"] / 1e6 for row in rows]

    def flows(self, since, symbols):
        """Return whether a price of every symbol is stored that was made after that time."""
        times = self.newest()
        return len(times) == symbols and min(times) > since

    def until_it_flows(self, symbols, seconds=START):
        """Wait until a price of every symbol is stored that is made from now on; return how long it took."""
        began, since = time.monotonic(), time.time()
        eventually(lambda: self.flows(since, symbols), seconds, lambda: f"no prices\n{self.story()}", pause=0.5)
        return time.monotonic() - began

    @contextmanager
    def host(self):
        """Yield the broker as the ledger wants it: with channels of its administrator."""
        with self.forward("service/rabbitmq", 5672) as address:
            yield Host(f"amqp://operator:{self.secret('credentials', 'rabbitmq-operator')}@{address}/")

    def queues(self):
        """Return how many messages each queue holds."""
        pod = self.pods(app="rabbitmq")[0]
        listed = self.kubectl(
            "exec",
            pod,
            "--container",
            "rabbitmq",
            "--",
            "rabbitmqctl",
            "-q",
            "list_queues",
            "name",
            "messages",
            "--no-table-headers",
        )
        return {name: int(number) for name, number in (line.split() for line in listed.splitlines())}


class Host:
    """A broker at an address."""

    def __init__(self, url):
        self._url = url

    @asynccontextmanager
    async def channel(self):
        async with patience(), aiormq.connect(self._url) as connection:
            yield await connection.channel()


def owner(pod):
    return next((each["kind"] for each in pod["metadata"].get("ownerReferences", ())), "")
