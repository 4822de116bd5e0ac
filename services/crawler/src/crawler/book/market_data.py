"""What an exchange tells about an order book, freed from its wire format. Times are microseconds since the epoch."""

from collections.abc import Callable
from typing import NamedTuple

from fairprice.messages import Level


class Diff(NamedTuple):
    """Changes of a book: absolute quantities, zero removes a level.

    `first_update_id` to `update_id` are the ids that it adds: the diff before it ended at `first_update_id - 1`.
    `proof` is what the exchange sent to verify the book after it (a checksum), where a venue has such a thing.
    """

    symbol: str
    first_update_id: int
    update_id: int
    event_time: int
    bids: list[Level]
    asks: list[Level]
    proof: int | None = None


class Snapshot(NamedTuple):
    """The best levels of a book right after `update_id`, best first.

    A side is `complete` when the venue's rule proves that nothing is beyond its last level.
    """

    symbol: str
    update_id: int
    bids: list[Level]
    asks: list[Level]
    bids_complete: bool
    asks_complete: bool


class Top(NamedTuple):
    """The best levels of a book, `[price, quantity]` each; None where a side is empty."""

    bid: Level | None
    ask: Level | None


class Ticker(NamedTuple):
    """The best bid and ask right after `update_id`, decoded by `read` only when somebody asks.

    Before the first one of a connection others may be missing: an older connection is behind and has not brought them.
    """

    symbol: str
    update_id: int
    frame: bytes
    read: Callable[[bytes], Top]
    is_first: bool = False

    def top(self) -> Top:
        """Return the best levels; raises `InvalidMarketData`."""
        return self.read(self.frame)
