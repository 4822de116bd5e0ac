"""What an exchange tells about an order book, freed from its wire format. Times are microseconds since the epoch."""

from typing import NamedTuple

from fairprice.messages import Level


class Diff(NamedTuple):
    """Changes of a book from `first_update_id` to `update_id`: absolute quantities, zero removes a level."""

    symbol: str
    first_update_id: int
    update_id: int
    event_time: int
    bids: list[Level]
    asks: list[Level]


class Snapshot(NamedTuple):
    """The best levels of a book right after `update_id`, best first.

    A side is `complete` when it was shorter than what was asked for: nothing is beyond its last level.
    """

    update_id: int
    bids: list[Level]
    asks: list[Level]
    bids_complete: bool
    asks_complete: bool


class Ticker(NamedTuple):
    """The best bid and ask, `[price, quantity]` each, right after `update_id`."""

    update_id: int
    bid: Level
    ask: Level
