"""Ports of this machine for servers that tests stop and start again."""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

PORTS = range(20000, 31000)
"""Below those that the kernel gives to outgoing connections, so that a stopped server's port stays free."""

_CLAIMS = os.open(Path(tempfile.gettempdir()) / f"fairprice-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT, 0o600)
"""A file whose byte N is locked by the process that has port N, until it ends."""

_own: set[int] = set()


def free_port() -> int:
    """Return a port on which nobody listens and which nobody else who asks here gets while this process lives."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            if port not in _own:
                fcntl.lockf(_CLAIMS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                _own.add(port)
                probe.bind(("127.0.0.1", port))
                return port
