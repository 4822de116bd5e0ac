"""Runs a command with real servers: on PATH, by address, or else in containers of `servers.compose.yml`.

    .venv/bin/python -m tests.servers .venv/bin/python -m pytest

What is neither on PATH nor named by its address is started in containers, if a Docker engine answers; the command finds
it by its address. The containers are removed when the command has ended.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

FILE = Path(__file__).with_name("servers.compose.yml")
START_TIMEOUT = 300
"""Seconds, with the images to be fetched."""


def missing(environ: Mapping[str, str]) -> list[str]:
    """Return the containers that would fill what is neither on PATH nor named by its address."""
    path = environ.get("PATH", "")
    containers = []
    if not (environ.get("FAIRPRICE_TEST_RABBITMQ_URL") or environ.get("FAIRPRICE_TEST_RABBITMQ_BIN")):
        containers += [] if shutil.which("rabbitmq-server", path=path) else ["rabbitmq", "rabbitmq-oldest"]
    if not environ.get("FAIRPRICE_TEST_INFLUXDB_URL"):
        containers += [] if shutil.which("influxd", path=path) else ["influxdb"]
    return containers


class Containers:
    """Servers in containers, and what tests are told of them."""

    def __init__(self, names: Iterable[str], project: str = f"fairprice-tests-{os.getpid()}") -> None:
        self._names = list(names)
        self._token = secrets.token_hex(16)
        self._command = ["docker", "compose", "--project-name", project, "--file", str(FILE)]

    @staticmethod
    def can_run() -> bool:
        """Return whether a Docker engine with its compose plugin answers."""
        commands = (["docker", "info"], ["docker", "compose", "version"])
        return shutil.which("docker") is not None and all(
            subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in commands
        )

    def start(self) -> dict[str, str]:
        """Start them, wait until they can be used, and return the variables that name them."""
        self._compose("up", "--detach", *self._names)
        self._wait()
        variables = {}
        if "rabbitmq" in self._names:
            brokers = [name for name in self._names if name.startswith("rabbitmq")]
            addresses = [f"amqp://guest:guest@{self._address(name, 5672)}/" for name in brokers]
            variables["FAIRPRICE_TEST_RABBITMQ_URL"] = ",".join(addresses)
            variables["FAIRPRICE_TEST_RABBITMQ_MANAGEMENT_URL"] = f"http://{self._address('rabbitmq', 15672)}"
            variables["FAIRPRICE_TEST_RABBITMQ_PROMETHEUS_URL"] = f"http://{self._address('rabbitmq', 15692)}"
        if "influxdb" in self._names:
            address = self._address("influxdb", 8086)
            variables["FAIRPRICE_TEST_INFLUXDB_URL"] = f"http://operator:{self._token}@{address}"
        return variables

    def stop(self) -> None:
        """Remove them and all that they hold."""
        self._compose("down", "--volumes", "--timeout", "0")

    def _wait(self) -> None:
        """Wait until all are healthy; `docker compose up --wait` gives up on one that has to start twice."""
        deadline = time.monotonic() + START_TIMEOUT
        while waiting := set(self._names) - self._healthy():
            if time.monotonic() > deadline:
                raise RuntimeError(f"not healthy after {START_TIMEOUT} s: {', '.join(waiting)}")
            time.sleep(0.5)

    def _healthy(self) -> set[str]:
        lines = self._compose("ps", "--all", "--format", "{{.Service}} {{.Health}}").splitlines()
        return {line.split()[0] for line in lines if line.endswith(" healthy")}

    def _address(self, name: str, port: int) -> str:
        return self._compose("port", name, str(port)).strip()

    def _compose(self, *arguments: str) -> str:
        environ = os.environ | {"FAIRPRICE_TEST_INFLUXDB_TOKEN": self._token}
        done = subprocess.run(
            [*self._command, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            raise RuntimeError(f"docker compose {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def run(command: list[str], environ: Mapping[str, str]) -> int:
    """Run the command to its own end, also where it is interrupted, and return its exit code."""
    asked, processes = [], []

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        if number == signal.SIGTERM:  # at Ctrl-C the terminal tells the command, too
            for process in processes:
                process.terminate()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with subprocess.Popen(command, env=environ) as process:
            processes.append(process)
            if signal.SIGTERM in asked:  # while it was started
                process.terminate()
            return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(command: list[str]) -> int:
    """Run the command and return its exit code; 2 where the servers do not come up."""
    names = missing(os.environ)
    if not names or not Containers.can_run():
        return run(command, os.environ)
    containers = Containers(names)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        sys.stderr.write(f"Starting in containers: {', '.join(names)}\n")
        return run(command, os.environ | containers.start())
    except RuntimeError as problem:
        sys.stderr.write(f"servers: {problem}\n")
        return 2
    finally:
        containers.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
