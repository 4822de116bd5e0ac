"""The services as processes of their own, over a real RabbitMQ and a real InfluxDB.

They are used where `FAIRPRICE_TEST_RABBITMQ_URL` (the first of them) and `FAIRPRICE_TEST_INFLUXDB_URL` name them, each
test in a virtual host and a bucket of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from base64 import b64encode
from contextlib import ExitStack, contextmanager

import pytest

BROKERS = os.environ.get("FAIRPRICE_TEST_RABBITMQ_URL", "")
MANAGEMENT = os.environ.get("FAIRPRICE_TEST_RABBITMQ_MANAGEMENT_URL", "")
DATABASE = os.environ.get("FAIRPRICE_TEST_INFLUXDB_URL", "")

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.influxdb,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not (BROKERS and MANAGEMENT and DATABASE),
        reason="set FAIRPRICE_TEST_RABBITMQ_URL, FAIRPRICE_TEST_RABBITMQ_MANAGEMENT_URL, FAIRPRICE_TEST_INFLUXDB_URL",
    ),
]


def call(method, url, body=None, **headers):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text else None


class Servers:
    """A virtual host and a bucket of one test."""

    def __init__(self, tmp_path):
        broker, database = urllib.parse.urlsplit(BROKERS.split(",")[0]), urllib.parse.urlsplit(DATABASE)
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        login = f"{broker.username}:{broker.password}"
        self.management = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}
        call("PUT", f"{MANAGEMENT}/api/vhosts/{self.name}", {}, **self.management)
        call(
            "PUT",
            f"{MANAGEMENT}/api/permissions/{self.name}/{broker.username}",
            {"configure": ".*", "write": ".*", "read": ".*"},
            **self.management,
        )
        self.influx = f"http://{database.hostname}:{database.port}"
        self.token = {"Authorization": f"Token {database.password}"}
        org = call("GET", f"{self.influx}/api/v2/orgs", **self.token)["orgs"][0]
        self.bucket = call(
            "POST",
            f"{self.influx}/api/v2/buckets",
            {"orgID": org["id"], "name": self.name, "retentionRules": []},
            **self.token,
        )
        self.environ = {
            "FAIRPRICE_BROKER_URL": f"amqp://{login}@{broker.hostname}:{broker.port}/{self.name}",
            "FAIRPRICE_STORE_URL": f"influxdb://{database.hostname}:{database.port}?org={org['name']}&bucket={self.name}",
            "FAIRPRICE_STORE_TOKEN": database.password,
            "FAIRPRICE_STREAM_CONNECTIONS": "1",
            "FAIRPRICE_STATE_DIR": str(tmp_path / "state"),
            "FAIRPRICE_HTTP_PORT": "0",
            "FAIRPRICE_LOG_LEVEL": "warning",
        }

    def rows(self, measurement):
        """Return all rows of a measurement, as InfluxQL tells them, by time in microseconds."""
        query = urllib.parse.urlencode({"db": self.name, "epoch": "u", "q": f'SELECT * FROM "{measurement}"'})
        result = call("GET", f"{self.influx}/query?{query}", **self.token)["results"][0]
        assert "error" not in result, result
        if "series" not in result:
            return []
        [series] = result["series"]
        return [dict(zip(series["columns"], values, strict=True)) for values in series["values"]]

    def wait_for_more(self, number):
        """Wait until so many more prices are stored than now."""
        stored = len(self.rows("fair_price"))
        eventually(lambda: len(self.rows("fair_price")) >= stored + number)

    def depths(self):
        queues = call("GET", f"{MANAGEMENT}/api/queues/{self.name}", **self.management)
        return {queue["name"]: queue.get("messages", 0) for queue in queues}

    def close(self):
        call("DELETE", f"{MANAGEMENT}/api/vhosts/{self.name}", **self.management)
        call("DELETE", f"{self.influx}/api/v2/buckets/{self.bucket['id']}", **self.token)


@pytest.fixture
def servers(tmp_path):
    servers = Servers(tmp_path)
    yield servers
    servers.close()


@contextmanager
def running(*arguments, environ=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env=clean | (environ or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def exchange(servers, *options):
    """Run the simulated exchange and point the crawler at it."""
    with running("simulator", "--port", "0", *options) as process:
        rest = process.stdout.readline().split()[1]
        servers.environ["FAIRPRICE_EXCHANGE_REST_URL"] = rest
        servers.environ["FAIRPRICE_EXCHANGE_STREAM_URL"] = rest.replace("http", "ws")
        yield rest


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.3)


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 0


@pytest.mark.recording
def test_the_recording_gives_the_rows_of_the_embedded_pipeline(servers, played, recording):
    _, embedded = played(recording, "max")
    with ExitStack() as stack:
        stack.enter_context(exchange(servers, "--capture", recording, "--speed", "40"))
        services = [stack.enter_context(running(name, environ=servers.environ)) for name in ("storer", "converter")]
        crawler = stack.enter_context(running("crawler", environ=servers.environ))
        eventually(lambda: len(servers.rows("fair_price")) == len(embedded["fair_price"]))
        for process in (crawler, *services):
            stop(process)

    for measurement, expected in embedded.items():
        rows = {row["time"]: row for row in servers.rows(measurement)}
        assert len(rows) == len(expected)
        for row in expected:
            stored = rows[row["time"]]
            for column, value in row.items():
                if column != "latency_ms":  # a replay in one process has none
                    assert stored.get(column) == value, (measurement, column)


@pytest.mark.parametrize("victim", ["crawler", "converter", "storer"])
def test_kill_9_again_and_again_loses_nothing(servers, victim):
    names = ("storer", "converter", "crawler")
    with ExitStack() as stack:
        truth = stack.enter_context(exchange(servers, "--symbols", "BTCUSDT", "--time-scale", "20"))
        services = {name: stack.enter_context(running(name, environ=servers.environ)) for name in names}
        for _ in range(5):
            servers.wait_for_more(200)
            services[victim].kill()
            services[victim].wait()
            services[victim] = stack.enter_context(running(victim, environ=servers.environ))
        servers.wait_for_more(200)
        stop(services["crawler"])
        eventually(lambda: not any(depth for name, depth in servers.depths().items() if "." in name))
        stop(services["converter"])
        stop(services["storer"])
        prices, gaps = servers.rows("fair_price"), servers.rows("gap")
        newest = call("GET", f"{truth}/__sim/book?symbol=BTCUSDT&id={prices[-1]['update_id']}")

    assert prices[-1]["bid"] == float(newest["bids"][0][0])
    assert len(gaps) == (5 if victim == "crawler" else 0)
    assert {gap["reason"] for gap in gaps} <= {"restart"}
    assert servers.depths()["dead-letters"] == 0
    reached = prices[0]["first_update_id"] - 1
    ranges = [(row["first_update_id"], row["update_id"]) for row in prices]
    ranges += [(row["from_update_id"], row["to_update_id"]) for row in gaps]
    for first, last in sorted(ranges):
        assert first <= reached + 1, f"{reached + 1} to {first - 1} are in no row and in no gap"
        reached = max(reached, last)
    assert len(prices) > 1000
