# ruff: noqa: INP001  a script on its own, in no package
"""Prints the passwords of the broker's users as a definitions file, hashed as RabbitMQ stores them.

    python3 rabbitmq/users.py crawler=secrets/crawler converter=secrets/converter ... > 20-users.json

Each argument is a user and the file that holds his password. Users and tags are those of definitions.json beside this
file; a user that is not named keeps having no password. The hash is the one of https://www.rabbitmq.com/docs/passwords.
"""

import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path

DEFINITIONS = Path(__file__).with_name("definitions.json")


def password_hash(password: str, salt: bytes) -> str:
    """Return base64(salt + SHA-256(salt + password)); the salt has four bytes."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def main(arguments: list[str]) -> int:
    """Print the file; exit with 2 and a reason when an argument names no user or no readable, non-empty file."""
    tags = {user["name"]: user["tags"] for user in json.loads(DEFINITIONS.read_text())["users"]}
    users = []
    for argument in arguments:
        name, _, path = argument.partition("=")
        if name not in tags:
            return _refuse(f"{name!r} is no user of {DEFINITIONS.name}; there are {', '.join(tags)}")
        try:
            password = Path(path).read_text().strip()
        except OSError as error:
            return _refuse(f"the password of {name} cannot be read: {error}")
        if not password:
            return _refuse(f"the password of {name} is empty: {path}")
        users.append(
            {
                "name": name,
                "tags": tags[name],
                "password_hash": password_hash(password, secrets.token_bytes(4)),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
            }
        )
    if not users:
        return _refuse("name at least one user, like crawler=secrets/crawler")
    sys.stdout.write(json.dumps({"users": users}, indent=2) + "\n")
    return 0


def _refuse(reason: str) -> int:
    sys.stderr.write(f"users.py: {reason}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
