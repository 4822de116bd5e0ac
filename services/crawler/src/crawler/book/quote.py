"""Puts the newest best bid and ask into the last published book, and decides how often. Pure.

A book comes ten times a second, a ticker whenever the best bid or ask changes. What is better than the ticker's level
is gone; what is worse is as the book had it.
"""

from math import inf
from typing import NamedTuple

from crawler.book.market_data import Ticker, Top
from fairprice.messages import Book, Level, Quote

MOST = 2000.0
"""Quotes a second, of all symbols together."""

AT_ONCE = 20
"""Of these at most so many together, behind a pause."""

BID = 1
ASK = -1
"""What a price is multiplied by, so that the better of two is the greater."""

LEAST_PAUSE = 0.002
"""Seconds between two looks at what waits: of many symbols what comes within them leaves together, since a message
costs by its number. The first after a rest waits for nothing."""


def quote_of(book: Book, ticker_id: int, top: Top, received_time: int) -> Quote:
    """Return the book with this top in it; what the exchange says to be the best is known, however far the book was."""
    bids, floor = _side(top.bid, book.bids, book.floor, BID)
    asks, ceiling = _side(top.ask, book.asks, book.ceiling, ASK)
    return Quote(
        book.venue,
        book.symbol,
        book.first_update_id,
        book.update_id,
        book.event_time,
        ticker_id,
        received_time,
        book.crawler,
        bids,
        asks,
        floor,
        ceiling,
        book.model,
    )


class Waiting(NamedTuple):
    """A ticker of which a quote is to be made, and the wall clock when it came, in microseconds."""

    ticker: Ticker
    received_time: int


class Pace:
    """Of each symbol the newest ticker waits until it is due: `interval` seconds after the last one of the symbol.

    All together are due at most `most` times a second: where there are more, those that have waited longest come first,
    and so the interval grows.
    """

    def __init__(self, interval: float, *, most: float = MOST) -> None:
        self._interval = interval
        self._most = most
        self._waiting: dict[str, Waiting] = {}
        self._next: dict[str, float] = {}
        self._credit = float(AT_ONCE)
        self._credited_at = -inf

    def __len__(self) -> int:
        """Return how many symbols have a ticker that waits."""
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        """Let a ticker wait in its symbol's place, unless a newer one does."""
        symbol = waiting.ticker.symbol
        before = self._waiting.get(symbol)
        if before is None or waiting.ticker.update_id > before.ticker.update_id:
            self._waiting[symbol] = waiting

    def take(self, now: float) -> list[Waiting]:
        """Return what is due at this second of the monotonic clock, and let it wait no more."""
        due = [symbol for symbol in self._waiting if self._next.get(symbol, -inf) <= now]
        if not due:
            return []
        self._credit = min(AT_ONCE, self._credit + max(0.0, now - self._credited_at) * self._most)
        self._credited_at = now
        del due[int(self._credit) :]
        self._credit -= len(due)
        self._next |= dict.fromkeys(due, now + self._interval)
        return [self._waiting.pop(symbol) for symbol in due]

    def pause(self, now: float) -> float:
        """Return the seconds until something that waits may be due; 0: now."""
        first = min((self._next.get(symbol, now) for symbol in self._waiting), default=now)
        paced = self._credited_at + max((1 - self._credit) / self._most, LEAST_PAUSE)
        return max(first - now, paced - now, 0.0)


def _side(best: Level | None, levels: list[Level], bound: str | None, sign: int) -> tuple[list[Level], str | None]:
    """Return the levels behind the best one, and how far all of them are known."""
    if best is None:
        return [], None
    price = sign * float(best[0])
    if bound is not None and price < sign * float(bound):
        bound = best[0]
    first = 0
    while first < len(levels) and sign * float(levels[first][0]) >= price:
        first += 1
    return [best, *levels[first:]], bound
