# ruff: noqa: INP001  a script on its own, beside credentials.py
"""The same passwords as credentials.py, as Secrets of Kubernetes instead of volumes.

    python3 cluster.py make                  what the Job `credentials` does at each `kubectl apply`
    python3 cluster.py recall SECRET...      puts Secrets that there are into folders of CONSUMERS
    python3 cluster.py keep SECRET...        makes Secrets of such folders, a key for each file

The Secret `credentials` keeps them all and is mounted nowhere; each consumer has one of its own. What is there is kept,
so a second run changes nothing but the salt of hashes.
"""

import json
import os
import secrets
import ssl
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from http.client import HTTPSConnection
from pathlib import Path

import credentials

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ALL = "credentials"
COOKIE = "rabbitmq-erlang-cookie"
"""By which the nodes of a RabbitMQ cluster know each other."""

Files = dict[str, str]


def make() -> None:
    """Make what is missing, then bring every consumer's Secret up to date."""
    kept = read(ALL)
    made = {name: secrets.token_hex(24) for name in (*credentials.SECRETS, COOKIE) if name not in kept}
    known = kept | made
    write(ALL, known)
    for name, secret in known.items():
        (credentials.STORE / name).write_text(secret)
    for consumer, (_, files) in credentials.HANDED_OUT.items():
        if files:
            write(consumer, {file: known[name] for file, name in files.items()})
    write("rabbitmq", {"20-users.json": credentials.hashed_users(), "erlang-cookie": known[COOKIE]})
    login = f"scaler:{known['rabbitmq-scaler']}"
    write("scaler", {"host": f"http://{login}@rabbitmq:15672/"})  # as KEDA wants it
    credentials.say(f"passwords: {len(made)} made, {len(kept)} kept")


def recall(*names: str) -> None:
    """Put what the Secrets hold into files; one that is not there yet has an empty folder."""
    for name in names:
        folder = credentials.CONSUMERS / name
        folder.mkdir(exist_ok=True)
        for file, content in read(name).items():
            (folder / file).write_text(content)


def keep(*names: str) -> None:
    """Make Secrets of what is in the files."""
    for name in names:
        write(name, {file.name: file.read_text() for file in (credentials.CONSUMERS / name).iterdir()})


def read(name: str) -> Files:
    """Return what a Secret holds by key, nothing where it is not there."""
    found = ask("GET", name)
    return {key: b64decode(value).decode() for key, value in (found.get("data") or {}).items()}


def write(name: str, files: Mapping[str, str]) -> None:
    """Make the Secret, or bring it up to date."""
    data = {key: b64encode(content.encode()).decode() for key, content in files.items()}
    ask("PATCH", name, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})


def ask(method: str, name: str, applied: Mapping[str, object] | None = None) -> dict[str, dict[str, str]]:
    """Ask Kubernetes about a Secret and return what it answers; exit with a reason where it refuses."""
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # many clusters sign without the key identifiers that it wants
    server = HTTPSConnection(
        os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"]), context=context, timeout=30
    )
    path = f"/api/v1/namespaces/{(ACCOUNT / 'namespace').read_text()}/secrets/{name}"
    headers = {
        "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
        "Content-Type": "application/apply-patch+yaml",
    }
    try:
        server.request(
            method, f"{path}?fieldManager=fairprice&force=true" if applied else path, json.dumps(applied), headers
        )
        answer = server.getresponse()
        text = answer.read().decode()
    except OSError as error:
        sys.exit(f"cluster.py: Kubernetes does not answer at {server.host}:{server.port}: {error}")
    if answer.status == 404 and method == "GET":
        return {}
    if answer.status not in {200, 201}:
        sys.exit(f"cluster.py: Kubernetes refuses {method} of the Secret {name}: {answer.status} {text[:300]}")
    found: dict[str, dict[str, str]] = json.loads(text)
    return found


if __name__ == "__main__":
    {"make": make, "recall": recall, "keep": keep}[sys.argv[1]](*sys.argv[2:])
