"""Compares every book's top with `bookTicker`, an independent account of the same exchange. Pure.

After a diff that ends at id u, the top of the book equals the last ticker with an id of at most u. Tickers are matched
by id, never by arrival, because the order of two streams is not promised: a book is judged once a ticker beyond its id
has come. Frames are decoded only when one is needed. What the tickers say is the truth only as long as none is missing.
"""

from bisect import bisect_right
from collections import deque
from operator import itemgetter
from typing import NamedTuple

from crawler.book.market_data import Top as Ticker
from crawler.venues.binance.wire import decode_ticker, ticker_update_id
from fairprice.messages import Book, Level

KEPT_FRAMES = 2000
"""Tickers kept for a comparison: many seconds of a busy symbol."""

KEPT_TOPS = 100
"""Books that wait for a ticker beyond their id."""

TOLERATED = 3
"""A book is wrong when this many tops in a row contradict their ticker."""


class Top(NamedTuple):
    """The best levels of a book; None where a side is empty."""

    update_id: int
    bid: Level | None
    ask: Level | None


class TopAudit:
    """The audit of one symbol."""

    def __init__(self) -> None:
        self.matches = 0
        self.mismatches = 0
        self._frames: list[tuple[int, bytes]] = []
        self._before: bytes | None = None
        self._newest = 0
        self._tops: deque[Top] = deque(maxlen=KEPT_TOPS)
        self._mismatches_in_a_row = 0

    def receive(self, frame: bytes) -> None:
        """Keep a `bookTicker` frame, unless a connection that is ahead has brought it; raises `InvalidMarketData`."""
        update_id = ticker_update_id(frame)
        if update_id <= self._newest:
            return
        if len(self._frames) >= KEPT_FRAMES:
            self._forget(KEPT_FRAMES // 2)
        self._newest = update_id
        self._frames.append((update_id, frame))

    def passes(self, book: Book) -> bool:
        """Take the next book; return False when too many tops in a row have turned out wrong.

        Raises `InvalidMarketData` for a ticker that cannot be read.
        """
        if book.previous_event_time is None:
            self.reset()
        self._tops.append(Top(book.update_id, book.bids[0] if book.bids else None, book.asks[0] if book.asks else None))
        while self._tops and self._judge(self._tops[0]):
            self._tops.popleft()
        return self._mismatches_in_a_row < TOLERATED

    def reset(self) -> None:
        """Start anew, because the book does or tickers may be missing."""
        self._frames.clear()
        self._before = None
        self._newest = 0
        self._tops.clear()
        self._mismatches_in_a_row = 0

    def _judge(self, top: Top) -> bool:
        """Compare a top with its ticker; return False while that may still be on its way."""
        later = bisect_right(self._frames, top.update_id, key=itemgetter(0))
        if later == len(self._frames):
            return False
        self._forget(later)
        if self._before is None:
            return True
        if _equal(decode_ticker(self._before), top):
            self.matches += 1
            self._mismatches_in_a_row = 0
        else:
            self.mismatches += 1
            self._mismatches_in_a_row += 1
        return True

    def _forget(self, count: int) -> None:
        """Drop the oldest frames but keep the last of them: it is the ticker before the first that is left."""
        if count:
            self._before = self._frames[count - 1][1]
            del self._frames[:count]


def _equal(ticker: Ticker, top: Top) -> bool:
    return _same(ticker.bid, top.bid) and _same(ticker.ask, top.ask)


def _same(level: Level | None, other: Level | None) -> bool:
    return (
        level is not None
        and other is not None
        and (level == other or list(map(float, level)) == list(map(float, other)))
    )
