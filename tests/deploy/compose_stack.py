"""The stack of docker-compose.yml on the simulated market, as a project of its own, driven from outside."""

import base64
import json
import os
import subprocess
from functools import cached_property
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from ports import free_port

ROOT = Path(__file__).parents[2]
SERVICES = ("crawler", "converter", "storer", "gateway")
PORTS = ("FAIRPRICE_HTTP_PORT", "GRAFANA_PORT", "RABBITMQ_PORT", "INFLUXDB_PORT", "PROMETHEUS_PORT")

opener = build_opener(ProxyHandler({}))


def run(*command, seconds=60, environ=None, check=True):
    """Run a command and return what it printed."""
    done = subprocess.run(command, cwd=ROOT, env=environ, check=False, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0 or not check, f"{' '.join(command)}:\n{done.stdout[-1000:]}\n{done.stderr[-1000:]}"
    return done.stdout


def get(url, user="", password=""):
    """Return the status and the body of a page."""
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = Request(url, headers={"Authorization": f"Basic {login}"} if user else {})
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Stack:
    """One project; `logs` and `inspected` keep what is gone with its containers."""

    def __init__(self, project):
        self.project = project
        self.seen = []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FAIRPRICE_")}
        self._ports = {name: free_port() for name in PORTS}
        self._environ = clean | {name: str(port) for name, port in self._ports.items()}

    def compose(self, *arguments, seconds=60, check=True):
        options = ("--env-file", "deploy/simulated.env", "--project-name", self.project)
        return run("docker", "compose", *options, *arguments, seconds=seconds, environ=self._environ, check=check)

    def up(self, *options):
        """Start what is not running, and return when all of it is healthy."""
        try:
            self.compose("up", "--detach", "--wait", *options, seconds=300)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def story(self):
        """Return how the containers are and what they said last."""
        return self.compose("ps", "--all") + self.compose("logs", "--no-color", "--tail", "12")

    def down(self, *options):
        self.remember()
        self.compose("--profile", "*", "down", *options, seconds=120)

    def exec(self, service, *command, check=True):
        return self.compose("exec", "--no-TTY", service, *command, check=check)

    def containers(self, *services):
        """Return what the engine tells of the containers, running or not."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        return json.loads(run("docker", "inspect", *ids)) if ids else []

    def kill(self, container):
        """End a container's first process from outside: the engine itself would not start it again."""
        script = f"import os; os.kill({container['State']['Pid']}, 9)"
        root = ("--rm", "--pid", "host", "--user", "0", "--network", "none", "--entrypoint", "python")
        run("docker", "run", *root, "fairprice/storer", "-c", script)

    def remember(self):
        """Keep what the engine shows of the containers and what they have logged."""
        self.seen.append(json.dumps(self.containers()))
        self.seen.append(self.compose("logs", "--no-color"))

    def secrets(self):
        """Return every secret, those of people and of machines."""
        script = "from pathlib import Path; [print(file.read_text()) for file in Path('/credentials').iterdir()]"
        kept = self.compose("run", "--rm", "--no-TTY", "--entrypoint", "python", "passwords", "-c", script)
        made_there = self.read("store-token", "token") + self.read("history-token", "token")
        made_there += self.read("credentials-provisioner", "grafana-token")
        return {*kept.split(), *made_there.split()}

    def read(self, volume, file):
        """Return what is in a file of a volume."""
        mount = ("--volume", f"{self.project}_{volume}:/volume:ro")
        cat = ("--rm", "--user", "0", "--network", "none", "--entrypoint", "cat", *mount)
        return run("docker", "run", *cat, "fairprice/storer", f"/volume/{file}")

    def queue(self, name, missing=None):
        """Return what RabbitMQ's management tells of a queue to the user whom `make passwords` names."""
        shown = self.compose("run", "--rm", "--no-TTY", "passwords")
        password = next(line.split()[-1] for line in shown.splitlines() if line.startswith("RabbitMQ"))
        status, body = get(self.url("RABBITMQ_PORT", f"/api/queues/%2F/{name}"), "operator", password)
        if status == 404 and missing is not None:
            return missing
        assert status == 200, body
        return json.loads(body)

    def url(self, port, path=""):
        return f"http://127.0.0.1:{self._ports[port]}{path}"

    def unhealthy(self):
        """Return the containers whose health check does not succeed."""
        health = {each["Name"]: each["State"].get("Health", {}).get("Status") for each in self.containers()}
        return {name: status for name, status in health.items() if status not in {"healthy", None}}

    @cached_property
    def grafana_password(self):
        return self.exec("grafana", "cat", "/run/secrets/influxdb-password")

    def influxdb(self, query, **options):
        """Return the series of an InfluxQL query, asked as Grafana does, or raise what the server says."""
        parameters = urlencode({"db": "ticks", "epoch": "u", "q": query, **options})
        url = self.url("INFLUXDB_PORT", f"/query?{parameters}")
        status, body = get(url, "grafana", self.grafana_password)
        assert status == 200, body
        results = json.loads(body)["results"]
        assert not [result for result in results if "error" in result], body
        return [series for result in results for series in result.get("series", ())]

    def rows(self, query):
        return [
            dict(zip(series["columns"], values, strict=True))
            for series in self.influxdb(query)
            for values in series["values"]
        ]

    def prometheus(self, query):
        """Return the result of an instant query."""
        status, body = get(self.url("PROMETHEUS_PORT", f"/api/v1/query?{urlencode({'query': query})}"))
        assert status == 200, body
        return json.loads(body)["data"]["result"]

    def newest(self):
        """Return the time of the newest price of the spot market in the database, in microseconds."""
        rows = self.rows("SELECT last(price) FROM fair_price WHERE venue = 'binance'")
        return rows[0]["time"] if rows else 0

    def flows(self, since):
        """Return whether prices that were made after that time of the wall clock are stored and shown."""
        status, body = get(self.url("FAIRPRICE_HTTP_PORT", "/api/prices/binance/BTCUSDT"))
        if status != 200 or json.loads(body).get("event_time", 0) / 1e6 <= since:
            return False
        is_there, _ = get(self.url("INFLUXDB_PORT", "/ping"))
        return is_there == 204 and self.newest() / 1e6 > since
