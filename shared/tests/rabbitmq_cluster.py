"""A cluster of three private RabbitMQ nodes, configured by the files of rabbitmq/ and cut apart by `rabbitmq_links`."""

import json
import secrets
import shutil
import subprocess
import time
from pathlib import Path

from rabbitmq_links import Links
from rabbitmq_nodes import Node
from waiting import eventually

FILES = Path(__file__).parents[2] / "rabbitmq"
NAMES = ("one", "two", "three")
QUORUM_QUEUES = 5
"""In the definitions."""

USER = "load"
OWN = "amq[.]gen-.*"
RIGHTS = {
    "configure": f"^{OWN}$",
    "write": f"^(books|quotes|{OWN})$",
    "read": f"^((books|quotes)([.].*)?|unrouted|{OWN})$",
}
"""What a service may that publishes books, consumes and taps them, and waits for what comes by no other way."""

IDLE_START = 12
"""Seconds in which three nodes start on two idle cores."""

LOOK_INTERVAL = 5_000
"""Milliseconds between two looks of RabbitMQ for queues that lack members; a minute in cluster-members.conf."""


class Cluster:
    """Three nodes with the queues of the definitions, and a user for a load."""

    def __init__(self, folder, home):
        self._folder = folder
        self._password = secrets.token_hex(8)
        command = [folder / "rabbitmqctl", "version"]
        version = subprocess.run(command, cwd=home, check=True, capture_output=True, text=True).stdout
        self.grows_queues = tuple(map(int, version.split(".")[:2])) >= (3, 13)
        self.links = Links(NAMES)
        definitions, cookie = self._definitions(home), secrets.token_hex(16)
        self.nodes = [self._node(home / name, name, definitions, cookie) for name in NAMES]

    def _definitions(self, home):
        definitions = home / "definitions"
        definitions.mkdir()
        shutil.copy(FILES / "definitions.json", definitions / "10-definitions.json")
        user = {
            "users": [{"name": USER, "password": self._password, "tags": []}],
            "permissions": [{"user": USER, "vhost": "/", **RIGHTS}],
        }
        (definitions / "20-users.json").write_text(json.dumps(user))
        return definitions

    def _node(self, home, name, definitions, cookie):
        (home / "conf.d").mkdir(parents=True)
        (home / ".erlang.cookie").write_text(cookie)
        (home / ".erlang.cookie").chmod(0o400)
        for file in ["cluster.conf", *(["cluster-members.conf"] if self.grows_queues else [])]:
            shutil.copy(FILES / file, home / "conf.d")
        names = [f"cluster_formation.classic_config.nodes.{n} = {each}@localhost" for n, each in enumerate(NAMES, 1)]
        if self.grows_queues:
            names.append(f"quorum_queue.continuous_membership_reconciliation.interval = {LOOK_INTERVAL}")
        (home / "conf.d" / "names.conf").write_text("\n".join(names) + "\n")
        return Node(self._folder, home, definitions=definitions, name=name, port_mapper=self.links.mapper_ports[name])

    def start(self):
        """Start all at once, as on the first day, and wait until every queue has its members.

        `lateness` is how much longer it took than on an idle machine: what is waited for then may take as much longer.

        The boot of a node that makes the queues while another one joins may fail (4.3.6, once of seven times:
        `failed_to_import_definitions`); it is started once more, as systemd and Kubernetes do.
        """
        began = time.monotonic()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            try:
                node.await_clients()
            except AssertionError:
                node.start()
        for node in () if self.grows_queues else self.nodes:
            self.nodes[0].ctl("grow", node.name, "all", tool="rabbitmq-queues")
        self.lateness = max(1.0, (time.monotonic() - began) / IDLE_START)
        eventually(lambda: self.members() == [len(NAMES)] * QUORUM_QUEUES, pause=1)

    def destroy(self):
        for node in self.nodes:
            node.destroy()
        self.links.close()

    def url(self, *nodes, query=""):
        """Return the addresses of these nodes, in this order."""
        return ",".join(f"{node.url_of(USER, self._password)}{query}" for node in nodes)

    def members(self):
        """Return how many members each queue of the record has."""
        return [len(queue["members"]) for queue in self.queues() if queue["type"] == "quorum"]

    def queues(self):
        """Return name, type, leader and members of each queue."""
        return json.loads(self.nodes[0].ctl("list_queues", "--formatter=json", "name", "type", "leader", "members"))

    def leader(self, queue):
        """Return the node that leads a queue."""
        (name,) = [each["leader"] for each in self.queues() if each["name"] == queue]
        return next(node for node in self.nodes if node.name == name)

    def cut(self, node, *, hears, is_heard):
        """Cut a node off from the others: it may hear them or be heard still, or neither."""
        name = node.name.partition("@")[0]
        for other in set(NAMES) - {name}:
            if not is_heard:
                self.links.cut(name, other)
            if not hears:
                self.links.cut(other, name)
