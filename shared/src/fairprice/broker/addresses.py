"""The addresses of a broker's nodes as people write them: one, or several whole ones separated by commas."""

import re
from collections.abc import Callable

from yarl import URL

EXAMPLE = "amqp://localhost:5672"

_BETWEEN = re.compile(r"\s*,\s*(?=[a-z][a-z0-9+.-]*://)")
"""A comma before another address: one inside a password separates nothing."""


def split(text: str) -> tuple[str, ...]:
    """Return the addresses in the text; joined by commas they are the text again."""
    return tuple(_BETWEEN.split(text.strip()))


def parse(text: str) -> tuple[URL, ...]:
    """Return the addresses; raises `ValueError` that says which one is wrong, and shows no password."""
    parts = split(text)
    if len(parts) == 1:
        return (_address(text.strip(), ""),)
    return tuple(_address(part, f"address {place} of {len(parts)}: ") for place, part in enumerate(parts, 1))


def _address(text: str, which: str) -> URL:
    try:
        address = URL(text)
    except ValueError:  # a port that is none
        address = URL()
    if address.scheme in ("amqp", "amqps") and address.host and "," not in address.host:
        return address
    shown = text.rpartition("@")[2]
    if "," in shown:
        raise ValueError(f"{which}write each one whole, like amqp://one:5672,amqp://two:5672, not {shown!r}")
    raise ValueError(f"{which}write an address like {EXAMPLE}, not {shown!r}")


class Turns:
    """Whose turn it is among a broker's nodes; `read` returns their addresses, whose passwords may have changed.

    Raises `ValueError` where one of them is wrong, and whatever `read` raises.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._turn = 0
        self._addresses = parse(read())

    def address(self) -> URL:
        """Return the address of the node whose turn it is."""
        self._addresses = parse(self._read())
        return self._addresses[self._turn % len(self._addresses)]

    @property
    def are_several(self) -> bool:
        """Whether there was another node to go on to when the addresses were last read."""
        return len(self._addresses) > 1

    def next(self) -> None:
        """Go on to the next node, after the last to the first."""
        self._turn += 1
