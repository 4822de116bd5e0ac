# ruff: noqa: INP001  a script on its own, in no package
"""Makes every password of the stack where there is none yet, and hands to each consumer its own.

    python3 credentials.py hand-out    what the service `credentials` does at each start
    python3 credentials.py show        what `make passwords` shows
    python3 credentials.py tell        the same without passwords, at the end of `make up`

`STORE` keeps them all and is mounted nowhere else. Below `CONSUMERS` is a volume for each consumer, in which only its
user id can read. What is there is kept, so a second start changes nothing; what a consumer has lost it gets again.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

STORE = Path("/credentials")
CONSUMERS = Path("/consumers")
USERS = Path("/rabbitmq/users.py")

OWN, INFLUXDB, GRAFANA, RABBITMQ = 10001, 1000, 472, 999
"""User ids: the one of our own images, and those of the official ones."""

SECRETS = (
    "rabbitmq-crawler",
    "rabbitmq-converter",
    "rabbitmq-storer",
    "rabbitmq-gateway",
    "rabbitmq-consumer",
    "rabbitmq-scaler",
    "rabbitmq-operator",
    "influxdb-admin",
    "influxdb-operator-token",
    "influxdb-grafana",
    "grafana-admin",
    "grafana-secret-key",
)

HANDED_OUT = {
    "crawler": (OWN, {"broker-password": "rabbitmq-crawler"}),
    "converter": (OWN, {"broker-password": "rabbitmq-converter"}),
    "storer": (OWN, {"broker-password": "rabbitmq-storer"}),
    "gateway": (OWN, {"broker-password": "rabbitmq-gateway"}),
    "consumer": (OWN, {"broker-password": "rabbitmq-consumer"}),
    "provisioner": (OWN, {"operator-token": "influxdb-operator-token", "grafana-password": "influxdb-grafana"}),
    "store-token": (OWN, {}),  # the server chooses it, the provisioner puts it there
    "history-token": (OWN, {}),  # likewise: the gateway reads the past with it
    "influxdb": (INFLUXDB, {"admin-password": "influxdb-admin", "operator-token": "influxdb-operator-token"}),
    "grafana": (
        GRAFANA,
        {
            "admin-password": "grafana-admin",
            "secret-key": "grafana-secret-key",
            "influxdb-password": "influxdb-grafana",
        },
    ),
    "rabbitmq": (RABBITMQ, {}),  # gets hashes only
}
"""The user id of each consumer, and its files by the secret that is in them."""

PAGES = (
    ("Fairprice", "GATEWAY_PORT", None, None),
    ("Grafana", "GRAFANA_PORT", "admin", "grafana-admin"),
    ("RabbitMQ", "RABBITMQ_PORT", "operator", "rabbitmq-operator"),
    ("InfluxDB", "INFLUXDB_PORT", "admin", "influxdb-admin"),
    ("Prometheus", "PROMETHEUS_PORT", None, None),
)
"""What a person can open: the variable of its port, the user name there and where the password is kept."""


def hand_out() -> None:
    """Make what is missing, then bring every consumer's volume up to date."""
    STORE.chmod(0o700)
    made = [name for name in SECRETS if not (STORE / name).exists()]
    for name in made:
        write(STORE / name, secrets.token_hex(24), owner=0)
    for consumer, (owner, files) in HANDED_OUT.items():
        for file, name in files.items():
            write(CONSUMERS / consumer / file, (STORE / name).read_text(), owner)
    write(CONSUMERS / "rabbitmq" / "20-users.json", hashed_users(), RABBITMQ)
    (CONSUMERS / "rabbitmq" / "10-definitions.json").touch()  # over which the real one is mounted
    for consumer, (owner, _) in HANDED_OUT.items():
        os.chown(CONSUMERS / consumer, owner, owner)
    say(f"passwords: {len(made)} made, {len(SECRETS) - len(made)} kept; `make passwords` shows those for people")


def hashed_users() -> str:
    """Return RabbitMQ's users with their hashed passwords, a definitions file."""
    users = (name.removeprefix("rabbitmq-") for name in SECRETS if name.startswith("rabbitmq-"))
    command = [sys.executable, str(USERS), *(f"{user}={STORE / f'rabbitmq-{user}'}" for user in users)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603  our own script


def write(file: Path, content: str, owner: int) -> None:
    """Put the content into the file at once, or not at all; only the owner can read it."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
    os.chown(fresh, owner, owner)
    fresh.replace(file)


def show() -> None:
    """Print the addresses of all logins with user and password."""
    for page, port, user, name in PAGES:
        login = f"{user:9} {(STORE / name).read_text()}" if name else ""
        say(f"{page:10}  http://127.0.0.1:{os.environ[port]:6} {login}".rstrip())


def tell() -> None:
    """Print the same without the passwords."""
    for page, port, user, _ in PAGES:
        say(f"{page:10}  http://127.0.0.1:{os.environ[port]:6} {user or ''}".rstrip())
    say("`make passwords` shows the passwords, `make down` stops it all and keeps what is stored")


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    {"hand-out": hand_out, "show": show, "tell": tell}[sys.argv[1]]()
