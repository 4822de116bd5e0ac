"""Whether live view and record contradict each other, two ways from the exchange to one best bid and ask. Pure."""

from typing import NamedTuple

BOUND = 5.0
"""Basis points of the record's price by which a side may differ: the live view is ahead by a tenth of a second."""

PATIENCE = 1.0
"""Seconds for which it has to differ by more at every look: ten books, of which one would have caught up."""

FRESH = 1.0
"""Seconds after which the live view is not shown any more, and so contradicts nothing."""


class Top(NamedTuple):
    """Best bid and ask, None where a side has none."""

    bid: float | None
    ask: float | None


class Dispute:
    """Looks at the newest of both each time that one of them changes; times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: float | None = None

    def compare(self, live: Top, record: Top, now: float) -> None:
        """Note whether they agree now."""
        if all(map(_agree, live, record)):
            self._since = None
        elif self._since is None:
            self._since = now

    def is_open(self, now: float) -> bool:
        """Return whether they have differed for `PATIENCE`."""
        return self._since is not None and now - self._since >= PATIENCE


def _agree(live: float | None, record: float | None) -> bool:
    if live is None or record is None:
        return live is record
    return abs(live - record) <= BOUND * 1e-4 * record
