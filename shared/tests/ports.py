"""Ports of this machine for servers that tests stop and start again."""

import random
import socket
from contextlib import suppress

PORTS = range(20000, 31000)
"""Below those that the kernel gives to outgoing connections, so that a stopped server's port stays free."""


def free_port() -> int:
    """Return a port on which nobody listens."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port := random.choice(PORTS)))
            return port
