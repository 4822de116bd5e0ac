"""A real InfluxDB for tests: a private `influxd` that may be killed, frozen and restarted, or one that a URL names."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import orjson
from ports import free_port

from fairprice.store_address import InfluxAddress

ABSENT = (
    "no InfluxDB: put influxd on PATH, or set FAIRPRICE_TEST_INFLUXDB_URL to http://operator:TOKEN@HOST:PORT of an"
    " InfluxDB 2 that has been set up"
)
UNKILLABLE = "needs influxd on PATH, or FAIRPRICE_TEST_INFLUXDB_BIN, to kill and freeze it"
PATIENCE = 60.0
CONFIGURATION = Path(__file__).parents[3] / "deploy" / "influxdb"


class Server:
    """Where an InfluxDB is, and the token of its operator."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token

    def call(self, method: str, path: str, body: object = None, *, token: str | None = None, **query: str) -> Any:
        """Return the JSON of the reply, None where there is none; raises `HTTPError`."""
        request = Request(f"{self.url}{path}?{urlencode(query)}", method=method)
        request.add_header("Authorization", f"Token {self.token if token is None else token}")
        if body is not None:
            request.data = body if isinstance(body, bytes) else orjson.dumps(body)
            request.add_header("Content-Type", "application/json")
        with urlopen(request) as response:
            text = response.read()
        return orjson.loads(text) if text else None


class PrivateServer(Server):
    """An `influxd` of our own, set up, on a free port of the loopback interface."""

    def __init__(self, folder: Path, program: str | None = None) -> None:
        self._folder = folder
        self._program = program or programs()[0]
        self._port = free_port()
        super().__init__(f"http://127.0.0.1:{self._port}", secrets.token_hex(16))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        setup = {"username": "operator", "password": secrets.token_hex(16), "org": "setup", "bucket": "setup"}
        self.call("POST", "/api/v2/setup", {**setup, "token": self.token})

    def start(self) -> None:
        options = {
            "http-bind-address": f"127.0.0.1:{self._port}",
            "bolt-path": self._folder / "influxd.bolt",
            "sqlite-path": self._folder / "influxd.sqlite",
            "engine-path": self._folder / "engine",
            "log-level": "error",
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, *(f"--{name}={value}" for name, value in options.items())],
                env=os.environ | {"INFLUXD_CONFIG_PATH": str(CONFIGURATION)},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "influxd does not become ready"
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        """Whether it works: `/health` and `/ready` pass earlier, while 2.10 answers everything else with 503."""
        with contextlib.suppress(URLError, OSError):
            self.call("GET", "/ping")
            return True
        return False

    def kill(self) -> None:
        """End it without warning."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it hold its connections and do nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)


@dataclass(frozen=True)
class Org:
    """An organization for one test, with a bucket `ticks` that keeps everything."""

    server: Server
    name: str
    id: str

    @property
    def address(self) -> InfluxAddress:
        return InfluxAddress(self.server.url, self.name, "ticks")

    @property
    def store_url(self) -> str:
        return f"influxdb://{urlsplit(self.server.url).netloc}?org={self.name}&bucket=ticks"

    def make_bucket(self, name: str, seconds: int = 0) -> str:
        rules = [{"type": "expire", "everySeconds": seconds}] if seconds else []
        body = {"orgID": self.id, "name": name, "retentionRules": rules}
        return self.server.call("POST", "/api/v2/buckets", body)["id"]

    def bucket_id(self, name: str = "ticks") -> str:
        return self.server.call("GET", "/api/v2/buckets", orgID=self.id, name=name)["buckets"][0]["id"]

    def make_token(self, *actions: str, bucket: str = "ticks") -> str:
        return self.make_authorization(*actions, bucket=bucket)["token"]

    def make_authorization(self, *actions: str, bucket: str = "ticks", description: str = "") -> Any:
        resource = {"type": "buckets", "id": self.bucket_id(bucket), "orgID": self.id}
        permissions = [{"action": action, "resource": resource} for action in actions]
        wanted = {"orgID": self.id, "permissions": permissions, "description": description}
        return self.server.call("POST", "/api/v2/authorizations", wanted)

    def rows(self, query: str, *, bucket: str = "ticks", token: str | None = None) -> list[dict[str, Any]]:
        """Return what an InfluxQL query finds, times in microseconds; a field without a value is left out."""
        reader = token or self.make_token("read", bucket=bucket)  # the operator's token would see other organizations
        reply = self.server.call("GET", "/query", token=reader, db=bucket, epoch="u", q=query)
        (result,) = reply["results"]
        assert "error" not in result, result["error"]
        return [
            {name: value for name, value in zip(series["columns"], row, strict=True) if value is not None}
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def count(self, field: str = "update_id", measurement: str = "fair_price") -> int:
        rows = self.rows(f"SELECT count({field}) FROM {measurement}")
        return rows[0]["count"] if rows else 0


@contextlib.contextmanager
def new_org(server: Server) -> Iterator[Org]:
    name = f"fairprice-test-{secrets.token_hex(4)}"
    org = Org(server, name, server.call("POST", "/api/v2/orgs", {"name": name})["id"])
    org.make_bucket("ticks")
    try:
        yield org
    finally:
        try:
            for task in server.call("GET", "/api/v2/tasks", orgID=org.id)["tasks"]:  # else 2.7 does not start again
                server.call("DELETE", f"/api/v2/tasks/{task['id']}")
            for user in server.call("GET", "/private/legacy/authorizations", orgID=org.id)["authorizations"]:
                server.call("DELETE", f"/private/legacy/authorizations/{user['id']}")
            server.call("DELETE", f"/api/v2/orgs/{org.id}")
        except HTTPError as refusal:
            refusal.close()
        except URLError:
            pass  # it has gone, and its organization with it


def named_server() -> Server | None:
    """Return the server that the environment names."""
    parts = urlsplit(os.environ.get("FAIRPRICE_TEST_INFLUXDB_URL", ""))
    return Server(f"{parts.scheme}://{parts.hostname}:{parts.port}", parts.password or "") if parts.hostname else None


def programs() -> list[str]:
    """Return the servers that can be started, one for each version to test: those named, or the one on PATH."""
    named = os.environ.get("FAIRPRICE_TEST_INFLUXDB_BIN") or shutil.which("influxd") or ""
    return [program for program in named.split(":") if program]


def is_on_path() -> bool:
    return bool(programs())
