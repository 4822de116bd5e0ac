"""RabbitMQ for tests: given by address, or private nodes made from the programs at hand.

`FAIRPRICE_TEST_RABBITMQ_URL` names servers to use, separated by commas; their virtual host is emptied again and again.
`FAIRPRICE_TEST_RABBITMQ_BIN` names folders with `rabbitmq-server` and `rabbitmqctl`, separated by colons, one for each
version to test, the newest last; without it those on PATH are taken. A private node listens on loopback only and leaves
nothing behind.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_port
from waiting import PATIENCE, patience

DEBIAN = "/usr/lib/rabbitmq/bin"
"""What Debian has on PATH changes the user; here are the programs themselves."""

START_TIMEOUT = 150
"""Seconds; a busy machine takes ten times as long as an idle one."""
PLUGINS = "[]."


@dataclass(frozen=True)
class Given:
    """A server that is there."""

    url: str

    def __str__(self):
        return self.url.rpartition("@")[2].strip("/")


@dataclass(frozen=True)
class Programs:
    """A folder that private nodes can be started from."""

    folder: Path

    def __str__(self):
        return str(self.folder)


@dataclass(frozen=True)
class Nothing:
    """Neither, so the tests are skipped."""

    def __str__(self):
        return "none"


def _programs():
    named = os.environ.get("FAIRPRICE_TEST_RABBITMQ_BIN", "")
    if not named:
        on_path = shutil.which("rabbitmq-server") and shutil.which(
            "rabbitmq-server", path=f"{DEBIAN}:{os.environ['PATH']}"
        )
        named = str(Path(on_path).parent) if on_path else ""
    return [Programs(Path(folder)) for folder in named.split(":") if folder]


def _given():
    return [Given(url.strip()) for url in os.environ.get("FAIRPRICE_TEST_RABBITMQ_URL", "").split(",") if url.strip()]


GIVEN = _given()

PROGRAMS = _programs() or [Nothing()]
"""What private nodes can be made from, which tests need that stop, kill or reconfigure one."""

SERVERS = GIVEN or PROGRAMS
"""What any other test may use."""


def server_of(nodeid):
    """Name the server that a test empties, or the file and the programs of one that starts private nodes."""
    file, _, choices = nodeid.partition("[")
    on = [server for server in (*GIVEN, *PROGRAMS) if re.search(rf"{re.escape(str(server))}\b", choices)]
    if on and isinstance(on[0], Given):
        return str(on[0])
    return " ".join([file.partition("::")[0], *map(str, on)])


def programs_of(server):
    if not isinstance(server, Programs):
        pytest.skip("needs private RabbitMQ nodes: rabbitmq-server on PATH, or FAIRPRICE_TEST_RABBITMQ_BIN")
    return server.folder


@contextmanager
def reached(server, tmp_path_factory):
    """Yield something with a `url`; a private node lasts as long as the context."""
    if isinstance(server, Nothing):
        pytest.skip("needs RabbitMQ: rabbitmq-server on PATH, or FAIRPRICE_TEST_RABBITMQ_URL")
    if isinstance(server, Given):
        yield server
        return
    node = Node(server.folder, tmp_path_factory.mktemp("rabbitmq"))
    try:
        node.start()
        yield node
    finally:
        node.destroy()


async def until(condition, seconds=PATIENCE):
    """Wait for what nobody announces."""
    async with patience(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(broker):
    """Run a broker, wait until it is connected, and stop it in the end."""
    task = asyncio.create_task(broker.run())
    try:
        await until(lambda: broker.problem() is None)
        yield broker
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Node:
    """A private node with the user guest, unless `definitions` brings others.

    Nodes of a cluster are given a `name`, and the port of a `port_mapper` that runs already.
    """

    def __init__(self, folder, home, *, configuration="", definitions=None, name="", port_mapper=None):
        self._folder = folder
        self._home = home
        self._server = None
        self._port_mapper = None
        self._has_port_mapper = port_mapper is not None
        self.port, distribution, port_mapper = free_port(), free_port(), port_mapper or free_port()
        self.name = f"{name or f'fairprice-{self.port}'}@localhost"
        lines = [configuration, f"listeners.tcp.local = 127.0.0.1:{self.port}"]
        if definitions:
            lines += [f"load_definitions = {definitions}"]
        (home / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (home / "enabled_plugins").write_text(PLUGINS)
        self._port_mapper_port = str(port_mapper)
        self._ctl_environment = {
            "HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": self.name, "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": f"{home}/data", "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": self._port_mapper_port,
        }  # fmt: skip
        self._environment = self._ctl_environment | {
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution), "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_CONFIG_FILES": f"{home}/conf.d", "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_LOGS": f"{home}/rabbitmq.log",
            "ERL_CRASH_DUMP": f"{home}/erl_crash.dump", "ERL_MAX_PORTS": "4096",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip

    @property
    def url(self):
        return self.url_of("guest", "guest")

    def url_of(self, user, password):
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/"

    def start(self):
        """Start or start again, and wait until clients are let in."""
        self.launch()
        self.await_clients()

    def launch(self):
        """Start it, and do not wait."""
        self._map_ports()
        (self._home / "pid").unlink(missing_ok=True)
        with (self._home / "output.log").open("ab") as output:
            self._server = subprocess.Popen(
                [self._folder / "rabbitmq-server"],
                env=self._environment, cwd=self._home, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def await_clients(self):
        """Wait until clients are let in."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"RabbitMQ does not start:\n{(self._home / 'output.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        """End it as an administrator does."""
        os.kill(self._pid, signal.SIGTERM)
        self._server.wait(START_TIMEOUT)

    def kill(self):
        """End it as a power cut does."""
        if self._server and self._server.poll() is None:
            with suppress(OSError, ValueError):
                os.kill(self._pid, signal.SIGKILL)
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(START_TIMEOUT)

    def freeze(self):
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self._pid, signal.SIGCONT)

    def ctl(self, *arguments, tool="rabbitmqctl"):
        """Run rabbitmqctl, or another tool of its kind, and return what it prints."""
        done = subprocess.run(
            [self._folder / tool, "--quiet", "--node", self.name, *arguments],
            env=self._ctl_environment, cwd=self._home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert not done.returncode, done.stdout + done.stderr
        return done.stdout

    def destroy(self):
        self.kill()
        if self._port_mapper:
            self._port_mapper.terminate()
            self._port_mapper.wait(10)
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def _pid(self):
        """The process of the Erlang machine; what was started may be a shell around it."""
        return int((self._home / "pid").read_text())

    def _map_ports(self):
        """Erlang's port mapper would outlive the node that starts it, so it is started here."""
        if not self._port_mapper and not self._has_port_mapper:
            self._port_mapper = subprocess.Popen(
                ["epmd", "-address", "127.0.0.1", "-port", self._port_mapper_port],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def _answers(self):
        """The AMQP port opens last, when the definitions are imported."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
            probe.settimeout(5)
            probe.sendall(b"AMQP\x00\x00\x09\x01")
            return probe.recv(1) == b"\x01"
        return False
