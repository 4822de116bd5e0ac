"""What comes out of the streams: market data, and what may be missing of it."""

from typing import NamedTuple

from crawler.book.market_data import Diff, Snapshot, Ticker


class Unreadable(NamedTuple):
    """A frame that cannot be read is as good as not received; `symbol` is whose it was, where that is known."""

    symbol: str | None
    error: str
    frame: str


class Disconnected(NamedTuple):
    """The last connection that carried these symbols is gone; what is sent now is missed. The reason is for people."""

    symbols: tuple[str, ...]
    reason: str


class Suspected(NamedTuple):
    """These symbols' streams have stalled: updates may have been missed. The reason is for people."""

    symbols: tuple[str, ...]
    reason: str


StreamEvent = Diff | Snapshot | Ticker | Unreadable | Disconnected | Suspected
