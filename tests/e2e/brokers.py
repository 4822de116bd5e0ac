"""RabbitMQ as it is run: booted from the files of rabbitmq/, a user and password for each service.

A server that only an address names gets the same in a virtual host of a test's own, for users of the test's own.
"""

import json
import os
import secrets
import subprocess
import sys
import uuid
from base64 import b64encode
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import aiormq
from ports import free_port
from rabbitmq_nodes import PROGRAMS, Node, Programs
from waiting import patience

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "rabbitmq"
DEFINITIONS = json.loads((FOLDER / "definitions.json").read_text())
USERS = [user["name"] for user in DEFINITIONS["users"]]
KINDS = ("permissions", "exchanges", "queues", "bindings", "policies")


def call(method, url, body=None, *, login=None):
    """Return the JSON of the reply, None where there is none; raises `HTTPError`."""
    request = Request(url, None if body is None else json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    if login:
        request.add_header("Authorization", f"Basic {b64encode(':'.join(login).encode()).decode()}")
    with urlopen(request) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def is_rabbitmq_on_path():
    return isinstance(PROGRAMS[0], Programs)


def given_broker():
    """Return the first server that the environment names."""
    url = urlsplit(os.environ.get("FAIRPRICE_TEST_RABBITMQ_URL", "").split(",")[0])
    management = os.environ.get("FAIRPRICE_TEST_RABBITMQ_MANAGEMENT_URL", "")
    if not url.hostname or not management:
        return None
    return Broker(f"{url.hostname}:{url.port or 5672}", management, (url.username, url.password))


class Broker:
    """Where a RabbitMQ is and who its administrator is."""

    def __init__(self, host, management, login):
        self.host = host
        self.management = management
        self.login = login

    def call(self, method, path, body=None):
        return call(method, f"{self.management}/api/{path}", body, login=self.login)

    def host_users(self, folder):
        """Return the users a virtual host is made for, by service, with the files of their passwords; and new ones."""
        suffix = uuid.uuid4().hex[:8]
        files = write_passwords(folder)
        new = [{**user, "name": f"{user['name']}-{suffix}"} for user in password_hashes(files)["users"]]
        return {name: (f"{name}-{suffix}", files[name]) for name in USERS}, new


class PrivateBroker(Broker):
    """A node of our own that booted from the repository's files and may be stopped, killed and frozen."""

    def __init__(self, home, programs):
        self.passwords = write_passwords(home / "passwords")
        definitions = home / "definitions"
        definitions.mkdir()
        (definitions / "10-definitions.json").write_text((FOLDER / "definitions.json").read_text())
        (definitions / "20-users.json").write_text(json.dumps(password_hashes(self.passwords)))
        self.definitions = sorted(definitions.iterdir())
        management = free_port()
        configuration = f"""
            {(FOLDER / "rabbitmq.conf").read_text().replace("/etc/rabbitmq/definitions", str(definitions))}
            management.tcp.ip = 127.0.0.1
            management.tcp.port = {management}
            prometheus.tcp.ip = 127.0.0.1
            prometheus.tcp.port = {free_port()}
        """
        configuration = "\n".join(line.strip() for line in configuration.splitlines())
        (home / "node").mkdir()
        self.node = Node(programs, home / "node", configuration=configuration)
        (home / "node" / "enabled_plugins").write_text((FOLDER / "enabled_plugins").read_text())
        login = ("operator", self.passwords["operator"].read_text())
        super().__init__(f"127.0.0.1:{self.node.port}", f"http://127.0.0.1:{management}", login)

    def host_users(self, folder):
        return {name: (name, file) for name, file in self.passwords.items()}, []


def write_passwords(folder):
    folder.mkdir(parents=True)
    files = {name: folder / name for name in USERS}
    for file in files.values():
        file.write_text(secrets.token_hex(16))
    return files


def password_hashes(files):
    arguments = [f"{name}={file}" for name, file in files.items()]
    return json.loads(subprocess.check_output([sys.executable, FOLDER / "users.py", *arguments]))


class VirtualHost:
    """A virtual host with the repository's definitions; `users` tells each service's name and password file."""

    def __init__(self, broker, folder):
        self.broker = broker
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.users, self._new_users = broker.host_users(folder / "passwords")
        self.restore()

    def restore(self):
        """Make everything that the definitions name and that is missing."""
        here = {kind: [{**each, "vhost": self.name} for each in DEFINITIONS[kind]] for kind in KINDS}
        for permission in here["permissions"]:
            permission["user"] = self.users[permission["user"]][0]
        administrator = {"user": self.broker.login[0], "configure": ".*", "write": ".*", "read": ".*"}
        here["permissions"].append({**administrator, "vhost": self.name})
        self.broker.call("POST", "definitions", {"vhosts": [{"name": self.name}], "users": self._new_users, **here})

    def url_at(self, host):
        return f"amqp://{host}/{self.name}"

    @property
    def url(self):
        return self.url_at(self.broker.host)

    def call(self, method, kind, name="", body=None):
        return self.broker.call(method, f"{kind}/{quote(self.name, safe='')}/{quote(name, safe='')}".rstrip("/"), body)

    def permit(self, service, **rights):
        """Give a service other rights than those of the definitions: `configure`, `write`, `read`."""
        [usual] = [each for each in DEFINITIONS["permissions"] if each["user"] == service]
        usual = {right: usual[right] for right in ("configure", "write", "read")}
        self.broker.call("PUT", f"permissions/{self.name}/{self.users[service][0]}", usual | rights)

    def queues(self):
        """Return the messages of every queue: those that are ready, and those that are delivered and unsettled.

        Queues tell it every five seconds.
        """
        return {
            queue["name"]: (queue.get("messages_ready", 0), queue.get("messages_unacknowledged", 0))
            for queue in self.call("GET", "queues")
        }

    async def ready(self, queues):
        """Return how many messages wait in some queues now, without those that are delivered and unsettled."""
        async with self.channel() as channel:
            return {queue: (await channel.queue_declare(queue, passive=True)).message_count for queue in queues}

    @asynccontextmanager
    async def channel(self):
        """A raw channel of the administrator."""
        user, password = self.broker.login
        url = f"amqp://{user}:{password}@{self.broker.host}/{self.name}"
        async with patience(), aiormq.connect(url) as connection:
            yield await connection.channel()

    def close(self):
        self.broker.call("DELETE", f"vhosts/{self.name}")
        for user in self._new_users:
            self.broker.call("DELETE", f"users/{user['name']}")
