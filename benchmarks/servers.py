"""The real servers that some benchmarks need, and a virtual host and a bucket on them for one run."""

import asyncio
import json
import os
import urllib.parse
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fairprice.broker.client import BrokerSettings, broker_problem
from fairprice.runtime import logging

VARIABLES = (
    "FAIRPRICE_TEST_RABBITMQ_URL",
    "FAIRPRICE_TEST_RABBITMQ_MANAGEMENT_URL",
    "FAIRPRICE_TEST_INFLUXDB_URL",
)
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


@dataclass(frozen=True)
class Server:
    """An HTTP interface and the header that opens it."""

    url: str
    authorization: str

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of the answer, None where it is empty; raises `HTTPError`."""
        request = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), method=method
        )
        request.add_header("Authorization", self.authorization)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@dataclass(frozen=True)
class Room:
    """A virtual host and a bucket of the same name; `environ` tells the services of them."""

    name: str
    management: Server
    environ: Mapping[str, str]

    def declare(self) -> None:
        """Make exchanges and queues before anything is published; the services do it themselves."""
        logging.configure("error", "auto", "benchmark")  # each virtual host is new, and nobody has to be told
        if problem := asyncio.run(broker_problem("benchmark", BrokerSettings.load(self.environ))):
            raise AssertionError(problem)

    def depths(self) -> dict[str, int]:
        """Return the messages in each queue, delivered ones that are not settled included; some seconds old."""
        queues = self.management.call("GET", f"/api/queues/{self.name}")
        return {queue["name"]: queue.get("messages", 0) for queue in queues}


def missing() -> str | None:
    """Say in one line what has to be set, or return None."""
    absent = [name for name in VARIABLES if not os.environ.get(name)]
    return f"set {', '.join(absent)}" if absent else None


@contextmanager
def room() -> Iterator[Room]:
    """Make a virtual host on the first RabbitMQ and a bucket, and remove both afterwards."""
    broker = urllib.parse.urlsplit(os.environ[VARIABLES[0]].split(",")[0])
    database = urllib.parse.urlsplit(os.environ[VARIABLES[2]])
    login = f"{broker.username or 'guest'}:{broker.password or 'guest'}"
    management = Server(os.environ[VARIABLES[1]].rstrip("/"), f"Basic {b64encode(login.encode()).decode()}")
    influx = Server(f"http://{database.hostname}:{database.port or 8086}", f"Token {database.password}")
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    organization = influx.call("GET", "/api/v2/orgs")["orgs"][0]
    wanted = {"orgID": organization["id"], "name": name, "retentionRules": []}
    bucket = influx.call("POST", "/api/v2/buckets", wanted)["id"]
    try:
        management.call("PUT", f"/api/vhosts/{name}", {})
        management.call("PUT", f"/api/permissions/{name}/{broker.username or 'guest'}", EVERYTHING)
        yield Room(
            name,
            management,
            {
                "FAIRPRICE_BROKER_URL": f"amqp://{login}@{broker.hostname}:{broker.port or 5672}/{name}",
                "FAIRPRICE_STORE_URL": influx.url.replace("http", "influxdb")
                + f"?org={organization['name']}&bucket={name}",
                "FAIRPRICE_STORE_TOKEN": database.password or "",
                "FAIRPRICE_LOG_LEVEL": "warning",
            },
        )
    finally:
        influx.call("DELETE", f"/api/v2/buckets/{bucket}")
        if any(vhost["name"] == name for vhost in management.call("GET", "/api/vhosts")):
            management.call("DELETE", f"/api/vhosts/{name}")
